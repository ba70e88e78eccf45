"""The page of a session does what a person wants of it, with a mouse and without."""

from __future__ import annotations

import json
import re
import shutil

import pytest
from axe_playwright_python.sync_playwright import Axe

from flexalign.report import live
from flexalign.report.columns import PANELS
from flexalign.report.live import MAX_INSIDE, Report

MOVIES, FAILED = 240, 4
DONE = MOVIES - FAILED
GROUND, WHITE = "getComputedStyle(document.body).backgroundColor", "rgb(255, 255, 255)"
FIRST = "FoilHole_20000000_Data_0_00000"


@pytest.fixture
def opened(open_page, session_folder):
    """The report on a laptop."""
    return open_page(session_folder / "report.html")


@pytest.fixture(scope="module")
def numbers(session_folder):
    """What report.json says of the movies."""
    return json.loads((session_folder / "report.json").read_text())["movies"]


def shown_names(page) -> list[str]:
    """Names in the rows of the table that are to be seen."""
    return page.locator("#table tbody td.name").all_inner_texts()


def wait_for_first(page, name: str) -> None:
    """Wait until the movie `name` is in the first row of the table."""
    page.wait_for_function(
        "name => document.querySelector('#table tbody td.name').innerText === name", arg=name
    )


def selected_count(page) -> int:
    """Number of movies that are selected."""
    return page.evaluate("flexalign.selected.size")


def marked_in_plots(page) -> list[list[int]]:
    """Numbers of the movies that each plot shows as selected."""
    return page.evaluate(
        """session.drawn.map(({ chart }) => chart.getOption().series
            .find((one) => one.id === "selected").data.map((point) => point[0]))"""
    )


def point_of(page, column: str, row: int) -> tuple[float, float]:
    """Where a movie is on the screen, in the plot of a column."""
    return tuple(
        page.evaluate(
            """([column, row]) => {
                const { chart } = session.drawn.find((one) => one.panel.columns[0] === column);
                chart.getDom().scrollIntoView({ block: "center" });
                const box = chart.getDom().getBoundingClientRect();
                const point = [row + 1, flexalign.value(column, row)];
                const at = chart.convertToPixel({ gridIndex: 0 }, point);
                return [box.left + at[0], box.top + at[1]];
            }""",
            [column, row],
        )
    )


def test_it_opens_without_a_complaint_and_asks_nobody_for_anything(open_page, session_folder):
    opened = open_page(session_folder / "report.html", is_strict=True)

    assert opened.complaints == []
    assert opened.requests == [(session_folder / "report.html").as_uri()]


def test_the_policy_of_the_page_forbids_the_network(open_page, session_folder):
    opened = open_page(session_folder / "report.html", is_strict=True)
    opened.page.evaluate("() => { new Image().src = 'https://example.org/x.png'; }")
    opened.page.evaluate("() => fetch('https://example.org/').catch(() => null)")

    assert len([text for text in opened.complaints if "Content Security Policy" in text]) >= 2


def test_it_says_first_whether_it_worked(opened):
    text = opened.page.locator("#outcome").inner_text()

    assert f"{DONE} of {MOVIES} movies are done. {FAILED} failed." in text
    assert text.count("expected 40 frames, found 31 whole ones") == FAILED
    assert "broken_record.json" in text


def test_flagged_movies_come_worst_first_with_advice(opened, numbers):
    page = opened.page
    listed = page.locator(".worst button").all_inner_texts()
    ranks = [
        ["problem", "warning", "note"].index(movie["severity"])
        for name in listed
        for movie in numbers
        if movie["name"] == name
    ]

    assert len(listed) == min(20, sum(bool(movie["flags"]) for movie in numbers)) > 2
    assert ranks == sorted(ranks)
    assert "What to do." in page.locator("#attention .advice").first.text_content()


def test_flags_of_every_severity_are_of_one_height(opened):
    heights_px = opened.page.evaluate(
        """() => ["problem", "warning", "note"].map(severity => {
          const chip = document.createElement("span");
          chip.className = `chip ${severity}`;
          chip.textContent = "flag";
          document.querySelector("main").append(chip);
          return chip.offsetHeight;
        })"""
    )

    assert heights_px[0] > 0
    assert len(set(heights_px)) == 1


