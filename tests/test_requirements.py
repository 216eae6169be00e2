"""A library that is too old is said in one sentence, in scripts, in Python and in remote code."""

import importlib.metadata
import subprocess
import sys
from pathlib import Path

import pytest

import hcp_mer
from hcp_mer.errors import UserError
from hcp_mer.model import versions_hcp_mer
from hcp_mer.requirements import check_requirements

ROOT = Path(__file__).parents[1]
PRETEND = """
import importlib.metadata, runpy, sys
real = importlib.metadata.version
importlib.metadata.version = lambda name: "3.1.0" if name == "datasets" else real(name)
sys.argv = ["train_loso.py", "--recipe", "none.yaml", "--dataset", "d", "--output_dir", "o"]
runpy.run_path({script!r}, run_name="__main__")
"""


@pytest.fixture
def old_datasets(monkeypatch):
    real = importlib.metadata.version
    monkeypatch.setattr(
        importlib.metadata, "version", lambda name: "3.1.0" if name == "datasets" else real(name)
    )
    check_requirements.cache_clear()
    yield
    check_requirements.cache_clear()


def test_what_is_installed_here_is_new_enough():
    check_requirements.cache_clear()
    check_requirements()


def test_python_names_the_library_and_the_mend(old_datasets):
    with pytest.raises(UserError, match=r"datasets is 3\.1\.0, not >=4\.0: pip install 'datasets"):
        _ = hcp_mer.load_recipe


def test_scripts_end_in_one_line():
    code = PRETEND.format(script=str(ROOT / "scripts" / "train_loso.py"))
    process = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=False
    )
    assert process.returncode == 2
    assert process.stderr.startswith("error: datasets is 3.1.0, not >=4.0: pip install")
    assert len(process.stderr.splitlines()) == 1


@pytest.mark.parametrize("version", ["4.57.6", "5.17.2", "4.0.0.dev0"])
def test_remote_code_names_the_transformers_that_it_needs(monkeypatch, version):
    monkeypatch.setattr(versions_hcp_mer.transformers, "__version__", version)
    sentence = rf"needs transformers 5\.18 or newer; this is {version}: pip install --upgrade"
    with pytest.raises(ImportError, match=sentence):
        versions_hcp_mer.check_transformers()


@pytest.mark.parametrize("version", ["5.18.0", "5.23.0", "6.0.0.dev0"])
def test_remote_code_takes_newer_ones(monkeypatch, version):
    monkeypatch.setattr(versions_hcp_mer.transformers, "__version__", version)
    versions_hcp_mer.check_transformers()


def test_remote_code_and_package_ask_for_the_same_transformers():
    (needed,) = (r for r in importlib.metadata.requires("hcp_mer") if r.startswith("transformers"))
    assert needed == f"transformers>={'.'.join(map(str, versions_hcp_mer.LOWEST_TRANSFORMERS))}"


def test_the_lowest_versions_are_those_that_are_declared():
    """So that `make test-lowest` tests the bounds themselves."""
    from packaging.requirements import Requirement
    from packaging.version import Version

    lines = (ROOT / "constraints-lowest.txt").read_text().splitlines()
    pinned = dict(line.split("==") for line in lines if not line.startswith("#"))
    pinned = {name.lower().replace("_", "-"): version for name, version in pinned.items()}
    for text in importlib.metadata.requires("hcp_mer"):
        requirement = Requirement(text)
        name = requirement.name.lower().replace("_", "-")
        if requirement.marker or name in ("torch", "safetensors", "packaging"):
            continue  # tools; one CPU build of torch; what transformers and pip bring
        (bound,) = (Version(spec.version) for spec in requirement.specifier)
        release = Version(pinned[name]).release
        assert release[: len(bound.release)] == bound.release, requirement
