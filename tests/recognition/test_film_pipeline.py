"""From a film to an answer: what is asked, what is not, and what is said of it."""

import json
import weakref
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from hcp_mer.errors import UserError
from hcp_mer.motion.face import FaceSettings
from hcp_mer.motion.film import ArrayFilm
from hcp_mer.recognition import film_pipeline
from hcp_mer.recognition.answer import NO_EXPRESSION, UNSURE
from hcp_mer.recognition.film_pipeline import MicroExpressionPipeline, load_pipeline
from tests.recognition.acted_clips import acted_clip

ROOT = Path(__file__).parents[2]
RECIPE = ROOT / "hub_configs" / "recipes" / "embedded-3class.yaml"
CROPPED = FaceSettings("none")


@pytest.fixture(scope="module")
def pipe():
    """The embedded backbone, zero-shot."""
    return load_pipeline(RECIPE, face=CROPPED)


@pytest.fixture(scope="module")
def surprised():
    return acted_clip(2)


@pytest.fixture(scope="module")
def answered(pipe, surprised):
    return pipe.recognise(surprised.frames)


def test_a_clip_is_answered_with_its_key_frames(answered, surprised):
    assert answered.answer == surprised.label == "surprise"
    assert abs(answered.course.apex - surprised.apex) <= 2
    assert answered.course.onset < answered.course.apex <= answered.course.offset
    assert answered.scores[0]["label"] == "surprise"
    assert sum(score["score"] for score in answered.scores) == pytest.approx(1)
    assert {"read and align", "spot", "magnify and flow", "model"} <= set(answered.seconds)
    units = {unit["action_unit"] for unit in answered.explanation["action_units"]}
    assert units & {"AU1", "AU2"}


def test_the_one_line_gives_plain_values(pipe, answered, surprised):
    said = pipe(frames=surprised.frames, fps_hz=100.0)
    json.dumps(said, allow_nan=False)
    assert said["answer"] == answered.answer
    assert said["apex"]["time_s"] == pytest.approx(said["apex"]["frame"] / 100)
    assert said["movement_px"] > said["noise_px"] > 0


def test_a_pair_by_keyword_is_answered_as_by_every_pipeline(pipe, answered):
    views = answered.views
    (best, *_) = pipe(onset=views.onset, apex=views.apex)
    assert best["label"] == "surprise"
    by_arrays = pipe.recognise_pair(views.onset, views.apex)
    assert by_arrays.course is None
    assert by_arrays.scores[0]["score"] == pytest.approx(answered.scores[0]["score"])


def test_a_still_face_is_not_asked_about(pipe, surprised, monkeypatch):
    def asked(*_, **__):
        raise AssertionError("the model was asked")

    rng = np.random.default_rng(0)
    still = [
        np.clip(surprised.frames[0] + rng.normal(0, 2, (224, 224, 3)), 0, 255).astype(np.uint8)
        for _ in range(12)
    ]
    monkeypatch.setattr(film_pipeline, "motion_pair", asked)
    found = pipe.recognise(still)
    assert (found.answer, found.scores, found.views) == (NO_EXPRESSION, [], None)
    assert found.course is not None


def test_whoever_gives_the_apex_says_that_there_is_an_expression(pipe, surprised):
    still = [surprised.frames[0]] * 11 + [surprised.frames[1]]
    found = pipe.recognise(still, onset=0, apex=11)
    assert found.answer != NO_EXPRESSION
    assert (found.course.onset, found.course.apex) == (0, 11)


def test_below_the_threshold_the_answer_is_unsure(pipe, surprised):
    doubtful = MicroExpressionPipeline(
        pipe.model, pipe.image_processor, zero_shot=True, face=CROPPED, unsure_below=1.0
    )
    found = doubtful.recognise(surprised.frames)
    assert found.answer == UNSURE
    assert "surprise has the highest score" in found.reason
    assert found.scores


