"""The report of tilt series, and the page that says how to use them."""

from __future__ import annotations

import dataclasses
import re
import shlex
import sys
from html.parser import HTMLParser
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from test_series import damaged_series
from tilts_data import write_series

from flexalign.cli import main
from flexalign.errors import OccupiedError
from flexalign.plain import write_json
from flexalign.report.series import SeriesReport
from flexalign.report.svg import Curve, plot_against_angle, ticks
from flexalign.tilts.record import read_series_record

HOW_TO = Path(__file__).parents[2] / "docs" / "how-to" / "align-tilt-series.md"


class Page(HTMLParser):
    """What a page shows: its words, links, pictures and rows."""

    def __init__(self, path: Path) -> None:
        super().__init__()
        self.text, self.links, self.pictures, self.rows = "", [], [], 0
        self.feed(path.read_text())

    def handle_starttag(self, tag, attrs):
        values = dict(attrs)
        if tag == "a":
            self.links.append(values["href"])
        if tag == "img":
            self.pictures.append(values["src"])
        self.rows += tag == "tr"

    def handle_data(self, data):
        self.text += data


@pytest.fixture(scope="module")
def done(tmp_path_factory) -> Path:
    """The folder of a run on a series with troubles and a whole one."""
    folder = tmp_path_factory.mktemp("report")
    damaged_series(folder / "in")
    write_series(folder / "in", "TS_2", [0.0, 3.0, -3.0])
    words = ["tilt-series", str(folder / "in"), "--out", str(folder / "out"), "--jobs", "0",
             "--threads", "1", "--no-refine"]  # fmt: skip
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sys, "argv", ["flexalign", *words])
        with pytest.raises(SystemExit) as stop:
            main()
    assert stop.value.code == 1
    return folder / "out"


def test_the_page_says_what_is_done_lost_and_left_out(done):
    page = Page(done / "report.html")

    assert "2 tilt series are done, with 11 images" in " ".join(page.text.split())
    assert "2 tilts are lost" in page.text
    for kind in ("missing", "unreadable", "re-shot", "dark"):
        assert kind in page.text
    assert page.text.index("missing") < page.text.index("re-shot")  # losses first
    assert {"report_data/TS.html", "report_data/TS_2.html", "tilt_series.csv"} <= set(page.links)


def test_the_page_of_a_series_shows_its_strip_and_names_what_is_left_out(done):
    page = Page(done / "report_data" / "TS.html")

    assert page.pictures == ["../TS_strip.png"]
    assert (done / "report_data" / page.pictures[0]).resolve().is_file()
    assert "re-shot: exposure 2 at 3.00°" in page.text
    assert page.rows == 1 + 8
    assert "<svg" in (done / "report_data" / "TS.html").read_text()


def test_the_report_is_made_again_from_the_records(done, monkeypatch, capsys):
    before = (done / "report.html").read_text()
    (done / "report.html").unlink()
    monkeypatch.setattr(sys, "argv", ["flexalign", "report", str(done)])

    with pytest.raises(SystemExit) as stop:
        main()

    assert not stop.value.code
    assert capsys.readouterr().out.strip() == str(done / "report.html")
    moment = re.compile(r"\d{4}-\d\d-\d\d \d\d:\d\d")
    assert moment.sub("", (done / "report.html").read_text()) == moment.sub("", before)


def test_a_page_of_somebody_else_stays(done, tmp_path):
    (tmp_path / "report.html").write_text("mine")

    with pytest.raises(OccupiedError):
        SeriesReport(tmp_path)


def test_a_hundred_series_are_a_row_each(done, tmp_path):
    record = read_series_record(done / "TS_record.json")
    for number in range(100):
        series = dataclasses.replace(record.series, name=f"TS_{number:03}")
        write_json(
            tmp_path / f"TS_{number:03}_record.json", dataclasses.replace(record, series=series)
        )

    page = SeriesReport(tmp_path).write()

    shown = Page(page)
    # Two heads, a row for each series, and no more than 40 exposures.
    assert shown.rows == 2 + 100 + 40
    assert "These are 40 of 400" in shown.text
    assert page.stat().st_size < 1_000_000


def test_names_are_no_markup(done, tmp_path):
    record = read_series_record(done / "TS_record.json")
    series = dataclasses.replace(record.series, name="<b>x</b>", notes=("<i>note</i>",))
    write_json(tmp_path / "x_record.json", dataclasses.replace(record, series=series))

    page = SeriesReport(tmp_path).write()

    assert "<b>x</b>" not in page.read_text()
    assert "<i>note" not in (tmp_path / "report_data" / "x.html").read_text()


def test_a_plot_places_points_by_angle_and_value():
    svg = str(plot_against_angle([-60, 0, 60], [Curve("a", [0.0, 1.0, None])], "title"))

    points = re.search(r'points="([^"]*)"', svg)[1].split()
    (left, low), (middle, high) = (map(float, point.split(",")) for point in points)
    assert left < middle
    assert low > high  # y grows downward


@given(st.floats(-1e6, 1e6), st.floats(1e-6, 1e6))
def test_ticks_are_few_round_numbers_around_what_is_shown(low, span):
    found = ticks(low, low + span)

    assert 2 <= len(found) <= 9
    assert found[0] <= low + 1e-3 * span
    assert found[-1] >= low + span - 1e-3 * span
    assert found == sorted(found)


def test_series_are_listed_by_the_numbers_in_their_names(done, tmp_path):
    record = read_series_record(done / "TS_record.json")
    for name in ("TS_10", "TS_9"):
        series = dataclasses.replace(record.series, name=name)
        write_json(tmp_path / f"{name}_record.json", dataclasses.replace(record, series=series))

    text = Page(SeriesReport(tmp_path).write()).text

    assert text.rindex("TS_9") < text.rindex("TS_10")


def test_what_was_not_measured_is_said():
    assert "not measured" in plot_against_angle([0, 3], [Curve("a", [None, None])], "Signal")


@pytest.fixture(scope="module")
def example_folder(tmp_path_factory) -> Path:
    """A folder in which the lines of the page can be typed."""
    from test_sources import write_relion

    folder = tmp_path_factory.mktemp("examples")
    write_series(folder / "series", "ts", [0.0, 3.0, -3.0])
    write_series(folder / "session", "ts", [0.0, 3.0])
    write_series(folder / "movies", "ts", [0.0, 3.0]).unlink()
    write_relion(folder, [0.0, 3.0])
    for gain in ("series/ts_gain.mrc", "gain.mrc"):
        (folder / gain).touch()  # a dry run does not read it
    return folder


LINES = re.findall(r"(?m)(flexalign tilt-series [^`\n]*)", HOW_TO.read_text())


@pytest.mark.parametrize("line", LINES)
def test_the_lines_of_the_page_are_understood(line, example_folder, monkeypatch, capsys):
    monkeypatch.chdir(example_folder)
    words = shlex.split(line.rstrip(". "))
    monkeypatch.setattr(sys, "argv", [*words, "--dry-run"])

    with pytest.raises(SystemExit) as stop:
        main()

    assert not stop.value.code, capsys.readouterr().err
    assert "exposures are used" in capsys.readouterr().out


def test_the_page_has_lines():
    assert len(LINES) >= 5


def test_info_says_how_a_folder_of_series_stands(done, monkeypatch, capsys):
    monkeypatch.setattr(sys, "argv", ["flexalign", "info", str(done)])

    with pytest.raises(SystemExit) as stop:
        main()

    assert not stop.value.code
    out = capsys.readouterr().out
    assert re.search(r"series +2\n", out)
    assert re.search(r"images +11\n", out)
    assert "1 missing" in out
