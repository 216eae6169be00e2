"""VideoSequence on videos written here: the right frame, exactly, or one line that says why not."""

import multiprocessing
import os
import pickle
import struct
import subprocess
import sys

import cv2
import numpy as np
import pytest
from PIL import Image

from hcp_mer.errors import UserError
from hcp_mer.motion import video as module
from hcp_mer.motion.frames import FrameError, FrameSequence
from hcp_mer.motion.pair import PairSettings, make_pair
from hcp_mer.motion.video import VideoSequence

COUNT, WIDTH, HEIGHT = 12, 48, 32
LOSSLESS = "HFYU"


def noise():
    """Frames of which no two pixels follow a pattern, RGB."""
    rng = np.random.default_rng(0)
    return [rng.integers(0, 256, (HEIGHT, WIDTH, 3), np.uint8) for _ in range(COUNT)]


def greys():
    """Frame k is grey level 10 + 20·k all over: any codec keeps that apart."""
    return [np.full((HEIGHT, WIDTH, 3), 10 + 20 * k, np.uint8) for k in range(COUNT)]


def write_video(path, frames, codec):
    height, width = frames[0].shape[:2]
    fourcc = cv2.VideoWriter_fourcc(*codec)
    writer = cv2.VideoWriter(str(path), cv2.CAP_FFMPEG, fourcc, 30, (width, height))
    assert writer.isOpened()
    for frame in frames:
        writer.write(cv2.cvtColor(frame, cv2.COLOR_RGB2BGR))
    writer.release()
    return path


def level(frame):
    """The frame that a grey level belongs to."""
    return round((float(frame.mean()) - 10) / 20)


@pytest.fixture(autouse=True)
def no_video_stays_open():
    yield
    module._decoder.cache_clear()


@pytest.fixture
def exact(tmp_path):
    return write_video(tmp_path / "exact.avi", noise(), LOSSLESS)


@pytest.fixture
def openings(monkeypatch):
    """How often a video was opened."""
    opened, real = [], cv2.VideoCapture

    def count(*arguments):
        opened.append(arguments[0])
        return real(*arguments)

    monkeypatch.setattr(cv2, "VideoCapture", count)
    return opened


def test_frames_are_numbered_from_zero_and_exact_in_any_order(exact):
    frames, written = VideoSequence(exact), noise()
    assert list(frames.numbers) == list(range(COUNT))
    assert len(frames) == COUNT
    assert (0 in frames, COUNT - 1 in frames, COUNT in frames, -1 in frames) == (1, 1, 0, 0)
    assert frames.files == (exact,)
    assert frames.path(3) == exact
    assert frames.extent_px(3) == (WIDTH, HEIGHT)
    for number in (0, 1, 5, 5, 2, 11, 0, 11):
        frame = frames.read(number)
        np.testing.assert_array_equal(frame, written[number])
        assert frame.dtype == np.uint8
        assert frame.flags.writeable


@pytest.mark.parametrize(
    ("name", "codec"),
    [
        *[("a.avi", "MJPG"), ("a.mp4", "mp4v"), ("a.mov", "mp4v"), ("a.mkv", "XVID")],
        *[("a.webm", "VP80"), ("a.wmv", "WMV2"), ("a.mpg", "PIM1")],  # MPEG's header promises 7
    ],
)
def test_a_frame_is_the_one_that_decoding_from_the_start_gives(tmp_path, name, codec):
    path = write_video(tmp_path / name, greys(), codec)
    plain, capture = [], cv2.VideoCapture(str(path))
    while (decoded := capture.read())[0]:
        plain.append(decoded[1][..., ::-1])
    assert [level(frame) for frame in plain] == list(range(COUNT))
    frames = VideoSequence(path)
    assert len(frames) == COUNT
    for number in (7, 8, 11, 3, 0, 10):
        np.testing.assert_array_equal(frames.read(number), plain[number])


def test_reading_forward_opens_the_video_once_and_going_back_once_more(exact, openings):
    frames, other = VideoSequence(exact, up_to=5), VideoSequence(exact, up_to=11)
    openings.clear()
    for number in (1, 4, 9):
        frames.read(number)
    other.read(10)  # another clip of the same recording goes on where the first one ended
    assert len(openings) == 1
    frames.read(4)
    assert len(openings) == 2


def test_a_long_recording_is_not_decoded_to_learn_its_length(exact, monkeypatch):
    grabbed, real = [], cv2.VideoCapture

    class Counting:  # OpenCV's class cannot be derived from
        def __init__(self, *arguments):
            self._capture = real(*arguments)

        def __getattr__(self, name):
            return getattr(self._capture, name)

        def grab(self):
            grabbed.append(1)
            return self._capture.grab()

    monkeypatch.setattr(cv2, "VideoCapture", Counting)
    assert len(VideoSequence(exact, up_to=COUNT - 1)) == COUNT
    assert grabbed == []
    assert len(VideoSequence(exact)) == COUNT
    assert len(grabbed) == COUNT + 1


