"""mask_eyes: a blink is no expression. And both switches on their way to inference."""

import dataclasses
import json

import cv2
import numpy as np
import pytest
from transformers import AutoImageProcessor

from hcp_mer.data.synthetic.clips import ClipStyle, render_clip
from hcp_mer.data.synthetic.identity import make_identity
from hcp_mer.model import image_processing_hcp_mer
from hcp_mer.model.face_regions_hcp_mer import EYE_SHARES, eye_mask
from hcp_mer.model.image_processing_hcp_mer import HcpMerImageProcessor
from hcp_mer.model.motion_hcp_mer import MotionSettings, motion_pair

BOTH = MotionSettings(register=True, mask_eyes=True)


@pytest.fixture(scope="module")
def smile():
    """Onset, apex and the apex with painted lids, of a smile of 1.2 px at the mouth's corners."""
    person = make_identity(304)
    style = ClipStyle(peak_range_px=(1.2, 1.2), tonic_std=0.0)
    clip = render_clip(person, "happiness", 4, style=style, action_units=[12], key_frames_only=True)
    onset, apex = clip.frames
    return onset, apex, with_lids(apex, person)


def with_lids(frame, person):
    """The frame with closed eyes: ellipses in the colour of the skin below them."""
    closed, half = frame.copy(), 112
    reach = (int(half * person.eye_width) + 1, int(half * person.eye_height) + 1)
    row = int(half * (1 + person.eye_y))
    for side in (-1, 1):
        column = int(half * (1 + side * person.eye_x))
        cheek = frame[row + 16 : row + 20, column - 4 : column + 4].mean(axis=(0, 1))
        cv2.ellipse(closed, (column, row), reach, 0, 0, 360, cheek.tolist(), -1)
    return closed


def pair_of(onset, apex, **switches):
    return motion_pair(onset, apex, MotionSettings(**switches))


def place_of_peak(pair):
    levels = pair.flow_image[..., :2].astype(float) - 128
    row, column = np.unravel_index(np.hypot(*np.moveaxis(levels, -1, 0)).argmax(), (224, 224))
    return row, column


def test_the_mask_covers_eyes_and_neither_brows_nor_nose():
    mask = eye_mask(200, 400)
    assert mask.dtype == np.float32
    for share_x, share_y in EYE_SHARES:
        column, row = int(400 * share_x), int(200 * share_y)
        assert mask[row, column] > 0.99
        assert mask[row, column + 31 : column + 33].mean() == pytest.approx(0.5, abs=0.08)  # 0.08
        assert mask[row - 9 : row - 7, column].mean() == pytest.approx(0.5, abs=0.2)  # 0.04 · 200
        assert mask[row - 16, column] < 0.01  # 0.08 above it is what moves a brow
    assert mask[83, 200] < 0.01
    np.testing.assert_allclose(mask, mask[:, ::-1], atol=1e-5)


def test_unmasked_a_blink_sets_the_scale_and_masked_the_smile_does(smile):
    onset, apex, blink = smile
    undisturbed, unmasked = pair_of(onset, apex, mask_eyes=True), pair_of(onset, blink)
    assert unmasked.flow_scale_px > 3 * undisturbed.flow_scale_px
    assert 80 < place_of_peak(unmasked)[0] < 115  # the eyes' rows, 93 in the middle
    masked = pair_of(onset, blink, mask_eyes=True)
    assert masked.flow_scale_px == pytest.approx(undisturbed.flow_scale_px, rel=0.1)
    assert 150 < place_of_peak(masked)[0] < 180  # the mouth's corners


def test_a_head_that_moves_takes_the_masked_eyes_along(smile):
    onset, apex, blink = smile
    shift = np.float32([[1, 0, 4], [0, 1, -3]])
    moved = cv2.warpAffine(blink, shift, (224, 224), borderMode=cv2.BORDER_REPLICATE)
    undisturbed_px = pair_of(onset, apex).flow_scale_px
    for register in (False, True):
        masked = pair_of(onset, moved, mask_eyes=True, register=register)
        assert masked.flow_scale_px == pytest.approx(undisturbed_px, rel=0.25)
        assert 150 < place_of_peak(masked)[0] < 180


