"""Unseen domains: six corpora that differ from each other and from what pretraining saw."""

import csv
from dataclasses import replace

import cv2
import numpy as np
import pytest
from PIL import Image

from hcp_mer.data.pairs import label_pairs, load_pairs
from hcp_mer.data.synthetic.actions import ACTION_UNITS, COMBINATIONS, EMOTIONS
from hcp_mer.data.tasks import TASKS
from hcp_mer.domains import DOMAINS, domain, render_domain, write_domain
from hcp_mer.domains.camera import CameraStyle
from hcp_mer.domains.domains import _codes, _emotions
from hcp_mer.domains.emotion_tables import TABLES, draw_units
from hcp_mer.domains.estimators import domain_estimator, stretched_image
from hcp_mer.errors import UserError

STRETCHED = [name for name, one in DOMAINS.items() if one.encoding == "stretched"]
SKIMAGE = ("skimage_tvl1", "skimage_ilk")


@pytest.fixture(scope="module")
def small():
    """Two clips of two people in every domain."""
    return {name: render_domain(name, 2, 2, seed=3) for name in DOMAINS}


def test_two_of_the_six_domains_are_closed():
    assert len(DOMAINS) == 6
    assert {name for name, one in DOMAINS.items() if one.closed} == {
        "muscles_tvl1_28",
        "grey_ilk_56",
    }
    assert all(name == one.name for name, one in DOMAINS.items())


@pytest.mark.parametrize("name", DOMAINS)
def test_arrays_have_the_domains_sizes(small, name):
    clips, one = small[name], DOMAINS[name]
    assert clips.magnified.shape == (4, one.frame_px, one.frame_px, 3)
    assert clips.flow.shape == (4, one.flow_image_px, one.flow_image_px, 3)
    assert clips.magnified.dtype == clips.flow.dtype == np.uint8
    assert clips.action_units.shape == (4, len(ACTION_UNITS))
    assert clips.action_units.dtype == bool
    assert clips.action_units.any(axis=1).all()
    assert clips.subjects.tolist() == ["s001", "s001", "s002", "s002"]
    assert set(clips.emotions) <= set(EMOTIONS)


@pytest.mark.parametrize("name", ["grey_farneback_28", "muscles_lucas_kanade", "muscles_tvl1_28"])
def test_the_same_arguments_give_the_same_pixels_and_another_seed_others(small, name):
    again, other = render_domain(name, 2, 2, seed=3), render_domain(name, 1, 1, seed=4)
    for view in ("magnified", "flow", "emotions", "action_units"):
        np.testing.assert_array_equal(getattr(again, view), getattr(small[name], view))
    assert not np.array_equal(other.magnified[0], again.magnified[0])


@pytest.mark.parametrize("name", STRETCHED)
def test_stretched_flow_uses_every_level_from_0_to_255_in_each_channel(small, name):
    flow = small[name].flow
    assert (flow.min(axis=(1, 2)) == 0).all()
    assert (flow.max(axis=(1, 2)) == 255).all()


def test_stretched_images_keep_the_places_of_the_extremes():
    flow_px = np.zeros((56, 56, 2), np.float32)
    flow_px[:4, :4, 0], flow_px[-4:, -4:, 0] = -1.0, 3.0
    image = stretched_image(flow_px, 28)
    assert image[0, 0, 0] == 0
    assert image[-1, -1, 0] == 255
    assert image[14, 14].tolist() == [64, 0, 0]  # (0 − −1) / 4 of 255; v is constant


def test_grey_domains_have_no_colour(small):
    for name in ("grey_farneback_28", "grey_ilk_56"):
        levels = small[name].magnified.astype(int)
        assert np.abs(levels - levels[..., :1]).max() <= 1
    assert np.ptp(small["muscles_dis_28"].magnified.astype(int), axis=-1).max() > 30


def test_low_contrast_narrows_the_levels_about_the_middle():
    frame = np.array([[[28, 128, 228]] * 2] * 2, np.uint8)
    filmed = CameraStyle(contrast=0.5).film(frame, np.random.default_rng(0))
    assert filmed[0, 0].tolist() == [78, 128, 178]


@pytest.mark.parametrize("seed", [0, 7])
def test_no_person_is_in_two_domains_or_in_a_corpus_or_in_pretraining(seed):
    seeds = [
        one.identity_seed(seed, subject) for one in DOMAINS.values() for subject in range(1, 41)
    ]
    assert len(set(seeds)) == len(seeds)
    assert min(seeds) >= 2**40
    assert len({one.number for one in DOMAINS.values()}) == len(DOMAINS)


def test_tables_know_all_emotions_and_differ_from_each_other():
    for name, table in TABLES.items():
        assert set(table) == set(EMOTIONS), name
        for emotion, combinations in table.items():
            assert sum(combinations.values()) == pytest.approx(1), (name, emotion)
            assert {unit for units in combinations for unit in units} <= set(ACTION_UNITS)
    for one, other in (("prototypes", "fragments"), ("prototypes", "second_coder")):
        assert all(TABLES[one][e] != TABLES[other][e] for e in EMOTIONS)
    assert all(TABLES[n] != COMBINATIONS for n in ("prototypes", "fragments", "second_coder"))
    assert {one.emotion_table for one in DOMAINS.values()} == set(TABLES)


