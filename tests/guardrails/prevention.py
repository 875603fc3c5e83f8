"""Files for prevention, callers, and the decision that a service control policy must make, written a second time.

`must_deny` does not use the compiler of prevention. It takes the policies that Rolewarden attaches to roles, and the
ARN of the caller decides which of them count.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date
from functools import cache
from pathlib import Path

import yaml
from hypothesis import strategies as st
from rolewarden.guardrails import Assignment, Exemption, Guardrail, Mode, Rules
from rolewarden.guardrails_file import load, read_yaml
from rolewarden.packing import Document
from rolewarden.policies import compile_guardrail
from rolewarden.prevention import Scope, compile_prevention
from rolewarden_local.emulated.judge import Judgement, judge

from tests.guardrail_files import GUARDRAILS
from tests.guardrails.probes import ALLOW_EVERYTHING, PAGE, REQUESTS, Request
from tests.guardrails.strategies import guardrails

DOCS = Path(__file__).resolve().parents[2] / "docs"
HOW_TO = DOCS / "how-to" / "prevention.md"
EXPLANATION = DOCS / "explanation" / "prevention.md"
NOT_ABOUT_MODELS = re.compile("PassRoleToService|ExemptRoles|FixedTags")
"""The Sids of statements that limit a covered role, and that no service control policy has."""

IDENTITIES = ("ana", "ben", "Ana", "ana-2", "anab")
"""Names of user profiles. An assignment that shares its principals has the first two."""

HERE, THERE, ELSEWHERE = "111122223333", "444455556666", "999988887777"
DAYS = (date(2026, 12, 31), date(2027, 1, 31))
TIMES = ("2026-12-31T23:59:59Z", "2027-01-01T00:00:00Z", "2027-01-31T12:00:00Z", "2027-02-01T00:00:00Z")
PERMISSION_SET = f"arn:aws:iam::{HERE}:role/aws-reserved/sso.amazonaws.com/eu-west-1/AWSReservedSSO_Canvas_"
PRINCIPALS = (
    f"arn:aws:iam::{HERE}:role/canvas/approved/*",
    f"arn:aws:iam::{HERE}:role/canvas/open/*",
    f"arn:aws:iam::{THERE}:role/canvas/approved/*",
    f"arn:aws:iam::{HERE}:role/CanvasResearch",
    f"arn:aws:iam::{HERE}:role/service-role/CanvasTrainees",
    f"arn:aws:iam::{THERE}:role/apps/SupportChat",
    f"arn:aws:iam::{HERE}:user/pipelines/batch",
    f"{PERMISSION_SET}*",
)
"""Principals that do not overlap, so that each of them can belong to another assignment."""

EXEMPT = ("BreakGlass", "CanvasVisitor")
INSIDE = (
    f"arn:aws:iam::{HERE}:role/canvas/approved/Nova",
    f"arn:aws:iam::{HERE}:role/canvas/approved/deeper/still/Nova",
    f"arn:aws:iam::{HERE}:role/canvas/open/Weights",
    f"arn:aws:iam::{THERE}:role/canvas/approved/Nova",
    *PRINCIPALS[3:7],
    f"{PERMISSION_SET}0123456789abcdef",
)
"""Callers that belong to one of PRINCIPALS."""

OUTSIDE = (
    f"arn:aws:iam::{HERE}:root",
    f"arn:aws:iam::{HERE}:role/Unknown",
    f"arn:aws:iam::{HERE}:user/alice",
    f"arn:aws:iam::{HERE}:user/canvas/approved/Nova",
    f"arn:aws:sts::{HERE}:federated-user/canvas/approved/Nova",
    f"arn:aws:sts::{HERE}:assumed-role/canvas/approved/Nova",
    f"arn:aws:iam::{ELSEWHERE}:role/canvas/approved/Nova",
    f"arn:aws:iam::{HERE}:role/canvas/Approved/Nova",
    f"arn:aws:iam::{HERE}:role/Canvas/approved/Nova",
    f"arn:aws:iam::{HERE}:role/canvas/approved-too/Nova",
    f"arn:aws:iam::{HERE}:role/canvas/approved",
    f"arn:aws:iam::{HERE}:role/x/canvas/approved/Nova",
    f"arn:aws:iam::{HERE}:role/canvas/Nova",
    f"arn:aws:iam::{HERE}:role/canvasresearch",
    f"arn:aws:iam::{HERE}:role/path/CanvasResearch",
    f"arn:aws:iam::{HERE}:role/CanvasResearch2",
    f"arn:aws:iam::{THERE}:role/CanvasResearch",
    f"arn:aws:iam::{HERE}:role/service-role/x/CanvasTrainees",
    f"arn:aws:iam::{HERE}:role/apps/SupportChat",
    f"arn:aws:iam::{HERE}:role/pipelines/batch",
    f"arn:aws:iam::{HERE}:user/pipelines/batch/more",
    f"{PERMISSION_SET}Website_0123456789abcdef",
    f"{PERMISSION_SET}0123456789abcde",
)
"""Callers that belong to none of PRINCIPALS."""

VISITORS = (
    f"arn:aws:iam::{HERE}:role/BreakGlass",
    f"arn:aws:iam::{HERE}:role/deep/in/a/path/BreakGlass",
    f"arn:aws:iam::{HERE}:role/canvas/approved/CanvasVisitor",
    f"arn:aws:iam::{THERE}:role/BreakGlass",
    f"arn:aws:iam::{THERE}:role/service-role/CanvasVisitor",
)
"""Callers with the name of an exempt role."""


@dataclass(frozen=True)
class Call:
    """A request of a caller at a time."""

    request: Request
    caller: str
    time: str = TIMES[2]
    session: str = "AROAEXAMPLE:SageMaker"
    identity: str = ""

    @property
    def context(self) -> dict[str, str | list[str]]:
        identity: dict[str, str | list[str]] = {"aws:SourceIdentity": self.identity} if self.identity else {}
        return {
            **identity,
            **self.request.context,
            "aws:PrincipalArn": self.caller,
            "aws:CurrentTime": self.time,
            "aws:userid": self.session,
        }


@cache
def shipped() -> Rules:
    """The rules of the shipped file."""
    return load(GUARDRAILS, today=DAYS[0])


@cache
def organization() -> Rules:
    """The rules of the example with five assignments in docs/how-to/prevention.md."""
    [text] = re.findall(r"```yaml\n(guardrails:.*?)```", HOW_TO.read_text(encoding="utf-8"), flags=re.DOTALL)
    reading = read_yaml(text, today=DAYS[0])
    assert reading.rules is not None, reading.errors
    assert reading.warnings == ()
    return reading.rules


def scps(rules: Rules, scope: Scope = Scope.ACCOUNT, partition: str = "aws") -> dict[str, Document]:
    """The documents by their names."""
    return {policy.name: policy.document for policy in compile_prevention(rules, partition, scope).policies}


def belongs(caller: str, principal: str) -> bool:
    """Whether the ARN of a caller is a principal or lies under its path. It compares texts and no patterns."""
    if principal.startswith(PERMISSION_SET):
        suffix = caller.removeprefix(PERMISSION_SET)
        return caller.startswith(PERMISSION_SET) and len(suffix) == 16
    return caller.startswith(principal[:-1]) if principal.endswith("/*") else caller == principal


def under(rules: Rules, call: Call) -> tuple[Guardrail, ...]:
    """The guardrails that count for a caller."""
    every = tuple(rules.guardrails.values())
    _, _, _, _, account, resource = call.caller.split(":", 5)
    kind, _, name = resource.partition("/")
    named = {one.until for one in rules.exemptions if (one.account, one.role) == (account, name.rpartition("/")[2])}
    if named and kind == "role":
        return () if any(call.time[:10] <= str(until) for until in named) else every
    for assignment in rules.assignments:
        if any(belongs(call.caller, principal) for principal in assignment.principals):
            if assignment.source_identities and call.identity not in assignment.source_identities:
                return every
            return tuple(rules.guardrails[name] for name in assignment.guardrails)
    return every


@cache
def attached(guardrail: Guardrail) -> Document:
    """The statements about models in the policies that Rolewarden attaches for a guardrail; none in observe mode."""
    documents = [policy.document for policy in compile_guardrail(guardrail, "aws")]
    found = [one for document in documents for one in document["Statement"]]
    kept = [one for one in found if not NOT_ABOUT_MODELS.match(one["Sid"])]
    return {"Version": "2012-10-17", "Statement": kept if guardrail.mode is Mode.ENFORCE else []}


def must_deny(rules: Rules, call: Call) -> bool:
    """Whether the guardrails of the caller deny the request."""
    policies = {guardrail.name: attached(guardrail) for guardrail in under(rules, call)}
    return is_denied(policies, call.request, call.request.context)


def is_denied(policies: Mapping[str, Document], request: Request, context: Mapping[str, str | Sequence[str]]) -> bool:
    """Whether the policies of a caller with every permission deny the request on one of its resources."""
    return any(not found.allowed for found in judged(policies, request, context))


def judged(
    policies: Mapping[str, Document], request: Request, context: Mapping[str, str | Sequence[str]]
) -> list[Judgement]:
    """The decision of the evaluator on each resource of the request."""
    documents = {"everything": ALLOW_EVERYTHING, **policies}
    everything = {name: json.dumps(document) for name, document in documents.items()}
    return [judge(everything, request.action, resource, context) for resource in request.resources]


def from_page(name: str, entry: str) -> Guardrail:
    """The guardrail of probes.yaml with this entry, under another name."""
    document = {"guardrails": {name: PAGE["guardrails"][entry]}, "assignments": [{"guardrails": [name]}]}
    reading = read_yaml(yaml.safe_dump(document), today=DAYS[0])
    assert reading.rules is not None, reading.errors
    return reading.rules.guardrails[name]


@st.composite
def files(draw: st.DrawFn) -> Rules:
    """Rules with one to four guardrails, one to five assignments, and up to three exemptions."""
    names = [f"g{number}" for number in range(draw(st.integers(1, 4)))]
    made: dict[str, Guardrail] = {}
    for name in names:
        of_page = draw(st.none() | st.sampled_from(list(PAGE["guardrails"])))
        found = from_page(name, of_page) if of_page else draw(guardrails(name))
        made[name] = found._replace(mode=draw(st.sampled_from([Mode.ENFORCE] * 9 + [Mode.OBSERVE])))
    count = draw(st.integers(1, 5))
    owner = {principal: draw(st.integers(-1, count - 1)) for principal in PRINCIPALS}
    assignments = tuple(
        Assignment(
            tuple(draw(st.lists(st.sampled_from(names), unique=True, max_size=3))),
            accounts=() if number == count - 1 else (HERE, THERE),
            principals=(named := tuple(principal for principal, place in owner.items() if place == number)),
            source_identities=draw(st.sampled_from([(), (), IDENTITIES[:2]])) if named else (),
        )
        for number in range(count)
    )
    exemptions = draw(
        st.lists(
            st.builds(
                Exemption,
                st.sampled_from(EXEMPT),
                st.sampled_from(DAYS),
                account=st.sampled_from([HERE, THERE, ""]),
            ),
            max_size=3,
        )
    )
    return Rules(made, assignments, tuple(exemptions))


DENIABLE = [request for request in REQUESTS if any(pattern.startswith(("b-*", "j-*")) for pattern in request.denied)]
"""The requests that most guardrails of a family deny."""

calls = st.builds(
    Call,
    # Most guardrails deny few of the requests, so those that some guardrail denies come more often.
    st.sampled_from([*REQUESTS, *DENIABLE, *DENIABLE, *DENIABLE]),
    st.sampled_from([*INSIDE, *INSIDE, *OUTSIDE, *VISITORS]),
    st.sampled_from(TIMES),
    identity=st.sampled_from(["", *IDENTITIES]),
)
