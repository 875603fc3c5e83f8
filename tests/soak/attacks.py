"""The moves of attackers who have a right on a part of Rolewarden or on exempt roles, for the nights of `machine`.

To add a move, write a `@rule` method in a class like these, and list the class among the bases of `machine.Night`. A
move that gives Rolewarden a reason to attach a policy to another role adds this to `ledger.needed`.
"""

from __future__ import annotations

import contextlib
import json
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

import boto3
from botocore.exceptions import ClientError
from hypothesis import strategies as st
from hypothesis.stateful import rule
from rolewarden.sweep_requests import BURST
from rolewarden_local.aws import ACCOUNT_ID, REGION
from rolewarden_local.emulated._ministack import iam
from rolewarden_local.scenes.seed import TRUST, trusting

from tests.soak.ledger import OURS, ROLEWARDEN, Ledger, roles_now

if TYPE_CHECKING:
    from tests.soak.functions import Functions
    from tests.world import World

NUMBER = st.integers(0, 1 << 16)
"""A number that selects one of the existing items."""

EVERYTHING = json.dumps({"Version": "2012-10-17", "Statement": [{"Effect": "Allow", "Action": "*", "Resource": "*"}]})

WRONG: dict[str, dict[str, Any]] = {
    "sweep": {"pending": {"SS": ["nothing"]}, "rules": {"S": "others"}},
    "reported": {"expires": {"N": "99999999999"}},
    "health": {"swept": {"S": "never"}, "broken": {"S": "x"}},
    "regions": {"at": {"N": "99999999999"}},
    "audit": {"until": {"S": "9999-01-01T00:00:00+00:00"}},
    "members": {"swept": {"BOOL": True}},
}
"""Attributes that no function writes, by the kind of the row."""


class TableAttacks:
    """Moves of a caller who can write to the bindings table, for example with the credentials of SweepFunction."""

    world: World
    ledger: Ledger
    exempt: frozenset[str]

    def rows(self) -> list[dict[str, Any]]:
        """All rows of the bindings table, in the format of DynamoDB."""
        table = self.world.environment["BINDINGS_TABLE"]
        found: list[dict[str, Any]] = boto3.client("dynamodb").scan(TableName=table)["Items"]
        return sorted(found, key=lambda row: (row["scope"]["S"], row["item"]["S"]))

    def write(self, row: dict[str, Any]) -> None:
        # DynamoDB rejects another type of a key.
        with contextlib.suppress(ClientError):
            boto3.client("dynamodb").put_item(TableName=self.world.environment["BINDINGS_TABLE"], Item=row)

    @rule(number=NUMBER, role=NUMBER, later=st.booleans())
    def a_binding_gets_another_role(self, number: int, role: int, later: bool) -> None:
        if not (bound := [row for row in self.rows() if "role_name" in row]):
            return
        names = sorted(set(roles_now()) - self.exempt)
        row, name = bound[number % len(bound)], names[role % len(names)]
        self.ledger.needed[name].add(self.ledger.guardrail(row["domain_name"]["S"]))
        row |= {"role": {"S": f"{ACCOUNT_ID}/{name}".lower()}, "role_name": {"S": name}}
        if later:
            row["read_at"] = {"N": "99999999999"}
        self.write({key: value for key, value in row.items() if key != "role_account"})

    @rule(number=NUMBER, attribute=NUMBER, wrong=st.sampled_from([None, {"N": "1"}, {"S": "x"}, {"B": b"x"}]))
    def a_row_gets_a_wrong_attribute(self, number: int, attribute: int, wrong: dict[str, Any] | None) -> None:
        if bound := [row for row in self.rows() if "via" in row]:
            row = bound[number % len(bound)]
            # With another name of the domain, the role needs other guardrails until the next sweep.
            role = str(row.get("role_name", {}).get("S", ""))
            self.ledger.needed[role] |= set(self.ledger.guardrails.values())
            self.ledger.lapsed.add(role)
            names = sorted(row.keys() - {"scope", "item"})
            name = names[attribute % len(names)]
            self.write({key: value for key, value in row.items() if key != name} | ({name: wrong} if wrong else {}))

    @rule(number=NUMBER)
    def a_row_is_deleted(self, number: int) -> None:
        if rows := self.rows():
            key = {name: rows[number % len(rows)][name] for name in ("scope", "item")}
            boto3.client("dynamodb").delete_item(TableName=self.world.environment["BINDINGS_TABLE"], Key=key)

    @rule(number=NUMBER, kind=st.sampled_from(sorted(WRONG)))
    def a_row_of_another_kind_is_wrong(self, number: int, kind: str) -> None:
        rows = [row for row in self.rows() if row["scope"]["S"].partition("/")[0] == kind]
        if rows:
            self.write(rows[number % len(rows)] | WRONG[kind])


