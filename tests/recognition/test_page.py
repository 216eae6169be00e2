"""The page without a browser or a server: what it shows, and what it says when it cannot."""

import base64
import io
import re
from pathlib import Path

import cv2
import numpy as np
import pytest
from PIL import Image

from hcp_mer.errors import UserError
from hcp_mer.model.motion_hcp_mer import MotionSettings, motion_pair
from hcp_mer.recognition import page as page_module
from hcp_mer.recognition import page_view
from hcp_mer.recognition.answer import NO_EXPRESSION, UNSURE, Views
from hcp_mer.recognition.page import FORGOTTEN, SORRY, open_clip
from hcp_mer.recognition.page_examples import EXAMPLES, FPS_HZ, NUM_FRAMES, write_examples
from hcp_mer.recognition.page_visit import MOST_ADDED_PX, movement_of
from tests.films import noise_frames, write_film
from tests.recognition.stand_in_page import (
    MOTION,
    pixels,
    recognition,
    two_frames,
)

ROOT = Path(__file__).parents[2]


def test_an_answer_shows_class_sentence_units_and_scores(page, clip):
    shown = page.answer(clip)
    parts = page.parts
    assert '<p class="verdict">surprise</p>' in shown[parts.answer]
    assert "It moved 0.5 px." in shown[parts.answer]
    assert "inner brow raiser" in shown[parts.answer]
    assert "lips part" not in shown[parts.answer]  # less likely there than not
    assert re.findall(r"<dd>(.*?)</dd>", shown[parts.scores]) == ["90 %", "10 %"]
    assert "onset at 0 ms, apex at 50 ms, offset at 100 ms" in shown[parts.course]
    assert shown[parts.result]["visible"]
    assert shown[parts.movement]["visible"]


@pytest.mark.parametrize("answer", [NO_EXPRESSION, UNSURE])
def test_what_is_no_class_is_not_shown_like_one(answer):
    assert 'class="answer none"' in page_view.answer(recognition(answer=answer))


def test_a_clip_without_movement_has_a_curve_and_nothing_to_magnify(page, pipe, clip):
    pipe.says = lambda name: recognition(
        name, NO_EXPRESSION, views=None, scores=[], explanation=None
    )
    shown = page.answer(clip)
    assert not shown[page.parts.movement]["visible"]
    assert shown[page.parts.scores] == ""
    assert "<img" in shown[page.parts.course]
    assert page.draw(shown[page.parts.visit])[page.parts.download].startswith("<a ")


def test_a_file_name_is_text_and_never_markup(page, pipe, clip):
    hostile = '<img src=x onerror="alert(1)">{{7*7}}${7*7}.mp4'
    pipe.says = lambda name: recognition(hostile)
    shown = page.answer(clip)
    download = page.draw(shown[page.parts.visit])[page.parts.download]
    pipe.says = UserError(f"no face found in {hostile}.")
    complaint = page.answer(clip)[page.parts.status]
    for html in (shown[page.parts.answer], shown[page.parts.status], download, complaint):
        assert "<img src=x" not in html
        assert "{{7*7}}${7*7}" in html


def test_the_picture_is_inside_its_link(page, clip):
    visit = page.answer(clip)[page.parts.visit]
    html = page.draw(visit)[page.parts.download]
    assert 'download="clip.png"' in html
    content = base64.b64decode(re.search(r"base64,([^\"]+)", html)[1])
    assert Image.open(io.BytesIO(content)).width == 1200


def test_the_clip_plays_slower_than_it_was_filmed():
    html = page_view.film(recognition())  # 50 ms from frame to frame, shown for 80
    assert "2 times slower" in html
    content = re.search(r'src="data:image/webp;base64,([^"]+)"', html)[1]
    film = Image.open(io.BytesIO(base64.b64decode(content)))
    film.load()
    assert (film.n_frames, film.info["duration"]) == (3, 80)


# The slider.


def test_the_slider_begins_at_what_the_model_saw():
    onset, apex = two_frames()
    movement = movement_of(Views(apex, apex, onset, apex), MOTION)
    assert movement.alpha == 3.0
    expected = motion_pair(onset, apex, MotionSettings(**MOTION)).magnified
    np.testing.assert_array_equal(movement.magnified(3.0), expected)


def test_a_factor_of_one_is_the_apex_as_filmed():
    onset, apex = two_frames()
    movement = movement_of(Views(apex, apex, onset, apex), MOTION)
    np.testing.assert_array_equal(movement.magnified(1.0), apex)