@pytest.mark.parametrize("size", ["laptop", "phone"])
def test_nothing_is_wider_than_the_screen(open_page, session_folder, size):
    page = open_page(session_folder / "report.html", size=size).page
    width = page.evaluate("innerWidth")

    assert page.evaluate("document.documentElement.scrollWidth") == width
    page.evaluate(f"movie.open(flexalign.rowOf.get('{FIRST}'))")
    page.wait_for_selector("#dialog figure")
    assert page.evaluate("document.documentElement.scrollWidth") == width
    assert page.evaluate("dialog.scrollWidth <= dialog.clientWidth")


def test_the_table_of_parameters_fits_a_phone(open_page, session_folder):
    page = open_page(session_folder / "report.html", size="phone").page
    table = page.locator("#provenance .scroll")

    assert table.evaluate("box => box.scrollWidth <= box.clientWidth")


def test_the_tables_of_a_movie_fit_a_phone(open_page, session_folder):
    page = open_page(session_folder / "report.html", size="phone").page
    page.evaluate(f"movie.open(flexalign.rowOf.get('{FIRST}'))")
    page.wait_for_selector("#dialog figure")
    page.locator("#dialog details").evaluate_all("all => all.forEach((one) => (one.open = true))")

    assert page.locator("#dialog table").count() == 5
    assert page.evaluate("dialog.scrollWidth <= dialog.clientWidth")


@pytest.mark.parametrize(("size", "scheme"), [("laptop", "light"), ("phone", "dark")])
def test_assistive_technology_finds_nothing_wrong(open_page, session_folder, size, scheme):
    page = open_page(session_folder / "report.html", size=size, scheme=scheme).page
    whole = Axe().run(page)
    page.evaluate(f"movie.open(flexalign.rowOf.get('{FIRST}'))")
    page.wait_for_selector("#dialog figure")
    one = Axe().run(page, context="#dialog")

    assert len(whole.response["passes"]) > 20
    assert whole.response["violations"] == [], whole.generate_report()
    assert one.response["violations"] == [], one.generate_report()


def test_headings_sort_by_mouse_and_by_keyboard(opened, numbers):
    page = opened.page
    motions = sorted((movie["total_motion_A"], movie["name"]) for movie in numbers)
    heading = page.get_by_role("columnheader", name="Motion (Å)", exact=False).first

    heading.click()
    wait_for_first(page, motions[0][1])
    heading.locator(".dt-column-order").focus()
    page.keyboard.press("Enter")
    wait_for_first(page, motions[-1][1])

    assert heading.get_attribute("aria-sort") == "descending"


def test_rows_are_filtered_by_text_flag_and_number(opened, numbers):
    page = opened.page
    flag = next(movie["flags"][0] for movie in numbers if movie["flags"])

    page.get_by_label("Search").fill(FIRST)
    by_text = shown_names(page)
    page.get_by_label("Search").fill("")
    page.get_by_label("Flag", exact=True).select_option(flag)
    by_flag = page.evaluate("table.shownRows().length")
    page.get_by_label("Flag", exact=True).select_option("")
    page.get_by_label("At least", exact=True).fill("12")
    page.get_by_label("At most", exact=True).fill("20")
    by_number = page.evaluate("table.shownRows().length")

    assert by_text == [FIRST]
    assert by_flag == sum(flag in movie["flags"] for movie in numbers)
    assert by_number == sum(12 <= movie["total_motion_A"] <= 20 for movie in numbers)


def test_dragging_over_points_selects_their_rows(opened, numbers):
    page = opened.page
    rows = range(20, 60)
    values = [numbers[row]["early_motion_A"] for row in rows]
    left, right = (point_of(page, "early_motion_A", row)[0] for row in (20, 59))
    top = point_of(page, "early_motion_A", 20 + values.index(max(values)))[1]
    bottom = point_of(page, "early_motion_A", 20 + values.index(min(values)))[1]

    page.mouse.move(left - 1, top - 4)
    page.mouse.down()
    page.mouse.move((left + right) / 2, (top + bottom) / 2, steps=4)
    page.mouse.move(right + 1, bottom + 4, steps=4)
    page.mouse.up()
    page.wait_for_function("flexalign.selected.size > 0")

    names = {numbers[row]["name"] for row in rows}
    found = page.evaluate("[...flexalign.selected].map((row) => flexalign.data.names[row])")
    assert set(found) == names
    assert page.locator("#selection-count").inner_text() == "40 movies selected."
    assert set(shown_names(page)) < names
    assert page.evaluate("table.shownRows().length") == 40
    assert page.locator("#table tbody input:checked").count() == 25
    assert set(map(len, marked_in_plots(page))) <= {39, 40}


