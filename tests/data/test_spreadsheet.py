"""Tables of every kind, as spreadsheet programs and scripts really leave them, and damaged ones."""

import csv
import datetime
import io
import re
import struct
import zipfile

import msoffcrypto
import openpyxl
import pytest
import xlwt
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from msoffcrypto.format.ooxml import OOXMLFile

from hcp_mer.data.spreadsheet import SheetRow, read_sheet_rows
from hcp_mer.errors import UserError
from tests.corpora_on_disk import write_table

HEADINGS = {"name": ("File name", "文件名"), "onset": ("Onset Frame", "Onset"), "note": ("Note",)}
HEADER = ("File name", None, "Onset Frame", "Note")
KINDS = ("xlsx", "xls", "csv")


def read(path, optional=()):
    """The rows as (number, name, onset, note), onset as text."""
    rows = read_sheet_rows(path, HEADINGS, optional)
    return [(row.number, row.text("name"), row.text("onset"), row.text("note")) for row in rows]


def write(folder, *rows, kind="xlsx"):
    path = folder / f"table.{kind}"
    write_table(path, *rows)
    return path


@pytest.fixture(params=KINDS)
def kind(request):
    return request.param


def test_rows_are_given_by_field_and_counted_as_the_program_does(tmp_path, kind):
    empty = (None, None, None, None)
    rows = [("CASME II",), empty, HEADER, ("a", 1, 46, "x"), empty, ("b", 2, 59, None)]
    path = write(tmp_path, *rows, kind=kind)
    assert read(path) == [(4, "a", "46", "x"), (6, "b", "59", "")]


def test_headings_may_differ_in_case_spaces_punctuation_and_language(tmp_path, kind):
    header = (" onset_FRAME ", "文件名", "NOTE:")
    path = write(tmp_path, header, (46, "a", "x"), kind=kind)
    assert read(path) == [(2, "a", "46", "x")]


def test_of_two_columns_with_one_heading_the_left_one_is_read(tmp_path, kind):
    path = write(tmp_path, (*HEADER, "Onset Frame"), ("a", None, 46, None, 99), kind=kind)
    assert read(path) == [(2, "a", "46", "")]


def test_a_missing_column_is_named_unless_it_is_optional(tmp_path, kind):
    path = write(tmp_path, HEADER[:3], ("a", None, 46), kind=kind)
    assert read(path, optional=("note",)) == [(2, "a", "46", "")]
    with pytest.raises(
        UserError, match=rf"^table.{kind} has no column Note\. Expected a header row"
    ):
        read(path)


def test_a_table_without_rows_has_none_and_an_empty_file_has_no_header(tmp_path, kind):
    assert read(write(tmp_path, HEADER, kind=kind)) == []
    with pytest.raises(UserError, match="has no column File name, Onset Frame, Note"):
        read(write(tmp_path, kind=kind))


@pytest.mark.parametrize(
    ("cell", "number"), [(46, 46), (46.0, 46), ("46", 46), (" 46 ", 46), ("46.0", 46), (-1, -1)]
)
def test_whole_numbers_are_read_as_cells_hold_them(tmp_path, kind, cell, number):
    (row,) = read_sheet_rows(write(tmp_path, HEADER, ("a", 0, cell, 0), kind=kind), HEADINGS)
    assert row.whole_number("onset") == number


@pytest.mark.parametrize(
    "cell",
    [
        *(None, "", "x", "4x", 4.5, "4,5", "1e3", "４６", "=4+2", "#N/A", "- 4", "0x10"),
        *(True, False, 10**9, 1e300, -1.5, "1 000", datetime.date(2014, 5, 8)),
    ],
)
def test_anything_else_is_no_whole_number(tmp_path, kind, cell):
    (row,) = read_sheet_rows(write(tmp_path, HEADER, ("a", 0, cell, 0), kind=kind), HEADINGS)
    with pytest.raises(UserError, match=r"^onset must be a whole number, got"):
        row.whole_number("onset")


