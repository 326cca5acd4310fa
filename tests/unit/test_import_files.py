"""Reading a file of patients: what is accepted, and every problem by row."""

from __future__ import annotations

import csv
import io
from decimal import Decimal

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from app.services.imports import ImportCheck, check_file
from fl.features import FEATURE_NAMES

# Other work on the machine makes single examples slow; what counts is what they find.
RELAXED = settings(deadline=None, database=None, suppress_health_check=[HealthCheck.too_slow])
HEADER = "age,sex,bmi,children,smoker,region,charges"
GOOD = "19,female,27.9,0,yes,southwest,16884.924"


def _check(*lines: str) -> ImportCheck:
    return check_file("\n".join(lines).encode())


def _places(check: ImportCheck) -> list[tuple[int, str | None]]:
    return [(problem.row, problem.column) for problem in check.problems]


def test_a_good_file_has_rows_and_no_problems() -> None:
    check = _check(HEADER, GOOD, "64,male,30,2,no,ne,", "")
    assert check.problems == []
    assert [(row.row, row.insurance_cost) for row in check.rows] == [(2, Decimal("16884.92")), (3, None)]
    assert check.rows[1].inputs == {
        "age": 64,
        "sex": "male",
        "bmi": 30.0,
        "children": 2,
        "smoker": "no",
        "region": "northeast",
    }
    assert (check.rows[0].first_name, check.rows[0].last_name) == (None, None)


@pytest.mark.parametrize(
    "content",
    [
        ("\ufeff" + HEADER + "\r\n" + GOOD + "\r\n").encode(),
        (HEADER + "\n" + GOOD).replace(",", ";").encode(),
        (HEADER.replace(",", ";") + "\n" + GOOD.replace(",", ";").replace(".", ",")).encode(),
        (HEADER + "\n" + GOOD).replace(",", "\t").encode(),
        ("\n\n" + HEADER.upper().replace(",", " , ") + "\n\n" + GOOD + "\n\n").encode(),
        (b"region,charges,age,sex,bmi,children,smoker\nsouthwest,16884.924,19,female,27.9,0,yes"),
        (HEADER.replace("charges", "insurance_cost") + "\n" + GOOD).encode(),
        ('"age","sex","bmi","children","smoker","region","charges"\n' + GOOD).encode(),
    ],
    ids=["bom", "semicolon", "decimal comma", "tab", "blank lines", "order", "insurance_cost", "quoted"],
)
def test_the_usual_kinds_of_csv_are_read(content: bytes) -> None:
    check = check_file(content)
    assert check.problems == []
    [row] = check.rows
    assert (row.inputs["age"], row.inputs["bmi"], row.insurance_cost) == (19, 27.9, Decimal("16884.92"))


def test_missing_columns_are_named_and_no_row_is_read() -> None:
    check = _check("age,sex,bmi", "19,female,27.9")
    assert check.rows == []
    assert _places(check) == [(1, "children"), (1, "smoker"), (1, "region")]
    assert "Column 'children' is missing" in check.problems[0].message


def test_every_bad_row_is_listed_with_its_line_and_every_bad_value_in_it() -> None:
    check = _check(
        HEADER,
        GOOD,
        "121,female,27.9,0,yes,southwest,1",
        "19,female,9,-1,yes,southwest,1",
        "",
        "19,female,27.9,0,perhaps,moon,minus",
        "19,female,27.9",
        ",,,,,,1",
        GOOD,
    )
    assert _places(check) == [
        (3, "age"),
        (4, "bmi"),
        (4, "children"),
        (6, "smoker"),
        (6, "region"),
        (6, "charges"),
        (7, None),
        (8, "age"),
        (8, "sex"),
        (8, "bmi"),
        (8, "children"),
        (8, "smoker"),
        (8, "region"),
    ]
    assert "3 values; the header names 7 columns" in check.problems[6].message


def test_line_numbers_are_the_files_own_when_a_cell_spans_lines() -> None:
    check = _check(
        "first_name,last_name," + HEADER,
        '"Ada\nMary",Lovelace,' + GOOD,
        "Bo,Ek,200,male,30,2,no,northeast,1",
    )
    assert [row.first_name for row in check.rows] == ["Ada Mary"]
    assert _places(check) == [(4, "age")]


@pytest.mark.parametrize(
    ("content", "sentence"),
    [
        (b"", "The file is empty."),
        (b" \n \n", "The file is empty."),
        (b",,\n,", "The file is empty."),
        (HEADER.encode(), "The file has a header but no patients."),
        (b"\xff\xfea\x00g\x00e\x00", "not text in UTF-8"),
        (HEADER.encode() + b"\nZo\xeb,", "not text in UTF-8"),
        (b"PK\x03\x04\x00\x00", "not a CSV file"),
        (HEADER.encode() + b'\n19,"female,27.9', "a quotation mark does not close"),
        (HEADER.encode() + b"\n" + b"1" * 200_000, "cannot be read from here on"),
        ((HEADER + ",age\n" + GOOD + ",3").encode(), "more than once"),
        ((HEADER + ",insurance_cost\n" + GOOD + ",3").encode(), "keep one of them"),
        ((HEADER + ",first_name\n" + GOOD + ",Ada").encode(), "belong together"),
        ((HEADER + ",first_name,last_name\n" + GOOD + ",Ada,").encode(), "Last name is missing"),
        ((HEADER + "\n" + GOOD.replace("16884.924", "1e999")).encode(), "expected an amount in USD"),
        ((HEADER + "\n" + GOOD.replace("16884.924", "NaN")).encode(), "expected an amount in USD"),
    ],
)
def test_a_file_that_will_not_do_says_why(content: bytes, sentence: str) -> None:
    check = check_file(content)
    assert any(sentence in problem.message for problem in check.problems), check.problems


def test_columns_without_a_place_are_said_to_be_ignored() -> None:
    check = _check(HEADER + ",room", GOOD + ",12")
    assert (check.problems, check.ignored, len(check.rows)) == ([], ["room"], 1)


CELLS = st.one_of(
    st.sampled_from(["19", "female", "27.9", "0", "yes", "southwest", "", "-1", "1e3", "ne"]), st.text()
)


@RELAXED
@given(st.lists(st.lists(CELLS, min_size=6, max_size=7), max_size=6), st.sampled_from(",;\t"))
def test_any_table_is_read_or_its_rows_are_named(table: list[list[str]], delimiter: str) -> None:
    written = io.StringIO(newline="")
    writer = csv.writer(written, delimiter=delimiter)
    writer.writerow([*FEATURE_NAMES, "charges"])
    writer.writerows(table)
    check = check_file(written.getvalue().encode(errors="replace"))
    good = {row.row for row in check.rows}
    bad = {problem.row for problem in check.problems}
    assert not good & bad
    for row in check.rows:
        assert set(row.inputs) == set(FEATURE_NAMES)


@RELAXED
@given(st.binary(max_size=300))
def test_any_bytes_are_answered(content: bytes) -> None:
    check = check_file(content)
    assert check.rows == [] or check.problems == []
    assert check.rows or check.problems