def test_a_row_that_is_ticked_is_marked_in_the_plots(opened):
    page = opened.page
    page.get_by_label(f"Select {FIRST}").check()

    assert marked_in_plots(page) == [[1]] * len(PANELS)


def test_the_movies_of_a_flag_are_selected(opened, numbers):
    page = opened.page
    page.locator("#attention details:not([open]) summary").evaluate_all(
        "all => all.forEach((one) => one.click())"
    )
    button = page.locator("button[data-flag]").first
    flag = button.get_attribute("data-flag")
    button.click()

    assert selected_count(page) == sum(flag in movie["flags"] for movie in numbers)


def test_names_of_selected_movies_are_saved(opened, tmp_path):
    page = opened.page
    page.get_by_label(f"Select {FIRST}").check()
    with page.expect_download() as download:
        page.get_by_role("button", name="Save names").click()
    download.value.save_as(tmp_path / "names.txt")

    text = (tmp_path / "names.txt").read_text()
    assert text == f"/data/session/movies/{FIRST}_fractions.tiff\n"


def test_a_click_on_a_point_opens_its_movie(opened, numbers):
    page = opened.page
    highest = max(range(len(numbers)), key=lambda row: numbers[row]["total_motion_A"])
    page.mouse.click(*point_of(page, "total_motion_A", highest))

    page.wait_for_selector("#dialog figure")
    assert page.locator("#movie-name").inner_text() == numbers[highest]["name"]


def test_a_movie_shows_its_pictures_plots_and_numbers(open_page, session_folder):
    opened = open_page(session_folder / "report.html", is_strict=True)
    page = opened.page
    page.get_by_role("button", name=FIRST).first.click()
    page.wait_for_selector("#dialog figure")

    titles = page.locator("#dialog figcaption").all_inner_texts()
    wanted = (
        "Micrograph",
        "Trajectory",
        "Drift by dose",
        "Power spectra",
        "Signal",
        "Which motion",
    )
    assert all(any(title.startswith(start) for title in titles) for start in wanted)
    for image in page.locator("#dialog img").all():
        image.evaluate("image => image.decode()")
    assert page.locator("#dialog canvas").count() >= 7
    for image in page.locator("#dialog img").all():
        assert FIRST in image.get_attribute("alt")
    page.locator("#dialog summary", has_text="Parameters").click()
    assert page.locator("#dialog").get_by_text("dose_per_frame_e_A2").first.is_visible()
    assert opened.complaints == []
    assert opened.strange_requests() == []


def test_the_numbers_of_a_movie_are_grouped_and_have_units(opened):
    page = opened.page
    page.get_by_role("button", name=FIRST).first.click()
    page.wait_for_selector("#dialog figure")

    motion = page.locator(".number-groups h3", has_text="Motion").first
    assert motion.locator("+ dl dd").first.inner_text().endswith(" Å")
    dose = page.locator(".number-groups h3", has_text="Dose")
    assert dose.locator("+ dl dd").first.inner_text().endswith(" e/Å²")


def test_the_address_of_an_open_movie_opens_it_again(opened):
    page = opened.page
    page.get_by_role("button", name=FIRST).first.click()
    page.wait_for_selector("#dialog figure")
    address = page.url
    page.goto("about:blank")
    page.goto(address)
    page.wait_for_selector("#dialog figure")

    assert page.locator("#movie-name").inner_text() == FIRST
    assert opened.complaints == []


def test_the_next_movie_is_that_of_the_table(opened, numbers):
    page = opened.page
    by_motion = sorted(numbers, key=lambda movie: -movie["total_motion_A"])
    page.evaluate("table.grid.order([5, 'desc']).draw()")
    page.locator("#table tbody td.name button").first.click()
    page.wait_for_selector("#dialog figure")
    assert page.locator("#movie-name").inner_text() == by_motion[0]["name"]

    page.get_by_role("button", name="Next").click()
    page.wait_for_selector("#dialog figure")

    assert page.locator("#movie-name").inner_text() == by_motion[1]["name"]


