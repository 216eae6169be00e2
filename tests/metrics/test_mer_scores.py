"""The three scores against values worked by hand and against scikit-learn."""

from __future__ import annotations

import ast
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hcp_mer.metrics.mer import scores
from hcp_mer.metrics.mer.scores import accuracy, confusion_matrix, precision_per_class, uar, uf1

# 10 clips of class 0, two of them taken for class 1; both clips of class 1 found.
UNBALANCED = [[8, 2], [0, 2]]


def test_confusion_matrix_has_rows_true_and_columns_predicted():
    confusion = confusion_matrix([0, 0, 0, 2], [0, 1, 1, 0], num_classes=3)
    assert confusion.tolist() == [[1, 2, 0], [0, 0, 0], [1, 0, 0]]


def test_scores_of_a_matrix_worked_by_hand():
    assert accuracy(UNBALANCED) == pytest.approx(10 / 12)
    # class 0: 2·8 / (2·8 + 0 + 2) = 8/9; class 1: 2·2 / (2·2 + 2 + 0) = 2/3
    assert uf1(UNBALANCED) == pytest.approx((8 / 9 + 2 / 3) / 2)
    assert uar(UNBALANCED) == pytest.approx((8 / 10 + 2 / 2) / 2)


def test_uar_is_not_macro_precision():
    # Precision of the same matrix: 8/8 and 2/4.
    assert precision_per_class(UNBALANCED).mean() == pytest.approx(0.75)
    assert uar(UNBALANCED) == pytest.approx(0.90)


def test_always_negative_on_the_megc2019_composite():
    # 250 negative, 109 positive, 83 surprise clips: F1 of negative is 500/692, the others' is 0.
    always_negative = [[250, 0, 0], [109, 0, 0], [83, 0, 0]]
    assert uf1(always_negative) == pytest.approx(0.241, abs=5e-4)
    assert uar(always_negative) == pytest.approx(1 / 3)


def test_class_that_neither_occurs_nor_is_predicted_is_left_out():
    assert uf1([[3, 1, 0], [1, 3, 0], [0, 0, 0]]) == pytest.approx(0.75)
    assert uar([[3, 1, 0], [1, 3, 0], [0, 0, 0]]) == pytest.approx(0.75)


def test_class_that_is_predicted_but_never_occurs_costs_uf1_and_has_no_recall():
    confusion = [[3, 1], [0, 0]]  # F1: 6/7 and 0; recall: 3/4 and none
    assert uf1(confusion) == pytest.approx(3 / 7)
    assert uar(confusion) == pytest.approx(3 / 4)


@settings(deadline=None, derandomize=True)  # the first example pays for importing sklearn
@given(st.lists(st.tuples(st.integers(0, 4), st.integers(0, 4)), min_size=1, max_size=40))
def test_scores_equal_scikit_learn_for_any_predictions(pairs):
    from sklearn.metrics import accuracy_score, f1_score, recall_score

    labels, predictions = zip(*pairs, strict=True)
    confusion = confusion_matrix(labels, predictions, num_classes=5)
    assert accuracy(confusion) == pytest.approx(accuracy_score(labels, predictions))
    f1 = f1_score(labels, predictions, average="macro", zero_division=0)
    assert uf1(confusion) == pytest.approx(f1)
    recall = recall_score(labels, predictions, labels=sorted(set(labels)), average="macro")
    assert uar(confusion) == pytest.approx(recall)


@settings(deadline=None, derandomize=True)
@given(
    st.lists(st.tuples(st.integers(0, 3), st.integers(0, 3)), min_size=1, max_size=30),
    st.permutations(range(4)),
)
def test_no_class_is_more_than_another(pairs, renamed):
    """Calling the classes otherwise changes no score."""
    before = confusion_matrix(*zip(*pairs, strict=True), num_classes=4)
    after = confusion_matrix(
        [renamed[label] for label, _ in pairs], [renamed[p] for _, p in pairs], num_classes=4
    )
    for score in (accuracy, uf1, uar):
        assert score(after) == pytest.approx(score(before))


def test_pooling_folds_is_not_averaging_them():
    folds = np.array([[[3, 0], [0, 1]], [[0, 1], [1, 0]]])
    assert uf1(folds).mean() == pytest.approx(0.5)
    # pooled [[3, 1], [1, 1]]: class 0 6/8, class 1 2/4
    assert uf1(folds.sum(axis=0)) == pytest.approx(0.625)


def test_a_stack_of_matrices_gives_one_score_each():
    stack = np.array([[UNBALANCED, [[1, 0], [0, 1]]], [[[0, 1], [1, 0]], [[1, 1], [1, 1]]]])
    assert uar(stack) == pytest.approx(np.array([[0.9, 1.0], [0.0, 0.5]]))
    assert uf1(stack).shape == accuracy(stack).shape == (2, 2)


@pytest.mark.parametrize(
    ("labels", "predictions", "message"),
    [
        ([0, 1], [0], "2 labels and 1 predictions"),
        ([0, 3], [0, 0], r"\[0, 3\), got 3"),
        ([0, -1], [0, 0], "got -1"),
        ([0.0, 1.0], [0, 0], "float64"),
        ([], [], "non-empty"),
        (["anger"], ["anger"], "map class names"),
    ],
)
def test_labels_that_are_no_class_indices_are_refused(labels, predictions, message):
    with pytest.raises(ValueError, match=message):
        confusion_matrix(labels, predictions, num_classes=3)


@pytest.mark.parametrize("confusion", [[[0, 0], [0, 0]], [[-1, 2], [0, 1]], [[1, 2, 3]], [1, 2]])
@pytest.mark.parametrize("score", [accuracy, uf1, uar])
def test_what_is_no_confusion_matrix_is_refused_instead_of_scored_nan(score, confusion):
    with pytest.raises(ValueError, match="confusion matrix"):
        score(confusion)


def test_metric_module_imports_only_what_evaluate_can_carry():
    folder = Path(scores.__file__).parent
    imported = set()
    for source in (folder / "mer.py", folder / "scores.py"):
        for node in ast.walk(ast.parse(source.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Import):
                imported |= {alias.name for alias in node.names}
            elif isinstance(node, ast.ImportFrom):
                imported.add("." * node.level + node.module)
    ours = {name for name in imported if name.startswith(".") or "hcp_mer" in name}
    assert ours == {".scores"}
    assert imported - ours == {
        "__future__",
        "collections.abc",
        "datasets",
        "evaluate",
        "numpy",
        "numpy.typing",
        "typing",
    }
