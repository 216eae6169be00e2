"""Detectors by name, and settings that fail before a corpus is read."""

import json
import sys
from pathlib import Path
from types import SimpleNamespace

import cv2
import numpy as np
import pytest

from hcp_mer.errors import UserError
from hcp_mer.motion import face_detectors
from hcp_mer.motion.alignment import Face, face_transform
from hcp_mer.motion.face import FaceError, FaceSettings, find_alignment
from hcp_mer.motion.face_detectors import DETECTORS, YUNET_FILE, detector

FRAME = np.zeros((1088, 2040, 3), np.uint8)
# YuNet's row: box; right eye, left eye, nose, right and left corner of the mouth of the person,
# whose right is at the left of the image; score. In px of the picture that it was given.
ROW = [200, 100, 80, 100, 220, 140, 260, 144, 240, 160, 225, 180, 255, 182, 0.9]


@pytest.fixture
def yunet(monkeypatch, tmp_path):
    """yunet(rows): the settings of a YuNet whose network is a stand-in that returns these rows."""
    weights = tmp_path / YUNET_FILE
    weights.write_bytes(b"not read by the stand-in")
    calls = []

    def with_rows(rows):
        def detect(picture):
            calls.append(picture.copy())
            return 1, None if rows is None else np.array(rows, np.float32)

        network = SimpleNamespace(detect=detect, setInputSize=calls.append)
        fake = SimpleNamespace(create=lambda *args, **options: network)
        monkeypatch.setattr(cv2, "FaceDetectorYN", fake)
        return FaceSettings("yunet", str(weights))

    with_rows.calls = calls
    return with_rows


def test_yunet_sees_a_smaller_bgr_frame_and_its_eyes_are_scaled_back(yunet):
    frame = FRAME.copy()
    frame[..., 0] = 255  # red
    settings = yunet([ROW])
    transform, alignment = find_alignment(frame, Path("onset.jpg"), settings)
    size, picture = yunet.calls
    assert size == (400, 213)
    assert picture.shape == (213, 400, 3)
    assert (picture == (0, 0, 255)).all()
    across, down = 2040 / 400, 1088 / 213
    eyes = ((220 * across, 140 * down), (260 * across, 144 * down))
    np.testing.assert_allclose(transform, face_transform(frame, Face(eyes=eyes)), rtol=1e-6)
    assert alignment == "yunet"


def test_yunet_takes_the_largest_of_several_faces(yunet):
    small = [*ROW]
    small[2:4] = 40, 60
    larger = [240, 30, 120, 150, 270, 70, 330, 74, *ROW[8:]]
    face = detector("yunet", yunet([small, larger, ROW]).weights).find(FRAME)
    assert face.eyes[0] == pytest.approx((270 * 2040 / 400, 70 * 1088 / 213))


@pytest.mark.parametrize(
    "rows", [None, np.empty((0, 15)), [[*ROW[:4], 260, 144, 220, 140, *ROW[8:]]]]
)
def test_no_row_or_a_face_upside_down_is_no_face(yunet, rows):
    with pytest.raises(FaceError, match=r"no face found in s1/img7\.jpg by yunet; try --face casc"):
        find_alignment(FRAME, Path("s1/img7.jpg"), yunet(rows))


def test_a_network_of_another_kind_is_named_in_one_line(yunet):
    settings = yunet([ROW])

    def fail(picture):
        raise cv2.error("Layer with requested id=-1 not found")

    cv2.FaceDetectorYN.create().detect = fail
    with pytest.raises(UserError, match=f"given to 'yunet' is not {YUNET_FILE}"):
        detector("yunet", settings.weights).find(FRAME)


def test_yunet_without_its_file_says_what_to_download(tmp_path):
    with pytest.raises(
        UserError, match=rf"needs {YUNET_FILE} from OpenCV's model zoo: download it"
    ):
        FaceSettings("yunet")
    with pytest.raises(UserError, match=rf"{YUNET_FILE} .* {tmp_path}/yunet\.onnx is no file"):
        FaceSettings("yunet", f"{tmp_path}/yunet.onnx")


