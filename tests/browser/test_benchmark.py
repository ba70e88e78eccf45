"""The benchmark of the report on a small session."""

from __future__ import annotations

from scripts import benchmarks


def test_each_step_of_opening_a_report_ends(session_folder, browser):
    with benchmarks("report") as scripts:
        found = scripts["report"].open_once(browser, session_folder / "report.html")

    assert len(found) == 4
    assert all(seconds > 0 for seconds in found.values())