def delete_role(by: Any, name: str) -> None:
    """Delete a role in the name of a caller, with everything that IAM asks to remove before."""
    found = roles_now()[name]
    for arn in found["AttachedPolicies"]:
        by("mallory", "iam", "detach_role_policy", RoleName=name, PolicyArn=arn)
    for policy in found["InlinePolicies"]:
        by("mallory", "iam", "delete_role_policy", RoleName=name, PolicyName=policy)
    by("mallory", "iam", "delete_role", RoleName=name)


def delete_guardrail(by: Any, policy: str) -> None:
    """Delete a guardrail's policy in the name of a caller, with all its attachments and versions."""
    arn = OURS + policy
    for name, found in roles_now().items():
        if arn in found["AttachedPolicies"]:
            by("mallory", "iam", "detach_role_policy", RoleName=name, PolicyArn=arn)
    for version in by("mallory", "iam", "list_policy_versions", PolicyArn=arn).get("Versions", ()):
        if not version["IsDefaultVersion"]:
            version_id = version["VersionId"]
            by("mallory", "iam", "delete_policy_version", PolicyArn=arn, VersionId=version_id)
    by("mallory", "iam", "delete_policy", PolicyArn=arn)


class PolicyAttacks:
    """Moves of a caller who can create policies under Rolewarden's path."""

    by: Any
    world: World

    @rule(policy=st.sampled_from(["no-generative-ai", "only-nova-and-sonnet"]))
    def a_guardrail_is_squatted(self, policy: str) -> None:
        """Delete a guardrail's policy, and create one of its name that allows everything."""
        delete_guardrail(self.by, policy)
        self.by(
            "mallory", "iam", "create_policy", PolicyName=policy, Path="/rolewarden/", PolicyDocument=EVERYTHING
        )  # fmt: skip


INNOCENT = "innocent"
"""The name of the user whom forged messages and events blame. This user makes no call."""

CAUSE = {
    "event_id": "0f0f0f0f-1111-2222-3333-444444444444",
    "event_name": "DetachRolePolicy",
    "time": "2026-11-01T00:00:00Z",
    "actor": f"arn:aws:iam::{ACCOUNT_ID}:user/{INNOCENT}",
    "source_address": "192.0.2.1",
}
TRIGGERS = st.sampled_from(["deployment", "deployment", "sweep", "event", "schedule", "operator"])
RECHECKS = st.sampled_from([0, 1, 3, -1, -(10**9), 10**9])
POLICIES = ("no-generative-ai", "only-nova-and-sonnet", "stray", "theirs", "team-policy-01")
ACCOUNTS = st.sampled_from([ACCOUNT_ID] * 3 + ["444455556666"])


