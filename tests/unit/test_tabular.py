"""Tables in files: every usual kind is read, what cannot be read says why, and formulas are disarmed."""

from __future__ import annotations

import io
import zipfile
from datetime import date, datetime
from typing import Any

import openpyxl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from app.errors import InvalidInput
from app.services import table as limits
from app.services import table_excel
from app.services.table import FORMULA_STARTS, Table
from app.services.table_excel import OLD_OFFICE_SIGNATURE, ZIP_SIGNATURE
from app.services.tabular import read_table, write_csv, write_excel

# Other work on the machine makes single examples slow; what counts is what they find.
LINES = "name,age\nZoë,19\n"


def _sheet(*rows: list[Any], title: str = "Sheet", more: dict[str, list[list[Any]]] | None = None) -> bytes:
    workbook = openpyxl.Workbook()
    page = workbook.active
    assert page is not None
    page.title = title
    for row in rows:
        page.append(row)
    for other, below in (more or {}).items():
        sheet = workbook.create_sheet(other)
        for row in below:
            sheet.append(row)
    written = io.BytesIO()
    workbook.save(written)
    return written.getvalue()


def _refusal(content: bytes, name: str = "patients.csv") -> str:
    with pytest.raises(InvalidInput) as refused:
        read_table(content, name)
    assert [problem.field for problem in refused.value.problems] == ["file"]
    return str(refused.value)


@pytest.mark.parametrize(
    "content",
    [
        LINES.encode(),
        LINES.encode("utf-8-sig"),
        LINES.encode("utf-16"),
        b"\xfe\xff" + LINES.encode("utf-16-be"),
        LINES.replace("\n", "\r\n").encode(),
        LINES.replace("\n", "\r").encode(),
        LINES.replace(",", ";").encode(),
        LINES.replace(",", "\t").encode(),
        LINES.replace(",", "|").encode(),
        b"sep=;\r\n" + LINES.replace(",", ";").encode(),
        ("\n\n" + LINES.replace(",", " , ") + " \n,\n").encode(),
        LINES.replace("Zoë", '"Zoë"').encode(),
        LINES.replace("\n", ",,\n").encode(),
        _sheet(["name", "age"], ["Zoë", 19]),
        _sheet([], ["name", "age", None], [], [" Zoë ", 19.0]),
    ],
    ids=[
        *(
            "utf8",
            "bom",
            "utf16",
            "utf16be",
            "crlf",
            "cr",
            "semicolon",
            "tab",
            "bar",
            "sep",
            "blank",
            "quoted",
        ),
        *("trailing", "excel", "excel-blank"),
    ],
)
def test_every_usual_kind_of_file_gives_the_same_table(content: bytes) -> None:
    table = read_table(content, "patients")
    assert (table.header, [cells for _, cells in table.rows], table.notes) == (
        ("name", "age"),
        [("Zoë", "19")],
        (),
    )


def test_windows_1252_is_read_with_a_note_and_latin_1_where_that_has_no_meaning() -> None:
    table = read_table("name,age\nZoë “Z”,19".encode("cp1252"), "a.csv")
    assert table.rows == [(2, ("Zoë “Z”", "19"))]
    assert "Windows-1252" in table.notes[0]
    assert read_table(b"name,age\nZo\xeb\x9d,19", "a.csv").rows == [(2, ("Zoë\x9d", "19"))]


def test_lines_are_the_files_own_when_a_cell_spans_lines() -> None:
    table = read_table(b'name,age\n"Ada\nMary",19\n\nBo,20\n', "a.csv")
    assert table.rows == [(2, ("Ada\nMary", "19")), (5, ("Bo", "20"))]


def test_a_title_above_the_headings_is_left_out_with_a_note() -> None:
    for content in (
        b"Patients of ward 3\n\nname,age\nZoe,19",
        _sheet(["Patients of ward 3"], [], ["name", "age"], ["Zoe", 19]),
    ):
        table = read_table(content, "a")
        assert (table.header, table.rows) == (("name", "age"), [(4, ("Zoe", "19"))])
        assert table.notes == ("The headings were found in row 3; what stands above them is left out.",)


def test_headings_that_repeat_are_told_apart() -> None:
    table = read_table(b"Age,age,,Age #2,AGE\n1,2,3,4,5", "a.csv")
    assert table.header == ("Age", "age #2", "", "Age #2 #2", "AGE #3")


