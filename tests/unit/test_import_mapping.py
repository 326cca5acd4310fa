"""Which column is which: messy headings are recognised, and what is not clear is left to a person."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.services.import_mapping import FIELDS, guess_mapping, split_name, unclear_columns
from fl.features import FEATURE_NAMES

HEADINGS = {
    "insurance_cost": [
        *("charges", "Charges", "CHARGES ($)", "insurance_cost", "Insurance Cost (USD)", "insuranceCost"),
        *(
            "INSURANCECOST",
            "Annual insurance cost",
            "Total charges",
            "Medical costs [USD/year]",
            "cost in USD",
        ),
    ],
    "smoker": [
        *("Smoker", "smoker?", "SMOKER (Y/N)", "Smoking status", "smoking_status", "is_smoker", "Smokes"),
        *("Tobacco use", "Smoker (yes=1, no=0)", "Smoker Y/N"),
    ],
    "sex": ["sex", "Gender", "GENDER", "Sex (M/F)", "Sex M/F", "patient_sex", "Patient's gender"],
    "bmi": [
        "bmi",
        "BMI [kg/m2]",
        "BMI (kg/m²)",
        "Body Mass Index",
        "body-mass-index",
        "BodyMassIndex",
        "bmi_kg_m2",
    ],
    "children": [
        "Kids",
        "No. of children",
        "Number of children",
        "num_children",
        "Children (n)",
        "Dependents",
    ],
    "age": ["Age", "AGE (years)", "age_yrs", "Age in years", "Patient age"],
    "region": ["Region", "US region", "Residential area"],
    "last_name": ["Surname", "LAST NAME", "last_name", "LastName", "Family name", "Patient surname"],
    "first_name": ["Given name", "First name", "firstname", "FirstName", "Forename"],
    "full_name": ["Name", "Patient name", "Full Name", "Name of patient"],
}


@pytest.mark.parametrize(
    ("field", "heading"), [(field, heading) for field, headings in HEADINGS.items() for heading in headings]
)
def test_messy_headings_are_recognised(field: str, heading: str) -> None:
    found = {name: column for name, column in guess_mapping(["id", heading, "remarks"]).items() if column}
    assert found == {field: heading}


@pytest.mark.parametrize(
    "heading",
    [
        "",
        "id",
        "MRN",
        "Date of birth",
        "Diagnosis",
        "Smoking cessation advice",
        "Premium",
        "Village",
        "No.",
        "M/F",
    ],
)
def test_other_headings_are_left_to_the_reader(heading: str) -> None:
    assert set(guess_mapping([heading]).values()) == {None}


def test_every_feature_is_recognised_by_its_own_name_and_label() -> None:
    assert {field.name for field in FIELDS} == {*HEADINGS}
    for field in FIELDS:
        if field.name in FEATURE_NAMES:
            for heading in (field.name, field.label, field.label.upper()):
                assert guess_mapping([heading])[field.name] == heading


def test_two_columns_that_fit_equally_well_are_unclear_and_the_better_one_wins_otherwise() -> None:
    header = ["age", "Age #2", "charges", "insurance_cost", "BMI", "Patient BMI [kg/m2]"]
    mapping = guess_mapping(header)
    assert (mapping["age"], mapping["insurance_cost"], mapping["bmi"]) == (None, None, "BMI")
    assert unclear_columns(header) == {
        "age": ["age", "Age #2"],
        "insurance_cost": ["charges", "insurance_cost"],
    }


def test_a_column_of_whole_names_counts_only_where_names_have_no_columns_of_their_own() -> None:
    assert guess_mapping(["Name", "Age"])["full_name"] == "Name"
    own = guess_mapping(["Name", "Surname", "First name"])
    assert (own["full_name"], own["last_name"], own["first_name"]) == (None, "Surname", "First name")
    beside = guess_mapping(["Name", "First name"])
    assert (beside["full_name"], beside["last_name"], beside["first_name"]) == (None, "Name", "First name")


@pytest.mark.parametrize(
    ("text", "first", "last"),
    [
        ("Åström, Zoë", "Zoë", "Åström"),
        ("Zoë Åström", "Zoë", "Åström"),
        ("van der Berg, Anna Maria", "Anna Maria", "van der Berg"),
        ("Anna Maria van der Berg", "Anna Maria", "van der Berg"),
        ("anna berg", "anna", "berg"),
        ("Lee, Ann, Jr.", "Ann, Jr.", "Lee"),
    ],
)
def test_whole_names_are_told_apart(text: str, first: str, last: str) -> None:
    assert split_name(text) == (first, last)


@pytest.mark.parametrize("text", ["Cher", "", " , ", "Lee,", ", Ann"])
def test_half_a_name_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match=r"name"):
        split_name(text)


@given(st.lists(st.text(max_size=20), max_size=12))
def test_any_headings_give_a_choice_among_them(header: list[str]) -> None:
    mapping = guess_mapping(header)
    assert list(mapping) == [field.name for field in FIELDS]
    chosen = [heading for heading in mapping.values() if heading is not None]
    assert set(chosen) <= set(header)
    assert all(len(headings) > 1 for headings in unclear_columns(header).values())
