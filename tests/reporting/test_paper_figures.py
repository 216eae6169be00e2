"""The paper's figures show the numbers that they were given, and refuse what shows nothing."""

import numpy as np
import pandas as pd
import pytest

from hcp_mer.errors import UserError
from hcp_mer.reporting import figures
from hcp_mer.reporting.figures import DARK, LIGHT
from hcp_mer.reporting.figures.attention import half_of
from hcp_mer.reporting.figures.theme import kind_styles

SEVEN = ["happiness", "anger", "disgust", "fear", "sadness", "surprise", "others"]


def texts_of(axes):
    return [text.get_text() for text in axes.texts]


def shown(figure):
    return [axes for axes in figure.axes if axes.get_visible()]


# Fig. 4


def test_the_silhouette_is_one_for_apart_and_negative_for_swapped_classes():
    first, second = [1.0, 0.0], [0.0, 1.0]
    assert figures.silhouette([first, first, second, second], list("aabb")) == 1
    # Each clip: 1 from its own class (cosine), on average ½ from the other: (½ − 1) / 1.
    assert figures.silhouette([first, second, first, second], list("aabb")) == -0.5
    assert figures.silhouette([first, second], list("aa")) is None


def clusters(number, gap, seed=0):
    rng = np.random.default_rng(seed)
    labels = [SEVEN[index % 7] for index in range(number)]
    centres = gap * np.eye(7, 12)
    return centres[[SEVEN.index(label) for label in labels]] + rng.normal(size=(number, 12)), labels


def test_every_clip_is_a_point_of_its_class_and_panels_share_one_setting():
    embeds, labels = clusters(30, 8)
    panels = [("(a)", embeds, labels), ("(b)", embeds, labels), ("(c)", *clusters(30, 0))]
    figure = figures.tsne_figure(panels, SEVEN)
    first, second, third = figure.axes
    for axes in (first, second, third):
        assert [len(own.get_offsets()) for own in axes.collections] == [5, 5, 4, 4, 4, 4, 4]
    for one, other in zip(first.collections, second.collections, strict=True):
        assert one.get_offsets().tolist() == other.get_offsets().tolist()
    own, noise = (float(axes.get_xlabel().split()[1][:-1].replace("−", "-")) for axes in
                  (first, third))  # fmt: skip
    assert own == pytest.approx(figures.silhouette(embeds, labels), abs=0.005)
    assert own > 0.5 > noise
    assert first.get_xlabel().endswith("30 clips")


def test_seven_classes_have_seven_markers_and_seven_colours():
    for theme in (LIGHT, DARK):
        styles = kind_styles(7, theme)
        assert len({colour for colour, _ in styles}) == len({marker for _, marker in styles}) == 7


@pytest.mark.parametrize(
    ("embeds", "labels", "complaint"),
    [
        (np.ones((3, 5)), list("abc"), "of 3 clips shows nothing"),
        (np.full((6, 5), np.nan), list("abcabc"), "not finite"),
        (np.ones((6, 5)), list("abc"), r"\(6, 5\) and 3 labels"),
    ],
)
def test_features_that_show_nothing_are_refused(embeds, labels, complaint):
    with pytest.raises(UserError, match=f"ours: .*{complaint}"):
        figures.tsne_figure([("ours", embeds, labels)], ["a", "b", "c"])


# Fig. 5


@pytest.mark.parametrize(
    ("attribution", "expected"),
    [
        ([[4, 1], [1, 2]], [[True, False], [False, False]]),  # 4 of 8
        ([[3, 1], [2, 2]], [[True, False], [True, False]]),  # of equals the first
        ([[1, 1], [1, 1]], [[True, True], [False, False]]),
        ([[0, 0], [0, 0]], [[False, False], [False, False]]),
    ],
)
def test_the_outline_holds_the_fewest_patches_with_half_of_the_attribution(attribution, expected):
    assert half_of(attribution).tolist() == expected


def attention_row(**changes):
    view = np.full((30, 30, 3), 128, np.uint8)
    row = {"label": "fear", "num_clips": 9, "magnified": view, "flow": view}
    return row | {"holistic": np.ones((3, 3)), "componential": np.eye(3)[:, [1, 0, 2]]} | changes


