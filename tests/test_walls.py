"""The house holds: who may import whom, what the suitcase may carry, where each equation lives."""

import ast
import functools
import re
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
PACKAGE = ROOT / "src" / "hcp_mer"
FILES = sorted(PACKAGE.rglob("*.py"))

# The part of the suitcase that makes pairs, and knows no network.
MOTION_SUITCASE = tuple(
    f"model.{noun}_hcp_mer"
    for noun in (
        "motion",
        "flow",
        "flow_image",
        "magnification",
        "registration",
        "face_regions",
        "frames",
    )
)
# Room → what of ours it may import. Everybody may import errors and files, the suitcases nothing.
MAY_IMPORT = {
    "model": (),
    "motion": ("motion", *MOTION_SUITCASE),
    "data": ("data", "motion", *MOTION_SUITCASE, "model.action_units_hcp_mer"),
    "metrics": ("metrics",),
    "pretraining": ("pretraining", "data", "model"),
    "training": ("training", "data", "motion", "model"),
    "domains": ("domains", "data", "motion", *MOTION_SUITCASE, "model.action_units_hcp_mer"),
    "benchmark": (
        *("benchmark", "domains", "baselines", "training", "reporting.scores", "metrics", "data"),
        *("motion", "model"),
    ),
    "baselines": ("baselines", "training", "data", "model"),
    "reporting": ("reporting", "metrics", "model"),
    "hub": ("hub", "training", "reporting", "metrics", "data", "model"),
    "robustness": (
        *("robustness", "baselines", "training", "reporting", "metrics", "data", "motion"),
        "model",
    ),
    "transfer": ("transfer", "training", "metrics", "data", "model"),
    "reproduction": (
        *("reproduction", "experiment", "ablations", "training", "baselines", "hub.staging"),
        *("reporting", "metrics", "data", "motion", "model"),
    ),
    "recognition": (
        *(
            "recognition",
            "zero_shot",
            "hub.access",
            "training.launch",
            "data.synthetic",
            "motion",
            "model",
        ),
    ),
    "doctor": ("doctor", "hub.access", "training", "metrics", "data", "motion", "model"),
}
SUITCASE_MAY_NEED = {"torch", "transformers", "numpy", "cv2", "PIL", "safetensors"}
# Only inside `try:`, which is how transformers knows that a remote user can do without.
SUITCASE_MAY_TRY = {"peft"}
# Slow or optional: imported inside functions. A file that is itself such a class may name it.
LAZY = {
    *("datasets", "evaluate", "matplotlib", "pandas", "sklearn", "scipy", "openpyxl", "jinja2"),
    *("xlrd", "accelerate", "peft", "gradio", "tensorflow", "skimage", "rich", "pyarrow"),
}
MAY_NAME = {"data/builders.py": {"datasets"}, "metrics/mer/mer.py": {"datasets", "evaluate"}}
TAGS = [*(f"Eq. {n}" for n in range(1, 14)), "Fig. 8", "Algorithm 1"]


def name_of(path):
    return path.relative_to(PACKAGE).as_posix()


def room_of(path):
    return path.relative_to(PACKAGE).parts[0]


@functools.cache
def parsed(path):
    return ast.parse(path.read_text())


def imports(path, top_level_only=False):
    """(level, module) of the import statements; those under TYPE_CHECKING do not count."""
    tree = parsed(path)
    nodes = tree.body if top_level_only else ast.walk(tree)
    for node in nodes:
        if isinstance(node, ast.Import):
            yield from ((0, alias.name) for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            yield node.level, node.module or ""


ROOM_FILES = [path for path in FILES if path.parent != PACKAGE]


@pytest.mark.parametrize("path", ROOM_FILES, ids=name_of)
def test_a_room_imports_only_what_it_may(path):
    for level, module in imports(path):
        if level == 0 and module.split(".")[0] == "hcp_mer":
            inner = module.removeprefix("hcp_mer.")
            allowed = ("errors", "files", "requirements", *MAY_IMPORT[room_of(path)])
            assert any(inner == a or inner.startswith(f"{a}.") for a in allowed), module


@pytest.mark.parametrize("path", sorted((PACKAGE / "model").glob("*.py")), ids=name_of)
def test_the_suitcase_imports_only_siblings_and_what_remote_users_have(path):
    for level, module in imports(path):
        if level:
            assert level == 1
            assert re.fullmatch(r"\w+_hcp_mer", module)
            assert (path.parent / f"{module}.py").is_file()
        else:
            top = module.split(".")[0]
            may_need = SUITCASE_MAY_NEED | SUITCASE_MAY_TRY | set(sys.stdlib_module_names)
            assert top in may_need, top
    tried = {
        alias.name
        for node in ast.walk(parsed(path))
        if isinstance(node, ast.Try)
        for alias in (a for n in node.body if isinstance(n, ast.Import) for a in n.names)
    }
    assert {module for _, module in imports(path)} & SUITCASE_MAY_TRY <= tried
    # transformers finds relative imports by a text search that docstrings do not escape.
    for line in re.findall(r"^\s*from\s+\.(\S*)\s+import", path.read_text(), re.MULTILINE):
        assert (path.parent / f"{line}.py").is_file()


def test_the_suitcase_is_flat():
    assert not [p for p in (PACKAGE / "model").iterdir() if p.is_dir() and p.name != "__pycache__"]


@pytest.mark.parametrize("path", FILES, ids=name_of)
def test_slow_packages_are_imported_where_they_are_used(path):
    tops = {
        module.split(".")[0] for level, module in imports(path, top_level_only=True) if not level
    }
    assert not tops & LAZY - MAY_NAME.get(name_of(path), set())


def test_the_metric_suitcase_imports_nothing_of_ours():
    for path in (PACKAGE / "metrics" / "mer").glob("*.py"):
        assert not [m for level, m in imports(path) if not level and m.startswith("hcp_mer")]


def test_no_file_holds_a_second_noun():
    assert {name_of(p) for p in FILES if len(p.read_text().splitlines()) > 420} == set()
    scripts = (ROOT / "scripts").glob("*.py")
    assert {p.name for p in scripts if len(p.read_text().splitlines()) > 120} == set()
    assert not [p for p in FILES if "util" in p.stem]


@functools.cache
def homes():
    """Tag → definitions whose docstring's first line carries it: "…, Eq. 3."."""
    found = {}
    for path in FILES:
        for node in ast.walk(parsed(path)):
            if isinstance(node, (ast.FunctionDef, ast.ClassDef)):
                first_line = (ast.get_docstring(node) or "").split("\n")[0]
                for tag in re.findall(r", (Eq\. \d+|Fig\. \d+|Algorithm \d+)(?=[. ])", first_line):
                    found.setdefault(tag, []).append((path, node.name))
    return found


@pytest.mark.parametrize("tag", TAGS)
def test_every_equation_has_exactly_one_home_and_the_readme_points_there(tag):
    ((path, name),) = homes()[tag]
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    row = rf"^\| {re.escape(tag)}\b[^|]*\|[^|]*`{name}`[^|]*\|[^|]*{re.escape(path.name)}"
    assert re.search(row, readme, re.MULTILINE), f"README's table lacks {tag} → {name}"
