"""Magnified clips, read back by OpenCV, Pillow, a browser; their motion measured by Farneback."""

import base64
import os
import resource
import shutil
from dataclasses import replace

import cv2
import numpy as np
import pytest
from PIL import Image

from hcp_mer.data.synthetic import ClipStyle, make_identity, render_clip
from hcp_mer.errors import UserError
from hcp_mer.recognition import movie
from hcp_mer.recognition.answer import Course
from hcp_mer.recognition.movie import save_movie

SIDE, FPS_HZ = 96, 200.0
STYLE = ClipStyle(peak_range_px=(2.0, 2.0), noise_std=0.002, head_jitter_px=0, head_rotation_deg=0)
NAME = 'sub 07\'s "clip" 1.5'


@pytest.fixture(scope="module")
def clip():
    return render_clip(make_identity(4), "surprise", 4, size=SIDE, num_frames=12, style=STYLE)


@pytest.fixture(scope="module")
def course(clip):
    """At 200 frames a second, numbered from 46."""
    count = len(clip.frames)
    times_s = [index / FPS_HZ for index in range(count)]
    numbers = list(range(46, 46 + count))
    key_frames = (clip.onset, clip.apex, clip.offset)
    return Course(numbers, times_s, np.zeros(count), 0.0, *key_frames)


@pytest.fixture
def quick(monkeypatch):
    """VP9 takes a second to encode: where the codec does not matter, MPEG-4."""
    monkeypatch.setattr(movie, "CODECS", ("mp4v",))


def read_mp4(path):
    """Frames, RGB, and how long one is shown."""
    capture = cv2.VideoCapture(str(path))
    frames = []
    while True:
        there, frame = capture.read()
        if not there:
            return frames, 1 / capture.get(cv2.CAP_PROP_FPS)
        frames.append(cv2.cvtColor(frame, cv2.COLOR_BGR2RGB))


def read_gif(path):
    with Image.open(path) as gif:
        assert gif.info["loop"] == 0  # for ever
        shown_s = gif.info["duration"] / 1000
        frames = []
        for index in range(gif.n_frames):
            gif.seek(index)
            frames.append(np.asarray(gif.convert("RGB")))
    return frames, shown_s


READERS = {".mp4": read_mp4, ".gif": read_gif}


def halves(frame):
    """The two faces, without the words above and below."""
    half = (frame.shape[1] - movie._GAP) // 2
    faces = frame[movie._HEAD : movie._HEAD + half]
    return faces[:, :half], faces[:, -half:]


def largest_motion_px(before, after):
    """The 99.5th percentile of |flow| by Farneback's method, in px of frames 224 px wide."""
    grey = [
        cv2.resize(cv2.cvtColor(frame, cv2.COLOR_RGB2GRAY), (224, 224)) for frame in (before, after)
    ]
    flow_px = cv2.calcOpticalFlowFarneback(*grey, None, 0.5, 4, 21, 5, 7, 1.5, 0)
    return float(np.percentile(np.linalg.norm(flow_px, axis=-1), 99.5))


def test_mp4_and_gif_show_every_frame_from_onset_to_offset(tmp_path, clip, course):
    """And as people's browsers play it, by default: no codec is chosen here."""
    paths = save_movie(clip.frames, course, tmp_path / NAME)
    assert [path.name for path in paths] == [f"{NAME}.mp4", f"{NAME}.gif"]
    assert sorted(tmp_path.iterdir()) == sorted(paths)
    for path in paths:
        frames, shown_s = READERS[path.suffix](path)
        assert len(frames) == clip.offset - clip.onset + 1
        assert len(frames) * shown_s >= 1.5
        assert shown_s == pytest.approx(np.ceil(150 / len(frames)) / 100, rel=1e-3)
        # The first pictures show the onset twice.
        left, right = halves(frames[0])
        assert np.abs(left.astype(int) - right).mean() < 3


@pytest.mark.parametrize("suffix", READERS)
def test_the_right_half_moves_more_by_the_factor(tmp_path, clip, course, suffix, quick):
    save_movie(clip.frames, course, tmp_path / "clip", alpha=4.0)
    frames, _ = READERS[suffix](tmp_path / f"clip{suffix}")
    onset, apex = halves(frames[0]), halves(frames[clip.apex - clip.onset])
    left_px, right_px = (largest_motion_px(*pair) for pair in zip(onset, apex))
    assert left_px == pytest.approx(2.0, rel=0.35)
    assert 2 < right_px / left_px < 5


def test_what_the_head_does_is_not_magnified(tmp_path, clip, course, quick):
    """The whole picture goes to the right, by 1 px a frame."""
    still = cv2.GaussianBlur(clip.frames[clip.onset], (0, 0), 1.0)
    frames = [np.roll(still, index - clip.onset, axis=1) for index in range(len(clip.frames))]
    save_movie(frames, replace(course, apex=clip.onset + 2), tmp_path / "clip")
    left, right = halves(read_mp4(tmp_path / "clip.mp4")[0][2])
    inside = np.s_[50:170, 50:170]
    assert np.abs(left[inside].astype(int) - right[inside]).mean() < 4


def test_the_left_half_is_the_clip_as_it_was_filmed(tmp_path, clip, course, quick):
    save_movie(clip.frames, course, tmp_path / "clip")
    for filmed, shown in zip(clip.frames[clip.onset :], read_mp4(tmp_path / "clip.mp4")[0]):
        expected = cv2.resize(filmed, (224, 224), interpolation=cv2.INTER_CUBIC)
        assert np.abs(halves(shown)[0].astype(int) - expected).mean() < 5