def test_attributions_are_drawn_where_they_lie_and_their_spread_is_written():
    narrow = np.zeros((3, 3))
    narrow[0, 2] = 5
    figure = figures.attention_figure([attention_row(componential=narrow)])
    apex, holistic, flow, componential, bar = figure.axes
    assert apex.get_ylabel() == "fear\n9 clips"
    assert holistic.get_xlabel() == "half in 5 of 9 patches"  # evenly spread
    assert componential.get_xlabel() == "half in 1 of 9 patches"
    edges = {tuple(map(tuple, edge)) for edge in componential.collections[0].get_segments()}
    assert edges == {((2, 0), (3, 0)), ((2, 1), (3, 1)), ((2, 0), (2, 1)), ((3, 0), (3, 1))}
    # The grey example, darkened where the attribution is: in the upper right, 10 of 30 px wide.
    luminance = np.asarray(componential.images[0].get_array()).mean(axis=-1)
    assert luminance[:10, 20:].max() < luminance[:, :20].min()
    assert luminance[:10, 20:].max() < luminance[10:].min()
    assert bar.get_ylim() == (0, 9)  # nine patches' share on one
    assert not apex.get_xlabel() + flow.get_xlabel()


def test_a_holistic_branch_that_saw_the_flow_is_drawn_on_the_flow():
    row = attention_row(holistic_view="flow")
    figure = figures.attention_figure([row])
    titles = [axes.get_title() for axes in figure.axes]
    assert titles.count("optical flow") == 2
    assert "magnified apex" not in titles


def test_a_branch_that_is_off_has_no_panels_and_an_empty_map_no_outline():
    figure = figures.attention_figure([attention_row(holistic=None, componential=np.zeros((3, 3)))])
    flow, componential, _ = figure.axes
    assert flow.get_title() == "optical flow"
    assert componential.get_xlabel() == "nothing"
    assert not componential.collections


@pytest.mark.parametrize(
    ("rows", "complaint"),
    [
        ([], "no attribution"),
        ([attention_row(holistic=np.ones((2, 3)))], r"holistic of fear must be \(side, side\)"),
        ([attention_row(componential=-np.ones((3, 3)))], "componential of fear"),
        ([attention_row(componential=np.full((3, 3), np.nan))], "componential of fear"),
    ],
)
def test_attributions_that_cannot_be_drawn_are_named(rows, complaint):
    with pytest.raises(UserError, match=complaint):
        figures.attention_figure(rows)


# Fig. 6


def test_both_directions_are_marked_with_lines_as_wide_as_their_shares():
    counts = [[3, 0, 1, 1], [1, 2, 0, 0]]  # AU4 stands in both classes; "neg" shows three units
    figure = figures.bipartite_figure(counts, [4, 2], ["neg", "pos"], [4, 12, 14, 15])
    many_to_one, one_to_many = figure.axes
    assert many_to_one.get_title(loc="left") == "(a) many to one: AU4 in 2 of 2 classes"
    assert one_to_many.get_title(loc="left") == "(b) one to many: neg in 3 action units"

    def marked(axes):
        return [line.get_linewidth() for line in axes.lines if line.get_color() == LIGHT.model]

    assert len(many_to_one.lines) == len(one_to_many.lines) == 5
    wide, narrow = marked(many_to_one)  # 75 % of neg, 50 % of pos
    assert wide / narrow == pytest.approx(1.5)
    assert marked(one_to_many) == pytest.approx([wide, wide / 3, wide / 3])
    assert [text for text in texts_of(many_to_one) if "%" in text] == ["75%", "50%"]
    assert [text for text in texts_of(one_to_many) if "%" in text] == ["75%", "25%", "25%"]
    bold = {t.get_text() for t in one_to_many.texts if t.get_weight() == "bold"}
    assert bold == {"neg (4)", "AU4", "AU14", "AU15"}


def test_clips_without_action_units_have_no_mapping():
    with pytest.raises(UserError, match="action_units"):
        figures.bipartite_figure([[0, 0]], [0], ["neg"], [4, 12])


# Fig. 9


