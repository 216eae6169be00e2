"""The page without a browser: what it answers, what it keeps of a visitor, whom it asks."""

import asyncio
import base64
import importlib.util
import io
import json
import os
import re
import socket
import threading
import time
import warnings
from pathlib import Path
from types import SimpleNamespace

import cv2
import httpx  # which Gradio brings
import numpy as np
import pytest
import yaml
from PIL import Image

from hcp_mer.errors import UserError
from hcp_mer.model.motion_hcp_mer import MotionSettings, motion_pair
from hcp_mer.recognition import page as page_module
from hcp_mer.recognition import page_server, page_view
from hcp_mer.recognition.answer import NO_EXPRESSION, UNSURE, Course, Recognition, Views
from hcp_mer.recognition.page import FORGOTTEN, FULL, SORRY, Page, open_clip
from hcp_mer.recognition.page_examples import EXAMPLES, FPS_HZ, NUM_FRAMES, write_examples
from hcp_mer.recognition.page_server import free_port, opened_page
from hcp_mer.recognition.page_uploads import Uploads
from hcp_mer.recognition.page_visit import MOST_ADDED_PX, movement_of
from tests.films import noise_frames, write_film

# Gradio sets an option of pandas that newer ones have no more.
pytestmark = pytest.mark.filterwarnings("ignore:.*no_silent_downcasting")
ROOT = Path(__file__).parents[2]
SPACE = ROOT / "hub_configs" / "space"
MOST_WAITING = 3
MOTION = MotionSettings(alpha=3.0).to_dict()
ABOUT = {"model_name": "a model", "classes": "negative, surprise", "trained": "It learnt little."}
SCORES = [{"label": "surprise", "score": 0.9}, {"label": "negative", "score": 0.1}]
UNITS = [
    {"action_unit": "AU1", "name": "inner brow raiser", "log_odds": 2.5},
    {"action_unit": "AU25", "name": "lips part", "log_odds": -1.0},
]


def two_frames(by_px=1.0):
    """A random texture, and the same with a blob of its middle moved up."""
    rng = np.random.default_rng(0)
    texture = cv2.GaussianBlur(rng.uniform(40, 215, (112, 112, 3)).astype(np.float32), (0, 0), 1.5)
    y, x = np.mgrid[:112, :112].astype(np.float32)
    blob = np.exp(-((y - 56) ** 2 + (x - 56) ** 2) / 300).astype(np.float32)
    moved = cv2.remap(texture, x, y + by_px * blob, cv2.INTER_LINEAR)
    return [frame.clip(0, 255).astype(np.uint8) for frame in (texture, moved)]


def recognition(name="clip.mp4", answer="surprise", **changes):
    onset, apex = two_frames()
    course = Course([4, 5, 6], [0.0, 0.05, 0.1], np.array([0.0, 0.5, 0.2]), 0.1, 0, 1, 2)
    views = Views(apex, apex, onset, apex)
    found = {"explanation": {"action_units": UNITS}, "course": course, "views": views}
    found |= {"frames": [onset, apex, onset], "scores": SCORES, "reason": "it moved 0.5 px"}
    return Recognition(name, answer, **{**found, **changes})


class Pipe:
    """Answers every film with what it was told, and counts how often it was asked."""

    def __init__(self):
        self.says, self.asked = recognition, 0
        self.image_processor = SimpleNamespace(motion=MOTION)

    def recognise(self, film, attention):
        self.asked += 1
        said = self.says
        if isinstance(said, Exception):
            raise said
        return said(film.name)


@pytest.fixture(scope="module", autouse=True)
def gradio_alone():
    """Gradio makes event loops that it never closes: Python would complain of them much later.

    And what its own libraries warn each other of at its import is not ours to mend.
    """
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        import gradio  # noqa: F401
    made, make = [], asyncio.new_event_loop

    def noted():
        made.append(make())
        return made[-1]

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(asyncio, "new_event_loop", noted)
        yield
    for loop in made:
        loop.close()
    asyncio.set_event_loop(None)


