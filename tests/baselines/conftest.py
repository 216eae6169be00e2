"""Runs that are opened but not trained: on the tiny CLIP, and on the embedded backbone."""

from pathlib import Path

import pytest
import yaml
from accelerate import Accelerator

from hcp_mer.data.pairs import load_pairs
from hcp_mer.training.loso import open_run
from hcp_mer.training.recipe import load_recipe, make_recipe
from hcp_mer.training.run_folder import RunFolder
from tests.conftest import GROUPS
from tests.foreign_pairs import write_foreign_pairs, write_metadata

DEMO = Path(__file__).parents[2] / "hub_configs" / "recipes" / "demo.yaml"


@pytest.fixture(scope="session")
def foreign(tmp_path_factory):
    """18 pairs of 3 subjects, two of each class."""
    folder = tmp_path_factory.mktemp("foreign") / "pairs"
    write_foreign_pairs(folder, subjects=("006", "007", "a b"), clips_per_class=2, size=32)
    return folder


@pytest.fixture
def open_tiny(tmp_path, tiny_backbone, foreign):
    """open_tiny(name, pairs, **recipe) → LosoRun in tmp_path/name."""

    def run(name="run", pairs=foreign, groups=GROUPS, **settings):
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
        recipe = make_recipe({**base, **settings})
        folder = RunFolder(tmp_path / name)
        return open_run(recipe, load_pairs(pairs), folder, Accelerator(cpu=True))

    return run


@pytest.fixture(scope="session")
def open_embedded(tmp_path_factory):
    """open_embedded("flow" or "magnified") → LosoRun on 60 pairs whose class shows in that view."""

    def run(view):
        root = tmp_path_factory.mktemp(view)
        rows = write_foreign_pairs(root / "pairs")
        if view == "magnified":
            write_metadata(root / "pairs", [_views_swapped(row) for row in rows])
        recipe, folder = load_recipe(DEMO), RunFolder(root / "run")
        return open_run(recipe, load_pairs(root / "pairs"), folder, Accelerator(cpu=True))

    return run


def _views_swapped(row):
    flow, magnified = row["flow_file_name"], row["magnified_file_name"]
    return {**row, "flow_file_name": magnified, "magnified_file_name": flow}
