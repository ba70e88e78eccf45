"""The micrograph of a movie: its scale bar, enlarged by buttons, keys and wheel."""

from __future__ import annotations

import json

import pytest

FIRST = "FoilHole_20000000_Data_0_00000"
SHARES = """() => {
    const [bar, view, content] = [".scale-bar .bar", ".picture-view", ".picture-view .picture"]
        .map((place) => dialog.querySelector(place).getBoundingClientRect().width);
    return { bar: bar / content, ofView: bar / view, enlargement: content / view };
}"""


@pytest.fixture(params=["laptop", "phone"])
def page(open_page, session_folder, request):
    """A movie of the report."""
    page = open_page(session_folder / "report.html", size=request.param).page
    page.evaluate(f"movie.open(flexalign.rowOf.get('{FIRST}'))")
    page.wait_for_selector("#dialog .picture-view")
    return page


def bar_nm(page) -> float:
    """The length at the scale bar."""
    number, unit = page.locator("#dialog .scale-bar").inner_text().split()
    assert unit == "nm"
    return float(number)


def field_nm(session_folder) -> float:
    """The width of the micrograph."""
    record = json.loads((session_folder / f"{FIRST}_record.json").read_text())
    return record["movie"]["width_px"] * record["decisions"]["pixel_size_A"] / 10


def enlargement(page) -> float:
    """How much wider the micrograph is than its view."""
    return page.evaluate(SHARES)["enlargement"]


def test_the_scale_bar_has_the_length_that_it_says(page, session_folder):
    assert page.evaluate(SHARES)["bar"] == pytest.approx(
        bar_nm(page) / field_nm(session_folder), rel=0.02
    )


def test_an_enlarged_micrograph_has_a_scale_bar_of_its_own(page, session_folder):
    whole_nm = bar_nm(page)
    for _ in range(3):
        page.locator("#dialog").get_by_role("button", name="Enlarge").click()
    shares = page.evaluate(SHARES)

    assert shares["enlargement"] == pytest.approx(3, rel=0.02)
    assert bar_nm(page) < whole_nm
    assert shares["bar"] == pytest.approx(bar_nm(page) / field_nm(session_folder), rel=0.02)
    assert shares["ofView"] < 0.31


def test_it_is_enlarged_and_shown_whole_by_keys(page):
    page.locator("#dialog .picture-view").focus()
    page.keyboard.press("+")
    page.keyboard.press("+")
    enlarged = enlargement(page)
    page.keyboard.press("-")
    reduced = enlargement(page)
    page.keyboard.press("0")

    assert enlarged > reduced > enlargement(page) == pytest.approx(1, abs=0.01)


def test_arrow_keys_move_an_enlarged_micrograph_and_not_to_the_next_movie(page):
    page.locator("#dialog .picture-view").focus()
    page.keyboard.press("+")
    left = page.locator("#dialog .picture-view").evaluate("view => view.scrollLeft")
    page.keyboard.press("ArrowRight")
    page.wait_for_function(f"dialog.querySelector('.picture-view').scrollLeft > {left}")

    assert page.locator("#movie-name").inner_text() == FIRST


def test_the_wheel_with_control_enlarges_at_the_pointer(open_page, session_folder):
    page = open_page(session_folder / "report.html").page
    page.evaluate(f"movie.open(flexalign.rowOf.get('{FIRST}'))")
    view = page.locator("#dialog .picture-view")
    view.scroll_into_view_if_needed()
    box = view.bounding_box()
    place = "view => (view.scrollLeft + 0.25 * view.clientWidth) / view.scrollWidth"
    page.mouse.move(box["x"] + 0.25 * box["width"], box["y"] + 0.25 * box["height"])
    page.keyboard.down("Control")
    page.mouse.wheel(0, -100)
    page.keyboard.up("Control")
    page.wait_for_function("dialog.querySelector('.picture-view.enlarged')")

    assert view.evaluate(place) == pytest.approx(0.25, abs=0.01)


def test_dragging_moves_an_enlarged_micrograph(open_page, session_folder):
    page = open_page(session_folder / "report.html").page
    page.evaluate(f"movie.open(flexalign.rowOf.get('{FIRST}'))")
    page.locator("#dialog").get_by_role("button", name="Enlarge").click()
    view = page.locator("#dialog .picture-view")
    view.scroll_into_view_if_needed()
    box, before = view.bounding_box(), view.evaluate("view => view.scrollLeft")
    middle = (box["x"] + box["width"] / 2, box["y"] + box["height"] / 2)
    page.mouse.move(*middle)
    page.mouse.down()
    page.mouse.move(middle[0] - 40, middle[1], steps=4)
    page.mouse.up()

    assert view.evaluate("view => view.scrollLeft") == pytest.approx(before + 40, abs=2)


def test_arrows_of_the_local_motion_can_be_hidden(page):
    page.locator("#dialog").get_by_role("button", name="Hide arrows").click()
    hidden = page.locator("#dialog .picture-view .over").is_visible()
    page.locator("#dialog").get_by_role("button", name="Show arrows").click()

    assert [hidden, page.locator("#dialog .picture-view .over").is_visible()] == [False, True]