def test_each_task_has_its_own_matrix_and_its_own_classes():
    two, seven = np.eye(2) * 4, np.eye(7) * 2
    panels = [("smic", two, ["a", "b"]), ("casme3", seven, SEVEN)] * 2
    figure = figures.confusion_grid_figure(panels)
    assert [axes.get_title(loc="left") for axes in shown(figure)] == ["smic", "casme3"] * 2
    assert len(figure.axes) == 6  # two rows of three, two of them empty
    first, second = shown(figure)[:2]
    assert texts_of(first) == ["4\n100%", "0\n0%", "0\n0%", "4\n100%"]
    assert [label.get_text() for label in second.get_yticklabels()] == SEVEN


# Gates, learning curves


def gates(**changes):
    content = {
        "label": ["a", "a", "a", "b"],
        "gate_holistic": [0.1, 0.2, 0.6, 0.5],
        "gate_componential": [0.9, 0.9, 0.7, 1.2],
    }
    return pd.DataFrame(content | changes)


def test_every_clip_is_a_dot_and_the_median_is_written():
    (axes,) = figures.gates_figure(gates(), ["a", "b", "c"]).axes
    assert texts_of(axes) == ["0.20", "0.50", "0.90", "1.20"]
    dots = [own.get_offsets()[:, 0].tolist() for own in axes.collections]
    assert dots == [[0.1, 0.2, 0.6], [0.5], [], [0.9, 0.9, 0.7], [1.2], []]
    assert [label.get_text() for label in axes.get_yticklabels()] == ["a (3)", "b (1)", "c (0)"]
    assert axes.get_xlim() == (0, 1.2)  # the literal reading of Eq. 4 may leave [0, 1]


def test_one_branch_has_no_gate_to_draw():
    with pytest.raises(UserError, match="no gate"):
        figures.gates_figure(gates(gate_holistic=[None] * 4), ["a", "b"])


def curves(losses, **columns):
    rows = [
        {"dataset": "d", "subject": f"s{fold}", "seed": 0, "epoch": epoch, "loss": loss}
        for fold, own in enumerate(losses)
        for epoch, loss in enumerate(own, start=1)
    ]
    return pd.DataFrame(rows).assign(**columns)


def test_folds_are_thin_and_their_median_is_thick():
    losses = [[1.0, 0.5, 0.4], [2.0, 0.7, 0.3], [3.0, 0.9]]  # one fold ends earlier
    (axes,) = figures.learning_curves_figure(curves(losses)).axes
    *thin, median = axes.lines
    assert [list(line.get_ydata()) for line in thin] == losses
    assert list(median.get_ydata()) == pytest.approx([2.0, 0.7, 0.35])
    assert median.get_linewidth() > max(line.get_linewidth() for line in thin)
    assert texts_of(axes) == [" 0.35"]
    assert axes.get_yscale() == "log"  # 3.0 is ten times 0.3
    assert "logarithmic" in axes.get_ylabel()


def test_where_most_folds_have_ended_there_is_no_median_and_small_spans_start_at_zero():
    (axes,) = figures.learning_curves_figure(curves([[2, 1, 1, 1], [2, 1], [2, 1]])).axes
    assert list(axes.lines[-1].get_xdata()) == [1, 2]
    assert (axes.get_yscale(), axes.get_ylim()[0]) == ("linear", 0)


@pytest.mark.parametrize("losses", [[], [[1.0, np.inf]], [[np.nan]]])
def test_losses_that_are_none_are_refused(losses):
    table = curves(losses) if losses else curves([[1.0]]).head(0)
    with pytest.raises(UserError, match="no rows or a loss that is not finite"):
        figures.learning_curves_figure(table)


# Fig. 3, the leak, disturbances, two runs


def scored(name, uf1, uar, interval=None):
    return name, {"uf1": uf1, "uar": uar}, {"uf1": interval, "uar": None}


def test_bars_are_the_scores_whiskers_the_intervals_and_the_full_model_is_dashed():
    rows = [scored("HCP_MER", 0.8, 0.7, [0.7, 0.9]), scored("w/o HOL", 0.6, 0.75)]
    f1, recall = figures.ablation_figure(rows, "3-class").axes
    assert [axes.get_title(loc="left") for axes in (f1, recall)] == ["3-class: UF1", "3-class: UAR"]
    assert [bar.get_width() for bar in f1.patches] == [0.8, 0.6]
    assert [bar.get_width() for bar in recall.patches] == [0.7, 0.75]
    assert texts_of(f1) == ["0.800", "0.600"]
    whisker, _, dashed = f1.lines
    assert list(whisker.get_xdata()) == [0.7, 0.9]
    assert (dashed.get_linestyle(), list(dashed.get_xdata())) == ("--", [0.8, 0.8])
    assert f1.patches[0].get_facecolor() != f1.patches[1].get_facecolor()


