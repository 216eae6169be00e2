"""The template of one's own corpus: explained in full, and prepared as it stands."""

import csv
import subprocess
import sys
from pathlib import Path

import pytest

from hcp_mer.data.folder import read_folder
from hcp_mer.data.folder_template import write_template
from hcp_mer.errors import UserError
from hcp_mer.motion.pair import make_pair
from hcp_mer.motion.video import VideoSequence

SCRIPT = Path(__file__).parents[2] / "scripts/prepare_dataset.py"


@pytest.fixture(scope="module")
def template(tmp_path_factory):
    folder = tmp_path_factory.mktemp("new") / "my corpus"
    write_template(folder)
    return folder


def test_it_is_read_without_a_problem_one_clip_as_frames_and_one_as_video(template):
    reading = read_folder(template)
    assert reading.problems == ()
    assert not reading.whole_frames
    smile, startle = reading.records
    assert (smile.subject, smile.clip_id, smile.emotion) == ("s01", "smile", "happiness")
    assert smile.onset < smile.apex < smile.offset
    assert smile.action_units == ("6", "12")
    assert isinstance(startle.frames, VideoSequence)
    assert (startle.apex, startle.offset, startle.action_units) == (None, 11, ())
    assert {record.dataset for record in reading.records} == {"my corpus"}


def test_its_clips_show_motion(template):
    for record in read_folder(template).records:
        pair = make_pair(record.frames, record.onset, record.apex, record.offset)
        assert pair.flow_scale_px > 0.4  # 0.25 is noise's
        assert record.onset < pair.apex < record.offset


def test_every_column_is_explained_and_every_explained_column_is_there(template):
    with (template / "metadata.csv").open(newline="", encoding="utf-8") as stream:
        header, *rows = csv.reader(stream)
    assert [len(row) for row in rows] == [len(header)] * 2
    text = (template / "README.txt").read_text(encoding="utf-8")
    table = text.split("in any order:")[1].split("Frames that show more")[0]
    explained = [line.split()[0] for line in table.splitlines() if line and line[0] != " "]
    assert explained == header
    assert max(map(len, text.splitlines())) <= 100


def test_it_is_small(template):
    assert sum(path.stat().st_size for path in template.rglob("*") if path.is_file()) < 200_000


def test_nothing_is_written_over(tmp_path):
    (tmp_path / "thesis.txt").write_text("mine")
    with pytest.raises(UserError, match=r"is not empty \(thesis\.txt\)\. Name a new or empty"):
        write_template(tmp_path)
    with pytest.raises(UserError, match=r"thesis\.txt is a file"):
        write_template(tmp_path / "thesis.txt")
    assert [path.name for path in tmp_path.iterdir()] == ["thesis.txt"]
    assert (tmp_path / "thesis.txt").read_text() == "mine"


def test_an_empty_folder_is_filled_and_then_refused(tmp_path):
    write_template(tmp_path)
    assert len(read_folder(tmp_path).records) == 2
    with pytest.raises(UserError, match="is not empty"):
        write_template(tmp_path)


@pytest.mark.slow
def test_the_two_commands_that_a_user_gives_work_one_after_the_other(tmp_path):
    own, pairs = tmp_path / "own", tmp_path / "pairs"
    said = ""
    for arguments in (["--init", own], ["--data_dir", own, "--output_dir", pairs]):
        command = [sys.executable, SCRIPT, "--corpus", "folder", *arguments]
        done = subprocess.run(command, capture_output=True, text=True, timeout=200)
        assert done.returncode == 0, done.stderr
        said += done.stdout
    assert "wrote a template" in said
    assert "wrote 2 pairs" in said
    assert "1 apexes spotted" in said
    assert "left out" not in said
