"""The README's snippets: what they load is pinned, what they name exists."""

import re
from pathlib import Path

import pytest

import hcp_mer

ROOT = Path(__file__).parents[1]
README = (ROOT / "README.md").read_text(encoding="utf-8")


def test_every_snippet_that_loads_from_the_hub_pins_a_revision():
    loads = re.findall(r"[\w.]+\([^`\n]*\"OWNER/[^`\n]*", README)
    assert len(loads) >= 7
    for snippet in loads:
        assert "revision=" in snippet or re.search(r'"OWNER/\w+@<commit>"', snippet), snippet


@pytest.mark.parametrize("name", sorted(set(re.findall(r"hcp_mer\.([A-Za-z_]+)\(", README))))
def test_every_public_name_in_the_readme_exists(name):
    assert callable(getattr(hcp_mer, name))


@pytest.mark.parametrize(
    "path", sorted(set(re.findall(r"\b(scripts/\w+\.py|hub_configs/[\w/.-]+\w)", README)))
)
def test_every_file_that_the_readme_names_is_there(path):
    assert (ROOT / path).exists()