@pytest.fixture
def pipe():
    return Pipe()


@pytest.fixture
def folders(tmp_path):
    for name in ("arrivals", "uploads"):
        (tmp_path / name).mkdir()
    return tmp_path / "arrivals", tmp_path / "uploads"


@pytest.fixture
def page(pipe, folders):
    own = Page(pipe, [], Uploads(*folders), ABOUT)
    own.blocks()
    return own


@pytest.fixture
def clip(folders):
    """A video that arrived as the server stores it: in a folder named by its content."""
    return arrive(folders[0])


def arrive(arrivals, name="clip.mkv"):
    (arrivals / "a1b2").mkdir(exist_ok=True)
    return write_film(arrivals / "a1b2" / name, noise_frames())


def contents(*folders):
    """All files in which something is: Gradio leaves an empty one behind for each upload."""
    files = [path for folder in folders for path in folder.rglob("*") if path.is_file()]
    return sorted(path for path in files if path.stat().st_size)


def pixels(html):
    """The picture in a piece of HTML."""
    content = re.search(r'src="data:image/webp;base64,([^"]+)"', html)[1]
    return np.array(Image.open(io.BytesIO(base64.b64decode(content))).convert("RGB"))


# What is shown.


def test_an_answer_shows_class_sentence_units_and_scores(page, clip):
    shown = page.answer(clip)
    parts = page.parts
    assert '<p class="verdict">surprise</p>' in shown[parts.answer]
    assert "It moved 0.5 px." in shown[parts.answer]
    assert "inner brow raiser" in shown[parts.answer]
    assert "lips part" not in shown[parts.answer]  # less likely there than not
    assert re.findall(r"<dd>(.*?)</dd>", shown[parts.scores]) == ["90 %", "10 %"]
    assert "onset at 0 ms, apex at 50 ms, offset at 100 ms" in shown[parts.course]
    assert shown[parts.result]["visible"]
    assert shown[parts.movement]["visible"]


@pytest.mark.parametrize("answer", [NO_EXPRESSION, UNSURE])
def test_what_is_no_class_is_not_shown_like_one(answer):
    assert 'class="answer none"' in page_view.answer(recognition(answer=answer))


def test_a_clip_without_movement_has_a_curve_and_nothing_to_magnify(page, pipe, clip):
    pipe.says = lambda name: recognition(
        name, NO_EXPRESSION, views=None, scores=[], explanation=None
    )
    shown = page.answer(clip)
    assert not shown[page.parts.movement]["visible"]
    assert shown[page.parts.scores] == ""
    assert "<img" in shown[page.parts.course]
    assert page.draw(shown[page.parts.visit])[page.parts.download].startswith("<a ")


def test_a_file_name_is_text_and_never_markup(page, pipe, clip):
    hostile = '<img src=x onerror="alert(1)">{{7*7}}${7*7}.mp4'
    pipe.says = lambda name: recognition(hostile)
    shown = page.answer(clip)
    download = page.draw(shown[page.parts.visit])[page.parts.download]
    pipe.says = UserError(f"no face found in {hostile}.")
    complaint = page.answer(clip)[page.parts.status]
    for html in (shown[page.parts.answer], shown[page.parts.status], download, complaint):
        assert "<img src=x" not in html
        assert "{{7*7}}${7*7}" in html


def test_the_picture_is_inside_its_link(page, clip):
    visit = page.answer(clip)[page.parts.visit]
    html = page.draw(visit)[page.parts.download]
    assert 'download="clip.png"' in html
    content = base64.b64decode(re.search(r"base64,([^\"]+)", html)[1])
    assert Image.open(io.BytesIO(content)).width == 1200


