"""Scenes move as they say, and the benchmarks of flow and magnification measure what they say."""

import numpy as np
import pytest
from PIL import Image
from scipy.ndimage import map_coordinates

from hcp_mer.benchmark import flow, magnify
from hcp_mer.benchmark.flow import REFERENCE, SEVERAL_FRAMES, ZERO, Trial, mean_of, ratio, run_flow
from hcp_mer.benchmark.magnify import UNCHANGED, run_magnify
from hcp_mer.benchmark.motion_tables import flow_summary, flow_tables, magnify_tables
from hcp_mer.benchmark.plots import flow_figure, magnify_figure, save
from hcp_mer.benchmark.scenes import Conditions, Scene, action_units, bumps, faces
from hcp_mer.errors import UserError

ROWS, COLUMNS = np.mgrid[0:224, 0:224].astype(float)


@pytest.fixture(scope="module")
def people():
    return faces()


@pytest.fixture(scope="module")
def scene(people):
    return Scene(people[0], bumps(3, 1.0))


def speeds_px(scene):
    return np.linalg.norm(scene.true_px, axis=-1)


@pytest.mark.parametrize("motion", [bumps, action_units])
@pytest.mark.parametrize("peak_px", [0.05, 2.0])
def test_the_largest_displacement_is_the_peak(people, motion, peak_px):
    assert speeds_px(Scene(people[2], motion(5, peak_px))).max() == pytest.approx(peak_px)


@pytest.mark.parametrize(
    ("motion", "times"), [(bumps, 0.3), (bumps, 10.0), (action_units, 0.3), (action_units, 2.0)]
)
def test_what_was_at_x_is_at_x_plus_u(people, motion, times):
    scene = Scene(people[0], motion(7, 1.0))
    moved = scene.true_px * times
    there = scene.shown(times, COLUMNS + moved[..., 0], ROWS + moved[..., 1])
    assert np.abs(there - people[0].at(COLUMNS, ROWS)).max() < 1e-3


def test_frames_alone_show_that_movement(scene):
    """Read between its pixels, where a frame says less than the photograph that it was taken of."""
    apex, onset = scene.moved(1.0), scene.moved(0.0)
    places = [ROWS + scene.true_px[..., 1], COLUMNS + scene.true_px[..., 0]]
    back = np.stack(
        [map_coordinates(p, places, mode="mirror") for p in np.moveaxis(apex, -1, 0)], -1
    )
    moving = scene.moving
    assert np.abs(back - onset)[moving].mean() < np.abs(apex - onset)[moving].mean() / 8


def test_a_clip_goes_to_the_apex_and_back(scene):
    frames = scene.film(Conditions(), seed=0)
    assert len(frames) == 31
    assert np.array_equal(frames[0], np.clip(np.rint(scene.moved(0)), 0, 255).astype(np.uint8))
    assert np.array_equal(frames[15], np.clip(np.rint(scene.moved(1)), 0, 255).astype(np.uint8))
    assert all(np.array_equal(frames[k], frames[30 - k]) for k in range(31))
    changes = [np.abs(frame.astype(float) - frames[0]).mean() for frame in frames[:16]]
    assert changes == sorted(changes)
    assert np.array_equal(frames[5], scene.film(Conditions(), seed=1)[5])  # nothing random in it


def test_noise_is_as_strong_as_asked_and_its_own_in_each_frame(people):
    still = Scene(people[3], lambda columns, rows: np.zeros((*columns.shape, 2)))
    frames = np.stack(still.film(Conditions(noise=3.0), seed=4)).astype(float)
    inside = (frames[0] > 20) & (frames[0] < 235)  # not clipped
    # Rounding to whole levels adds 1/12.
    expected = (3.0**2 + 1 / 12) ** 0.5
    assert frames.std(axis=0, ddof=1)[inside].mean() == pytest.approx(expected, rel=0.02)
    others = still.film(Conditions(noise=3.0), seed=5)
    assert not np.array_equal(frames[0], others[0])
    assert np.array_equal(frames, still.film(Conditions(noise=3.0), seed=4))


def test_light_drifts_and_is_the_onsets_at_the_onset(scene):
    plain, lit = (scene.film(Conditions(light=light), seed=6) for light in (False, True))
    assert np.array_equal(plain[0], lit[0])
    change = [float((b.astype(float) - a).mean()) for a, b in zip(plain, lit)]
    assert 0.3 < np.abs(change).max() < 10


def test_a_jpeg_of_less_quality_is_further_from_the_frame(scene):
    plain = scene.film(Conditions(), seed=0)[15].astype(float)
    errors = [
        np.abs(scene.film(Conditions(jpeg_quality=quality), seed=0)[15] - plain).mean()
        for quality in (100, 85, 60)
    ]
    assert 0 < errors[0] < errors[1] < errors[2]


def test_the_head_moves_the_background_too(scene):
    still, moved = (scene.film(Conditions(head=head), seed=8)[15] for head in (False, True))
    background = speeds_px(scene) < 1e-6
    assert background.any()
    assert np.abs(still.astype(float) - moved)[background].mean() > 1


def test_a_ratio_is_of_means_over_the_same_scenes():
    found = ratio([1.0, 2.0, 3.0], [2.0, 4.0, 6.0])
    assert found == {"ratio": 0.5, "low": 0.5, "high": 0.5}  # paired: no scene says otherwise
    uneven = ratio([1.0, 1.0, 4.0, 1.0], [2.0, 2.0, 2.0, 2.0])
    assert uneven["ratio"] == pytest.approx(7 / 8)
    assert uneven["low"] == pytest.approx(0.5)
    assert 1 < uneven["high"] <= 2


