"""Many clips: lists as people write them, answers that survive a stop, shares of processes."""

import json

import pandas
import pytest

from hcp_mer.errors import UserError
from hcp_mer.recognition.answer import NO_EXPRESSION, Recognition
from hcp_mer.recognition.batch import (
    FAILED,
    ListedClip,
    Unfinished,
    answer_share,
    list_mark,
    read_list,
    write_table,
)

SCORES = [{"label": "surprise", "score": 0.75}, {"label": "negative", "score": 0.25}]


def write(folder, text):
    path = folder / "clips.csv"
    path.write_text(text, encoding="utf-8")
    return path


def test_a_list_names_videos_beside_it_and_their_key_frames(tmp_path):
    path = write(tmp_path, "﻿Video, apex\n'a b'.mp4,12\n sub/c.avi ,\n")
    first, second = read_list(path)
    assert (first.path, first.apex, first.onset) == (tmp_path / "'a b'.mp4", 12, None)
    assert (second.video, second.apex) == ("sub/c.avi", None)


def test_a_folder_is_the_list_of_its_videos(tmp_path):
    (tmp_path / "deep").mkdir()
    for name in ("b.mp4", "deep/a.MOV", "notes.txt"):
        (tmp_path / name).write_bytes(b"")
    assert [clip.video for clip in read_list(tmp_path)] == ["b.mp4", "deep/a.MOV"]


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("file\na.mp4\n", "needs a column video, one clip per line; it has file"),
        ("", "needs a column video"),
        ("video\n", "lists no video"),
        ("video,apex\na.mp4,late\n", "apex on line 2 of clips.csv must be the number"),
        ("video\na.mp4\na.mp4\n", "a.mp4 stands twice"),
        ("video,apex\n,3\n", "line 2 of clips.csv names no video"),
    ],
)
def test_what_is_wrong_with_a_list_is_named(tmp_path, text, said):
    with pytest.raises(UserError, match=said):
        read_list(write(tmp_path, text))


def test_a_list_that_is_not_there_is_named(tmp_path):
    with pytest.raises(UserError, match=r"none.csv cannot be read"):
        read_list(tmp_path / "none.csv")


@pytest.fixture
def clips(tmp_path):
    return [ListedClip(n, f"{n}.mp4", tmp_path / f"{n}.mp4") for n in range(7)]


def answer(clip):
    if clip.number == 3:
        raise UserError("3.mp4 is empty\n(0 bytes).")
    if clip.number == 4:
        return Recognition(clip.video, NO_EXPRESSION, "nothing moved", [])
    return Recognition(clip.video, "surprise", "it moved", SCORES)


def test_every_clip_is_answered_once_by_one_process_and_the_table_has_the_lists_order(
    clips, tmp_path
):
    output = tmp_path / "predictions.parquet"
    unfinished = Unfinished(output, {"model": "m"})
    unfinished.claim()
    shares = [answer_share(clips, answer, unfinished, process, 2) for process in (0, 1)]
    taken = [[next(shares[1])], list(shares[0]), list(shares[1])]  # in any order
    assert sorted(clip.number for share in taken for clip in share) == list(range(7))
    table = write_table(clips, unfinished, output)
    assert table["video"].tolist() == [clip.video for clip in clips]
    assert table["answer"].tolist() == [
        *("surprise", "surprise", "surprise", FAILED, NO_EXPRESSION, "surprise", "surprise")
    ]
    assert table.loc[3, "reason"] == "3.mp4 is empty (0 bytes)."
    assert table.loc[0, "score_negative"] == 0.25
    assert table.loc[[3, 4], "score_negative"].isna().all()
    pandas.testing.assert_frame_equal(pandas.read_parquet(output), table)
    assert not unfinished.folder.exists()


