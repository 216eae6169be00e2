"""run_ablations.py as a user runs it: the plan, the table, and mistakes in one line."""

import json

import pytest
import yaml

from tests.conftest import GROUPS
from tests.foreign_pairs import write_foreign_pairs


@pytest.fixture(scope="module")
def place(tmp_path_factory, tiny_backbone):
    """A folder with pairs, and a recipe of two epochs on the tiny CLIP."""
    folder = tmp_path_factory.mktemp("place")
    people = ("006", "007", "a b")
    write_foreign_pairs(folder / "pairs", subjects=people, clips_per_class=1, size=32)
    prompts = {group["label"]: group for group in GROUPS}
    (folder / "prompts.yaml").write_text(yaml.safe_dump(prompts))
    recipe = {"task": 3, "prompts": str(folder / "prompts.yaml"), "backbone": str(tiny_backbone)}
    recipe |= {"epochs": 2, "batch_size": 4}
    (folder / "recipe.yaml").write_text(yaml.safe_dump(recipe))
    return folder


def ablate(run, place, output, *more):
    words = ("--recipe", place / "recipe.yaml", "--dataset", place / "pairs")
    return run("run_ablations.py", *words, "--output_dir", output, "--quiet", *more)


@pytest.mark.parametrize(
    ("more", "message"),
    [
        (["--tasks", "5"], "unknown task '5'. Choose one of 3-class, 4-class, 7-class."),
        (["--tasks", "3", "3"], "every task once"),
        (["--tasks", "3", "7", "--prompts", "x.yaml"], "one task's classes"),
        (["--set", "epoch=3"], "Did you mean 'epochs'?"),
        (["--seeds", "1", "1"], "seeds must be different whole numbers"),
        (["--dataset", "/nowhere"], "no pairs at /nowhere"),
        (["--set", "vision_lora.r=4"], "leave vision_lora out"),
    ],
)
def test_mistakes_end_in_one_line_and_make_nothing(run, place, tmp_path, more, message):
    code, _, error = ablate(run, place, tmp_path / "out", *more)
    assert code == 2
    assert message in error
    assert len(error.strip().splitlines()) == 1
    assert not (tmp_path / "out").exists()


@pytest.mark.slow
def test_the_table_the_files_and_another_recipe_in_the_folder(run, place, tmp_path):
    output = tmp_path / "out"
    code, printed, error = ablate(run, place, output)
    assert code == 0, error[-2000:]
    assert "3-class, ablations: 9 clips, 3 subjects" in printed
    assert "w/o COM" in printed
    content = json.loads((output / "ablations.json").read_text())
    assert len(content["tasks"]["3-class"]["ablations"]) == 7
    assert (output / "figures" / "ablations.svg").is_file()
    report = (output / "3-class" / "report.md").read_text()
    assert "without the adapters" in report
    code, printed, _ = ablate(run, place, output, "--plan")
    assert (code, "0 of 7 to train: nothing" in printed) == (0, True)
    code, _, error = ablate(run, place, output, "--set", "epochs=3")
    assert code == 2
    assert "epochs was 2, now 3" in error
