"""CASME II and CAS(ME)³ as they lie on disk; see corpora_on_disk.py, to which this belongs."""

from collections import Counter
from pathlib import Path
from shutil import copytree

import numpy as np

from tests.corpora_on_disk import OnDisk, film, write_frame, write_frames, write_table

_CASME2_HEADER = (
    *("Subject", "Filename", None, "OnsetFrame", "ApexFrame", "OffsetFrame", None),
    *("Action Units", "Estimated Emotion"),
)
_CASME2_WORDS = (
    *("happiness", "surprise", "disgust", "repression", "others", "fear", "sadness"),
    "Others ",
)


def write_casme2(root: Path, clips: int = 32, size: int = 64) -> OnDisk:
    """CASME II, annotated twice, cropped beside raw; `clips` that can be used, and eight that not.

    Four subjects; the first 32 clips show each of them in each of the seven emotions.
    """
    frames, rows, emotions = root / "Cropped-updated/Cropped", [], Counter()
    for index in range(clips):
        word, person = _CASME2_WORDS[index // 4 % 8], (1, 2, 17, 26)[index % 4]
        rows.append(_casme2_clip(frames, person, index, word, size))
        emotions[word.strip().lower()] += 1
    broken = [
        ["x", *rows[0][1:]],
        [3, *rows[0][1:]],
        [1, "EP99_01f", *rows[0][2:]],
        *(
            [1, f"EP98_0{k}f", *rows[0][2:4], apex, offset, None, None, "disgust"]
            for k, (apex, offset) in enumerate(
                [(rows[0][3], rows[0][5]), ("/", rows[0][3]), ("/", 999)]
            )
        ),
        [1, "EP97_01f", *rows[0][2:8], None],
        [1, "EP96_01f", None, "20x", *rows[0][4:8], "fear"],
        rows[0],
    ]
    for k in range(3):
        copytree(frames / "sub01/EP01_01f", frames / f"sub01/EP98_0{k}f")
    emotions.update(["happiness"] * 3 + ["disgust"] * 3 + ["(none)", "fear"])
    note = ["* sub18 has no clip"]
    write_table(root / "CASME2-coding-20190701.xlsx", _CASME2_HEADER, *rows, *broken, [], note)
    write_table(root / "CASME2-coding-20140508.xls", _CASME2_HEADER, rows[1])
    write_frames(root / "CASME2_RAW_selected/sub01/EP01_01f", film(1, "happiness", 0, size))
    reasons = (
        *("Subject must be a number, got 'x'", "no folder sub03", "no folder EP99_01f"),
        *("apex must lie in", "offset must come after", "offset frame 999 is not on disk"),
        *("the emotion cell is empty", "OnsetFrame must be a whole number", "repeats row 2"),
        *("taken for a note", "several annotations: CASME2-coding-20190701.xlsx was read"),
        "kept without action units",
    )
    return OnDisk(root, clips + 8, clips, dict(emotions), reasons)


def _casme2_clip(frames: Path, person: int, index: int, word: str, size: int) -> list[object]:
    """Write a clip that can be used, each with another of the corpus's quirks; its row."""
    episode = index // 4 + 1
    name = {5: "EP02_2", 6: "EP02f", 7: "EP06_02_01"}.get(index, f"EP{episode:02d}_01f")
    clip, folder = film(person, word.strip(), index, size), frames / f"sub{person:02d}" / name
    first = 3 + 5 * index
    left_out = (first + clip.apex + 1,) if index == 9 else ()
    onset, apex, offset = write_frames(folder, clip, "reg_img{}.jpg", first, left_out)
    for junk in ("Thumbs.db", f"._reg_img{onset}.jpg"):
        (folder / junk).write_bytes(b"junk")
    shown = {3: "/", 10: None, 12: str(apex), 13: float(apex)}.get(index, apex)
    units = {0: 12, 1: "?", 2: "4+L12", 3: "smirk"}.get(index, "+".join(clip.action_units))
    return [
        person,
        f" {name}" * (index == 2) or name,
        None,
        onset,
        shown,
        offset,
        None,
        units,
        word,
    ]


_CASME3_HEADER = (
    "Subject",
    "Filename",
    "Onset",
    "Apex",
    "Offset",
    "AU",
    "Objective class",
    "emotion",
)
_CASME3_WORDS = ("disgust", "fear", "anger", "sad", "happy", "surprise", "others", "Others")


def write_casme3(root: Path, clips: int = 32, size: int = 64) -> OnDisk:
    """CAS(ME)³: whole videos and cut-outs, and other parts beside; seven more cannot be used.

    Four subjects, two of them in whole videos; the first 32 clips show each in each emotion.
    """
    rows, emotions = [], Counter()
    for index in range(clips):
        word, person = _CASME3_WORDS[index // 4 % 8], (1, 2, 3, 10)[index % 4]
        rows.append(_casme3_clip(root, person, index, word, size))
        emotions[word.lower()] += 1
    broken, lost = _break_casme3(root, rows)
    emotions.update(lost)
    labels = root / "annotation/partA"
    v2 = "cas(me)3_part_A_ME_label_JpgIndex_v2.xlsx"
    write_table(labels / v2, _CASME3_HEADER, *rows, *broken, sheet="label")
    longer = [[*row, None, 1] for row in (_CASME3_HEADER, rows[0])]
    write_table(labels / "cas(me)3_part_A_ME_label_JpgIndex_v1.xls", *longer)
    macro = "cas(me)3_part_A_MaE_label_JpgIndex_v2_emotion.xlsx"
    write_table(labels / macro, _CASME3_HEADER, rows[1])
    _write_other_footage(root, size)
    reasons = (
        *("onset frame 3 is not on disk: spNO.1/a/color", "no folder spNO.3_z_7", "repeats row 2"),
        *("apex must lie in", "offset must come after", "no frame in (onset, offset]"),
        *("apex frame", "Subject must be like spNO.1", "it is to be spotted"),
        *("kept, though 2 of its", f"several annotations: annotation/partA/{v2} was read"),
    )
    return OnDisk(root, clips + len(lost), clips, dict(emotions), reasons)


def _casme3_clip(root: Path, person: int, index: int, word: str, size: int) -> list[object]:
    """Write a clip that can be used, each with another of the corpus's quirks; its row."""
    take = index // 4
    filename = {13: "K", 10: "J", 18: "j"}.get(index, "abc"[take // 3])
    clip, first = film(person, word, index, size), 20 + 40 * (take if index not in (10, 18) else 9)
    onset = first + clip.onset
    if person < 3:
        folder = root / f"part_A/data/part_A/spNO.{person}" / filename.lower() / "color"
    else:
        folder = root / f"Part_A_ME_clip/frame/spNo.{person}_{filename}_{onset}"
    left_out = (onset + 1, first + clip.offset) if index == 5 else ()
    onset, apex, offset = write_frames(folder, clip, "{}.jpg", first, left_out)
    write_frame(folder.parent / "depth" / f"{onset}.png", np.zeros((size, size, 3), np.uint8))
    shown = {4: onset, 6: "/"}.get(index, apex)
    units = {0: "4+7", 1: 4, 2: "T28", 3: "R10", 4: "1，2"}.get(index, "+".join(clip.action_units))
    subject = f"spNO.{person}" if index != 8 else f" spNo.{person} "
    return [subject, filename, onset, shown, offset, units, index % 7, word]


def _break_casme3(root: Path, rows: list[list[object]]) -> tuple[list[list[object]], list[str]]:
    """Rows that cannot be used, and their emotions; the last repeats the first of all."""
    good = rows[0]
    onset, apex, offset = good[2:5]
    gap = root / "Part_A_ME_clip/frame/spNo.3_d_1000"
    clip = film(3, "fear", 0, 64)
    first = 1000 - clip.onset
    write_frames(gap, clip, "{}.jpg", first, (first + clip.apex,))
    alone = root / "Part_A_ME_clip/frame/spNo.3_e_50"
    write_frame(alone / "50.jpg", clip.frames[0])
    after = "4", 1, "fear"
    broken = [
        ["spNO.1", "a", 3, 9, 15, *after],
        ["spNO.3", "z", 7, 9, 15, *after],
        ["spNO.1", "a", onset + 1, onset, offset, *after],
        ["spNO.1", "a", onset + 2, apex + 1, onset, *after],
        ["spNO.3", "d", 1000, first + clip.apex, first + clip.offset, *after],
        ["spNO.3", "e", 50, "/", 60, *after],
        ["x", "a", onset + 3, apex, offset, *after],
    ]
    return [*broken, good], ["fear"] * len(broken)


def _write_other_footage(root: Path, size: int) -> None:
    """What must not be read: other parts, macro-expressions, and videos of them."""
    still = np.full((size, size, 3), 90, np.uint8)
    for folder in (
        *("part_B/data/part_B/spNO.3/z/color", "part_C/01/a/color", "part_B/spNO.1/a/color"),
        *("Part_A_MaE_clip/frame/spNo.3_z_7", "Part_A_ME_clip/depth/spNo.3_z_7"),
    ):
        for number in (3, 7, 9, 15):
            write_frame(root / folder / f"{number}.jpg", still)
    (root / "Part_A_ME_clip/video").mkdir()
    (root / "Part_A_ME_clip/video/spNO.3_z_7.mp4").write_bytes(b"no frames")
