"""The horizontal axis of the session: order, time of acquisition, or time of the files."""

from __future__ import annotations

LABEL = "Horizontal axis"
PLACES = """() => session.drawn[0].chart.getOption().series
    .filter(({ id }) => !["selected", "here"].includes(id))
    .flatMap(({ data }) => data.map(([x, , , row]) => [row, x]))"""


def milliseconds(page, text: str) -> int:
    """A time of a microscope's clock as the axis has it."""
    return page.evaluate("text => Date.parse(`${text.replace(' ', 'T')}Z`)", text)


def options(page) -> list[str]:
    """The axes that are offered."""
    return page.get_by_label(LABEL).locator("option").all_inner_texts()


def test_movies_stand_at_their_time_of_acquisition(page, movies):
    page.get_by_label(LABEL).select_option("time of acquisition")
    places = dict(page.evaluate(PLACES))

    assert len(places) == len(movies)
    assert all(
        places[row] == milliseconds(page, movies[row]["acquired"])
        for row in (0, 7, len(movies) - 1)
    )


def test_the_axis_says_which_time_it_has(page):
    name = "() => session.drawn[0].chart.getOption().xAxis[0].name"
    names = []
    for words in ("order of the movies", "time of acquisition", "time of the movie files"):
        page.get_by_label(LABEL).select_option(words)
        names.append(page.evaluate(name))

    assert names == [
        "movie",
        "time of acquisition, by the clock of the microscope",
        "time at which the file of the movie was written",
    ]


def test_a_time_that_no_movie_has_is_not_offered(open_page, session_folder, tmp_path, with_data):
    def change(data):
        data["values"]["acquired"] = [None] * len(data["names"])

    page = open_page(with_data(session_folder / "report.html", tmp_path, change)).page

    assert options(page) == ["order of the movies", "time of the movie files"]


def test_movies_without_the_time_are_counted(open_page, session_folder, tmp_path, with_data):
    def change(data):
        data["values"]["acquired"][:3] = [None] * 3

    page = open_page(with_data(session_folder / "report.html", tmp_path, change)).page
    page.get_by_label(LABEL).select_option("time of acquisition")
    rows = {row for row, _ in page.evaluate(PLACES)}

    assert not {0, 1, 2} & rows
    assert "3 movies without this time" in page.locator("#session-axis-note").inner_text()


def test_an_area_of_half_an_hour_selects_its_movies(page, movies):
    page.get_by_label(LABEL).select_option("time of acquisition")
    times = [milliseconds(page, movie["acquired"]) for movie in movies]
    start, end = times[10], times[10] + 3_600_000 / 2
    page.evaluate(
        """([start, end]) => {
            const { chart } = session.drawn[0];
            chart.dispatchAction({
                type: "brush",
                areas: [{ xAxisIndex: 0, brushType: "rect",
                          coordRange: [[start, end], [-1, 1e6]] }],
            });
            chart.dispatchAction({
                type: "brushEnd",
                areas: [{ xAxisIndex: 0, brushType: "rect",
                          coordRange: [[start, end], [-1, 1e6]] }],
            });
        }""",
        [start, end],
    )
    page.wait_for_function("flexalign.selected.size > 0")
    found = set(page.evaluate("[...flexalign.selected]"))

    assert found == {row for row, time in enumerate(times) if start <= time <= end}


def test_a_click_on_a_point_opens_its_movie_at_any_axis(page, movies):
    page.get_by_label(LABEL).select_option("time of acquisition")
    highest = max(range(len(movies)), key=lambda row: movies[row]["total_motion_A"])
    x, y = page.evaluate(
        """(row) => {
            const { chart, panel } = session.drawn[0];
            chart.getDom().scrollIntoView({ block: "center" });
            const box = chart.getDom().getBoundingClientRect();
            const y = Math.min(flexalign.value("total_motion_A", row), panel.limit);
            const at = chart.convertToPixel({ gridIndex: 0 }, [sessionAxis.at(row), y]);
            return [box.left + at[0], box.top + at[1]];
        }""",
        highest,
    )
    page.mouse.click(x, y)
    page.wait_for_selector("#dialog figure")

    assert page.locator("#movie-name").inner_text() == movies[highest]["name"]


def test_the_axis_is_kept_when_the_page_is_read_again(page):
    page.get_by_label(LABEL).select_option("time of the movie files")
    page.reload()
    page.wait_for_selector("html[data-ready]", state="attached")

    assert page.get_by_label(LABEL).input_value() == "written"
