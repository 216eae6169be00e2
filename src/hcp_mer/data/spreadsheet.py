"""Annotation tables (.xlsx, .xls, .csv): find the header by its cells, give rows by field name.

Released and edited copies of one annotation differ in sheet names, in rows above the header and
in unnamed columns, so nothing here depends on a position.
"""

from __future__ import annotations

import csv
import datetime
import difflib
import io
import re
import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from hcp_mer.errors import UserError

TABLE_SUFFIXES = (".xlsx", ".xls", ".csv")
_HEADER_SEARCH_ROWS = 50
_OLE = b"\xd0\xcf\x11\xe0"  # container of .xls files, and of encrypted .xlsx files
_ENCODINGS = ("utf-8-sig", "gb18030")  # the second is what Excel writes in China


@dataclass(frozen=True)
class SheetRow:
    """One data row: its number as the spreadsheet program counts it, and its cells by field."""

    number: int
    cells: dict[str, object]

    def text(self, field: str) -> str:
        """The cell as stripped text; empty where the cell is empty. 1.0 reads "1"."""
        value = self.cells.get(field)
        if isinstance(value, float) and value.is_integer():
            value = int(value)
        return "" if value is None else str(value).strip()

    def numeral(self, field: str) -> str:
        """As `text`, but the text "1.0" reads "1" too: for what is a number, as no name is."""
        text = self.text(field)
        return text.partition(".")[0] if re.fullmatch(r"[+-]?[0-9]+\.0+", text) else text

    def whole_number(self, field: str) -> int:
        """The cell as a whole number, which may be negative.

        Raises:
            UserError: the cell is anything else.
        """
        value, text = self.cells.get(field), self.text(field)
        if isinstance(value, (datetime.date, datetime.time, datetime.timedelta)):
            raise UserError(f"{field} must be a whole number, got the date {text}: format it anew")
        if isinstance(value, bool) or not re.fullmatch(r"[+-]?[0-9]{1,9}(\.0+)?", text):
            raise UserError(f"{field} must be a whole number, got {text!r}")
        return int(float(text))

    def frame_number(self, field: str) -> int:
        """The cell as a frame number.

        Raises:
            UserError: the cell is no whole number ≥ 0.
        """
        number = self.whole_number(field)
        if number < 0:
            raise UserError(f"{field} must not be negative, got {number}")
        return number


@dataclass(frozen=True)
class Table:
    """A table whose header is found.

    Attributes:
        name: the file's.
        headings: what was looked for, see `read_table`; found: the fields that have a column.
        unread: filled headings of no field.
        rows: the data rows with at least one filled cell of a field.
        broken: row number and reason of what cannot be read as a row.
    """

    name: str
    headings: Mapping[str, Sequence[str]]
    found: tuple[str, ...]
    unread: tuple[str, ...]
    rows: list[SheetRow]
    broken: tuple[tuple[int, str], ...] = ()

    def need(self, fields: Sequence[str]) -> None:
        """Check that these fields have a column.

        Raises:
            UserError: one is missing; names headings that look like it.
        """
        missing = [field for field in fields if field not in self.found]
        if missing:
            asked = ", ".join(self.headings[field][0] + self._alike(field) for field in missing)
            raise UserError(
                f"{self.name} has no column {asked}. Expected a header row with "
                f"{', '.join(self.headings[field][0] for field in fields)}."
            )

    def _alike(self, field: str) -> str:
        unread = {_squeeze(heading): heading for heading in self.unread}
        for name in self.headings[field]:
            for close in difflib.get_close_matches(_squeeze(name), unread, n=1, cutoff=0.7):
                return f" (is it {unread[close]!r}?)"
        return ""

    def remark(self) -> str | None:
        """What to say of the headings that are not read; None where there is nothing to say."""
        if not self.unread:
            return None
        free = {
            _squeeze(name): names[0]
            for field, names in self.headings.items()
            if field not in self.found
            for name in names
        }
        said = []
        for heading in self.unread:
            alike = difflib.get_close_matches(_squeeze(heading), free, n=1, cutoff=0.7)
            said.append(f"{heading} (did you mean {free[alike[0]]}?)" if alike else heading)
        return f"not read: the column {', '.join(said)}"


