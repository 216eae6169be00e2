"""What a disturbance does to frames and frame numbers, by hand."""

import io

import numpy as np
import pytest
from PIL import Image

from hcp_mer.errors import UserError
from hcp_mer.robustness.disturbances import (
    DISTURBANCES,
    Clip,
    DisturbedFrames,
    blur,
    compress,
    levels_asked,
    moved,
    shift_crop,
)


class DrawnFrames:
    """Frames in memory; their numbers have a gap, as those of corpora do."""

    numbers = (10, 11, 12, 15, 16, 17)

    def __init__(self, image):
        self.image = image

    def read(self, number):
        return self.image


def clip_of(image=None, onset=11, apex=15, name="d/s/c"):
    return Clip("d", name, DrawnFrames(image), onset, apex)


@pytest.mark.parametrize(
    ("by", "expected"),
    [
        ((0, 0), (11, 15)),
        ((1, 0), (12, 15)),
        ((5, 0), (12, 15)),  # never on the apex
        ((-1, 0), (10, 15)),
        ((-9, 0), (10, 15)),  # the clip begins there
        ((0, 1), (11, 16)),
        ((0, 9), (11, 17)),
        ((0, -1), (11, 12)),  # 13 and 14 do not exist
        ((0, -9), (11, 12)),
        ((1, 1), (12, 16)),
        ((9, 9), (15, 17)),  # two frames apart, as before
        ((-9, -9), (10, 12)),
    ],
)
def test_key_frames_are_off_as_far_as_the_clip_has_frames(by, expected):
    other = moved(clip_of(), *by)
    assert (other.onset, other.apex) == expected


def noisy(level, number=10, name="d/s/c", grey=False):
    image = np.full((60, 60, 3), 128, np.uint8)
    if not grey:
        image[..., 0] = 120
    frames = DisturbedFrames(clip_of(image, name=name), DISTURBANCES["noise"], level)
    return frames.read(number).astype(int) - image


def test_noise_has_the_sigma_that_was_asked_for_in_every_channel():
    noise = noisy(8)
    assert noise.std(axis=(0, 1)) == pytest.approx([8, 8, 8], rel=0.05)
    assert abs(noise.mean()) < 0.3
    assert abs(np.corrcoef(noise[..., 0].ravel(), noise[..., 1].ravel())[0, 1]) < 0.06


def test_a_grey_camera_has_grey_noise():
    noise = noisy(8, grey=True)
    assert (noise == noise[..., :1]).all()


def test_noise_is_the_clips_and_the_frames_own_and_grows_with_its_level():
    assert (noisy(8) == noisy(8)).all()
    assert (noisy(8) != noisy(8, number=11)).any()
    assert (noisy(8) != noisy(8, name="d/s/other")).any()
    assert abs(noisy(16) - 2 * noisy(8)).max() <= 2  # rounding


def test_level_0_is_the_frame_itself():
    image = np.random.default_rng(0).integers(0, 255, (20, 20, 3), dtype=np.uint8)
    for name, disturbance in DISTURBANCES.items():
        assert DisturbedFrames(clip_of(image), disturbance, 0).read(10) is image, name


def test_jpeg_is_that_of_another_encoder_at_the_same_quality():
    y, x = np.mgrid[:64, :64]
    image = np.stack([2 * x + y, 200 - 2 * y, 100 + x], axis=-1).astype(np.uint8)
    stream = io.BytesIO()
    Image.fromarray(image).save(stream, "JPEG", quality=30)
    theirs = np.array(Image.open(stream)).astype(int)
    ours = compress(image, 70, None).astype(int)
    assert abs(ours - theirs).mean() < 1
    assert abs(ours - image).mean() > abs(compress(image, 5, None).astype(int) - image).mean()


def test_a_blurred_dot_has_the_variance_of_its_blur():
    dot = np.zeros((61, 61, 3), np.float32)
    dot[30, 30] = 1
    spread = blur(dot, 3.0, None)[..., 0]
    x = np.arange(61) - 30
    assert (spread.sum(axis=0) * x**2).sum() / spread.sum() == pytest.approx(9, rel=0.05)


def test_a_shifted_crop_is_the_face_elsewhere_with_its_edge_repeated():
    square = np.arange(5 * 5 * 3, dtype=np.uint8).reshape(5, 5, 3)
    seen = set()
    for seed in range(30):
        other = shift_crop(square, 2, np.random.default_rng(seed))
        for name, shift, expected in (
            ("right", (0, 2), other[:, :2] == square[:, :1]),
            ("left", (0, -2), other[:, -2:] == square[:, -1:]),
            ("down", (2, 0), other[:2] == square[:1]),
            ("up", (-2, 0), other[-2:] == square[-1:]),
        ):
            inside = (slice(max(0, shift[0]), 5 + min(0, shift[0])),)
            inside += (slice(max(0, shift[1]), 5 + min(0, shift[1])),)
            if (np.roll(square, shift, (0, 1))[inside] == other[inside]).all():
                seen.add(name)
                assert expected.all()
    assert seen == {"right", "left", "down", "up"}


def test_levels_are_the_users_or_the_disturbances_own():
    assert set(levels_asked(None, [])) == set(DISTURBANCES)
    assert levels_asked(None, ["noise=4,0,2"]) == {"noise": [2, 4]}
    own = levels_asked(["noise", "blur"], ["noise=3"])
    assert own == {"noise": [3], "blur": [0.5, 1, 2, 4]}
    assert levels_asked(["apex_off"], ["apex_off=-3,2"]) == {"apex_off": [-3, 2]}


@pytest.mark.parametrize(
    ("names", "chosen", "said"),
    [
        (["nois"], [], "Did you mean 'noise'"),
        (None, ["noise"], "NAME=LEVEL"),
        (None, ["noise=a"], "levels of noise must be numbers, got 'a'"),
        (None, ["noise=-1"], "noise takes a number of at least 0 .σ in grey levels., got -1"),
        (None, ["jpeg=100"], "at least 0 and at most 99"),
        (None, ["apex_off=1.5"], "apex_off takes a whole number"),
    ],
)
def test_levels_that_mean_nothing_are_refused(names, chosen, said):
    with pytest.raises(UserError, match=said):
        levels_asked(names, chosen)