def test_the_clip_plays_slower_than_it_was_filmed():
    html = page_view.film(recognition())  # 50 ms from frame to frame, shown for 80
    assert "2 times slower" in html
    content = re.search(r'src="data:image/webp;base64,([^"]+)"', html)[1]
    film = Image.open(io.BytesIO(base64.b64decode(content)))
    film.load()
    assert (film.n_frames, film.info["duration"]) == (3, 80)


# The slider.


def test_the_slider_begins_at_what_the_model_saw():
    onset, apex = two_frames()
    movement = movement_of(Views(apex, apex, onset, apex), MOTION)
    assert movement.alpha == 3.0
    expected = motion_pair(onset, apex, MotionSettings(**MOTION)).magnified
    np.testing.assert_array_equal(movement.magnified(3.0), expected)


def test_a_factor_of_one_is_the_apex_as_filmed():
    onset, apex = two_frames()
    movement = movement_of(Views(apex, apex, onset, apex), MOTION)
    np.testing.assert_array_equal(movement.magnified(1.0), apex)


def test_the_slider_ends_before_the_skin_folds():
    onset, apex = two_frames(by_px=2.0)
    movement = movement_of(Views(apex, apex, onset, apex), MOTION)
    largest_px = np.linalg.norm(movement.flow_px, axis=-1).max()
    assert (movement.most - 1) * largest_px <= MOST_ADDED_PX / 2  # frames half as wide as 224 px
    assert movement.most < 30
    np.testing.assert_array_equal(movement.magnified(30.0), movement.magnified(movement.most))


def test_a_tiny_movement_may_be_magnified_thirtyfold():
    onset, _ = two_frames()
    assert movement_of(Views(onset, onset, onset, onset), MOTION).most == 30.0


def test_moving_the_slider_changes_the_picture_and_asks_no_model(page, pipe, clip):
    visit = page.answer(clip)[page.parts.visit]
    low, high = (page.magnify(visit, alpha)[page.parts.magnified] for alpha in (1, 5))
    assert "movement ×5" in high
    assert np.abs(pixels(low).astype(int) - pixels(high)).max() > 20
    assert pipe.asked == 1


def test_a_forgotten_answer_is_said_to_be_forgotten(page):
    assert FORGOTTEN in page.magnify(None, 5.0)[page.parts.status]


def test_what_is_kept_of_an_answer_holds_no_frames(page, clip):
    assert page.answer(clip)[page.parts.visit].found.frames is None


# What goes wrong.


def test_a_clip_that_cannot_be_used_is_told_in_a_sentence(page, pipe, clip):
    pipe.says = UserError(f"no face found in {clip} (5 frames looked at)")
    shown = page.answer(clip)
    assert 'role="alert"' in shown[page.parts.status]
    assert "No face found in clip.mkv (5 frames looked at)." in shown[page.parts.status]
    assert not shown[page.parts.result]["visible"]
    assert shown[page.parts.visit] is None  # nor does the slider go on with the clip before


def test_what_nobody_foresaw_tells_nothing_of_the_server_and_stops_nothing(
    page, pipe, clip, caplog
):
    pipe.says = RuntimeError("/srv/secret is full")
    complaint = page.answer(clip)[page.parts.status]
    assert SORRY in complaint
    assert "secret" not in complaint
    assert "/srv/secret is full" in caplog.text
    pipe.says = recognition
    assert page.answer(clip)[page.parts.result]["visible"]


def test_text_that_is_named_like_a_video_is_called_text(page, pipe, tmp_path):
    (tmp_path / "my notes.mp4").write_text("dear diary\n" * 20)
    complaint = page.answer(tmp_path / "my notes.mp4")[page.parts.status]
    assert "my notes.mp4 is a text file, not a video." in complaint
    assert str(tmp_path) not in complaint
    assert pipe.asked == 0


def test_a_long_video_is_refused_before_it_is_decoded(monkeypatch, tmp_path):
    path = write_film(tmp_path / "long.mkv", noise_frames(12))
    monkeypatch.setattr(page_module, "MOST_FRAMES", 10)
    monkeypatch.setattr("hcp_mer.motion.film_video.VideoFilm._decoded", None)
    with pytest.raises(UserError, match=r"^long\.mkv has 12 frames; a clip has 10 at most"):
        open_clip(path)


