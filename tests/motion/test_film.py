"""A film from whatever it is given as: its frames, their times, or one line that says why not."""

import os
import subprocess
import sys
import tracemalloc

import cv2
import numpy as np
import pytest
from PIL import Image

from hcp_mer.motion.film import ArrayFilm, FolderFilm, VideoFilm, open_film
from hcp_mer.motion.frames import FrameError
from tests import films
from tests.films import noise_frames, write_film

COUNT = 12


@pytest.fixture
def frames():
    return noise_frames(COUNT)


def refused(source, fps_hz=None):
    """The message for a film that cannot be; one line, without the path."""
    with pytest.raises(FrameError) as raised:
        list(open_film(source, fps_hz).frames())
    message = str(raised.value)
    assert "\n" not in message
    assert "/tmp" not in message
    return message


def shown(film, *span):
    return [frame.number for frame in film.frames(*span)]


def times_s(film):
    return [frame.time_s for frame in film.frames()]


def save(folder, names, frames):
    folder.mkdir(exist_ok=True)
    for name, frame in zip(names, frames, strict=True):
        Image.fromarray(frame).save(folder / name)
    return folder


# Videos


@pytest.mark.parametrize("name", ["a.mkv", "a.avi", "a.mp4", "a b's “ü” 表 %02d.mp4", 'q"uote.avi'])
def test_a_lossless_video_gives_its_frames_as_often_as_one_likes(tmp_path, frames, name):
    film = open_film(str(write_film(tmp_path / name, frames)))
    assert isinstance(film, VideoFilm)
    assert film.name == name
    assert film.fps_hz == pytest.approx(30)
    assert len(film) == COUNT
    assert film.notes == []
    for _ in range(2):
        read = list(film.frames())
        assert [frame.number for frame in read] == list(range(COUNT))
        for frame, written in zip(read, frames, strict=True):
            np.testing.assert_array_equal(frame.image, written)
            assert frame.image.dtype == np.uint8
        np.testing.assert_allclose(times_s(film), np.arange(COUNT) / 30, atol=6e-4)


def test_frames_are_numbered_alike_from_wherever_one_starts(tmp_path, frames):
    film = open_film(write_film(tmp_path / "a.mkv", frames))
    part = list(film.frames(4, 6))
    assert [frame.number for frame in part] == [4, 5, 6]
    np.testing.assert_array_equal(part[0].image, frames[4])
    assert part[0].time_s == pytest.approx(4 / 30, abs=6e-4)
    assert shown(film, 9) == [9, 10, 11]
    assert shown(film, None, 1) == [0, 1]
    picked = list(film.picked({3, 8, 40}))
    assert [frame.number for frame in picked] == [3, 8]
    np.testing.assert_array_equal(picked[1].image, frames[8])
    assert list(film.picked(set())) == []


def test_two_readings_of_one_film_do_not_disturb_each_other(tmp_path, frames):
    film = open_film(write_film(tmp_path / "a.avi", frames))
    for one, other in zip(film.frames(), film.frames(2), strict=False):
        np.testing.assert_array_equal(one.image, frames[one.number])
        np.testing.assert_array_equal(other.image, frames[one.number + 2])


def test_where_the_frame_rate_varies_times_are_the_containers(tmp_path, frames):
    """Four frames of 1/30 s, four of 4/30 s, four of 1/60 s, in ticks of 1/15360 s."""
    durations = [512] * 4 + [2048] * 4 + [256] * 4
    path = films.at_times(write_film(tmp_path / "a.mp4", frames), durations, 15360)
    film = open_film(path)
    expected = np.cumsum([0, *durations[:-1]]) / 15360
    np.testing.assert_allclose(times_s(film), expected, atol=1e-6)
    assert film.notes == []
    assert next(iter(film.picked({9}))).time_s == pytest.approx(expected[9])


def test_frames_per_second_that_are_given_outdo_the_videos(tmp_path, frames):
    film = open_film(write_film(tmp_path / "a.mp4", frames), fps_hz=200)
    assert film.fps_hz == 200
    np.testing.assert_allclose(times_s(film), np.arange(COUNT) / 200)


