"""The paper's tables and figures from drawn corpora, as a user asks for them."""

import json
import re
from pathlib import Path

import pandas
import pytest

from hcp_mer.reproduction import stages
from tests.casme_on_disk import write_casme2, write_casme3
from tests.corpora_on_disk import write_samm, write_smic

WRITERS = {"casme2": write_casme2, "smic": write_smic, "samm": write_samm, "casme3": write_casme3}


@pytest.fixture(scope="module")
def written(tmp_path_factory):
    root = tmp_path_factory.mktemp("corpora")
    for name, write in WRITERS.items():
        write(root / name)
    return {name: root / name for name in WRITERS}


@pytest.fixture
def reproduce(run, written, tiny_backbone):
    """reproduce(names, output, *more) → (exit code, stdout, stderr)."""

    def reproduce(names, output, *more):
        corpora = [word for name in names for word in (f"--{name}", written[name])]
        quick = ("--backbone", tiny_backbone, "--set", "epochs=2", "--image_size", 48)
        where = ("--num_proc", 1, "--output_dir", output)
        return run("reproduce_paper.py", *corpora, *quick, *where, *more)

    return reproduce


@pytest.fixture(autouse=True)
def unreported(monkeypatch):
    """A run's own report takes longer than its training here, and no part of it is published."""

    def make_the_folder(run_folder, *args):
        (run_folder / "figures").mkdir(exist_ok=True)

    monkeypatch.setattr("hcp_mer.reporting.publish.write_report", make_the_folder)


def public_files(output):
    private = output / "private"
    return [p for p in output.rglob("*") if p.is_file() and private not in p.parents]


def test_a_plan_says_what_is_to_do_and_does_nothing(reproduce, tmp_path):
    code, printed, error = reproduce(["casme2"], tmp_path / "out", "--plan")
    assert code == 0, error[-2000:]
    assert not (tmp_path / "out").exists()
    assert "pairs/casme2" in printed
    assert "run/casme2-3class" in printed
    assert "0 of 2 stages are done" in printed
    words = " ".join(printed.split())
    assert "8 negative, 4 positive, 4 surprise, 16 in all; not the paper's table" in words
    assert "not asked for: casme3-7class, for want of CAS(ME)³" in words


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ([], "give at least one corpus: --casme2, --smic, --samm, --casme3 DIR."),
        (["--casme2", "{samm}"], "It looks like SAMM: give it as --samm"),
        (["--samm", "/nowhere"], "--samm /nowhere holds no SAMM: no folder /nowhere"),
        (["--samm", "{samm}", "--set", "epoch=3"], "Did you mean 'epochs'?"),
        (["--samm", "{samm}", "--only", "ablations"], "Fig. 3 needs casme3"),
        (["--samm", "{samm}", "--num_proc", "0"], "--num_proc must be at least 1"),
    ],
)
def test_mistakes_end_in_one_line_before_anything_is_made(run, written, tmp_path, words, message):
    words = [word.format(**written) for word in words]
    code, _, error = run("reproduce_paper.py", *words, "--output_dir", tmp_path / "out")
    assert code == 2
    assert message in error
    assert len(error.strip().splitlines()) == 1
    assert not (tmp_path / "out").exists()


@pytest.mark.slow
def test_stopped_and_resumed_it_ends_as_if_it_had_not_been(reproduce, tmp_path, monkeypatch):
    whole, stopped = tmp_path / "whole", tmp_path / "stopped"
    code, printed, error = reproduce(["casme2"], whole)
    assert code == 0, error[-2000:]
    is_done, asked = stages.is_done, []

    def stop_before_the_run(plan, stage):
        asked.append(stage.name)
        if stage.kind == "run":
            raise KeyboardInterrupt
        return is_done(plan, stage)

    with monkeypatch.context() as patch:
        patch.setattr(stages, "is_done", stop_before_the_run)
        code, _, error = reproduce(["casme2"], stopped)
    assert (code, asked) == (130, ["pairs/casme2", "run/casme2-3class"])
    assert "run the same command to go on" in error
    assert not (stopped / "README.md").exists()
    code, planned, _ = reproduce(["casme2"], stopped, "--plan")
    assert "1 of 2 stages are done" in planned
    code, again, error = reproduce(["casme2"], stopped)
    assert code == 0, error[-2000:]
    assert again.replace(str(stopped), str(whole)) == printed.replace(
        "[1/2] pairs of CASME II\n", ""
    )
    index = (stopped / "README.md").read_text()
    assert "Corpora that were not given: SMIC, SAMM, CAS(ME)³." in index
    assert (
        "SMIC not measured; CASME II on 16 clips, the paper's are 147; SAMM not measured" in index
    )
    for name in ("README.md", "tables/table_1.csv", "tables/beside_the_paper.json"):
        assert (stopped / name).read_bytes() == (whole / name).read_bytes()


@pytest.mark.slow
def test_the_papers_tables_and_figures_from_the_corpora(reproduce, written, tmp_path):
    output = tmp_path / "out"
    code, printed, error = reproduce(WRITERS, output)
    assert code == 0, error[-2000:]
    index = (output / "README.md").read_text()
    rows = json.loads((output / "tables" / "beside_the_paper.json").read_text())
    assert [row["run"] for row in rows] == [
        *("casme2-3class", "smic-3class", "samm-3class", "megc2019-3class"),
        *("casme3-3class", "casme3-4class", "casme3-7class"),
    ]
    assert all(0 <= row["leaky_best_epoch_uf1"] <= 1 for row in rows)
    # What is other than the paper's is said.
    assert "SMIC on 36 clips, the paper's are 164; CASME II on 16 clips" in index
    assert "Corpora that were not given" not in index
    assert "Trained for 2 epochs, not the paper's 300." in printed
    assert "not the paper's CLIP ViT-B/32" in index
    # All that can be published is there, without faces, features, weights and places.
    public = public_files(output)
    pictures = {path.name for path in public if path.suffix == ".png"}
    assert pictures == {
        *("fig3_ablations.png", "fig4_features.png", "fig6_cross_mapping.png"),
        "fig9_confusion.png",
    }
    assert (output / "private" / "figures" / "fig5_attention.png").is_file()
    assert "private/figures/fig5_attention.png" in index
    assert {path.suffix for path in public} == {
        *(".png", ".svg", ".md", ".json", ".parquet", ".csv", ".tex", ".yaml", ""),
    }
    assert (output / ".gitignore").read_text() == "/private/\n"
    places = [str(output.parents[0]), str(Path.home()), str(written["smic"].parent)]
    for path in public:
        assert not any(place.encode() in path.read_bytes() for place in places), path
        if path.suffix == ".parquet":
            assert not {"embedding", "magnified"} & set(pandas.read_parquet(path))
    # The same again does nothing; figures alone come from what is there.
    before = {path: path.read_bytes() for path in public if path.suffix in (".csv", ".md")}
    code, again, _ = reproduce(WRITERS, output)
    assert code == 0
    assert not re.search(r"^\[\d+/", again, re.MULTILINE)  # no stage was entered
    assert before == {path: path.read_bytes() for path in before}
