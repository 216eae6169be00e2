"""A finished run on a corpus of tiny clips that lies on disk."""

import pytest
import yaml
from accelerate import Accelerator

from hcp_mer.data.builders import prepare_pairs
from hcp_mer.data.corpora import read_corpus
from hcp_mer.data.pairs import load_pairs
from hcp_mer.motion.pair import PairSettings
from hcp_mer.training.loso import open_run, train_folds
from hcp_mer.training.recipe import make_recipe
from hcp_mer.training.run_folder import RunFolder
from tests.conftest import GROUPS
from tests.moving_clips import write_moving_corpus


@pytest.fixture(scope="session")
def moving(tmp_path_factory, tiny_backbone):
    """A folder with corpus/, pairs/ and run/."""
    root = tmp_path_factory.mktemp("moving")
    corpus = write_moving_corpus(root / "corpus")
    prepare_pairs(read_corpus("folder", corpus, "moving"), root / "pairs", PairSettings(64))
    prompts = root / "prompts.yaml"
    prompts.write_text(yaml.safe_dump({group["label"]: group for group in GROUPS}))
    own = {"task": "3-class", "prompts": str(prompts), "backbone": str(tiny_backbone)}
    recipe = make_recipe({**own, "epochs": 6, "batch_size": 4, "learning_rate": 5e-3})
    run = open_run(
        recipe, load_pairs(root / "pairs"), RunFolder(root / "run"), Accelerator(cpu=True)
    )
    train_folds(run, Accelerator(cpu=True))
    return root