def read_sheet_rows(
    path: Path, headings: Mapping[str, Sequence[str]], optional: Sequence[str] = ()
) -> list[SheetRow]:
    """The data rows below the header of an annotation table.

    Args:
        path: an .xlsx, .xls or .csv file; all sheets are searched.
        headings: field → headings it may have; case, spaces and punctuation do not count.
        optional: fields that may be missing.
    Returns:
        rows with at least one filled cell; cells under other headings are left out.
    Raises:
        UserError: not a readable table, no header row, or a needed column is missing.
    """
    table = read_table(path, headings)
    table.need([field for field in headings if field not in optional])
    return table.rows


def read_table(path: Path, headings: Mapping[str, Sequence[str]]) -> Table:
    """`read_sheet_rows` of a table that may lack any column: ask `need` for those that may not.

    Raises:
        UserError: not a readable table.
    """
    best: tuple[list[list], int, dict[str, int]] = ([], 0, {})
    for rows in _sheets(path, headings):
        for index, cells in enumerate(rows[:_HEADER_SEARCH_ROWS]):
            found = match_headings(cells, headings)
            if len(found) > len(best[2]):
                best = (rows, index, found)
    rows, header_index, found = best
    header = rows[header_index] if rows else ()
    numbered = (
        SheetRow(number, {field: _cell(cells, column) for field, column in found.items()})
        for number, cells in enumerate(rows[header_index + 1 :], start=header_index + 2)
    )
    filled = [row for row in numbered if any(row.text(field) for field in found)]
    return Table(path.name, headings, tuple(found), unread_headings(header, found), filled)


def unread_headings(cells: Sequence[object], found: Mapping[str, int]) -> tuple[str, ...]:
    """The filled cells of a header that are no field's heading."""
    others = (cell for column, cell in enumerate(cells) if column not in found.values())
    return tuple(str(cell).strip() for cell in others if cell is not None and str(cell).strip())


def _sheets(path: Path, headings: Mapping[str, Sequence[str]]) -> list[list[Sequence]]:
    """All cells of all sheets; every way in which opening can fail becomes one readable line."""
    if path.suffix.lower() == ".csv":
        return [_csv_rows(path, headings)]
    try:
        with path.open("rb") as stream:
            magic = stream.read(4)
        return _old_sheets(path) if magic == _OLE else _new_sheets(path)
    except Exception as error:  # a damaged archive or XML raises anything, from KeyError to zlib's
        raise UserError(
            f"{path.name} is not a readable workbook ({_diagnosis(path, error)}). "
            "Save it again as .xlsx, without a password."
        ) from error


def _new_sheets(path: Path) -> list[list[Sequence]]:
    """Sheets of an .xlsx file."""
    import openpyxl

    # Only the values matter: openpyxl warns of styles and validations that it leaves out.
    with warnings.catch_warnings(), path.open("rb") as stream:
        warnings.simplefilter("ignore")
        workbook = openpyxl.load_workbook(stream, read_only=True, data_only=True)
        for sheet in workbook.worksheets:
            sheet.reset_dimensions()  # other programs write a wrong extent, often A1
        return [list(sheet.iter_rows(values_only=True)) for sheet in workbook.worksheets]


