"""The page as visitors have it: in chromium, on a phone and at a desk, by hand and by keyboard."""

from __future__ import annotations

import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import time
from itertools import pairwise
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

from hcp_mer.recognition.page_examples import EXAMPLES, write_examples
from tests.face_scenes import landscape
from tests.films import write_film
from tests.reporting.test_report_in_browser import ARGUMENTS

pytestmark = [pytest.mark.slow, pytest.mark.browser]

ROOT = Path(__file__).parents[2]
NO_BROWSER = (
    "no chromium on this machine, so nobody looks at the page: apt-get install chromium (Debian), "
    "or put a chromium into PATH"
)
PHONE, DESK = (390, 844), (1280, 900)
WAIT_MS = 60_000


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


@pytest.fixture(scope="module")
def served(tmp_path_factory):
    """scripts/demo.py on a free port: its address, its process, and the folder it writes in."""
    folder = tmp_path_factory.mktemp("served")
    command = [sys.executable, str(ROOT / "scripts" / "demo.py"), "--port", "0"]
    settings = {**os.environ, "TMPDIR": str(folder), "PYTHONPATH": str(ROOT / "src")}
    with (folder / "said").open("w") as said:
        process = subprocess.Popen(command, stdout=said, stderr=said, env=settings, cwd=folder)
    try:
        deadline = time.monotonic() + 90
        while not (found := re.search(r"http://\S+", (folder / "said").read_text())):
            assert process.poll() is None, (folder / "said").read_text()
            assert time.monotonic() < deadline
            time.sleep(0.1)
        yield SimpleNamespace(address=found[0], process=process, folder=folder)
        process.send_signal(signal.SIGTERM)
        process.wait(15)
        lines = (folder / "said").read_text().split("\n")
        assert lines[0].startswith("The page is at http://127.0.0.1:")
        assert [line for line in lines[1:] if line] == []
        assert [path.name for path in folder.iterdir()] == ["said"]
    finally:
        process.kill()


@pytest.fixture
def visit(browser, served):
    """visit(size, scheme) → the page; ends in an error if the browser had to complain."""
    contexts, complaints = [], []

    def open_page(size=DESK, scheme="light"):
        width, height = size
        context = browser.new_context(
            viewport={"width": width, "height": height},
            color_scheme=scheme,
            accept_downloads=True,
        )
        contexts.append(context)
        page = context.new_page()
        page.set_default_timeout(WAIT_MS)
        page.on("console", lambda said: complaints.append(said.text) if said.type == "error" else 0)
        page.on("pageerror", lambda error: complaints.append(str(error)))
        page.on(
            "request",
            lambda asked: 0 if is_own(asked.url, served.address) else complaints.append(asked.url),
        )
        page.goto(served.address)
        page.get_by_role("heading", level=1).wait_for()
        return page

    yield open_page
    for context in contexts:
        context.close()
    assert complaints == []


def is_own(url, address) -> bool:
    return url.startswith((address, "data:", "blob:"))


def choose(page, title):
    page.get_by_role("button", name=title).click()
    return answered(page)


def upload(page, path):
    page.locator("#upload input[type=file]").set_input_files(path)


def answered(page):
    page.locator(".said.done").wait_for()
    return page.locator(".verdict").inner_text()


def complaint(page):
    page.locator(".said.error").wait_for()
    return page.get_by_role("alert").inner_text()


