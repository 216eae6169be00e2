"""What is asked of a reproduction: corpora as they lie on disk, stages that lead to a goal."""

import json
from pathlib import Path

import numpy as np
import pytest

from hcp_mer.errors import UserError
from hcp_mer.motion.face import FaceSettings
from hcp_mer.motion.pair import PairSettings
from hcp_mer.reproduction.plan import estimate
from hcp_mer.reproduction.reproduce import reproduce
from hcp_mer.reproduction.settings import Reproduction
from hcp_mer.reproduction.stages import is_done, stages_of, wanted
from tests.casme_on_disk import write_casme3
from tests.corpora_on_disk import write_frame, write_samm, write_smic

RECIPES = Path(__file__).parents[2] / "hub_configs" / "recipes"


@pytest.fixture(scope="module")
def corpora(tmp_path_factory):
    """name → folder of SAMM, SMIC and CAS(ME)³, drawn."""
    root = tmp_path_factory.mktemp("corpora")
    write_samm(root / "samm", clips=32, size=48)
    write_smic(root / "smic", clips=12, size=48)
    write_casme3(root / "casme3", clips=32, size=48)
    return {name: root / name for name in ("samm", "smic", "casme3")}


@pytest.fixture
def plan(tmp_path, tiny_backbone):
    """plan(corpora, **settings) → a Reproduction in a new folder, on the tiny CLIP."""

    def plan(corpora, **settings):
        overrides = (f"backbone={tiny_backbone}", "backbone_revision=null", "epochs=1")
        settings = {"overrides": overrides, "num_proc": 1, **settings}
        return Reproduction(tmp_path / "out", RECIPES, corpora, **settings)

    return plan


def test_corpora_allow_the_runs_that_need_no_other(plan, corpora):
    assert plan({"samm": corpora["samm"]}).run_names() == ["samm-3class"]
    three = dict.fromkeys(("smic", "casme2", "samm"), Path("x"))
    assert "megc2019-3class" in plan(three).run_names()
    names = [stage.name for stage in stages_of(plan(corpora))]
    assert names == [
        *("pairs/samm", "pairs/smic", "pairs/casme3"),
        *("run/smic-3class", "run/samm-3class"),
        *("run/casme3-3class", "run/casme3-4class", "run/casme3-7class"),
        *("ablations/casme3-3class", "ablations/casme3-4class", "ablations/casme3-7class"),
    ]


def test_a_goal_brings_what_it_needs_and_nothing_else(plan, corpora):
    stages = stages_of(plan(corpora))
    assert {stage.kind for stage in wanted(stages, ["tables"])} == {"pairs", "run"}
    ablations = [stage.name for stage in wanted(stages, ["ablations"])]
    assert ablations[0] == "pairs/casme3"
    assert not [name for name in ablations if "samm" in name or "smic" in name]
    assert wanted(stages, []) == stages
    with pytest.raises(UserError, match=r"Fig\. 3 needs casme3"):
        wanted(stages_of(plan({"samm": corpora["samm"]})), ["ablations"])


def test_another_corpus_is_named(plan, corpora):
    with pytest.raises(UserError, match="It looks like SMIC: give it as --smic"):
        plan({"samm": corpora["smic"]}).check()
    with pytest.raises(UserError, match=r"--casme3 .* holds no CAS"):
        plan({"casme3": corpora["samm"]}).check()


def test_a_corpus_that_is_not_there_is_refused_before_anything_is_made(plan, tmp_path):
    asked = plan({"samm": tmp_path / "nothing"})
    with pytest.raises(UserError, match=r"--samm .*nothing holds no SAMM: no folder"):
        asked.check()
    assert not asked.root.exists()


def test_frames_that_show_more_than_a_face_need_somebody_to_find_it(plan, tmp_path):
    clip = tmp_path / "smic" / "HS" / "s1" / "micro" / "negative" / "s1_ne_01"
    for number in range(3):
        write_frame(clip / f"image{number:06d}.bmp", np.zeros((48, 64, 3), np.uint8))
    corpus = {"smic": tmp_path / "smic"}
    with pytest.raises(UserError, match="show more than a face: say --face cascade"):
        plan(corpus).check()
    assert not plan(corpus, face="none").reading("smic").whole_frames  # the user's word
    cascade = PairSettings(face=FaceSettings("cascade"))
    asked = plan(corpus, face="cascade", settings=cascade)
    assert asked.pair_settings("smic").face.detector == "cascade"


def test_crops_are_taken_as_they_are_where_other_corpora_need_faces_found(plan, corpora):
    cascade = PairSettings(face=FaceSettings("cascade"))
    asked = plan(corpora, face="cascade", settings=cascade)
    assert asked.pair_settings("samm").face.detector == "none"


def test_other_peoples_folders_are_left_alone(plan, corpora):
    asked = plan({"samm": corpora["samm"]})
    asked.root.mkdir()
    (asked.root / "thesis.tex").write_text("mine")
    with pytest.raises(UserError, match="is not empty and holds no reproduction"):
        asked.check()
    with pytest.raises(UserError, match="is not empty"), asked.locked():
        pass
    assert [path.name for path in asked.root.iterdir()] == ["thesis.tex"]


def test_two_reproductions_do_not_share_a_folder(plan, corpora):
    asked = plan({"samm": corpora["samm"]})
    with asked.locked(), pytest.raises(UserError, match="another reproduction"), asked.locked():
        pass


def test_a_drawn_corpus_says_so_itself(plan, tmp_path):
    (tmp_path / "casme2").mkdir()
    (tmp_path / "samm").mkdir()
    (tmp_path / "casme2" / "procedural.json").write_text("{}")
    asked = plan({name: tmp_path / name for name in ("casme2", "samm")})
    assert (asked.is_synthetic("casme2"), asked.is_synthetic("samm")) == (True, False)


def test_lora_is_none_of_the_papers(plan, corpora):
    asked = plan({"samm": corpora["samm"]}, overrides=("vision_lora.r=4",))
    with pytest.raises(UserError, match="no vision_lora"):
        asked.check()


def test_no_folder_of_this_machine_is_told(plan, corpora, tmp_path):
    overrides = (f"backbone={tmp_path / 'my clip'}", "backbone_revision=null", "epochs=3")
    told = plan({"samm": corpora["samm"]}, overrides=overrides, face="cascade").options()
    assert told == {
        "face": "cascade",
        "set": {"backbone": "my clip", "epochs": "3"},
        "controls": False,
    }


def test_the_estimate_writes_nothing_and_a_stamp_counts_only_for_what_it_was_made_of(
    plan, corpora, tmp_path
):
    asked = plan({"samm": corpora["samm"]})
    stages = stages_of(asked)
    estimates = estimate(asked, stages)
    assert [(own.stage.name, own.state) for own in estimates] == [
        ("pairs/samm", "to do"),
        ("run/samm-3class", "to do"),
    ]
    assert all(own.seconds > 0 and own.disk_bytes > 0 for own in estimates)
    assert not asked.root.exists()
    pairs = stages[0]
    pairs.made.parent.mkdir(parents=True)
    pairs.made.write_text(json.dumps({"fingerprint": "0"}))
    assert not is_done(asked, pairs)  # a file without a stamp


def test_several_processes_are_refused_in_a_line(plan, corpora, monkeypatch):
    monkeypatch.setenv("WORLD_SIZE", "2")
    asked = plan({"samm": corpora["samm"]})
    with pytest.raises(UserError, match="is one process: start it with python"):
        reproduce(asked)
    assert not asked.root.exists()
