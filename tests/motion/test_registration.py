"""register: the head's own movement, undone in the apex before flow is measured."""

import numpy as np
import pytest

from hcp_mer.data.synthetic.clips import ClipStyle, render_clip
from hcp_mer.data.synthetic.identity import make_identity
from hcp_mer.model.face_regions_hcp_mer import face_mask
from hcp_mer.model.motion_hcp_mer import MotionSettings, motion_pair, motion_pairs
from hcp_mer.model.registration_hcp_mer import register

FACE = face_mask(224, 224)
ROWS, COLUMNS = np.mgrid[0:224, 0:224].astype(float)


def movement_px(affine):
    """What an affine (2, 3) does to every pixel, (H, W, 2)."""
    places = np.stack([COLUMNS, ROWS], axis=-1)
    return places @ affine[:, :2].T + affine[:, 2] - places


def on_face_px(error_px):
    return np.linalg.norm(error_px, axis=-1)[FACE > 0.5].mean()


def flow_of_pair(onset, apex, **switches):
    """The flow that a pair is made of: what its magnifier is given."""
    given = {}

    def remember(onsets, apexes, flows_px, alphas):
        given["flow_px"] = flows_px[0]
        return apexes

    motion_pairs([onset], [apex], MotionSettings(**switches), magnifier=remember)
    return given["flow_px"]


@pytest.mark.parametrize(
    ("shift_px", "turn_deg", "growth"),
    [((0, 0), 0, 0), ((0.4, -0.3), 0.2, 0), ((3, -2), 0.8, 0.01), ((-8, 6), -3, -0.02)],
)
def test_a_known_head_motion_is_found_to_a_fraction_of_a_pixel(
    portrait, known, shift_px, turn_deg, growth
):
    head = known.affine(shift_px, turn_deg, growth)
    found = register(*portrait.frames(head, seed=1), FACE)
    assert found.found
    assert on_face_px(movement_px(found.affine) - portrait.true_flow_px(head)) < 0.05
    # Two sensors' noise of 2 levels each: the mean of |difference| is 2 · √2 · √(2/π) = 2.3.
    assert np.abs(found.apex.astype(float) - portrait.still)[FACE > 0.9].mean() < 2.5


def test_a_local_movement_is_not_taken_for_the_heads(portrait, known):
    smile, head = known.blobs(3, 2.0, (15, 22), most=2), known.affine((2.0, -1.0), turn_deg=0.5)
    frames = portrait.frames(lambda x, y: smile(x, y) + head(x, y), seed=3)
    affine = register(*frames, FACE).affine
    assert on_face_px(movement_px(affine) - portrait.true_flow_px(head)) < 0.1


def test_another_exposure_does_not_move_the_head(portrait, known):
    onset, apex = portrait.frames(known.affine((2.0, 1.0)), seed=4)
    brighter = np.clip(apex * 1.15 + 8, 0, 255).astype(np.uint8)
    affine = register(onset, brighter, FACE).affine
    assert on_face_px(movement_px(affine) - (2.0, 1.0)) < 0.1


def test_another_exposure_is_no_movement(portrait, known):
    """Where brightness has a slope, a darker face seems to move."""
    smile = known.blobs(9, 1.0, (15, 22), most=2)
    onset, apex = portrait.frames(smile, seed=9)
    darker = np.clip(np.rint(apex * 0.95 - 2.0), 0, 255).astype(np.uint8)
    true_px = portrait.true_flow_px(smile)
    same_px, left_px, undone_px = (
        on_face_px(flow_of_pair(onset, frame, register=switch) - true_px)
        for frame, switch in ((apex, True), (darker, False), (darker, True))
    )
    assert left_px > 2 * undone_px
    assert undone_px < 1.15 * same_px
    registered = register(onset, darker, FACE).apex.astype(float)
    assert np.abs(registered - portrait.moved(smile))[FACE > 0.9].mean() < 2.5


def test_frames_need_not_be_square(portrait, known):
    onset, apex = (frame[30:200] for frame in portrait.frames(known.affine((3.0, -2.0)), seed=5))
    affine = register(onset, apex, face_mask(170, 224)).affine
    np.testing.assert_allclose(movement_px(affine)[40:130, 80:150] - (3.0, -2.0), 0, atol=0.1)