def test_a_row_of_text_keeps_its_own_width_and_one_of_a_spreadsheet_is_filled() -> None:
    assert read_table(b"a,b,c\n1,2\n1,2,3,4\n1,2,3,,", "a.csv").rows == [
        (2, ("1", "2")),
        (3, ("1", "2", "3", "4")),
        (4, ("1", "2", "3")),
    ]
    assert read_table(_sheet(["a", "b", "c"], [1]), "a.xlsx").rows == [(2, ("1", "", ""))]


@pytest.mark.parametrize(
    ("content", "comma", "point"),
    [
        (b"a;b\n27,5;1", True, False),
        (b'a,b\n"27,5",1', True, False),
        (b"a;b\n27;1", True, False),
        (b"a;b\n27.5;1", False, True),
        (b"a,b\n27.5,1", False, True),
        (b"a,b\n27,1", False, False),
        (b'a,b\n"1.234,5",x', True, False),
        (b'a,b\n"1,234.5",x', False, True),
        (b'a,b\n"27,5",27.5', False, False),
        (_sheet(["a", "b"], [27.5, "27,5"]), True, False),
        (_sheet(["a", "b"], [1.234, "x"]), False, False),
    ],
)
def test_decimal_comma_or_point_is_found_by_numbers_that_can_only_be_one(
    content: bytes, comma: bool, point: bool
) -> None:
    table = read_table(content, "a")
    assert (table.decimal_comma, table.decimal_point) == (comma, point)


def test_values_of_a_spreadsheet_become_the_text_that_a_person_sees() -> None:
    values = [19, 19.0, 27.9, 1.234, True, date(2026, 1, 2), datetime(2026, 1, 2, 3, 4), "x", None, "#N/A"]
    table = read_table(_sheet([f"c{place}" for place in range(len(values))], values), "a.xlsx")
    expected = ("19", "19", "27.9", "1.2340", "TRUE", "2026-01-02", "2026-01-02T03:04:00", "x", "", "#N/A")
    assert table.rows == [(2, expected)]


def _with_part(content: bytes, name: str, *changes: tuple[bytes, bytes]) -> bytes:
    """Return a workbook in which one part was changed, as another program might have written it."""
    with zipfile.ZipFile(io.BytesIO(content)) as archive:
        parts = {part: archive.read(part) for part in archive.namelist()}
    for before, after in changes:
        assert before in parts[name]
        parts[name] = parts[name].replace(before, after)
    written = io.BytesIO()
    with zipfile.ZipFile(written, "w") as archive:
        for part, inside in parts.items():
            archive.writestr(part, inside)
    return written.getvalue()


def _with_sheet(content: bytes, *changes: tuple[bytes, bytes]) -> bytes:
    return _with_part(content, "xl/worksheets/sheet1.xml", *changes)


def test_formulas_count_as_what_they_last_came_to() -> None:
    number = b'<c r="B2"><f>A2*41</f><v>41</v></c>'
    content = _with_sheet(_sheet(["a", "b"], [1, 2]), (b'<c r="B2" t="n"><v>2</v></c>', number))
    assert read_table(content, "a.xlsx").rows == [(2, ("1", "41"))]
    text = b'<c r="B2" t="str"><f>"x"&amp;A2</f><v>x &amp; 1</v></c>'
    content = _with_sheet(content, (number, text))
    assert read_table(content, "a.xlsx").rows == [(2, ("1", "x & 1"))]


def test_sheets_with_prefixes_gaps_and_cells_without_an_address_are_read() -> None:
    content = _sheet(["a", "b", "c"], [1, 2, 3], [], [4, None, 6])
    prefixed = _with_sheet(content, (b"<", b"<x:"), (b"<x:/", b"</x:"), (b"xmlns=", b"xmlns:x="))
    bare = _with_sheet(content, (b' r="B2"', b""), (b' r="C2"', b""))
    for changed in (content, prefixed, bare):
        assert read_table(changed, "a.xlsx").rows == [(2, ("1", "2", "3")), (4, ("4", "", "6"))]


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        ((b"<worksheet", b"<!DOCTYPE x [<!ENTITY a 'b'>]><worksheet"), "is damaged"),
        ((b'r="B2"', b'r="XFD2"'), "more than 200 columns"),
        ((b'r="B2"', b'r="!2"'), "is damaged"),
        ((b'<c r="B2" t="n"><v>2<', b'<c r="B2" t="s"><v>99<'), "is damaged"),
        ((b"</sheetData>", b""), "is damaged"),
    ],
)
def test_a_sheet_that_no_spreadsheet_wrote_is_refused(change: tuple[bytes, bytes], sentence: str) -> None:
    assert sentence in _refusal(_with_sheet(_sheet(["a", "b"], [1, 2]), change))


