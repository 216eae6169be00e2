"""A fold's model, loaded again: the one whose answers the table has."""

import shutil

import numpy as np
import pytest
import torch

import hcp_mer
from hcp_mer.errors import UserError
from hcp_mer.training.final import train_final
from tests.foreign_pairs import CLASSES
from tests.training.test_loso import predictions


@pytest.fixture(scope="module")
def finished(foreign, tmp_path_factory, tiny_backbone):
    """A finished run of two seeds, with its LosoRun."""
    import yaml
    from accelerate import Accelerator

    from hcp_mer.data.pairs import load_pairs
    from hcp_mer.training.loso import open_run, train_folds
    from hcp_mer.training.recipe import make_recipe
    from hcp_mer.training.run_folder import RunFolder
    from tests.conftest import GROUPS

    folder = tmp_path_factory.mktemp("finished")
    (folder / "prompts.yaml").write_text(yaml.safe_dump({g["label"]: g for g in GROUPS}))
    recipe = make_recipe(
        {
            "task": "3-class",
            "prompts": str(folder / "prompts.yaml"),
            "backbone": str(tiny_backbone),
            "epochs": 3,
            "batch_size": 4,
            "learning_rate": 5e-3,
            "seeds": [4, 9],
        }
    )
    accelerator = Accelerator(cpu=True)
    run = open_run(recipe, load_pairs(foreign), RunFolder(folder / "run"), accelerator)
    train_folds(run, accelerator)
    train_final(run)
    return run


@pytest.mark.parametrize(("seed", "used"), [(None, 4), (9, 9)])
def test_a_fold_answers_as_the_table_says(finished, seed, used):
    model = hcp_mer.load_fold(finished.folder.root, "a b", seed=seed)
    table = predictions(finished.folder.root)
    table = table[(table["subject"] == "a b") & (table["seed"] == used)]
    clips = list(zip(finished.pairs.column("subject"), finished.pairs.column("clip_id")))
    rows = [clips.index(("a b", clip)) for clip in table["clip_id"]]
    views = [[finished.pairs.image(row, v) for row in rows] for v in ("magnified", "flow")]
    inputs = finished.processor(magnified=views[0], flow=views[1], return_tensors="pt")
    with torch.no_grad():
        probabilities = model(**inputs).logits.softmax(-1).numpy()
    stored = table[[f"prob_{name}" for name in CLASSES]].to_numpy()
    assert np.abs(probabilities - stored).max() <= 1e-5
    assert not model.training


def test_folds_differ_from_each_other_and_from_the_deployable_model(finished):
    root = finished.folder.root
    contexts = [hcp_mer.load_fold(root, s).prompts.context for s in ("006", "007")]
    contexts.append(hcp_mer.HcpMerModel.from_pretrained(root / "model").prompts.context)
    assert not any(torch.equal(contexts[i], contexts[j]) for i, j in ((0, 1), (0, 2), (1, 2)))


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"subject": "008"}, "no finished fold of subject '008'; it has pairs/006, pairs/007"),
        ({"subject": "006", "dataset": "samm"}, "no finished fold"),
        ({"subject": "006", "seed": 5}, "no result with seed 5; the recipe's seeds are 4, 9"),
    ],
)
def test_a_fold_that_is_not_there(finished, arguments, message):
    with pytest.raises(UserError, match=message):
        hcp_mer.load_fold(finished.folder.root, **arguments)


def test_a_folder_that_is_no_run(tmp_path):
    with pytest.raises(UserError, match=r"holds no run: there is no recipe\.yaml"):
        hcp_mer.load_fold(tmp_path, "006")


def test_damaged_and_unfinished_runs_say_so(finished, tmp_path):
    run = tmp_path / "run"
    shutil.copytree(finished.folder.root, run)
    file = run / "folds" / "pairs" / "006" / "trained-seed4.safetensors"
    file.write_bytes(file.read_bytes()[:100])
    with pytest.raises(UserError, match="is damaged"):
        hcp_mer.load_fold(run, "006")
    shutil.rmtree(run / "model")
    with pytest.raises(UserError, match="has no model/ yet"):
        hcp_mer.load_fold(run, "007")


def test_two_corpora_with_a_subject_of_one_name(finished, tmp_path):
    run = tmp_path / "run"
    shutil.copytree(finished.folder.root, run)
    shutil.copytree(run / "folds" / "pairs", run / "folds" / "samm")
    with pytest.raises(UserError, match="is in pairs, samm: give dataset too"):
        hcp_mer.load_fold(run, "006")
    assert hcp_mer.load_fold(run, "006", dataset="samm") is not None