def test_a_frame_number_is_not_negative(tmp_path, kind):
    (row,) = read_sheet_rows(write(tmp_path, HEADER, ("a", 0, -1, 0), kind=kind), HEADINGS)
    with pytest.raises(UserError, match="onset must not be negative, got -1"):
        row.frame_number("onset")


@pytest.mark.parametrize("kind", ["xlsx", "xls"])
@pytest.mark.parametrize("day", [datetime.date(1900, 2, 15), datetime.date(2014, 4, 7)])
def test_a_date_is_called_one_and_never_taken_for_the_number_behind_it(tmp_path, kind, day):
    (row,) = read_sheet_rows(write(tmp_path, HEADER, ("a", 0, day, 0), kind=kind), HEADINGS)
    with pytest.raises(UserError, match=f"whole number, got the date {day} 00:00:00: format it"):
        row.whole_number("onset")


def test_a_date_that_there_is_not_costs_its_row_only(tmp_path):
    book = xlwt.Workbook()
    sheet = book.add_sheet("Sheet1")
    for column, heading in enumerate(HEADER):
        sheet.write(0, column, heading)
    for row, days in enumerate((1e9, 3e6), start=1):
        sheet.write(row, 0, "a")
        sheet.write(row, 2, days, xlwt.easyxf(num_format_str="YYYY-MM-DD"))
    book.save(str(tmp_path / "table.xls"))
    rows = read_sheet_rows(tmp_path / "table.xls", HEADINGS)
    assert [row.text("onset") for row in rows] == ["#####", "#####"]
    with pytest.raises(UserError, match="whole number, got '#####'"):
        rows[0].frame_number("onset")


def test_a_cell_in_error_is_no_empty_one(tmp_path):
    """Else an apex that could not be computed would be taken for one to be spotted."""
    book = xlwt.Workbook()
    sheet = book.add_sheet("Sheet1")
    for column, heading in enumerate(HEADER):
        sheet.write(0, column, heading)
    sheet.row(1).set_cell_text(0, "a")
    sheet.row(1).set_cell_error(2, "#DIV/0!")
    book.save(str(tmp_path / "table.xls"))
    assert read(tmp_path / "table.xls") == [(2, "a", "#DIV/0!", "")]


def edit_sheet(path, pattern, replacement):
    """Change the XML of a workbook's sheet, as a program other than openpyxl would write it."""
    with zipfile.ZipFile(path) as archive:
        parts = {name: archive.read(name) for name in archive.namelist()}
    sheet = "xl/worksheets/sheet1.xml"
    edited = re.sub(pattern, replacement, parts[sheet])
    assert edited != parts[sheet]
    with zipfile.ZipFile(path, "w") as archive:
        for name, content in (parts | {sheet: edited}).items():
            archive.writestr(name, content)


def test_a_formula_counts_with_the_value_that_a_program_has_computed(tmp_path):
    path = write(tmp_path, HEADER, ("a", None, 40, "x"))
    book = openpyxl.load_workbook(path)
    book.active["C2"] = "=20+26"
    book.save(path)
    edit_sheet(path, rb"(<f>20\+26</f>)<v ?/?>(</v>)?", rb"\1<v>46</v>")
    assert read(path) == [(2, "a", "46", "x")]


def test_a_wrong_extent_in_the_file_hides_nothing(tmp_path):
    path = write(tmp_path, HEADER, ("a", None, 46, "x"))
    edit_sheet(path, rb'<dimension ref="[^"]*"', b'<dimension ref="A1"')
    assert read(path) == [(2, "a", "46", "x")]


def test_all_sheets_are_searched_for_the_header(tmp_path):
    book = openpyxl.Workbook()
    book.active.append(["read me"])
    book.create_chartsheet("chart").add_chart(openpyxl.chart.BarChart())
    sheet = book.create_sheet("label")
    for cells in (HEADER, ("a", None, 46, "x")):
        sheet.append(cells)
    book.save(tmp_path / "table.xlsx")
    assert read(tmp_path / "table.xlsx") == [(2, "a", "46", "x")]


