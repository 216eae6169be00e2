"""report.html in a real browser, without a network: phone and desktop, light and dark."""

from __future__ import annotations

import os
import shutil

import numpy as np
import pandas as pd
import pytest

from hcp_mer.reporting.html import write_report
from hcp_mer.reporting.scores import write_metrics
from tests.reporting.runs_on_disk import clips_of, table, write_run

pytestmark = [pytest.mark.slow, pytest.mark.browser]

ARGUMENTS = (
    *("--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run"),
    *("--disable-background-networking", "--disable-component-update", "--disable-sync"),
)
NO_BROWSER = (
    "no chromium on this machine, so nobody looks at the report: apt-get install chromium "
    "(Debian), or put a chromium into PATH"
)
# Accuracy 1, 1/3, 2/3 and 1: neither in this order nor in its reverse.
ANSWERS = {"sub1": "nps", "sub10": "nnn", "sub2": "npn", "sub3": "nps"}


@pytest.fixture(scope="module")
def page_file(tmp_path_factory):
    """A report with every kind of table, figure and picture."""
    folder = tmp_path_factory.mktemp("run")
    clips = [clip for name, own in ANSWERS.items() for clip in clips_of(name, answers=own)]
    more = [clip.replace("casme2", "a_corpus_with_a_long_name") for clip in clips]
    predictions = table(*clips, *more, gate_holistic=0.3, gate_componential=0.6).assign(
        holistic_prediction="negative", componential_prediction="surprise"
    )
    negative = predictions.assign(prediction="negative")
    write_run(folder, predictions, chance=negative, linear_head=predictions, coop=negative)
    (folder / "ablations").mkdir()
    negative.to_parquet(folder / "ablations" / "without_adapter.parquet")
    rng = np.random.default_rng(0)
    features = predictions[["dataset", "subject", "clip_id", "label", "seed"]]
    features = features.assign(embedding=list(rng.normal(size=(len(features), 8))))
    features.to_parquet(folder / "embeddings.parquet")
    epochs = pd.concat([negative.assign(epoch=1), predictions.assign(epoch=2)])
    epochs = epochs.assign(fold=epochs["dataset"] + "/" + epochs["subject"])
    epochs.to_parquet(folder / "leaky_epochs.parquet")
    write_metrics(folder)
    image = rng.integers(0, 256, (32, 32, 3), dtype=np.uint8)
    example = {"clip": "a_corpus_with_a_long_name/sub10/1", "label": "positive"}
    example |= {"prediction": "negative", "onset": image, "magnified": image, "flow": image}
    return write_report(folder, [example, example | {"prediction": "positive"}])


@pytest.fixture(scope="module")
def browser():
    place = shutil.which("chromium") or shutil.which("chromium-browser")
    if place is None:
        # Where changes are checked the test must not go missing unseen.
        pytest.fail(NO_BROWSER) if os.environ.get("CI") else pytest.skip(NO_BROWSER)
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        running = playwright.chromium.launch(executable_path=place, args=ARGUMENTS)
        yield running
        running.close()


@pytest.fixture
def visit(browser, page_file):
    """visit(width_px, scheme) → the page; ends in an error if the browser had to complain."""
    pages, complaints = [], []

    def open_page(width_px=1440, scheme="light", **options):
        page = browser.new_page(
            viewport={"width": width_px, "height": 900}, color_scheme=scheme, **options
        )
        pages.append(page)
        page.on("console", lambda said: complaints.append(said.text) if said.type == "error" else 0)
        page.on("pageerror", lambda error: complaints.append(str(error)))
        page.on("request", lambda asked: complaints.append(asked.url) if is_foreign(asked) else 0)
        page.goto(page_file.as_uri())
        return page

    yield open_page
    for page in pages:
        page.close()
    assert complaints == []


def is_foreign(request) -> bool:
    return not request.url.startswith(("file:", "data:"))


def column(page, number):
    return page.locator(f"table.sortable tbody tr > :nth-child({number})").all_inner_texts()


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width_px", [360, 1440])
def test_nothing_is_missing_and_nothing_sticks_out(visit, width_px, scheme):
    page = visit(width_px, scheme)
    scrolls, shown = page.evaluate("[document.documentElement.scrollWidth, innerWidth]")
    assert scrolls <= shown == width_px
    images = page.evaluate("[...document.images].map(i => [i.complete, i.naturalWidth, i.width])")
    assert len(images) > 10
    assert all(complete and natural > 0 and width > 0 for complete, natural, width in images)