def test_a_gif_is_a_film_with_its_own_times(tmp_path, frames):
    pictures = [Image.fromarray(frame) for frame in frames[:4]]
    path = tmp_path / "a.gif"
    pictures[0].save(path, save_all=True, append_images=pictures[1:], duration=[100, 100, 300, 50])
    np.testing.assert_allclose(times_s(open_film(path)), [0, 0.1, 0.2, 0.5], atol=1e-6)


class Clockless:
    """A capture whose container tells no times, as a raw stream, or other than it really has."""

    positions, fps = None, None

    def __init__(self, *arguments):
        self._capture, self._next = REAL(*arguments), -1

    def __getattr__(self, name):
        return getattr(self._capture, name)

    def grab(self):
        self._next += 1
        return self._capture.grab()

    def get(self, what):
        if what == cv2.CAP_PROP_POS_MSEC and self.positions is not None:
            return self.positions(self._next)
        if what == cv2.CAP_PROP_FPS and self.fps is not None:
            return self.fps
        return self._capture.get(what)


REAL = cv2.VideoCapture


def clockless(monkeypatch, positions, fps=None):
    kind = type("Capture", (Clockless,), {"positions": staticmethod(positions), "fps": fps})
    monkeypatch.setattr(cv2, "VideoCapture", kind)


def test_without_times_frames_are_evenly_apart(tmp_path, frames, monkeypatch):
    path = write_film(tmp_path / "a.avi", frames, fps_hz=25)
    clockless(monkeypatch, lambda number: 0.0)
    np.testing.assert_allclose(times_s(open_film(path)), np.arange(COUNT) / 25)


def test_without_times_and_frames_per_second_times_are_unknown(tmp_path, frames, monkeypatch):
    path = write_film(tmp_path / "a.avi", frames)
    clockless(monkeypatch, lambda number: float("nan"), fps=0.0)
    film = open_film(path)
    assert film.fps_hz is None
    assert times_s(film) == [None] * COUNT


def test_time_that_runs_back_goes_on_by_one_frame(tmp_path, frames, monkeypatch):
    path = write_film(tmp_path / "a.avi", frames)
    clockless(monkeypatch, lambda number: 100.0 * (number if number < 10 else 3), fps=10.0)
    np.testing.assert_allclose(times_s(open_film(path)), np.arange(COUNT) / 10, atol=1e-9)


def test_a_header_that_gives_the_clocks_ticks_for_frames_is_not_believed(
    tmp_path, frames, monkeypatch
):
    path = write_film(tmp_path / "a.avi", frames)
    clockless(monkeypatch, lambda number: 40.0 * number, fps=1000.0)
    assert open_film(path).fps_hz == pytest.approx(25)


def test_a_phone_held_upright_gives_upright_frames(tmp_path):
    lying = np.zeros((32, 48, 3), np.uint8)
    lying[:, :16] = 250  # the left third becomes the top third when turned clockwise
    path = films.turned_upright(write_film(tmp_path / "a.mp4", [lying] * 5, "mp4v"), 32)
    frame = next(open_film(path).frames()).image
    assert frame.shape == (48, 32, 3)
    assert frame[:14].min() > 200
    assert frame[18:].max() < 50


def test_a_grey_video_has_three_equal_channels(tmp_path, frames):
    grey = [frame[..., 0] for frame in frames]
    read = list(open_film(write_film(tmp_path / "a.avi", grey)).frames())
    np.testing.assert_array_equal(read[5].image, np.repeat(grey[5][..., None], 3, axis=2))


@pytest.mark.slow
def test_a_long_large_film_does_not_fill_the_memory(tmp_path):
    still = noise_frames(1, 3840, 2160)[0]
    path = write_film(tmp_path / "4k.avi", [still] * 4, "MJPG")
    tracemalloc.start()
    for frame in open_film(path).frames():
        assert frame.image.shape == (2160, 3840, 3)
    _, most = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert most < 3.5 * still.nbytes  # one frame, its colours in another order, and the next one


# Videos that are damaged, and files that are none


@pytest.mark.parametrize("name", ["a.mp4", "a.mkv", "a.avi"])
def test_a_video_that_breaks_off_is_read_up_to_there_and_says_so(tmp_path, frames, name):
    path = write_film(tmp_path / name, frames)
    films.cut(films.with_header_first(path) if name == "a.mp4" else path, 0.6)
    film = open_film(path)
    read = list(film.frames())
    assert 5 <= len(read) <= 7
    np.testing.assert_array_equal(read[4].image, frames[4])
    for same in (film, open_film(path)):  # whether it was read before or not
        assert same.notes == [
            f"{name} breaks off after {len(read)} of 12 frames: the rest cannot be decoded."
        ]
        assert len(same) == len(read)


