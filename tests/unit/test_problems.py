"""Every error has its kind of problem, and every kind a status, a title and a sentence of its own."""

from __future__ import annotations

import re

import pytest

from api.errors import DuplicatePatient, InvalidTable
from api.problems import KIND_OF, KINDS, REFUSED, kind_of
from app.errors import DatabaseUnavailable, FedcostError
from app.services.audit_chain import ChainBroken


def _all_below(kind: type[FedcostError]) -> set[type[FedcostError]]:
    return {kind, *(inner for below in kind.__subclasses__() for inner in _all_below(below))}


def test_every_error_class_has_a_kind() -> None:
    # Two are bases of others; ChainBroken ends `make verify-audit`, and no route verifies.
    ours = _all_below(FedcostError) - {
        FedcostError,
        DatabaseUnavailable,
        InvalidTable,
        DuplicatePatient,
        ChainBroken,
    }
    for kind in ours:
        assert kind_of(kind.__new__(kind)) != REFUSED, kind


def test_the_particular_class_comes_before_the_general_one() -> None:
    for kind, described in KIND_OF.items():
        assert kind_of(kind.__new__(kind)) == described, kind


@pytest.mark.parametrize("name", sorted(KINDS))
def test_a_kind_says_what_it_is(name: str) -> None:
    kind = KINDS[name]
    assert re.fullmatch(r"[a-z-]+", name)
    assert kind.type == f"/api/problems/{name}"
    assert 400 <= kind.status < 600
    assert kind.meaning.endswith(".")
    assert not kind.title.endswith(".")


def test_titles_are_told_apart() -> None:
    assert len({kind.title for kind in KINDS.values()}) == len(KINDS)
