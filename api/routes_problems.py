"""What each kind of problem means: where the `type` of an answer leads. Needs no token."""

from __future__ import annotations

from api.problems import KINDS
from api.routing import Routes
from api.schemas import Answer, errors
from app.errors import NotFound

router = Routes("/problems", "problems", guarded=False)


class ProblemKind(Answer):
    """One kind of problem."""

    type: str
    title: str
    status: int
    meaning: str


class ProblemKinds(Answer):
    """Every kind of problem, by status."""

    items: list[ProblemKind]


@router.get("")
def list_problems() -> ProblemKinds:
    """List every kind of problem that a route answers."""
    ordered = sorted(KINDS.values(), key=lambda kind: (kind.status, kind.name))
    return ProblemKinds(items=[ProblemKind.model_validate(kind) for kind in ordered])


@router.get("/{name}", responses=errors(404, token=False))
def get_problem(name: str) -> ProblemKind:
    """Say what a kind of problem means and what helps."""
    if name not in KINDS:
        raise NotFound("There is no such kind of problem.")
    return ProblemKind.model_validate(KINDS[name])