@pytest.mark.parametrize(("name", "kind"), [("table.xls", "xlsx"), ("table.xlsx", "xls")])
def test_a_workbook_is_known_by_its_content_not_its_ending(tmp_path, name, kind):
    path = write(tmp_path, HEADER, ("a", None, 46, "x"), kind=kind)
    assert read(path.rename(tmp_path / name)) == [(2, "a", "46", "x")]


@pytest.mark.parametrize("separator", [",", ";", "\t"])
@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "gb18030"])
@pytest.mark.parametrize("line_end", ["\n", "\r\n", "\r"])
def test_text_tables_of_many_programs_are_read(tmp_path, separator, encoding, line_end):
    lines = [
        "CASME II, coded by A, B, C, D and E",
        "文件名{0}Onset{0}Note",
        " a {0}46{0}开心 ",
        "b{0}59",
    ]
    text = "".join(line.format(separator) + line_end for line in lines)
    (tmp_path / "table.csv").write_bytes(text.encode(encoding))
    assert read(tmp_path / "table.csv") == [(3, "a", "46", "开心"), (4, "b", "59", "")]


@pytest.mark.parametrize("separator", [";", "\t"])
def test_commas_in_titles_and_notes_separate_nothing(tmp_path, separator):
    lines = [
        "coded by A, B, C",
        "File name{0}Onset{0}Note, if any, or: note{0}Note",
        "a{0}46{0}{0}x",
    ]
    lines += ["b{0}59{0}{0}eyes, brows, lips, chin, nose, left, then right"] * 3
    (tmp_path / "table.csv").write_text("\n".join(lines).format(separator))
    rows = read(tmp_path / "table.csv")
    assert rows[0] == (3, "a", "46", "x")
    assert rows[3] == (6, "b", "59", "eyes, brows, lips, chin, nose, left, then right")


@pytest.mark.parametrize("quoted", ["{}", '"{}"'])
@pytest.mark.parametrize("separator", [",", ";", "\t"])
def test_cells_may_be_quoted_whatever_separates_them(tmp_path, separator, quoted):
    lines = (["File name", "Onset", "Note"], ["a", "46", "x"])
    text = "\n".join(separator.join(quoted.format(cell) for cell in line) for line in lines)
    (tmp_path / "table.csv").write_text(text)
    assert read(tmp_path / "table.csv") == [(2, "a", "46", "x")]


@pytest.mark.parametrize(
    ("cell", "numeral"),
    [("1.0", "1"), (" 01.00 ", "01"), (1.0, "1"), ("-1.0", "-1"), ("1.05", "1.05"), (None, "")],
)
def test_a_numeral_loses_the_zeros_that_say_nothing_and_text_keeps_them(cell, numeral):
    row = SheetRow(1, {"name": cell})
    assert row.numeral("name") == numeral
    assert row.text("name") == ("1" if cell == 1.0 else str(cell or "").strip())


@pytest.mark.parametrize("note", ["one\ntwo", "a,b;c\td", 'say "so"', "line\u2028end\x0b\x1c\x85"])
def test_odd_characters_within_a_cell_split_nothing(tmp_path, note):
    write_table(tmp_path / "table.csv", HEADER, ("a", None, 46, note), ("b", None, 59, ""))
    rows = read_sheet_rows(tmp_path / "table.csv", HEADINGS)
    assert [row.cells["note"] for row in rows] == [note, ""]
    assert [row.number for row in rows] == [2, 3]


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (b'name,"Onset\n1,2\n', "cannot be read as a table .*quotation mark that is not closed"),
        ("File name;Onset\n".encode("utf-16"), "is no text in UTF-8"),
        (b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR", "is no text in UTF-8"),
        (b"File name\xff\xff", "is no text in UTF-8"),
        (b"", "has no column File name"),
    ],
)
def test_a_text_table_that_is_none_is_diagnosed(tmp_path, content, reason):
    (tmp_path / "table.csv").write_bytes(content)
    with pytest.raises(UserError, match=rf"^table.csv {reason}"):
        read(tmp_path / "table.csv")


