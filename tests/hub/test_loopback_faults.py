"""The loopback Hub under failures, with huge files, and the processes that talk to it."""

import filecmp
import http.client
import threading
import tracemalloc
from importlib.metadata import version
from pathlib import Path
from urllib.parse import urlsplit

import numpy as np
import pytest
from packaging.version import Version

from tests.loopback_hub import Hub

pytestmark = pytest.mark.slow


@pytest.mark.skipif(
    Version(version("huggingface_hub")) < Version("1.20"),
    reason="this huggingface_hub gives a broken download up",
)
def test_a_download_that_broke_off_is_taken_up_again(loopback, client, tmp_path):
    body = np.random.default_rng(0).bytes(3_000_000)
    (tmp_path / "large").mkdir()
    (tmp_path / "large" / "w.bin").write_bytes(body)
    loopback.add_repo("model", "user/m", tmp_path / "large")
    loopback.cut_next_download(after_bytes=1_000_000)
    path = client("print(json.dumps(hf_hub_download('user/m', 'w.bin')))")
    assert Path(path).read_bytes() == body
    assert loopback.downloads() == ["w.bin", "w.bin"]


def ask(hub, path, **headers):
    connection = http.client.HTTPConnection(urlsplit(hub.url).netloc)
    try:
        connection.request("GET", path, headers=headers)
        response = connection.getresponse()
        return response.status, response.headers["Content-Range"], response.read()
    finally:
        connection.close()


def test_a_range_of_a_huge_file_is_served_without_reading_it_into_memory(loopback, tmp_path):
    size = 600_000_000
    (tmp_path / "huge").mkdir()
    with (tmp_path / "huge" / "model.safetensors").open("wb") as file:
        file.truncate(size)  # a hole: it takes no room on the disk
        file.seek(size - 6)
        file.write(b"finish")
    loopback.add_repo("model", "user/huge", tmp_path / "huge")
    path = "/user/huge/resolve/main/model.safetensors"
    tracemalloc.start()
    try:
        total = f"/{size}"
        last = (206, f"bytes {size - 6}-{size - 1}{total}", b"finish")
        assert ask(loopback, path, Range=f"bytes={size - 6}-") == last
        assert ask(loopback, path, Range="bytes=-6") == last
        assert ask(loopback, path, Range="bytes=0-3") == (206, f"bytes 0-3{total}", bytes(4))
        assert ask(loopback, path, Range=f"bytes={size}-") == (416, f"bytes *{total}", b"")
        assert tracemalloc.get_traced_memory()[1] < 10_000_000
    finally:
        tracemalloc.stop()


@pytest.mark.slow
def test_a_large_file_goes_up_and_down_in_pieces(loopback, client, tmp_path):
    (tmp_path / "large").mkdir()
    with (tmp_path / "large" / "model.safetensors").open("wb") as file:
        for seed in range(20):
            file.write(np.random.default_rng(seed).bytes(10_000_000))
    code = f"""
api.create_repo("user/m")
api.upload_folder(repo_id="user/m", folder_path={str(tmp_path / "large")!r})
print(json.dumps(hf_hub_download("user/m", "model.safetensors")))
"""
    tracemalloc.start()
    try:
        copy = Path(client(code))
        assert tracemalloc.get_traced_memory()[1] < 20_000_000
    finally:
        tracemalloc.stop()
    assert filecmp.cmp(copy, file.name, shallow=False)


@pytest.mark.parametrize(
    "status", [507, *(pytest.param(s, marks=pytest.mark.slow) for s in (500, None))]
)
def test_a_push_that_broke_off_is_completed_by_the_next(loopback, client, folder, status):
    code = f"""
api.create_repo("user/m", exist_ok=True)
push = lambda: api.upload_folder(repo_id="user/m", folder_path={str(folder)!r})
print(json.dumps([refusal(push), len(api.list_repo_files("user/m"))]))
"""
    loopback.fail_after_uploads(1, status)
    # Where hf_xet is switched off, huggingface_hub wraps whatever ended an upload.
    assert client(code) == [["RuntimeError", None], 1]
    refused = set(loopback.uploads())
    loopback.heal()
    loopback.requests.clear()
    assert client(code) == [None, 5]
    assert len(refused) == 2
    assert len(loopback.uploads()) == 1  # the other one had arrived


def test_processes_inherit_no_proxy_and_lack_what_is_blocked(
    loopback, client, elsewhere, monkeypatch
):
    for name in ("http_proxy", "HTTP_PROXY", "ALL_PROXY"):
        monkeypatch.setenv(name, "http://127.0.0.1:9")
    assert client("print(json.dumps(api.whoami()['name']))") == "user"
    for blocked in ("hcp_mer", "datasets"):
        failed = elsewhere(f"import {blocked}", blocked=[blocked], check=False)
        assert "ModuleNotFoundError" in failed.stderr


def test_a_script_runs_with_this_package_and_ends_a_mistake_in_one_line(run_script, tmp_path):
    process = run_script("make_report.py", "--run", tmp_path / "none", check=False)
    assert process.returncode == 2
    assert process.stderr.startswith("error: ")
    assert len(process.stderr.splitlines()) == 1


def test_a_closed_hub_leaves_no_thread_behind(tmp_path):
    before = threading.active_count()
    with Hub(tmp_path / "hub") as hub:
        waiting = http.client.HTTPConnection(urlsplit(hub.url).netloc)
        waiting.request("GET", "/api/whoami-v2")
        assert waiting.getresponse().read() == b'{"error": "Invalid username or password."}'
        assert threading.active_count() == before + 2  # it still waits for this client
    waiting.close()
    assert threading.active_count() == before


def test_a_hub_that_stumbles_says_so(tmp_path):
    with Hub(tmp_path / "hub") as hub:
        connection = http.client.HTTPConnection(urlsplit(hub.url).netloc)
        connection.request("POST", "/api/validate-yaml", body=b"not JSON")
        with pytest.raises(http.client.RemoteDisconnected):
            connection.getresponse()
        connection.close()
    assert "JSONDecodeError" in hub.errors[0]