def noise(seed):
    return np.random.default_rng(seed).integers(0, 256, (224, 224, 3), dtype=np.uint8)


def flat(level):
    return np.full((224, 224, 3), level, np.uint8)


@pytest.mark.parametrize(
    "pictures",
    [
        pytest.param(lambda face: (flat(90), flat(90)), id="flat"),
        pytest.param(lambda face: (flat(90), face), id="flat onset"),
        pytest.param(lambda face: (face, flat(90)), id="flat apex"),
        pytest.param(lambda face: (noise(0), noise(50)), id="noise"),
        pytest.param(lambda face: (noise(2), noise(52)), id="noise on which the steps settle"),
        pytest.param(lambda face: (noise(0), face), id="noise and a face"),
        pytest.param(lambda face: (face, face[::-1].copy()), id="upside down"),
        pytest.param(lambda face: (face, 255 - face), id="negative"),
        pytest.param(lambda face: (face, np.roll(face, 90, axis=1)), id="too far away"),
    ],
)
def test_where_nothing_is_found_the_apex_is_as_it_was_and_says_so(portrait, known, pictures):
    onset, apex = pictures(known.sensed(portrait.still, np.random.default_rng(0)))
    nothing = register(onset, apex, FACE)
    assert not nothing.found
    np.testing.assert_array_equal(nothing.apex, apex)
    np.testing.assert_array_equal(nothing.affine, [[1, 0, 0], [0, 1, 0]])


def test_a_pair_of_pictures_that_do_not_fit_is_the_pair_without_registration(portrait, known):
    onset = known.sensed(portrait.still, np.random.default_rng(0))
    without = motion_pair(onset, noise(3), MotionSettings(register=False))
    for one, other in zip(motion_pair(onset, noise(3), MotionSettings(register=True)), without):
        np.testing.assert_array_equal(one, other)


def test_a_face_of_no_pixels_is_none(portrait, known):
    frames = portrait.frames(known.affine((1.0, 1.0)), seed=0)
    assert not register(*frames, np.zeros((224, 224), np.float32)).found


def test_ten_px_of_head_motion_hardly_disturb_the_flow(portrait, known):
    undisturbed_px, errors_px = [], []
    for seed, turn_deg in ((6, 3.0), (7, -3.0), (8, 3.0)):
        smile = known.blobs(seed, 1.0, (15, 22), most=2)
        head = known.affine((8.0 * np.sign(turn_deg), -6.0), turn_deg)
        true_px = portrait.true_flow_px(smile)
        still_px = flow_of_pair(*portrait.frames(smile, seed=seed), register=False)
        undisturbed_px.append(on_face_px(still_px - true_px))
        frames = portrait.frames(lambda x, y, s=smile, h=head: s(x, y) + h(x, y), seed=seed)
        with_it, without = (flow_of_pair(*frames, register=switch) for switch in (True, False))
        errors_px.append([on_face_px(flow_px - true_px) for flow_px in (with_it, without)])
    with_it, without = np.mean(errors_px, axis=0)
    assert with_it < 1.4 * np.mean(undisturbed_px)
    assert with_it < 0.1 * without


def test_without_head_motion_the_flow_is_no_worse():
    still = ClipStyle(head_jitter_px=0.0, head_rotation_deg=0.0)
    errors_px = []
    for seed, emotion in enumerate(("happiness", "surprise", "disgust", "anger")):
        person = make_identity(600 + seed)
        clip = render_clip(person, emotion, seed, style=still, key_frames_only=True)
        flows = [flow_of_pair(*clip.frames, register=switch) for switch in (False, True)]
        errors_px.append([on_face_px(flow_px - clip.flow_px) for flow_px in flows])
    without, with_it = np.mean(errors_px, axis=0)
    assert with_it < without + 0.005


def test_misfits_are_refused(portrait, known):
    onset, apex = portrait.frames(known.affine((0, 0)), seed=0)
    with pytest.raises(ValueError, match=r"mask must have the frames' size \(224, 224\), got"):
        register(onset, apex, FACE[:100])
    with pytest.raises(ValueError, match=r"one size, got \(224, 224\) and \(100, 224\)"):
        register(onset, apex[:100], FACE)
    with pytest.raises(ValueError, match="apex must be a uint8 array, got float64"):
        register(onset, apex / 255, FACE)
