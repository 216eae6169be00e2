"""Tables beside the paper's from hand-made metrics; the paper's numbers are typed here again."""

import csv
import json

import pytest

from hcp_mer.reporting.published import TABLES
from hcp_mer.reproduction.tables import beside_the_paper, completeness, rows_of, write_tables


def metrics(dataset, task, num_clips, uf1=0.5, leak=True, **baselines):
    """What `tables` reads of a metrics.json; every interval is [0.4, 0.6]."""
    interval = {"uf1": [0.4, 0.6], "uar": [0.4, 0.6], "accuracy": [0.4, 0.6]}
    scores = {"uf1": uf1, "uar": 0.45, "accuracy": 0.55}
    leaky = {"leaky_best_epoch_uf1": 0.7, "leaky_best_epoch_uar": 0.65, "num_epochs": 300}
    leaky |= {"guessing_uf1": {"chosen": 0.6, "not_chosen": 0.33}}
    return {
        "task": task,
        "classes": ["negative", "positive", "surprise"],
        "num_clips": num_clips,
        "num_subjects": 26,
        "seeds": [0],
        "metrics": scores,
        "interval_95": interval,
        "per_dataset": dict.fromkeys(dataset.split("+"), scores),
        "baselines": {name: {**scores, "uf1": value} for name, value in baselines.items()},
        "baseline_interval_95": dict.fromkeys(baselines, interval),
        **({"leak": leaky} if leak else {}),
    }


RUNS = {
    "casme2-3class": metrics("casme2", "3-class", 147, chance=0.3, majority=0.25),
    "samm-3class": metrics("samm", "3-class", 100, leak=False),
    "megc2019-3class": metrics("casme2+samm+smic", "3-class", 442),
    "casme3-7class": metrics("casme3", "7-class", 862),
}


def test_the_paper_stands_beside_what_was_measured():
    rows = {row["run"]: row for row in beside_the_paper(RUNS)}
    assert list(rows) == list(RUNS)
    casme2 = rows["casme2-3class"]
    assert (casme2["paper_uf1"], casme2["paper_uar"]) == (0.9547, 0.9560)
    assert (casme2["uf1"], casme2["uf1_interval_95"]) == (0.5, [0.4, 0.6])
    assert (casme2["leaky_best_epoch_uf1"], casme2["leaky_best_epoch_uar"]) == (0.7, 0.65)
    assert (casme2["guessing_last_uf1"], casme2["leaky_guessing_uf1"]) == (0.33, 0.6)
    assert casme2["chance_uf1"] == 0.3
    assert (rows["casme3-7class"]["paper_uf1"], rows["casme3-7class"]["paper_uar"]) == (
        *(0.5955, 0.6047),
    )
    composite = rows["megc2019-3class"]  # not in the paper
    assert composite["paper_uf1"] is composite["paper_num_clips"] is None
    assert rows["samm-3class"]["leaky_best_epoch_uf1"] is None


def test_rows_are_the_papers_then_ours_then_the_diagnostic_then_peers_and_controls():
    rows = rows_of(TABLES[0], RUNS)
    assert [row.source for row in rows] == ["paper"] * 15 + ["here", "leaky", "peer", "control"]
    ours, leaky, peer, control = rows[15:]
    assert ours.cells == (("", ""), *[("0.500 [0.40, 0.60]", "0.450 [0.40, 0.60]")] * 2)
    assert leaky.cells == (("", ""), ("0.700", "0.650"), ("", ""))
    assert "not a result" in leaky.method
    assert (peer.method, peer.cells[1][0]) == ("majority", "0.250 [0.40, 0.60]")
    assert control.method == "shuffled labels"
    assert {row.source for row in rows_of(TABLES[1], RUNS)} == {"paper"}  # nothing measured


def test_a_table_is_complete_only_on_the_papers_clips():
    lacks = dict(completeness(RUNS | {"smic-3class": metrics("smic", "3-class", 164)}))
    (first, second, third) = lacks.values()
    assert first == ["SAMM on 100 clips, the paper's are 133"]
    assert second == ["CAS(ME)³ not measured"]
    assert third == ["4-class not measured"]
    whole = {
        **{"casme3-3class": metrics("casme3", "3-class", 701)},
        **{"casme3-4class": metrics("casme3", "4-class", 862), **RUNS},
    }
    assert list(dict(completeness(whole)).values())[1:] == [[], []]


def test_the_files_say_the_same(tmp_path):
    write_tables(RUNS, tmp_path / "tables")
    with (tmp_path / "tables" / "table_1.csv").open() as file:
        lines = list(csv.reader(file))
    assert lines[0] == [
        *("method", "source", "SMIC UF1", "SMIC UAR", "CASME II UF1", "CASME II UAR"),
        *("SAMM UF1", "SAMM UAR"),
    ]
    assert lines[15][2:6] == ["0.8032", "0.8146", "0.9547", "0.9560"]  # the paper's own row
    assert lines[17][:2] == ["leaky_best_epoch (a diagnostic, not a result)", "leaky"]
    rows = json.loads((tmp_path / "tables" / "beside_the_paper.json").read_text())
    assert rows == beside_the_paper(RUNS)
    assert "booktabs" in (tmp_path / "tables" / "tables.tex").read_text()


def test_without_any_run_the_papers_rows_are_all_there_is(tmp_path):
    write_tables({}, tmp_path)
    assert len((tmp_path / "table_2.csv").read_text().splitlines()) == 9
    assert json.loads((tmp_path / "beside_the_paper.json").read_text()) == []
    assert not (tmp_path / "tables.tex").exists()


@pytest.mark.parametrize("table", TABLES, ids=lambda table: f"table {table.number}")
def test_every_column_of_the_paper_has_a_recipe(table):
    from hcp_mer.reproduction.settings import RUNS as NAMES
    from hcp_mer.reproduction.tables import run_of_column

    assert all(run_of_column(column) in NAMES for column in table.columns)
