"""make_pair: from files of a clip to its pair."""

import json
import re

import numpy as np
import pytest
from PIL import Image

from hcp_mer.errors import UserError
from hcp_mer.model.face_regions_hcp_mer import EYE_SHARES
from hcp_mer.model.motion_hcp_mer import MotionSettings
from hcp_mer.motion.alignment import Face, align, face_transform
from hcp_mer.motion.face import FaceError, FaceSettings
from hcp_mer.motion.face_detectors import DETECTORS
from hcp_mer.motion.frames import FrameError, FrameSequence
from hcp_mer.motion.pair import PairSettings, make_pair
from tests.face_scenes import face_in_frame, landscape

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
    assert pair.alignment == "cropped already"
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
            PairSettings(128, estimator="dis"),
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
        "motion": {
            "alpha": 4.0,
            "max_displacement_px": 10.0,
            "flow_floor_px": 0.25,
            "register": False,
            "mask_eyes": False,
            "flow_encoding": "uv_strain",
            "flow_scale_px": None,
        },
        "estimator": "lucas_kanade",
        "magnifier": "lagrangian",
        "estimator_weights": None,
        "magnifier_weights": None,
        "face": {"detector": "none", "weights": None, "centre_crop": False},
    }


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"image_size": 31}, "image_size must be at least 32 px, got 31"),
        ({"estimator": "lukas"}, "flow estimator must be one of .* Did you mean 'lucas_kanade'"),
        ({"magnifier": "euler"}, "magnifier must be one of .* Did you mean 'eulerian'"),
        ({"motion": MotionSettings(mask_eyes=True)}, "mask_eyes needs a face detector"),
        (
            {
                "motion": MotionSettings(mask_eyes=True),
                "face": FaceSettings("given", centre_crop=True),
            },
            "mask_eyes needs centre_crop off",
        ),
    ],
)
def test_settings_are_checked_before_anything_is_read(settings, message):
    with pytest.raises(UserError, match=message):
        PairSettings(**settings)


# Frames of a camera, in which the face is somewhere


@pytest.fixture
def filmed(tmp_path):
    """The frames of a tilted face off the middle of a grey, wide picture, and its eyes."""
    frame, eyes = face_in_frame(12, (640, 360), 260, (0.35, 0.55), tilt_deg=-10, grey=True)
    rng = np.random.default_rng(0)
    for number in (10, 12, 13, 15):
        noisy = frame + rng.normal(0, 1, frame.shape)
        noisy[:, :, 1] += number  # to tell them apart
        save(tmp_path, number, np.clip(np.rint(noisy), 0, 255).astype(np.uint8))
    return frames_in(tmp_path), eyes


@pytest.fixture
def patient(monkeypatch, filmed):
    """A detector that knows where the face is, and the onset's greens that it was asked about."""
    asked = []

    class Patient:
        def __init__(self, weights):
            pass

        def find(self, frame):
            asked.append(float(frame[..., 1].mean() - frame[..., 0].mean()))
            return Face(eyes=filmed[1])

    monkeypatch.setitem(DETECTORS, "patient", Patient)
    return asked


def test_the_cascade_brings_the_eyes_of_a_camera_s_frames_to_their_places(filmed):
    frames, eyes = filmed
    found = make_pair(frames, 10, 13, 15, PairSettings(face=FaceSettings("cascade")))
    assert found.alignment == "cascade"
    best = make_pair(frames, 10, 13, 15, PairSettings(face=FaceSettings("given")), Face(eyes=eyes))
    assert best.alignment == "given"
    unaligned = make_pair(frames, 10, 13, 15)
    distance = [np.abs(p.onset_frame.astype(int) - best.onset_frame) for p in (found, unaligned)]
    assert distance[0].mean() < distance[1].mean() / 4
    for share_x, share_y in EYE_SHARES:  # a pupil is dark, the skin beside the eye is not
        x, y = round(224 * share_x), round(224 * share_y)
        pupil = found.onset_frame[y - 3 : y + 4, x - 3 : x + 4].min()
        assert pupil < found.onset_frame[y + 20 : y + 25, x - 3 : x + 4].min() - 20


