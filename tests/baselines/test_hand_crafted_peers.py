"""Bi-WOOF and LBP-TOP: histograms that can be counted by hand, and that both learn by the rules."""

import numpy as np
import pytest
from PIL import Image

from hcp_mer.baselines.bi_woof import BiWoof, bi_woof
from hcp_mer.baselines.lbp_top import LbpTop, lbp_top, plane_codes
from hcp_mer.baselines.svm import fit_svm, num_fitted
from hcp_mer.data.records import ClipRecord
from hcp_mer.errors import UserError
from hcp_mer.motion.frames import FrameSequence
from tests.foreign_pairs import write_foreign_pairs
from tests.stand_in_run import accuracy, stand_in_run, with_labels


def flow(u, v, strain=1.0, side=25):
    return np.stack([np.full((side, side), float(value)) for value in (u, v, strain)])


@pytest.mark.parametrize(
    ("degrees", "bin_of_block"),
    [(10, 4), (100, 6), (170, 7), (-10, 3), (-100, 1), (-170, 0), (180, 0)],
)
def test_a_constant_flow_is_in_one_bin_of_every_block(degrees, bin_of_block):
    radians = np.deg2rad(degrees)
    histogram = bi_woof(flow(np.cos(radians), np.sin(radians))).reshape(25, 8)
    expected = np.zeros((25, 8))
    expected[:, bin_of_block] = 1 / 5  # 25 equal numbers whose squares sum to 1
    assert np.allclose(histogram, expected)


def test_directions_weigh_as_long_as_they_are_and_blocks_as_much_as_they_strain():
    levels = flow(0, 0, strain=0)
    levels[2, :5, :5] = 4  # only the first block strains
    levels[0, 0, 0] = 3  # 0°: bin 4
    levels[1, 1, 1] = 1  # 90°: bin 6
    levels[0, 20, 20] = 100  # in a block without strain
    first = np.zeros(8)
    first[4], first[6] = 0.75, 0.25
    histogram = bi_woof(levels).reshape(25, 8)
    assert np.allclose(histogram[0], first / np.hypot(0.75, 0.25))
    assert not histogram[1:].any()


def test_the_scale_of_a_clip_does_not_show_and_a_still_face_is_zero():
    rng = np.random.default_rng(0)
    levels = np.stack([rng.normal(size=(23, 27)), rng.normal(size=(23, 27)), rng.random((23, 27))])
    assert np.allclose(bi_woof(levels), bi_woof(7 * levels))
    assert np.isclose(np.linalg.norm(bi_woof(levels)), 1)
    assert not bi_woof(flow(0, 0)).any()


def test_every_pixel_is_in_one_block():
    for number in range(25):
        levels = flow(1, 0, strain=0, side=28)  # 28 = 5 · 5 + 3: the last blocks are larger
        row, column = divmod(number, 5)
        levels[2, (0, 5, 10, 15, 27)[row], (0, 5, 10, 15, 27)[column]] = 1
        assert np.flatnonzero(bi_woof(levels)).tolist() == [8 * number + 4]


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    folder = tmp_path_factory.mktemp("hand-crafted") / "pairs"
    write_foreign_pairs(folder, subjects=("006", "007", "011", "012"), clips_per_class=3)
    return stand_in_run(folder)


def test_bi_woof_learns_what_the_flow_shows(run):
    peer = BiWoof()
    assert accuracy(peer, run) > 0.8  # chance: 0.33
    assert peer.num_parameters > 0


def test_hand_crafted_peers_draw_nothing(run):
    fold = run.folds[0]
    machines = []
    for seed in (1, 2):
        peer = BiWoof()
        peer.fit(run, fold.train, seed)
        machines.append(peer._machine)
    assert peer.deterministic
    assert machines[0].C == machines[1].C
    assert np.array_equal(machines[0].dual_coef_, machines[1].dual_coef_)


def test_bi_woof_never_trains_on_the_held_out_subject(run):
    fold = run.folds[2]
    peer, other = BiWoof(), BiWoof()
    peer.fit(run, fold.train, seed=1)
    labels = run.labels.clone()
    labels[fold.test] = 0
    other.fit(with_labels(run, labels), fold.train, seed=1)
    assert np.array_equal(peer._machine.dual_coef_, other._machine.dual_coef_)
    other.fit(with_labels(run, labels), np.append(fold.train, fold.test), seed=1)  # it would show
    assert peer._machine.dual_coef_.shape != other._machine.dual_coef_.shape


def test_a_machine_of_one_class_or_of_one_subject_answers():
    features = np.random.default_rng(0).random((6, 4))
    alone = fit_svm(features, np.ones(6, int), np.array(list("aabbcc")))
    assert alone.predict(features).tolist() == [1] * 6
    assert num_fitted(alone) == 0
    labels = np.array([0, 1, 0, 1, 0, 1])
    machine = fit_svm(features + 9 * labels[:, None], labels, np.array(["a"] * 6))
    assert machine.predict(features + 9 * labels[:, None]).tolist() == labels.tolist()


