"""The second renderer: skin goes where Waters' muscles pull it, and by as much as asked."""

import numpy as np
import pytest

from hcp_mer.data.synthetic.actions import ACTION_UNITS
from hcp_mer.domains.head import ALIGNED, TIGHT, half_width, make_head
from hcp_mer.domains.muscle_face import MuscleStyle, backward, render_muscle_clip
from hcp_mer.domains.muscles import action_unit_field
from hcp_mer.domains.skin import layers_of
from hcp_mer.errors import UserError

SIDE = 112
STILL = MuscleStyle(
    peak_range_px=(2.0, 2.0),
    jitter_px=0,
    turn_deg=0,
    growth=0,
    light_drift=0,
    one_sided_probability=0,
    asymmetry=0,
    blink_probability=0,
)


@pytest.fixture(scope="module")
def head():
    return make_head(2**40 + 17)


def moved(head, unit, place, **sides):
    """Displacement (right, down) at a place in eye distances, the larger image's half."""
    field = action_unit_field(head, unit, ALIGNED, SIDE, **sides)
    column = (0.5 + place[0] * ALIGNED.eye_distance) * SIDE - 0.5
    row = (ALIGNED.eye_height + place[1] * ALIGNED.eye_distance) * SIDE - 0.5
    return field[round(row), round(column)]


# Unit → (landmark, on the image's right; signs of right and down). From the FACS manual.
SIGNS = {
    1: ("inner_brow", None, -1),
    2: ("outer_brow", None, -1),
    4: ("inner_brow", -1, 1),
    5: ("upper_lid", None, -1),
    6: ("cheek", None, -1),
    7: ("lower_lid", None, -1),
    9: ("nose_wing", None, -1),
    10: ("upper_lip", None, -1),
    12: ("corner", 1, -1),
    14: ("corner", 1, None),
    15: ("corner", None, 1),
    17: ("chin", None, -1),
    20: ("corner", 1, None),
    24: ("lower_lip", None, -1),
    25: ("lower_lip", None, 1),
    26: ("chin", None, 1),
}


def landmark(head, name):
    return {
        "inner_brow": (0.26, head.brow_y),
        "outer_brow": (0.72, head.brow_y),
        "upper_lid": (0.50, -0.09),
        "lower_lid": (0.50, 0.10),
        "cheek": (0.55, 0.32),
        "nose_wing": (0.20, head.nose_tip_y - 0.15),
        "upper_lip": (0.22, head.mouth_y - 0.15),
        "lower_lip": (0.10, head.mouth_y + 0.12),
        "corner": (head.mouth_width, head.mouth_y),
        "chin": (0.10, head.chin_y - 0.30),
    }[name]


@pytest.mark.parametrize("unit", ACTION_UNITS)
@pytest.mark.parametrize("person", [2**40 + 1, 2**40 + 17])
def test_the_skin_goes_where_facs_says_and_the_other_half_mirrors_it(unit, person):
    head = make_head(person)
    name, right, down = SIGNS[unit]
    x, y = landmark(head, name)
    there, mirrored = moved(head, unit, (x, y)), moved(head, unit, (-x, y))
    for sign, component in ((right, there[0]), (down, there[1])):
        assert sign is None or sign * component > 0.15
    np.testing.assert_allclose(mirrored, there * (-1, 1), atol=0.08)


@pytest.mark.parametrize("unit", ACTION_UNITS)
def test_a_field_is_1_at_its_strongest_and_0_off_the_face(head, unit):
    field = action_unit_field(head, unit, ALIGNED, SIDE)
    speed = np.linalg.norm(field, axis=-1)
    assert speed.max() == pytest.approx(1, abs=1e-3)
    assert max(speed[:2].max(), speed[:, :2].max(), speed[:, -2:].max()) < 1e-3


def test_one_sided_units_leave_the_other_half_at_rest(head):
    corner = landmark(head, "corner")
    assert np.linalg.norm(moved(head, 12, corner, right=0)) > 0.3
    assert np.linalg.norm(moved(head, 12, (-corner[0], corner[1]), right=0)) < 0.05


def test_brows_and_mouth_move_apart(head):
    brow, corner = landmark(head, "inner_brow"), landmark(head, "corner")
    for unit, far in ((1, corner), (4, corner), (12, brow), (15, brow), (26, brow)):
        assert np.linalg.norm(moved(head, unit, far)) < 0.02


@pytest.mark.parametrize(("side", "view", "zoom"), [(224, ALIGNED, 1.0), (112, TIGHT, 0.75)])
def test_the_peak_is_as_asked_at_224_px_and_scales_with_the_face(head, side, view, zoom):
    style = MuscleStyle(**{**vars(STILL), "peak_range_px": (1.2, 1.2)})
    clip = render_muscle_clip(head, (12,), 0, side=side, view=view, style=style)
    assert clip.peak_px == pytest.approx(1.2 * zoom, rel=1e-3)


