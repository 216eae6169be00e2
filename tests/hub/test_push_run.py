"""A run on the Hub: what travels, who may push it, and that it answers there as it did here."""

import json
import re
import shutil
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import pandas
import pytest
import torch
import yaml

from hcp_mer.errors import UserError
from hcp_mer.hub import verify
from hcp_mer.hub.run import push_run
from hcp_mer.hub.staging import (
    SCORE_FIGURES,
    FinishedRun,
    folds_to_publish,
    open_finished_run,
    stage_fold,
    stage_main,
)
from hcp_mer.model.image_processing_hcp_mer import HcpMerImageProcessor
from hcp_mer.model.modeling_hcp_mer import HcpMerModel
from hcp_mer.reporting.card import render_model_card
from hcp_mer.training.folds import Fold
from hcp_mer.training.run_folder import RunFolder
from tests.conftest import GROUPS
from tests.hub.conftest import TOKEN
from tests.hub.small_run import FOLD_OF, LOAD, SUBJECTS, clips_of, train_small_run


@pytest.fixture(scope="module")
def trained(tmp_path_factory, tiny_backbone):
    return train_small_run(tmp_path_factory.mktemp("trained"), tiny_backbone)


@pytest.fixture
def pairs(trained):
    return trained[0]


@pytest.fixture
def finished(trained):
    """A finished run with its report; a test that changes it takes `run` instead."""
    return trained[2]


@pytest.fixture
def run(finished, tmp_path):
    return shutil.copytree(finished, tmp_path / "run")


def files_of(folder):
    return {p.relative_to(folder).as_posix(): p for p in folder.rglob("*") if p.is_file()}


def test_no_picture_of_a_clip_no_prediction_and_no_path_of_this_machine_travels(
    finished, pairs, tmp_path
):
    assert (finished / "figures" / "example_flow.png").is_file()  # there is something to leave out
    run = open_finished_run(finished)
    stage_main(run, tmp_path / "main")
    for fold in folds_to_publish(run):
        stage_fold(run, fold, tmp_path / fold.branch, "user/demo")
    files = files_of(tmp_path)
    pictures = {name for name in files if name.endswith((".png", ".jpg", ".html", ".parquet"))}
    assert pictures == {f"main/figures/{name}" for name in SCORE_FIGURES}
    clip_ids = {path.stem.split("_")[1] for path in (pairs / "flow").iterdir()}
    assert "000n" in clip_ids
    text = "".join(f.read_text() for n, f in files.items() if n.endswith((".json", ".yaml", ".md")))
    for leak in (*clip_ids, str(finished), str(tmp_path), str(pairs), "/tmp", "/home", "/work"):
        assert leak not in text
    assert yaml.safe_load(files["main/recipe.yaml"].read_text())["recipe"]["epochs"] == 3


def test_the_figures_that_travel_are_those_drawn_from_scores(finished):
    drawn = {path.name for path in (finished / "figures").iterdir()}
    assert set(SCORE_FIGURES) < drawn
    with_faces = {"example_flow.png", "example_magnified.png", "attention.png"}
    assert with_faces < drawn
    assert not with_faces & set(SCORE_FIGURES)


def test_a_fold_differs_from_main_in_its_weights_card_and_calibration_alone(finished, tmp_path):
    run = open_finished_run(finished)
    stage_main(run, tmp_path / "main")
    stage_fold(run, folds_to_publish(run)[0], tmp_path / "fold", "user/demo")
    main, fold = files_of(tmp_path / "main"), files_of(tmp_path / "fold")
    assert set(main) - set(fold) == {
        *(f"figures/{name}" for name in SCORE_FIGURES),
        *("metrics.json", "recipe.yaml"),
    }
    assert set(fold) - set(main) == {"README.md"}
    shared = set(main) & set(fold)
    differing = {name for name in shared if main[name].read_bytes() != fold[name].read_bytes()}
    assert differing == {"model.safetensors", "config.json"}
    configs = [json.loads(files["config.json"].read_text()) for files in (main, fold)]
    calibration = {"score_temperature", "unsure_below"}  # main's knows the held-out subject
    of_main, of_fold = (
        {name: value for name, value in config.items() if name not in calibration}
        for config in configs
    )
    assert of_main == of_fold
    assert HcpMerModel.from_pretrained(tmp_path / "fold").config.score_temperature == 1.0


