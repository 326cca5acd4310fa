"""Checking a table of patients: what is accepted, and every problem by row and column."""

from __future__ import annotations

import csv
import io
from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.services import import_check
from app.services.import_check import ImportCheck, check_file, check_table
from app.services.import_mapping import guess_mapping
from app.services.tabular import read_table, write_excel
from fl.features import FEATURE_NAMES

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
        b'age,sex,bmi,children,smoker,region,charges\n19,F,"27,9",0,Y,SW,"16.884,92"\n',
        (HEADER + "\n" + GOOD).replace(",", "\t").encode(),
        (HEADER + "\n" + GOOD).encode("utf-16"),
        ("\n\n" + HEADER.upper().replace(",", " , ") + "\n\n" + GOOD + "\n\n").encode(),
        b"region,charges,age,sex,bmi,children,smoker\nsouthwest,16884.924,19,female,27.9,0,yes",
        (HEADER.replace("charges", "insurance_cost") + "\n" + GOOD).encode(),
        ('"age","sex","bmi","children","smoker","region","charges"\n' + GOOD).encode(),
        b"Age (years);Gender;BMI [kg/m2];Kids;Smoker?;US region;Insurance Cost (USD)\r\n"
        b"19;F;27,9;0;1;south-west;$16.884,92\r\n",
        write_excel(HEADER.split(","), [[19, "F", 27.9, 0, True, "SW", 16884.924]], sheet="a"),
        write_excel(HEADER.split(","), [["19", "F", "27,9", "0", "Y", "South West", "16,884.92"]], sheet="a"),
    ],
    ids=[
        *("bom", "semicolon", "decimal comma", "quoted comma", "tab", "utf-16", "blank lines", "order"),
        *("insurance_cost", "quoted", "messy", "excel", "excel of texts"),
    ],
)
def test_the_usual_kinds_of_file_are_read(content: bytes) -> None:
    check = check_file(content)
    assert check.problems == []
    [row] = check.rows
    assert list(row.inputs.values()) == [19, "female", 27.9, 0, "yes", "southwest"]
    assert row.insurance_cost == Decimal("16884.92")


@pytest.mark.parametrize(
    ("column", "spelling", "value"),
    [
        *(
            ("smoker", spelling, "yes")
            for spelling in ("Y", "y", "1", "yes", "YES", "TRUE", "True", "1.0", "current")
        ),
        *(("smoker", spelling, "no") for spelling in ("N", "0", "no", "FALSE", "0.0", "never", "Non-smoker")),
        *(("sex", spelling, "male") for spelling in ("M", "m", "Male", "MALE", "man")),
        *(("sex", spelling, "female") for spelling in ("F", "Female", "woman")),
        *(
            ("region", spelling, "northeast")
            for spelling in ("NE", "Northeast", "North East", "north-east", "N.E.")
        ),
        *(("bmi", spelling, 27.5) for spelling in ("27.5", " 27.50 ", "+27.5")),
        *(("age", spelling, 19) for spelling in ("19", "19.0", "019")),
    ],
)
def test_values_are_understood_however_they_are_written(column: str, spelling: str, value: object) -> None:
    cells = dict(zip(HEADER.split(","), GOOD.split(","), strict=True))
    check = _check(HEADER, ",".join({**cells, column: spelling}.values()))
    assert check.problems == []
    assert check.rows[0].inputs[column] == value


@pytest.mark.parametrize(
    ("column", "spelling"),
    [
        *(("smoker", spelling) for spelling in ("perhaps", "former", "2", "", "-")),
        *(("sex", spelling) for spelling in ("X", "1", "")),
        *(("bmi", spelling) for spelling in ("9", "101", "heavy", "nan", "inf", "", '"27,500"')),
        *(("age", spelling) for spelling in ("19.5", "-1", "121", "", "1e9")),
        *(("children", spelling) for spelling in ("-1", "1.5", "many")),
        *(("charges", spelling) for spelling in ("-1", "lots", "€ 500", "1e999", '"13,270"', "500 EUR")),
    ],
)
def test_what_cannot_be_right_is_a_problem_of_its_column(column: str, spelling: str) -> None:
    cells = {**dict(zip(HEADER.split(","), GOOD.split(","), strict=True)), "bmi": "27", "charges": "1"}
    check = _check(HEADER, ",".join({**cells, column: spelling}.values()))
    assert _places(check) == [(2, column)]
    assert check.rows == []