@pytest.mark.parametrize(
    ("content", "diagnosis"),
    [
        (b"Subject,Filename\n1,EP02_01f\n", "another kind of file"),
        (b"<html><table><tr><td>File name</td></tr></table></html>", "another kind of file"),
        (b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1" + bytes(600), "damaged"),
        (b"PK\x03\x04" + bytes(60), "damaged"),
        (b"", "another kind of file"),
    ],
)
@pytest.mark.parametrize("name", ["table.xlsx", "table.xls"])
def test_a_file_that_is_no_workbook_is_diagnosed(tmp_path, name, content, diagnosis):
    (tmp_path / name).write_bytes(content)
    with pytest.raises(UserError, match=rf"^{name} is not a readable workbook .it is {diagnosis}"):
        read(tmp_path / name)


def test_a_missing_file_is_named(tmp_path, kind):
    with pytest.raises(UserError, match=rf"table\.{kind} is (no file|.*No such file)"):
        read(tmp_path / f"table.{kind}")


def test_a_new_workbook_with_a_password_is_called_protected(tmp_path):
    path = write(tmp_path, HEADER, ("a", None, 46, "x"))
    plain = io.BytesIO(path.read_bytes())
    with path.open("wb") as sealed:
        OOXMLFile(plain).encrypt("secret", sealed)
    assert msoffcrypto.OfficeFile(io.BytesIO(path.read_bytes())).is_encrypted()
    with pytest.raises(UserError, match=r"it is password-protected\). Save .* without a password"):
        read(path)


def test_an_old_workbook_with_a_password_is_called_protected(tmp_path):
    book = xlwt.Workbook()
    book.add_sheet("Sheet1").write(0, 0, "File name")
    stream = book.get_biff_data()
    (length,) = struct.unpack_from("<H", stream, 2)
    after_first_record = 4 + length
    file_pass = struct.pack("<HHHHH", 0x002F, 6, 0, 0x1234, 0x5678)  # [MS-XLS] 2.4.117
    sealed = stream[:after_first_record] + file_pass + stream[after_first_record:]
    xlwt.CompoundDoc.XlsDoc().save(str(tmp_path / "table.xls"), sealed)
    with pytest.raises(UserError, match=r"it is password-protected"):
        read(tmp_path / "table.xls")


def _bytes_of(kind):
    stream = io.BytesIO()
    rows = [HEADER, *((f"clip{n}", n, 40 + n, datetime.date(2014, 5, 8)) for n in range(30))]
    if kind == "csv":
        text = io.StringIO()
        csv.writer(text).writerows(rows)
        return text.getvalue().encode()
    if kind == "xls":
        book = xlwt.Workbook()
        sheet = book.add_sheet("Sheet1")
        for i, cells in enumerate(rows):
            for j, cell in enumerate(cells):
                sheet.write(i, j, cell)
    else:
        book = openpyxl.Workbook()
        for cells in rows:
            book.active.append(cells)
    book.save(stream)
    return stream.getvalue()


WHOLE = {kind: _bytes_of(kind) for kind in KINDS}


@settings(
    max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(data=st.data())
def test_damaged_bytes_give_rows_or_one_readable_line(tmp_path, kind, data):
    damaged = bytearray(WHOLE[kind])
    places = st.integers(0, len(damaged) - 1)
    for place, byte in data.draw(st.lists(st.tuples(places, st.integers(0, 255)), max_size=20)):
        damaged[place] = byte
    end = data.draw(st.one_of(st.none(), places))
    path = tmp_path / f"table.{kind}"
    path.write_bytes(damaged[:end])
    said = ""
    try:
        assert all(number > 1 for number, *_ in read(path))
    except UserError as error:
        said = str(error)
    assert said == "" or re.fullmatch(rf"{path.name} (is not|is no|has no|cannot be) .*", said)
