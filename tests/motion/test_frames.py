"""FrameSequence on real files, whole and damaged."""

import io
import re

import numpy as np
import pytest
from PIL import Image

from hcp_mer.errors import UserError
from hcp_mer.motion.frames import FrameError, FrameSequence, read_frame

PATTERN = re.compile(r"img(\d+)\.(?:jpg|png)")


def save(path, image, **options):
    Image.fromarray(np.asarray(image, np.uint8)).save(path, **options)
    return path


@pytest.fixture
def folder(tmp_path):
    """Frames 2, 9 and 10, each of its number's grey level, and files that are no frames."""
    for number in (10, 9, 2):
        save(tmp_path / f"img{number}.png", np.full((6, 8, 3), number))
    for stranger in ("Thumbs.db", "._img2.png", "reg_img2.png", "img2.png.bak"):
        (tmp_path / stranger).write_bytes(b"x")
    (tmp_path / "img77.png").mkdir()
    return tmp_path


@pytest.fixture
def jpeg_bytes():
    noise = np.random.default_rng(0).integers(0, 256, (64, 64, 3), dtype=np.uint8)
    buffer = io.BytesIO()
    Image.fromarray(noise).save(buffer, "JPEG")
    return buffer.getvalue()


def test_frames_are_sorted_by_number_and_strangers_left_out(folder):
    frames = FrameSequence.from_folder(folder, PATTERN)
    assert frames.numbers == (2, 9, 10)
    assert [path.name for path in frames.paths] == ["img2.png", "img9.png", "img10.png"]
    assert len(frames) == 3
    assert 9 in frames
    assert 3 not in frames


def test_a_frame_is_found_by_its_number(folder):
    frame = FrameSequence.from_folder(folder, PATTERN).read(10)
    np.testing.assert_array_equal(frame, np.full((6, 8, 3), 10))
    assert frame.dtype == np.uint8
    assert frame.flags.writeable


def test_nothing_is_decoded_before_it_is_asked_for(folder):
    (folder / "img9.png").write_bytes(b"")
    frames = FrameSequence.from_folder(folder, PATTERN)
    assert frames.read(2).shape == (6, 8, 3)
    with pytest.raises(FrameError, match=r"img9\.png is empty"):
        frames.read(9)


def test_channels_are_red_green_blue(tmp_path):
    path = save(tmp_path / "img1.png", [[[250, 120, 3]]])
    np.testing.assert_array_equal(read_frame(path), [[[250, 120, 3]]])


def test_a_grey_image_gives_three_equal_channels(tmp_path):
    path = save(tmp_path / "img1.png", [[0, 100, 255]])
    np.testing.assert_array_equal(read_frame(path), [[[0] * 3, [100] * 3, [255] * 3]])


@pytest.mark.parametrize("share", [0.3, 0.6, 0.9, 0.99])
def test_a_truncated_jpeg_is_found(tmp_path, jpeg_bytes, share):
    path = tmp_path / "img1.jpg"
    path.write_bytes(jpeg_bytes)
    assert read_frame(path).shape == (64, 64, 3)
    path.write_bytes(jpeg_bytes[: int(len(jpeg_bytes) * share)])
    with pytest.raises(FrameError, match=r"img1\.jpg is damaged or cut short .*Copy it again"):
        read_frame(path)


def test_a_truncated_png_is_found(tmp_path):
    noise = np.random.default_rng(0).integers(0, 256, (64, 64, 3), dtype=np.uint8)
    path = save(tmp_path / "img1.png", noise)
    path.write_bytes(path.read_bytes()[:5000])
    with pytest.raises(FrameError, match="damaged or cut short"):
        read_frame(path)


@pytest.mark.parametrize(
    ("content", "message"),
    [(b"", r"img1\.jpg is empty \(0 bytes\)"), (b"no picture", r"img1\.jpg is not an image")],
)
def test_what_is_no_image_is_named(tmp_path, content, message):
    path = tmp_path / "img1.jpg"
    path.write_bytes(content)
    with pytest.raises(FrameError, match=message):
        read_frame(path)


