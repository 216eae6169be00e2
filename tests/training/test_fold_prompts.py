"""Prompts counted on training subjects: the held-out one out of reach, one backbone for all."""

import json
import logging
import os
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import pandas
import pytest
import torch
import yaml
from accelerate import Accelerator
from safetensors.torch import load_file

from hcp_mer.baselines.protocol import run_peer
from hcp_mer.baselines.zero_shot import ZeroShot
from hcp_mer.data.pairs import load_pairs
from hcp_mer.data.tasks import TASKS
from hcp_mer.errors import UserError
from hcp_mer.model.modeling_hcp_mer import HcpMerModel
from hcp_mer.training import loso
from hcp_mer.training.final import train_final
from hcp_mer.training.fold_prompts import without_counts
from hcp_mer.training.progress import Progress
from hcp_mer.training.recipe import FROM_ANNOTATIONS
from hcp_mer.training.run_folder import RunFolder
from tests.annotated_pairs import SUBJECTS, UNITS, groups_by_hand, write_annotated_pairs
from tests.foreign_pairs import write_foreign_pairs, write_metadata
from tests.training.test_loso import predictions

ROOT = Path(__file__).parents[2]
EVERYBODY = [[[4], [4, 7]], [[6, 12], [12]], [[1, 2]]]  # 3 and 2 clips; 2 and 4; 4
BLINKS = (("45", "45"),) * 3


def fold_of(run, subject):
    (fold,) = (fold for fold in run.folds if fold.subject == subject)
    return fold


def trained(folder, subject):
    return folder / "folds" / "pairs" / subject


def losses_of(run, subject):
    """Every loss of a fold trained alone."""
    fold, losses = fold_of(run, subject), []
    run.tower_of(fold).train(
        [run.training_set(fold, 0)], run.optimisation, lambda step, n, loss: losses.append(loss)
    )
    return losses


def test_each_fold_has_the_sets_of_its_training_subjects(annotated, tmp_path, run_counted):
    run, _ = run_counted(annotated, tmp_path / "run", epochs=1)
    for subject in SUBJECTS:
        fold = fold_of(run, subject)
        assert run.model_of(fold.train).config.prompt_groups == groups_by_hand(subject), subject
        stored = json.loads((trained(tmp_path / "run", subject) / "prompts.json").read_text())
        assert stored["prompt_groups"] == groups_by_hand(subject)
    together = [[fold.subject for fold in folds] for folds in run.prompts.variants(run.folds)]
    assert together == [["006", "007"], ["a b"]]


def test_the_final_model_counts_all_that_it_is_trained_on(annotated, tmp_path, run_counted):
    run, _ = run_counted(annotated, tmp_path / "run", epochs=1)
    groups = HcpMerModel.from_pretrained(train_final(run)).config.prompt_groups
    assert [group["action_units"] for group in groups] == EVERYBODY


def test_a_test_corpus_reaches_no_prompts(annotated, tmp_path, make_tiny_recipe):
    """Trained on one corpus, tested on another, whose annotator saw other things."""
    words = dict.fromkeys(SUBJECTS, BLINKS)
    other = write_annotated_pairs(tmp_path / "pairs", words, "other", seed=1)
    recipe = make_tiny_recipe(prompts=FROM_ANNOTATIONS)
    corpora = [load_pairs(pairs) for pairs in (annotated, other)]
    folder, accelerator = RunFolder(tmp_path / "run"), Accelerator(cpu=True)
    run = loso.open_run(recipe, corpora[0], folder, accelerator, corpora[1])
    for model in (run.model_of(run.folds[0].train), run.model):
        assert [own["action_units"] for own in model.config.prompt_groups] == EVERYBODY
    *_, surprise = run.prompts.overview(run.folds)["classes"]
    assert surprise["action_units"] == {1: 4, 2: 4, 26: 1, 45: 6}  # the report shows both corpora


# What the annotator could have written for somebody: other units, none at all, many of one kind.
OTHER_WORDS = {
    "other units": (("20", "20"), ("15+17", "15+17"), ("4", "4")),
    "none": (("", ""), ("", ""), ("", "")),
    "classes exchanged": (("1+2", "1+2"), ("4+7", "4+7"), ("6+12", "6+12")),
}


