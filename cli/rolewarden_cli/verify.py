"""The further test of `rolewarden verify`, after `doctor` and the drills: a model call that must be denied.

`unsettled` lists the facts about AWS that no command can settle, from docs/verified.yaml.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from functools import partial

import yaml
from rolewarden.errors import Gone, Refused, RetryLater
from rolewarden.names import folded
from rolewarden.verdicts import Reason

from rolewarden_cli.account import OperatorCalls, RoleDetail
from rolewarden_cli.connect import Connection
from rolewarden_cli.doctor import Check, Level
from rolewarden_cli.drill import JudgedDrill
from rolewarden_cli.shipped import ROOT
from rolewarden_cli.suggestions import no_such_role

CLAIMS = ROOT / "docs" / "verified.yaml"

NOT_VERIFIED = "not verified"
"""The evidence of a claim that only an account can settle."""

SETTLED_BY_PULSES = frozenset({"delivery-time", "no-op-tags-are-recorded", "user-agent-is-kept"})
"""The claims that hold in an account if EnforceFunction heard all of its pulses."""

EXPLICIT = "explicit deny"
"""The words in AWS's message if a policy denies a call, and no missing permission is the cause."""

SIMULATED, REAL = "simulated model call", "real model call"

NOT_TESTED = "name a role and a model that its guardrails deny: `--role NAME --model ID`"
NOT_DENIED = "read the reason with `rolewarden explain {role} {model}`"


@dataclass(frozen=True)
class Unsettled:
    """A fact about AWS that Rolewarden rests on, which only an account can settle.

    `live` says how to settle it, and `matters` has the consequence of a mistake. The protection itself depends on one
    with a `decisive` place, from 1. The place of the others is 0.
    """

    id: str
    claim: str
    matters: str
    live: str
    decisive: int = 0


def unsettled(drills: Iterable[JudgedDrill]) -> tuple[Unsettled, ...]:
    """The facts that only an account can settle, the decisive ones first.

    Those that the drills have just settled are left out.
    """
    pulses = [one for one in drills if one.drill.endswith("pulse")]
    settled = SETTLED_BY_PULSES if pulses and all(one.is_well for one in pulses) else frozenset()
    subjects = yaml.safe_load(CLAIMS.read_text(encoding="utf-8"))
    found = (
        Unsettled(claim["id"], claim["claim"], claim["matters"], claim["live"], claim.get("decisive", 0))
        for subject in subjects
        for claim in subject["claims"]
        if claim["evidence"] == NOT_VERIFIED and claim["id"] not in settled
    )
    return tuple(sorted(found, key=lambda one: (one.decisive == 0, one.decisive)))


def model_checks(connection: Connection, role: str, model: str, *, real: bool) -> Iterator[Check]:
    """Test that a role cannot invoke a model: by IAM's simulator, and with `real` by one call as the role.

    - `role`: the name of the role; empty to test nothing.
    - `model`: the ID of a Bedrock model that the role's guardrails deny.

    Raises RetryLater.
    """
    if not role:
        yield Check(Level.WARN, SIMULATED, message="not tested", recommendation=NOT_TESTED)
        return
    known = {folded(each.name): each for each in connection.calls.role_details()}
    found = known.get(folded(role))
    if found is None:
        message = no_such_role(connection.account, role, (each.name for each in known.values()))
        yield Check(Level.FAIL, SIMULATED, message=message, recommendation=NOT_TESTED)
        return
    region = connection.aws.region
    made = [(SIMULATED, partial(_simulated, connection, found, model))]
    if real:
        made.append((REAL, partial(_called, connection, found, model)))
    for what, make in made:
        try:
            level, message, recommendation = make()
        except Refused as refused:
            level, message, recommendation = Level.FAIL, f"could not be made: {refused}", "let your role make this call"
        yield Check(level, what, connection.account, region, message, recommendation)


def _simulated(connection: Connection, role: RoleDetail, model: str) -> tuple[Level, str, str]:
    """Simulate InvokeModel for a role that is allowed everything, so that only a deny can close the call."""
    arn = f"arn:{connection.aws.partition}:bedrock:{connection.aws.region}::foundation-model/{model}"
    [answer] = connection.calls.simulate(role.arn, ["bedrock:InvokeModel"], [arn], as_administrator=True)
    if answer.denied_by_scp:
        return Level.OK, f"a service control policy denies {role.name} the model {model}", ""
    if answer.decision == "explicitDeny":
        by = ", ".join(dict.fromkeys(statement.policy for statement in answer.matched))
        return Level.OK, f"{by or 'a policy'} denies {role.name} the model {model}", ""
    fix = NOT_DENIED.format(role=role.name, model=model)
    return Level.FAIL, f"no policy denies {role.name} the model {model}", fix


def _called(connection: Connection, role: RoleDetail, model: str) -> tuple[Level, str, str]:
    """Call InvokeModel as the role with an empty request. A model cannot answer it, so the call costs nothing."""
    try:
        caller = OperatorCalls(connection.writer.assumed(role.arn, "rolewarden-verify", 900))
    except Refused as refused:
        fix = "let your role assume it in its trust policy for this test, or leave out --call"
        return Level.FAIL, f"{role.name} cannot be assumed: {refused}", fix
    fix = NOT_DENIED.format(role=role.name, model=model)
    try:
        caller.invoke_nothing(connection.aws.region, model)
    except Gone as gone:
        return Level.WARN, f"Bedrock does not have the model: {gone}", "give the ID of a model of this region"
    except Refused as refused:
        if EXPLICIT in str(refused):
            return Level.OK, f"Bedrock denied {role.name} the model {model} with an explicit deny", ""
        if refused.reason is Reason.ACCESS_DENIED:
            fix = "this proves no guardrail: use a role and a model that are allowed but for the guardrail"
            return Level.WARN, f"Bedrock denied the call for another reason: {refused}", fix
        return Level.FAIL, f"Bedrock did not deny {role.name} the model {model}: {refused}", fix
    except RetryLater as error:
        return Level.WARN, f"Bedrock did not answer: {error}", "run the command again"
    return Level.FAIL, f"Bedrock did not deny {role.name} the model {model}", fix