def test_sixteen_bit_frames_are_refused_rather_than_clipped(tmp_path):
    path = tmp_path / "img1.png"
    Image.fromarray(np.full((4, 4), 40000, np.uint16)).save(path)
    with pytest.raises(FrameError, match="Give 8-bit frames"):
        read_frame(path)


def test_a_frame_that_is_not_there_is_named_with_what_is(folder):
    frames = FrameSequence.from_folder(folder, PATTERN)
    with pytest.raises(FrameError, match=r"frame 3 is missing: .* has 3 frames from 2 to 10"):
        frames.read(3)
    (folder / "img9.png").unlink()
    with pytest.raises(FrameError, match=r"img9\.png does not exist"):
        frames.read(9)
    with pytest.raises(FrameError, match="frame 1 is missing: the clip has no frames"):
        FrameSequence((), ()).read(1)


def test_folders_of_no_use_are_refused(folder, tmp_path):
    with pytest.raises(FrameError, match="nowhere is not a folder"):
        FrameSequence.from_folder(tmp_path / "nowhere", PATTERN)
    with pytest.raises(FrameError, match=r"no file in .* is named like"):
        FrameSequence.from_folder(folder, re.compile(r"frame(\d+)\.jpg"))
    save(folder / "img002.png", np.zeros((2, 2, 3)))
    with pytest.raises(FrameError, match=r"img002\.png and img2\.png in .* are both frame 2"):
        FrameSequence.from_folder(folder, PATTERN)


def test_numbers_must_ascend_and_have_a_path_each(tmp_path):
    paths = (tmp_path / "a", tmp_path / "b")
    for numbers in ((2, 1), (1, 1)):
        with pytest.raises(FrameError, match="must ascend and be unique"):
            FrameSequence(numbers, paths)
    with pytest.raises(FrameError, match="got 1 numbers and 2 paths"):
        FrameSequence((1,), paths)


def test_a_frame_error_is_the_users(folder):
    assert issubclass(FrameError, UserError)


def test_a_rotation_in_the_exif_is_applied(tmp_path):
    """As at inference: a phone stores a portrait lying on its side."""
    pixels = np.zeros((20, 30, 3), dtype=np.uint8)
    pixels[:, :10] = 255  # the left third becomes the top third when turned clockwise
    exif = Image.Exif()
    exif[0x0112] = 6  # "rotate 90° clockwise to show"
    Image.fromarray(pixels).save(tmp_path / "turned.png", exif=exif)
    frame = read_frame(tmp_path / "turned.png")
    assert frame.shape == (30, 20, 3)
    assert frame[:10].min() == 255
    assert frame[10:].max() == 0


def test_width_and_height_are_those_of_the_decoded_frame_and_read_from_the_header(tmp_path):
    exif = Image.Exif()
    exif[0x0112] = 6
    upright = save(tmp_path / "1.png", np.zeros((20, 30, 3)))
    lying = save(tmp_path / "2.png", np.zeros((20, 30, 3)), exif=exif)
    grey = save(tmp_path / "3.png", np.zeros((5, 7)))
    frames = FrameSequence((1, 2, 3), (upright, lying, grey))
    grey.write_bytes(grey.read_bytes()[:45])  # the pixels are gone
    for number, extent_px in ((1, (30, 20)), (2, (20, 30)), (3, (7, 5))):
        assert frames.extent_px(number) == extent_px
    grey.write_bytes(b"")
    with pytest.raises(FrameError, match=r"3\.png is empty"):
        frames.extent_px(3)
    with pytest.raises(FrameError, match="frame 4 is missing"):
        frames.extent_px(4)


def test_a_clip_of_a_long_recording_is_the_frames_between_two_numbers(folder):
    frames = FrameSequence.from_folder(folder, PATTERN)
    assert frames.between(3, 9).numbers == (9,)
    assert frames.between(2, 10) == frames
    assert frames.between(2, 9).files == (folder / "img2.png", folder / "img9.png")
    assert len(frames.between(11, 5)) == 0


def test_an_example_stands_in_for_the_pattern_where_no_file_is_named_like_it(folder):
    with pytest.raises(FrameError, match=r"is named like frame_0001\.png\.$"):
        FrameSequence.from_folder(folder, re.compile(r"frame(\d+)\.jpg"), "frame_0001.png")