def test_everything_is_done_by_keyboard_alone(opened, numbers):
    page = opened.page
    page.locator("#theme").focus()
    for _ in range(80):
        page.keyboard.press("Tab")
        if page.evaluate("document.activeElement.getAttribute('role') === 'application'"):
            break
    page.keyboard.press("Home")
    page.keyboard.press("ArrowRight")
    page.keyboard.press("ArrowRight")
    said = page.locator("#announcer").inner_text()
    page.keyboard.press("Space")
    page.keyboard.press("Shift+ArrowRight")
    page.keyboard.press("Shift+ArrowRight")
    chosen = page.evaluate("[...flexalign.selected].sort((a, b) => a - b)")
    page.keyboard.press("Enter")
    page.wait_for_selector("#dialog figure")
    name = page.locator("#movie-name").inner_text()
    page.keyboard.press("Escape")

    assert said.startswith(f"Movie 3 of {DONE}, {numbers[2]['name']}")
    assert chosen == [2, 3, 4]
    assert name == numbers[4]["name"]
    assert not page.evaluate("dialog.open")
    assert page.evaluate("document.activeElement.getAttribute('role')") == "application"


def test_the_page_alone_still_opens_the_worst_movies(open_page, session_folder, tmp_path, numbers):
    shutil.copy(session_folder / "report.html", tmp_path)
    opened = open_page(tmp_path / "report.html")
    page = opened.page
    page.locator(".worst button").first.click()
    page.wait_for_selector("#dialog figure")
    page.wait_for_function(
        "[...dialog.querySelectorAll('img')].every((image) => image.naturalWidth > 0)"
    )
    inside = json.loads(page.locator("#inside").text_content())

    assert opened.complaints == []
    assert 3 < len(inside) <= MAX_INSIDE
    left_out = next(row for row in range(DONE) if not numbers[row]["flags"])
    page.evaluate(f"movie.show({left_out})")
    page.wait_for_selector("#dialog .note")
    assert "report_data" in page.locator("#dialog .note").inner_text()


def test_it_follows_the_theme_of_the_system_and_can_be_told(open_page, session_folder):
    page = open_page(session_folder / "report.html", scheme="dark").page
    dark = page.evaluate(GROUND)
    page.get_by_role("button", name="Switch to the light theme").click()

    assert page.evaluate(GROUND) == WHITE != dark


def test_paper_is_light_and_leaves_out_what_cannot_be_pressed(open_page, session_folder):
    page = open_page(session_folder / "report.html", scheme="dark").page
    page.evaluate("dispatchEvent(new Event('beforeprint'))")
    assert page.evaluate(GROUND) == WHITE
    page.emulate_media(media="print")

    assert not page.locator("header nav").is_visible()
    assert not page.locator("#filters").is_visible()
    assert page.locator("#outcome").is_visible()
    assert page.locator("#panels .on-paper").first.is_visible()


def test_the_numbers_are_there_without_scripts(browser, session_folder):
    context = browser.new_context(java_script_enabled=False)
    page = context.new_page()
    page.goto((session_folder / "report.html").as_uri())
    text = page.locator("main").inner_text()
    context.close()

    assert f"{DONE} of {MOVIES} movies are done" in text
    assert "report.csv" in text


def test_names_with_signs_of_html_and_of_addresses_are_names(
    open_page, session_folder, numbers, tmp_path, monkeypatch
):
    name = "a <b>&'\"#%41?é"
    for suffix in ("_record.json", "_thumb.png", "_psd_thumb.png"):
        shutil.copy(session_folder / f"{FIRST}{suffix}", tmp_path / f"{name}{suffix}")
        shutil.copy(session_folder / f"{numbers[1]['name']}{suffix}", tmp_path / f"other{suffix}")
    text = (tmp_path / f"{name}_record.json").read_text()
    (tmp_path / f"{name}_record.json").write_text(
        json.dumps(json.loads(text.replace(FIRST, "NAME"))).replace(
            "NAME", json.dumps(name, ensure_ascii=False)[1:-1]
        )
    )
    monkeypatch.setattr(live, "MAX_INSIDE", 0)  # so that all comes from files
    Report(tmp_path).write()
    opened = open_page(tmp_path / "report.html", is_strict=True)
    page = opened.page
    page.locator("#table tbody td.name button", has_text=name).click()
    page.wait_for_selector("#dialog figure")

    assert page.locator("#movie-name").inner_text() == name
    for image in page.locator("#dialog img").all():
        image.evaluate("image => image.decode()")
    assert opened.complaints == []