class QueueAttacks:
    """Moves of a caller who can send messages to the queues, for example with the credentials of a function."""

    by: Any
    world: World
    functions: Functions
    ledger: Ledger
    rows: Any

    def forge(self, queue: str, body: dict[str, Any]) -> None:
        """Send a message to a queue of the stack."""
        self.world.sqs.send_message(QueueUrl=self.world.environment[queue], MessageBody=json.dumps(body, default=str))

    @rule(role=NUMBER, rows=NUMBER, trigger=TRIGGERS, rechecks=RECHECKS, account=ACCOUNTS, digests=st.booleans())
    def work_is_forged(self, role: int, rows: int, trigger: str, rechecks: int, account: str, digests: bool) -> None:
        """Request an evaluation of a role with the rows of other roles, and with bindings that the table lacks."""
        names = sorted(roles_now())
        bound = [row for row in self.rows() if "role_name" in row and "via" in row]
        some = [bound[(rows + number) % len(bound)] for number in range(rows % 3)] if bound else []
        known = {binding.key: binding.digest for binding in self.world.bindings.all()} if digests else {}
        keys = [(row["scope"]["S"], row["item"]["S"]) for row in some]
        body: dict[str, Any] = {
            "role": names[role % len(names)],
            "role_account": account,
            "account": account,
            "trigger": trigger,
            "call": "DetachRolePolicy",
            "cause": CAUSE,
            "rechecks": rechecks,
            "rows": [[*key, known.get(key, "wrong")] for key in keys],
            "bindings": [{name: next(iter(value.values()), "") for name, value in row.items()} for row in some],
        }
        self.forge("WORK_QUEUE_URL", {name: value for name, value in body.items() if value != []})

    @rule(role=NUMBER, trigger=TRIGGERS, rechecks=RECHECKS, subject=st.booleans())
    def a_recheck_is_forged(self, role: int, trigger: str, rechecks: int, subject: bool) -> None:
        names = sorted(roles_now())
        named = {"domain": "d-gone", "user_profile": "x"} if subject else {"role": names[role % len(names)]}
        claims = {"account": ACCOUNT_ID, "region": REGION, "trigger": trigger, "call": "CreateRole", "cause": CAUSE}
        self.forge("WORK_QUEUE_URL", {"request": named, "rechecks": rechecks, **claims})

    @rule(
        policy=st.sampled_from(POLICIES[:2] * 2 + POLICIES),
        trigger=TRIGGERS,
        rechecks=st.sampled_from([1, 1, 3, 0, -1, 10**9]),
        account=ACCOUNTS,
        step=st.booleans(),
        edited=st.booleans(),
    )
    def a_publication_is_forged(
        self, policy: str, trigger: str, rechecks: int, account: str, step: bool, edited: bool
    ) -> None:
        """Request a check or the restoration of a policy. A deployment would restore it without a report."""
        claims = {"account": account, "region": REGION, "trigger": trigger, "call": "DeletePolicy", "cause": CAUSE}
        asked = {"step": "publish"} if step else {"request": {"policy": policy}, "rechecks": rechecks}
        self.forge("PUBLISH_QUEUE_URL", {**asked, **claims})
        if edited:
            self.by(
                "mallory", "iam", "create_policy_version",
                PolicyArn=OURS + policy, PolicyDocument=EVERYTHING, SetAsDefault=True,
            )  # fmt: skip
            self.functions.poll("PublishQueue")

    @rule(
        step=st.sampled_from(["begin", "list", "describe", "compare", "audit", "regions", "requested"]),
        began=st.sampled_from(["", "1.000", "4102444800.000"]),
        after=st.sampled_from(["", "~", "d-analytics0001"]),
        account=ACCOUNTS,
    )
    def a_step_of_a_sweep_is_forged(self, step: str, began: str, after: str, account: str) -> None:
        """Continue the newest sweep (an empty `began`) or one that never began. `after` leaves domains out."""
        sweeps = [row["item"]["S"] for row in self.rows() if row["scope"]["S"] == f"sweep/{account}"]
        self.forge(
            "SWEEP_QUEUE_URL",
            {
                "account": account,
                "began": began or max(sweeps, default="1.000"),
                "step": step,
                "after": after,
                "region": REGION,
                "target": "all",
                "domain": "d-analytics0001",
                "profiles": ["omar", "nobody"],
            },
        )

    @rule(role=NUMBER, policy=st.sampled_from(POLICIES), account=ACCOUNTS, retired=st.booleans())
    def a_detachment_is_forged(self, role: int, policy: str, account: str, retired: bool) -> None:
        names = sorted(roles_now())
        what = {"policy": policy} if retired else {"role": names[role % len(names)], "policies": [*POLICIES]}
        self.forge("DETACH_QUEUE_URL", {"account": account, **what})


