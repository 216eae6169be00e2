"""From a corpus on disk to pairs: same pixels as inference, nothing dropped silently, reusable."""

import json
import logging
import shutil
import subprocess
import sys
from dataclasses import replace

import datasets
import numpy as np
import pytest
from PIL import Image

from hcp_mer.data import builders
from hcp_mer.data.builders import ALIGNED_SHEET, NO_FACE_SHEET, PROBLEMS, prepare_pairs
from hcp_mer.data.casme2 import read_casme2
from hcp_mer.data.check import check_corpus
from hcp_mer.data.pair_rows import make_rows
from hcp_mer.data.pairs import load_pairs
from hcp_mer.data.synthetic.corpus import write_corpus
from hcp_mer.errors import UserError
from hcp_mer.model.frames_hcp_mer import resize_frame
from hcp_mer.model.motion_hcp_mer import motion_pair
from hcp_mer.motion import face, pair
from hcp_mer.motion.pair import PairSettings

SETTINGS = PairSettings(image_size=64)


@pytest.fixture(scope="module")
def corpus(tmp_path_factory):
    folder = tmp_path_factory.mktemp("casme2")
    write_corpus(folder, seed=1, num_subjects=2, clips_per_subject=4, num_proc=1, size=64)
    return folder


@pytest.fixture
def reading(corpus):
    return read_casme2(corpus, name="procedural")


def test_pairs_are_what_inference_computes_from_the_frames(reading, tmp_path):
    done = prepare_pairs(reading, tmp_path / "pairs", SETTINGS)
    pairs = load_pairs(tmp_path / "pairs")
    assert (done.num_pairs, len(pairs), done.reused) == (8, 8, False)
    assert pairs.settings == SETTINGS.to_dict()
    ids = list(zip(pairs.column("subject"), pairs.column("clip_id")))
    for record in reading.records:
        row = ids.index((record.subject, record.clip_id))
        stored = pairs.table[row]
        onset, apex = (
            resize_frame(record.frames.read(number), 64)
            for number in (record.onset, stored["apex"])
        )
        pair = motion_pair(onset, apex, SETTINGS.motion)
        assert np.array_equal(pairs.image(row, "magnified"), pair.magnified)
        assert np.array_equal(pairs.image(row, "flow"), pair.flow_image)
        assert np.array_equal(pairs.image(row, "onset_frame"), onset)
        assert stored["flow_scale_px"] == pytest.approx(pair.flow_scale_px)
        assert stored["apex_source"] == ("spotted" if record.apex is None else "annotated")
        assert stored["emotion"] == record.emotion
        assert tuple(stored["action_units"]) == record.action_units


def test_the_folder_is_a_dataset_that_datasets_loads(reading, tmp_path):
    prepare_pairs(reading, tmp_path / "pairs", SETTINGS)
    table = datasets.load_dataset(
        str(tmp_path / "pairs"), split="train", cache_dir=str(tmp_path / "cache")
    )
    assert len(table) == 8
    assert table[0]["flow"].size == (64, 64)
    streamed = datasets.load_dataset(str(tmp_path / "pairs"), split="train", streaming=True)
    assert next(iter(streamed))["dataset"] == "procedural"


def test_the_result_does_not_depend_on_the_number_of_processes(reading, tmp_path):
    fingerprints = []
    for num_proc in (1, 2):
        prepare_pairs(reading, tmp_path / str(num_proc), SETTINGS, num_proc)
        fingerprints.append(load_pairs(tmp_path / str(num_proc)).fingerprint())
    assert fingerprints[0] == fingerprints[1]


def test_what_did_not_change_is_reused(reading, corpus, tmp_path):
    folder = tmp_path / "pairs"
    prepare_pairs(reading, folder, SETTINGS)
    assert prepare_pairs(reading, folder, SETTINGS).reused
    assert not prepare_pairs(reading, folder, PairSettings(image_size=48)).reused
    assert load_pairs(folder).image(0, "flow").shape == (48, 48, 3)


def test_a_truncated_frame_goes_into_the_report_and_the_rest_goes_on(tmp_path):
    corpus = tmp_path / "casme2"
    write_corpus(corpus, seed=2, num_subjects=2, clips_per_subject=3, num_proc=1, size=64)
    record = next(r for r in read_casme2(corpus).records if r.apex is not None)
    path = record.frames.paths[record.frames.numbers.index(record.apex)]
    path.write_bytes(path.read_bytes()[:-200])
    done = prepare_pairs(read_casme2(corpus), tmp_path / "pairs", SETTINGS)
    assert done.num_pairs == 5
    (problem,) = json.loads((tmp_path / "pairs" / PROBLEMS).read_text())
    assert problem["clip"] == f"{record.subject}/{record.clip_id}"
    assert path.name in problem["reason"]


