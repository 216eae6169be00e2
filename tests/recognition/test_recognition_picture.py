"""Pictures of hand-made answers: what stands in them, and that nothing overlaps or is missing."""

import errno
import itertools
import sys
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from matplotlib.text import Text
from PIL import Image

from hcp_mer.data.synthetic import make_identity, render_face
from hcp_mer.data.synthetic.faces import NEUTRAL
from hcp_mer.errors import UserError
from hcp_mer.model.flow_image_hcp_mer import flow_to_image
from hcp_mer.recognition.answer import NO_EXPRESSION, UNSURE, Course, Recognition, Views
from hcp_mer.recognition.panels import decoded_flow, half_mask
from hcp_mer.recognition.picture import NOTICE, draw, save_picture

SIDE = 48
FACE = np.rint(255 * render_face(make_identity(3), NEUTRAL, SIDE)).astype(np.uint8)
REASON = "The face moved by up to 0.42 px, 5 times the clip's own noise; surprise is the likeliest."
SCORES = [
    {"label": "surprise", "score": 0.71},
    {"label": "negative", "score": 0.25},
    {"label": "positive", "score": 0.04},
]


def moving_up():
    """(H, W, 2) px: a blob in the upper left quarter goes up by 1 px, all else rests."""
    y, x = np.mgrid[0:SIDE, 0:SIDE]
    flow_px = np.zeros((SIDE, SIDE, 2), np.float32)
    flow_px[..., 1] = -np.exp(-((x - 12.0) ** 2 + (y - 12.0) ** 2) / 50)
    return flow_px


def looking(x, y):
    columns, rows = np.meshgrid(np.arange(SIDE), np.arange(SIDE))
    return np.exp(-((columns - x) ** 2 + (rows - y) ** 2) / 60.0)


FLOW = flow_to_image(moving_up(), 0.25)[0]
ATTENTION = {"holistic": looking(30, 30), "componential": looking(12, 12)}
PLAIN = Views(FACE, FLOW, FACE, FACE)
VIEWS = {
    "none": None,
    "frames": PLAIN,
    "attention": replace(PLAIN, attention=ATTENTION),
    "ready-made": Views(FACE, FLOW),
    "componential alone": Views(
        None, FLOW, FACE, FACE, {"componential": ATTENTION["componential"]}
    ),
    "holistic alone": Views(FACE, None, attention={"holistic": ATTENTION["holistic"]}),
    "flow alone": Views(None, FLOW),
}
UNITS = [("AU1", "inner brow raiser", 0.3), ("AU2", "outer brow raiser", 0.1)]
EXPLANATIONS = {
    "none": None,
    "full": {
        "gate": {"holistic": 0.44, "componential": 0.63},
        "holistic": [{"label": "negative", "score": 0.51}],
        "componential": SCORES,
        "action_units": [
            {"action_unit": unit, "name": name, "similarity": value} for unit, name, value in UNITS
        ],
    },
    "zero-shot": {
        "scores": SCORES,
        "action_units": [
            {"action_unit": unit, "name": name, "log_odds": value - 0.2}
            for unit, name, value in UNITS
        ],
    },
    "one branch": {"gate": None, "holistic": SCORES, "componential": None, "action_units": None},
}
COURSE = Course(
    numbers=list(range(46, 58)),
    times_s=[0.005 * index for index in range(12)],
    energies_px=np.array([0, 0.02, 0.1, 0.2, 0.31, 0.4, 0.42, 0.35, 0.2, 0.1, 0.05, 0.04]),
    noise_px=0.08,
    onset=1,
    apex=6,
    offset=10,
)
FULL = Recognition(
    "EP03_02f.avi", "surprise", REASON, SCORES, EXPLANATIONS["full"], COURSE, VIEWS["attention"]
)


def texts(figure):
    """All Text in a figure, without labels of ticks beyond an axis, which are never drawn."""
    beyond = [
        tick.label1
        for axes in figure.axes
        for axis in (axes.xaxis, axes.yaxis)
        for tick in axis.get_major_ticks()
        if not min(axis.get_view_interval()) <= tick.get_loc() <= max(axis.get_view_interval())
    ]
    found = figure.findobj(lambda artist: isinstance(artist, Text) and artist.get_visible())
    return [text for text in found if text.get_text() and text not in beyond]


def words(figure):
    """All that stands in a figure, with single spaces."""
    return " ".join(" ".join(text.get_text() for text in texts(figure)).split())


