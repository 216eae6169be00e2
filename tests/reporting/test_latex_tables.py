"""LaTeX tables: the paper's numbers as it prints them, ours below, everything escaped."""

from __future__ import annotations

import re

import pytest

from hcp_mer.errors import UserError
from hcp_mer.reporting.latex import escaped, render_latex, write_latex
from hcp_mer.reporting.published import TABLE_1, TABLE_2, TABLE_3, TABLES

OURS = "HCP\\_MER (ours, honest LOSO, last step)"


def metrics(dataset="casme2", task="3-class", **changes):
    """What a run scored: UF1 0.7, its interval, a peer and two controls."""
    scores = {"accuracy": 0.8, "uf1": 0.7, "uar": 0.75}
    low = {"accuracy": 0.5, "uf1": 0.25, "uar": 0.3333}
    spread = {key: [0.612, 0.788] for key in scores}
    names = ("flow_svm", "permuted_action_units", "chance")
    return {
        "task": task,
        "per_dataset": {dataset: scores},
        "num_clips": 145,
        "seeds": [0],
        "metrics": scores,
        "interval_95": spread,
        "baselines": dict.fromkeys(names, low),
        "baseline_interval_95": dict.fromkeys(names, spread),
        **changes,
    }


def row(text, start):
    """Cells of the one row that starts so."""
    (line,) = [line for line in text.splitlines() if line.startswith(start)]
    return line.removesuffix(r" \\").split(" & ")


def method(name):
    """Rows of that method in the three tables, for the tables that have it."""
    return [table.rows[key] for table in TABLES for key in table.rows if key.startswith(name)]


def test_published_numbers_are_those_of_the_paper():
    assert method("SLSTT") == [((0.7240, 0.7070), (0.9010, 0.8850), (0.7150, 0.6420))]
    assert method("Micro-BERT")[0] == ((None, None), (0.9034, 0.8914), (None, None))
    assert method("HTNet") == [
        ((0.8049, 0.7905), (0.9532, 0.9516), (0.8131, 0.8124)),
        ((0.5767, 0.5415),),
    ]
    assert method("ATM-GCN") == [((0.5423, 0.5330), (0.4308, 0.4283))]
    assert method("MER-CLIP")[2] == ((0.6544, 0.6242), (0.4997, 0.5014))
    assert method("HCP_MER") == [
        ((0.8032, 0.8146), (0.9547, 0.9560), (0.8426, 0.8593)),
        ((0.8052, 0.8012),),
        ((0.7168, 0.6996), (0.5955, 0.6047)),
    ]
    assert [len(table.rows) for table in TABLES] == [15, 8, 6]


def test_every_published_row_has_a_score_for_each_column_and_every_note_a_row():
    for table in TABLES:
        assert {len(scores) for scores in table.rows.values()} == {len(table.columns)}
        assert {name for name, _ in table.notes} <= set(table.rows)
    assert (
        TABLE_1.rows["Bi-WOOF (Davison et al., 2018)"] == TABLE_1.rows["ICE-GAN (Yu et al., 2021)"]
    )
    # the claimed gain over MER-CLIP, 10.33 points, fits the 0.6047 of Table 3
    ours, clip = (
        TABLE_3.rows[n][1][1]
        for n in ("HCP_MER (the paper's “Ours”)", "MER-CLIP (Liu et al., 2025b)")
    )
    assert ours - clip == pytest.approx(0.1033)


def test_a_run_stands_in_the_column_of_its_corpus_below_the_papers_rows():
    text = render_latex({"runs/a": metrics()})
    assert text.count(r"\begin{tabular}{l") == 1  # no table that no run is in
    printed = row(text, "HTNet")
    assert printed[1:] == ["0.8049", "0.7905", "0.9532", "0.9516", "0.8131", "0.8124"]
    ours = row(text, OURS)
    assert [bool(re.search(r"0\.700.*\[0\.612, 0\.788\]", cell)) for cell in ours[1:]] == [
        *(False, False, True, False, False, False)
    ]
    assert ours[1] == ours[5] == "--"
    assert text.index("As printed in the paper (not measured here)") < text.index("LBP-TOP")
    assert text.index("Ours") < text.index(OURS) < text.index("Controls")


