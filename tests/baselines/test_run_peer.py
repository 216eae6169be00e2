"""The harness around every peer: folds, seeds, costs, and going on after a kill."""

import json

import numpy as np
import pandas
import pytest

from hcp_mer.baselines.protocol import cost_of, run_peer
from hcp_mer.errors import UserError


class Guesser:
    """Draws from the fold's seed. Stops at fit number `dies_at`, as a kill would."""

    name = "guesser"
    deterministic = False

    def __init__(self, dies_at=None):
        self.fits, self.dies_at = [], dies_at

    def fit(self, run, rows, seed):
        if len(self.fits) == self.dies_at:
            raise KeyboardInterrupt
        self.fits.append(rows.tolist())
        self.rng = np.random.default_rng(seed)
        self.num_parameters = 10 * len(self.fits)

    def predict(self, run, rows):
        return self.rng.integers(0, 3, len(rows))


class Together(Guesser):
    """The same, several folds at a time."""

    name = "guesser"

    def folds_at_once(self, run):
        return 2

    def fit_predict_folds(self, run, folds, seed):
        self.fits.append([fold.name for fold in folds])
        draw = [np.random.default_rng(fold.seed(seed, self.name)) for fold in folds]
        return {f.name: d.integers(0, 3, len(f.test)) for f, d in zip(folds, draw)}


def test_every_held_out_clip_is_answered_once_for_every_seed(open_tiny):
    run = open_tiny(seeds=[3, 4])
    table = run_peer(Guesser(), run)
    assert list(table) == ["dataset", "subject", "clip_id", "label", "prediction", "seed"]
    assert table.groupby("seed").size().to_dict() == {3: 18, 4: 18}
    assert not table.duplicated(["dataset", "subject", "clip_id", "seed"]).any()
    by_seed = [rows["prediction"].tolist() for _, rows in table.groupby("seed")]
    assert by_seed[0] != by_seed[1]
    saved = pandas.read_parquet(run.folder.root / "baselines" / "guesser.parquet")
    pandas.testing.assert_frame_equal(saved, table)


def test_a_peer_on_which_seeds_have_no_effect_runs_with_the_first(open_tiny):
    run, peer = open_tiny(seeds=[3, 4]), Guesser()
    peer.deterministic = True
    assert set(run_peer(peer, run)["seed"]) == {3}


def test_a_peer_that_was_killed_goes_on_with_the_folds_that_it_lacks(open_tiny):
    whole = run_peer(Guesser(), open_tiny("whole", seeds=[0, 1]))
    run = open_tiny("killed", seeds=[0, 1])
    with pytest.raises(KeyboardInterrupt):
        run_peer(Guesser(dies_at=4), run)
    baselines = run.folder.root / "baselines"
    assert not (baselines / "guesser.parquet").exists()
    again = Guesser()
    pandas.testing.assert_frame_equal(run_peer(again, run), whole)
    assert len(again.fits) == 2  # of six
    assert sorted(p.name for p in baselines.iterdir()) == ["guesser.json", "guesser.parquet"]
    pandas.testing.assert_frame_equal(run_peer(Guesser(dies_at=0), run), whole)  # kept


def test_a_peer_of_several_folds_at_a_time_gets_them_in_groups_and_says_the_same(open_tiny):
    alone = run_peer(Guesser(), open_tiny("alone"))
    peer = Together()
    pandas.testing.assert_frame_equal(run_peer(peer, open_tiny("together")), alone)
    assert peer.fits == [["pairs/006", "pairs/007"], ["pairs/a b"]]


def test_a_trial_writes_no_table_and_its_answers_serve_the_whole_run(open_tiny):
    run, peer = open_tiny(), Guesser()
    table = run_peer(peer, run, run.folds[:2])
    assert set(table["subject"]) == {"006", "007"}
    cost = cost_of(peer, run, run.folds[:2])
    assert (cost.num_folds, cost.num_parameters, cost.deterministic) == (2, 20, False)
    assert not list((run.folder.root / "baselines").glob("*.parquet"))
    rest = Guesser()
    run_peer(rest, run)
    assert len(rest.fits) == 1


def test_costs_lie_beside_the_table(open_tiny):
    run = open_tiny(seeds=[0, 1])
    run_peer(Guesser(), run)
    cost = json.loads((run.folder.root / "baselines" / "guesser.json").read_text())
    assert cost["num_folds"] == 6
    assert cost["num_parameters"] == 60  # the most that a fold had
    assert 0 < cost["seconds"] < 60


def test_a_peer_trains_on_the_training_clips_of_the_fold(open_tiny):
    run, peer = open_tiny(), Guesser()
    run_peer(peer, run)
    for rows, fold in zip(peer.fits, run.folds, strict=True):
        assert rows == fold.train.tolist()
        assert {run.subjects[row] for row in rows} == set(run.subjects) - {fold.name}


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda table: table.iloc[1:], "not for this run's clips"),
        (lambda table: table.assign(label="surprise"), "not for this run's clips"),
        (lambda table: table.drop(columns="seed"), "cannot be read"),
    ],
    ids=["a clip less", "other labels", "no seed"],
)
def test_a_table_of_other_clips_is_refused_with_the_mend(open_tiny, change, words):
    run = open_tiny()
    place = run.folder.root / "baselines" / "guesser.parquet"
    change(run_peer(Guesser(), run)).to_parquet(place)
    with pytest.raises(UserError, match=f"{words}.*Delete .*guesser.parquet"):
        run_peer(Guesser(), run)


def test_a_damaged_table_is_refused_with_the_mend(open_tiny):
    run = open_tiny()
    place = run.folder.root / "baselines" / "guesser.parquet"
    place.parent.mkdir()
    place.write_bytes(b"PAR1")
    with pytest.raises(UserError, match="cannot be read"):
        run_peer(Guesser(), run)


def test_a_peer_that_cannot_answer_says_why_before_anything_is_written(open_tiny):
    run, peer = open_tiny(), Guesser()
    peer.why_not = lambda run: "guesser needs a coin."
    with pytest.raises(UserError, match="needs a coin"):
        run_peer(peer, run)
    assert not (run.folder.root / "baselines").exists()
