"""motion_energy and spot_apex."""

from dataclasses import replace

import numpy as np
import pytest

from hcp_mer.data.synthetic.clips import MICRO_STYLE, render_clip
from hcp_mer.data.synthetic.identity import make_identity
from hcp_mer.errors import UserError
from hcp_mer.model.face_regions_hcp_mer import face_mask
from hcp_mer.model.flow_hcp_mer import estimate_flow
from hcp_mer.motion.apex import energy_curve, motion_energy, spot_apex, spot_in_curve

RISE_AND_FALL = (0.2, 0.4, 0.7, 1.0, 0.75, 0.5, 0.2)


def test_the_peak_of_a_rise_and_fall_is_found_although_the_head_drifts_on(portrait, known):
    """The drift is largest in the last frame: raw motion would be, too."""
    smile = known.blobs(2, peak_px=0.4, sigmas_px=(18, 22), most=1)
    rng = np.random.default_rng(0)

    def frame_at(step, share):
        drift = known.affine((0.3 * step, -0.2 * step), turn_deg=0.05 * step)
        moved = portrait.moved(lambda x, y: drift(x, y) + share * smile(x, y))
        return known.sensed(moved, rng)

    onset = known.sensed(portrait.still, rng)
    frames = (frame_at(step, share) for step, share in enumerate(RISE_AND_FALL, start=1))
    assert spot_apex(onset, frames) == 3


def test_motion_energy_is_the_mean_speed_over_the_face():
    flow_px = np.zeros((224, 224, 2), np.float32)
    flow_px[102:122, 102:122] = (3, 4)  # 5 px on 400 px
    ellipse_area = np.pi * 0.33 * 0.43 * 224**2
    assert motion_energy(flow_px) == pytest.approx(5 * 400 / ellipse_area, rel=0.04)


def test_motion_beside_the_face_does_not_count():
    flow_px = np.zeros((224, 224, 2), np.float32)
    flow_px[face_mask(224, 224) < 1e-6] = 9
    assert motion_energy(flow_px) < 1e-3


def test_the_first_of_equals_is_the_apex(portrait, known):
    onset, apex = portrait.frames(known.blobs(2, 0.5), seed=0)
    assert spot_apex(onset, [onset, apex, apex]) == 1
    assert spot_apex(onset, [onset, onset]) == 0


def test_spotting_needs_a_frame():
    with pytest.raises(UserError, match="at least one frame after the onset, got none"):
        spot_apex(np.zeros((64, 64, 3), np.uint8), [])


def test_energies_are_those_of_the_frames_as_given(portrait, known):
    """Measured on shrunk frames, said in px of the large ones."""
    onset, apex = portrait.frames(known.blobs(2, 1.0, sigmas_px=(30, 36)), seed=0)
    (energy_px,) = energy_curve(onset, [apex])
    assert energy_px == pytest.approx(motion_energy(estimate_flow(onset, apex)), rel=0.15)


def test_drift_that_grows_to_the_end_is_not_the_apex():
    rise_and_fall = np.sin(np.linspace(0, np.pi, 22)[1:-1])
    drift = np.linspace(0, 1.6, 20)
    assert int(np.argmax(rise_and_fall + drift)) == 14  # drift alone moves the maximum
    assert spot_in_curve(rise_and_fall + drift) == 11  # the true one is 9 or 10
    assert spot_in_curve(rise_and_fall) in (9, 10)


def test_an_expression_that_is_held_to_the_end_has_its_apex_there():
    assert spot_in_curve(np.linspace(0.1, 1, 20)) == 19


def test_one_spiky_frame_does_not_decide():
    curve = np.sin(np.linspace(0, np.pi, 42)[1:-1])
    curve[3] = 1.5
    assert spot_in_curve(curve) in range(17, 23)


def errors_in_frames(num_clips, num_frames):
    emotions = ("disgust", "fear", "anger", "sadness", "happiness", "surprise", "others")
    style = replace(MICRO_STYLE, noise_std=2 / 255)
    for index in range(num_clips):
        clip = render_clip(
            make_identity(3000 + index),
            emotions[index % 7],
            index,
            num_frames=num_frames,
            style=style,
        )
        frames = clip.frames[clip.onset + 1 : clip.offset + 1]
        yield abs(clip.onset + 1 + spot_apex(clip.frames[clip.onset], frames) - clip.apex)


def test_the_median_error_on_noisy_faces_is_one_frame_at_most():
    assert np.median(list(errors_in_frames(7, 16))) <= 1


@pytest.mark.slow
@pytest.mark.parametrize(("num_clips", "num_frames", "mean"), [(42, 16, 1.5), (14, 48, 5)])
def test_the_median_error_is_one_frame_at_most_on_many_faces(num_clips, num_frames, mean):
    errors = list(errors_in_frames(num_clips, num_frames))
    assert np.median(errors) <= 1
    assert np.mean(errors) <= mean