def panels(figure):
    """Boxes (x0, y0, x1, y1) of the axes, in shares of the figure."""
    return [axes.get_position().extents for axes in figure.axes]


def crossing(boxes):
    """Pairs of boxes that share more than a hundredth of their unit."""
    return [
        (one, other)
        for one, other in itertools.combinations(boxes, 2)
        if (np.minimum(one[2:], other[2:]) - np.maximum(one[:2], other[:2]) > 0.01).all()
    ]


CASES = [
    *itertools.product(VIEWS, ["none", "full"], (COURSE, None), (SCORES,)),
    *itertools.product(
        ["none", "ready-made", "componential alone"], EXPLANATIONS, (COURSE, None), ([],)
    ),
]


@pytest.mark.slow
def test_whatever_is_absent_the_rest_is_drawn_in_its_own_place():
    for views, explanation, course, scores in CASES:
        answer = "surprise" if scores else NO_EXPRESSION
        explained = EXPLANATIONS[explanation]
        figure = draw(Recognition("a.avi", answer, REASON, scores, explained, course, VIEWS[views]))
        seen = words(figure)
        assert REASON in seen
        assert NOTICE in seen
        assert answer in seen
        assert ("apex 30 ms, frame 52" in seen) == (course is not None)
        assert ("negative 25 %" in seen) == bool(scores)
        assert ("gate: weight of each branch" in seen) == (explanation == "full")
        assert ("nearest action units" in seen) == (explanation in ("full", "zero-shot"))
        boxes = panels(figure)
        assert not crossing(boxes)
        assert all((box >= 0).all() and (box <= 1).all() for box in boxes)


@pytest.mark.parametrize("views", VIEWS)
def test_no_words_overlap(views):
    figure = draw(replace(FULL, views=VIEWS[views]))
    figure.canvas.draw()
    boxes = [text.get_window_extent().extents for text in texts(figure)]
    assert not crossing(boxes)
    width_px, height_px = figure.canvas.get_width_height()
    assert all((box[:2] >= 0).all() and box[2] <= width_px and box[3] <= height_px for box in boxes)


def test_a_full_picture_says_all_that_is_known():
    seen = words(draw(FULL))
    for label in ("EP03_02f.avi", "surprise", "negative 25 %", "positive 4 %", "noise", "time, ms"):
        assert label in seen
    assert "onset 5 ms, frame 47" in seen
    assert "offset 50 ms, frame 56" in seen
    assert "holistic: negative 51 % 0.44" in seen
    assert "componential: surprise 71 % 0.63" in seen
    assert "AU1 inner brow raiser 0.30" in seen


def test_log_odds_are_told_from_similarities():
    seen = words(draw(replace(FULL, explanation=EXPLANATIONS["zero-shot"])))
    assert "nearest action units (log-odds, nats)" in seen
    assert "AU2 outer brow raiser −0.10" in seen


def test_without_times_frames_are_counted():
    seen = words(draw(replace(FULL, course=replace(COURSE, times_s=None))))
    assert "apex frame 52" in seen
    assert "ms" not in seen.split()


def test_long_films_are_told_in_seconds():
    times_s = [3.0 * index for index in range(12)]
    assert "apex 18.00 s, frame 52" in words(
        draw(replace(FULL, course=replace(COURSE, times_s=times_s)))
    )


def bold(figure):
    return [text.get_text() for text in texts(figure) if text.get_weight() == "bold"]


def test_the_answer_stands_out_among_the_scores():
    assert sorted(bold(draw(FULL))) == ["71 %", "surprise", "surprise"]


def test_unsure_is_said_and_no_score_stands_out():
    figure = draw(replace(FULL, answer=UNSURE))
    assert bold(figure) == ["unsure"]
    assert "scores: unsure" in words(figure)


def test_no_micro_expression_is_said():
    still = Recognition("a.avi", NO_EXPRESSION, "Nothing moved.", [], course=COURSE)
    assert bold(draw(still)) == ["no micro-expression"]


def test_of_many_classes_the_likeliest_are_shown_and_the_others_counted():
    scores = [{"label": f"class {index:02}", "score": index / 190} for index in range(20)]
    seen = words(draw(replace(FULL, scores=scores)))
    assert "the first 8 of 20" in seen
    assert "class 12" in seen
    assert "class 11" not in seen


