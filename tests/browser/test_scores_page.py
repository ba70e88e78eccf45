"""The page of scores does what a person wants of it, with scripts and without."""

from __future__ import annotations

import numpy as np
import pytest
from axe_playwright_python.sync_playwright import Axe

from flexalign.io.thumbnails import details_of, thumbnails_of
from flexalign.report.scores import pictured_movies, write_scores_page
from flexalign.scoring.movie_scores import MotionScore, MovieScores
from flexalign.scoring.sum_pictures import SumPictures

HOSTILE = "m<img src=x onerror=alert(1)>7"
BANDS_A = ((45.0, 15.0), (15.0, 10.0), (10.0, 7.0), (7.0, 5.0), (5.0, 4.0))
# Share of the signal that is left, by alignment.
SHARES = {"none": 0.3, "ours": 1.0, "theirs": 0.9}


def movie_of(number: int) -> MovieScores:
    """Scores of three alignments, of which "theirs" is worse in each further movie."""
    noise = 1 + 0.02 * np.random.default_rng(number).normal(size=(4, 1))

    def score(name: str, share: float) -> MotionScore:
        left = share - (0.03 * number if name == "theirs" else 0.0)
        ssnr = left * noise * [0.25, 0.05, 0.02, 0.01, 0.005]
        nothing = np.zeros((4, 5, 2))
        return MotionScore(name, ssnr, 500 * left * noise[:, 0], nothing, nothing[:, 0], (0, 0))

    scores = tuple(score(*one) for one in SHARES.items())
    name = HOSTILE if number == 7 else f"m{number}"
    return MovieScores(name, BANDS_A, scores, 1.0, 24)


@pytest.fixture(scope="module")
def scores_page(tmp_path_factory):
    """A page of eight movies, with pictures and a report of one run beside it."""
    folder = tmp_path_factory.mktemp("scores")
    (folder / "run").mkdir()
    (folder / "run" / "report.html").write_text("a report")
    movies = [movie_of(number) for number in range(8)]
    names, wanted = pictured_movies(movies)
    image = np.random.default_rng(1).normal(size=(300, 400)).astype(np.float32)
    whole, middle = thumbnails_of([image, 2 * image]), details_of([image, 2 * image])
    pictures = [SumPictures(name, names, tuple(whole), tuple(middle), whole[0]) for name in wanted]
    sources = {"ours": str(folder / "run"), "theirs": "job003"}
    write_scores_page(folder / "scores.html", movies, pictures, sources)
    return folder / "scores.html"


def test_it_opens_without_a_complaint_and_asks_nobody_for_anything(open_page, scores_page):
    opened = open_page(scores_page, is_strict=True)

    assert opened.complaints == []
    assert opened.strange_requests() == []
    assert "theirs has less signal than ours, in 8 of 8" in opened.page.inner_text("#outcome")


def test_each_movie_is_a_point_in_the_plot_of_each_band(open_page, scores_page):
    page = open_page(scores_page).page

    counts = page.evaluate(
        "scores.drawn.map(({ chart }) => chart.getOption().series[0].data.length)"
    )
    assert counts == [8] * 6
    assert page.locator("details[open] .plot canvas").count() == 6


def test_a_click_on_a_point_leads_to_the_row_of_its_movie(open_page, scores_page):
    page = open_page(scores_page).page
    place = page.evaluate(
        """(() => {
            const { band, chart } = scores.drawn[5];
            chart.getDom().scrollIntoView({ block: "center" });
            const box = chart.getDom().getBoundingClientRect();
            const at = chart.convertToPixel({ gridIndex: 0 }, band.points[3].slice(0, 2));
            return [box.left + at[0], box.top + at[1]];
        })()"""
    )

    page.mouse.click(*place)

    page.wait_for_function("location.hash === '#pair-0-movie-3'")
    assert page.locator("tr:target th").inner_text() == "m3"


def test_the_plots_of_another_alignment_are_drawn_when_it_is_opened(open_page, scores_page):
    opened = open_page(scores_page)
    opened.page.get_by_text("none against ours").click()

    opened.page.wait_for_function("scores.drawn.length === 12")
    assert opened.page.locator("details[open] .plot canvas").count() == 12
    assert opened.complaints == []


def test_both_sums_of_the_worst_and_the_best_movies_are_side_by_side(open_page, scores_page):
    page = open_page(scores_page, size="phone").page

    titles = page.locator("#sums h3").all_inner_texts()
    assert [title.split(":")[0] for title in titles] == [HOSTILE, "m6", "m1", "m0"]
    one, other = (page.locator("#sums img").nth(number).bounding_box() for number in (0, 1))
    assert one["y"] == other["y"]
    assert one["x"] + one["width"] < other["x"]


@pytest.mark.parametrize("size", ["laptop", "phone"])
def test_nothing_is_wider_than_the_screen(open_page, scores_page, size):
    page = open_page(scores_page, size=size).page

    assert page.evaluate("document.documentElement.scrollWidth <= innerWidth")


@pytest.mark.parametrize(("size", "scheme"), [("laptop", "light"), ("phone", "dark")])
def test_assistive_technology_finds_nothing_wrong(open_page, scores_page, size, scheme):
    found = Axe().run(open_page(scores_page, size=size, scheme=scheme).page)

    assert len(found.response["passes"]) > 15
    assert found.response["violations"] == [], found.generate_report()


def test_the_name_of_a_movie_is_no_markup(open_page, scores_page):
    page = open_page(scores_page).page

    assert page.locator("img[src=x]").count() == 0
    assert page.get_by_role("rowheader", name=HOSTILE).count() > 0


def test_paper_is_light_and_has_no_buttons(open_page, scores_page):
    page = open_page(scores_page, scheme="dark").page
    page.evaluate("dispatchEvent(new Event('beforeprint'))")
    page.emulate_media(media="print")

    assert page.evaluate("getComputedStyle(document.body).backgroundColor") == "rgb(255, 255, 255)"
    assert not page.locator("#theme").is_visible()
    assert page.locator("#sums img").first.is_visible()


def test_no_table_is_cut_on_paper(open_page, scores_page):
    page = open_page(scores_page).page
    page.set_viewport_size({"width": 720, "height": 1000})  # A4 between margins
    page.emulate_media(media="print")

    assert page.locator("table").count() > 3
    for table in page.locator("table").all():
        box = table.bounding_box()
        assert box is None or box["x"] + box["width"] <= 720  # None: in a closed part


def test_the_report_of_the_run_is_linked(open_page, scores_page):
    page = open_page(scores_page).page

    assert page.get_by_role("link", name="report of the run").get_attribute("href") == (
        "run/report.html"
    )


def test_the_numbers_are_there_without_scripts(browser, scores_page):
    context = browser.new_context(java_script_enabled=False)
    page = context.new_page()
    page.goto(scores_page.as_uri())
    text = page.locator("main").inner_text()
    context.close()

    assert "need JavaScript" in text
    assert "B-factor" in text
    assert "8 of 8" in text