@pytest.mark.parametrize(
    ("gate_fitting", "words"),
    [
        *(pytest.param("joint", words, marks=pytest.mark.slow) for words in OTHER_WORDS),
        ("held_out_subjects", "other units"),
    ],
)
def test_the_held_out_subject_cannot_reach_its_prompts(
    annotated, tmp_path, run_counted, words, gate_fitting
):
    """Bit for bit, fold by fold; another subject's annotation does change the fold."""
    changed = write_annotated_pairs(tmp_path / "pairs", {**UNITS, "007": OTHER_WORDS[words]})
    settings = {"fold_group": 1, "gate_fitting": gate_fitting, "epochs": 2}  # alone: no rounding
    runs = {
        name: run_counted(pairs, tmp_path / name, **settings)[0]
        for name, pairs in (("one", annotated), ("other", changed))
    }
    one, other = (trained(tmp_path / name, "007") for name in runs)
    assert (one / "prompts.json").read_bytes() == (other / "prompts.json").read_bytes()
    weights = [load_file(fold / "trained-seed0.safetensors") for fold in (one, other)]
    assert all(torch.equal(value, weights[1][name]) for name, value in weights[0].items())
    for table in ("predictions", "chance"):
        pandas.testing.assert_frame_equal(
            *(pandas.read_parquet(fold / f"{table}.parquet") for fold in (one, other)),
            check_exact=True,
        )
    assert losses_of(runs["one"], "007") == losses_of(runs["other"], "007")
    assert losses_of(runs["one"], "a b") != losses_of(runs["other"], "a b")


@pytest.mark.slow
def test_stacking_and_resuming_change_nothing(annotated, tmp_path, run_counted):
    run_counted(annotated, tmp_path / "one", fold_group=1)
    run_counted(annotated, tmp_path / "all", fold_group=24)
    pandas.testing.assert_frame_equal(
        predictions(tmp_path / "one"), predictions(tmp_path / "all"), atol=1e-5
    )
    whole = predictions(tmp_path / "one")
    shutil.rmtree(trained(tmp_path / "one", "007"))
    _, reused = run_counted(annotated, tmp_path / "one", fold_group=1)
    assert reused == 2
    pandas.testing.assert_frame_equal(predictions(tmp_path / "one"), whole, check_exact=True)


@pytest.mark.slow
@pytest.mark.parametrize("after", [5, 17])  # a stack takes 12 steps
def test_a_run_that_is_interrupted_goes_on_to_the_same_table(
    annotated, tmp_path, run_counted, monkeypatch, after
):
    run_counted(annotated, tmp_path / "whole")
    stack, taken = Progress.stack, []

    def press_ctrl_c(self, fold_steps):
        on_step = stack(self, fold_steps)

        def step(*said):
            on_step(*said)
            taken.append(said)
            if len(taken) == after:
                os.kill(os.getpid(), signal.SIGINT)

        return step

    with monkeypatch.context() as patch:
        patch.setattr(Progress, "stack", press_ctrl_c)
        with pytest.raises(KeyboardInterrupt):
            run_counted(annotated, tmp_path / "stopped")
    assert len(taken) == after
    _, reused = run_counted(annotated, tmp_path / "stopped")
    assert reused == (2 if after > 12 else 0)
    tables = [predictions(tmp_path / name) for name in ("whole", "stopped")]
    pandas.testing.assert_frame_equal(*tables, check_exact=True)


def test_a_stack_never_mixes_prompts(annotated, tmp_path, run_counted, monkeypatch):
    stacks, train = [], loso._train_group

    def spy(run, folds, progress):
        stacks.append([fold.subject for fold in folds])
        train(run, folds, progress)

    monkeypatch.setattr(loso, "_train_group", spy)
    run_counted(annotated, tmp_path / "run", fold_group=24, epochs=1)
    assert stacks == [["006", "007"], ["a b"]]


def test_all_models_share_one_backbone(annotated, tmp_path, run_counted):
    run, _ = run_counted(annotated, tmp_path / "run", epochs=1)
    models = [run.model_of(fold_of(run, subject).train) for subject in ("006", "a b", "007")]
    assert models[0] is models[2] is not models[1]
    assert models[0].clip is models[1].clip is run.model.clip
    sizes = [len(model.prompts.prompts) for model in models]
    assert sizes == [6, 8, 6]  # three emotions and three or five sets
    context = [model.prompts.context for model in models[:2]]
    assert torch.equal(*context)
    assert context[0].data_ptr() != context[1].data_ptr()
    assert run.features["holistic"].shape[0] == 18  # encoded once


