"""The page on a port, asked as a browser asks it: what leaves the machine, what stays on it."""

import json
import re
import socket
import sys
import threading
import time
from pathlib import Path
from types import SimpleNamespace

import httpx  # which Gradio brings
import pytest

from hcp_mer.errors import UserError
from hcp_mer.recognition import page as page_module
from hcp_mer.recognition import page_server
from hcp_mer.recognition.page import FORGOTTEN
from hcp_mer.recognition.page_examples import EXAMPLES, write_examples
from hcp_mer.recognition.page_server import free_port, opened_page
from tests.films import noise_frames, write_film
from tests.recognition.stand_in_page import ABOUT, Pipe, contents, recognition

# Gradio sets an option of pandas that newer ones have no more.
pytestmark = pytest.mark.filterwarnings("ignore:.*no_silent_downcasting")
MOST_WAITING = 3


@pytest.fixture(scope="module")
def served(tmp_path_factory, gradio_alone):
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
    monkeypatch.setitem(sys.modules, "gradio", None)
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
