"""What a cross-corpus run publishes: one branch for each test corpus, no place of this machine."""

import pytest
import torch
import yaml

from hcp_mer.experiment import run_loso
from hcp_mer.hub.staging import (
    folds_to_publish,
    main_card,
    open_finished_run,
    stage_fold,
    stage_main,
)
from hcp_mer.model.modeling_hcp_mer import HcpMerModel
from tests.conftest import GROUPS
from tests.foreign_pairs import write_foreign_pairs


@pytest.mark.slow
def test_a_held_out_corpus_is_a_branch_that_answers_as_main_does(tmp_path, tiny_backbone):
    for seed, name in enumerate(("mine", "alpha", "beta b")):
        write_foreign_pairs(tmp_path / name, ("s01",), clips_per_class=2, size=32, seed=seed)
    (tmp_path / "prompts.yaml").write_text(yaml.safe_dump({g["label"]: g for g in GROUPS}))
    recipe = {
        "task": "3-class",
        "prompts": str(tmp_path / "prompts.yaml"),
        "backbone": str(tiny_backbone),
        "epochs": 2,
        "batch_size": 4,
    }
    (tmp_path / "tiny.yaml").write_text(yaml.safe_dump(recipe))
    tested = [tmp_path / "beta b", tmp_path / "alpha"]
    sources = (tmp_path / "tiny.yaml", tmp_path / "mine", tmp_path / "run")
    run_loso(*sources, test_dataset=tested, controls=False)

    run = open_finished_run(tmp_path / "run")
    folds = folds_to_publish(run)
    # A name that git does not take gets a hash: printf 'beta b\x1fall' | b2sum -l 24
    assert [fold.branch for fold in folds] == ["fold-alpha-all", "fold-beta-b-all-9e64f2"]
    stage_main(run, tmp_path / "main")
    for fold in folds:
        stage_fold(run, fold, tmp_path / fold.branch, "user/demo")
    main, *others = (
        HcpMerModel.from_pretrained(tmp_path / name).state_dict()
        for name in ("main", *(fold.branch for fold in folds))
    )
    for other in others:
        assert all(torch.allclose(value, other[name], atol=1e-6) for name, value in main.items())
    card = (tmp_path / "fold-alpha-all" / "README.md").read_text()
    assert "Trained on mine alone" in card
    assert 'revision="fold-alpha-all"' in card
    settings = yaml.safe_load((tmp_path / "main" / "recipe.yaml").read_text())
    assert not {"dataset", "test_dataset"} & set(settings)
    assert settings["test_corpora"] == ["alpha", "beta b"]
    texts = [main_card(run, "user/demo", "main")]
    texts += [path.read_text() for path in tmp_path.glob("main/*.[jy][sa][om][nl]")]
    texts += [path.read_text() for path in tmp_path.glob("fold-*/*.json")]
    assert len(texts) > 6
    assert not any(str(tmp_path) in text for text in texts)
