"""Rows of Fig. 3 from hand-made tables: scores, paired differences, and what they say in words."""

import json

import pandas
import pytest

from hcp_mer.errors import UserError
from hcp_mer.reporting.ablations import ablation_rows, reading_rows, write_ablations

CLASSES = ["negative", "positive"]


def table(answers, seed=0):
    """answers: subject → predictions for a negative and a positive clip."""
    rows = [
        {"dataset": "d", "subject": subject, "clip_id": f"{label}{number}", "label": label}
        | {"prediction": prediction, "seed": seed}
        for subject, own in answers.items()
        for number, (label, prediction) in enumerate(zip(CLASSES * (len(own) // 2), own))
    ]
    return pandas.DataFrame(rows)


RIGHT = {subject: ["negative", "positive"] for subject in "abcdefgh"}
WRONG = {subject: ["positive", "negative"] for subject in "abcdefgh"}
ONE_WRONG = RIGHT | {"a": ["positive", "positive"]}


@pytest.fixture
def run_folder(tmp_path):
    """run_folder(full, ablations={…}, readings={…}, task=…) → a folder with these tables."""

    def write(full=RIGHT, ablations=(), readings=(), task="3-class"):
        content = {"task": task, "classes": CLASSES}
        (tmp_path / "task.json").write_text(json.dumps(content))
        table(full).to_parquet(tmp_path / "predictions.parquet")
        for kind, tables in (("ablations", ablations), ("readings", readings)):
            (tmp_path / kind).mkdir(exist_ok=True)
            for name, answers in dict(tables).items():
                table(answers).to_parquet(tmp_path / kind / f"{name}.parquet")
        return tmp_path

    return write


def test_a_part_whose_loss_makes_everything_wrong_is_worth_all_of_the_score(run_folder):
    full, without = ablation_rows(run_folder(ablations={"without_adapter": WRONG}))
    assert full["scores"] == {"accuracy": 1.0, "uf1": 1.0, "uar": 1.0}
    assert (full["difference"], full["difference_95"], full["sentence"]) == (None, None, "")
    assert without["scores"] == {"accuracy": 0.0, "uf1": 0.0, "uar": 0.0}
    assert without["difference"]["uf1"] == -1.0  # without minus full, whoever the subjects are
    assert without["difference_95"]["uf1"] == [-1.0, -1.0]
    assert without["sentence"].startswith("Worse than the full model by more than noise: UF1 -1.0")


def test_one_subject_of_eight_is_noise(run_folder):
    """UF1 of 7 of 8 negative clips right and all positive ones: ½ (14/15 + 16/17)."""
    _, without = ablation_rows(run_folder(ablations={"without_focal": ONE_WRONG}))
    assert without["scores"]["uf1"] == pytest.approx((14 / 15 + 16 / 17) / 2)
    low, high = without["difference_95"]["uf1"]
    assert low < 0 == high
    assert without["sentence"].startswith("No difference that is more than noise")


def test_the_same_answers_and_better_ones_are_told_apart(run_folder):
    rows = ablation_rows(run_folder(WRONG, {"without_focal": WRONG, "without_adapter": RIGHT}))
    sentences = {row["name"]: row["sentence"] for row in rows}
    assert sentences["without_focal"].startswith("No difference at all")
    assert sentences["without_adapter"].startswith("Better than the full model by more than noise")
    assert rows[2]["difference_95"]["uf1"] == [0.0, 0.0]


def test_with_one_subject_nothing_is_said_of_noise(run_folder):
    folder = run_folder({"a": RIGHT["a"]}, {"without_adapter": {"a": WRONG["a"]}})
    _, without = ablation_rows(folder)
    assert without["interval_95"]["uf1"] is without["difference_95"]["uf1"] is None
    assert "nothing can be said of noise" in without["sentence"]


def test_rows_come_in_the_order_of_the_figure_and_scales_by_number(run_folder):
    ablations = dict.fromkeys(("without_focal", "without_holistic", "without_componential"), RIGHT)
    readings = ("similarity_scale=100", "similarity_scale=30", "gate_reading=fixed")
    folder = run_folder(ablations=ablations, readings=dict.fromkeys(readings, RIGHT))
    assert [row["short"] for row in ablation_rows(folder)] == [
        *("HCP_MER", "w/o COM", "w/o HOL", "w/o LF")
    ]
    assert [row["name"] for row in reading_rows(folder)] == [
        *("full", "gate_reading=fixed", "similarity_scale=30", "similarity_scale=100")
    ]


@pytest.mark.parametrize(
    ("task", "full", "without_componential", "without_holistic"),
    [
        ("3-class", {"uf1": 0.8052, "uar": 0.8012}, {"uf1": 0.6515}, {"uf1": 0.7123}),
        ("4-class", {"uf1": 0.7168, "uar": 0.6996}, {}, {}),
        ("7-class", {"uf1": 0.5955}, {}, {}),
    ],
)
def test_the_papers_numbers_are_those_that_its_text_prints(
    run_folder, task, full, without_componential, without_holistic
):
    """§4.3; the 7-class UAR stands there twice, differently."""
    tables = dict.fromkeys(("without_componential", "without_holistic"), RIGHT)
    rows = ablation_rows(run_folder(ablations=tables, task=task))
    assert [row["published"] for row in rows] == [full, without_componential, without_holistic]


def test_a_run_without_ablations_has_no_rows_and_features_are_no_ablation(run_folder):
    folder = run_folder()
    assert ablation_rows(folder) == reading_rows(folder) == []
    (folder / "ablations" / "without_focal.embeddings.parquet").write_bytes(b"features")
    assert ablation_rows(folder) == []


def test_answers_about_other_clips_are_refused(run_folder):
    other = dict.fromkeys("abcdefgx", RIGHT["a"])
    with pytest.raises(UserError, match="without_adapter"):
        ablation_rows(run_folder(ablations={"without_adapter": other}))


def test_the_files_hold_rows_the_paper_beside_them_and_what_was_not_trained(run_folder, tmp_path):
    readings = {"similarity_scale=30": RIGHT}
    folder = run_folder(ablations={"without_componential": ONE_WRONG}, readings=readings)
    output = tmp_path / "out"
    output.mkdir()
    skipped = {"3-class": {"without_focal=nothing": "the focal loss is on"}}
    content = write_ablations([folder], output, skipped)
    assert json.loads((output / "ablations.json").read_text()) == content
    own = content["tasks"]["3-class"]
    assert (own["num_clips"], own["num_subjects"], own["synthetic"]) == (16, 8, False)
    text = (output / "ablations.md").read_text()
    assert "| without the componential branch | 0.937 [" in text
    assert "the paper's own, not measured here" in text
    assert "- without_focal=nothing: the focal loss is on" in text
    assert (output / "figures" / "ablations.png").read_bytes()[:4] == b"\x89PNG"