def test_no_usable_clip_is_one_line(tmp_path):
    corpus = tmp_path / "casme2"
    write_corpus(corpus, seed=2, num_subjects=1, clips_per_subject=2, num_proc=1, size=64)
    for path in corpus.rglob("*.jpg"):
        path.write_bytes(path.read_bytes()[:100])
    with pytest.raises(UserError, match="no clip is usable; the first of 2"):
        prepare_pairs(read_casme2(corpus), tmp_path / "pairs", SETTINGS)


def test_a_folder_with_other_things_is_left_alone(reading, tmp_path):
    (tmp_path / "thesis.txt").write_text("precious")
    with pytest.raises(UserError, match="holds other things than prepared pairs"):
        prepare_pairs(reading, tmp_path, SETTINGS)
    assert (tmp_path / "thesis.txt").read_text() == "precious"


def test_a_killed_preparation_leaves_no_manifest(reading, tmp_path, monkeypatch, caplog):
    caplog.set_level(logging.CRITICAL)
    folder = tmp_path / "pairs"

    def killed(*args, **kwargs):
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr("hcp_mer.data.builders._write_parquet", killed)
        with pytest.raises(KeyboardInterrupt):
            prepare_pairs(reading, folder, SETTINGS)
    with pytest.raises(UserError):
        load_pairs(folder)
    assert prepare_pairs(reading, folder, SETTINGS).num_pairs == 8


def test_a_stopped_preparation_goes_on_where_it_was(reading, tmp_path, monkeypatch):
    monkeypatch.setattr(builders, "_PART_CLIPS", 2)
    made = []

    def counted(records, settings, plots):
        if len(made) == 5:
            raise KeyboardInterrupt
        made.extend(record.clip_id for record in records)
        return make_rows(records, settings)

    folder = tmp_path / "pairs"
    with monkeypatch.context() as patch:
        patch.setattr(builders, "make_rows", counted)
        with pytest.raises(KeyboardInterrupt):
            prepare_pairs(reading, folder, SETTINGS)
        first, made[:] = list(made), []
        assert prepare_pairs(reading, folder, SETTINGS).num_pairs == 8
    assert (len(first), len(made)) == (5, 4)  # the part that was begun is made again
    whole = prepare_pairs(reading, tmp_path / "whole", SETTINGS)
    assert whole.num_pairs == 8
    assert load_pairs(folder).fingerprint() == load_pairs(tmp_path / "whole").fingerprint()


def test_a_check_may_stand_in_the_folder_before(reading, tmp_path):
    check_corpus(reading, tmp_path / "pairs")
    assert prepare_pairs(reading, tmp_path / "pairs", SETTINGS).num_pairs == 8
    assert (tmp_path / "pairs" / "check.json").is_file()


def test_a_cameras_whole_frames_are_refused_until_somebody_finds_the_face(reading, tmp_path):
    raw = replace(reading, whole_frames=True)
    with pytest.raises(UserError, match="shows more than a face: say --face cascade"):
        prepare_pairs(raw, tmp_path / "pairs", SETTINGS)
    assert not (tmp_path / "pairs").exists()


def test_clips_without_a_face_are_shown_on_a_sheet(reading, tmp_path, monkeypatch):
    nobody = reading.records[3].frames.path(reading.records[3].onset)
    find = pair.find_alignment

    def blind(frame, path, *arguments):
        if path == nobody:
            raise face.FaceError("no face found")
        return find(frame, path, *arguments)

    settings = replace(SETTINGS, face=face.FaceSettings("given"))
    box = face.Face(box=(4.0, 4.0, 56.0, 56.0))
    given = replace(reading, records=tuple(replace(record, face=box) for record in reading.records))
    monkeypatch.setattr(pair, "find_alignment", blind)
    folder = tmp_path / "pairs"
    assert prepare_pairs(given, folder, settings).num_pairs == 7
    sizes = []
    for name in (NO_FACE_SHEET, ALIGNED_SHEET):
        with Image.open(folder / name) as sheet:
            sizes.append(sheet.size)
    assert 100 < sizes[0][0] < sizes[1][0]  # one thumbnail, and six in a row
    assert json.loads((folder / PROBLEMS).read_text())[0]["reason"] == "no face found"
    assert set(load_pairs(folder).column("alignment")) == {"given"}
    table = datasets.load_dataset(str(folder), split="train", cache_dir=str(tmp_path / "cache"))
    assert len(table) == 7  # the sheet is no part of the dataset


def test_a_users_data_folder_is_never_touched(reading, tmp_path):
    """A manifest-less folder that looks a little like ours: `data` and a README."""
    precious = tmp_path / "data" / "Cropped" / "img1.jpg"
    precious.parent.mkdir(parents=True)
    precious.write_text("a corpus")
    (tmp_path / "README.md").write_text("mine")
    with pytest.raises(UserError, match="holds other things"):
        prepare_pairs(reading, tmp_path, SETTINGS)
    assert precious.read_text() == "a corpus"