NUMBERS = st.one_of(
    st.integers(-(10**14), 10**14), st.floats(allow_nan=False, allow_infinity=False, width=32)
)
MOMENTS = st.datetimes(datetime(1901, 1, 1), datetime(2099, 1, 1)).map(
    lambda moment: moment.replace(microsecond=0)
)


@settings(max_examples=25)
@given(
    st.lists(
        st.lists(st.one_of(NUMBERS, MOMENTS, st.booleans(), st.none()), min_size=3, max_size=3), max_size=5
    )
)
def test_cells_are_what_openpyxl_says_they_are(rows: list[list[Any]]) -> None:
    content = _sheet(["a", "b", "c"], *rows)
    sheet = openpyxl.load_workbook(io.BytesIO(content), read_only=True, data_only=True).active
    assert sheet is not None
    expected = [
        row for row in list(sheet.iter_rows(values_only=True))[1:] if any(cell is not None for cell in row)
    ]
    found = [cells for _, cells in read_table(content, "a").rows]
    assert len(found) == len(expected)
    for cells, values in zip(found, expected, strict=True):
        for cell, value in zip(cells, values, strict=False):
            if value is None:
                assert cell == ""
            elif isinstance(value, bool):
                assert cell == str(value).upper()
            elif isinstance(value, datetime):
                assert datetime.fromisoformat(cell) == value
            else:
                assert float(cell) == pytest.approx(value, rel=1e-14)


def test_the_first_sheet_that_is_not_empty_is_read_and_the_others_are_mentioned() -> None:
    table = read_table(_sheet(more={"Data": [["a", "b"], [1, 2]], "Old": [["c"]]}), "a.xlsx")
    assert (table.header, table.rows) == (("a", "b"), [(2, ("1", "2"))])
    assert table.notes == ("Sheet “Data” was read; the other 2 are left out.",)


@pytest.mark.parametrize(
    ("content", "sentence"),
    [
        (b"", "The file is empty."),
        (b" \r\n\n", "The file is empty."),
        (b"\xef\xbb\xbf\n", "The file is empty."),
        (b",,\n,", "The file is empty."),
        (_sheet(), "The file is empty."),
        (b"a,b\x00\n1,2", "neither a CSV file nor an Excel workbook"),
        (LINES.encode("utf-16-le"), "neither a CSV file nor an Excel workbook"),
        (b"\xff\xfea\x00,\x00b", "The text of the file is damaged."),
        (b"\x89PNG\r\n\x1a\n", "neither a CSV file nor an Excel workbook"),
        (b"%PDF-1.7", "patients.csv is a PDF."),
        (b"<html><table>", "a web page"),
        (b'a,b\n1,2\n1,"2\n3', "cannot be read from line 3 on: a quotation mark does not close"),
        (b"a,b\n1," + b"2" * 200_000, "cannot be read from line 2 on"),
        (ZIP_SIGNATURE + b"rest", "The Excel file is damaged"),
        (_sheet(["a"])[:-30], "The Excel file is damaged"),
        (OLD_OFFICE_SIGNATURE + b"\x00" * 600, "old Excel file (.xls)"),
        (OLD_OFFICE_SIGNATURE + "EncryptedPackage".encode("utf-16-le"), "protected with a password"),
        (",".join("a" * 201).encode(), "more than 200 columns"),
        (_sheet(["a"] * 201), "more than 200 columns"),
        (b"x" * (limits.MAX_BYTES + 1), "more than 20 MB"),
    ],
)
def test_a_file_that_cannot_be_read_says_why(content: bytes, sentence: str) -> None:
    assert sentence in _refusal(content)