def test_a_variant_is_the_model_that_would_be_built_anew(annotated, tmp_path, run_counted):
    run, _ = run_counted(annotated, tmp_path / "run", epochs=1)
    own = run.model_of(fold_of(run, "006").train)
    anew = HcpMerModel.from_backbone(run.recipe.backbone, groups_by_hand("006"))
    assert own.config.to_dict() == anew.config.to_dict()
    assert torch.equal(own.encode_prompts(), anew.encode_prompts())
    assert not any(parameter.requires_grad for parameter in own.clip.parameters())
    for state, part in ((anew.state_dict(), "prompts."), (run.model.state_dict(), "head.")):
        assert [name for name in state if name.startswith(part)]
        for name, value in own.state_dict().items():
            assert not name.startswith(part) or torch.equal(value, state[name]), name


def test_zero_shot_asks_with_the_folds_own_prompts(annotated, tmp_path, run_counted):
    run, _ = run_counted(annotated, tmp_path / "run", epochs=1)
    for fold in run.folds:
        peer = ZeroShot()
        peer.fit(run, fold.train, seed=0)
        model = HcpMerModel.from_backbone(run.recipe.backbone, groups_by_hand(fold.subject))
        texts = torch.nn.functional.normalize(model.encode_prompts(), dim=-1).detach()
        scale, similarity = model.config.similarity_scale, 0
        sizes = [len(group["action_units"]) for group in groups_by_hand(fold.subject)]
        for branch, counts, start in (("holistic", [1, 1, 1], 0), ("componential", sizes, 3)):
            rows = torch.nn.functional.normalize(run.features[branch][fold.test], dim=-1)
            columns = (scale * rows @ texts.T)[:, start : start + sum(counts)].split(counts, 1)
            similarity += torch.stack([own.logsumexp(1) / scale for own in columns], 1)
        assert peer.predict(run, fold.test).tolist() == similarity.argmax(1).tolist()
    run_peer(ZeroShot(), run)
    assert len(pandas.read_parquet(tmp_path / "run" / "baselines" / "zero_shot.parquet")) == 18


def test_other_annotation_that_leads_to_other_prompts_is_another_run(
    annotated, tmp_path, run_counted
):
    run_counted(annotated, tmp_path / "run", epochs=1)
    recipe = yaml.safe_load((tmp_path / "run" / "recipe.yaml").read_text())
    assert recipe["prompt_groups"] == [groups_by_hand("006"), groups_by_hand("a b")]
    changed = write_annotated_pairs(tmp_path / "pairs", {**UNITS, "007": OTHER_WORDS["none"]})
    with pytest.raises(UserError, match="other prompt groups"):
        run_counted(changed, tmp_path / "run", epochs=1)


def mixed_prompts(folder, **surprise):
    """A file of prompts in which surprise is counted, and negative and positive are fixed."""
    groups = {
        "negative": {"emotion": "negative", "action_units": [[4]]},
        "positive": {"emotion": "positive", "action_units": [[12]]},
        "surprise": {"emotion": "surprise", "action_units": FROM_ANNOTATIONS, **surprise},
    }
    (folder / "mixed.yaml").write_text(yaml.safe_dump(groups))
    return str(folder / "mixed.yaml")


def test_pairs_without_action_units_take_what_stands_under_otherwise(
    foreign, tmp_path, run_loso, caplog
):
    prompts = mixed_prompts(tmp_path, otherwise=[[1, 2], [26]])
    with caplog.at_level(logging.WARNING):
        run, _ = run_loso(foreign, tmp_path / "run", prompts=prompts, epochs=1)
    assert run.model.config.prompt_groups[2]["action_units"] == [[1, 2], [26]]
    lines = [line for line in caplog.messages if "otherwise" in line]
    assert lines == [
        "no training clip of class surprise has action units in fold pairs/006 and 2 more: it gets "
        "the sets under `otherwise`, [[1, 2], [26]]."
    ]
    assert not (tmp_path / "run" / "cross_mapping.json").exists()


def test_otherwise_is_decided_for_each_fold_by_its_training_subjects(tmp_path, run_loso, caplog):
    """Only 007 was annotated: without 007 there is nothing to count, whatever 007 shows."""
    blank = (("", ""), ("", ""), ("", ""))
    pairs = write_annotated_pairs(
        tmp_path / "pairs", {"006": blank, "007": UNITS["007"], "a b": blank}
    )
    prompts = mixed_prompts(tmp_path, otherwise=[[5]])
    with caplog.at_level(logging.WARNING):
        run, _ = run_loso(pairs, tmp_path / "run", prompts=prompts, epochs=1)
    sets = {fold.subject: run.prompts.groups(fold.train)[2]["action_units"] for fold in run.folds}
    assert sets == {"006": [[26]], "007": [[5]], "a b": [[26]]}  # single clips: the shortest
    assert [line for line in caplog.messages if "in fold pairs/007: it gets" in line]
    report = json.loads((tmp_path / "run" / "cross_mapping.json").read_text())
    assert [own["num_folds_counted"] for own in report["classes"]] == [0, 0, 2]


