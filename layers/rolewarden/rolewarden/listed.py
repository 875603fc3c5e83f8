"""The values that the listing calls of `rolewarden.aws` return."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple

from rolewarden.trust import Trust, allows_nobody, trust_of


@dataclass(frozen=True)
class RoleDescription:
    """A role as ListRoles and GetRole describe it.

    - `trust`: the principals that the trust policy allows to assume the role.
    - `boundary`: the ARN of the permissions boundary. Empty if the role has none, and always empty for ListRoles,
      which does not return boundaries (IAM API Reference).
    - `id`: the unique ID, which IAM never gives to another role, even to one of the same name.
    - `created`: when the role was created, in seconds of the epoch. 0 if it is unknown.
    - `is_closed`: whether the trust policy allows no principal anything, and has a statement.
    """

    name: str
    path: str
    trust: Trust
    boundary: str = ""
    id: str = ""
    created: float = 0.0
    is_closed: bool = False


class ListedDomain(NamedTuple):
    """A domain as ListDomains returns it. `modified` is empty while SageMaker is changing the domain."""

    id: str
    name: str = ""
    modified: str = ""


class ListedProfile(NamedTuple):
    """A user profile as ListUserProfiles returns it. `modified` is empty while SageMaker is changing the profile."""

    name: str
    modified: str = ""


class PublishedPolicy(NamedTuple):
    """The default version of a policy: the version ID, and the document as JSON, possibly percent-encoded.

    `id` is the unique ID of the policy; empty if the caller does not know it.
    """

    version: str
    text: str
    id: str = ""


class ListedTrail(NamedTuple):
    """A trail as DescribeTrails returns it.

    - `home`: the region in which it was created.
    - `has_global_events`: whether it logs the events of global services, such as IAM.
    - `has_own_selectors`: whether it logs other events than CloudTrail's default, which is all management events.
    """

    arn: str
    home: str
    is_of_all_regions: bool
    has_global_events: bool
    has_own_selectors: bool


class ListedRule(NamedTuple):
    """A rule of EventBridge, and the ARNs of its targets.

    - `pattern`: the JSON text of its event pattern. Empty for a schedule.
    - `details`: its targets as EventBridge lists them.
    """

    is_enabled: bool
    targets: frozenset[str]
    pattern: str = ""
    details: tuple[Mapping[str, Any], ...] = ()

    @classmethod
    def of(cls, rule: Mapping[str, Any], targets: Iterable[Mapping[str, Any]]) -> ListedRule:
        """The rule of the answers to DescribeRule and ListTargetsByRule."""
        listed = tuple(targets)
        arns = frozenset(target["Arn"] for target in listed)
        return cls(rule["State"] == "ENABLED", arns, rule.get("EventPattern", ""), listed)


CHANGING = frozenset({"Pending", "Updating", "Deleting"})
"""The statuses in which a domain or user profile may still have its old settings, or may still exist."""


class CentralPath(NamedTuple):
    """The parts of the central stack through which events pass, by their names in AWS.

    - `function`: EnforceFunction.
    - `subjects_rule`, `roles_rule`: the rules on the default bus for the events of the stack's own account and region.
    - `forwarded_rule`: the rule on the central event bus; empty if no other region or account sends events.
    - `queue`: the dead-letter queue for events that EventBridge cannot deliver.
    """

    function: str
    subjects_rule: str
    roles_rule: str
    forwarded_rule: str
    queue: str


def modified(subject: Mapping[str, Any]) -> str:
    """The LastModifiedTime of a subject, as a text to compare; empty while SageMaker is changing the subject.

    A change that failed is over, and may have changed something.
    """
    is_stable = subject.get("Status") not in CHANGING and "LastModifiedTime" in subject
    return f"{subject['LastModifiedTime'].timestamp():.3f}" if is_stable else ""


def role_description(role: Mapping[str, Any]) -> RoleDescription:
    """The description of a role. IAM returns the trust policy percent-encoded, and botocore decodes it if it can."""
    document = role.get("AssumeRolePolicyDocument")
    trust, is_closed = trust_of(document), allows_nobody(document)
    boundary = role.get("PermissionsBoundary", {}).get("PermissionsBoundaryArn", "")
    created = role["CreateDate"].timestamp()
    return RoleDescription(role["RoleName"], role["Path"], trust, boundary, role["RoleId"], created, is_closed)
