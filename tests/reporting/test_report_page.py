"""report.html: complete, self-contained, escaped, and frank about what it cannot say."""

from __future__ import annotations

import base64
import hashlib
import io
import json
import re
import runpy
import sys
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from hcp_mer.errors import UserError
from hcp_mer.reporting.content import how_to_reproduce
from hcp_mer.reporting.html import write_report
from hcp_mer.reporting.scores import write_metrics

SCRIPT = Path(__file__).parents[2] / "scripts" / "make_report.py"
EVIL = "note: '<script>alert(1)</script>'"


class Page(HTMLParser):
    """What a reader meets: the text, the tags, and all that tags point at."""

    def __init__(self, path: Path) -> None:
        super().__init__()
        self.text, self.tags, self.targets, self.alts = "", [], [], []
        self.feed(path.read_text(encoding="utf-8"))

    def handle_starttag(self, tag, attrs):
        self.tags.append(tag)
        attrs = dict(attrs)
        self.targets += [attrs[key] for key in ("src", "srcset", "href") if key in attrs]
        if tag == "img":
            self.alts.append(attrs["alt"])

    def handle_data(self, data):
        self.text += data


def write_run(folder: Path, dataset: str = "casme2", num_subjects: int = 6) -> Path:
    """A run that is always right, whose baselines are always right and always negative."""
    labels = ["negative", "positive", "surprise"]
    clips = [
        {"dataset": dataset, "subject": f"s{s}", "clip_id": f"{s}-{c}", "label": labels[c]}
        for s in range(num_subjects)
        for c in range(3)
    ]
    right = pd.DataFrame(clips).assign(seed=0)
    right["prediction"] = right["label"]
    (folder / "baselines").mkdir()
    right.assign(holistic_prediction="positive", componential_prediction=right["label"]).to_parquet(
        folder / "predictions.parquet"
    )
    right.to_parquet(folder / "baselines" / "as_good.parquet")
    right.assign(prediction="negative").to_parquet(folder / "baselines" / "chance.parquet")
    task = {"task": "3-class", "classes": labels}
    (folder / "task.json").write_text(json.dumps(task), encoding="utf-8")
    (folder / "recipe.yaml").write_text(f"dataset: my pairs\n{EVIL}\n", encoding="utf-8")
    return folder


def example(**changes):
    image = np.arange(48, dtype=np.uint8).reshape(4, 4, 3)
    images = {"onset": image[..., 0], "magnified": image, "flow": 255 - image}
    return (
        {"clip": "s0/<b>0-0</b>", "label": "negative", "prediction": "positive"} | images | changes
    )


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    """A scored run, with its report written once for the tests that only read it."""
    folder = write_run(tmp_path_factory.mktemp("run"))
    write_metrics(folder)
    write_report(folder, [example(), example(onset=None)])
    return folder


@pytest.fixture
def page(run):
    return Page(run / "report.html")


def test_page_points_at_nothing_outside_itself(run, page):
    assert len(page.targets) == 3 * 2 + 5  # three figures in two themes, five pictures
    assert all(target.startswith("data:image/") for target in page.targets)
    assert not {"link", "iframe", "object"} & set(page.tags)
    source = (run / "report.html").read_text(encoding="utf-8")
    assert "http:" not in source
    assert "https:" not in source
    assert "url(" not in source


def test_the_one_script_is_the_one_that_the_page_allows(run, page):
    source = (run / "report.html").read_text(encoding="utf-8")
    (script,) = re.findall(r"<script>(.*?)</script>", source, re.DOTALL)
    digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
    assert page.tags.count("script") == 1
    assert f"script-src 'sha256-{digest}'\"" in source
    assert "default-src 'none'" in source


def test_text_of_others_is_shown_and_never_run(page):
    assert EVIL in page.text
    assert "s0/<b>0-0</b>" in page.text
    assert "b" not in page.tags


def test_summary_and_verdicts_state_what_the_run_shows(page):
    text = page.text
    assert (
        "On 18 clips of 6 subjects (casme2), each subject held out in turn, HCP_MER reaches UF1 "
        "1.000 (95 % interval 1.000 to 1.000) and UAR 1.000 in the 3-class task."
    ) in text
    assert "HCP_MER does not clearly beat as good: UF1 +0.000" in text
    # always negative, a third of the clips: F1 1/2, 0, 0
    assert "+0.833" in text
    assert "beaten: on these clips learning from the true labels earned something" in text
    assert "holistic" in text
    assert "0.167" in text  # UF1 of the holistic branch, always positive


