"""Lists of patients: every sort both ways, any filter, pages forward and back, while others change the records."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sqlalchemy import event, insert, text
from sqlalchemy.orm import Session

from app.errors import InvalidInput, PermissionRefused
from app.services import patient_pages, patient_records, patients
from app.services.paging import Page
from app.services.patient_query import PatientFilter, PatientSort
from db.site import Patient
from tests.integration.conftest import Consortium

FIRST_NAMES = ("Ann", "Bea", "Ann Lee", "Émile", "bob")
LAST_NAMES = ("Lee", "O'Neil", "Ng", "lee", "Zoë-Ng")
BEGINNING = datetime(2026, 1, 1, tzinfo=UTC)
FILTERS = st.builds(
    PatientFilter,
    search=st.sampled_from((None, None, "", "lee", "ann LEE", "e", "NG zoë", "nobody")),
    sex=st.sampled_from((None, None, "female", "male")),
    smoker=st.sampled_from((None, None, "yes", "no")),
    region=st.sampled_from((None, None, "northeast", "southwest")),
    age_from=st.sampled_from((None, 0, 40, 41)),
    age_to=st.sampled_from((None, 41, 120)),
    bmi_from=st.sampled_from((None, 10, 22.5)),
    bmi_to=st.sampled_from((None, 30.001)),
    cost_unknown=st.sampled_from((False, False, True)),
)


def people(count: int) -> list[Patient]:
    """Return patients that are alike in nearly everything a list is ordered by."""
    chance = random.Random(7)
    return [
        Patient(
            first_name=chance.choice(FIRST_NAMES),
            last_name=chance.choice(LAST_NAMES),
            age=chance.choice((39, 40, 41)),
            sex=chance.choice(("female", "male")),
            bmi=Decimal(chance.choice(("22.5", "22.499", "30.001"))),
            smoker=chance.choice(("yes", "no")),
            region=chance.choice(("northeast", "southwest")),
            insurance_cost=chance.choice(
                (None, Decimal("0.00"), Decimal("100.00"), Decimal("9999999999.99"))
            ),
            updated_at=BEGINNING + timedelta(days=chance.choice((0, 1, 2))),
            deleted_at=BEGINNING if chance.random() < 0.1 else None,
        )
        for _ in range(count)
    ]


def fits(wanted: PatientFilter, patient: Patient) -> bool:
    """Tell whether a patient belongs in the list, said without SQL."""
    name = f"{patient.last_name} {patient.first_name}".lower()
    return (
        patient.deleted_at is None
        and all(word in name for word in (wanted.search or "").lower().split())
        and (wanted.sex is None or patient.sex == wanted.sex)
        and (wanted.smoker is None or patient.smoker == wanted.smoker)
        and (wanted.region is None or patient.region == wanted.region)
        and (wanted.age_from is None or patient.age >= wanted.age_from)
        and (wanted.age_to is None or patient.age <= wanted.age_to)
        and (wanted.bmi_from is None or patient.bmi >= Decimal(str(wanted.bmi_from)))
        and (wanted.bmi_to is None or patient.bmi <= Decimal(str(wanted.bmi_to)))
        and (not wanted.cost_unknown or patient.insurance_cost is None)
    )


def place(sort: PatientSort, descending: bool) -> Callable[[Patient], Any]:
    """Return the sort key of a patient, said without SQL."""
    unknown = Decimal(-1) if descending else Decimal("Infinity")
    return {
        PatientSort.NAME: lambda one: (one.last_name, one.first_name, one.id),
        PatientSort.AGE: lambda one: (one.age, one.id),
        PatientSort.COST: lambda one: (
            unknown if one.insurance_cost is None else one.insurance_cost,
            one.id,
        ),
        PatientSort.CHANGED: lambda one: (one.updated_at, one.id),
    }[sort]


def ids(page: Page[Patient]) -> list[Any]:
    return [patient.id for patient in page.items]


def forward_and_back(read: Callable[[str | None], Page[Patient]]) -> tuple[list[Any], list[Any]]:
    """Walk all pages to the end and back to the beginning; return the ids in the list's order, each way."""
    there = [read(None)]
    while (cursor := there[-1].next_cursor) is not None:
        there.append(read(cursor))
    back = [there[-1]]
    while (cursor := back[-1].previous_cursor) is not None:
        back.append(read(cursor))
    forward = [one for page in there for one in ids(page)]
    return forward, [one for page in reversed(back) for one in ids(page)]