def test_words_of_a_record_are_no_script(open_page, session_folder, tmp_path):
    hostile = 'none&<img src=x onerror="window.ran = 1">'
    for number in range(2):
        record = json.loads((session_folder / f"{FIRST}_record.json").read_text())
        record["quality"]["chosen"] = record["decisions"]["device"] = hostile
        record["quality"]["flags"] = [{"name": hostile, "severity": hostile}]
        record["quality"]["candidate_scores"] = {hostile: 1.0, "none": 0.0}
        record["version"], record["warnings"] = hostile, [hostile]
        (tmp_path / f"&{hostile.replace('/', '')}{number}_record.json").write_text(
            json.dumps(record)
        )
    Report(tmp_path).write()
    opened = open_page(tmp_path / "report.html")
    page = opened.page
    page.fill("#table_wrapper input[type=search]", "onerror")
    page.locator("#table tbody td.name button").first.click()
    page.wait_for_selector("#dialog figure")

    assert page.evaluate("window.ran") is None
    assert page.locator("img[src=x]").count() == 0
    assert len(shown_names(page)) == 2


def test_a_page_of_one_movie_shows_it_at_once(open_page, session_folder, tmp_path):
    for suffix in ("_record.json", "_thumb.png", "_psd_thumb.png"):
        shutil.copy(session_folder / f"{FIRST}{suffix}", tmp_path)
    Report(tmp_path).write()
    opened = open_page(tmp_path / "report.html", is_strict=True)
    page = opened.page
    page.wait_for_selector("#single figure")
    violations = Axe().run(page).response["violations"]

    assert page.locator("#movie-name").inner_text() == FIRST
    assert page.locator("#dialog").count() == page.locator("#table").count() == 0
    assert opened.complaints == violations == []


def test_a_folder_in_which_all_movies_failed_says_why(open_page, session_folder, tmp_path):
    shutil.copy(session_folder / "failed.tsv", tmp_path)
    Report(tmp_path).write()
    opened = open_page(tmp_path / "report.html", is_strict=True)

    assert "found 31 whole ones" in opened.page.locator("#outcome").inner_text()
    assert opened.complaints == []


def test_one_value_far_above_the_others_does_not_flatten_them(open_page, session_folder, tmp_path):
    text = (session_folder / "report.html").read_text()
    far = re.sub(r'("total_motion_A": ?\[)[\d.]+', r"\g<1>9876", text, count=1)
    assert far != text
    (tmp_path / "report.html").write_text(far)

    page = open_page(tmp_path / "report.html").page

    top, drawn = page.evaluate(
        """(() => {
            const { panel, chart } = session.drawn[0];
            const points = chart.getOption().series.flatMap(({ data }) => data);
            return [chart.getOption().yAxis[0].max, points.find(([, , value]) => value === 9876)];
        })()"""
    )
    assert drawn[1] < top < 500
    assert "are at the upper edge" in page.locator("#panels figcaption").first.inner_text()


def test_a_page_is_read_again_only_while_its_run_goes_on(open_page, session_folder, tmp_path):
    text = (session_folder / "report.html").read_text()
    assert 'data-run="going-on"' not in text
    (tmp_path / "report.html").write_text(
        text.replace('<html lang="en">', '<html lang="en" data-run="going-on">')
    )

    for path, times in ((session_folder, 0), (tmp_path, 1)):
        page = open_page(path / "report.html").page
        page.clock.install()
        page.reload()
        page.evaluate("window.isFirst = true")
        page.clock.run_for(31_000)
        page.wait_for_function("document.documentElement.dataset.ready !== undefined")
        assert page.evaluate("window.isFirst === undefined") == bool(times)


def test_labels_for_assistive_technology_have_no_markup(opened):
    labels = opened.page.locator("[aria-label]").evaluate_all(
        "all => all.map((one) => one.getAttribute('aria-label'))"
    )

    assert len(labels) > 20
    assert [label for label in labels if "<" in label or "&lt;" in label] == []


def test_the_page_is_named_after_its_run(opened, session_folder):
    assert opened.page.title().startswith(f"{session_folder.name} ")
    assert opened.page.locator("h1").inner_text() == session_folder.name


def test_movies_that_were_not_corrected_are_left_out_of_the_motion_plots(
    open_page, session_folder, tmp_path
):
    text = (session_folder / "report.html").read_text()
    changed = re.sub(r'("chosen": ?\[)"refined"', r'\g<1>"none"', text, count=1)
    assert changed != text
    (tmp_path / "report.html").write_text(changed)

    page = open_page(tmp_path / "report.html").page
    drawn = page.evaluate(
        """(column) => session.drawn.find(({ panel }) => panel.columns[0] === column)
            .chart.getOption().series.flatMap(({ data }) => data.map((point) => point[0]))""",
        "total_motion_A",
    )

    assert 1 not in drawn
    assert 2 in drawn
    assert "not corrected" in page.locator("#panels figcaption").first.inner_text()