def test_the_threshold_is_the_checkpoints_unless_given(pipe):
    model = pipe.model
    stated = model.config.unsure_below
    try:
        model.config.unsure_below = 0.7
        assert MicroExpressionPipeline(model, pipe.image_processor).unsure_below == 0.7
        assert (
            MicroExpressionPipeline(model, pipe.image_processor, unsure_below=0.2).unsure_below
            == 0.2
        )
    finally:
        model.config.unsure_below = stated


def test_a_trained_model_says_where_its_branches_looked(pipe, surprised):
    trained = MicroExpressionPipeline(pipe.model, pipe.image_processor, face=CROPPED)
    found = trained.recognise(surprised.frames, attention=True)
    assert set(found.views.attention) == {"holistic", "componential"}
    assert found.views.seen == {"holistic": "flow", "componential": "flow"}
    for attention in found.views.attention.values():
        assert attention.shape == (224, 224)
        assert 0 <= attention.min() <= attention.max() <= 1
    assert trained.recognise(surprised.frames).views.attention == {}


@pytest.mark.parametrize(
    ("frames", "said"),
    [
        ({"apex": 99}, "has no frame 99: its frames are 0 to 19"),
        ({"onset": 7, "apex": 3}, "must ascend; got 7, 3"),
        ({"onset": 3, "apex": 3}, "must ascend; got 3, 3"),
    ],
)
def test_key_frames_that_cannot_be_are_named(pipe, surprised, frames, said):
    with pytest.raises(UserError, match=said):
        pipe.recognise(surprised.frames, **frames)


def test_a_film_is_too_long_for_a_clip(pipe, surprised, monkeypatch):
    monkeypatch.setattr(film_pipeline, "MOST_FRAMES", 10)
    with pytest.raises(UserError, match="has 20 frames; a clip has 10 at most"):
        pipe.recognise(surprised.frames)


def test_two_kinds_of_clip_at_once_are_refused(pipe, surprised):
    with pytest.raises(UserError, match="give one of video=, frames= and clips"):
        pipe(video="a.mp4", frames=surprised.frames)


@pytest.mark.parametrize("threshold", [-0.1, 1.5])
def test_a_threshold_is_a_probability(pipe, threshold):
    with pytest.raises(UserError, match="unsure_below must lie from 0 to 1"):
        MicroExpressionPipeline(pipe.model, pipe.image_processor, unsure_below=threshold)


def test_what_is_saved_is_a_checkpoint_that_needs_nothing_of_ours(pipe, tmp_path):
    pipe.save_pretrained(tmp_path)
    names = {path.name for path in tmp_path.iterdir()}
    assert "pipeline_hcp_mer.py" in names
    assert "film_pipeline.py" not in names


def test_several_films_are_several_answers(pipe, answered, monkeypatch):
    monkeypatch.setattr(pipe, "recognise", lambda film, **_: replace(answered, name=film))
    said = pipe(video=["a.mp4", "b.mp4"])
    assert [one["name"] for one in said] == ["a.mp4", "b.mp4"]


def test_a_model_of_others_is_refused_before_it_is_loaded(tmp_path):
    (tmp_path / "config.json").write_text('{"model_type": "clip"}')
    with pytest.raises(UserError, match="a model of type 'clip'"):
        load_pipeline(tmp_path)


def test_a_folder_without_a_config_is_no_checkpoint(tmp_path):
    with pytest.raises(UserError, match=r"has no config\.json, so it is no checkpoint"):
        load_pipeline(tmp_path)


@pytest.fixture(scope="module")
def long_film(surprised):
    """A second and a half of rest, the clip, and rest again, 50 frames a second."""
    rng = np.random.default_rng(0)

    def rest(count):
        noise = rng.normal(0, 2.5, (count, *surprised.frames[0].shape))
        return list(np.clip(surprised.frames[0] + noise, 0, 255).astype(np.uint8))

    return [*rest(60), *surprised.frames, *rest(60)]