def _old_sheets(path: Path) -> list[list[Sequence]]:
    """Sheets of an .xls file."""
    import xlrd

    with xlrd.open_workbook(path, logfile=io.StringIO()) as book:

        def value(cell: xlrd.sheet.Cell) -> object:
            if cell.ctype == xlrd.XL_CELL_DATE:
                try:
                    return xlrd.xldate_as_datetime(cell.value, book.datemode)
                except (ValueError, OverflowError):
                    return "#####"  # as a spreadsheet program shows a date that there is not
            if cell.ctype == xlrd.XL_CELL_ERROR:
                return xlrd.error_text_from_code.get(cell.value, "#ERROR")
            if cell.ctype == xlrd.XL_CELL_BOOLEAN:
                return bool(cell.value)
            return cell.value if cell.ctype in (xlrd.XL_CELL_TEXT, xlrd.XL_CELL_NUMBER) else None

        return [[[value(c) for c in row] for row in sheet.get_rows()] for sheet in book.sheets()]


def _diagnosis(path: Path, error: Exception) -> str:
    """What is wrong with a workbook that cannot be opened."""
    if isinstance(error, OSError) and error.filename is not None:  # else it is about the content
        return error.strerror or "it cannot be read"
    data = path.read_bytes()
    # An encrypted .xlsx lies in an OLE container, its name there in UTF-16.
    sealed = "EncryptedPackage".encode("utf-16-le") in data
    if data[:4] == _OLE and (sealed or "encrypted" in str(error)):
        return "it is password-protected"
    ours = data[:4] == _OLE or data[:2] == b"PK"
    return "it is damaged" if ours else "it is another kind of file"


def _csv_rows(path: Path, headings: Mapping[str, Sequence[str]]) -> list[list[str]]:
    """Cells of a text table, whatever separates them: what shows most headings in the first lines.

    The number of separators alone says little: titles and notes have commas too.
    """
    if not path.is_file():
        raise UserError(f"{path} is no file.")
    text = _decode(path)
    head = "\n".join(text.splitlines()[:_HEADER_SEARCH_ROWS])
    separator = max(",;\t", key=lambda s: (_headings_met(head, s, headings), head.count(s)))
    lines = io.StringIO(text, newline="")  # a cell may hold what splitlines takes for a line's end
    try:
        return list(csv.reader(lines, delimiter=separator, strict=True))
    except csv.Error as error:
        raise UserError(
            f"{path.name} cannot be read as a table ({error}): look for a quotation mark that is "
            "not closed."
        ) from error


def _headings_met(head: str, separator: str, headings: Mapping[str, Sequence[str]]) -> int:
    """How many headings a line of these shows, if that separates its cells."""
    try:
        rows = list(csv.reader(io.StringIO(head, newline=""), delimiter=separator))
    except csv.Error:
        return 0  # a cell beyond all measure: reading strictly says what is wrong
    return max((len(match_headings(cells, headings)) for cells in rows), default=0)


def _decode(path: Path) -> str:
    """The text in a file.

    Raises:
        UserError: it is no text.
    """
    data = path.read_bytes()
    for encoding in _ENCODINGS:
        try:
            text = data.decode(encoding)
        except UnicodeDecodeError:
            continue
        if "\0" not in text:
            return text
        break
    raise UserError(f"{path.name} is no text in UTF-8: save it again as CSV in UTF-8.")


def match_headings(
    cells: Sequence[object], headings: Mapping[str, Sequence[str]]
) -> dict[str, int]:
    """Field → column position, for the headings met in a row; the leftmost wins."""
    positions: dict[str, int] = {}
    for position, cell in enumerate(cells):
        positions.setdefault(_squeeze(cell), position)
    found = {}
    for field, names in headings.items():
        known = [positions[_squeeze(name)] for name in names if _squeeze(name) in positions]
        if known:
            found[field] = known[0]
    return found


def _squeeze(cell: object) -> str:
    """A heading without case, spaces and punctuation: "Estimated Emotion" → "estimatedemotion"."""
    return re.sub(r"[\W_]", "", str(cell).casefold())


def _cell(cells: Sequence[object], column: int) -> object:
    # Rows of a text table end where their line ends.
    return cells[column] if column < len(cells) else None