def test_pages_hold_everybody_once_in_order_whatever_the_filter_and_the_sort(
    consortium: Consortium, northeast: Session, monkeypatch: pytest.MonkeyPatch
) -> None:
    everybody = people(40)
    northeast.add_all(everybody)
    northeast.commit()
    doctor = consortium.actors["doctor"]

    # A walk of two rows gives up nearly always, one of four thousand never.
    @settings(max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture])
    @given(
        wanted=FILTERS,
        sort=st.sampled_from(PatientSort),
        descending=st.booleans(),
        limit=st.integers(5, 13),
        walk=st.sampled_from((2, 20, 4000)),
    )
    def holds(wanted: PatientFilter, sort: PatientSort, descending: bool, limit: int, walk: int) -> None:
        monkeypatch.setattr(patient_pages, "SHORT_WALK", walk)
        monkeypatch.setattr(patient_pages, "LONG_WALK", walk)

        def read(cursor: str | None) -> Page[Patient]:
            return patients.list_patients(
                site=northeast,
                actor=doctor,
                filter=wanted,
                sort=sort,
                descending=descending,
                cursor=cursor,
                limit=limit,
            )

        fitting = sorted(
            (one for one in everybody if fits(wanted, one)), key=place(sort, descending), reverse=descending
        )
        expected = [one.id for one in fitting]
        assert forward_and_back(read) == (expected, expected)
        assert patients.count_patients(site=northeast, actor=doctor, filter=wanted) == len(expected)

    holds()


@pytest.mark.parametrize("descending", [False, True])
def test_unknown_costs_come_last_in_both_directions(
    consortium: Consortium, northeast: Session, descending: bool
) -> None:
    for name, cost in (("A", None), ("B", Decimal(5)), ("C", Decimal(0)), ("D", None)):
        consortium.add_patient("northeast", "X", name, insurance_cost=cost)
    page = patients.list_patients(
        site=northeast, actor=consortium.actors["nurse"], sort=PatientSort.COST, descending=descending
    )
    names = [patient.last_name for patient in page.items]
    assert names == (["B", "C", "D", "A"] if descending else ["C", "B", "A", "D"])


@pytest.fixture
def four(consortium: Consortium) -> Iterator[dict[str, Any]]:
    """Patients B, D, F and H, of rising age, cost and date of change."""
    yield {
        letter: consortium.add_patient(
            "northeast",
            "X",
            letter,
            age=30 + number,
            insurance_cost=Decimal(number),
            created_at=BEGINNING + timedelta(days=number),
            updated_at=BEGINNING + timedelta(days=number),
        )
        for number, letter in enumerate("BDFH")
    }


EVERY_SORT = pytest.mark.parametrize("sort", list(PatientSort))


def letters(page: Page[Patient]) -> str:
    return "".join(patient.last_name for patient in page.items)


def edit(consortium: Consortium, patient_id: Any, version: int, **values: Any) -> None:
    """Let a colleague give a patient other values."""
    entry = {"last_name": "D", "age": 31, "insurance_cost": 1, **values}
    inputs = {"sex": "female", "bmi": 27.5, "children": 1, "smoker": "no", "region": "northeast"}
    with consortium.site("northeast") as other:
        patient_records.edit_patient(
            site=other,
            actor=consortium.actors["nurse"],
            patient_id=patient_id,
            row_version=version,
            first_name="X",
            last_name=entry["last_name"],
            inputs={**inputs, "age": entry["age"]},
            insurance_cost=entry["insurance_cost"],
        )
        other.commit()


