"""A corpus looked through before anything is made of it: counts, and every problem by name."""

import json

import cv2
import numpy as np
import pytest

from hcp_mer.data.casme2 import read_casme2
from hcp_mer.data.check import check_corpus, count_classes, print_check
from hcp_mer.data.records import CorpusReading
from hcp_mer.errors import UserError
from tests.data.test_casme2 import GOOD_ROW, write_annotation, write_frames

ROWS = [
    GOOD_ROW,
    (1, "EP02_02", None, 46, "/", 86, None, "1+2", "Surprise"),
    (2, "EP03_01", None, 46, 59, 86, None, None, "Others"),
    (2, "EP03_02", None, 46, 40, 86, None, None, "others"),  # out of order
    (2, "EP03_03", None, 46, 59, 86, None, 4, "Disgust"),  # its frames are flat
    (3, "EP04_01", None, 46, 59, 86, None, 4, "disgust"),  # no frames at all
    (3, "EP04_02", None, 46, 59, 86, None, 4, "Glee"),
    GOOD_ROW,
]


def write_noise(folder, numbers=(46, 59, 86)):
    folder.mkdir(parents=True, exist_ok=True)
    rng = np.random.default_rng(0)
    for number in numbers:
        cv2.imwrite(str(folder / f"reg_img{number}.jpg"), rng.integers(0, 255, (8, 6, 3)))


@pytest.fixture
def corpus(tmp_path):
    write_annotation(tmp_path, ROWS)
    for clip in ("sub01/EP02_01f", "sub01/EP02_02", "sub02/EP03_01", "sub02/EP03_02"):
        write_noise(tmp_path / "Cropped" / clip)
    write_noise(tmp_path / "Cropped/sub03/EP04_02")
    write_frames(tmp_path / "Cropped/sub02/EP03_03", (46, 59, 86))
    return tmp_path


def test_everything_is_counted_and_nothing_but_the_check_is_written(corpus):
    before = {path for path in corpus.rglob("*") if path.is_file()}
    output = corpus / "out" / "pairs"  # inside the corpus itself
    check = check_corpus(read_casme2(corpus), output)
    written = {path for path in corpus.rglob("*") if path.is_file()} - before
    assert written == {output / "check.json"}
    found = json.loads((output / "check.json").read_text())
    assert found == check.to_dict()
    assert (found["annotated"], found["usable"], found["subjects"]) == (7, 4, 3)
    assert found["emotions"] == {
        **{"disgust": 2, "glee": 1, "happiness": 1, "others": 2, "surprise": 1},
    }
    assert check_corpus(read_casme2(corpus), output).to_dict() == found


def test_every_problem_says_file_row_clip_and_reason(corpus):
    problems = check_corpus(read_casme2(corpus)).to_dict()["problems"]
    file = "CASME2-coding-20140508.xlsx"
    assert [(p["file"], p["row"]) for p in problems] == [
        *((file, 5), (file, 7), (file, 9), (file, 6), ("casme2", None)),
    ]
    reasons = [p["reason"] for p in problems]
    assert "apex must lie in (onset, offset] = (46, 86], got 40" in reasons[0]
    assert "no folder EP04_01 in Cropped/sub03" in reasons[1]
    assert reasons[2] == "repeats row 2; only that one is used"
    assert reasons[3].endswith("reg_img46.jpg is one flat colour")
    assert problems[3]["clip"] == "sub02/EP03_03"
    assert "no label scheme of casme2 knows the word 'glee' (1×)" in reasons[4]


def test_damaged_and_empty_frames_are_found_wherever_they_would_be_read(corpus):
    (corpus / "Cropped/sub01/EP02_01f/reg_img59.jpg").write_bytes(b"")  # an annotated apex
    spotted = corpus / "Cropped/sub01/EP02_02/reg_img59.jpg"  # one to be searched through
    spotted.write_bytes(spotted.read_bytes()[:200])
    reasons = {
        p["clip"]: p["reason"] for p in check_corpus(read_casme2(corpus)).to_dict()["problems"]
    }
    assert "is empty (0 bytes)" in reasons["sub01/EP02_01f"]
    assert "is damaged or cut short" in reasons["sub01/EP02_02"]


def test_processes_change_nothing(corpus):
    one, two = (check_corpus(read_casme2(corpus), num_proc=n).to_dict() for n in (1, 2))
    assert one == two


def test_nothing_usable_is_a_result_too(corpus, tmp_path):
    check = check_corpus(CorpusReading((), (), {"disgust": 2}), tmp_path / "out")
    assert check.to_dict()["usable"] == 0
    assert (tmp_path / "out" / "check.json").is_file()


def test_counts_are_told_for_every_scheme_of_the_corpus_or_the_one_asked_for(corpus):
    reading = read_casme2(corpus)
    told = [str(count) for count in count_classes(reading)[0]]
    assert [line.split(":")[0] for line in told] == [
        "casme2, 3-class (scheme paper 1.0)",
        "casme2, 4-class (scheme paper 1.0)",
        "casme2, 3-class (scheme megc2019 1.0)",
    ]
    assert "annotated but not usable: sub03/EP04_01" in told[0]
    (only,) = count_classes(reading, "megc2019")[0]
    assert only.scheme == "megc2019"
    with pytest.raises(UserError, match="unknown label scheme 'megc'"):
        count_classes(reading, "megc")


def test_the_table_is_readable(corpus, capsys):
    print_check(check_corpus(read_casme2(corpus)).to_dict())
    printed = capsys.readouterr().out
    for words in (
        *("clips annotated 7", "clips usable 4", "subjects 3"),
        *("disgust 2, glee 1", "5 problem(s):", "CASME2-coding-20140508.xlsx row 5 sub02/EP03_02:"),
    ):
        assert words in " ".join(printed.split())


def test_a_clip_counts_as_the_row_that_is_used(corpus):
    broken = (1, "EP02_01f", None, 46, 40, 86, None, "4", "Disgust")
    write_annotation(corpus, [broken, GOOD_ROW])
    reading = read_casme2(corpus)
    assert reading.emotions == {"happiness": 1}
    assert [problem.row for problem in reading.problems] == [2]