def test_an_mp4_whose_pictures_are_partly_lost_says_so(tmp_path, frames):
    path = write_film(tmp_path / "a.mp4", frames, "mp4v")
    data = bytearray(path.read_bytes())
    start, end = data.index(b"mdat"), data.index(b"moov")
    middle = start + (end - start) * 6 // 10
    data[middle : end - 4] = bytes(end - 4 - middle)
    path.write_bytes(data)
    (note,) = open_film(path).notes
    assert note.startswith("a.mp4 breaks off after 6 of 12 frames")


def test_an_mp4_of_which_a_part_is_shown_does_not_break_off(tmp_path, frames):
    film = open_film(films.trimmed(write_film(tmp_path / "a.mp4", frames), 4 * 512, 100))
    read = list(film.frames())
    assert len(read) == 3  # 0.1 s at 30 per second
    np.testing.assert_array_equal(read[0].image, frames[4])
    assert read[0].time_s == 0
    assert film.notes == []


def test_a_frame_of_another_size_is_refused(tmp_path, monkeypatch, frames):
    path = write_film(tmp_path / "a.avi", frames)

    class Growing(Clockless):
        def retrieve(self):
            decoded, image = self._capture.retrieve()
            return decoded, image if self._next < 7 else image[:16]

    monkeypatch.setattr(cv2, "VideoCapture", Growing)
    assert refused(path) == (
        "frame 7 of a.avi is 48×16 px, those before it 48×32 px. Give a video of one size."
    )


@pytest.mark.parametrize(
    ("count", "message"),
    [
        (1, "a.mp4: 1 frame, too short to show a movement; give at least 3."),
        (2, "a.mp4: 2 frames, too short to show a movement; give at least 3."),
    ],
)
def test_fewer_than_three_frames_are_too_short(tmp_path, frames, count, message):
    assert refused(write_film(tmp_path / "a.mp4", frames[:count])) == message


def test_three_frames_are_a_film(tmp_path, frames):
    assert shown(open_film(write_film(tmp_path / "a.mp4", frames[:3]))) == [0, 1, 2]


def test_a_video_of_which_too_little_is_left_says_how_much(tmp_path, frames):
    path = films.cut(write_film(tmp_path / "a.mkv", frames), 0.2)
    assert "2 frames of 12 that can be decoded, too short" in refused(path)


def test_an_mp4_that_was_cut_before_its_index_is_no_video(tmp_path, frames):
    path = films.cut(write_film(tmp_path / "a.mp4", frames), 0.8)
    assert refused(path).startswith("a.mp4 is no video that OpenCV can read")


def test_sound_alone_is_no_video(tmp_path, frames):
    wav = films.write_sound(tmp_path / "a.mp4")
    track = films.with_sound_track_only(write_film(tmp_path / "b.mp4", frames))
    for path in (wav, track):
        message = refused(path)
        assert message.startswith(f"{path.name} is no video that OpenCV can read")
        assert "sound alone" in message


def test_an_empty_file_is_named(tmp_path):
    path = tmp_path / "a.mp4"
    path.touch()
    assert refused(path).startswith("a.mp4 is empty (0 bytes).")


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("a.mp4", b"no video at all\n" * 40),
        ("a.txt", b"no video at all\n" * 40),  # FFmpeg would draw these lines as a film
        ("a.mp4", "naïve – “text”".encode()),
        ("a.mp4", b"ffconcat version 1.0\nfile other.mkv\n"),
        ("a.m3u8", b"#EXTM3U\n#EXTINF:10,\nother.mkv\n#EXT-X-ENDLIST\n"),
        ("a.mp4", b"\xef\xbb\xbf#EXTM3U\n\0"),
    ],
)
def test_a_text_file_is_no_video_and_no_list_of_others(tmp_path, frames, name, content):
    write_film(tmp_path / "other.mkv", frames)
    (tmp_path / name).write_bytes(content)
    assert refused(tmp_path / name) == f"{name} is a text file, not a video."


def test_bytes_of_no_kind_are_no_video(tmp_path):
    path = tmp_path / "a.mp4"
    path.write_bytes(bytes(5000))
    assert refused(path).startswith("a.mp4 is no video that OpenCV can read")