def test_an_open_video_does_not_travel_to_worker_processes(exact):
    frames = VideoSequence(exact)
    frames.read(6)
    copy = pickle.loads(pickle.dumps(frames))
    assert copy == frames
    assert len(pickle.dumps(frames)) < 1000
    np.testing.assert_array_equal(copy.read(2), noise()[2])


@pytest.mark.parametrize("start", ["fork", "spawn"])
def test_worker_processes_read_beside_a_parent_that_has_the_video_open(tmp_path, start):
    noise = np.random.default_rng(0).integers(0, 256, (COUNT, 120, 160, 3), np.uint8)
    frames = VideoSequence(write_video(tmp_path / "larger than buffers.avi", noise, LOSSLESS))
    frames.read(3)
    with multiprocessing.get_context(start).Pool(2) as pool:
        # Forward from where the parent stands: none of them has to open the video anew for that.
        read = pool.map_async(frames.read, range(4, COUNT), chunksize=1).get(timeout=60)
    for frame, written in zip(read, noise[4:], strict=True):
        np.testing.assert_array_equal(frame, written)
    np.testing.assert_array_equal(frames.read(4), noise[4])


def test_a_file_that_was_replaced_is_read_anew(tmp_path):
    path = write_video(tmp_path / "a.avi", greys(), LOSSLESS)
    other = write_video(tmp_path / "b.avi", greys()[::-1], LOSSLESS)
    assert other.stat().st_size == path.stat().st_size
    os.utime(other, ns=(1, 1))
    frames = VideoSequence(path)
    assert level(frames.read(2)) == 2
    other.replace(path)
    assert level(frames.read(5)) == 6


def promise(path, count):
    """Let the header of an AVI file promise another number of frames."""
    data = bytearray(path.read_bytes())
    for chunk, offset in ((b"avih", 24), (b"strh", 40)):  # dwTotalFrames and dwLength
        place = data.index(chunk) + offset
        assert struct.unpack_from("<I", data, place) == (COUNT,)
        struct.pack_into("<I", data, place, count)
    path.write_bytes(data)


def test_a_header_that_promises_too_little_is_not_believed(exact):
    promise(exact, 5)
    assert len(VideoSequence(exact, up_to=4)) == 5
    for up_to in (5, 9, 40, None):
        assert len(VideoSequence(exact, up_to)) == COUNT
    np.testing.assert_array_equal(VideoSequence(exact, up_to=9).read(9), noise()[9])


def test_a_header_that_promises_too_much_is_found_out_when_frames_are_read(exact):
    promise(exact, 50)
    frames = VideoSequence(exact, up_to=40)
    assert len(frames) == 50
    np.testing.assert_array_equal(frames.read(11), noise()[11])
    with pytest.raises(FrameError, match=r"frame 30 of .*exact\.avi cannot.* after 12 frames"):
        frames.read(30)
    np.testing.assert_array_equal(frames.read(3), noise()[3])
    assert len(VideoSequence(exact)) == COUNT


def test_a_video_that_was_cut_short_gives_the_frames_before_the_cut(exact):
    exact.write_bytes(exact.read_bytes()[: exact.stat().st_size // 2])
    whole = len(VideoSequence(exact))
    assert 0 < whole < COUNT
    np.testing.assert_array_equal(VideoSequence(exact).read(whole - 2), noise()[whole - 2])
    with pytest.raises(FrameError, match=f"breaks off after {whole} frames"):
        VideoSequence(exact, up_to=11).read(11)


def test_a_damaged_frame_ends_the_video_and_shifts_none(tmp_path):
    path = write_video(tmp_path / "a.avi", greys(), "MJPG")
    data = bytearray(path.read_bytes())
    start = -1
    for _ in range(8):  # frame 7 begins with the eighth start-of-image mark
        start = data.index(b"\xff\xd8", start + 1)
    end = data.index(b"\xff\xd8", start + 1) - 8
    data[start:end] = bytes(end - start)
    path.write_bytes(data)
    frames = VideoSequence(path, up_to=COUNT - 1)
    assert level(frames.read(6)) == 6
    for number in (7, 8, 11):
        with pytest.raises(FrameError, match=f"frame {number} of .* breaks off after 7 frames"):
            frames.read(number)


@pytest.mark.parametrize("number", [-1, COUNT, 10**9])
def test_a_frame_that_is_not_there_is_refused(exact, number):
    frames = VideoSequence(exact)
    message = rf"frame {number} is missing: .*exact\.avi has frames from 0 to 11"
    for ask in (frames.read, frames.path, frames.extent_px):
        with pytest.raises(FrameError, match=message):
            ask(number)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (None, "does not exist"),
        (b"", r"is empty \(0 bytes\)"),
        (b"no video at all " * 40, "no video that OpenCV can read"),
        (bytes(5000), "no video that OpenCV can read"),
    ],
)
@pytest.mark.parametrize("name", ["a.avi", "a.mp4", "clip %02d ü 表.mov"])
def test_a_file_that_is_no_video_is_named_in_one_line(tmp_path, name, content, message):
    path = tmp_path / name
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(FrameError, match=message) as raised:
        VideoSequence(path)
    assert name in str(raised.value)
    assert "\n" not in str(raised.value)
    assert isinstance(raised.value, UserError)