@pytest.fixture(scope="module")
def clips(tmp_path_factory):
    """Uploads: good ones, and such as cannot be used."""
    folder = tmp_path_factory.mktemp("clips")
    (good,) = write_examples(folder, EXAMPLES[:1])
    (folder / "words.mp4").write_text("this is no video\n" * 40)
    frames = EXAMPLES[4].frames()
    write_film(folder / "two people.mkv", [np.hstack([f, f]) for f in frames[:4]])
    write_film(folder / "nobody.mkv", [landscape((320, 240), 3).astype(np.uint8)] * 4)
    write_film(folder / "dark.mkv", [frame // 30 for frame in frames[:4]])
    write_film(folder / "short.mkv", frames[:2])
    return SimpleNamespace(folder=folder, good=good.path)


def left(served):
    """Files of visitors that are on the disk; Gradio's empty ones do not count."""
    (own,) = served.folder.glob("hcp_mer_page_*")
    files = [path for path in own.rglob("*") if path.is_file() and path.stat().st_size]
    return [path.name for path in files if path.parent.name != "examples"]


def test_an_example_is_answered_and_magnified_by_the_keyboard(visit, tmp_path):
    page = visit()
    page.get_by_role("button", name="Brows raised").focus()
    page.keyboard.press("Enter")
    assert answered(page) == "surprise"
    assert page.locator(".reason").inner_text().startswith("The face moved")
    assert "AU1 inner brow raiser" in page.locator(".units").inner_text()
    slider = page.get_by_role("slider")
    assert slider.input_value() == "8"
    before = page.locator("#magnified img").get_attribute("src")
    slider.focus()
    for _ in range(4):
        page.keyboard.press("ArrowRight")
    page.locator("#magnified figcaption", has_text="×10").wait_for()
    assert page.locator("#magnified img").get_attribute("src") != before
    slider.press("Home")
    page.locator("#magnified figcaption", has_text="as filmed").wait_for()
    with page.expect_download() as download:
        page.get_by_role("link", name="Download").click()
    assert download.value.suggested_filename == "brows-raised.png"
    download.value.save_as(tmp_path / "picture.png")
    assert (tmp_path / "picture.png").read_bytes().startswith(b"\x89PNG")


def test_bad_uploads_are_told_in_sentences_and_good_ones_go_on(visit, clips, served):
    page = visit()
    for name, words in {
        "words.mp4": "words.mp4 is a text file, not a video.",
        "two people.mkv": "2 faces in two people.mkv",
        "nobody.mkv": "No face found in nobody.mkv",
        "dark.mkv": "dark.mkv is too dark",
        "short.mkv": "short.mkv: 2 frames",
    }.items():
        upload(page, clips.folder / name)
        page.locator(".said.error", has_text=name).wait_for()
        assert complaint(page).startswith(words)
        assert "/" not in complaint(page)
        assert not page.locator("#result").is_visible()
    upload(page, clips.good)
    assert answered(page) == "negative"
    assert left(served) == []


def test_of_two_choices_in_a_row_the_last_is_answered(visit):
    page = visit()
    for title in ("Brows lowered", "Mouth corners up"):
        page.get_by_role("button", name=title).click()
        page.locator(".said.busy", has_text=title).wait_for()
    assert answered(page) == "positive"
    page.get_by_role("link", name="Download").wait_for()
    assert page.locator(".answer .clip").inner_text() == "mouth-corners-up.webm"


def test_a_blink_is_answered_in_words(visit):
    page = visit(PHONE)
    assert choose(page, "A blink") == "no micro-expression"
    assert "blinked" in page.locator(".reason").inner_text()
    assert not page.locator("#movement").is_visible()
    assert page.locator("figure.course img").is_visible()
    # On a phone the answer lies below what was touched: it is brought into sight.
    assert page.locator(".verdict").evaluate("e => e.getBoundingClientRect().top") < 844


CONTRAST = """() => {
    const rgb = c => c.match(/[0-9.]+/g).map(Number);
    const light = c => rgb(c).slice(0, 3).map(v => v / 255)
        .map(v => v <= 0.04045 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4)
        .reduce((sum, v, i) => sum + v * [0.2126, 0.7152, 0.0722][i], 0);
    const ground = e => { for (; e; e = e.parentElement) {
        const c = getComputedStyle(e).backgroundColor, a = rgb(c)[3];
        if (a === undefined || a === 1) return c; } };
    const shown = e => [...e.childNodes].some(n => n.nodeType === 3 && n.textContent.trim())
        && e.checkVisibility() && !e.closest('.sr-only, .heard, script, style, svg');
    return [...document.querySelectorAll('gradio-app *')].filter(shown).map(e => {
        const [a, b] = [light(getComputedStyle(e).color), light(ground(e))].sort((x, y) => y - x);
        return [(a + 0.05) / (b + 0.05), e.textContent.trim().slice(0, 40)]; });
}"""


@pytest.mark.parametrize(("size", "scheme"), [(PHONE, "dark"), (DESK, "light")])
def test_it_reads_well_on_a_phone_and_at_a_desk(visit, tmp_path, size, scheme):
    page = visit(size, scheme)
    assert choose(page, "Mouth corners up") == "positive"
    page.get_by_role("link", name="Download").wait_for()
    page.screenshot(path=tmp_path / "page.png", full_page=True)
    scrolls, shown = page.evaluate("[document.documentElement.scrollWidth, innerWidth]")
    assert scrolls <= shown == size[0]
    ratios = page.evaluate(CONTRAST)
    assert len(ratios) > 30
    assert [(ratio, words) for ratio, words in ratios if ratio < 4.5] == []
    levels = page.evaluate(
        "[...document.querySelectorAll('h1, h2, h3, h4')].map(e => Number(e.tagName[1]))"
    )
    assert levels[0] == 1
    assert levels.count(1) == 1
    assert all(deeper - level <= 1 for level, deeper in pairwise(levels))
    assert page.evaluate("document.documentElement.lang") == "en"
    images = page.evaluate(
        "[...document.images].filter(i => i.checkVisibility()).map(i => [i.alt, i.naturalWidth])"
    )
    assert len(images) == 3  # onset, apex, curve; the clip is played by those who open it
    assert all(alt and width > 0 for alt, width in images)
    unnamed = page.evaluate(
        """[...document.querySelectorAll('button, input, a[href], summary')]
            .filter(e => e.checkVisibility())
            .filter(e => !(e.ariaLabel || e.innerText.trim() || e.labels?.length))
            .map(e => e.outerHTML.slice(0, 90))"""
    )
    assert unnamed == []


def test_news_is_told_to_those_who_listen(visit, clips):
    page = visit()
    live = page.locator("#status [aria-live=polite]")
    assert "Choose a video" in live.inner_text()
    upload(page, clips.folder / "words.mp4")
    assert complaint(page) in live.inner_text()
    choose(page, "Nothing at all")
    assert "still.webm: no micro-expression" in live.inner_text()


def test_a_busy_port_ends_in_one_line(served):
    port = served.address.rstrip("/").rsplit(":", 1)[1]
    with socket.socket() as probe:
        assert probe.connect_ex(("127.0.0.1", int(port))) == 0
    command = [sys.executable, str(ROOT / "scripts" / "demo.py"), "--port", port]
    settings = {**os.environ, "PYTHONPATH": str(ROOT / "src")}
    ended = subprocess.run(command, capture_output=True, text=True, env=settings, check=False)
    assert ended.returncode == 2
    assert ended.stderr.startswith(f"error: no page can be served on 127.0.0.1, port {port} (")
    assert len(ended.stderr.splitlines()) == 1
    assert ended.stdout == ""