def test_each_task_is_a_group_of_bars():
    tasks = [("3-class", [scored("HCP_MER", 0.8, 0.7)]), ("7-class", [scored("HCP_MER", 0.6, 0.5)])]
    figure = figures.ablation_tasks_figure(tasks)
    assert [axes.patches[0].get_width() for axes in figure.axes] == [0.8, 0.7, 0.6, 0.5]
    assert figure.axes[2].get_title(loc="left") == "7-class: UF1"


def test_the_leak_is_drawn_beside_the_honest_curve_and_its_end_is_written():
    epochs = {"epoch": [2, 1], "honest": [0.5, 0.4], "leaky": [0.75, 0.4]}
    figure = figures.leak_figure(pd.DataFrame(epochs))
    leaky, honest = figure.axes[0].lines
    assert ("leaky" in leaky.get_label(), "honest" in honest.get_label()) == (True, True)
    assert list(leaky.get_ydata()) == [0.4, 0.75]

    def ends(figure):
        return [text.get_text().split()[0] for text in figure.legends[0].get_texts()]

    assert ends(figure) == ["0.750", "0.500"]
    guessing = epochs | {"guessing_chosen": [0.6, 0.3], "guessing_not_chosen": [0.2, 0.3]}
    figure = figures.leak_figure(pd.DataFrame(guessing))
    assert ends(figure) == ["0.750", "0.500", "0.600", "0.200"]
    assert len({line.get_marker() for line in figure.axes[0].lines}) == 4


def test_each_disturbance_has_a_panel_with_its_unit():
    model = {
        "noise": [(4, 0.5, 0.4, 0.6), (0, 0.8, 0.7, 0.9)],
        "crop_shift": [(0, 0.8, None, None)],
    }
    others = {"regression": {"noise": [(0, 0.6, 0.5, 0.7)]}}
    figure = figures.robustness_figure(model, {"noise": "σ"}, LIGHT, others)
    noise, shift = figure.axes
    assert (noise.get_xlabel(), shift.get_xlabel()) == ("σ", "level")
    assert shift.get_title(loc="left") == "crop shift"
    assert [list(line.get_ydata()) for line in noise.lines] == [[0.8, 0.5], [0.6]]
    assert list(noise.lines[0].get_xdata()) == [0, 4]
    assert (len(noise.collections), len(shift.collections)) == (2, 0)  # no interval, no band
    assert {line.get_label() for line in noise.lines} == {"HCP_MER", "regression"}


def test_a_difference_that_may_be_none_is_hollow():
    rows = [
        ("all", {"uf1": 0.03}, {"uf1": [0.01, 0.05]}),
        ("samm", {"uf1": -0.02}, {"uf1": [-0.06, 0.02]}),
        ("one subject", {"uf1": 0.1}, {"uf1": None}),
    ]
    (axes,) = figures.comparison_figure(rows, {"uf1": "UF1"}, ("ours", "theirs")).axes
    dots = [line for line in axes.lines if line.get_marker() == "o"]
    assert [dot.get_markerfacecolor() for dot in dots] == [LIGHT.model, LIGHT.page, LIGHT.page]
    assert texts_of(axes) == ["+0.030", "−0.020", "+0.100"]
    assert axes.get_xlabel() == "← theirs better      ours better →"
    low, high = axes.get_xlim()
    assert low == -high  # zero stands in the middle


def test_a_pdf_too_is_the_same_bytes_every_time():
    first, second = (
        figures.render(figures.confusion_figure(np.eye(2), ["a", "b"]), "pdf") for _ in range(2)
    )
    assert first == second
    assert first.startswith(b"%PDF")


def test_notes_add_up_below_a_figure():
    figure = figures.ablation_figure([scored("HCP_MER", 0.8, 0.7)])
    before = figure.get_supxlabel()
    figures.add_note(figure, "synthetic", LIGHT)
    assert figure.get_supxlabel() == f"{before}\nsynthetic"