def test_a_picture_is_no_film(tmp_path, frames):
    path = tmp_path / "face.PNG"
    Image.fromarray(frames[0]).save(path)
    assert refused(path).startswith("face.PNG is a single picture and shows no movement: give a")
    assert "is a single picture" in refused(Image.fromarray(frames[0]))
    assert "shape (32, 48, 3) is a single picture" in refused(frames[0])
    assert "is a single picture" in refused(frames[0][..., 0])


def test_a_path_that_leads_nowhere_is_said(tmp_path):
    assert refused(tmp_path / "a.mp4") == "a.mp4 does not exist. Check the path."
    assert "does not exist" in refused("")
    assert "does not exist" in refused("no\0such.mp4")
    (tmp_path / "link.mp4").symlink_to(tmp_path / "gone.mp4")
    assert refused(tmp_path / "link.mp4").startswith("link.mp4 does not exist or is no file.")


def test_what_is_neither_file_nor_folder_is_said(tmp_path):
    os.mkfifo(tmp_path / "a.mp4")
    assert refused(tmp_path / "a.mp4").startswith("a.mp4 does not exist or is no file.")


def test_a_name_that_is_no_text_ends_in_a_line_and_not_in_a_crash(tmp_path, frames):
    path = write_film(tmp_path / "a.avi", frames).rename(tmp_path / os.fsdecode(b"\xff.avi"))
    assert refused(path) == "?.avi has a name or a folder that is no UTF-8 text. Rename it."


def test_a_name_of_two_lines_is_shown_in_one(tmp_path, frames):
    path = write_film(tmp_path / "a.avi", frames[:2]).rename(tmp_path / "a\nb.avi")
    assert refused(path).startswith("a b.avi: 2 frames, too short")


@pytest.mark.parametrize("fps_hz", [0, -5, float("nan"), float("inf"), "30", True])
def test_frames_per_second_must_be_a_number_above_zero(tmp_path, frames, fps_hz):
    rule = f"frames per second must be a number above 0, got {fps_hz!r}."
    for source in (write_film(tmp_path / "a.avi", frames), frames):
        assert refused(source, fps_hz) == rule


@pytest.mark.parametrize(
    ("span", "message"),
    [
        ((5, 3), "the last frame, 3, is before the first, 5. Swap them."),
        ((-1, 3), "frame -1 is missing: a.avi has frames from 0 to 11."),
        ((12, None), "frame 12 is missing: a.avi has frames from 0 to 11."),
        ((3, 12), "frame 12 is missing: a.avi has frames from 0 to 11."),
        ((40, 50), "frame 50 is missing: a.avi has frames from 0 to 11."),
    ],
)
def test_a_span_outside_of_the_film_is_refused(tmp_path, frames, span, message):
    path = write_film(tmp_path / "a.avi", frames)
    folder = save(tmp_path / "a", [f"{n}.png" for n in range(COUNT)], frames)
    for film in (open_film(path), open_film(folder), ArrayFilm(frames, name="a.avi")):
        with pytest.raises(FrameError) as raised:
            list(film.frames(*span))
        heard = str(raised.value)
        assert heard.replace("a has", "a.avi has").split(": ")[-1] == message.split(": ")[-1]


def test_nothing_is_printed_about_a_bad_film(tmp_path, frames):
    """In a process of its own: FFmpeg is told once, before its first video."""
    films.cut(write_film(tmp_path / "a.mkv", frames), 0.6)
    films.write_sound(tmp_path / "b.mp4")
    code = (
        "import sys; from hcp_mer.motion.film import open_film\n"
        "print(len(open_film(sys.argv[1])))\n"
        "try: open_film(sys.argv[2])\n"
        "except ValueError: print('refused')"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, tmp_path / "a.mkv", tmp_path / "b.mp4"],
        capture_output=True,
        text=True,
    )
    assert done.stdout.split()[1:] == ["refused"]
    assert done.stderr == ""


# Folders


