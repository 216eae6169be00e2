"""Every corpus from its folder to scores, as a user goes: check, prepare, train with its recipe."""

import json
from pathlib import Path

import pytest

from tests.casme_on_disk import write_casme2, write_casme3
from tests.corpora_on_disk import write_folder, write_samm, write_smic, write_smic_hse

ROOT = Path(__file__).parents[2]
RECIPES = ROOT / "hub_configs" / "recipes"
OFFLINE = ("backbone=hub_configs/face-motion-clip", "backbone_revision=null", "epochs=2")
WRITERS = {
    "casme2": write_casme2,
    "samm": write_samm,
    "smic": write_smic,
    "smic-hs-e": write_smic_hse,
    "casme3": write_casme3,
    "folder": write_folder,
}


@pytest.fixture(scope="module")
def written(tmp_path_factory):
    """written[corpus] → what was written and a reading must give; in an awkward place."""
    root = tmp_path_factory.mktemp("my corpora 数据")
    return {corpus: write(root / corpus) for corpus, write in WRITERS.items()}


@pytest.fixture
def prepare(run, written):
    """prepare(corpus) → its pairs, inside the corpus's own folder; made once."""

    def prepare(corpus, *options):
        pairs = written[corpus].folder / "pairs of mine"
        command = ("prepare_dataset.py", "--corpus", corpus, "--data_dir", written[corpus].folder)
        options = (*options, "--output_dir", pairs, "--image_size", 64, "--num_proc", 1)
        code, printed, error = run(*command, *options)
        assert code == 0, error[-2000:]
        assert f"{written[corpus].usable} pairs in {pairs}" in printed
        return pairs

    return prepare


def train(run, recipe, *datasets, output, test=()):
    arguments = ["--recipe", RECIPES / f"{recipe}.yaml", "--output_dir", output, "--dataset"]
    arguments += [*datasets, *(("--test_dataset", *test) if test else ())]
    code, printed, error = run(
        *("train_loso.py", "--no-controls", *arguments),
        *(x for s in OFFLINE for x in ("--set", s)),
    )
    assert code == 0, error[-2000:]
    return printed, json.loads((output / "metrics.json").read_text())


@pytest.mark.parametrize("corpus", WRITERS)
def test_the_check_finds_what_was_written(run, written, corpus, tmp_path):
    expected = written[corpus]
    command = ("prepare_dataset.py", "--corpus", corpus, "--data_dir", expected.folder, "--check")
    code, printed, error = run(*command, "--output_dir", tmp_path, "--num_proc", 1)
    assert code == 0, error[-2000:]
    found = json.loads((tmp_path / "check.json").read_text())
    assert [path.name for path in tmp_path.iterdir()] == ["check.json"]
    assert (found["annotated"], found["emotions"]) == (expected.annotated, expected.emotions)
    assert found["usable"] == expected.usable
    assert len(found["problems"]) >= len(expected.reasons)
    assert f"clips usable     {expected.usable}" in printed
    for problem in found["problems"]:
        assert problem["reason"] in " ".join(printed.split())


def test_a_check_that_finds_nothing_usable_ends_with_2_and_says_why(run, written, tmp_path):
    root = tmp_path / "smic"
    (root / "HS" / "s1" / "micro" / "negative" / "s1_ne_01").mkdir(parents=True)
    command = ("prepare_dataset.py", "--corpus", "smic", "--data_dir", root, "--check")
    code, printed, _ = run(*command, "--output_dir", tmp_path / "out", "--num_proc", 1)
    assert code == 2
    found = json.loads((tmp_path / "out" / "check.json").read_text())
    assert (found["annotated"], found["usable"], found["emotions"]) == (1, 0, {"negative": 1})
    assert "s1_ne_01" in printed


@pytest.mark.slow
@pytest.mark.parametrize("corpus", ["casme2", "samm", "smic"])
def test_a_corpus_of_the_paper_goes_through_its_recipe(run, prepare, corpus, tmp_path):
    printed, metrics = train(run, f"{corpus}-3class", prepare(corpus), output=tmp_path / "run")
    assert set(metrics["per_dataset"]) == {corpus}
    assert metrics["num_subjects"] == 4
    assert f"Labels: {corpus}, 3-class (scheme paper 1.0)" in " ".join(printed.split())


@pytest.mark.slow
@pytest.mark.parametrize("number", [3, 4, 7])
def test_casme3_goes_through_its_recipes(run, prepare, number, tmp_path):
    output = tmp_path / "run"
    _, metrics = train(run, f"casme3-{number}class", prepare("casme3"), output=output)
    assert len(metrics["classes"]) == number
    assert json.loads((output / "model" / "config.json").read_text())["adapter_depth"] == 2


@pytest.mark.slow
def test_the_composite_and_one_corpus_against_another(run, prepare, tmp_path):
    names = ("casme2", "samm", "smic")
    pairs = {name: prepare(name) for name in names}
    _, metrics = train(run, "megc2019-3class", *pairs.values(), output=tmp_path / "composite")
    assert set(metrics["per_dataset"]) == set(names)
    assert metrics["num_subjects"] == 12  # all corpora number theirs from 1: nobody is merged
    assert metrics["protocol"] == "leave_one_subject_out"
    _, metrics = train(
        run, "megc2019-3class", pairs["casme2"], test=[pairs["samm"]], output=tmp_path / "cross"
    )
    assert (metrics["protocol"], metrics["trained_on"]) == ("cross_corpus", ["casme2"])
    assert set(metrics["per_dataset"]) == {"samm"}


@pytest.mark.slow
def test_ones_own_clips_and_the_long_videos_become_pairs(run, prepare, tmp_path):
    prepare("smic-hs-e")
    pairs = prepare("folder", "--face", "none", "--name", "mine")
    _, metrics = train(run, "demo", pairs, output=tmp_path / "run")
    assert set(metrics["per_dataset"]) == {"mine"}
