"""make_figures reads result files alone, and says which command makes what is missing."""

import json
import runpy
import shutil
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from hcp_mer.data.pairs import load_pairs
from hcp_mer.errors import UserError
from hcp_mer.reporting.attention_rows import attention_rows
from hcp_mer.reporting.figures import LIGHT
from hcp_mer.reporting.run_figures import FIGURES, draw_figure
from hcp_mer.reporting.scores import write_metrics
from tests.foreign_pairs import CLASSES, write_foreign_pairs

SCRIPT = Path(__file__).parents[2] / "scripts" / "make_figures.py"
CLIP = ["dataset", "subject", "clip_id", "label"]


@pytest.fixture(scope="module")
def pairs(tmp_path_factory):
    folder = tmp_path_factory.mktemp("figures") / "pairs"
    write_foreign_pairs(folder, ("006", "007"), clips_per_class=2, size=24)
    return folder


def write_run(folder, pairs, dataset="pairs"):
    """A finished run of those pairs that recognises all clips but the first, positive ones best."""
    (folder / "ablations").mkdir(parents=True)
    (folder / "baselines").mkdir()
    own = load_pairs(pairs)
    table = pd.DataFrame({name: own.column(name) for name in ("subject", "clip_id")})
    table = table.assign(dataset=dataset, label=own.column("emotion"), seed=0)
    answers = table.assign(prediction=table["label"], gate_holistic=0.2, gate_componential=0.7)
    answers.loc[0, "prediction"] = "surprise"
    for name in CLASSES:
        answers[f"prob_{name}"] = (answers["prediction"] == name) * 0.85 + 0.05
    answers.to_parquet(folder / "predictions.parquet")
    rng = np.random.default_rng(0)
    for name in ("embeddings", "ablations/without_adapter.embeddings"):
        features = list(rng.normal(size=(len(table), 6)).astype(np.float32))
        table.assign(embedding=features).to_parquet(folder / f"{name}.parquet")
    answers.to_parquet(folder / "ablations" / "without_adapter.parquet")
    losses = [{"subject": s, "epoch": e, "loss": 1 / e} for s in ("006", "007") for e in (1, 2)]
    pd.DataFrame(losses).assign(dataset=dataset, seed=0).to_parquet(
        folder / "learning_curves.parquet"
    )
    maps = [np.eye(2, dtype=np.float32).ravel() * (1 + index) for index in range(len(table))]
    table[CLIP].assign(holistic=maps, componential=None).to_parquet(folder / "attention.parquet")
    epochs = [answers.assign(epoch=epoch, fold=answers["subject"]) for epoch in (1, 2)]
    pd.concat(epochs).to_parquet(folder / "leaky_epochs.parquet")
    units = {"label": "negative", "num_clips": 2, "num_combinations": 1, "action_units": {"4": 2}}
    mapping = {"num_folds": 2, "classes": [{**units, "sets": [], "num_folds_counted": 0}]}
    (folder / "cross_mapping.json").write_text(json.dumps(mapping))
    (folder / "task.json").write_text(json.dumps({"task": "3-class", "classes": CLASSES}))
    (folder / "recipe.yaml").write_text(f"dataset: {pairs}\n")
    write_metrics(folder)
    return folder


@pytest.fixture(scope="module")
def run(tmp_path_factory, pairs):
    return write_run(tmp_path_factory.mktemp("figures-of") / "run", pairs)


@pytest.fixture
def make_figures(monkeypatch, capsys):
    """make_figures(*arguments) → (exit code, what was printed, what was complained about)."""

    def make(*arguments):
        monkeypatch.setattr(sys, "argv", ["make_figures.py", *map(str, arguments)])
        code = 0
        try:
            runpy.run_path(str(SCRIPT), run_name="__main__")
        except SystemExit as ended:
            code = ended.code
        return code, *capsys.readouterr()

    return make


