"""spot: what moved in a clip, and when."""

import cv2
import numpy as np
import pytest

from hcp_mer.domains.head import make_head
from hcp_mer.domains.muscle_face import MuscleStyle, render_muscle_clip
from hcp_mer.errors import UserError
from hcp_mer.motion.face_motion import FaceTracker
from hcp_mer.motion.flow import Estimator
from hcp_mer.motion.spotting import Movement, spot
from tests.motion.filmed import SIZE, Film, bump

COUNT = 20
BLINK = bump(COUNT, 5, 9, 15)
DRIFT = np.outer(np.sin(np.linspace(0, 2, COUNT)), (0.9, -0.5))


class Nothing(Estimator):
    """Says that nothing moves, and counts how often it was asked."""

    def __init__(self):
        super().__init__(None)
        self.asked = 0

    def _measure(self, onset, apex):
        self.asked += 1
        return np.zeros((*onset.shape[:2], 2), np.float32)


@pytest.mark.parametrize(
    ("person", "units", "peak_px"), [(7001, (4,), 2.0), (7002, (12,), 1.5), (7003, (1, 2), 1.5)]
)
def test_an_expression_is_found_with_its_onset_apex_and_offset(person, units, peak_px):
    film = Film(person, COUNT, [(units, peak_px * bump(COUNT, 4, 11, 18))], shift=DRIFT)
    found = spot([*film])
    assert found.movement == Movement.EXPRESSION == "expression"
    assert abs(found.apex - 11) <= 2
    assert abs(found.onset - 4) <= 3
    assert abs(found.offset - 18) <= 3
    assert found.energies_px.shape == (COUNT,)
    assert found.energies_px[found.onset] < found.noise_px < found.energies_px[found.apex]


@pytest.mark.parametrize("noise", [1.0, 4.0])
def test_a_still_face_under_noise_and_flicker_is_still(noise):
    light = 1 + 0.03 * np.sin(np.arange(COUNT))
    found = spot([*Film(7004, COUNT, shift=0.5 * DRIFT, noise=noise, light=light)])
    assert found.movement == Movement.STILL
    assert found.reason.startswith("nothing moved beyond the clip's own noise (0.")
    assert found.energies_px.max() < found.noise_px


def test_what_jpeg_does_to_a_still_face_is_no_movement():
    def stored(frame):
        _, data = cv2.imencode(".jpg", frame, [cv2.IMWRITE_JPEG_QUALITY, 70])
        return cv2.imdecode(data, cv2.IMREAD_COLOR)

    film = Film(7005, COUNT, shift=DRIFT)
    assert spot([stored(frame) for frame in film]).movement == Movement.STILL


def test_a_blink_is_no_expression():
    found = spot([*Film(7006, COUNT, lids=BLINK)])
    assert found.movement == Movement.BLINK == "blink"
    assert found.reason.startswith("the eyes blinked")


def test_a_blink_of_the_second_renderer_is_no_expression():
    rng = np.random.default_rng(0)
    frames = []
    for closing_px in 7 * bump(COUNT, 4, 9, 16) + 1e-3:
        style = MuscleStyle((closing_px, closing_px), 0, 0, 0, 0, 0, 0, blink_probability=1)
        levels = render_muscle_clip(make_head(2**40 + 70), (), 1, side=112, style=style).apex
        noisy = levels + rng.normal(0, 2, levels.shape)
        frames.append(np.clip(np.rint(noisy), 0, 255).astype(np.uint8))
    assert spot(frames).movement == Movement.BLINK


def test_a_blink_does_not_hide_an_expression():
    film = Film(7007, COUNT, [((12,), 2.0 * bump(COUNT, 4, 12, 19))], lids=BLINK)
    found = spot([*film])
    assert found.movement == Movement.EXPRESSION
    assert abs(found.apex - 12) <= 2


@pytest.mark.parametrize("towards", [(5.0, 0.0), (0.0, -4.0)])
def test_a_turn_of_the_head_is_no_expression(towards):
    turn = np.outer(bump(COUNT, 2, 18, 60), towards)
    found = spot([*Film(7009, COUNT, head=turn)])
    assert found.movement == Movement.HEAD == "head movement"
    said_px = float(found.reason.removeprefix("the head moved (").split(" px")[0])
    assert said_px == pytest.approx(max(map(abs, towards)), rel=0.25)  # the nose more, ears less


def test_a_head_that_turns_on_the_spot_is_no_expression():
    """The nose goes 1.4 px one way and the ears the other; the middle of the face stays."""
    turn = np.outer(bump(COUNT, 2, 18, 60), (4.0, 0.0))
    found = spot([*Film(7016, COUNT, head=turn, shift=-turn)])
    assert found.movement != Movement.EXPRESSION


def test_an_expression_while_the_head_turns_slightly_is_one():
    turn = np.outer(bump(COUNT, 2, 18, 60), (1.2, 0.6))
    film = Film(7009, COUNT, [((4,), 2.0 * bump(COUNT, 4, 11, 18))], head=turn)
    found = spot([*film])
    assert found.movement == Movement.EXPRESSION
    assert abs(found.apex - 11) <= 2


def test_a_head_is_followed_over_many_px():
    gone = np.outer(np.arange(8), (2.5, -1.0))  # to (17.5, −7) px
    film = Film(7010, 8, shift=gone)
    frames = [*film]
    tracker = FaceTracker(frames[0])
    motions = [tracker.measure(frame) for frame in frames]
    for motion, truth in zip(motions, gone):
        assert motion.head_px.mean(axis=(0, 1)) == pytest.approx(truth, abs=0.1)
    assert np.abs(motions[-1].face_px[6:22, 8:20]).mean() < 0.1


