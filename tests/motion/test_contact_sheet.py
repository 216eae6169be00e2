"""The contact sheet: what a user looks at to see which clips went wrong."""

import numpy as np
import pytest
from PIL import Image

from hcp_mer.motion.contact_sheet import contact_sheet

RED, BLUE = (255, 0, 0), (0, 0, 255)


def picture(colour, height=120, width=160):
    return np.full((height, width, 3), colour, np.uint8)


def sheet_of(tmp_path, entries, **options):
    contact_sheet(entries, tmp_path / "sheet.png", **options)
    with Image.open(tmp_path / "sheet.png") as image:
        assert image.format == "PNG"
        return np.array(image.convert("RGB")).astype(int)


def area(sheet, colour):
    return np.count_nonzero((sheet == colour).all(axis=-1))


def dark(sheet):
    """Pixels of text, on light paper."""
    return sheet.max(axis=-1) < 100


def test_every_picture_is_shown_in_its_colours_and_order(tmp_path):
    sheet = sheet_of(tmp_path, [("a", picture(RED)), ("b", picture(BLUE))])
    assert area(sheet, RED) > 20_000
    assert area(sheet, BLUE) == area(sheet, RED)
    first, second = (np.argwhere((sheet == colour).all(axis=-1)) for colour in (RED, BLUE))
    assert first[:, 1].max() < second[:, 1].min()


@pytest.mark.parametrize(("height", "width"), [(1088, 2040), (480, 640), (600, 200), (20, 20)])
def test_a_picture_of_any_size_is_shown_whole(tmp_path, height, width):
    frame = picture(RED, height, width)
    edge = max(1, height // 5)
    frame[:edge], frame[-edge:] = BLUE, BLUE
    sheet = sheet_of(tmp_path, [("clip", frame)])
    rows, columns = np.nonzero((sheet == BLUE).all(axis=-1) | (sheet == RED).all(axis=-1))
    assert np.ptp(columns) / np.ptp(rows) == pytest.approx(width / height, rel=0.06)
    assert area(sheet, BLUE) / area(sheet, RED) == pytest.approx(2 / 3, rel=0.2)


def test_the_name_is_written_below_its_picture(tmp_path):
    sheet = sheet_of(tmp_path, [("sub01/EP02_01f", picture(RED)), ("", picture(RED))])
    rows, columns = np.nonzero(dark(sheet))
    assert len(rows) > 100
    below = np.nonzero((sheet == RED).all(axis=-1))[0].max()
    assert rows.min() > below
    assert columns.max() < sheet.shape[1] / 2


def test_a_long_name_stays_within_its_cell(tmp_path):
    name = "a_subject_with_a_very_long_name/" + "and_a_clip_with_one_that_is_no_shorter" * 3
    alone = sheet_of(tmp_path, [(name, picture(RED)), ("", picture(RED))])
    columns = np.nonzero(dark(alone))[1]
    assert columns.max() < alone.shape[1] / 2
    assert alone.shape == sheet_of(tmp_path, [("a", picture(RED)), ("", picture(RED))]).shape


def test_names_that_differ_look_different_in_any_script(tmp_path):
    sheets = [sheet_of(tmp_path, [(name, picture(RED))]) for name in ("张三/1", "李四/1", "s03/1")]
    assert (sheets[0] != sheets[1]).any()
    assert (sheets[1] != sheets[2]).any()


def test_at_most_sixty_are_shown_and_the_others_counted(tmp_path):
    sixty = sheet_of(tmp_path, [("", picture(RED))] * 60)
    many = sheet_of(tmp_path, [("", picture(RED))] * 500)
    assert area(many, RED) == area(sixty, RED)
    assert not dark(sixty).any()
    assert np.nonzero(dark(many))[0].min() > np.nonzero((many == RED).all(axis=-1))[0].max()
    more = sheet_of(tmp_path, [("", picture(RED))] * 501)
    assert (more != many).any()  # "… and 441 more", not 440
    assert max(many.shape) < 2000


def test_crosses_mark_where_aligned_eyes_must_be(tmp_path):
    grey = picture((90, 90, 90), 224, 224)
    plain, marked = (sheet_of(tmp_path, [("a", grey)], eyes=eyes) for eyes in (False, True))
    rows, columns = np.nonzero((plain != marked).any(axis=-1))
    face_rows, face_columns = np.nonzero((plain == 90).all(axis=-1))
    side = np.ptp(face_columns) + 1
    left = columns < face_columns.mean()
    shares = [
        ((axis[part].mean() + 0.5 - start) / side)
        for part in (left, ~left)
        for axis, start in ((columns, face_columns.min()), (rows, face_rows.min()))
    ]
    assert shares == pytest.approx([0.36, 0.415, 0.64, 0.415], abs=0.01)


def test_nothing_to_show_is_an_empty_sheet(tmp_path):
    assert not dark(sheet_of(tmp_path, [])).any()


def test_a_sheet_that_cannot_be_written_is_an_error(tmp_path):
    with pytest.raises(OSError, match="no_such_folder"):
        contact_sheet([("a", picture(RED))], tmp_path / "no_such_folder" / "sheet.png")
