"""A person decides which version is in use: in one step, with a reason, and never over somebody else's decision."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from sqlalchemy import select
from sqlalchemy.orm import Session

from app.databases import central_session
from app.errors import Conflict, InvalidInput, NotFound, PermissionRefused
from app.services import models, registry, registry_history
from app.services.predictions import predict
from db.central import AuditEvent, ModelVersion, Promotion
from tests.integration.conftest import Consortium

AddModel = Callable[..., ModelVersion]
REASON = "Better for smokers"
INPUTS = {"age": 40, "sex": "male", "bmi": 27.0, "children": 0, "smoker": "no", "region": "northeast"}
UNMEASURED = {"r2": None, "rmse": None, "mae": None, "mse": None}


def _done(decide: Callable[..., Any], **arguments: Any) -> Any:
    """Decide in a transaction of its own, which ends with the lock on the registry."""
    with central_session() as own:
        made = decide(central=own, **arguments)
        return getattr(made, "version", None)


def _states(central: Session) -> dict[str, str]:
    central.expire_all()
    return dict(central.execute(select(ModelVersion.version, ModelVersion.status)).all())


def _kept(central: Session) -> list[tuple[str, str, str | None, int | None, str]]:
    return [
        (one.version, one.action, one.previous, one.worker, one.reason)
        for one in reversed(registry_history.decisions_where(central, Promotion.id > 0, 100))
    ]


def test_a_promotion_is_seen_by_the_very_next_prediction(
    consortium: Consortium, central: Session, add_model: AddModel
) -> None:
    add_model("v1")
    add_model("v2", status="candidate", seed=2)
    doctor = consortium.actors["doctor"]
    before = predict(central=central, actor=doctor, inputs=INPUTS)
    with central_session() as other:
        registry.promote(
            central=other,
            actor=consortium.actors["admin"],
            version="v2",
            reason=f"  {REASON}\n",
            expected_champion="v1",
        )
    after = predict(central=central, actor=doctor, inputs=INPUTS)
    assert (before.model_version, after.model_version) == ("v1", "v2")
    assert before.predicted_cost != after.predicted_cost
    assert _states(central) == {"v1": "retired", "v2": "champion"}
    assert _kept(central) == [("v2", "promote", "v1", "The admin", REASON)]
    event = central.scalars(select(AuditEvent).where(AuditEvent.action == "model_promote")).one()
    assert (event.target, event.outcome, event.details) == ("model version v2", "ok", {"previous": "v1"})


def test_a_first_version_can_be_promoted_by_hand(
    consortium: Consortium, central: Session, add_model: AddModel
) -> None:
    add_model("v1", status="candidate")
    admin = consortium.actors["admin"]
    _done(registry.promote, actor=admin, version="v1", reason=REASON, expected_champion="")
    assert _states(central) == {"v1": "champion"}


def test_rolling_back_goes_to_the_one_before_and_to_any_retired_one(
    consortium: Consortium, central: Session, add_model: AddModel
) -> None:
    admin = consortium.actors["admin"]
    for name in ("v1", "v2", "v3"):
        add_model(name, status="candidate", seed=len(name))
        _done(registry.promote, actor=admin, version=name, reason=REASON)
    assert registry_history.rollback_targets(central=central, actor=admin) == ["v2", "v1"]
    assert _done(registry.roll_back, actor=admin, reason="Worse") == "v2"
    assert _states(central) == {"v1": "retired", "v2": "champion", "v3": "retired"}
    _done(registry.roll_back, actor=admin, reason="Worse still", version="v1", expected_champion="v2")
    assert models.champion(central=central).version == "v1"
    assert registry_history.rollback_targets(central=central, actor=admin) == ["v2", "v3"]
    assert _kept(central)[3:] == [
        ("v2", "rollback", "v3", "The admin", "Worse"),
        ("v1", "rollback", "v2", "The admin", "Worse still"),
    ]


def test_there_must_be_something_to_roll_back_to(
    consortium: Consortium, central: Session, add_model: AddModel
) -> None:
    admin = consortium.actors["admin"]
    add_model("v1")
    add_model("v2", status="candidate")
    with pytest.raises(Conflict, match="No other version was in use before"):
        _done(registry.roll_back, actor=admin, reason=REASON)
    with pytest.raises(Conflict, match="never in use"):
        _done(registry.roll_back, actor=admin, reason=REASON, version="v2")
    with pytest.raises(Conflict, match="already in use"):
        _done(registry.roll_back, actor=admin, reason=REASON, version="v1")


@pytest.mark.parametrize("change", ["promote", "roll_back"])
def test_a_decision_made_on_what_is_no_longer_so_changes_nothing(
    consortium: Consortium, central: Session, add_model: AddModel, change: str
) -> None:
    add_model("v1", status="retired")
    add_model("v2")
    add_model("v3", status="candidate")
    decide = getattr(registry, change)
    version = {"promote": "v3", "roll_back": "v1"}[change]
    with pytest.raises(Conflict) as conflict:
        _done(
            decide,
            actor=consortium.actors["admin"],
            version=version,
            reason=REASON,
            expected_champion="v1",
        )
    assert "Meanwhile version v2 is in use, not version v1 as when you looked" in str(conflict.value)
    assert _states(central) == {"v1": "retired", "v2": "champion", "v3": "candidate"}
    assert not _kept(central)


def test_two_administrators_at_once_are_put_in_order(
    consortium: Consortium, central: Session, add_model: AddModel
) -> None:
    """The second waits for the first and is then told who is in use; the database would allow one champion only."""
    import threading

    add_model("v1")
    for name in ("v2", "v3"):
        add_model(name, status="candidate")
    outcomes: list[str] = []
    begun = threading.Barrier(2)

    def decide(name: str) -> None:
        begun.wait()
        try:
            with central_session() as own:
                registry.promote(
                    central=own,
                    actor=consortium.actors["admin"],
                    version=name,
                    reason=REASON,
                    expected_champion="v1",
                )
            outcomes.append("promoted")
        except Conflict as conflict:
            outcomes.append("refused" if "Meanwhile version" in str(conflict) else str(conflict))

    threads = [threading.Thread(target=decide, args=(name,)) for name in ("v2", "v3")]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(outcomes) == ["promoted", "refused"]
    assert sorted(_states(central).values()) == ["candidate", "champion", "retired"]


@pytest.mark.parametrize(
    ("status", "overrides", "sentence"),
    [
        ("candidate", UNMEASURED, "has no figures yet"),
        ("champion", {}, "already in use"),
        ("retired", {}, "roll back to it instead"),
        ("candidate", {"weights": b"abcd"}, "cannot be used"),
    ],
)
def test_what_cannot_be_promoted_says_why(
    consortium: Consortium,
    central: Session,
    add_model: AddModel,
    status: str,
    overrides: dict[str, object],
    sentence: str,
) -> None:
    add_model("v9", status=status, **overrides)
    with pytest.raises(Conflict, match=sentence):
        _done(registry.promote, actor=consortium.actors["admin"], version="v9", reason=REASON)
    assert not _kept(central)


def test_a_rejected_version_stays_on_record_and_may_still_be_promoted(
    consortium: Consortium, central: Session, add_model: AddModel
) -> None:
    admin = consortium.actors["admin"]
    add_model("v1")
    add_model("v2", status="candidate")
    _done(registry.reject, actor=admin, version="v2", reason=REASON)
    assert _states(central)["v2"] == "rejected"
    with pytest.raises(Conflict, match="was not adopted; only one that waits"):
        _done(registry.reject, actor=admin, version="v2", reason=REASON)
    with pytest.raises(Conflict, match="is in use; only one that waits"):
        _done(registry.reject, actor=admin, version="v1", reason=REASON)
    _done(registry.promote, actor=admin, version="v2", reason="On second thoughts")
    assert [line[1] for line in _kept(central)] == ["reject", "promote"]


def test_a_proposal_waits_until_somebody_decides(
    consortium: Consortium, central: Session, add_model: AddModel
) -> None:
    admin, scientist = consortium.actors["admin"], consortium.actors["scientist"]
    add_model("v1")
    add_model("v2", status="candidate")
    _done(registry.propose, actor=scientist, version="v2", reason=REASON)
    [waiting] = registry_history.open_proposals(central=central, actor=admin)
    assert (waiting.version, waiting.worker, waiting.reason) == ("v2", "The scientist", REASON)
    assert registry_history.open_proposals(central=central, actor=admin, version="v1") == []
    with pytest.raises(Conflict, match="You have already proposed"):
        _done(registry.propose, actor=scientist, version="v2", reason=REASON)
    _done(registry.reject, actor=admin, version="v2", reason="Not now")
    assert registry_history.open_proposals(central=central, actor=admin) == []
    history = registry_history.decisions(central=central, actor=scientist, version="v2")
    assert [(one.action, one.worker) for one in history] == [
        ("reject", "The admin"),
        ("propose", "The scientist"),
    ]
    assert registry_history.decisions(central=central, actor=scientist) == []  # it never came into use


def test_a_version_without_figures_is_not_proposed(
    consortium: Consortium, central: Session, add_model: AddModel
) -> None:
    add_model("v2", status="candidate", **UNMEASURED)
    with pytest.raises(Conflict, match="no figures yet"):
        _done(registry.propose, actor=consortium.actors["scientist"], version="v2", reason=REASON)


@pytest.mark.parametrize("reason", ["", "  a \n", "no", "x" * 501])
def test_every_decision_needs_a_reason(
    consortium: Consortium, central: Session, add_model: AddModel, reason: str
) -> None:
    add_model("v2", status="candidate")
    for decide in (
        registry.promote,
        registry.reject,
        registry.roll_back,
        registry.start_shadow,
        registry.stop_shadow,
    ):
        with pytest.raises(InvalidInput) as refused:
            _done(decide, actor=consortium.actors["admin"], version="v2", reason=reason)
        assert [problem.field for problem in refused.value.problems] == ["reason"]
    with pytest.raises(InvalidInput):
        _done(registry.propose, actor=consortium.actors["scientist"], version="v2", reason=reason)


def test_an_unknown_version_is_not_found(consortium: Consortium, central: Session) -> None:
    for decide in (registry.promote, registry.reject, registry.roll_back):
        with pytest.raises(NotFound):
            _done(decide, actor=consortium.actors["admin"], version="v404", reason=REASON)


def test_only_administrators_decide_and_only_data_scientists_propose(
    consortium: Consortium, central: Session, add_model: AddModel
) -> None:
    add_model("v2", status="candidate")
    for person in ("scientist", "doctor", "nurse"):
        for decide in (
            registry.promote,
            registry.reject,
            registry.roll_back,
            registry.start_shadow,
            registry.stop_shadow,
        ):
            with pytest.raises(PermissionRefused):
                _done(decide, actor=consortium.actors[person], version="v2", reason=REASON)
    for person in ("admin", "doctor", "nurse"):
        with pytest.raises(PermissionRefused):
            _done(registry.propose, actor=consortium.actors[person], version="v2", reason=REASON)
    assert not _kept(central)


def test_one_candidate_at_most_is_the_shadow_and_stops_being_it_when_decided_on(
    consortium: Consortium, central: Session, add_model: AddModel
) -> None:
    admin = consortium.actors["admin"]
    add_model("v1")
    add_model("v2", status="candidate")
    add_model("v3", status="candidate")
    _done(registry.start_shadow, actor=admin, version="v2", reason=REASON)
    with pytest.raises(Conflict, match="already predicts as the shadow"):
        _done(registry.start_shadow, actor=admin, version="v2", reason=REASON)
    with pytest.raises(Conflict, match="Version v2 is the shadow at present"):
        _done(registry.start_shadow, actor=admin, version="v3", reason=REASON)
    with pytest.raises(Conflict, match="Version v3 is not the shadow"):
        _done(registry.stop_shadow, actor=admin, version="v3", reason=REASON)
    _done(registry.stop_shadow, actor=admin, version="v2", reason="Enough")
    _done(registry.start_shadow, actor=admin, version="v3", reason=REASON)
    _done(registry.promote, actor=admin, version="v3", reason=REASON)
    assert models.champion(central=central).shadow is None
    _done(registry.start_shadow, actor=admin, version="v2", reason=REASON)
    _done(registry.reject, actor=admin, version="v2", reason=REASON)
    assert central.scalars(select(ModelVersion).where(ModelVersion.is_shadow)).all() == []
    assert [(line[0], line[1]) for line in _kept(central)] == [
        ("v2", "shadow_start"),
        ("v2", "shadow_stop"),
        ("v3", "shadow_start"),
        ("v3", "shadow_stop"),
        ("v3", "promote"),
        ("v2", "shadow_start"),
        ("v2", "shadow_stop"),
        ("v2", "reject"),
    ]
