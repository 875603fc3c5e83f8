"""The floor: the fewest calls that can do the work, with boto3 alone, no record, no recheck and no error handling.

It gets the ARNs of its policies from the environment, and the governed roles from the existing table.
"""

import time

START = time.monotonic()

import os  # noqa: E402
from typing import Any  # noqa: E402

import boto3  # noqa: E402
from aws_lambda_powertools import Logger  # noqa: E402

logger = Logger(service="floor")
iam = boto3.client("iam")

from talk import listen  # noqa: E402

BINDINGS = os.environ["BINDINGS_TABLE"]
PEOPLE, OTHERS = os.environ["PEOPLE_POLICY"], os.environ["OTHERS_POLICY"]
REGION = "us-east-1"
clients: dict[str, Any] = {}


def client(service: str) -> Any:
    """Return a client. Its first use makes it, so that the floor is ready sooner."""
    if service not in clients:
        clients[service] = boto3.client(service)  # type: ignore[call-overload]
    return clients[service]


def handle(order: dict[str, Any]) -> None:
    if "event" in order:
        event(order["event"])
    else:
        sweep()


def event(event: dict[str, Any]) -> None:
    role = event["detail"]["requestParameters"]["roleName"]
    bound = client("dynamodb").query(
        TableName=BINDINGS,
        IndexName="by-role",
        KeyConditionExpression="#role = :role",
        ExpressionAttributeNames={"#role": "role"},
        ExpressionAttributeValues={":role": {"S": f"{event['account']}/{role}"}},
    )["Items"]
    if not bound:
        return
    attached = iam.list_attached_role_policies(RoleName=role)["AttachedPolicies"]
    if PEOPLE not in {policy["PolicyArn"] for policy in attached}:
        iam.attach_role_policy(RoleName=role, PolicyArn=PEOPLE)
        logger.info("attached", extra={"role": role})


def sweep() -> None:
    """Read the table, the domains, the user profiles, the roles and the attachments, and attach missing policies."""
    known: dict[tuple[str, str], str] = {}
    for page in client("dynamodb").get_paginator("scan").paginate(TableName=BINDINGS):
        for row in page["Items"]:
            known[row["scope"]["S"], row["item"]["S"]] = row.get("role", {}).get("S", "").rpartition("/")[2]
    sagemaker, hundred = client("sagemaker"), {"PageSize": 100}
    for domains in sagemaker.get_paginator("list_domains").paginate(PaginationConfig=hundred):
        for domain in domains["Domains"]:
            pages = sagemaker.get_paginator("list_user_profiles").paginate(
                DomainIdEquals=domain["DomainId"], PaginationConfig=hundred
            )
            for page in pages:
                for profile in page["UserProfiles"]:
                    assert profile["UserProfileName"]
    thousand: Any = {"PageSize": 1000}
    roles = {
        r["RoleName"]
        for page in iam.get_paginator("list_roles").paginate(PaginationConfig=thousand)
        for r in page["Roles"]
    }
    lists = iam.get_paginator("list_entities_for_policy")
    carriers = {
        arn: {
            r["RoleName"]
            for page in lists.paginate(PolicyArn=arn, EntityFilter="Role", PaginationConfig=thousand)
            for r in page["PolicyRoles"]
        }
        for arn in (PEOPLE, OTHERS)
    }
    for role in sorted(set(known.values()) & roles):
        arn = OTHERS if role.startswith("also-") else PEOPLE
        if role not in carriers[arn]:
            iam.attach_role_policy(RoleName=role, PolicyArn=arn)


listen(START, handle)