def test_happiness_raises_the_corners_in_most_of_every_table():
    rng = np.random.default_rng(0)
    for table in TABLES.values():
        drawn = [draw_units(table, "happiness", rng) for _ in range(200)]
        assert np.mean([12 in units for units in drawn]) > 0.8


def test_emotions_are_as_unequal_as_in_table_5():
    emotions = _emotions(862, [0, 1])
    counts = {emotion: emotions.count(emotion) for emotion in EMOTIONS}
    assert counts == {
        **{"disgust": 250, "fear": 86, "anger": 64, "sadness": 57},
        **{"happiness": 57, "surprise": 187, "others": 161},
    }
    assert set(_emotions(16, [0, 1])) == set(EMOTIONS)


def test_some_drawn_clips_act_on_one_side_and_only_units_that_can_do_so():
    codes = [_codes((4, 12), np.random.default_rng(seed)) for seed in range(200)]
    assert {tuple(one) for one in codes} == {("4", "12"), ("4", "L12"), ("4", "R12")}
    assert 20 < sum(one != ["4", "12"] for one in codes) < 65


@pytest.mark.parametrize("name", ["farneback", "dis", *SKIMAGE])
def test_estimators_give_right_then_down_in_px(name):
    rng = np.random.default_rng(0)
    texture = cv2.GaussianBlur(rng.uniform(0, 255, (96, 96, 3)), (0, 0), 2.0)
    texture = cv2.normalize(texture, None, 0, 255, cv2.NORM_MINMAX)
    shift = np.float32([[1, 0, 1.0], [0, 1, -0.5]])
    frames = [
        texture.astype(np.uint8),
        cv2.warpAffine(texture, shift, (96, 96), borderMode=cv2.BORDER_REFLECT).astype(np.uint8),
    ]
    flow_px = domain_estimator(name)(*frames)
    middle = np.median(flow_px[20:-20, 20:-20], axis=(0, 1))
    np.testing.assert_allclose(middle, (1.0, -0.5), atol=0.25)


def test_an_unknown_domain_is_named_with_the_closest_one():
    with pytest.raises(UserError, match="Did you mean 'muscles_dis_28'"):
        render_domain("muscle_dis28")
    with pytest.raises(UserError, match="num_subjects must be at least 1, got 0"):
        render_domain("muscles_dis_28", num_subjects=0)
    assert domain("own_pipeline").register


def test_a_written_domain_opens_as_pairs_of_every_task(tmp_path):
    folder = write_domain("muscles_dis_28", tmp_path / "domain", 2, 8, seed=5)
    pairs = load_pairs(folder)
    rendered = render_domain("muscles_dis_28", 2, 8, seed=5)
    assert pairs.column("emotion") == rendered.emotions.tolist()
    for view in ("magnified", "flow"):
        np.testing.assert_array_equal(pairs.image(7, view), getattr(rendered, view)[7])
    first = [ACTION_UNITS[i] for i in np.flatnonzero(rendered.action_units[0])]
    assert [int(unit) for unit in pairs.column("action_units")[0]] == first
    for task, others in (("3-class", 0), ("4-class", 1), ("7-class", 1)):
        labelled = label_pairs(pairs, TASKS[task])
        assert len(labelled.rows) == 16 - (0 if others else labelled.dropped["others"])


def test_a_complete_folder_is_kept_and_an_interrupted_one_is_finished(tmp_path):
    folder = write_domain("muscles_dis_28", tmp_path / "domain", 1, 2)
    image = folder / "flow" / "s001_c001.png"
    before = image.read_bytes()
    image.write_bytes(b"touched")
    write_domain("muscles_dis_28", folder, 1, 2)
    assert image.read_bytes() == b"touched"
    (folder / "metadata.csv").unlink()
    write_domain("muscles_dis_28", folder, 1, 2)
    assert image.read_bytes() == before
    with (folder / "metadata.csv").open() as file:
        assert len(list(csv.DictReader(file))) == 2
    with pytest.raises(UserError, match="other settings"):
        write_domain("muscles_dis_28", folder, 1, 3)


def test_other_peoples_files_are_left_alone(tmp_path):
    Image.new("RGB", (4, 4)).save(tmp_path / "mine.png")
    with pytest.raises(UserError, match="other files"):
        write_domain("muscles_dis_28", tmp_path, 1, 1)
    assert [path.name for path in tmp_path.iterdir()] == ["mine.png"]


def test_settings_cannot_be_changed_in_place():
    with pytest.raises(AttributeError):
        DOMAINS["own_pipeline"].frame_px = 64
    assert replace(DOMAINS["own_pipeline"], frame_px=64).frame_px == 64