def test_a_folder_is_no_video(tmp_path):
    with pytest.raises(FrameError, match="is no file"):
        VideoSequence(tmp_path)


def test_an_mp4_whose_index_was_never_written_is_refused(tmp_path):
    path = write_video(tmp_path / "a.mp4", greys(), "mp4v")
    data = path.read_bytes()
    path.write_bytes(data[: data.index(b"moov") - 4])  # a recording that broke off
    with pytest.raises(FrameError, match="no video that OpenCV can read"):
        VideoSequence(path)


def test_a_video_that_vanished_is_said_when_it_is_read(exact):
    frames = VideoSequence(exact)
    frames.read(0)
    exact.unlink()
    with pytest.raises(FrameError, match=r"exact\.avi cannot be read \(No such file"):
        frames.read(1)


def test_names_with_signs_that_mean_a_numbered_series_are_plain_names(tmp_path):
    path = write_video(tmp_path / "plain.avi", noise(), LOSSLESS)
    path = path.rename(tmp_path / "übung %02d 表.avi")
    np.testing.assert_array_equal(VideoSequence(path).read(4), noise()[4])


def test_nothing_is_printed_about_a_bad_video(exact, tmp_path):
    """In a process of its own: FFmpeg is told once, before its first video."""
    (tmp_path / "text.mp4").write_bytes(b"no video at all " * 40)
    exact.write_bytes(exact.read_bytes()[: exact.stat().st_size // 2])
    code = (
        "import sys; from hcp_mer.motion.video import VideoSequence\n"
        "try: VideoSequence(sys.argv[1])\n"
        "except ValueError: print('refused')\n"
        "print(len(VideoSequence(sys.argv[2])))"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, tmp_path / "text.mp4", exact], capture_output=True, text=True
    )
    assert done.stdout.split()[0] == "refused"
    assert int(done.stdout.split()[1]) > 0
    assert done.stderr == ""


def test_a_rotation_that_the_file_asks_for_is_applied(tmp_path):
    """A phone held upright stores frames lying on their side, and an angle to turn them by."""
    lying = np.zeros((HEIGHT, WIDTH, 3), np.uint8)
    lying[:, : WIDTH // 3] = 250  # the left third becomes the top third when turned clockwise
    path = write_video(tmp_path / "a.mp4", [lying] * 5, "mp4v")
    data = bytearray(path.read_bytes())
    place = data.index(b"tkhd") + 44  # the display matrix of the track header, version 0
    identity = (1 << 16, 0, 0, 0, 1 << 16, 0, 0, 0, 1 << 30)
    assert struct.unpack_from(">9i", data, place) == identity
    clockwise = (0, 1 << 16, 0, -1 << 16, 0, 0, HEIGHT << 16, 0, 1 << 30)
    struct.pack_into(">9i", data, place, *clockwise)
    path.write_bytes(data)
    frames = VideoSequence(path)
    frame = frames.read(2)
    assert frames.extent_px(2) == (HEIGHT, WIDTH)
    assert frame.shape == (WIDTH, HEIGHT, 3)
    assert frame[: WIDTH // 3 - 2].min() > 200
    assert frame[WIDTH // 3 + 2 :].max() < 50


def test_colours_are_red_green_blue(tmp_path):
    red = np.zeros((HEIGHT, WIDTH, 3), np.uint8)
    red[..., 0] = 240
    frame = VideoSequence(write_video(tmp_path / "a.avi", [red], LOSSLESS)).read(0)
    assert frame[0, 0].tolist() == [240, 0, 0]


def test_a_video_and_its_frames_as_files_give_the_same_pair(tmp_path):
    rng = np.random.default_rng(1)
    still = cv2.GaussianBlur(rng.integers(0, 256, (64, 64, 3), np.uint8), (0, 0), 2)
    moved = [np.roll(still, shift, axis=1) for shift in (0, 0, 1, 2, 1)]
    video = VideoSequence(write_video(tmp_path / "a.avi", moved, LOSSLESS))
    for number, frame in enumerate(moved):
        Image.fromarray(frame).save(tmp_path / f"{number}.png")
    paths = tuple(tmp_path / f"{number}.png" for number in range(5))
    files = FrameSequence(tuple(range(5)), paths)
    for apex in (3, None):
        pairs = [make_pair(f, 0, apex, 4, PairSettings(image_size=64)) for f in (video, files)]
        assert pairs[0].apex == pairs[1].apex
        assert pairs[0].apex_source == pairs[1].apex_source
        np.testing.assert_array_equal(pairs[0].magnified, pairs[1].magnified)
        np.testing.assert_array_equal(pairs[0].flow_image, pairs[1].flow_image)