@pytest.mark.parametrize("content", [b"", b"<html>404</html>" * 9])
def test_a_wrong_file_for_yunet_is_answered_in_one_line(tmp_path, capfd, content):
    wrong = tmp_path / "yunet.onnx"
    wrong.write_bytes(content)
    with pytest.raises(UserError, match=rf"{YUNET_FILE} .* {wrong} is another file") as caught:
        FaceSettings("yunet", str(wrong))
    assert "\n" not in str(caught.value)
    assert capfd.readouterr() == ("", "")


def test_the_cascade_without_scikit_image_says_how_to_install_it(monkeypatch):
    face_detectors._made.cache_clear()
    monkeypatch.setitem(sys.modules, "skimage.feature", None)
    with pytest.raises(UserError, match=r'needs scikit-image: pip install "hcp_mer\[face\]"'):
        FaceSettings("cascade")


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"detector": "casade"}, "face detector must be one of .* Did you mean 'cascade'"),
        ({"detector": "cascade", "weights": "w.onnx"}, "'cascade' reads no weights"),
        ({"detector": "given", "weights": "w.onnx"}, "'given' reads none"),
        ({"weights": "w.onnx"}, "'none' reads none"),
        ({"centre_crop": True}, "name a face detector too"),
    ],
)
def test_settings_that_mean_nothing_are_refused(settings, message):
    with pytest.raises(UserError, match=message):
        FaceSettings(**settings)


def test_settings_travel_without_the_path_of_the_weights(yunet):
    saved = json.loads(json.dumps(yunet([ROW]).to_dict()))
    assert saved == {"detector": "yunet", "weights": YUNET_FILE, "centre_crop": False}
    assert FaceSettings().to_dict() == {"detector": "none", "weights": None, "centre_crop": False}


def test_a_detector_is_made_once_per_process(monkeypatch):
    made = []

    class Patient:
        def __init__(self, weights):
            made.append(weights)

        def find(self, frame):
            return Face(eyes=((10, 10), (20, 10)))

    monkeypatch.setitem(DETECTORS, "patient", Patient)
    first = detector("patient", "a")
    assert detector("patient", "a") is first
    assert detector("patient", "b") is not first
    monkeypatch.setattr("os.getpid", lambda: -1)
    assert detector("patient", "a") is not first
    assert made == ["a", "b", "a"]


def test_a_face_that_is_given_is_used_as_it_is():
    face = Face(eyes=((300, 200), (400, 210)))
    transform, alignment = find_alignment(FRAME, Path("f.jpg"), FaceSettings("given"), face)
    np.testing.assert_array_equal(transform, face_transform(FRAME, face))
    assert alignment == "given"


def test_a_clip_without_a_given_face_is_refused_unless_the_centre_will_do():
    with pytest.raises(FaceError, match=r"no face is given for f\.jpg; fill in its box or eyes"):
        find_alignment(FRAME, Path("f.jpg"), FaceSettings("given"))
    settings = FaceSettings("given", centre_crop=True)
    transform, alignment = find_alignment(FRAME, Path("f.jpg"), settings)
    assert alignment == "centre crop"
    expected = np.array([[1, 0, -(2040 - 1088) / 2], [0, 1, 0]]) / 1088
    np.testing.assert_allclose(transform, expected)


def test_without_a_detector_frames_are_crops_already():
    face = Face(eyes=((300, 200), (400, 210)))
    found = find_alignment(FRAME, Path("f.jpg"), FaceSettings(), face)
    assert found == (None, "cropped already")


def test_yunet_finds_all_faces_the_largest_first(yunet):
    small = [*ROW]
    small[2:4] = 40, 60
    larger = [240, 30, 120, 150, 270, 70, 330, 74, *ROW[8:]]
    upside_down = [*ROW[:4], 260, 144, 220, 140, *ROW[8:]]
    yunet_of = lambda *rows: detector("yunet", yunet(rows or None).weights)  # noqa: E731
    network = yunet_of(small, upside_down, larger)
    faces = network.find_all(FRAME)
    assert [face.eyes[0][0] for face in faces] == pytest.approx([270 * 5.1, 220 * 5.1])
    assert faces[0] == network.find(FRAME)