def test_a_damaged_manifest_is_one_line(reading, tmp_path):
    folder = tmp_path / "pairs"
    prepare_pairs(reading, folder, SETTINGS)
    (folder / "pairs.json").write_text("{}")
    for use in (lambda: prepare_pairs(reading, folder, SETTINGS), lambda: load_pairs(folder)):
        with pytest.raises(UserError, match=r"pairs\.json is damaged"):
            use()


def test_processes_start_although_threads_of_opencv_are_at_work_here(corpus, tmp_path):
    """In a process of its own: a worker that waits for those threads would wait forever."""
    code = f"""
import cv2, numpy, sys
from hcp_mer.data.builders import prepare_pairs
from hcp_mer.data.casme2 import read_casme2
from hcp_mer.motion.pair import PairSettings
cv2.setNumThreads(4)
cv2.GaussianBlur(numpy.zeros((2000, 2000, 3), numpy.float32), (0, 0), 9)
done = prepare_pairs(read_casme2({str(corpus)!r}), sys.argv[1], PairSettings(image_size=64), 2)
print(done.num_pairs, cv2.getNumThreads())
"""
    command = [sys.executable, "-c", code, str(tmp_path / "pairs")]
    done = subprocess.run(command, capture_output=True, text=True, timeout=100, check=True)
    assert done.stdout.split() == ["8", "4"]


def test_pairs_are_made_again_where_some_of_them_are_gone(reading, tmp_path):
    folder = tmp_path / "pairs"
    prepare_pairs(reading, folder, SETTINGS)
    shutil.rmtree(folder / "data")
    again = prepare_pairs(reading, folder, SETTINGS)
    assert (again.reused, again.num_pairs) == (False, 8)
    (folder / PROBLEMS).write_text('[{"bad": 1}]')
    assert not prepare_pairs(reading, folder, SETTINGS).reused
    assert prepare_pairs(reading, folder, SETTINGS).reused


def test_earlier_pairs_stay_where_the_next_preparation_fails(reading, tmp_path):
    folder = tmp_path / "pairs"
    prepare_pairs(reading, folder, SETTINGS)
    with pytest.raises(UserError, match="no clip is usable"):  # none says where its face is
        prepare_pairs(reading, folder, replace(SETTINGS, face=face.FaceSettings("given")))
    assert len(load_pairs(folder)) == 8


def test_a_corpus_may_be_moved(corpus, reading, tmp_path):
    prepare_pairs(reading, tmp_path / "pairs", SETTINGS)
    moved = shutil.copytree(corpus, tmp_path / "elsewhere")
    again = read_casme2(moved, name="procedural")
    assert prepare_pairs(again, tmp_path / "pairs", SETTINGS).reused


def test_a_problem_says_where_the_clip_is_annotated(tmp_path):
    corpus = tmp_path / "casme2"
    write_corpus(corpus, seed=2, num_subjects=2, clips_per_subject=3, num_proc=1, size=64)
    record = read_casme2(corpus).records[4]
    record.frames.path(record.onset).write_bytes(b"")
    done = prepare_pairs(read_casme2(corpus), tmp_path / "pairs", SETTINGS)
    (problem,) = done.problems
    assert (problem.file, problem.row) == ("CASME2-coding-20140508.xlsx", 6)
    assert problem.clip == f"{record.subject}/{record.clip_id}"
    assert "is empty (0 bytes)" in problem.reason


def test_a_file_where_the_folder_should_be_is_one_line(reading, tmp_path):
    (tmp_path / "file").write_text("mine")
    for use in (prepare_pairs, check_corpus):
        with pytest.raises(UserError, match="a file is in its place"):
            use(reading, tmp_path / "file")


def test_the_curves_of_spotted_apexes_are_drawn_when_asked_for(reading, tmp_path):
    folder = tmp_path / "pairs"
    assert prepare_pairs(reading, folder, SETTINGS).num_spotted == 0
    spotted = replace(
        reading, records=tuple(replace(record, apex=None) for record in reading.records[:2])
    )
    done = prepare_pairs(spotted, folder, SETTINGS, apex_plots=True)
    assert done.num_spotted == 2
    pictures = sorted((folder / builders.APEX_PLOTS).iterdir())
    assert [p.stem for p in pictures] == [
        f"procedural {r.subject} {r.clip_id}" for r in spotted.records
    ]
    with Image.open(pictures[0]) as picture:
        assert picture.size[0] > picture.size[1] > 200
    assert prepare_pairs(spotted, folder, SETTINGS, apex_plots=True).reused