def test_energies_are_those_of_the_true_movement_whatever_the_frames_size(portrait, known):
    smile = known.blobs(5, peak_px=1.5, sigmas_px=(20, 20), most=1)
    rng = np.random.default_rng(0)
    frames = [known.sensed(portrait.moved(smile, share), rng) for share in (0, 0, 0.5, 1, 0.5, 0)]
    rows, columns = np.mgrid[0:SIZE, 0:SIZE] / SIZE - 0.5
    face = np.hypot(columns / 0.28, rows / 0.40) < 1
    true_px = np.linalg.norm(portrait.true_flow_px(smile), axis=-1)[face].mean()
    large = [cv2.resize(frame, (336, 336), interpolation=cv2.INTER_CUBIC) for frame in frames]
    for clip in (frames, large):
        assert spot(clip).energies_px[3] == pytest.approx(true_px, rel=0.25)


def test_a_clip_that_begins_with_the_end_of_another_movement_has_its_onset_after_it():
    fading = 2.0 * bump(28, -8, 0, 7)
    film = Film(7011, 28, [((12,), fading), ((4,), 2.0 * bump(28, 12, 19, 26))])
    found = spot([*film])
    assert found.movement == Movement.EXPRESSION
    assert abs(found.onset - 12) <= 3
    assert abs(found.apex - 19) <= 2


def test_an_expression_that_is_held_ends_with_the_clip():
    held = 2.0 * np.maximum(bump(COUNT, 5, 12, 60), np.arange(COUNT) >= 12)
    found = spot([*Film(7012, COUNT, [((1, 2), held)])])
    assert found.offset == COUNT - 1
    assert abs(found.onset - 5) <= 3


def test_what_is_given_is_kept():
    film = Film(7013, COUNT, [((4,), 2.0 * bump(COUNT, 4, 11, 18))])
    frames = [*film]
    found = spot(frames, onset=3, apex=13, offset=19)
    assert (found.onset, found.apex, found.offset) == (3, 13, 19)
    assert found.energies_px[3] < 0.05
    assert abs(spot(frames, onset=6).apex - 11) <= 2
    assert spot(frames, apex=10).apex == 10


def test_of_long_clips_every_second_to_fourth_frame_is_measured():
    frame = Film(7014, 1).frame(0)
    estimator = Nothing()
    found = spot([frame] * 97, flow_estimator=estimator)
    assert 33 <= estimator.asked <= 36  # every third, and the last
    assert found.movement == Movement.STILL
    assert found.energies_px.shape == (97,)


@pytest.mark.parametrize(
    "given", [{"onset": 5, "apex": 5}, {"apex": 0}, {"onset": 9}, {"offset": 10}, {"onset": -1},
              {"onset": 6, "offset": 5}, {"apex": 7, "offset": 6}]
)  # fmt: skip
def test_key_frames_out_of_order_are_refused(given):
    frames = [np.zeros((64, 64, 3), np.uint8)] * 10
    with pytest.raises(UserError, match=r"must come in this order among frames 0…9, got") as error:
        spot(frames, **given)
    assert str(next(iter(given.values()))) in str(error.value)


def test_two_frames_are_too_few():
    with pytest.raises(UserError, match="at least 3 frames, got 2"):
        spot([np.zeros((64, 64, 3), np.uint8)] * 2)


def test_a_cut_is_named():
    frames = [*Film(7015, 6)]
    rng = np.random.default_rng(0)
    other = cv2.GaussianBlur(rng.integers(0, 256, (SIZE, SIZE, 3), np.uint8), (0, 0), 4)
    with pytest.raises(UserError, match=r"changes too much at frame 3 .*: a cut"):
        spot([*frames[:3], other, *frames[4:]])


def test_frames_of_several_sizes_are_refused():
    with pytest.raises(ValueError, match="one size"):
        spot([np.zeros((64, 64, 3), np.uint8)] * 3 + [np.zeros((65, 65, 3), np.uint8)])


@pytest.mark.slow
def test_of_many_people_hardly_any_is_judged_wrongly():
    """Twelve of each kind, noise of 1 to 3 levels; blinks in every third expression."""
    rng = np.random.default_rng(0)
    units = [(12,), (4,), (1, 2), (6, 12), (15,), (9, 10)]
    wrong = dict.fromkeys(Movement, 0)
    for person in range(7100, 7112):
        usual = {"person": person, "count": 24, "noise": float(rng.uniform(1, 3)), "seed": person}
        apex = int(rng.integers(8, 15))
        rise = rng.uniform(1.5, 4) * bump(24, apex - 6, apex, apex + 7)
        turn = np.outer(bump(24, 2, 20, 60), rng.uniform(-5, 5, 2))
        lids = bump(24, apex - 5, apex - 1, apex + 5)
        films = {
            Movement.EXPRESSION: Film(
                **usual,
                parts=[(units[person % 6], rise)],
                lids=None if person % 3 else lids,
                shift=turn / 8,
            ),
            Movement.STILL: Film(**usual, shift=turn / 8),
            Movement.BLINK: Film(**usual, lids=lids),
            Movement.HEAD: Film(**usual, head=turn),
        }
        for kind, film in films.items():
            found = spot([*film]).movement
            wrong[kind] += (found == Movement.EXPRESSION) != (kind == Movement.EXPRESSION)
    assert wrong[Movement.EXPRESSION] <= 1
    assert wrong[Movement.STILL] + wrong[Movement.BLINK] + wrong[Movement.HEAD] <= 1
