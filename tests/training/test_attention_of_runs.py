"""A run's attributions: each held-out clip by the model that never saw its subject, resumable."""

import dataclasses
import runpy
import shutil
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
import yaml
from accelerate import Accelerator

from hcp_mer.data.pairs import load_pairs
from hcp_mer.errors import UserError
from hcp_mer.files import read_json
from hcp_mer.model.attention_hcp_mer import attribute_patches
from hcp_mer.training.attention import write_attention
from hcp_mer.training.attention_check import check_attention, in_words
from hcp_mer.training.checkpoint import load_fold
from hcp_mer.training.final import train_final
from hcp_mer.training.loso import open_run, train_folds
from hcp_mer.training.recipe import make_recipe
from hcp_mer.training.run_folder import RunFolder
from tests.conftest import GROUPS

SCRIPT = Path(__file__).parents[2] / "scripts" / "write_attention.py"
VIEWS = {"holistic": "magnified", "componential": "flow"}


@pytest.fixture(scope="module")
def trained(tiny_backbone, foreign, tmp_path_factory):
    """A run that is trained once for all tests of this file."""
    folder = tmp_path_factory.mktemp("trained")
    prompts = folder / "prompts.yaml"
    prompts.write_text(yaml.safe_dump({group["label"]: group for group in GROUPS}))
    settings = {"task": "3-class", "prompts": str(prompts), "backbone": str(tiny_backbone)}
    recipe = make_recipe({**settings, "epochs": 2, "batch_size": 4, "learning_rate": 5e-3})
    accelerator = Accelerator(cpu=True)
    run = open_run(recipe, load_pairs(foreign), RunFolder(folder / "run"), accelerator)
    train_folds(run, accelerator)
    return run


@pytest.fixture
def finished(trained, tmp_path):
    """The trained run in a folder of its own."""
    shutil.copytree(trained.folder.root, tmp_path / "run")
    return dataclasses.replace(trained, folder=RunFolder(tmp_path / "run"))


def test_each_clip_is_explained_by_the_model_that_never_saw_its_subject(finished):
    train_final(finished)
    table = pd.read_parquet(write_attention(finished))
    answers = pd.read_parquet(finished.folder.root / "predictions.parquet")
    clip = ["dataset", "subject", "clip_id", "label"]
    assert table[clip].equals(answers[clip])
    rows = {  # of the pairs
        (subject, clip_id): row
        for row, (subject, clip_id) in enumerate(
            zip(finished.pairs.column("subject"), finished.pairs.column("clip_id"))
        )
    }
    for index in (0, 7, 17):  # a clip of each subject
        own, answer = table.iloc[index], answers.iloc[index]
        model = load_fold(finished.folder.root, own["subject"])
        for branch, view in VIEWS.items():
            image = finished.pairs.image(rows[own["subject"], own["clip_id"]], view)
            expected = attribute_patches(
                model,
                torch.from_numpy(finished.processor.to_pixels(image))[None],
                branch,
                torch.tensor([finished.classes.index(answer["prediction"])]),
            )
            assert own[branch] == pytest.approx(expected.numpy().ravel(), rel=1e-4, abs=1e-8)
            assert own[branch].min() >= 0


def test_finished_folds_are_kept_and_the_others_done(finished):
    whole = pd.read_parquet(write_attention(finished))
    first, second, third = (finished.folder.fold(fold) for fold in finished.folds)
    marked = pd.read_parquet(first / "attention.parquet")
    marked["holistic"] = [np.full(4, 7.0, np.float32)] * len(marked)
    marked.to_parquet(first / "attention.parquet", index=False)
    (second / "attention.parquet").unlink()
    (third / "attention.parquet").replace(third / "attention.parquet.partial")  # as if killed
    again = pd.read_parquet(write_attention(finished))
    own = again["subject"] == finished.folds[0].subject
    assert np.stack(again.loc[own, "holistic"]).tolist() == [[7.0] * 4] * 6
    for branch in VIEWS:
        expected = np.stack(whole.loc[~own, branch])
        assert (np.stack(again.loc[~own, branch]) == expected).all()


def test_a_branch_that_is_off_has_none(run_loso, foreign, tmp_path):
    run, _ = run_loso(foreign, tmp_path / "run", model={"use_holistic": False}, epochs=1)
    table = pd.read_parquet(write_attention(run))
    assert table["holistic"].isna().all()
    assert np.stack(table["componential"]).shape == (18, 4)


