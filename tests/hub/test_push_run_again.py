"""Pushing again, pushing after a break, reading offline, and training that publishes its run."""

import json
import re
import shutil

import numpy as np
import pytest
import torch
import yaml

from hcp_mer.model.image_processing_hcp_mer import HcpMerImageProcessor
from hcp_mer.model.modeling_hcp_mer import HcpMerModel
from tests.hub.small_run import FOLD_OF, LOAD, SUBJECTS, clips_of, train_small_run

pytestmark = pytest.mark.slow

COMPARE = """
from pathlib import Path
from hcp_mer.hub.verify import compare_with_hub
print(compare_with_hub(Path({folder!r}), "user/demo", "main"))
"""


@pytest.fixture(scope="module")
def trained(tmp_path_factory, tiny_backbone):
    return train_small_run(tmp_path_factory.mktemp("trained"), tiny_backbone)


@pytest.fixture
def pairs(trained):
    return trained[0]


@pytest.fixture
def recipe(trained):
    return trained[1]


@pytest.fixture
def finished(trained):
    """A finished run with its report; a test that changes it takes `run` instead."""
    return trained[2]


@pytest.fixture
def run(finished, tmp_path):
    return shutil.copytree(finished, tmp_path / "run")


def last_line(process):
    return process.stderr.strip().splitlines()[-1]


def card_of(loopback):
    repo = loopback.repos["model", "user/demo"]
    return repo.commits[repo.branches["main"]]["README.md"].path.read_text()


def test_the_comparison_sees_a_changed_weight(run, loopback, run_script, elsewhere):
    from safetensors.torch import load_file, save_file

    run_script("push_to_hub.py", "--run", run, "--repo_id", "demo")
    code = COMPARE.format(folder=str(run / "model"))
    assert float(elsewhere(code, blocked=()).stdout.split()[-1]) == 0
    state = load_file(run / "model" / "model.safetensors")
    state["prompts.context"] *= -1
    save_file(state, run / "model" / "model.safetensors", metadata={"format": "pt"})
    assert float(elsewhere(code, blocked=()).stdout.split()[-1]) > 1e-4


def test_an_unchanged_run_adds_no_commit_and_a_changed_one_leaves_nothing_behind(
    run, loopback, run_script
):
    push = ("push_to_hub.py", "--run", run, "--repo_id", "user/demo", "--folds")
    first = run_script(*push).stdout
    repo = loopback.repos["model", "user/demo"]
    branches, commits = dict(repo.branches), len(repo.commits)
    assert commits == 1 + 2 + len(SUBJECTS)  # the Hub's own; files, card; a commit for each fold
    assert run_script(*push).stdout == first
    assert (repo.branches, len(repo.commits)) == (branches, commits)

    (run / "figures" / "scores.png").unlink()
    second = run_script(*push).stdout
    assert second != first
    assert {branch for branch in branches if repo.branches[branch] != branches[branch]} == {"main"}
    assert "figures/scores.png" not in repo.commits[repo.branches["main"]]
    assert "figures/per_subject_accuracy.png" in repo.commits[repo.branches["main"]]


def test_a_push_that_broke_off_is_completed_by_the_same_command(
    finished, loopback, run_script, elsewhere, pairs
):
    push = ("push_to_hub.py", "--run", finished, "--repo_id", "demo", "--folds")
    loopback.fail_after_uploads(2)
    broken = run_script(*push, check=False)
    assert broken.returncode == 2
    assert "Run the same command again" in last_line(broken)
    assert "Traceback" not in broken.stderr
    repo = loopback.repos["model", "user/demo"]
    assert set(repo.commits[repo.branches["main"]]) == {".gitattributes"}  # all or nothing

    loopback.heal()
    kept = {path.name for path in loopback.store.folder.iterdir()}
    loopback.fail_after_uploads(3)  # main is completed, so is the first fold, the second is not
    before = len(loopback.requests)
    assert run_script(*push, check=False).returncode == 2
    sent = {path for method, path in loopback.requests[before:] if method == "PUT"}
    assert len(sent) == 4  # the last one was refused
    assert not sent & {f"/lfs/{name}" for name in kept}
    loopback.heal()
    run_script(*push)
    assert set(repo.branches) == {"main", *FOLD_OF.values()}
    clips = clips_of(pairs, "006")
    folds = [(FOLD_OF[subject], *clips_of(pairs, subject)) for subject in SUBJECTS]
    elsewhere(LOAD.format(revision=repo.branches["main"], clips=clips, folds=folds))