def folds_of(tmp_path, *people):
    """The branches of a run with these people, of which nothing but the names is there."""
    settings = {"recipe": {"seeds": [0]}}
    (tmp_path / "recipe.yaml").write_text(yaml.safe_dump(settings))
    for dataset, subject in people:
        RunFolder(tmp_path).save_fold(Fold(dataset, subject, None, None), {0: {}}, {}, {})
    rows = [{"dataset": dataset, "subject": subject} for dataset, subject in people]
    run = FinishedRun(tmp_path, settings, {"per_subject": rows}, {}, {})
    return [fold.branch for fold in folds_to_publish(run)]


def test_branches_are_named_after_corpus_and_subject(tmp_path):
    people = [("casme2", "sub01"), ("samm", "006"), ("my_pairs", "S-1")]
    assert folds_of(tmp_path, *people) == [
        *("fold-casme2-sub01", "fold-samm-006", "fold-my_pairs-S-1")
    ]


@pytest.mark.parametrize(
    "people",
    [
        [("c", "a b"), ("c", "a-b")],
        [("c", "a/b"), ("c", "a\\b"), ("c", "a..b")],
        [("a-b", "c"), ("a", "b-c")],
        [("c", "s1"), ("c", "S1")],
        [("c", "张"), ("c", "李")],
        [("c", "x.lock"), ("c", "@{1}"), ("c", "~^:?*[")],
    ],
)
def test_names_that_git_does_not_take_or_that_collide_get_branches_of_their_own(tmp_path, people):
    branches = folds_of(tmp_path, *people)
    assert len({branch.casefold() for branch in branches}) == len(people)
    assert all(re.fullmatch(r"[A-Za-z0-9_][A-Za-z0-9_-]*", branch) for branch in branches)


@pytest.mark.parametrize(
    ("scheme", "licensed"),
    [(None, False), ("samm", True), ("procedural", False), ("paper", True), ("megc2019", True)],
)
def test_labels_of_a_licensed_corpus_make_a_licensed_run(tmp_path, scheme, licensed):
    run = FinishedRun(tmp_path, {"recipe": {"scheme": scheme}}, {}, {}, {})
    assert run.licensed is licensed


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("recipe.yaml", "holds no run"),
        ("metrics.json", "score the run first"),
        ("model/config.json", "lacks config.json: the run did not finish"),
        ("model/model.safetensors", "lacks model.safetensors"),
        ("folds/mine/006/trained-seed0.safetensors", "no result with seed"),
    ],
)
def test_an_unfinished_run_is_refused_before_anybody_is_asked(run, name, message):
    (run / name).unlink()
    with pytest.raises(UserError, match=message):
        push_run(run, "demo", folds=True)


def test_an_impossible_name_is_refused_in_a_dry_run_too(finished):
    with pytest.raises(UserError, match="cannot be a repository's name"):
        push_run(finished, "no such/name at all", dry_run=True)


@pytest.mark.slow
def test_a_dry_run_lists_what_a_push_sends_and_asks_nobody(finished, loopback, run_script):
    arguments = ("--run", finished, "--repo_id", "demo", "--folds", "--private", "--dry_run")
    printed = run_script("push_to_hub.py", *arguments, token=None).stdout
    assert loopback.requests == []
    assert "demo: private" in printed
    for fact in ("model.safetensors", "figures/scores.png", "fold-mine-006", "Nothing was sent"):
        assert fact in printed
    listed = push_run(finished, "demo", folds=True, dry_run=True)
    sent = stage_main_and_folds(finished)
    assert {(branch, path) for branch, path, _ in listed.files} == set(sent)
    sizes = {(branch, path): size for branch, path, size in listed.files}
    weights = [key for key in sent if key[1] == "model.safetensors"]
    assert len(weights) == 3
    assert all(sizes[key] == sent[key] for key in weights)


def stage_main_and_folds(finished):
    """(branch, path) → bytes of what a push stages."""
    with TemporaryDirectory() as folder:
        run, staging = open_finished_run(finished), Path(folder)
        stage_main(run, staging / "main")
        (staging / "main" / "README.md").touch()
        for fold in folds_to_publish(run):
            stage_fold(run, fold, staging / fold.branch, "demo")
        names = {name: path.stat().st_size for name, path in files_of(staging).items()}
    return {tuple(name.split("/", 1)): size for name, size in names.items()}