@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize(
    "name", ["$x^2_{$ & 'quoted' \"name\".avi", "视频 07 \U0001f937.mp4", "long " * 80, "a\nb\tc"]
)
def test_any_name_is_words_and_fits(name):
    figure = draw(replace(FULL, name=name, answer="$\\frac$ 惊讶", reason=f"{name}: {REASON}"))
    figure.canvas.draw()
    width_px = figure.canvas.get_width_height()[0]
    assert all(text.get_window_extent().x1 <= width_px for text in texts(figure))


@pytest.mark.parametrize("width_px", [1200, 1801])
def test_a_picture_has_the_width_that_was_asked_for(tmp_path, width_px):
    path = tmp_path / "an 'answer' of 1.5 s.png"
    save_picture(FULL, path, width_px)
    assert list(tmp_path.iterdir()) == [path]
    with Image.open(path) as picture:
        picture.load()
        assert picture.format == "PNG"
        assert picture.width == width_px
        assert 0.5 < picture.height / width_px < 1.5


def test_the_faces_are_shown_as_they_are(tmp_path):
    """At a multiple of their size, the middle of the onset's panel has the face's own colours."""
    figure = draw(FULL)
    figure.canvas.draw()
    x0, y0, x1, y1 = (figure.axes[0].get_window_extent().extents).round().astype(int)
    pixels = np.asarray(figure.canvas.buffer_rgba())[::-1][y0:y1, x0:x1, :3][::-1]
    small = np.asarray(Image.fromarray(pixels).resize((SIDE, SIDE), Image.Resampling.BOX), int)
    assert np.abs(small - FACE).mean() < 4


@pytest.mark.slow
def test_pictures_can_be_drawn_side_by_side_in_threads(tmp_path):
    paths = [tmp_path / f"{index}.png" for index in range(4)]
    with ThreadPoolExecutor(4) as pool:
        list(pool.map(lambda path: save_picture(FULL, path, 600), paths))
    assert len({path.read_bytes() for path in paths}) == 1


def test_a_full_disk_is_said_in_a_line_and_leaves_nothing(tmp_path, monkeypatch):
    path = tmp_path / "answer.png"

    def full(self, content):
        with self.open("wb") as file:
            file.write(content[:100])
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(Path, "write_bytes", full)
    with pytest.raises(UserError, match=r"answer\.png cannot be written \(No space") as caught:
        save_picture(FULL, path, 600)
    assert "\n" not in str(caught.value)
    assert str(tmp_path) not in str(caught.value)
    assert not list(tmp_path.iterdir())


def test_without_matplotlib_the_extra_is_named(monkeypatch):
    monkeypatch.setitem(sys.modules, "matplotlib.figure", None)
    with pytest.raises(UserError, match=r'pip install "hcp_mer\[report\]"'):
        draw(FULL)


def test_a_flow_image_gives_back_its_directions():
    flow = decoded_flow(FLOW)
    np.testing.assert_allclose(flow[12, 12], (0, -1), atol=0.01)
    np.testing.assert_allclose(flow[40, 40], (0, 0), atol=0.01)


@pytest.mark.parametrize("encoding", ["hsv", "white"])
def test_a_colour_wheel_is_shown_as_it_is(encoding):
    flow_image = np.full_like(FLOW, 255)
    if encoding == "hsv":
        flow_image = flow_to_image(moving_up(), 0.25, "hsv")[0]
    assert decoded_flow(flow_image) is None
    seen = words(draw(replace(FULL, views=replace(PLAIN, flow=flow_image))))
    assert "the flow image, as the model reads it" in seen


def test_half_of_the_attention_is_in_the_fewest_places():
    np.testing.assert_array_equal(
        half_mask(np.array([[1.0, 2], [3, 4]])), [[False, False], [True, True]]
    )
    np.testing.assert_array_equal(half_mask(np.array([[0.0, 9], [3, 4]])), [[0, 1], [0, 0]])


def test_attention_to_nothing_is_said():
    views = replace(PLAIN, attention={"holistic": np.zeros((7, 7))})
    assert "nothing in particular" in words(draw(replace(FULL, views=views)))


def test_attention_that_is_no_number_is_refused():
    views = replace(PLAIN, attention={"holistic": np.full((7, 7), np.nan)})
    with pytest.raises(ValueError, match="attention must be finite"):
        draw(replace(FULL, views=views))
