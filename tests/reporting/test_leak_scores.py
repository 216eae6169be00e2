"""What choosing the epoch on the held-out subject adds, on hand-made epochs."""

import pandas as pd
import pytest

from hcp_mer.errors import UserError
from hcp_mer.reporting.leak import leak_curve, leak_scores, read_leaky_epochs

CLASSES = ["negative", "positive", "surprise"]
SHORT = {"n": "negative", "p": "positive", "s": "surprise"}


def epochs_of(folds, seed=0):
    """{"s1": (labels, [answers of epoch 1, of epoch 2, …])}, a letter for each clip."""
    rows = [
        {
            "fold": f"x/{subject}",
            "dataset": "x",
            "subject": subject,
            "clip_id": str(clip),
            "label": SHORT[label],
            "prediction": SHORT[answer[clip]],
            "epoch": epoch,
            "seed": seed,
        }
        for subject, (labels, answers) in folds.items()
        for epoch, answer in enumerate(answers, 1)
        for clip, label in enumerate(labels)
    ]
    return pd.DataFrame(rows)


# Each subject is right at an epoch of its own; in the end half of the clips are wrong.
TWO = {"s1": ("nps", ["nps", "nss", "ppp"]), "s2": ("nps", ["sss", "nps", "nps"])}


def test_the_best_epoch_of_each_subject_is_perfect_where_none_is_for_all():
    scores = leak_scores(epochs_of(TWO), CLASSES)
    assert scores["leaky_best_epoch_uf1"] == 1
    assert scores["leaky_best_epoch_uar"] == 1
    # Last epoch, pooled: rows n: 1 n, 1 p; p: 2 p; s: 1 s, 1 p. F1: 2/3, 2·2/(2+4), 2/3.
    assert scores["last_epoch_uf1"] == pytest.approx(2 / 3)
    assert scores["last_epoch_uar"] == pytest.approx((1 / 2 + 1 + 1 / 2) / 3)
    assert scores["num_epochs"] == 3


def test_the_curve_knows_no_later_epoch():
    curve = leak_curve(epochs_of(TWO), CLASSES)
    assert curve["epoch"].tolist() == [1, 2, 3]
    # Up to epoch 1 s1 has all, s2 one of three: n: 1 n, 1 s; p: 1 p, 1 s; s: 2 s.
    assert curve["leaky"][0] == curve["honest"][0] == pytest.approx((2 / 3 + 2 / 3 + 2 / 3) / 3)
    assert curve["leaky"][1] == 1 > curve["honest"][1]


def test_the_first_of_equally_good_epochs_is_taken():
    curve = leak_curve(epochs_of({"s1": ("np", ["nn", "pp"]), "s2": ("np", ["np", "np"])}), CLASSES)
    # Epoch 1 of s1: n 2 of 2 right, p 1 of 2; F1: 4/5, 2/3.
    assert curve["leaky"][1] == pytest.approx((4 / 5 + 2 / 3) / 2)


def test_a_fold_that_ended_earlier_keeps_its_last_answers():
    curve = leak_curve(epochs_of({"s1": ("nps", ["nps"]), "s2": ("nps", ["ppp", "nps"])}), CLASSES)
    assert curve["honest"][1] == 1


def test_seeds_are_averaged():
    bad = {"s1": ("nps", ["sss"]), "s2": ("nps", ["sss"])}
    good = {"s1": ("nps", ["nps"]), "s2": ("nps", ["nps"])}
    both = pd.concat([epochs_of(bad), epochs_of(good, seed=1)], ignore_index=True)
    # Always surprise: F1 0, 0, 2·2/(2+6) = ½.
    assert leak_scores(both, CLASSES)["last_epoch_uf1"] == pytest.approx((1 / 6 + 1) / 2)


def test_guessing_gains_what_probability_says():
    """400 subjects of one clip: three guesses, the best chosen, are right with 1 − (2/3)³."""
    labels = "nps" * 134
    folds = {f"s{i:03d}": (label, ["n"] * 3) for i, label in enumerate(labels)}
    guessing = leak_scores(epochs_of(folds), CLASSES)["guessing_uf1"]
    assert guessing["chosen"] == pytest.approx(1 - (2 / 3) ** 3, abs=0.02)
    assert guessing["not_chosen"] == pytest.approx(1 / 3, abs=0.02)


def test_a_run_that_did_not_measure_it_has_none(tmp_path):
    assert read_leaky_epochs(tmp_path) is None


def test_a_damaged_file_says_how_to_make_it_again(tmp_path):
    (tmp_path / "leaky_epochs.parquet").write_bytes(b"PAR1")
    with pytest.raises(UserError, match=r"damaged .*--measure_leak again"):
        read_leaky_epochs(tmp_path)