def test_a_stopped_run_goes_on_with_the_clip_it_was_at(clips, tmp_path):
    unfinished = Unfinished(tmp_path / "p.csv", {"model": "m"})
    unfinished.claim()
    begun = answer_share(clips, answer, unfinished, 0, 1)
    next(begun), next(begun)
    place = unfinished.folder / "answers-0.jsonl"
    place.write_text(place.read_text() + '\n{"index": 2, "vid')  # killed while it wrote
    asked = []

    def noted(clip):
        asked.append(clip.number)
        return answer(clip)

    with pytest.raises(UserError, match="5 of 7 clips have no answer yet"):
        write_table(clips, unfinished, tmp_path / "p.csv")
    list(answer_share(clips, noted, unfinished, 0, 1))
    assert asked == [2, 3, 4, 5, 6]
    assert len(write_table(clips, unfinished, tmp_path / "p.csv")) == 7
    assert len(pandas.read_csv(tmp_path / "p.csv")) == 7


def test_answers_of_other_settings_are_not_mixed_in(clips, tmp_path):
    Unfinished(tmp_path / "p.csv", {"clips": list_mark(clips)}).claim()
    Unfinished(tmp_path / "p.csv", {"clips": list_mark(clips)}).claim()
    other = Unfinished(tmp_path / "p.csv", {"clips": list_mark(clips[:3])})
    with pytest.raises(UserError, match="holds answers of other clips or settings"):
        other.claim()


def test_a_full_disk_ends_in_a_sentence_and_keeps_what_is_there(clips, tmp_path, monkeypatch):
    unfinished = Unfinished(tmp_path / "p.csv", {})
    unfinished.claim()
    share = answer_share(clips, answer, unfinished, 0, 1)
    next(share)
    opened = type(tmp_path).open

    def full(path, mode="r", **how):
        if "a" in mode:
            raise OSError(28, "No space left on device")
        return opened(path, mode, **how)

    monkeypatch.setattr(type(tmp_path), "open", full)
    with pytest.raises(UserError, match=r"No space left on device.*Finished answers are kept"):
        next(share)
    monkeypatch.undo()
    assert list(unfinished.answers()) == [0]


def test_answers_are_json_lines(clips, tmp_path):
    unfinished = Unfinished(tmp_path / "p.csv", {})
    unfinished.claim()
    list(answer_share(clips[:1], answer, unfinished, 0, 1))
    (line,) = (unfinished.folder / "answers-0.jsonl").read_text().split("\n")[1:]
    assert json.loads(line)["answer"] == "surprise"


def test_an_answer_cut_inside_a_letter_costs_that_answer_alone(tmp_path):
    """A line that was written by whatever, cut off in the middle of an Ä."""
    unfinished = Unfinished(tmp_path / "t.csv", {})
    unfinished.claim()
    whole = json.dumps({"index": 0, "video": "a\u2028.mp4", "answer": "x"}, ensure_ascii=False)
    half = '\n{"index": 1, "video": "Ä'.encode()[:-1]
    (unfinished.folder / "answers-0.jsonl").write_bytes(whole.encode() + half)
    assert unfinished.answers() == {0: {"video": "a\u2028.mp4", "answer": "x"}}


def test_names_that_are_no_text_and_errors_nobody_thought_of_stop_nothing(tmp_path):
    names = ["caf\udce9.mp4", "a\u2028b.mp4"]
    clips = [ListedClip(i, name, tmp_path / name) for i, name in enumerate(names)]
    assert list_mark(clips) != list_mark(clips[:1])
    unfinished = Unfinished(tmp_path / "t.parquet", {})
    unfinished.claim()

    def answer(clip):
        raise KeyError("0.7")

    assert len(list(answer_share(clips, answer, unfinished, 0, 1))) == 2
    table = write_table(clips, unfinished, tmp_path / "t.parquet")
    assert list(table["answer"]) == [FAILED] * 2
    assert list(table["video"]) == ["caf\\udce9.mp4", "a\u2028b.mp4"]
    assert all("unexpected KeyError" in reason for reason in table["reason"])


def test_a_column_with_blanks_is_read_as_pandas_writes_it(tmp_path):
    first, second = read_list(write(tmp_path, "video,apex\na.mp4,12.0\nb.mp4,\n"))
    assert (first.apex, second.apex) == (12, None)
