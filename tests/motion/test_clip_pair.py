"""make_pair: from files of a clip to its pair."""

import json
import re

import numpy as np
import pytest
from PIL import Image

from hcp_mer.errors import UserError
from hcp_mer.model.motion_hcp_mer import MotionSettings
from hcp_mer.motion.frames import FrameError, FrameSequence
from hcp_mer.motion.pair import PairSettings, make_pair

PATTERN = re.compile(r"img(\d+)\.png")
PEAKS = {10: 0.0, 12: 0.3, 13: 0.8, 15: 0.5}  # frames 11 and 14 were never there
SETTINGS = PairSettings(image_size=128)


def save(folder, number, image):
    Image.fromarray(image).save(folder / f"img{number}.png")


@pytest.fixture
def clip(tmp_path, portrait, known):
    """A smile that peaks at frame 13, in frames of 224 × 224."""
    smile = known.blobs(2, peak_px=1.0, sigmas_px=(20, 24), most=1)
    rng = np.random.default_rng(0)
    for number, share in PEAKS.items():
        save(tmp_path, number, known.sensed(portrait.moved(smile, times=share), rng))
    return tmp_path


def frames_in(folder):
    return FrameSequence.from_folder(folder, PATTERN)


def test_an_annotated_apex_is_used_and_no_other_frame_is_read(clip):
    (clip / "img12.png").write_bytes(b"")
    (clip / "img13.png").write_bytes(b"")
    pair = make_pair(frames_in(clip), 10, 15, 15, SETTINGS)
    assert (pair.apex, pair.apex_source) == (15, "annotated")
    for image in (pair.onset_frame, pair.magnified, pair.flow_image):
        assert image.shape == (128, 128, 3)
        assert image.dtype == np.uint8
    assert pair.flow_scale_px >= 0.25 * 128 / 224


def test_an_apex_that_is_not_annotated_is_spotted_over_gaps(clip):
    frames = frames_in(clip)
    spotted = make_pair(frames, 10, None, 15, SETTINGS)
    assert (spotted.apex, spotted.apex_source) == (13, "spotted")
    annotated = make_pair(frames, 10, 13, 15, SETTINGS)
    np.testing.assert_array_equal(spotted.magnified, annotated.magnified)
    np.testing.assert_array_equal(spotted.flow_image, annotated.flow_image)


def test_frames_after_the_offset_are_not_spotted_in(clip):
    (clip / "img13.png").write_bytes(b"")
    (clip / "img15.png").write_bytes(b"")
    assert make_pair(frames_in(clip), 10, None, 12, SETTINGS).apex == 12


def test_the_onset_frame_is_the_file_at_the_size_asked_for(clip):
    with Image.open(clip / "img10.png") as image:
        expected = np.array(image)
    pair = make_pair(frames_in(clip), 10, 13, 15)
    np.testing.assert_array_equal(pair.onset_frame, expected)


def test_settings_choose_magnification_estimator_and_magnifier(clip):
    frames = frames_in(clip)
    none = PairSettings(128, MotionSettings(alpha=1.0))
    pairs = [
        make_pair(frames, 10, 13, 15, settings)
        for settings in (
            SETTINGS,
            none,
            PairSettings(128, estimator="dis_medium"),
            PairSettings(128, magnifier="eulerian"),
        )
    ]
    with Image.open(clip / "img13.png") as image:
        apex = np.array(image.resize((128, 128), Image.Resampling.BOX))
    assert np.abs(pairs[1].magnified.astype(int) - apex).mean() < 3
    assert (pairs[0].magnified != pairs[1].magnified).any()
    assert (pairs[0].flow_image != pairs[2].flow_image).any()
    np.testing.assert_array_equal(pairs[0].flow_image, pairs[3].flow_image)
    assert (pairs[0].magnified != pairs[3].magnified).any()


@pytest.mark.parametrize("apex", [9, 10, 16])
def test_an_apex_outside_the_clip_is_refused(clip, apex):
    message = rf"apex must lie in \(onset, offset\] = \(10, 15\], got {apex}\. Leave it empty"
    with pytest.raises(UserError, match=message):
        make_pair(frames_in(clip), 10, apex, 15, SETTINGS)


@pytest.mark.parametrize("offset", [9, 10])
def test_an_offset_that_is_not_after_the_onset_is_refused(clip, offset):
    with pytest.raises(UserError, match=f"offset must come after onset 10, got {offset}"):
        make_pair(frames_in(clip), 10, None, offset, SETTINGS)


def test_missing_frames_are_named(clip):
    frames = frames_in(clip)
    with pytest.raises(FrameError, match="frame 14 is missing"):
        make_pair(frames, 10, 14, 15, SETTINGS)
    with pytest.raises(FrameError, match="frame 11 is missing"):
        make_pair(frames, 11, 13, 15, SETTINGS)
    with pytest.raises(FrameError, match=r"no frame in \(onset, offset\] = \(15, 20\]"):
        make_pair(frames, 15, None, 20, SETTINGS)


@pytest.mark.parametrize("flat", [10, 13])
def test_a_flat_frame_is_refused(clip, flat):
    save(clip, flat, np.full((224, 224, 3), (30, 60, 90), np.uint8))
    with pytest.raises(FrameError, match=rf"img{flat}\.png is one flat colour"):
        make_pair(frames_in(clip), 10, 13, 15, SETTINGS)


def test_a_damaged_frame_is_named_while_spotting(clip):
    (clip / "img12.png").write_bytes(b"")
    with pytest.raises(FrameError, match=r"img12\.png is empty"):
        make_pair(frames_in(clip), 10, None, 15, SETTINGS)


def test_settings_are_plain_values_in_a_recipe():
    settings = PairSettings(motion=MotionSettings(alpha=4.0))
    assert json.loads(json.dumps(settings.to_dict())) == {
        "image_size": 224,
        "motion": {"alpha": 4.0, "max_displacement_px": 10.0, "flow_floor_px": 0.25},
        "estimator": "refined_lk",
        "magnifier": "lagrangian",
    }


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"image_size": 31}, "image_size must be at least 32 px, got 31"),
        ({"estimator": "dis"}, "flow estimator must be one of .* Did you mean 'dis_medium'"),
        ({"magnifier": "euler"}, "magnifier must be one of .* Did you mean 'eulerian'"),
    ],
)
def test_settings_are_checked_before_anything_is_read(settings, message):
    with pytest.raises(UserError, match=message):
        PairSettings(**settings)
