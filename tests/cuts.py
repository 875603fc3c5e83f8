"""The ways to cut the event path, each with the link that a drill must name.

A cut is made at a place: an account and a region of a Ground. Every cut returns nothing and changes one link only.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any, NamedTuple

from rolewarden_local.aws import ACCOUNT_ID

from tests.drills import FUNCTION, HOME, Ground, client

ROLES, SUBJECTS, FULL = "role pulse", "subject pulse", "full drill"
KINDS = frozenset({ROLES, SUBJECTS, FULL})
OPEN = json.dumps(
    {
        "Version": "2012-10-17",
        "Statement": [{"Effect": "Allow", "Principal": {"AWS": "*"}, "Action": "sts:AssumeRole"}],
    }
)


class Place(NamedTuple):
    """The account and region in which a path begins."""

    account: str
    region: str

    @property
    def is_central(self) -> bool:
        """Whether the rules of the central stack itself match the events of this place."""
        return self == (ACCOUNT_ID, HOME)


class Cut(NamedTuple):
    """One way to cut the path.

    - `make`: cuts it at a place.
    - `here`, `elsewhere`: the link that a drill names at the central stack, and elsewhere; empty if it is impossible.
    - `kinds`: the kinds of drills that the cut concerns, at a place where IAM has its events.
    - `reach`: the places that it concerns: "place", "account", "forwarded" (all other places) or "all".
    """

    name: str
    make: Callable[[Ground, Place], None]
    here: str
    elsewhere: str
    kinds: frozenset[str] = KINDS
    reach: str = "place"

    def link(self, place: Place) -> str:
        """The link that a drill names after a cut at a place; empty if the cut is impossible there."""
        return self.here if place.is_central else self.elsewhere

    def __repr__(self) -> str:
        return self.name


def _trail(place: Place) -> Any:
    return client("cloudtrail", place.account)


def _select_no_management_events(_: Ground, place: Place) -> None:
    selectors = [{"ReadWriteType": "All", "IncludeManagementEvents": False}]
    _trail(place).put_event_selectors(TrailName="management-events", EventSelectors=selectors)


def _stop_trail(_: Ground, place: Place) -> None:
    _trail(place).stop_logging(Name="management-events")


def _names(place: Place) -> tuple[str, ...]:
    if place.is_central:
        return ("EnforceFunctionSubjects", "EnforceFunctionRoles")
    forwarding = ("rolewarden-forward-subjects", "rolewarden-forward-roles")
    return forwarding if place.region == HOME else forwarding[:1]


def _disable_rules(_: Ground, place: Place) -> None:
    for name in _names(place):
        client("events", *place).disable_rule(Name=name)


def _remove_targets(_: Ground, place: Place) -> None:
    events = client("events", *place)
    for name in _names(place):
        ids = [target["Id"] for target in events.list_targets_by_rule(Rule=name)["Targets"]]
        events.remove_targets(Rule=name, Ids=ids)


def _delete_rules(ground: Ground, place: Place) -> None:
    _remove_targets(ground, place)
    for name in _names(place):
        client("events", *place).delete_rule(Name=name)


def _forbid_invocations(ground: Ground, _: Place) -> None:
    for name, permission in ground.template.resources("AWS::Lambda::Permission").items():
        if permission["FunctionName"].endswith("EnforceFunction"):
            client("lambda").remove_permission(FunctionName=FUNCTION, StatementId=name)


def _throttle_function(_: Ground, __: Place) -> None:
    client("lambda").put_function_concurrency(FunctionName=FUNCTION, ReservedConcurrentExecutions=0)


def _close_bus(_: Ground, __: Place) -> None:
    statement = {
        "Sid": "Members",
        "Effect": "Allow",
        "Principal": "*",
        "Action": "events:PutEvents",
        "Resource": f"arn:aws:events:{HOME}:{ACCOUNT_ID}:event-bus/rolewarden-central",
        "Condition": {"StringEquals": {"aws:PrincipalOrgID": "o-somebodys1"}},
    }
    document = json.dumps({"Version": "2012-10-17", "Statement": [statement]})
    client("events").put_permission(EventBusName="rolewarden-central", Policy=document)


def _disable_central_rule(_: Ground, __: Place) -> None:
    client("events").disable_rule(Name="ForwardedToEnforce", EventBusName="rolewarden-central")


def _forbid_forwarding(_: Ground, place: Place) -> None:
    role = "ForwardRole" if place.account == ACCOUNT_ID else f"rolewarden-forward-{place.region}"
    client("iam", place.account).delete_role_policy(RoleName=role, PolicyName="Forward")


def _forbid_attaching(ground: Ground, _: Place) -> None:
    ground.deny("AttachRolePolicy")


def _leave_region_out(ground: Ground, place: Place) -> None:
    left = tuple(region for region in ground.regions if region != place.region) or ("eu-north-1",)
    ground.world.enforcer.regions = left
    variables = {"Variables": {"REGIONS": ",".join(left)}}
    client("lambda").update_function_configuration(FunctionName=FUNCTION, Environment=variables)


def _close_queue(_: Ground, place: Place) -> None:
    sqs = client("sqs", *place)
    name = "EventsDeadLetterQueue" if place.is_central else "rolewarden-undelivered"
    sqs.set_queue_attributes(QueueUrl=sqs.get_queue_url(QueueName=name)["QueueUrl"], Attributes={"Policy": ""})


def _open_canary(_: Ground, place: Place) -> None:
    client("iam", place.account).update_assume_role_policy(RoleName="rolewarden-canary", PolicyDocument=OPEN)


def _delete_canary_config(_: Ground, place: Place) -> None:
    client("sagemaker", *place).delete_app_image_config(AppImageConfigName="rolewarden-canary")


CUTS = (
    Cut("trail without management events", _select_no_management_events, "trail", "trail", reach="account"),
    Cut("stopped trail", _stop_trail, "trail", "trail", reach="account"),
    Cut("disabled rule", _disable_rules, "rule", "forwarding rule"),
    Cut("removed target", _remove_targets, "rule", "forwarding rule"),
    Cut("rule gone", _delete_rules, "rule", "forwarding rule"),
    Cut("central bus policy changed", _close_bus, "", "central event bus", reach="members"),
    Cut("forwarding not allowed", _forbid_forwarding, "", "forwarding"),
    Cut("disabled central rule", _disable_central_rule, "", "rule", reach="forwarded"),
    Cut("invocation not allowed", _forbid_invocations, "permission to invoke", "permission to invoke", reach="all"),
    Cut("function throttled to zero", _throttle_function, "function", "function", reach="all"),
    Cut("region missing from the list", _leave_region_out, "list of regions", "list of regions",
        frozenset({SUBJECTS}), "region"),
    Cut("no right to attach", _forbid_attaching, "right to attach", "right to attach", frozenset({FULL}), "all"),
    Cut("dead-letter queue without permission", _close_queue, "dead-letter queue", "dead-letter queue"),
    Cut("canary can be assumed", _open_canary, "canary", "canary", frozenset({FULL}), "account"),
    Cut("canary's resource gone", _delete_canary_config, "the drill's call", "the drill's call", frozenset({SUBJECTS})),
)  # fmt: skip
"""The cuts in the order of the path as far as they have one."""