# Uploads.


def test_an_upload_is_deleted_when_it_is_answered_and_when_it_cannot_be(page, pipe, folders):
    for says in (recognition, UserError("too dark"), RuntimeError("oh")):
        pipe.says = says
        choice = page.take(str(arrive(folders[0])), None)[page.parts.choice]
        assert contents(*folders) == [choice.path]
        page.answer_choice(choice)
        assert contents(*folders) == []
    assert pipe.asked == 3


def test_a_new_clip_hides_the_answer_to_the_one_before(page, clip):
    shown = page.take(str(clip), None)
    assert not shown[page.parts.result]["visible"]
    assert shown[page.parts.visit] is None
    assert "Looking at clip.mkv" in shown[page.parts.status]


def test_visitors_with_the_same_clip_do_not_lose_it_to_each_other(folders):
    uploads = Uploads(*folders)
    first, second = (uploads.take(arrive(folders[0])) for _ in range(2))
    third = uploads.take(folders[0] / "a1b2" / "clip.mkv")  # arrived as one file with the second
    uploads.discard(first)
    uploads.discard(third)
    assert contents(*folders) == [second]
    assert second.name == "clip.mkv"


def test_of_two_choices_in_a_row_the_last_is_answered_once(page, pipe, folders):
    first = page.take(str(arrive(folders[0], "first.mkv")), None)[page.parts.choice]
    second = page.take(str(arrive(folders[0], "second.mkv")), first)[page.parts.choice]
    assert contents(*folders) == [second.path]
    turns = [page.answer_choice(second) for _ in range(2)]
    assert "second.mkv" in turns[0][page.parts.answer]
    assert page.parts.answer not in turns[1]
    assert pipe.asked == 1
    assert contents(*folders) == []


def test_an_answer_that_nobody_waits_for_any_more_is_not_shown(page, pipe, folders):
    first = page.take(str(arrive(folders[0], "first.mkv")), None)[page.parts.choice]

    def meanwhile(name):
        page.take(str(arrive(folders[0], "second.mkv")), first)
        return recognition(name)

    pipe.says = meanwhile
    assert page.parts.answer not in page.answer_choice(first)


def test_an_upload_that_is_gone_is_told(page, folders):
    (folders[0] / "a1b2").mkdir()
    shown = page.take(str(folders[0] / "a1b2" / "clip.mp4"), None)
    assert "Choose the video again." in shown[page.parts.status]
    (after,) = page.answer_choice(shown[page.parts.choice]).values()
    assert "Choose" not in str(after)  # the complaint stays as it is
    assert contents(*folders) == []
    assert list(folders[1].iterdir()) == []


def test_only_uploads_are_taken_and_only_taken_ones_deleted(tmp_path, folders):
    uploads, other = Uploads(*folders), tmp_path / "other.mp4"
    other.write_bytes(b"mine")
    with pytest.raises(UserError, match="no upload"):
        uploads.take(other)
    with pytest.raises(UserError, match="no upload"):
        uploads.take(folders[0] / ".." / "other.mp4")
    uploads.discard(other)
    uploads.discard(None)
    assert other.exists()


def test_what_nobody_asks_about_is_swept_away(folders):
    uploads = Uploads(*folders)
    taken = uploads.take(arrive(folders[0]))
    partial, fresh = folders[0] / "tmpabc", folders[0] / "tmpdef"
    partial.write_bytes(b"half of a fa")
    fresh.write_bytes(b"still arriv")
    long_ago = time.time() - 3600
    for path in (taken, partial):
        os.utime(path, (long_ago, long_ago))
    uploads.sweep()
    assert contents(*folders) == [fresh]


# Examples.