def test_peaks_lie_in_the_default_range(head):
    for seed in range(8):
        clip = render_muscle_clip(head, (1, 2), seed, side=SIDE)
        assert clip.peak_px <= 2.2 / 2 + 1e-4
        assert clip.peak_px >= 0.5 / 2 - 1e-4


def test_pictures_move_by_the_true_flow(head):
    clip = render_muscle_clip(head, (1, 2), 3, side=SIDE, style=STILL)
    # A step of the optical-flow equation where the brow moves most: measured against the truth.
    grey = [frame.mean(axis=-1) for frame in (clip.onset, clip.apex)]
    slope_y = np.gradient((grey[0] + grey[1]) / 2, axis=0)
    true = np.linalg.norm(clip.flow_px, axis=-1) > 0.7 * clip.peak_px
    estimate = -np.sum((grey[1] - grey[0])[true] * slope_y[true]) / np.sum(slope_y[true] ** 2)
    assert estimate == pytest.approx(clip.flow_px[true][:, 1].mean(), rel=0.35)


def test_nothing_moves_where_no_muscle_pulls(head):
    clip = render_muscle_clip(head, (26,), 3, side=SIDE, style=STILL)
    still = np.linalg.norm(clip.flow_px, axis=-1) == 0
    forehead = np.zeros_like(still)
    forehead[: SIDE // 3] = True
    difference = np.abs(clip.apex - clip.onset).max(axis=-1)
    assert difference[forehead & still].max() < 0.5


def test_the_backward_flow_inverts_the_forward_one(head):
    flow_px = render_muscle_clip(head, (4,), 0, side=SIDE, style=STILL).flow_px
    back_px = backward(flow_px)
    rows, columns = np.mgrid[:SIDE, :SIDE]
    row = np.clip(np.rint(rows + flow_px[..., 1]), 0, SIDE - 1).astype(int)
    column = np.clip(np.rint(columns + flow_px[..., 0]), 0, SIDE - 1).astype(int)
    # Read at the nearest pixel, so a gradient's worth of half a pixel apart.
    assert np.abs(back_px[row, column] - flow_px).max() < 0.3


def test_frames_are_grey_levels_and_the_same_for_the_same_seed(head):
    first, again, other = (render_muscle_clip(head, (6, 12), s, side=64) for s in (1, 1, 2))
    np.testing.assert_array_equal(first.apex, again.apex)
    assert first.apex.shape == (64, 64, 3)
    assert 0 <= first.apex.min() < 80 < 120 < first.apex.max() <= 255
    assert not np.array_equal(first.onset, other.onset)
    assert first.action_units == (6, 12)


def test_people_differ_and_their_eyes_lie_where_the_first_renderers_do():
    heads = [make_head(2**40 + number) for number in range(3)]
    skins = [layers_of(head, ALIGNED, 64).skin for head in heads]
    assert np.abs(skins[0] - skins[1]).mean() > 0.02
    opening = np.mean([skin[..., 3] for skin in skins], axis=0)
    rows, columns = np.nonzero(opening > 0.5)
    left = columns < 64
    assert (columns[left].mean() + 0.5) / 128 == pytest.approx(0.36, abs=0.01)
    assert (columns[~left].mean() + 0.5) / 128 == pytest.approx(0.64, abs=0.01)
    assert (rows.mean() + 0.5) / 128 == pytest.approx(0.415, abs=0.01)


def test_outlines_are_widest_at_the_cheeks_and_close_at_the_chin(head):
    heights = np.array([-0.5, 0.35, head.mouth_y, head.chin_y])
    widths = half_width(head, heights)
    assert widths[1] == pytest.approx(head.cheek_width)
    assert widths[1] > widths[2] > 0.7 * widths[1]
    assert widths[3] == pytest.approx(0, abs=1e-6)


def test_beards_and_glasses_are_worn_by_some():
    heads = [make_head(2**40 + number, accessories=0.5) for number in range(40)]
    assert 8 < sum(head.glasses for head in heads) < 32
    assert 8 < sum(head.beard > 0 for head in heads) < 32
    assert layers_of(make_head(2**40), ALIGNED, 32).glasses is None
    assert not any(make_head(2**40 + number).glasses for number in range(40))


def test_units_without_a_muscle_are_refused(head):
    with pytest.raises(UserError, match="no muscle makes action unit 23"):
        render_muscle_clip(head, (23,), 0, side=32)
