"""A LOSO run on foreign pairs and the tiny CLIP, in this process."""

import signal

import pytest
import yaml
from accelerate import Accelerator

from hcp_mer.data.pairs import load_pairs
from hcp_mer.training.loso import open_run, train_folds
from hcp_mer.training.recipe import FROM_ANNOTATIONS, make_recipe
from hcp_mer.training.run_folder import RunFolder
from tests.annotated_pairs import write_annotated_pairs
from tests.conftest import GROUPS
from tests.foreign_pairs import write_foreign_pairs


@pytest.fixture(autouse=True)
def ctrl_c_is_heard():
    """A shell starts what it puts into the background deaf to Ctrl-C."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


@pytest.fixture(scope="session")
def foreign(tmp_path_factory):
    folder = tmp_path_factory.mktemp("foreign") / "pairs"
    write_foreign_pairs(folder, subjects=("006", "007", "a b"), clips_per_class=2, size=32)
    return folder


@pytest.fixture(scope="session")
def learnable(tmp_path_factory):
    """Enough foreign pairs, 60 of 5 subjects, for the tiny CLIP to learn from their flow."""
    folder = tmp_path_factory.mktemp("learnable") / "pairs"
    write_foreign_pairs(folder, size=32)
    return folder


@pytest.fixture
def make_tiny_recipe(tmp_path, tiny_backbone):
    def make(groups=GROUPS, **settings):
        prompts = tmp_path / "prompts.yaml"
        prompts.write_text(yaml.safe_dump({group["label"]: group for group in groups}))
        base = {
            "task": "3-class",
            "prompts": str(prompts),
            "backbone": str(tiny_backbone),
            "epochs": 4,
            "batch_size": 4,
            "learning_rate": 5e-3,
        }
        return make_recipe({**base, **settings})

    return make


@pytest.fixture
def run_loso(make_tiny_recipe):
    """run_loso(pairs_folder, output_dir, **recipe) → (LosoRun, number of reused folds)."""

    def run(pairs_folder, output_dir, **settings):
        accelerator = Accelerator(cpu=True)
        recipe = make_tiny_recipe(**settings)
        run = open_run(recipe, load_pairs(pairs_folder), RunFolder(output_dir), accelerator)
        return run, train_folds(run, accelerator)

    return run


@pytest.fixture(scope="session")
def annotated(tmp_path_factory):
    return write_annotated_pairs(tmp_path_factory.mktemp("annotated") / "pairs")


@pytest.fixture
def run_counted(run_loso):
    def run(pairs, folder, **settings):
        return run_loso(pairs, folder, **{"prompts": FROM_ANNOTATIONS, **settings})

    return run