def test_a_clip_of_a_second_is_not_slowed_down_below_40_ms_a_frame(
    tmp_path, clip, course, monkeypatch, quick
):
    monkeypatch.setattr(movie, "LEAST_S", 0.1)
    save_movie(clip.frames, course, tmp_path / "clip")
    assert read_gif(tmp_path / "clip.gif")[1] == 0.04
    assert read_mp4(tmp_path / "clip.mp4")[1] == pytest.approx(0.04, rel=1e-3)


def test_a_slow_clip_keeps_its_pace(tmp_path, clip, course, quick):
    """5 frames a second, by the rate alone."""
    save_movie(clip.frames, replace(course, times_s=None), tmp_path / "clip", fps_hz=5.0)
    frames, shown_s = read_gif(tmp_path / "clip.gif")
    assert shown_s == pytest.approx(0.2, abs=0.2 / len(frames))


def test_of_a_long_clip_frames_are_left_out_but_not_the_apex(
    tmp_path, clip, course, monkeypatch, quick
):
    monkeypatch.setattr(movie, "MOST_FRAMES", 5)
    shown = movie._shown_indices(course)
    assert len(shown) == 5
    assert (shown[0], shown[-1]) == (clip.onset, clip.offset)
    assert clip.apex in shown
    save_movie(clip.frames, course, tmp_path / "clip")
    assert [len(read(tmp_path / f"clip{suffix}")[0]) for suffix, read in READERS.items()] == [5, 5]


def test_where_a_codec_is_absent_the_next_one_is_taken(tmp_path, clip, course, monkeypatch, capfd):
    monkeypatch.setattr(movie, "CODECS", ("avc1", "mp4v"))
    save_movie(clip.frames, course, tmp_path / "clip")
    assert len(read_mp4(tmp_path / "clip.mp4")[0]) == clip.offset - clip.onset + 1
    assert capfd.readouterr() == ("", "")


@pytest.fixture
def files_of_at_most():
    """files_of_at_most(bytes): the disk refuses more, as a full one does."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    yield lambda size: resource.setrlimit(resource.RLIMIT_FSIZE, (size, before[1]))
    resource.setrlimit(resource.RLIMIT_FSIZE, before)


@pytest.mark.parametrize("codecs", [("vp09",), ("mp4v",)])
@pytest.mark.parametrize("size", [0, 5000, 80_000])
def test_a_full_disk_is_said_in_a_line_and_leaves_nothing(
    tmp_path, clip, course, monkeypatch, files_of_at_most, codecs, size
):
    """The mp4 or, at the larger size, the gif does not fit."""
    monkeypatch.setattr(movie, "CODECS", codecs)
    files_of_at_most(size)
    with pytest.raises(UserError, match=r"clip\.mp4 and clip\.gif cannot be written") as caught:
        save_movie(clip.frames, course, tmp_path / "clip")
    assert "\n" not in str(caught.value)
    assert str(tmp_path) not in str(caught.value)
    assert not list(tmp_path.iterdir())


def test_a_movie_of_before_survives_a_full_disk(tmp_path, clip, course, quick, files_of_at_most):
    paths = save_movie(clip.frames, course, tmp_path / "clip")
    before = [path.read_bytes() for path in paths]
    files_of_at_most(5000)
    with pytest.raises(UserError):
        save_movie(clip.frames, course, tmp_path / "clip")
    assert [path.read_bytes() for path in paths] == before
    assert sorted(tmp_path.iterdir()) == sorted(paths)


@pytest.mark.parametrize(
    ("change", "fps_hz", "message"),
    [
        ({"numbers": [1, 2]}, None, "needs the 2 frames of its course, got 12"),
        ({"onset": 3, "apex": 3}, None, "onset < apex <= offset among its 12 frames, got 3, 3"),
        ({"offset": 12}, None, "onset < apex <= offset"),
        ({}, 0.0, "fps_hz must be positive, got 0.0"),
    ],
)
def test_what_cannot_be_a_movie_is_refused(tmp_path, clip, course, change, fps_hz, message):
    with pytest.raises(UserError, match=message):
        save_movie(clip.frames, replace(course, **change), tmp_path / "clip", fps_hz=fps_hz)
    assert not list(tmp_path.iterdir())


PLAYED = """async url => await new Promise(done => {
    const video = document.querySelector('video');
    video.onerror = () => done(video.error.message);
    video.onseeked = () => done([video.videoWidth, video.videoHeight, video.duration]);
    video.onloadeddata = () => { video.currentTime = video.duration / 2; };
    video.src = url;
})"""


@pytest.mark.slow
@pytest.mark.browser
def test_a_browser_plays_the_mp4(tmp_path, clip, course):
    place = shutil.which("chromium") or shutil.which("chromium-browser")
    if place is None:
        why = "no chromium on this machine, so nobody plays the movie: apt-get install chromium"
        pytest.fail(why) if os.environ.get("CI") else pytest.skip(why)
    from playwright.sync_api import sync_playwright

    mp4, _ = save_movie(clip.frames, course, tmp_path / NAME)
    frames, shown_s = read_mp4(mp4)
    url = "data:video/mp4;base64," + base64.b64encode(mp4.read_bytes()).decode()
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(
            executable_path=place, args=["--headless", "--no-sandbox", "--disable-gpu"]
        )
        page = browser.new_page()
        page.set_content("<video muted></video>")
        width_px, height_px, lasts_s = page.evaluate(PLAYED, url)
        browser.close()
    assert (height_px, width_px) == frames[0].shape[:2]
    assert lasts_s == pytest.approx(len(frames) * shown_s, abs=0.01)