# Bits: right 1, above (earlier) 2, left 4, below (later) 8; equal counts as at least as bright.
@pytest.mark.parametrize(
    ("brighter_along", "codes"),
    [
        (None, {"yx": 15, "tx": 15, "ty": 15}),
        ("x", {"yx": 1 + 2 + 8, "tx": 1 + 2 + 8, "ty": 15}),
        ("y", {"yx": 1 + 4 + 8, "tx": 15, "ty": 1 + 2 + 8}),
        ("t", {"yx": 15, "tx": 1 + 4 + 8, "ty": 1 + 4 + 8}),
    ],
)
def test_binary_patterns_of_a_ramp_by_hand(brighter_along, codes):
    axes = dict(zip("tyx", np.mgrid[:6, :7, :8].astype(float)))
    volume = axes.get(brighter_along, np.zeros((6, 7, 8)))
    for plane, code in codes.items():
        found = plane_codes(volume, *plane)
        assert found.shape == (6 - 4, 7 - 2, 8 - 2)
        assert set(found.ravel()) == {code}
    histograms = lbp_top(volume).reshape(25, 3, 16)
    expected = np.zeros((3, 16))
    expected[range(3), [codes["yx"], codes["tx"], codes["ty"]]] = 1
    assert np.array_equal(histograms, np.broadcast_to(expected, (25, 3, 16)))


def test_one_bright_voxel_on_a_tiny_volume():
    volume = np.zeros((5, 7, 7))
    volume[2, 3, 3] = 1
    codes = plane_codes(volume, "y", "x")[0]  # one frame has neighbours in time
    expected = np.full((5, 5), 15)
    expected[2, 2] = 0  # nobody is as bright
    assert np.array_equal(codes, expected)  # beside it everybody is at least as bright as 0
    dark = plane_codes(-volume, "y", "x")[0]
    expected = np.full((5, 5), 15)
    expected[2, 1], expected[2, 3] = 15 - 1, 15 - 4  # the voxel is to their right, to their left
    expected[3, 2], expected[1, 2] = 15 - 2, 15 - 8  # it is above, below
    assert np.array_equal(dark, expected)


def test_patterns_in_the_picture_are_scikit_images():
    skimage = pytest.importorskip("skimage.feature")
    volume = np.random.default_rng(0).integers(0, 255, (6, 20, 24)).astype(float)
    for number, codes in enumerate(plane_codes(volume, "y", "x"), start=2):
        theirs = skimage.local_binary_pattern(volume[number].astype(np.uint8), P=4, R=1)
        assert np.array_equal(codes, theirs[1:-1, 1:-1])


DIRECTIONS = {"negative": (0, 1), "positive": (1, 0), "surprise": (0, 0)}  # y, x in px a frame


@pytest.fixture(scope="module")
def corpus(run, tmp_path_factory):
    """Clips of the run's pairs whose texture moves sideways, down, or not at all."""
    root, rng, records = tmp_path_factory.mktemp("corpus"), np.random.default_rng(0), {}
    columns = [run.pairs.column(n) for n in ("dataset", "subject", "clip_id", "emotion")]
    for dataset, subject, clip_id, emotion in zip(*columns, strict=True):
        coarse = Image.fromarray(rng.integers(0, 255, (16, 16), np.uint8))
        texture = np.asarray(coarse.resize((64, 64), Image.Resampling.BICUBIC))
        paths = []
        for number in range(8):
            shift = [step * number for step in DIRECTIONS[emotion]]
            path = root / subject / clip_id / f"{number}.png"
            path.parent.mkdir(parents=True, exist_ok=True)
            Image.fromarray(np.roll(texture, shift, axis=(0, 1))).save(path)
            paths.append(path)
        frames = FrameSequence(tuple(range(8)), tuple(paths))
        clip = (dataset, subject, clip_id)
        records[clip] = ClipRecord(*clip, frames, 0, 4, 7, (), emotion)
    return records


def test_lbp_top_learns_which_way_the_texture_moves(run, corpus):
    assert accuracy(LbpTop(corpus), run) > 0.8  # chance: 0.33; pairs do not show it


def test_lbp_top_says_in_one_line_why_it_does_not_run(run, corpus):
    assert LbpTop(corpus).why_not(run) is None
    with pytest.raises(
        UserError, match=r"^lbp_top cannot answer: it reads whole clips.*--corpus_dir CORPUS=FOLDER"
    ):
        LbpTop().fit(run, run.folds[0].train, seed=0)
    clips = list(corpus)
    part = {clip: corpus[clip] for clip in clips[:-2]}
    missing = "/".join(clips[-2])
    reason = LbpTop(part).why_not(run)
    assert f"2 of 36 are in no corpus that was given, first {missing}" in reason
    assert "\n" not in reason