@pytest.mark.parametrize("spelling", ["", " ", "NA", "n/a", "NaN", "NULL", "unknown", "-"])
def test_a_cost_that_is_not_known_may_be_written_in_many_ways(spelling: str) -> None:
    check = _check(HEADER, f"19,female,27.9,0,yes,southwest,{spelling}")
    assert (check.problems, check.rows[0].insurance_cost) == ([], None)


def test_missing_columns_are_named_and_no_row_is_read() -> None:
    check = _check("age,sex,bmi", "19,female,27.9")
    assert check.rows == []
    assert [problem.message for problem in check.problems] == [
        "No column is Children; expected a whole number from 0 to 30.",
        "No column is Smoker; expected one of no, yes.",
        "No column is Region; expected one of northeast, northwest, southeast, southwest.",
    ]


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
    assert check.problems[6].message == "This row has 3 values; there are 7 columns."
    assert [row.row for row in check.rows] == [2, 9]


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
        (HEADER.encode(), "The file has headings but no patients."),
        (b"PK\x03\x04\x00\x00", "The Excel file is damaged"),
        (HEADER.encode() + b'\n19,"female,27.9', "a quotation mark does not close"),
        ((HEADER + ",age\n" + GOOD + ",3").encode(), "age and age #2 may each be Age; keep one."),
        (
            (HEADER + ",insurance_cost\n" + GOOD + ",3").encode(),
            "charges and insurance_cost may each be Insurance cost; keep one.",
        ),
        ((HEADER + ",first_name\n" + GOOD + ",Ada").encode(), "belong together"),
        ((HEADER + ",first_name,last_name\n" + GOOD + ",Ada,").encode(), "Last name is missing"),
        ((HEADER + ",name\n" + GOOD + ",Cher").encode(), "The name has only one word"),
        ((HEADER + ",first_name,last_name\n" + GOOD + ",Ada," + "x" * 256).encode(), "has 256 characters"),
    ],
)
def test_a_file_that_will_not_do_says_why(content: bytes, sentence: str) -> None:
    check = check_file(content)
    assert any(sentence in problem.message for problem in check.problems), check.problems


def test_columns_without_a_place_are_said_to_be_ignored() -> None:
    check = _check(HEADER + ",room", GOOD + ",12")
    assert (check.problems, check.ignored, len(check.rows)) == ([], ["room"], 1)


def test_the_choice_of_columns_is_obeyed_and_a_wrong_one_is_refused() -> None:
    table = read_table(b'a,b,c,d,e,f,who\n19,F,27.9,0,Y,SW,"Lee, Ann"', "a.csv")
    mapping: dict[str, str | None] = dict(zip(FEATURE_NAMES, "abcdef", strict=True))
    check = check_table(table, {**mapping, "full_name": "who"})
    assert check.problems == []
    assert (check.rows[0].first_name, check.rows[0].last_name) == ("Ann", "Lee")
    for wrong, sentence in (
        ({"age": "b"}, "One column is chosen for Age and Sex."),
        ({"age": "z"}, "The file has no column 'z'."),
        ({"age": None}, "No column is Age"),
        ({"first_name": "who"}, "No column is Last name"),
        ({"first_name": "who", "full_name": "who"}, "not both"),
    ):
        refused = check_table(table, {**mapping, **wrong})
        assert any(sentence in problem.message for problem in refused.problems), refused.problems
        assert refused.rows == []


def test_progress_is_told_and_problems_end_somewhere(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(import_check, "MAX_PROBLEMS", 12)
    monkeypatch.setattr(import_check, "_STEP", 5)
    table = read_table("\n".join([HEADER, *["19,female,1,0,perhaps,sw,1"] * 20]).encode(), "a.csv")
    told: list[float] = []
    check = check_table(table, guess_mapping(table.header), progress=told.append)
    assert told == [0.0, 0.25]
    assert len(check.problems) == 13
    assert "the rest of the file was not checked" in check.problems[-1].message


CELLS = st.one_of(
    st.sampled_from(
        ["19", "female", "27.9", "0", "yes", "southwest", "", "-1", "1e3", "ne", "1,234", "27,5"]
    ),
    st.text(),
)


@given(st.lists(st.lists(CELLS, min_size=6, max_size=7), max_size=6), st.sampled_from(",;\t|"))
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


@given(st.binary(max_size=300))
def test_any_bytes_are_answered(content: bytes) -> None:
    check = check_file(content)
    assert check.rows == [] or check.problems == []
    assert check.rows or check.problems