@pytest.mark.slow
def test_intervals_of_a_long_film_are_found_and_answered(pipe, surprised, long_film):
    film = ArrayFilm(long_film, fps_hz=50.0)
    (found,) = pipe.recognise_intervals(film)
    assert found.answer == "surprise"
    said = found.to_dict()
    assert abs(said["apex"]["frame"] - (60 + surprised.apex)) <= 4
    assert said["apex"]["time_s"] == pytest.approx(said["apex"]["frame"] / 50)
    assert "times what this film shows all the time" in found.reason
    assert len(found.frames) == len(found.course.numbers) < 60


@pytest.mark.slow
def test_frames_of_a_long_film_are_let_go(pipe, long_film, monkeypatch):
    """Of those that were aligned five windows are held at most: three, and the last answer's."""
    held, most = [], []
    aligned = film_pipeline.aligned_frames

    def watched(*arguments):
        for frame in aligned(*arguments):
            held.append(weakref.ref(frame))
            most.append(sum(ref() is not None for ref in held))
            yield frame

    monkeypatch.setattr(film_pipeline, "aligned_frames", watched)
    list(pipe.recognise_intervals(ArrayFilm(long_film, fps_hz=50.0), window_ms=300.0))
    assert len(held) == 140
    assert max(most) <= 5 * 0.3 * 50 + 3


def test_a_long_film_without_times_needs_a_frame_rate(pipe, long_film):
    with pytest.raises(UserError, match="does not say when its frames were taken: give fps_hz"):
        list(pipe.recognise_intervals(ArrayFilm(long_film)))


@pytest.mark.slow
def test_a_gap_in_time_behind_a_movement_loses_nothing(pipe, surprised, long_film):
    """The interval is given out with the first frame behind the gap, seconds later."""
    times_s = [i / 50 for i in range(90)] + [60 + i / 50 for i in range(len(long_film) - 90)]
    film = StopAndGo(long_film, times_s)
    (found,) = pipe.recognise_intervals(film)
    assert found.answer == "surprise"


@pytest.mark.slow
def test_a_cut_beside_a_movement_does_not_end_the_film(pipe, surprised, long_film):
    """Another face soon after: both movements are answered."""
    other = acted_clip(3)
    noise = np.random.default_rng(1).normal(0, 2.5, (40, *other.frames[0].shape))
    still = list(np.clip(other.frames[0] + noise, 0, 255).astype(np.uint8))
    film = [*long_film[:92], *still, *other.frames, *still]
    found = list(pipe.recognise_intervals(ArrayFilm(film, fps_hz=50.0)))
    assert [one.answer for one in found] == [surprised.label, other.label]


class StopAndGo(ArrayFilm):
    """Frames at times of their own."""

    def __init__(self, frames, times_s):
        super().__init__(frames, fps_hz=50.0)
        self._times_s = times_s

    def _between(self, first, last):
        for frame in super()._between(first, last):
            yield replace(frame, time_s=self._times_s[frame.number])


def test_what_is_known_of_a_film_stands_beside_the_answer(pipe, surprised):
    film = ArrayFilm(surprised.frames)
    film._notes.append("clip.webm breaks off after 15 frames.")
    assert pipe.recognise(film).reason.endswith(" clip.webm breaks off after 15 frames.")


def test_the_same_picture_twice_shows_no_expression(pipe, surprised):
    found = pipe.recognise_pair(surprised.frames[0], surprised.frames[0].copy())
    assert (found.answer, found.scores) == (NO_EXPRESSION, [])


def test_an_option_that_a_film_does_not_take_is_named(pipe, surprised):
    with pytest.raises(UserError, match="does not take explain: it takes fps_hz"):
        pipe(frames=surprised.frames, explain=True)


def test_with_nothing_trained_less_than_even_odds_are_unsure(pipe):
    assert pipe.unsure_below == 0.5
    assert load_pipeline(RECIPE, unsure_below=0.2).unsure_below == 0.2