def test_rendered_faces_and_licensed_faces_each_get_their_notice(page, tmp_path):
    write_metrics(write_run(tmp_path, dataset="procedural"))
    synthetic = Page(write_report(tmp_path, [example()]))
    assert "says nothing about real micro-expressions" in synthetic.text
    assert "licensed" not in synthetic.text
    assert "says nothing about real micro-expressions" not in page.text
    assert "licensed to you" in page.text


def test_example_pictures_are_embedded_without_loss(page):
    pictures = [t.split(",")[1] for t in page.targets if t.startswith("data:image/png")]
    decoded = [np.asarray(Image.open(io.BytesIO(base64.b64decode(p)))) for p in pictures]
    shown = example()
    expected = [shown["onset"], shown["magnified"], shown["flow"]]
    for picture, original in zip(decoded, expected + expected[1:], strict=True):
        np.testing.assert_array_equal(picture, original)
    assert all(page.alts)


@pytest.mark.parametrize("image", [np.zeros((4, 4, 3)), np.zeros((4, 4, 2), np.uint8)])
def test_a_picture_that_is_no_uint8_image_is_refused(run, image):
    with pytest.raises(UserError, match=r"flow of s0/<b>0-0</b> must be uint8"):
        write_report(run, [example(flow=image)])


def test_figures_are_kept_beside_the_page(run):
    names = {path.name for path in (run / "figures").iterdir()}
    assert names == {"confusion_matrix.png", "per_subject_accuracy.png", "scores.png"}
    for name in names:
        with Image.open(run / "figures" / name) as figure:
            assert min(figure.size) > 500


def test_one_subject_no_recipe_and_no_baseline_are_said(tmp_path):
    write_run(tmp_path, num_subjects=1)
    (tmp_path / "recipe.yaml").unlink()
    for path in (tmp_path / "baselines").iterdir():
        path.unlink()
    write_metrics(tmp_path)
    text = Page(write_report(tmp_path)).text
    assert "one subject only, so no interval" in text
    assert "no recipe.yaml" in text
    assert "licensed" not in text  # without pictures there is nothing to warn of
    assert "No baseline was run" in text


def test_settings_to_save_are_the_part_that_training_accepts():
    recorded = "identity: 1f\nrecipe:\n  task: 3-class\n  epochs: 80\nversions:\n  torch: 2.6\n"
    assert how_to_reproduce(recorded)[0] == "task: 3-class\nepochs: 80\n"
    assert how_to_reproduce("task: 3-class\n")[0] == "task: 3-class\n"


def test_command_quotes_the_dataset_and_survives_any_recipe():
    assert "--dataset 'my pairs; rm x' " in how_to_reproduce("dataset: 'my pairs; rm x'")[1]
    for recipe in (None, "", "- a list", "{broken", "dataset: 3", "recipe: 3"):
        settings, command = how_to_reproduce(recipe)
        assert settings == (recipe or "")
        assert "--dataset PAIRS " in command


def run_script_with(monkeypatch, *arguments):
    monkeypatch.setattr(sys, "argv", [str(SCRIPT), *map(str, arguments)])
    runpy.run_path(str(SCRIPT), run_name="__main__")


def test_script_rewrites_scores_and_report_and_prints_the_table(tmp_path, monkeypatch, capsys):
    write_run(tmp_path)
    (tmp_path / "metrics.json").write_text("stale", encoding="utf-8")
    run_script_with(monkeypatch, "--run", tmp_path)
    assert json.loads((tmp_path / "metrics.json").read_text())["num_clips"] == 18
    assert (tmp_path / "report.html").is_file()
    assert "3-class, 18 clips, 6 subjects, LOSO, last step" in capsys.readouterr().out


def test_script_ends_a_mistake_in_one_line(tmp_path, monkeypatch, capsys):
    with pytest.raises(SystemExit) as end:
        run_script_with(monkeypatch, "--run", tmp_path)
    assert end.value.code == 2
    error = capsys.readouterr().err
    assert error.startswith("error: ")
    assert error.count("\n") == 1