@EVERY_SORT
def test_a_page_goes_on_where_its_row_stood_before_it_was_edited_or_deleted(
    consortium: Consortium, northeast: Session, four: dict[str, Any], sort: PatientSort
) -> None:
    doctor = consortium.actors["doctor"]

    def read(cursor: str | None, limit: int = 2) -> Page[Patient]:
        northeast.commit()
        northeast.expire_all()
        return patients.list_patients(site=northeast, actor=doctor, sort=sort, cursor=cursor, limit=limit)

    first = read(None)
    assert letters(first) == "BD"
    edit(consortium, four["D"], 1, last_name="Z", age=90, insurance_cost=None)  # last in every sort
    rest = read(first.next_cursor, limit=3)
    assert (letters(rest), rest.next_cursor) == ("FHZ", None)
    assert rest.previous_cursor is not None
    assert letters(read(rest.previous_cursor)) == "BF", "the first page is shown whole"
    before_z = read(str(four["H"])).previous_cursor
    assert before_z == f"before-{four['D']}.2"
    edit(consortium, four["D"], 2)  # back again, but for the date of the change
    assert letters(read(before_z, limit=3)) == ("BFH" if sort is PatientSort.CHANGED else "DFH")
    with consortium.site("northeast") as other:
        patient_records.delete_patient(site=other, actor=doctor, patient_id=four["D"])
        other.commit()
    assert letters(read(first.next_cursor)) == "FH"
    assert letters(read(before_z, limit=3)) == "BFH"


@EVERY_SORT
def test_a_page_neither_repeats_nor_skips_anybody_when_patients_are_added_between(
    consortium: Consortium, northeast: Session, four: dict[str, Any], sort: PatientSort
) -> None:
    doctor = consortium.actors["doctor"]
    first = patients.list_patients(site=northeast, actor=doctor, sort=sort, limit=2)
    for letter, rank in (("A", -1), ("E", 1.5), ("Z", 9)):
        consortium.add_patient(
            "northeast",
            "X",
            letter,
            age=round(30 + rank + 0.1),
            insurance_cost=Decimal(str(rank + 2)) if sort is not PatientSort.COST else Decimal(str(rank + 1)),
            updated_at=BEGINNING + timedelta(days=rank),
        )
    second = patients.list_patients(site=northeast, actor=doctor, sort=sort, cursor=first.next_cursor)
    assert letters(first) == "BD"
    assert [letter for letter in letters(second) if letter in "BDFH"] == ["F", "H"]
    assert second.previous_cursor is not None
    back = patients.list_patients(site=northeast, actor=doctor, sort=sort, cursor=second.previous_cursor)
    assert {"B", "D"} <= set(letters(back))


def test_a_cursor_carries_ids_and_versions_only(
    consortium: Consortium, northeast: Session, four: dict[str, Any]
) -> None:
    doctor = consortium.actors["doctor"]
    edit(consortium, four["B"], 1, last_name="B", age=35)
    first = patients.list_patients(site=northeast, actor=doctor, limit=1)
    assert (first.previous_cursor, first.next_cursor) == (None, f"{four['B']}.2")
    second = patients.list_patients(site=northeast, actor=doctor, cursor=first.next_cursor, limit=1)
    assert (second.previous_cursor, second.next_cursor) == (f"before-{four['D']}", str(four["D"]))


def test_what_a_list_is_asked_for_wrongly_is_named(consortium: Consortium, northeast: Session) -> None:
    doctor = consortium.actors["doctor"]
    for wanted, fields in (
        (PatientFilter(sex="x"), ["sex"]),
        (PatientFilter(smoker="perhaps", region="mars"), ["smoker", "region"]),
        (PatientFilter(age_from=-1), ["age_from"]),
        (PatientFilter(age_to=121), ["age_to"]),
        (PatientFilter(age_from=50, age_to=40), ["age_to"]),
        (PatientFilter(bmi_from=float("nan")), ["bmi_from"]),
        (PatientFilter(bmi_from=9.99, bmi_to=100.1), ["bmi_from", "bmi_to"]),
        (PatientFilter(search="x" * 101), ["search"]),
        (PatientFilter(search="a\x00b"), ["search"]),
    ):
        for call in (patients.list_patients, patients.count_patients):
            with pytest.raises(InvalidInput) as refused:
                call(site=northeast, actor=doctor, filter=wanted)
            assert [problem.field for problem in refused.value.problems] == fields
    for cursor in (
        "nonsense",
        "before-",
        "before-nonsense",
        f"{doctor.session_id}",
        f"{doctor.session_id}.x",
    ):
        with pytest.raises(InvalidInput) as refused:
            patients.list_patients(site=northeast, actor=doctor, cursor=cursor)
        assert [problem.field for problem in refused.value.problems] == ["cursor"]