def test_the_slider_ends_before_the_skin_folds():
    onset, apex = two_frames(by_px=2.0)
    movement = movement_of(Views(apex, apex, onset, apex), MOTION)
    largest_px = np.linalg.norm(movement.flow_px, axis=-1).max()
    assert (movement.most - 1) * largest_px <= MOST_ADDED_PX / 2  # frames half as wide as 224 px
    assert movement.most < 30
    np.testing.assert_array_equal(movement.magnified(30.0), movement.magnified(movement.most))


def test_a_tiny_movement_may_be_magnified_thirtyfold():
    onset, _ = two_frames()
    assert movement_of(Views(onset, onset, onset, onset), MOTION).most == 30.0


def test_moving_the_slider_changes_the_picture_and_asks_no_model(page, pipe, clip):
    visit = page.answer(clip)[page.parts.visit]
    low, high = (page.magnify(visit, alpha)[page.parts.magnified] for alpha in (1, 5))
    assert "movement ×5" in high
    assert np.abs(pixels(low).astype(int) - pixels(high)).max() > 20
    assert pipe.asked == 1


def test_a_forgotten_answer_is_said_to_be_forgotten(page):
    assert FORGOTTEN in page.magnify(None, 5.0)[page.parts.status]


def test_what_is_kept_of_an_answer_holds_no_frames(page, clip):
    assert page.answer(clip)[page.parts.visit].found.frames is None


# What goes wrong.


def test_a_clip_that_cannot_be_used_is_told_in_a_sentence(page, pipe, clip):
    pipe.says = UserError(f"no face found in {clip} (5 frames looked at)")
    shown = page.answer(clip)
    assert 'role="alert"' in shown[page.parts.status]
    assert "No face found in clip.mkv (5 frames looked at)." in shown[page.parts.status]
    assert not shown[page.parts.result]["visible"]
    assert shown[page.parts.visit] is None  # nor does the slider go on with the clip before


def test_what_nobody_foresaw_tells_nothing_of_the_server_and_stops_nothing(
    page, pipe, clip, caplog
):
    pipe.says = RuntimeError("/srv/secret is full")
    complaint = page.answer(clip)[page.parts.status]
    assert SORRY in complaint
    assert "secret" not in complaint
    assert "/srv/secret is full" in caplog.text
    pipe.says = recognition
    assert page.answer(clip)[page.parts.result]["visible"]


def test_text_that_is_named_like_a_video_is_called_text(page, pipe, tmp_path):
    (tmp_path / "my notes.mp4").write_text("dear diary\n" * 20)
    complaint = page.answer(tmp_path / "my notes.mp4")[page.parts.status]
    assert "my notes.mp4 is a text file, not a video." in complaint
    assert str(tmp_path) not in complaint
    assert pipe.asked == 0


def test_a_long_video_is_refused_before_it_is_decoded(monkeypatch, tmp_path):
    path = write_film(tmp_path / "long.mkv", noise_frames(12))
    monkeypatch.setattr(page_module, "MOST_FRAMES", 10)
    monkeypatch.setattr("hcp_mer.motion.film_video.VideoFilm._decoded", None)
    with pytest.raises(UserError, match=r"^long\.mkv has 12 frames; a clip has 10 at most"):
        open_clip(path)


def test_examples_are_small_videos_of_drawn_faces(tmp_path, capfd):
    chosen = EXAMPLES[2:4]  # one that is acted, and the blink
    for one, example in zip(write_examples(tmp_path, chosen), chosen, strict=True):
        assert one.title == example.title
        capture = cv2.VideoCapture(str(one.path), cv2.CAP_FFMPEG)
        assert capture.get(cv2.CAP_PROP_FPS) == pytest.approx(FPS_HZ, rel=0.01)
        read = [capture.read()[1] for _ in range(NUM_FRAMES)]
        assert not capture.read()[0]
        drawn = example.frames()
        error = np.mean([(a[..., ::-1].astype(float) - b) ** 2 for a, b in zip(read, drawn)])
        assert 10 * np.log10(255**2 / error) > 35  # dB: a movement of a pixel survives
        assert one.path.stat().st_size < 300_000
    printed = capfd.readouterr()
    assert (printed.out, printed.err) == ("", "")


@pytest.mark.slow
def test_each_example_is_answered_as_it_is_acted(tmp_path):
    from hcp_mer.recognition.film_pipeline import load_pipeline

    pipe = load_pipeline(ROOT / "hub_configs" / "recipes" / "embedded-3class.yaml")
    answers = [pipe.recognise(one.path).answer for one in write_examples(tmp_path)]
    assert answers == ["negative", "positive", "surprise", NO_EXPRESSION, NO_EXPRESSION]
