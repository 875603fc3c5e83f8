"""AWS's managed policies for SageMaker and Canvas, with the documents that AWS publishes.

MiniStack has few of AWS's managed policies, and those for SageMaker are not among them. It creates any other one on
request, with a document that allows everything. A role of Canvas would then have permissions that AWS never gives it.

`managed.json` has the documents in a compact form. The AWS Managed Policy Reference publishes them:
https://docs.aws.amazon.com/aws-managed-policy/latest/reference/policy-list.html
They were read from a mirror of it, https://github.com/zoph-io/MAMIP at commit
0387244e53a3dbe038810ef3463489c2c6836f06 of 2026-03-07. Each policy has the version and the day on which AWS made it.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, Final

from rolewarden_local.emulated._ministack import iam
from rolewarden_local.emulated.patches import Patch

_PUBLISHED: Final[dict[str, Any]] = json.loads(Path(__file__).with_name("managed.json").read_text(encoding="utf-8"))

MANAGED: Final = frozenset(f"{iam._AWS_MANAGED_POLICY_PREFIX}{name}" for name in _PUBLISHED)
"""The ARNs of the policies that this module supplies."""


def published(name: str) -> list[dict[str, Any]]:
    """The statements of one of AWS's policies, by its name with the path."""
    statements: list[dict[str, Any]] = _PUBLISHED[name]["statements"]
    return statements


def install_managed() -> None:
    """Supply the policies, also after a reset. Call once a process."""
    original = iam._seed_aws_managed_policies

    def make_policies() -> None:
        original()
        for name, policy in _PUBLISHED.items():
            iam._aws_managed_policies[f"{iam._AWS_MANAGED_POLICY_PREFIX}{name}"] = _record(name, policy)

    Patch(
        iam, "_seed_aws_managed_policies", make_policies, "MiniStack lacks AWS's managed policies for SageMaker."
    ).install()
    make_policies()


def _record(name: str, policy: dict[str, Any]) -> dict[str, Any]:
    document = json.dumps({"Version": "2012-10-17", "Statement": policy["statements"]})
    record: dict[str, Any] = iam._make_aws_managed_record(name, document)
    version, created = policy["version"], f"{policy['created']}T00:00:00Z"
    stored = {**record["Versions"]["v1"], "VersionId": version, "CreateDate": created}
    return {**record, "UpdateDate": created, "DefaultVersionId": version, "Versions": {version: stored}}