@pytest.mark.parametrize("apex", [13, None])
def test_the_face_is_looked_for_once_and_all_frames_are_aligned_alike(filmed, patient, apex):
    frames, eyes = filmed
    settings = PairSettings(motion=MotionSettings(alpha=1.0), face=FaceSettings("patient"))
    pair = make_pair(frames, 10, apex, 15, settings)
    assert patient == pytest.approx([10], abs=1)  # the onset, by its green
    assert pair.alignment == "patient"
    transform = face_transform(frames.read(10), Face(eyes=eyes))
    for image, number in ((pair.onset_frame, 10), (pair.magnified, pair.apex)):
        aligned = align(frames.read(number), transform, 224)
        np.testing.assert_allclose(image.astype(int), aligned, atol=0 if number == 10 else 60)
        assert np.abs(image.astype(int) - aligned).mean() < 2


def test_the_face_of_a_clip_is_used_by_the_detector_given_alone(filmed, patient):
    elsewhere = Face(eyes=((400, 100), (450, 100)))
    frames, _ = filmed
    pairs = [
        make_pair(frames, 10, 13, 15, PairSettings(face=FaceSettings(name)), given)
        for name in ("patient", "given")
        for given in (elsewhere, Face(eyes=filmed[1]))
    ]
    np.testing.assert_array_equal(pairs[0].onset_frame, pairs[1].onset_frame)
    np.testing.assert_array_equal(pairs[0].onset_frame, pairs[3].onset_frame)
    assert (pairs[2].onset_frame != pairs[3].onset_frame).any()


def test_a_clip_without_a_face_is_refused_unless_its_centre_will_do(tmp_path):
    clouds = landscape((480, 360), seed=1).astype(np.uint8)
    for number in (10, 13):
        save(tmp_path, number, clouds)
    frames = frames_in(tmp_path)
    with pytest.raises(FaceError, match=r"no face found in .*img10\.png by cascade; try") as caught:
        make_pair(frames, 10, 13, 15, PairSettings(face=FaceSettings("cascade")))
    assert isinstance(caught.value, FrameError)
    centred = PairSettings(image_size=360, face=FaceSettings("cascade", centre_crop=True))
    pair = make_pair(frames, 10, 13, 15, centred)
    assert pair.alignment == "centre crop"
    np.testing.assert_array_equal(pair.onset_frame, clouds[:, 60:420])


def test_a_given_face_outside_the_frame_is_no_reason_for_a_centre_crop(filmed):
    settings = PairSettings(face=FaceSettings("given", centre_crop=True))
    with pytest.raises(UserError, match="does not lie in a frame of 640×360 px"):
        make_pair(filmed[0], 10, 13, 15, settings, Face(box=(600, 300, 100, 100)))


def test_a_frame_of_another_size_than_the_onset_is_refused_where_faces_are_aligned(filmed, patient):
    frames, _ = filmed
    save(frames.path(13).parent, 13, frames.read(13)[:300])
    message = r"img13\.png is 640×300 px, but the onset frame of its clip 640×360 px"
    with pytest.raises(FrameError, match=message):
        make_pair(frames, 10, 13, 15, PairSettings(face=FaceSettings("patient")))
    assert make_pair(frames, 10, 13, 15).alignment == "cropped already"


def test_masked_eyes_show_no_motion_where_the_aligned_eyes_are(filmed, patient):
    settings = PairSettings(
        motion=MotionSettings(mask_eyes=True), face=FaceSettings("patient"), image_size=128
    )
    flow_image = make_pair(filmed[0], 10, 13, 15, settings).flow_image
    for share_x, share_y in EYE_SHARES:
        np.testing.assert_array_equal(flow_image[int(128 * share_y), int(128 * share_x), :2], 128)