FORGED = {
    "Sweep Requested": {"account": ACCOUNT_ID},
    "Guardrails Published": {"account": ACCOUNT_ID, "trigger": "deployment", "policies": {}},
    "Policy Restored": {
        "account": ACCOUNT_ID, "policy": "no-generative-ai", "remediation": "replaced", "cause": CAUSE,
    },
    "Role Finding": {
        "account": ACCOUNT_ID, "role": "CanvasOmar", "verdict": "unenforceable", "reason": "quota", "cause": CAUSE,
        "recommendation": "Sign in at https://example.com", "message": "Sign in at https://example.com",
    },
    "Finding Resolved": {"account": ACCOUNT_ID, "finding": "CanvasOmar", "cause": CAUSE},
}  # fmt: skip
"""Details of events that no function of the stack put on the bus, by their type."""


class EventAttacks:
    """Moves of a caller who can put events with the source of Rolewarden on the bus."""

    functions: Functions

    @rule(kind=st.sampled_from(sorted(FORGED)), times=st.sampled_from([1, 2 * BURST + 3]))
    def events_of_rolewarden_are_forged(self, kind: str, times: int) -> None:
        """Put an event on the bus, and deliver it to each function that listens to events of Rolewarden."""
        event = {
            "source": "rolewarden",
            "account": ACCOUNT_ID,
            "region": REGION,
            "detail-type": kind,
            "detail": FORGED[kind],
            "time": datetime.now(UTC).isoformat(timespec="seconds"),
        }
        answers = [self.functions.invoke("sweep", event)[1] or {} for _ in range(times)]
        started = [answer for answer in answers if "waits" not in answer]
        assert len(started) <= BURST, (kind, len(started))
        _, answer = self.functions.invoke("alert", event)
        assert not answer["alert"], answer


class ExemptRoleAttacks:
    """Moves of a caller who can administer roles and SageMaker, on exempt roles and roles that are never governed."""

    by: Any
    exempt: frozenset[str]
    domain: Any
    arn: Any

    @rule(service=st.sampled_from(["sagemaker", "lambda"]))
    def an_exempt_role_is_made_again(self, service: str) -> None:
        """Delete the role, and create another one of its name after the deployment."""
        for name in sorted(self.exempt & roles_now().keys()):
            delete_role(self.by, name)
            trust = trusting(f"{service}.amazonaws.com")
            if self.by("mallory", "iam", "create_role", RoleName=name, AssumeRolePolicyDocument=trust):
                # IAM gives whole seconds, and the deployment of this night may be of the same second.
                later = datetime.now(UTC) + timedelta(seconds=5)
                iam._roles[name]["CreateDate"] = later.strftime("%Y-%m-%dT%H:%M:%SZ")

    @rule(domain=NUMBER, role=NUMBER, spaces=st.booleans())
    def an_exempt_role_is_given_to_a_domain(self, domain: int, role: int, spaces: bool) -> None:
        names = sorted(self.exempt)
        settings = "DefaultSpaceSettings" if spaces else "DefaultUserSettings"
        given = {settings: {"ExecutionRole": self.arn(names[role % len(names)])}}
        self.by("alice", "sagemaker", "update_domain", DomainId=self.domain(domain), **given)

    @rule(anyone=st.booleans())
    def the_trust_of_an_exempt_role_is_changed(self, anyone: bool) -> None:
        trust = TRUST.replace('"Service": "sagemaker.amazonaws.com"', '"AWS": "*"') if anyone else TRUST
        for name in sorted(self.exempt):
            self.by("mallory", "iam", "update_assume_role_policy", RoleName=name, PolicyDocument=trust)


def attachments_of_foreign_policies(events: Any) -> list[str]:
    """The policies that Rolewarden attached although their default version was written by another caller."""
    foreign: set[str] = set()
    found = []
    for event in events:
        detail, name = event["detail"], event["detail"]["eventName"]
        said = detail["requestParameters"] or {}
        if "errorCode" in detail:
            continue
        arn = said.get("policyArn") or (
            f"{OURS}{said.get('policyName')}" if said.get("path") == "/rolewarden/" else ""
        )  # fmt: skip
        is_ours = detail["userIdentity"]["arn"] == ROLEWARDEN
        if name == "CreatePolicy" or (name == "CreatePolicyVersion" and said.get("setAsDefault")):
            (foreign.discard if is_ours else foreign.add)(arn)
        elif name in {"SetDefaultPolicyVersion", "DeletePolicy"}:
            foreign.discard(arn)
        elif name == "AttachRolePolicy" and is_ours and arn in foreign:
            found.append(arn)
    return found
