"""Backbones for the doctor to look at: the embedded one, to be spoilt, and any other folder."""

import shutil
from pathlib import Path

import pytest

from hcp_mer.doctor.backbone import Backbone
from hcp_mer.training.recipe import load_recipe

ROOT = Path(__file__).parents[2]
DEMO = ROOT / "hub_configs" / "recipes" / "demo.yaml"
EMBEDDED = ROOT / "hub_configs" / "face-motion-clip"


@pytest.fixture
def demo_recipe():
    """demo_recipe(*overrides) → the demo's recipe."""
    return lambda *overrides: load_recipe(DEMO, list(overrides))


@pytest.fixture
def backbone_of(demo_recipe):
    """backbone_of(folder) → the demo's recipe on that backbone, by default the embedded one."""
    return lambda folder=EMBEDDED: Backbone(demo_recipe(f"backbone={folder}"))


@pytest.fixture
def embedded(tmp_path):
    """A copy of the embedded backbone under its own name, to be spoilt."""
    return Path(shutil.copytree(EMBEDDED, tmp_path / EMBEDDED.name))
