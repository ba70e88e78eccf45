"""The thumbnails of a session: which, in which order, and by keyboard."""

from __future__ import annotations

import json

import pytest
from axe_playwright_python.sync_playwright import Axe

TILES = "[...document.querySelectorAll('#gallery li button')]"
SHOWN_BY_TABLE = "table.shownRows().map((row) => flexalign.data.names[row])"
FOCUSED = "document.activeElement.dataset.movie"


def opened_gallery(page):
    """Open the thumbnails and wait for the first."""
    page.locator("#gallery > summary").click()
    page.wait_for_selector("#gallery li")
    return page


@pytest.fixture
def page(open_page, session_folder):
    """The report on a laptop, with the thumbnails open."""
    return opened_gallery(open_page(session_folder / "report.html").page)


def names(page) -> list[str]:
    """Movies of the thumbnails that were made."""
    return page.evaluate(f"{TILES}.map((one) => one.dataset.movie)")


def test_no_thumbnail_is_made_before_they_are_opened(open_page, session_folder):
    page = open_page(session_folder / "report.html").page

    assert page.locator("#gallery li").count() == 0


def test_the_first_of_many_thumbnails_are_made_and_the_others_on_scrolling(page):
    first = len(names(page))
    page.locator("#gallery ul").evaluate("list => list.scrollTo(0, list.scrollHeight)")
    page.wait_for_function(f"{TILES}.length > {first}")

    assert 10 < first < page.evaluate("flexalign.count")


def test_thumbnails_are_pictures_of_their_movies(page):
    for number in (0, 30):
        image = page.locator("#gallery li img").nth(number)
        image.scroll_into_view_if_needed()
        image.evaluate("image => image.decode()")
        source = image.evaluate("image => image.src")
        name = names(page)[number]

        assert source.startswith("data:image/png") or source.endswith(f"/{name}_thumb.png")


def test_thumbnails_are_labelled_with_the_name_and_the_worst_flag(page, session_folder):
    movies = json.loads((session_folder / "report.json").read_text())["movies"]
    flagged = next(movie for movie in movies if movie["flags"])
    page.get_by_label("Search").fill(flagged["name"])
    page.wait_for_function(f"{TILES}.length === 1")

    text = page.locator("#gallery li").inner_text()
    worst, *more = flagged["flags"]
    assert text.split() == [
        flagged["name"],
        worst,
        *(f"and {len(more)} more".split() if more else []),
    ]


def test_thumbnails_follow_the_order_of_the_table(page):
    at_first = names(page)
    page.evaluate("table.grid.order([4, 'asc']).draw()")
    by_flags = names(page)

    assert by_flags != at_first
    assert by_flags == page.evaluate(SHOWN_BY_TABLE)[: len(by_flags)]


def test_thumbnails_follow_the_filters_of_the_table(page):
    page.get_by_label("Flag", exact=True).select_option("*")
    flagged = page.evaluate(SHOWN_BY_TABLE)

    assert 0 < len(flagged) < page.evaluate("flexalign.count")
    assert names(page) == flagged[: len(names(page))]
    assert names(page)


def test_movies_sorted_by_flags_have_problems_first(open_page, session_folder, tmp_path, with_data):
    def change(data):
        for row, (severity, flags) in enumerate([("note", 3), ("warning", 2), ("problem", 1)]):
            data["values"]["severity"][row], data["values"]["flags"][row] = severity, ["a"] * flags

    page = open_page(with_data(session_folder / "report.html", tmp_path, change)).page
    page.evaluate("table.grid.order([4, 'asc']).draw()")
    found = page.evaluate("table.shownRows().map((row) => flexalign.value('severity', row))")
    ranks = [["problem", "warning", "note", None].index(one) for one in found]

    assert ranks == sorted(ranks)
    assert set(ranks) == {0, 1, 2, 3}


def test_a_click_on_a_thumbnail_opens_its_movie(page):
    name = names(page)[2]
    page.locator("#gallery li button").nth(2).click()
    page.wait_for_selector("#dialog figure")

    assert page.locator("#movie-name").inner_text() == name


def test_thumbnails_are_reached_and_opened_by_keyboard(page):
    page.locator("#gallery > summary").focus()
    page.keyboard.press("Tab")
    if not page.evaluate(FOCUSED):
        page.keyboard.press("Tab")  # where the list that scrolls takes the focus too
    first = page.evaluate(FOCUSED)
    page.keyboard.press("ArrowDown")
    page.keyboard.press("ArrowRight")
    below = page.evaluate(FOCUSED)
    page.keyboard.press("Enter")
    page.wait_for_selector("#dialog figure")
    name = page.locator("#movie-name").inner_text()
    page.keyboard.press("Escape")
    back = page.evaluate(FOCUSED)
    page.keyboard.press("End")
    last = page.evaluate(FOCUSED)

    per_line = page.locator("#gallery ul").evaluate(
        "list => getComputedStyle(list).gridTemplateColumns.split(' ').length"
    )
    order = page.evaluate(SHOWN_BY_TABLE)
    assert [first, below, last] == [order[0], order[per_line + 1], order[-1]]
    assert name == back == below


def test_a_missing_picture_is_named(open_page, session_folder, tmp_path):
    (tmp_path / "report.html").write_text((session_folder / "report.html").read_text())
    page = opened_gallery(open_page(tmp_path / "report.html").page)
    page.wait_for_selector("#gallery .without")

    assert page.locator("#gallery .without").first.inner_text() == "no picture"


@pytest.mark.parametrize("size", ["laptop", "phone"])
def test_assistive_technology_finds_nothing_wrong_with_thumbnails(open_page, session_folder, size):
    page = opened_gallery(open_page(session_folder / "report.html", size=size).page)
    found = Axe().run(page, context="#gallery")

    assert found.response["violations"] == [], found.generate_report()
    assert page.evaluate("document.documentElement.scrollWidth") == page.evaluate("innerWidth")