def test_a_zip_bomb_is_refused_before_it_is_unpacked(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(table_excel, "MAX_UNPACKED_TEXTS", 8 * 1024 * 1024)
    bomb = io.BytesIO()
    with zipfile.ZipFile(bomb, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("xl/workbook.xml", b"<workbook/>")
        with archive.open("xl/sharedStrings.xml", "w", force_zip64=True) as part:
            for _ in range(9):
                part.write(b" " * 1024 * 1024)
    assert len(bomb.getvalue()) < 20_000
    assert "unpacks to more than can be read" in _refusal(bomb.getvalue())
    other = io.BytesIO()
    with zipfile.ZipFile(other, "w") as archive:
        archive.writestr("letter.txt", "hello")
    assert "an archive, not an Excel workbook" in _refusal(other.getvalue())


def test_too_many_rows_or_cells_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(limits, "MAX_ROWS", 3)
    assert len(read_table(b"a,b" + b"\n1,2" * 3, "a.csv").rows) == 3
    for content in (b"a,b" + b"\n1,2" * 4, b"a,b" + b"\n1,2" * 400, _sheet(["a", "b"], *[[1, 2]] * 4)):
        assert "more than 3 rows" in _refusal(content)
    monkeypatch.setattr(limits, "MAX_ROWS", 1000)
    monkeypatch.setattr(limits, "MAX_CELLS", 10)
    assert "more than 10 cells" in _refusal(b"a,b" + b"\n1,2" * 5)


@pytest.mark.parametrize("start", FORMULA_STARTS)
def test_what_a_spreadsheet_would_run_is_disarmed_in_both_kinds(start: str) -> None:
    dangerous = f"{start}cmd|'/C calc'!A0"
    plain = write_csv([dangerous], [[dangerous], [-5.5], ["-5"]]).decode("utf-8-sig")
    assert plain.count(f"'{start}cmd") == 2
    assert "\r\n-5.5\r\n'-5\r\n" in plain
    sheet = openpyxl.load_workbook(
        io.BytesIO(write_excel([dangerous], [[dangerous], [-5.5]], sheet="a"))
    ).active
    assert sheet is not None
    cells = [row[0] for row in sheet.iter_rows()]
    assert [cell.data_type for cell in cells] == ["s", "s", "n"]
    assert cells[1].value.startswith("'")


TEXTS = st.text(
    st.characters(exclude_categories=["Cs", "Cc"], exclude_characters="\u2028\u2029\x85\ufeff"), max_size=12
)
CELLS = TEXTS.map(str.strip)
FILLED = CELLS.filter(lambda cell: bool(cell) and not cell.startswith("'"))


@st.composite
def tables(draw: st.DrawFn) -> tuple[list[str], list[list[str]]]:
    """Draw headings, all different, and rows of as many cells, none of them blank."""
    header = draw(
        st.lists(FILLED, min_size=2, max_size=4, unique_by=lambda cell: " ".join(cell.split()).casefold())
    )
    row = st.tuples(FILLED, *[CELLS.filter(lambda cell: not cell.startswith("'"))] * (len(header) - 1))
    return [" ".join(heading.split()) for heading in header], [
        list(cells) for cells in draw(st.lists(row, max_size=5))
    ]


@settings(max_examples=25)
@given(tables())
def test_a_table_that_was_written_is_read_again(table: tuple[list[str], list[list[str]]]) -> None:
    header, rows = table
    for content in (write_csv(header, rows), write_excel(header, rows, sheet="Data")):
        read = read_table(content, "a")
        assert list(read.header) == header
        assert [list(cells) for _, cells in read.rows] == rows


@settings(max_examples=60)
@given(
    st.one_of(
        st.binary(max_size=300),
        st.binary(max_size=100).map(lambda rest: ZIP_SIGNATURE + rest),
        st.tuples(st.integers(0, 4000), st.binary(min_size=1, max_size=8)).map(
            lambda change: _EXAMPLE[: change[0]] + change[1] + _EXAMPLE[change[0] + len(change[1]) :]
        ),
    )
)
def test_any_bytes_give_a_table_or_a_sentence(content: bytes) -> None:
    try:
        table = read_table(content, "a.csv")
    except InvalidInput as error:
        assert [problem.field for problem in error.problems] == ["file"]
    else:
        assert isinstance(table, Table)
        assert table.header


_EXAMPLE = _sheet(["name", "age"], ["Zoë", 19])