def covered_one_by_one(run, index, branch, answer, model, texts):
    """Fall of the predicted class's logit when each of the 2 × 2 patches is covered."""
    order = np.concatenate([fold.test for fold in run.folds])
    image = run.pairs.image(run.labelled.rows[order[index]], VIEWS[branch])
    whole = torch.from_numpy(run.processor.to_pixels(image))[None]

    def logit(pixels):
        with torch.no_grad():
            logits = model(pixels, pixels, text_embeds=texts)[f"{branch}_logits"]
        return float(logits[0, run.classes.index(answer["prediction"])])

    falls = []
    for top, left in ((0, 0), (0, 16), (16, 0), (16, 16)):
        pixels = whole.clone()
        pixels[..., top : top + 16, left : left + 16] = whole.mean(dim=(2, 3), keepdim=True)
        falls.append(logit(whole) - logit(pixels))
    return falls


def test_an_attribution_that_ranks_patches_as_covering_does_agrees_fully(finished):
    train_final(finished)
    table = pd.read_parquet(write_attention(finished))
    answers = pd.read_parquet(finished.folder.root / "predictions.parquet")
    people = answers["subject"].unique()
    models = {subject: load_fold(finished.folder.root, subject) for subject in people}
    texts = {subject: model.encode_prompts().detach() for subject, model in models.items()}
    for branch in VIEWS:
        falls = []
        for index, own in answers.iterrows():
            fold = own, models[own["subject"]], texts[own["subject"]]
            falls.append(np.float32(covered_one_by_one(finished, index, branch, *fold)))
        table[branch] = [fall - fall.min() for fall in falls]
    table.to_parquet(finished.folder.root / "attention.parquet")
    result = check_attention(finished, num_clips=5)
    for branch in VIEWS:
        assert result[branch]["agreement"] == pytest.approx(1)
        assert result[branch]["agreement_of_another_clip"] < 1
        assert result[branch]["num_clips"] == 5
    assert read_json(finished.folder.root / "attention.json") == result
    assert in_words(result["holistic"]).startswith("rank agreement with covering patches +1.00")


def test_attributions_that_are_the_same_everywhere_agree_with_nothing(finished):
    table = pd.read_parquet(write_attention(finished))
    table["holistic"] = [np.ones(4, np.float32)] * len(table)
    table.to_parquet(finished.folder.root / "attention.parquet")
    result = check_attention(finished, num_clips=3)["holistic"]
    assert result == {"agreement": None, "agreement_of_another_clip": None, "num_clips": 0}
    assert in_words(result).startswith("no clip")


@pytest.mark.slow
def test_with_lora_the_tower_is_the_folds_own(run_loso, foreign, tmp_path):
    settings = {"vision_lora": {"r": 2}, "epochs": 2, "learning_rate": 0.05}
    run, _ = run_loso(foreign, tmp_path / "run", **settings)
    train_final(run)
    own = pd.read_parquet(write_attention(run)).iloc[0]
    model = load_fold(run.folder.root, own["subject"])
    answers = pd.read_parquet(run.folder.root / "predictions.parquet")
    image = run.pairs.image(run.labelled.rows[run.folds[0].test[0]], "flow")
    expected = attribute_patches(
        model,
        torch.from_numpy(run.processor.to_pixels(image))[None],
        "componential",
        torch.tensor([run.classes.index(answers["prediction"].iloc[0])]),
    )
    assert own["componential"] == pytest.approx(expected.numpy().ravel(), rel=1e-4, abs=1e-8)


def test_the_command_goes_on_with_a_run_by_its_folder_alone(finished, monkeypatch, capsys):
    root = finished.folder.root
    arguments = ["write_attention.py", "--run", str(root), "--quiet", "--check", "4"]
    monkeypatch.setattr(sys, "argv", arguments)
    monkeypatch.setenv("TQDM_DISABLE", "1")
    runpy.run_path(str(SCRIPT), run_name="__main__")
    printed = capsys.readouterr().out
    assert f"attention: {root / 'attention.parquet'}" in printed
    assert printed.count("over 4 clips") == 2  # branches
    assert len(pd.read_parquet(root / "attention.parquet")) == 18


def test_a_run_that_is_not_finished_says_how_it_goes_on(finished, monkeypatch, capsys):
    (finished.folder.root / "predictions.parquet").unlink()
    monkeypatch.setattr(sys, "argv", ["write_attention.py", "--run", str(finished.folder.root)])
    with pytest.raises(SystemExit) as ended:
        runpy.run_path(str(SCRIPT), run_name="__main__")
    assert ended.value.code == 2
    message = capsys.readouterr().err.strip().splitlines()[-1]
    assert "is not finished" in message
    assert "goes on where it was" in message


def test_a_damaged_fold_is_named(finished):
    file = finished.folder.trained_file(finished.folds[1].subject)
    file.write_bytes(b"cut short")
    with pytest.raises(UserError, match="damaged"):
        write_attention(finished)