def test_a_mean_has_its_standard_error():
    assert mean_of([1.0, 2.0, 3.0]) == {
        "mean_px": 2.0,
        "standard_error_px": pytest.approx(1 / 3**0.5),
    }


@pytest.fixture(scope="module")
def few(people):
    """A minute's benchmarks in seconds: one face, one movement, one peak."""
    with pytest.MonkeyPatch.context() as patch:
        for module in (flow, magnify):
            patch.setattr(module, "faces", lambda: [people[0], people[2]])
            patch.setattr(module, "NOISES", (2.0,))
        patch.setattr(flow, "PEAKS_PX", (0.25,))
        patch.setattr(magnify, "PEAKS_PX", (0.3,))
        trials = {"head": Trial(Conditions(2.0, head=True))}
        trials["head reg."] = Trial(Conditions(2.0, head=True), registered=True)
        patch.setattr(flow, "TRIALS", trials)
        yield {"flow": run_flow((1, 1), rounds=2), "magnify": run_magnify((1, 1), rounds=2)}


def errors_of(result, conditions):
    rows = [row for row in result["flow"]["errors"] if row["conditions"] == conditions]
    return {row["method"]: row["mean_px"] for row in rows}


@pytest.mark.slow
def test_errors_are_what_numpy_makes_of_the_same_scenes(few, people):
    found = errors_of(few, "noise 2")
    zeros, refined = [], []
    for seed, face in enumerate((people[0], people[2])):
        scene = Scene(face, bumps(seed, 0.25))
        speed_px = speeds_px(scene)
        zeros.append(speed_px[speed_px > speed_px.max() / 4].mean())
        frames = scene.film(Conditions(2.0), seed)
        flow_px = flow.refined_lucas_kanade(frames[0], frames[15])
        off_px = np.hypot(*np.moveaxis(flow_px - scene.true_px, -1, 0))
        refined.append(off_px[speed_px > speed_px.max() / 4].mean())
    assert found[ZERO] == pytest.approx(np.mean(zeros))
    assert found[REFERENCE] == pytest.approx(np.mean(refined))
    assert few["flow"]["ratio_to_reference"]["ratio"] == pytest.approx(
        found["lucas_kanade"] / np.mean(refined)
    )


@pytest.mark.slow
def test_more_information_means_less_error(few):
    found = errors_of(few, "noise 2")
    order = [SEVERAL_FRAMES, "lucas_kanade", REFERENCE, "dis", ZERO]
    assert [found[name] for name in order] == sorted(found[name] for name in order)


@pytest.mark.slow
def test_registration_helps_where_the_head_moves(few):
    before, after = errors_of(few, "head"), errors_of(few, "head reg.")
    assert before[ZERO] == pytest.approx(after[ZERO])
    assert after["dis"] < before["dis"]


@pytest.mark.slow
def test_times_are_of_every_method(few):
    assert set(few["flow"]["pair_s"]) == {row["method"] for row in few["flow"]["errors"]} - {ZERO}
    assert "dis" in few["magnify"]["apex_s"]


@pytest.mark.slow
def test_magnified_frames_are_compared_with_the_true_one(few, people):
    found = {row["method"]: row for row in few["magnify"]["quality"]}
    missing_px = [
        9 * speeds_px(scene)[scene.moving].mean()
        for scene in (Scene(people[0], bumps(0, 0.3)), Scene(people[2], bumps(1, 0.3)))
    ]
    assert found[UNCHANGED]["mean_px"] == pytest.approx(np.mean(missing_px), rel=0.1)
    best = max(found.values(), key=lambda row: row["psnr_db"])
    assert best["method"] == "lagrangian, true flow"
    # A frame with noise of 2 levels, rounded, against the truth, rounded.
    ceiling_db = 10 * np.log10(255**2 / (2.0**2 + 2 / 12))
    assert best["psnr_db"] == pytest.approx(ceiling_db, abs=0.5)
    assert found["lagrangian, default"]["mean_px"] < found["lagrangian, DIS"]["mean_px"]


@pytest.mark.slow
def test_tables_and_figures_show_every_method(few, tmp_path):
    for tables, figure, result in (
        (flow_tables, flow_figure, few["flow"]),
        (magnify_tables, magnify_figure, few["magnify"]),
    ):
        methods = {row["method"] for row in result.get("errors") or result["quality"]}
        first, *_, times = tables(result)
        assert {row[0] for row in first[1]} == methods
        assert {row[0]: row[-1] for row in times[1]}["dis"] == "1.0"
        drawn = figure(result)
        assert {text.get_text() for text in drawn.legends[0].get_texts()} == methods
        save(drawn, tmp_path / "figure.png")
        with Image.open(tmp_path / "figure.png") as picture:
            assert min(picture.size) > 300
    assert "ratio_several_frames" in flow_summary(few["flow"])


def test_weights_of_nothing_are_refused_before_anything_is_filmed(people, monkeypatch):
    def film(*_):
        raise AssertionError("filmed")

    monkeypatch.setattr(Scene, "film", film)
    for run in (run_flow, run_magnify):
        with pytest.raises(UserError, match=r"no weights of .* at nowhere\.pth"):
            run(weights="nowhere.pth")
