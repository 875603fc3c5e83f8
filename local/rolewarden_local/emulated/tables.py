"""Policies of DynamoDB tables, which a deny keeps in force against every caller, and the permissions of PartiQL.

MiniStack stores the policy of PutResourcePolicy and decides nothing by it. It ignores the property ResourcePolicy of a
table in a template. An explicit deny in a resource policy denies the request of every caller of the account, the root
user included:
https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_policies_evaluation-logic_policy-eval-denyallow.html
PartiQL's statements have their own actions:
https://docs.aws.amazon.com/amazondynamodb/latest/developerguide/ql-iam.html
"""

from __future__ import annotations

import functools
import json
import re
from collections.abc import Iterator, Mapping
from typing import Any, Final

from rolewarden_local.emulated._ministack import dynamodb
from rolewarden_local.emulated.judge import Unsupported, Values, judge
from rolewarden_local.emulated.patches import Patch

_STATEMENT: Final = re.compile(
    r"""\s*(INSERT\s+INTO|UPDATE|DELETE\s+FROM|SELECT\b.*?\bFROM)\s+"?([\w.-]+)""", re.IGNORECASE | re.DOTALL
)
_ACTIONS: Final = {"I": "PartiQLInsert", "U": "PartiQLUpdate", "D": "PartiQLDelete", "S": "PartiQLSelect"}


_ONCE: Final = "Each call has the same few expressions, and each check of an item would read them again."


def install_tables() -> None:
    """Let DynamoDB read each expression once."""
    tokens = functools.lru_cache(maxsize=1024)(dynamodb._tokenize)
    error = functools.lru_cache(maxsize=1024)(dynamodb._condition_syntax_error)
    Patch(dynamodb, "_tokenize", lambda expression: list(tokens(expression)), _ONCE).install()
    Patch(dynamodb, "_condition_syntax_error", error, _ONCE).install()


def put_policy(table_arn: str, policy: Any) -> None:
    """Store the policy of a table, or delete it if `policy` is empty."""
    if policy:
        dynamodb._resource_policies[table_arn] = {"Policy": json.dumps(policy), "RevisionId": "1"}
    else:
        dynamodb._resource_policies.pop(table_arn, None)


def is_denied(account: str, region: str, resource: str, action: str, keys: Mapping[str, Values]) -> bool:
    """Whether the policy of a table denies an action on the table or one of its indexes."""
    found = dynamodb._resource_policies.get_scoped(account, region, resource.partition("/index/")[0])
    if not found:
        return False
    statements = []
    for statement in json.loads(found["Policy"])["Statement"]:
        if statement["Effect"] == "Deny" and statement["Principal"] not in ("*", {"AWS": "*"}):
            raise Unsupported(
                f"a deny in the policy of {resource} with principals: use a condition on aws:PrincipalArn"
            )
        statements.append({name: value for name, value in statement.items() if name != "Principal"})
    policy = {"Version": "2012-10-17", "Statement": [one for one in statements if one["Effect"] == "Deny"]}
    return judge({"resource": policy}, action, resource, keys).decision == "explicitDeny"


def partiql(operation: str, body: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    """The action and the table of each statement of a call."""
    texts = {
        "ExecuteStatement": [body.get("Statement", "")],
        "BatchExecuteStatement": [one.get("Statement", "") for one in body.get("Statements", ())],
        "ExecuteTransaction": [one.get("Statement", "") for one in body.get("TransactStatements", ())],
    }.get(operation, [])
    for text in texts:
        if found := _STATEMENT.match(text):
            yield f"dynamodb:{_ACTIONS[found[1][0].upper()]}", found[2]
