"""The moves of attackers who can write to Rolewarden's own resources, for the random nights of `machine`.

To add a move, write a `@rule` method in a class like these, and list the class among the bases of `machine.Night`. A
move that gives Rolewarden a reason to attach a policy to another role adds this to `ledger.needed`.
"""

from __future__ import annotations

import contextlib
import json
from typing import TYPE_CHECKING, Any

import boto3
from botocore.exceptions import ClientError
from hypothesis import strategies as st
from hypothesis.stateful import rule
from rolewarden_local.aws import ACCOUNT_ID

from tests.soak.ledger import OURS, ROLEWARDEN, Ledger, roles_now

if TYPE_CHECKING:
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
            self.ledger.needed[row.get("role_name", {"S": ""})["S"]] |= set(self.ledger.guardrails.values())
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


class PolicyAttacks:
    """Moves of a caller who can create policies under Rolewarden's path."""

    by: Any
    world: World

    @rule(policy=st.sampled_from(["no-generative-ai", "approved-models"]))
    def a_guardrail_is_squatted(self, policy: str) -> None:
        """Delete a guardrail's policy, and create one of its name that allows everything."""
        arn = OURS + policy
        for name, found in roles_now().items():
            if arn in found["AttachedPolicies"]:
                self.by("mallory", "iam", "detach_role_policy", RoleName=name, PolicyArn=arn)
        for version in self.by("mallory", "iam", "list_policy_versions", PolicyArn=arn).get("Versions", ()):
            if not version["IsDefaultVersion"]:
                self.by(
                    "mallory", "iam", "delete_policy_version", PolicyArn=arn, VersionId=version["VersionId"]
                )  # fmt: skip
        self.by("mallory", "iam", "delete_policy", PolicyArn=arn)
        self.by(
            "mallory", "iam", "create_policy", PolicyName=policy, Path="/rolewarden/", PolicyDocument=EVERYTHING
        )  # fmt: skip


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