def test_controls_stand_apart_from_peers_and_say_what_is_left():
    text = render_latex({"a": metrics()})
    order = ["flow svm", "Controls", "the action units of other classes", "shuffled labels"]
    assert sorted(order, key=text.index) == order


def test_the_papers_known_errors_and_other_numbers_of_clips_are_noted():
    text = render_latex({"a": metrics(), "b": metrics("casme3", "7-class", num_clips=860)})
    assert row(text, "Bi-WOOF")[0].endswith(r"\textsuperscript{a}")
    assert row(text, "ICE-GAN")[0].endswith(r"\textsuperscript{a}")
    assert "identical in the paper" in text
    assert row(text.split("Table 3")[0], "MER-CLIP")[0].endswith(r"\textsuperscript{b}")
    assert r"0.6047\textsuperscript{a}" in text
    assert "0.6247" in text
    assert "CASME II: 145 clips were measured here, 147 are in the paper." in text
    assert "7-class: 860 clips were measured here, 862 are in the paper." in text


def test_runs_without_a_column_get_a_table_without_the_papers_rows():
    cross = metrics("samm", protocol="cross_corpus", trained_on=["casme2"])
    text = render_latex({"demo": metrics("procedural"), "cross": cross})
    assert "LBP-TOP" not in text
    assert "procedural, 3-class, synthetic" in text
    assert r"casme2 $\rightarrow$ samm" in text
    assert "say nothing about people" in text
    assert "honest LOSO" not in text  # one column is none


def test_a_partial_run_says_so_in_its_heading():
    text = render_latex({"a": metrics(partial={"num_finished": 3, "num_folds": 24, "missing": []})})
    assert "CASME II, PARTIAL (3 of 24 folds)" in text


def test_two_runs_for_one_column_are_refused():
    with pytest.raises(UserError, match="runs/a and runs/b are both runs of casme2, 3-class"):
        render_latex({"runs/a": metrics(), "runs/b": metrics()})


def test_every_special_sign_is_escaped():
    assert escaped("a_b & 50% #1 {x} $y$ \\z ~ ^ CAS(ME)³") == (
        r"a\_b \& 50\% \#1 \{x\} \$y\$ \textbackslash{}z \textasciitilde{} \textasciicircum{} "
        r"CAS(ME)\textsuperscript{3}"
    )
    text = render_latex({"a": metrics("my_corpus & more")})
    assert r"my\_corpus \& more" in text
    # in a row, what is no command is text: no bare special sign but the separators
    assert not re.search(r"(?<!\\)[_#$%^~]", text.split(r"\begin{tabular}", 1)[1].replace("&", ""))


def test_braces_and_environments_close(tmp_path):
    write_latex({"a": metrics(), "b": metrics("casme3"), "c": metrics("mine")}, tmp_path / "t.tex")
    text = (tmp_path / "t.tex").read_text(encoding="utf-8")
    assert text.count("{") == text.count("}")
    assert re.findall(r"\\begin{(.*?)}", text).count("table*") == 3
    assert sorted(re.findall(r"\\begin{(.*?)}", text)) == sorted(re.findall(r"\\end{(.*?)}", text))
    widths = [2 * len(table.columns) for table in (TABLE_1, TABLE_2)]
    assert [len(spec) for spec in re.findall(r"\\begin{tabular}{l(c+)}", text)] == [*widths, 2]


def test_a_file_without_a_folder_is_refused(tmp_path):
    with pytest.raises(UserError, match="give a file in a folder that exists"):
        write_latex({"a": metrics()}, tmp_path / "none" / "t.tex")