def test_examples_are_small_videos_of_drawn_faces(tmp_path, capfd):
    chosen = EXAMPLES[2:4]  # one that is acted, and the blink
    for one, example in zip(write_examples(tmp_path, chosen), chosen, strict=True):
        assert one.title == example.title
        capture = cv2.VideoCapture(str(one.path), cv2.CAP_FFMPEG)
        assert capture.get(cv2.CAP_PROP_FPS) == pytest.approx(FPS_HZ, rel=0.01)
        read = [capture.read()[1] for _ in range(NUM_FRAMES)]
        assert not capture.read()[0]
        drawn = example.frames()
        error = np.mean([(a[..., ::-1].astype(float) - b) ** 2 for a, b in zip(read, drawn)])
        assert 10 * np.log10(255**2 / error) > 35  # dB: a movement of a pixel survives
        assert one.path.stat().st_size < 300_000
    printed = capfd.readouterr()
    assert (printed.out, printed.err) == ("", "")


@pytest.mark.slow
def test_each_example_is_answered_as_it_is_acted(tmp_path):
    from hcp_mer.recognition.film_pipeline import load_pipeline

    pipe = load_pipeline(ROOT / "hub_configs" / "recipes" / "embedded-3class.yaml")
    answers = [pipe.recognise(one.path).answer for one in write_examples(tmp_path)]
    assert answers == ["negative", "positive", "surprise", NO_EXPRESSION, NO_EXPRESSION]


# On a port.


@pytest.fixture(scope="module")
def served(tmp_path_factory):
    """A page on a port, with the addresses that this process connects to while it is up."""
    pipe, asked = Pipe(), []
    connect = socket.socket.connect

    def watched(self, address):
        asked.append(address)
        return connect(self, address)

    patch = pytest.MonkeyPatch()
    kept = tmp_path_factory.mktemp("kept")
    patch.setattr(page_server.tempfile, "tempdir", str(kept))
    patch.setattr(page_server, "MOST_MB", 1)
    patch.setattr(page_module, "MOST_WAITING", MOST_WAITING)
    patch.setattr(page_server, "write_examples", lambda place: write_examples(place, EXAMPLES[:1]))
    for name in (*page_server._PRIVATE, "GRADIO_TEMP_DIR"):
        patch.setenv(name, "")  # put back at the end, whatever the page sets
    patch.setattr(socket.socket, "connect", watched)
    port = free_port("127.0.0.1", 0)
    with (
        opened_page(pipe, ABOUT, "127.0.0.1", port) as address,
        httpx.Client(base_url=address, timeout=30) as client,
    ):
        yield SimpleNamespace(pipe=pipe, client=client, asked=asked, kept=kept)
    patch.undo()
    assert list(kept.iterdir()) == []


def config(served):
    html = served.client.get("/").text
    start = html.index("window.gradio_config = ") + len("window.gradio_config = ")
    return json.JSONDecoder().raw_decode(html[start:])[0]


def job(served, name, data, session):
    """What the browser sends to call a handler."""
    (number,) = (d["id"] for d in config(served)["dependencies"] if d["api_name"] == name)
    return {"data": data, "fn_index": number, "session_hash": session}


def call(served, name, data, session):
    """A handler that waits for nobody."""
    place = "/gradio_api/run/predict"
    return served.client.post(place, json=job(served, name, data, session)).json()["data"]


def join(served, name, data, session):
    """Wait in line for a handler."""
    place = "/gradio_api/queue/join"
    return served.client.post(place, json=job(served, name, data, session))


def result(served, session):
    """What the queue answers to a session."""
    events = "/gradio_api/queue/data"
    with served.client.stream("GET", events, params={"session_hash": session}) as stream:
        for line in stream.iter_lines():
            if "process_completed" in line:
                return json.loads(line.removeprefix("data: "))["output"]["data"]
    raise AssertionError("the queue ended without an answer")


def upload(served, name, content):
    return served.client.post("/gradio_api/upload", files={"files": (name, content)})