@pytest.mark.slow
def test_a_pushed_run_answers_on_the_hub_as_it_did_here(
    finished, pairs, loopback, run_script, elsewhere, tmp_path
):
    pushed = run_script("push_to_hub.py", "--run", finished, "--repo_id", "demo", "--folds")
    repo = loopback.repos["model", "user/demo"]
    assert set(repo.branches) == {"main", *FOLD_OF.values()}
    (revision,) = re.findall(r"^revision: ([0-9a-f]{40})$", pushed.stdout, re.MULTILINE)

    clips = clips_of(pairs, "006")
    folds = [(FOLD_OF[subject], *clips_of(pairs, subject)) for subject in SUBJECTS]
    code = LOAD.format(revision=revision, clips=clips, folds=folds)
    answers = json.loads(elsewhere(code).stdout.splitlines()[-1])
    model = HcpMerModel.from_pretrained(finished / "model")
    processor = HcpMerImageProcessor.from_pretrained(finished / "model")
    with torch.no_grad():
        inputs = processor(magnified=clips[0], flow=clips[1], return_tensors="pt")
        logits = model(**inputs).logits
    assert np.abs(np.array(answers["main"]) - logits.numpy()).max() <= 1e-6
    best = max(answers["pipeline"], key=lambda answer: answer["score"])
    calibrated = (logits[0] / model.config.score_temperature).softmax(-1)
    assert best["score"] == pytest.approx(calibrated.max().item(), abs=1e-6)
    assert best["label"] == model.config.id2label[logits[0].argmax().item()]

    table = pandas.read_parquet(finished / "predictions.parquet")
    for subject, (branch, magnified, _), found in zip(SUBJECTS, folds, answers["folds"]):
        rows = table[table["subject"] == subject].set_index("clip_id")
        rows = rows.loc[[path.rsplit("_", 1)[1].removesuffix(".png") for path in magnified]]
        stored = rows[[f"prob_{group['label']}" for group in GROUPS]].to_numpy()
        assert np.abs(np.array(found) - stored).max() <= 1e-5, branch

    check_card_and_secrecy(loopback, repo, revision, finished)


REFUSED = """
import json
from hcp_mer.errors import UserError
from hcp_mer.hub.run import push_run

def said(repo_id, **options):
    try:
        return push_run({run!r}, repo_id, **options)
    except UserError as error:
        return str(error)

asked = ["other/demo", "user/foreign", "user/pairs", "user/empty"]
print(json.dumps([said(name) for name in asked[:3]] + [said(asked[3], private=True)]))
"""


@pytest.mark.slow
def test_a_repository_that_is_not_ours_to_fill_is_refused_before_anything_is_sent(
    finished, loopback, answer, folder
):
    loopback.add_repo("model", "user/foreign", folder)
    loopback.create_repo("dataset", "user/pairs")
    loopback.create_repo("model", "user/empty")
    found = answer(REFUSED.format(run=str(finished)), blocked=())
    for sentence, fact in zip(
        found,
        (
            "other/demo would belong to other, and you are user",
            "user/foreign holds other things",
            "user/pairs is a dataset, and a run becomes a model",
            "user/empty is there already and public",
        ),
        strict=True,
    ):
        assert fact in sentence
        assert "\n" not in sentence
    assert {method for method, _ in loopback.requests} <= {"GET", "HEAD"}
    assert ("model", "user/pairs") not in loopback.repos


@pytest.mark.parametrize("difference", [2e-6, float("nan")])
def test_a_repository_that_answers_otherwise_is_an_error(monkeypatch, tmp_path, difference):
    monkeypatch.setattr(verify, "compare_with_hub", lambda *_: difference)
    with pytest.raises(UserError, match="answers otherwise than what was pushed"):
        verify.verify(tmp_path, "user/demo", "main")
    monkeypatch.setattr(verify, "compare_with_hub", lambda *_: 1e-6)
    verify.verify(tmp_path, "user/demo", "main")


def check_card_and_secrecy(loopback, repo, revision, finished):
    files = repo.commits[repo.branches["main"]]
    card = files["README.md"].path.read_text()
    run = open_finished_run(finished)
    assert card == render_model_card(
        run.metrics,
        run.config,
        run.processor,
        model="user/demo",
        revision=revision,
        figures=[f"figures/{name}" for name in SCORE_FIGURES],
    )
    pinned = repo.commits[revision]  # the commit before the card's, with everything but its text
    assert {name: blob.sha256 for name, blob in pinned.items() if name != "README.md"} == {
        name: blob.sha256 for name, blob in files.items() if name != "README.md"
    }
    bodies = [path.read_bytes() for path in loopback.store.folder.iterdir()]
    assert not any(TOKEN.encode() in body for body in bodies)
