"""Policies of DynamoDB tables, which a deny keeps in force against every caller, and the permissions of PartiQL.

MiniStack stores the policy of PutResourcePolicy and decides nothing by it. It ignores the property ResourcePolicy of a
table in a template. An explicit deny in a resource policy denies the request of every caller of the account, the root
user included:
https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_policies_evaluation-logic_policy-eval-denyallow.html
PartiQL's statements have their own actions:
https://docs.aws.amazon.com/amazondynamodb/latest/developerguide/ql-iam.html

MiniStack also reads the text of a condition again for each item that it compares. The two usual conditions on a sort
key therefore have a comparison of their own.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator, Mapping
from functools import lru_cache
from typing import Any, Final

from rolewarden_local.emulated._ministack import dynamodb
from rolewarden_local.emulated.judge import Unsupported, Values, judge
from rolewarden_local.emulated.patches import Patch

_STATEMENT: Final = re.compile(
    r"""\s*(INSERT\s+INTO|UPDATE|DELETE\s+FROM|SELECT\b.*?\bFROM)\s+"?([\w.-]+)""", re.IGNORECASE | re.DOTALL
)
_ACTIONS: Final = {"I": "PartiQLInsert", "U": "PartiQLUpdate", "D": "PartiQLDelete", "S": "PartiQLSelect"}


_KEY_CONDITION: Final = re.compile(r"(#\w+) = (:\w+) AND (begins_with\(#(\w+), (:\w+)\)|#(\w+) >= (:\w+))")


def install_tables() -> None:
    """Make MiniStack read the text of a condition once. Call once a process."""
    why = "MiniStack parses the condition of a query for each item, which takes nine tenths of the query."
    for name in ("_tokenize", "_condition_syntax_error"):
        Patch(dynamodb, name, lru_cache(getattr(dynamodb, name)), why).install()
    Patch(dynamodb, "_evaluate_condition", _by_key(dynamodb._evaluate_condition), why).install()


def _by_key(evaluate: Callable[..., bool]) -> Callable[..., bool]:
    """MiniStack's evaluation of a condition, with a quick one for texts in the sort key of a query."""

    def evaluated(
        text: str,
        item: Mapping[str, Any],
        values: Mapping[str, Any],
        names: Mapping[str, str],
        slot: str = "ConditionExpression",
    ) -> bool:
        if slot == "KeyConditionExpression" and (found := _key_condition(text)):
            key, wanted, sort, bound, begins = found
            try:
                of_key, of_sort, least = item[names[key]], item[names[sort]]["S"], values[bound]["S"]
                # The order of code points is that of the bytes of UTF-8, by which DynamoDB sorts.
                return bool(of_key == values[wanted] and (of_sort.startswith(least) if begins else of_sort >= least))
            except (KeyError, TypeError):
                pass  # MiniStack has a message for each error.
        return evaluate(text, item, values, names, slot=slot)

    return evaluated


@lru_cache
def _key_condition(text: str) -> tuple[str, str, str, str, bool] | None:
    """The names and values of a condition on both keys, and whether the sort key has to begin with its value."""
    found = _KEY_CONDITION.fullmatch(text)
    return (found[1], found[2], f"#{found[4] or found[6]}", found[5] or found[7], bool(found[4])) if found else None


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