def test_a_search_of_three_letters_is_answered_by_the_trigram_index(
    consortium: Consortium, northeast: Session
) -> None:
    northeast.execute(
        text(
            "INSERT INTO patients (first_name, last_name, age, sex, bmi, region) "
            "SELECT 'F' || i, 'L' || i, 40, 'male', 25, 'northeast' FROM generate_series(1, 8000) AS i"
        )
    )
    northeast.commit()
    with consortium.site("northeast") as owner:
        owner.execute(text("ANALYZE patients"))
        # What autovacuum does after a bulk load; until then the planner counts the pending entries as cost.
        owner.execute(text("SELECT gin_clean_pending_list('patients_name_trigram')"))
        owner.commit()
    sent: list[tuple[str, Any]] = []
    connection = northeast.connection()
    event.listen(
        connection,
        "before_cursor_execute",
        lambda _1, _2, statement, values, *_: sent.append((statement, values)),
    )
    page = patients.list_patients(
        site=northeast, actor=consortium.actors["doctor"], filter=PatientFilter(search="L7999")
    )
    assert [patient.last_name for patient in page.items] == ["L7999"]
    lists = [(statement, values) for statement, values in sent if statement.startswith("SELECT patients.")]
    plans = [
        "\n".join(row[0] for row in connection.exec_driver_sql(f"EXPLAIN {statement}", values))
        for statement, values in lists
    ]
    assert len(plans) == 2, "first a walk along the names, then the trigrams"
    assert "patients_by_name" in plans[0]
    assert "patients_name_trigram" in plans[1]


def test_an_export_is_every_patient_of_the_view_in_its_order_and_is_recorded_first(
    consortium: Consortium, northeast: Session, four: dict[str, Any]
) -> None:
    doctor = consortium.actors["doctor"]
    exported = patients.patients_for_export(
        site=northeast,
        actor=doctor,
        filter=PatientFilter(search="x", age_from=31),
        sort=PatientSort.AGE,
        descending=True,
    )
    recorded = northeast.execute(text("SELECT action, details, address FROM access_events")).one()
    assert recorded == (
        "patients_exported",
        {"count": 3, "filters": ["search", "age_from"], "sort": "age"},
        "192.0.2.1",
    )
    assert [patient.last_name for patient in exported] == ["H", "F", "D"]
    with pytest.raises(PermissionRefused):
        patients.patients_for_export(site=northeast, actor=consortium.actors["nurse"])


def test_the_histogram_of_costs_counts_every_known_cost_once(
    consortium: Consortium, northeast: Session
) -> None:
    costs: list[object] = [0, 499.99, 500, 1999.99, 2000, 15_000, 59_999.99, 60_000, 9_999_999_999.99, None]
    alike = {"first_name": "X", "last_name": "L", "age": 40, "sex": "male", "bmi": 25, "region": "northeast"}
    northeast.execute(
        insert(Patient), [{**alike, "insurance_cost": cost} for cost in [*costs, *range(1000, 2000)]]
    )
    gone = Patient(**alike, insurance_cost=5, deleted_at=BEGINNING)
    northeast.add(gone)
    distribution = patients.cost_distribution(site=northeast, actor=consortium.actors["nurse"])
    assert distribution.edges == (*(500.0 * edge for edge in range(31)), float("inf"))
    assert distribution.count == sum(distribution.counts) == 1009
    # 0 and 499.99; 500; 1999.99; 2000; what is from 15,000 on; and a thousand from 1000 to 1999.
    assert distribution.counts[:5] == (2, 1, 500, 501, 1)
    assert distribution.counts[-1] == 4


def test_a_hospital_without_costs_has_an_empty_histogram(consortium: Consortium, northeast: Session) -> None:
    distribution = patients.cost_distribution(site=northeast, actor=consortium.actors["nurse"])
    assert (distribution.count, set(distribution.counts), len(distribution.edges)) == (0, {0}, 32)