def no_pairs(run):
    raise AssertionError("only attention needs the pairs")


@pytest.mark.slow
def test_every_figure_that_the_files_allow_is_drawn_and_the_rest_named(make_figures, run, tmp_path):
    shutil.copytree(run, tmp_path / "run")
    (tmp_path / "run" / "learning_curves.parquet").unlink()
    folder = tmp_path / "all"
    code, printed, _ = make_figures("all", "--run", tmp_path / "run", "--output_dir", folder)
    assert code == 0
    left_out = [line for line in printed.splitlines() if "left out" in line]
    assert len(left_out) == 1
    assert left_out[0].startswith("learning_curves left out")
    assert {path.stem for path in folder.iterdir()} == set(FIGURES) - {"learning_curves"}
    for path in folder.iterdir():
        with Image.open(path) as picture:
            assert min(picture.size) > 150
            assert len(picture.convert("L").getcolors(256)) > 3  # something is drawn


@pytest.mark.parametrize(("name", "begins"), [("a.pdf", b"%PDF"), ("b.svg", b"<?xml")])
def test_the_ending_says_the_format(make_figures, run, tmp_path, name, begins):
    path = tmp_path / "new" / name
    assert make_figures("gates", "--run", run, "--output", path)[0] == 0
    assert path.read_bytes().startswith(begins)


@pytest.mark.parametrize(
    ("figure", "file", "mend"),
    [
        ("attention", "attention.parquet", "scripts/write_attention.py --run"),
        ("tsne", "embeddings.parquet", "scripts/train_loso.py"),
        ("learning_curves", "learning_curves.parquet", "scripts/train_loso.py"),
        ("leak", "leaky_epochs.parquet", "--measure_leak"),
        ("confusion", "metrics.json", "scripts/make_report.py"),
        ("gates", "predictions.parquet", "scripts/train_loso.py"),
        ("bipartite", "cross_mapping.json", "action_units"),
        ("ablation", "ablations/without_adapter.parquet", "scripts/run_ablations.py"),
    ],
)
def test_a_missing_file_is_named_with_what_makes_it(
    make_figures, run, tmp_path, figure, file, mend
):
    shutil.copytree(run, tmp_path / "run")
    (tmp_path / "run" / file).unlink()
    if figure == "ablation":
        (tmp_path / "run" / "ablations" / "without_adapter.embeddings.parquet").unlink()
    output = tmp_path / "figure.png"
    code, _, error = make_figures(figure, "--run", tmp_path / "run", "--output", output)
    assert code == 2
    assert len(error.strip().splitlines()) == 1
    assert mend in error
    assert figure == "ablation" or Path(file).name in error
    assert not output.exists()


def test_a_damaged_table_is_named(make_figures, run, tmp_path):
    shutil.copytree(run, tmp_path / "run")
    for file, figure in (("embeddings.parquet", "tsne"), ("attention.parquet", "attention")):
        (tmp_path / "run" / file).write_bytes(b"PAR1 cut short")
        arguments = (figure, "--run", tmp_path / "run", "--output", tmp_path / "f.png")
        code, _, error = make_figures(*arguments)
        assert (code, file in error) == (2, True)


@pytest.mark.parametrize(
    ("arguments", "complaint"),
    [
        (["gates", "--run", "nowhere", "--output", "a.png"], "nowhere is no folder"),
        (["gates", "--run", "RUN"], "--output must be a file that ends in .png, .pdf, .svg"),
        (["gates", "--run", "RUN", "--output", "a.jpeg"], "got a.jpeg"),
        (["gates", "--run", "RUN", "--run", "RUN", "--output", "a.png"], "draws one run, got 2"),
        (["all", "--run", "RUN", "--output", "a.png"], "give --output_dir"),
    ],
)
def test_mistakes_end_in_one_line(make_figures, run, arguments, complaint):
    code, _, error = make_figures(*(str(run) if a == "RUN" else a for a in arguments))
    assert code == 2
    assert complaint in error
    assert len(error.strip().splitlines()) == 1