def test_a_folder_counts_as_people_do_and_keeps_its_own_numbers(tmp_path, frames):
    names = [f"img{number}.png" for number in (46, 47, 49, 100, 8, 9)]
    film = open_film(save(tmp_path / "s1", names, frames[:6]), fps_hz=100)
    assert isinstance(film, FolderFilm)
    assert film.name == "s1"
    read = list(film.frames())
    assert [frame.number for frame in read] == [8, 9, 46, 47, 49, 100]
    np.testing.assert_array_equal(read[2].image, frames[0])
    # A number that is left out is a moment that was not kept.
    np.testing.assert_allclose(times_s(film), [0, 0.01, 0.38, 0.39, 0.41, 0.92])
    assert shown(film, 9, 47) == [9, 46, 47]
    assert shown(film, 10, 48) == [46, 47]
    assert [frame.number for frame in film.picked([100, 8, 10])] == [8, 100]
    assert film.notes == []


def test_without_frames_per_second_a_folder_has_no_times(tmp_path, frames):
    film = open_film(save(tmp_path / "s1", ["1.bmp", "2.bmp", "3.bmp"], frames[:3]))
    assert film.fps_hz is None
    assert times_s(film) == [None] * 3


@pytest.mark.parametrize(
    ("names", "note"),
    [
        (["a.png", "b.png", "c2.png"], "not every name in s1 ends in a number"),
        (["1 left.png", "2 left.png", "10 left.png"], "not every name in s1 ends in a number"),
        (["12_58.png", "12_59.png", "13_01.png"], "names in s1 do not count up"),
    ],
)
def test_names_that_do_not_count_are_numbered_from_zero_and_that_is_noted(
    tmp_path, frames, names, note
):
    film = open_film(save(tmp_path / "s1", names, frames[:3]))
    assert shown(film) == [0, 1, 2]
    for frame, written in zip(film.frames(), frames, strict=False):
        np.testing.assert_array_equal(frame.image, written)
    assert note in film.notes[0]


def test_files_that_are_no_pictures_are_noted_and_hidden_ones_ignored(tmp_path, frames):
    folder = save(tmp_path / "s1", ["1.PNG", "2.png", "3.png"], frames[:3])
    (folder / ".DS_Store").touch()
    (folder / "._1.png").touch()
    (folder / "readme.txt").touch()
    (folder / "old").mkdir()
    film = open_film(folder)
    assert len(film) == 3
    assert film.notes == ["s1 has other files too, which are not read: readme.txt."]


@pytest.mark.parametrize(
    ("names", "message"),
    [
        (
            [],
            "s1 is a folder without pictures (jpg, jpeg, png, bmp, tif, tiff, webp) and without a "
            "video.",
        ),
        (["1.png", "2.png"], "s1: 2 frames, too short to show a movement; give at least 3."),
        (["1.png", "1.bmp", "2.png"], "s1: 1.bmp and 1.png are one frame twice. Remove one."),
        (
            ["a1.png", "a2.png", "b1.png", "b2.png"],
            "s1 has frames of more than one clip, as a2.png and b1.png. Give one clip's.",
        ),
    ],
)
def test_a_folder_that_is_no_film_is_refused(tmp_path, frames, names, message):
    assert refused(save(tmp_path / "s1", names, frames[: len(names)])) == message


def test_a_folder_with_a_video_in_it_says_to_give_the_video(tmp_path, frames):
    folder = tmp_path / "s1"
    folder.mkdir()
    write_film(folder / "one.mp4", frames[:3])
    assert refused(folder).endswith("give that file itself, as in s1/one.mp4.")
    write_film(folder / "two.mp4", frames[:3])
    assert refused(folder).endswith("give one of its videos itself, as in s1/one.mp4.")


def test_a_folder_of_folders_says_to_give_one_of_them(tmp_path, frames):
    save(tmp_path / "s1", ["1.png"], frames[:1])
    assert refused(tmp_path).endswith("Give one of the folders in it.")


def test_pictures_of_different_sizes_are_no_film(tmp_path, frames):
    folder = save(tmp_path / "s1", ["1.png", "2.png"], frames[:2])
    Image.fromarray(frames[2][:20]).save(folder / "3.png")
    expected = "s1: 3.png is 48×20 px, 1.png 48×32 px. Give frames of one size."
    assert refused(folder) == expected
    assert "frame 2 is 48×20 px, frame 0 48×32 px" in refused([*frames[:2], frames[2][:20]])