@pytest.mark.parametrize("otherwise", [{}, {"otherwise": None}])
def test_a_class_that_some_fold_cannot_count_is_refused_by_name(tmp_path, run_loso, otherwise):
    pairs = write_annotated_pairs(
        tmp_path / "pairs",
        {**UNITS, "006": (*UNITS["006"][:2], ("", "")), "a b": (*UNITS["a b"][:2], ("", ""))},
    )
    message = "no training clip of class surprise has action units in fold pairs/007, so its"
    with pytest.raises(UserError, match=message):
        run_loso(pairs, tmp_path / "run", prompts=mixed_prompts(tmp_path, **otherwise))
    assert not (tmp_path / "run").exists()  # nothing was claimed


def test_pairs_without_any_annotation_cannot_be_counted(foreign, tmp_path, run_counted):
    with pytest.raises(UserError, match="class negative has action units in fold pairs/006 and 2"):
        run_counted(foreign, tmp_path / "run")


@pytest.mark.parametrize(("classes", "otherwise"), [(4, [[7], [17]]), (7, [[4], [7], [14], [17]])])
@pytest.mark.parametrize("units", ["14", ""], ids=["annotated", "not annotated"])
def test_the_class_others_of_our_own_prompts(tmp_path, run_loso, classes, otherwise, units):
    """It has no FACS source: counted where there is something to count, the others as written."""
    path = ROOT / "hub_configs" / "prompts" / f"facs-{classes}class.yaml"
    names = TASKS[f"{classes}-class"].classes
    rows = write_foreign_pairs(tmp_path / "pairs", SUBJECTS, clips_per_class=5, size=32)
    for index, row in enumerate(rows):
        row |= {"emotion": names[index % classes], "action_units": units}
    write_metadata(tmp_path / "pairs", rows)
    settings = {"task": f"{classes}-class", "prompts": str(path), "epochs": 1}
    run, _ = run_loso(tmp_path / "pairs", tmp_path / "run", **settings)
    written = yaml.safe_load(path.read_text())
    for fold in run.folds:
        *fixed, others = run.model_of(fold.train).config.prompt_groups
        assert others["action_units"] == ([[14]] if units else otherwise)
        assert fixed == [{"label": name, **written[name]} for name in names[:-1]]
    assert len(predictions(tmp_path / "run")) == len(rows)


def test_before_pairs_are_read_counted_classes_have_stand_ins():
    fixed = {"label": "a", "emotion": "a", "action_units": [[4]]}
    counted = {"label": "b", "emotion": "b", "action_units": FROM_ANNOTATIONS}
    stand_ins = without_counts([fixed, counted, {**counted, "otherwise": [[7]]}])
    assert stand_ins[0] == fixed
    assert [1] in stand_ins[1]["action_units"]
    assert stand_ins[2] == {"label": "b", "emotion": "b", "action_units": [[7]]}


@pytest.mark.slow
def test_two_processes_answer_as_one_does_with_counted_prompts(annotated, tiny_backbone, tmp_path):
    recipe = tmp_path / "recipe.yaml"
    settings = {"task": "3-class", "prompts": "nowhere.yaml", "backbone": str(tiny_backbone)}
    recipe.write_text(yaml.safe_dump({**settings, "epochs": 2, "batch_size": 8}))
    one = [sys.executable]
    two = [*one, "-m", "torch.distributed.run", "--standalone", "--nproc_per_node", "2"]
    script = [
        "scripts/train_loso.py",
        "--quiet",
        "--no-controls",
        "--recipe",
        recipe,
        "--dataset",
        annotated,
    ]
    script += ["--prompts", FROM_ANNOTATIONS]
    for name, launcher in (("one", one), ("two", two)):
        subprocess.run(
            [*launcher, *script, "--output_dir", tmp_path / name],
            cwd=ROOT,
            env={**os.environ, "ACCELERATE_USE_CPU": "true"},
            check=True,
        )
    tables = [predictions(tmp_path / name) for name in ("one", "two")]
    pandas.testing.assert_frame_equal(*tables, atol=1e-6)
