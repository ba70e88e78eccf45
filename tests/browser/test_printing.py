"""The pages on paper: all of a session and of a movie, with its pictures."""

from __future__ import annotations

import pytest

FIRST = "FoilHole_20000000_Data_0_00000"
# Of each copy of a chart for paper, the share of its pixels that is not transparent.
COPIES = """(place) => [...document.querySelectorAll(`${place} .on-paper`)].map((canvas) => {
    const { data } = canvas.getContext("2d").getImageData(0, 0, canvas.width, canvas.height);
    let drawn = 0;
    for (let i = 3; i < data.length; i += 4) drawn += data[i] > 0;
    return drawn / (data.length / 4);
})"""


def on_paper(page):
    """The page as it is printed."""
    page.evaluate("dispatchEvent(new Event('beforeprint'))")
    page.emulate_media(media="print")
    return page


@pytest.fixture(params=["light", "dark"])
def movie_on_paper(open_page, session_folder, request):
    """A movie of the report as it is printed."""
    page = open_page(session_folder / "report.html", scheme=request.param).page
    page.evaluate(f"movie.open(flexalign.rowOf.get('{FIRST}'))")
    page.wait_for_selector("#dialog figure img")
    for image in page.locator("#dialog img").all():
        image.evaluate("image => image.decode()")
    return on_paper(page)


def test_a_movie_is_printed_from_its_name_to_its_files_without_the_session(movie_on_paper):
    page = movie_on_paper
    top, inside = page.evaluate(
        "[dialog.getBoundingClientRect().top, dialog.scrollHeight <= dialog.clientHeight]"
    )

    assert (top, inside) == (0, True)
    assert page.locator("#movie-name").is_visible()
    assert page.locator("#dialog summary", has_text="Files that were written").is_visible()
    assert not page.locator("#outcome").is_visible()


def test_micrograph_and_spectrum_are_printed_below_transparent_plots(movie_on_paper):
    page = movie_on_paper
    shares = page.evaluate(COPIES, "#dialog .over")

    assert [image.is_visible() for image in page.locator("#dialog img").all()] == [True, True]
    assert len(shares) == 2
    assert all(0 < share < 0.3 for share in shares)


def test_plots_over_a_picture_are_printed_at_its_size(movie_on_paper):
    sizes = movie_on_paper.evaluate(
        """[...dialog.querySelectorAll(".picture")].map((picture) =>
            ["img", ".on-paper"].map((place) => {
                const box = picture.querySelector(place).getBoundingClientRect();
                return [box.left, box.top, box.width, box.height];
            }))"""
    )

    assert len(sizes) == 2
    for picture, plot in sizes:
        assert plot == pytest.approx(picture, abs=1)


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_every_plot_of_a_session_is_printed(open_page, session_folder, scheme):
    page = on_paper(open_page(session_folder / "report.html", scheme=scheme).page)
    shares = page.evaluate(COPIES, "#panels")

    assert len(shares) == page.locator("#panels .plot").count() > 5
    assert min(shares) > 0.005


def test_after_printing_the_page_is_as_before(movie_on_paper):
    page = movie_on_paper
    page.emulate_media(media="screen")
    page.evaluate("dispatchEvent(new Event('afterprint'))")

    assert page.locator(".on-paper").count() == 0
    assert page.locator("#dialog canvas").first.is_visible()


def test_the_table_on_paper_says_which_of_the_movies_it_has(open_page, session_folder):
    page = on_paper(open_page(session_folder / "report.html").page)

    assert page.get_by_text("1 to 25 of 236 movies").is_visible()
    assert not page.locator(".dt-search").is_visible()