def choose(served, name, content, session):
    """Upload and take; where the server put it before."""
    (place,) = upload(served, name, content).json()
    call(served, "take", [{"path": place, "meta": {"_type": "gradio.FileData"}}, None], session)
    return place


def ask(served, name, content, session):
    """Upload, take, answer: the status."""
    choose(served, name, content, session)
    join(served, "answer_choice", [None], session).raise_for_status()
    return result(served, session)[0]


def test_an_upload_over_the_wire_is_answered_and_nothing_of_it_is_left(served, tmp_path):
    clip = write_film(tmp_path / "clip.avi", noise_frames(), "MJPG").read_bytes()
    (folder,) = served.kept.iterdir()
    before = contents(folder)
    assert "Answered" in ask(served, "clip.avi", clip, "one")
    assert "is a text file" in ask(served, "bad.mp4", b"not a video\n" * 40, "one")
    assert "Answered" in ask(served, "again.avi", clip, "one")
    assert contents(folder) == before


def test_visitors_do_not_see_each_others_answers(served, tmp_path):
    clip = write_film(tmp_path / "clip.avi", noise_frames(), "MJPG").read_bytes()
    ask(served, "clip.avi", clip, "hers")
    assert "movement ×2" in call(served, "magnify", [None, 2], "hers")[0]
    assert FORGOTTEN in call(served, "magnify", [None, 2], "his")[1]


def test_a_taken_upload_cannot_be_fetched(served):
    place = choose(served, "clip.avi", b"RIFF", "hers")
    (folder,) = served.kept.iterdir()
    (taken,) = contents(folder / "uploads")
    assert served.client.get(f"/gradio_api/file={taken}").status_code == 403
    assert served.client.get(f"/gradio_api/file={place}").status_code in (403, 404)
    join(served, "answer_choice", [None], "hers")
    result(served, "hers")


def test_too_large_an_upload_is_refused_and_not_kept(served):
    (folder,) = served.kept.iterdir()
    before = contents(folder)
    assert upload(served, "large.mp4", bytes(2**20 + 1)).status_code == 413
    assert contents(folder) == before


def test_another_kind_of_file_is_refused(served):
    (place,) = upload(served, "notes.txt", b"dear diary").json()
    data = [{"path": place, "meta": {"_type": "gradio.FileData"}}, None]
    assert (
        "data"
        not in served.client.post(
            "/gradio_api/run/predict", json={"data": data, "fn_index": 0, "session_hash": "x"}
        ).json()
    )


def test_the_page_says_what_it_is_not_for_in_english_and_no_place_on_this_machine(served):
    html = served.client.get("/").text
    assert re.search(r'<html\s+lang="en"', html)
    assert "nor for any decision about a person" in html
    assert str(served.kept) not in html
    assert str(Path.home()) not in html


def test_clips_are_answered_one_by_one_and_the_line_is_bounded(served, tmp_path):
    clip = write_film(tmp_path / "clip.avi", noise_frames(), "MJPG").read_bytes()
    at_work, most, go_on = [], [], threading.Event()

    def slowly(name):
        at_work.append(name)
        most.append(len(at_work))
        assert go_on.wait(20)
        at_work.pop()
        return recognition(name)

    served.pipe.says = slowly
    sessions = [f"visitor {number}" for number in range(1 + MOST_WAITING + 1)]
    codes = []
    for session in sessions:
        choose(served, "clip.avi", clip, session)
        codes.append(join(served, "answer_choice", [None], session).status_code)
        while not at_work:
            time.sleep(0.01)
    go_on.set()
    assert codes == [200] * (1 + MOST_WAITING) + [503]
    for session in sessions[:-1]:
        assert "Answered" in result(served, session)[0]
    assert max(most) == 1
    served.pipe.says = recognition


def test_who_finds_the_line_full_is_told_and_leaves_nothing(page, folders):
    choice = page.take(str(arrive(folders[0])), None)[page.parts.choice]
    shown = page.turn_away(choice)
    assert FULL in shown[page.parts.status]
    assert contents(*folders) == []