@pytest.mark.parametrize(("scheme", "is_light"), [("light", True), ("dark", False)])
def test_page_and_figures_follow_the_readers_theme(visit, scheme, is_light):
    page = visit(scheme=scheme)
    colour = page.evaluate("getComputedStyle(document.body).backgroundColor")
    red = int(colour.removeprefix("rgb(").split(",")[0])
    assert (red > 128) == is_light
    figure = page.locator("picture img").first
    chosen, light = figure.evaluate("image => [image.currentSrc, image.src]")
    assert (chosen == light) == is_light


def test_text_keeps_the_contrast_of_level_aa(visit):
    script = """() => {
        const rgb = c => c.match(/[0-9.]+/g).slice(0, 3).map(Number);
        const light = c => rgb(c).map(v => v / 255)
            .map(v => v <= 0.04045 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4)
            .reduce((sum, v, i) => sum + v * [0.2126, 0.7152, 0.0722][i], 0);
        const ground = e => { for (; e; e = e.parentElement) {
            const c = getComputedStyle(e).backgroundColor;
            if (!c.endsWith(', 0)')) return c; } };
        return [...document.querySelectorAll('main *')]
            .filter(e => e.innerText && !e.children.length)
            .map(e => [light(getComputedStyle(e).color), light(ground(e))].sort((a, b) => b - a))
            .map(([a, b]) => (a + 0.05) / (b + 0.05));
    }"""
    for scheme in ("light", "dark"):
        ratios = visit(scheme=scheme).evaluate(script)
        assert len(ratios) > 100
        assert min(ratios) >= 4.5


def test_a_click_on_a_heading_sorts_and_another_turns_it_round(visit):
    page = visit()
    head = page.locator("table.sortable th", has_text="Subject").first
    assert head.get_attribute("aria-sort") is None
    head.get_by_role("button").click()
    assert head.get_attribute("aria-sort") == "ascending"
    assert column(page, 2) == sorted(column(page, 2), key=lambda name: int(name[3:]))
    head.get_by_role("button").click()
    assert head.get_attribute("aria-sort") == "descending"
    assert column(page, 2) == sorted(column(page, 2), key=lambda name: -int(name[3:]))


def test_the_keyboard_reaches_the_headings_and_numbers_sort_as_numbers(visit):
    page = visit()
    page.locator("table.sortable th button").nth(2).focus()
    page.keyboard.press("Tab")
    assert page.evaluate("document.activeElement.textContent") == "Accuracy"
    page.keyboard.press("Enter")
    assert column(page, 4) == ["0.333"] * 2 + ["0.667"] * 2 + ["1.000"] * 4
    page.keyboard.press("Space")
    assert column(page, 4)[0] == "1.000"
    heads = page.locator("table.sortable th[aria-sort]")
    assert heads.count() == 1  # one column at a time
    # The row moved as a whole: who had 1/3 still has it.
    rows = page.locator("table.sortable tbody tr").all_inner_texts()
    assert all(("sub10" in row) == ("0.333" in row) for row in rows)


def test_without_script_the_tables_stand_and_no_button_is_dead(visit, browser, page_file):
    context = browser.new_context(java_script_enabled=False)
    page = context.new_page()
    page.goto(page_file.as_uri())
    assert page.locator("table.sortable tbody tr").count() == 8
    assert page.locator("button").count() == 0
    context.close()


def test_what_scrolls_can_be_reached_by_keyboard(visit):
    page = visit(360)
    unreachable = page.evaluate(
        """[...document.querySelectorAll('main *')].filter(e => e.scrollWidth > e.clientWidth + 1
            && ['auto', 'scroll'].includes(getComputedStyle(e).overflowX) && e.tabIndex < 0)
            .map(e => e.outerHTML.slice(0, 80))"""
    )
    assert unreachable == []


def test_printed_on_paper_it_is_light_and_whole(visit):
    page = visit(scheme="dark")
    page.emulate_media(media="print", color_scheme="dark")
    assert page.evaluate("getComputedStyle(document.body).backgroundColor") == "rgb(255, 255, 255)"
    hidden = page.evaluate(
        "[...document.querySelectorAll('.tall')].some(e => e.scrollHeight > e.clientHeight + 1)"
    )
    assert not hidden