def test_several_runs_share_a_grid_and_only_synthetic_ones_are_marked(run, pairs, tmp_path):
    drawn = write_run(tmp_path / "procedural", pairs, dataset="procedural")
    figure = draw_figure("confusion", [run, drawn], LIGHT, no_pairs)
    titles = [axes.get_title(loc="left") for axes in figure.axes if axes.get_visible()]
    assert titles == ["pairs, 3-class", "procedural, 3-class"]
    assert "synthetic" in figure.get_supxlabel()
    assert "synthetic" not in draw_figure("confusion", [run], LIGHT, no_pairs).get_supxlabel()
    for name in set(FIGURES) - {"attention"}:
        assert "synthetic" in draw_figure(name, [drawn], LIGHT, no_pairs).get_supxlabel(), name


def test_how_far_attributions_can_be_believed_stands_below_them(run, pairs, tmp_path):
    shutil.copytree(run, tmp_path / "run")
    check = {"agreement": 0.25, "agreement_of_another_clip": -0.1, "num_clips": 9}
    (tmp_path / "run" / "attention.json").write_text(json.dumps({"holistic": check}))
    figure = draw_figure("attention", [tmp_path / "run"], LIGHT, lambda run: load_pairs(pairs))
    assert "covering patches: holistic +0.25 (another clip's -0.10)" in figure.get_supxlabel()


def test_where_the_ablations_are_there_fig_4_compares_them(run):
    figure = draw_figure("tsne", [run], LIGHT, no_pairs)
    titles = [axes.get_title(loc="left") for axes in figure.axes if axes.get_visible()]
    assert titles == ["(a) without adapter", "(c) HCP_MER"]


def test_an_ablation_folder_has_a_group_for_each_task(run, tmp_path):
    for task in ("3-class", "7-class"):
        shutil.copytree(run, tmp_path / task)
    groups = draw_figure("ablation", [tmp_path], LIGHT, no_pairs).axes
    assert len(groups) == 4  # UF1 and UAR of two tasks
    uf1 = (6 / 7 + 1 + 8 / 9) / 3  # one negative clip of four was taken for a surprise
    assert [bar.get_width() for bar in groups[0].patches] == pytest.approx([uf1, uf1])


def test_each_emotion_has_its_mean_attribution_and_its_surest_clip(run, pairs):
    own = load_pairs(pairs)
    # Attributions of other sizes: each clip counts the same.
    table = pd.read_parquet(run / "attention.parquet")
    table["holistic"] = [[9.0, 3.0, 0.0, 0.0] if i % 2 else [0.0, 0.0, 0.0, 1.0] for i in range(12)]
    folder = run.parent / "other"
    shutil.copytree(run, folder)
    table.to_parquet(folder / "attention.parquet")
    answers = pd.read_parquet(folder / "predictions.parquet")
    answers.loc[1, "prob_negative"] = 0.95
    answers.to_parquet(folder / "predictions.parquet")
    rows = attention_rows(folder, own, CLASSES)
    shutil.rmtree(folder)
    assert [(row["label"], row["num_clips"]) for row in rows] == [(name, 4) for name in CLASSES]
    assert rows[0]["holistic"] == pytest.approx(np.array([[0.375, 0.125], [0.0, 0.5]]))
    assert rows[0]["componential"] is None
    assert (rows[0]["flow"] == own.image(1, "flow")).all()  # not clip 0, which was not recognised
    assert (rows[0]["magnified"] == own.image(1, "magnified")).all()


def test_pairs_of_another_run_are_refused(run, tmp_path):
    write_foreign_pairs(tmp_path / "pairs", ("999",), clips_per_class=1, size=24)
    with pytest.raises(UserError, match="give those that the run was trained on"):
        attention_rows(run, load_pairs(tmp_path / "pairs"), CLASSES)