def test_the_server_calls_nobody(served):
    hosts = {address[0] for address in served.asked if isinstance(address, tuple)}
    assert hosts <= {"127.0.0.1", "::1", "localhost"}


def test_a_port_that_is_taken_or_impossible_is_told_in_one_line():
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        with pytest.raises(UserError, match=rf"127\.0\.0\.1, port {port} .*--port") as told:
            free_port("127.0.0.1", port)
        assert len(str(told.value).splitlines()) == 1
    for host, port in (("127.0.0.1", 99999), ("203.0.113.7", 0), ("no such host", 80)):
        with pytest.raises(UserError, match="Choose another"):
            free_port(host, port)


def test_without_gradio_the_extra_is_named(monkeypatch):
    monkeypatch.setitem(__import__("sys").modules, "gradio", None)
    with pytest.raises(UserError, match=r'pip install "hcp_mer\[demo\]"'):
        page_server._check_installed()


@pytest.mark.parametrize(
    ("model", "backbone", "name", "words"),
    [
        ("OWNER/NAME", "x", "OWNER/NAME", "its card says"),
        ("runs/casme2/model", "x", "casme2", "its card says"),
        ("recipes/own.yaml", "openai/clip", "own", "nothing was trained"),
        ("recipes/own.yaml", "face-motion-clip", "own", "never seen a person"),
    ],
)
def test_a_model_is_named_without_its_folders(tmp_path, monkeypatch, model, backbone, name, words):
    monkeypatch.chdir(tmp_path)
    if model.startswith("r"):
        Path(model).parent.mkdir(parents=True)
        Path(model).mkdir() if model.endswith("model") else Path(model).touch()
    settings = SimpleNamespace(backbone=backbone, id2label={0: "negative", 1: "surprise"})
    about = page_server.about(model, SimpleNamespace(model=SimpleNamespace(config=settings)))
    assert about["model_name"] == name
    assert about["classes"] == "negative, surprise"
    assert words in about["trained"]


# The Space.


@pytest.fixture
def app():
    spec = importlib.util.spec_from_file_location("space_app", SPACE / "app.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_a_space_takes_its_model_from_its_variables(app, monkeypatch):
    monkeypatch.setenv("MODEL_ID", "OWNER/NAME")
    monkeypatch.setenv("MODEL_REVISION", "abc")
    assert app.chosen_model() == ("OWNER/NAME", "abc")
    monkeypatch.delenv("MODEL_REVISION")
    assert app.chosen_model() == ("OWNER/NAME", None)


def test_a_space_without_variables_answers_zero_shot_or_says_what_is_missing(app, monkeypatch):
    monkeypatch.delenv("MODEL_ID", raising=False)
    recipe, revision = app.chosen_model()
    assert Path(recipe) == ROOT / "hub_configs" / "recipes" / "embedded-3class.yaml"
    assert revision is None
    monkeypatch.setattr(app, "RECIPES", [])
    with pytest.raises(UserError, match="MODEL_ID"):
        app.chosen_model()


def test_the_space_runs_the_gradio_that_was_tested():
    card = (SPACE / "README.md").read_text(encoding="utf-8")
    front = yaml.safe_load(card.split("---")[1])
    (pinned,) = re.findall(r"^gradio==(.+)$", (ROOT / "constraints.txt").read_text(), re.MULTILINE)
    assert front["sdk"] == "gradio"
    assert front["sdk_version"] == pinned
    assert (SPACE / front["app_file"]).is_file()
    assert len(front["short_description"]) <= 60  # the Hub's limit
    assert "nor for any decision\nabout a person" in card


def test_no_token_is_in_the_space():
    for path in SPACE.iterdir():
        assert not re.search(r"hf_[A-Za-z0-9]{10,}", path.read_text(encoding="utf-8"))