def test_without_a_blink_the_expression_is_the_same_with_the_mask(smile):
    onset, apex, _ = smile
    plain, masked = pair_of(onset, apex), pair_of(onset, apex, mask_eyes=True)
    assert masked.flow_scale_px == pytest.approx(plain.flow_scale_px, rel=0.1)
    mouth = (slice(140, 190), slice(70, 154))
    difference = masked.flow_image[mouth].astype(float) - plain.flow_image[mouth]
    assert np.abs(difference).mean() < 8  # of 127 levels to each side


def test_at_masked_eyes_nothing_is_shown_or_magnified(smile):
    onset, _, blink = smile
    eyes = eye_mask(224, 224) > 0.99
    masked, unmasked = pair_of(onset, blink, mask_eyes=True), pair_of(onset, blink)
    assert np.abs(masked.flow_image[eyes, :2].astype(int) - 128).max() <= 2
    assert np.abs(unmasked.flow_image[eyes, :2].astype(int) - 128).max() > 100
    np.testing.assert_allclose(masked.magnified[eyes].astype(int), blink[eyes], atol=3)


def test_inference_makes_the_pair_of_training_bit_for_bit(smile):
    onset, _, blink = smile
    pair = motion_pair(onset, blink, BOTH)
    processor = HcpMerImageProcessor(motion=BOTH.to_dict())
    given = processor(onset=onset, apex=blink, return_tensors="np")
    expected = processor(magnified=pair.magnified, flow=pair.flow_image, return_tensors="np")
    other = HcpMerImageProcessor()(onset=onset, apex=blink, return_tensors="np")
    for name in ("pixel_values", "flow_pixel_values"):
        np.testing.assert_array_equal(given[name], expected[name])
        assert not np.array_equal(given[name], other[name])


def test_the_switches_travel_with_the_processor_and_its_code(smile, tmp_path):
    onset, _, blink = smile
    processor = HcpMerImageProcessor(image_size=32, motion=BOTH.to_dict())
    processor.save_pretrained(tmp_path)
    travelling = {file.name for file in tmp_path.iterdir()}
    assert {"registration_hcp_mer.py", "frames_hcp_mer.py", "motion_hcp_mer.py"} <= travelling
    saved = json.loads((tmp_path / "preprocessor_config.json").read_text())["motion"]
    assert saved["register"] is saved["mask_eyes"] is True
    expected = processor(onset=onset, apex=blink, return_tensors="np")
    elsewhere = AutoImageProcessor.from_pretrained(tmp_path, trust_remote_code=True)
    for name, views in elsewhere(onset=onset, apex=blink, return_tensors="np").items():
        np.testing.assert_array_equal(views, expected[name])


def test_a_config_older_than_the_switches_has_them_off_whatever_the_default(tmp_path, monkeypatch):
    HcpMerImageProcessor(motion=BOTH.to_dict()).save_pretrained(tmp_path)
    path = tmp_path / "preprocessor_config.json"
    config = json.loads(path.read_text())
    del config["motion"]["register"], config["motion"]["mask_eyes"]
    path.write_text(json.dumps(config))
    later = dataclasses.make_dataclass(
        "Later", [("register", bool, True)], bases=(MotionSettings,), frozen=True
    )
    for settings in (MotionSettings, later):
        monkeypatch.setattr(image_processing_hcp_mer, "MotionSettings", settings)
        loaded = HcpMerImageProcessor.from_pretrained(tmp_path)
        assert loaded.motion["register"] is loaded.motion["mask_eyes"] is False
    assert HcpMerImageProcessor().motion["register"] is True  # the later default, for new ones


@pytest.mark.parametrize("switch", ["register", "mask_eyes"])
def test_a_switch_that_is_no_bool_is_refused_in_a_config_too(switch):
    with pytest.raises(ValueError, match=f"{switch} must be True or False, got 1"):
        HcpMerImageProcessor(motion={switch: 1})