def test_a_damaged_picture_is_named_without_its_path(tmp_path, frames):
    folder = save(tmp_path / "s1", ["1.png", "2.png", "3.png"], frames[:3])
    films.cut(folder / "2.png", 0.5)
    assert refused(folder).startswith("2.png is damaged or cut short")
    (folder / "2.png").write_bytes(b"")
    assert refused(folder) == "2.png is empty (0 bytes). Copy it again."
    (folder / "2.png").write_text("text")
    assert refused(folder) == "2.png is not an image. Copy it again."


# Pictures one by one


def test_paths_pictures_and_arrays_make_a_film_of_one_kind_of_frames(tmp_path, frames):
    folder = save(tmp_path / "s1", ["z.png", "a.png"], frames[:2])
    grey = frames[4][..., 0]
    given = [
        folder / "z.png",
        str(folder / "a.png"),
        Image.fromarray(frames[2]),
        frames[3],
        grey,
        grey[..., None],
        Image.fromarray(grey),
    ]
    film = open_film(given, fps_hz=50)
    assert isinstance(film, ArrayFilm)
    assert len(film) == 7
    threefold = np.repeat(grey[..., None], 3, axis=2)
    for frame, written in zip(film.frames(), [*frames[:4], *[threefold] * 3], strict=True):
        np.testing.assert_array_equal(frame.image, written)
        assert frame.time_s == frame.number / 50


def test_one_array_of_all_frames_is_a_film(frames):
    together = np.stack(frames)
    np.testing.assert_array_equal(list(open_film(together).frames())[7].image, frames[7])
    grey = list(open_film(together[..., 1]).frames())
    np.testing.assert_array_equal(grey[7].image[..., 2], frames[7][..., 1])
    assert len(open_film(frame for frame in frames)) == COUNT


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda f: f / 255, "frame 1 must be a uint8 array, got float64. Give levels 0 to 255."),
        (lambda f: f.astype(np.uint16), "frame 1 must be a uint8 array, got uint16"),
        (lambda f: f > 9, "frame 1 must be a uint8 array, got bool"),
        (lambda f: f[None], "frame 1 must have shape (H, W, 3) or (H, W), got (1, 32, 48, 3)."),
        (lambda f: f[..., :2], "frame 1 must have shape (H, W, 3) or (H, W), got (32, 48, 2)."),
        (lambda f: f[:0], "frame 1 must have shape (H, W, 3) or (H, W), got (0, 48, 3)."),
        (lambda f: f.tolist(), "frame 1 must be a path, a PIL image or an array, got list."),
        (lambda f: None, "frame 1 must be a path, a PIL image or an array, got NoneType."),
        (lambda f: Image.fromarray(f[..., 0].astype(np.int32)), "frame 1 has pixels of mode I"),
        (lambda f: "gone.png", "gone.png does not exist."),
        (lambda f: "b.mp4", "b.mp4 is a video in a list of pictures: give it alone."),
        (lambda f: "/", "/ is a folder in a list of pictures: give it alone."),
    ],
)
def test_a_picture_of_another_kind_is_refused(frames, change, message):
    assert refused([frames[0], change(frames[1]), frames[2]]).startswith(message)


def test_a_picture_that_turns_out_damaged_is_said(tmp_path, frames):
    path = save(tmp_path / "s1", ["1.png"], frames[:1]) / "1.png"
    with Image.open(films.cut(path, 0.5)) as late:  # its pixels are read when they are asked for
        assert refused([frames[0], late, frames[2]]).startswith("frame 1 is damaged or cut short")


def test_an_empty_list_is_too_short():
    assert refused([]) == "frames given: 0 frames, too short to show a movement; give at least 3."


@pytest.mark.parametrize("source", [None, 7, b"a.mp4", {"a": 1}])
def test_what_is_no_film_at_all_is_refused(source):
    assert refused(source).startswith("a film is a video, a folder or a sequence of pictures, got ")


def test_frames_that_take_a_machines_memory_are_refused(tmp_path, monkeypatch):
    path = write_film(tmp_path / "large.avi", noise_frames(width=48, height=32))
    monkeypatch.setattr("hcp_mer.motion.film_video._MOST_PIXELS", 48 * 32 - 1)
    with pytest.raises(FrameError, match=r"large.avi is 48×32 px, more than .* Give a smaller"):
        open_film(path)
    monkeypatch.setattr("hcp_mer.motion.film_video._MOST_PIXELS", 48 * 32)
    assert len(open_film(path)) == 12