def test_offline_what_was_loaded_once_works_and_the_rest_says_so(
    finished, pairs, loopback, run_script, elsewhere, tmp_path
):
    run_script("push_to_hub.py", "--run", finished, "--repo_id", "demo")
    revision = re.findall(r'revision="(\w{40})"', card_of(loopback))[0]
    code = LOAD.format(revision=revision, clips=clips_of(pairs, "006"), folds=[])
    home = tmp_path / "kept"
    online = elsewhere(code, home=home).stdout
    asked = len(loopback.requests)
    assert elsewhere(code, home=home, offline=True).stdout == online
    assert len(loopback.requests) == asked
    cold = elsewhere(code, offline=True, check=False)
    assert cold.returncode != 0
    assert "couldn't find them in the cached files" in cold.stderr


@pytest.mark.parametrize("token", ["hf_wrong", None])
def test_without_the_right_token_the_script_ends_in_one_line(
    finished, loopback, run_script, recipe, pairs, tmp_path, token
):
    run = ("--recipe", recipe, "--dataset", pairs, "--output_dir", tmp_path / "out")
    for command in (
        ("push_to_hub.py", "--run", finished, "--repo_id", "demo"),
        ("train_loso.py", "--no-controls", *run, "--push_to_hub"),
    ):
        process = run_script(*command, token=token, check=False)
        assert process.returncode == 2
        assert len(process.stderr.strip().splitlines()) == 1
        assert "hf auth login" in process.stderr
        assert "hf_wrong" not in process.stdout + process.stderr
    assert not (tmp_path / "out").exists()  # refused before training
    assert not loopback.repos


def test_training_publishes_its_run_with_the_backbone_left_where_it_is(
    pairs, recipe, tiny_backbone, loopback, run_script, elsewhere, tmp_path
):
    commit = "c0ffee" * 6 + "c0ff"
    loopback.add_repo("model", "user/tiny-clip", tiny_backbone, revision=commit)
    settings = yaml.safe_load(recipe.read_text())
    settings |= {"backbone": "user/tiny-clip", "backbone_revision": commit}
    (tmp_path / "hub.yaml").write_text(yaml.safe_dump(settings))
    home, output = tmp_path / "home", tmp_path / "My run"
    train = (
        "train_loso.py",
        "--no-controls",
        "--recipe",
        tmp_path / "hub.yaml",
        "--dataset",
        pairs,
    )
    train += ("--output_dir", output, "--push_to_hub")
    nameless = run_script(*train, home=home, check=False)
    assert "'My run' cannot be a repository's name" in nameless.stderr
    assert not output.exists()
    done = run_script(*train, "--hub_model_id", "demo", "--hub_private_repo", home=home)
    repo = loopback.repos["model", "user/demo"]
    assert repo.private
    again = run_script("push_to_hub.py", "--run", output, "--repo_id", "demo", home=home)
    assert "/user/demo (private)" in again.stdout  # as it is, though it was not asked for
    (revision,) = re.findall(r"published: .*/user/demo at revision (\w{40})", done.stdout)
    assert revision in card_of(loopback)
    assert "base_model: user/tiny-clip" in card_of(loopback)
    assert repo.commits[revision]["model.safetensors"].size < 200_000  # without the backbone
    weights = f"/user/tiny-clip/resolve/{commit}/model.safetensors"
    assert loopback.requests.count(("GET", weights)) == 1  # the comparison used the cache's
    code = LOAD.format(revision=revision, clips=clips_of(pairs, "006"), folds=[])
    answers = json.loads(elsewhere(code).stdout.splitlines()[-1])
    processor = HcpMerImageProcessor.from_pretrained(output / "model")
    views = dict(zip(("magnified", "flow"), clips_of(pairs, "006")))
    clip = HcpMerModel.from_pretrained(tiny_clone(output, tiny_backbone, tmp_path))
    with torch.no_grad():
        logits = clip(**processor(**views, return_tensors="pt")).logits
    assert np.abs(np.array(answers["main"]) - logits.numpy()).max() <= 1e-6


def tiny_clone(output, tiny_backbone, tmp_path):
    """The checkpoint with the backbone's folder for its name: this process is offline."""
    folder = shutil.copytree(output / "model", tmp_path / "clone")
    config = json.loads((folder / "config.json").read_text())
    config |= {"backbone": str(tiny_backbone), "backbone_revision": None}
    (folder / "config.json").write_text(json.dumps(config))
    return folder
