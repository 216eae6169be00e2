"""What becomes of other people's videos: each is theirs alone, and deleted in the end."""

import os
import time

import pytest

from hcp_mer.errors import UserError
from hcp_mer.recognition.page import FULL
from hcp_mer.recognition.page_uploads import Uploads
from tests.recognition.stand_in_page import arrive, contents, recognition


def test_an_upload_is_deleted_when_it_is_answered_and_when_it_cannot_be(page, pipe, folders):
    for says in (recognition, UserError("too dark"), RuntimeError("oh")):
        pipe.says = says
        choice = page.take(str(arrive(folders[0])), None)[page.parts.choice]
        assert contents(*folders) == [choice.path]
        page.answer_choice(choice)
        assert contents(*folders) == []
    assert pipe.asked == 3


def test_a_new_clip_hides_the_answer_to_the_one_before(page, clip):
    shown = page.take(str(clip), None)
    assert not shown[page.parts.result]["visible"]
    assert shown[page.parts.visit] is None
    assert "Looking at clip.mkv" in shown[page.parts.status]


def test_visitors_with_the_same_clip_do_not_lose_it_to_each_other(folders):
    uploads = Uploads(*folders)
    first, second = (uploads.take(arrive(folders[0])) for _ in range(2))
    third = uploads.take(folders[0] / "a1b2" / "clip.mkv")  # arrived as one file with the second
    uploads.discard(first)
    uploads.discard(third)
    assert contents(*folders) == [second]
    assert second.name == "clip.mkv"


def test_of_two_choices_in_a_row_the_last_is_answered_once(page, pipe, folders):
    first = page.take(str(arrive(folders[0], "first.mkv")), None)[page.parts.choice]
    second = page.take(str(arrive(folders[0], "second.mkv")), first)[page.parts.choice]
    assert contents(*folders) == [second.path]
    turns = [page.answer_choice(second) for _ in range(2)]
    assert "second.mkv" in turns[0][page.parts.answer]
    assert page.parts.answer not in turns[1]
    assert pipe.asked == 1
    assert contents(*folders) == []


def test_an_answer_that_nobody_waits_for_any_more_is_not_shown(page, pipe, folders):
    first = page.take(str(arrive(folders[0], "first.mkv")), None)[page.parts.choice]

    def meanwhile(name):
        page.take(str(arrive(folders[0], "second.mkv")), first)
        return recognition(name)

    pipe.says = meanwhile
    assert page.parts.answer not in page.answer_choice(first)


def test_an_upload_that_is_gone_is_told(page, folders):
    (folders[0] / "a1b2").mkdir()
    shown = page.take(str(folders[0] / "a1b2" / "clip.mp4"), None)
    assert "Choose the video again." in shown[page.parts.status]
    (after,) = page.answer_choice(shown[page.parts.choice]).values()
    assert "Choose" not in str(after)  # the complaint stays as it is
    assert contents(*folders) == []
    assert list(folders[1].iterdir()) == []


def test_only_uploads_are_taken_and_only_taken_ones_deleted(tmp_path, folders):
    uploads, other = Uploads(*folders), tmp_path / "other.mp4"
    other.write_bytes(b"mine")
    with pytest.raises(UserError, match="no upload"):
        uploads.take(other)
    with pytest.raises(UserError, match="no upload"):
        uploads.take(folders[0] / ".." / "other.mp4")
    uploads.discard(other)
    uploads.discard(None)
    assert other.exists()


def test_what_nobody_asks_about_is_swept_away(folders):
    uploads = Uploads(*folders)
    taken = uploads.take(arrive(folders[0]))
    partial, fresh = folders[0] / "tmpabc", folders[0] / "tmpdef"
    partial.write_bytes(b"half of a fa")
    fresh.write_bytes(b"still arriv")
    long_ago = time.time() - 3600
    for path in (taken, partial):
        os.utime(path, (long_ago, long_ago))
    uploads.sweep()
    assert contents(*folders) == [fresh]


def test_who_finds_the_line_full_is_told_and_leaves_nothing(page, folders):
    choice = page.take(str(arrive(folders[0])), None)[page.parts.choice]
    shown = page.turn_away(choice)
    assert FULL in shown[page.parts.status]
    assert contents(*folders) == []
