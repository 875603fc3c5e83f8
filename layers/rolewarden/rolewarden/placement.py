"""Placement of statements in policies, so that a rule change never takes a deny away from a role that still needs it.

The compiler spreads the statements of a guardrail over one or more policies. A rule change can move a statement from
one policy to another, or from one guardrail to another. A policy changes for all its roles at once, but a role
gets a policy only when a function attaches it. Between the two, a moved statement would be in effect nowhere. Therefore
a policy keeps a statement until every role that still needs it has the same deny from another policy.

This module works only on documents. It calls no AWS service and reads no table.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence

from rolewarden.documents import digest, parsed
from rolewarden.packing import POLICY_SIZE, Document, Statement, document_of, size
from rolewarden.policies import ALL_THAT_IS_NOT_DENIED
from rolewarden.statement_forms import is_ours

_COUNTED = re.compile(r"(Kept)?[0-9]*$")


def statements_of(document: Document | str) -> tuple[Statement, ...]:
    """The statements of a policy document; empty if the document is not readable. It can be text as IAM returns it."""
    try:
        read = parsed(document) if isinstance(document, str) else document
    except ValueError:
        return ()
    found = read.get("Statement", []) if isinstance(read, dict) else []
    found = [found] if isinstance(found, dict) else found
    return tuple(one for one in found if isinstance(one, dict)) if isinstance(found, list) else ()


def identity(statement: Statement) -> str:
    """A key that two statements share exactly if they have the same meaning. The Sid does not count."""
    return digest({key: value for key, value in statement.items() if key != "Sid"})


def identities(statements: Iterable[Statement]) -> frozenset[str]:
    """The `identity` of each statement."""
    return frozenset(map(identity, statements))


def rearranged(
    written: Sequence[Statement],
    target: Sequence[Statement],
    missing: Mapping[str, Statement],
) -> tuple[Statement, ...]:
    """The statements that a policy must have now, on its way from the statements of earlier rules to its target.

    - `written`: the statements that Rolewarden last wrote. The function never keeps a statement that the compiler
      cannot have written.
    - `target`: the statements that the policy must have at the end.
    - `missing`: the statements, by `identity`, that some role with this policy needs and has from no other policy.

    The result is `target` if no role would lose a deny. Otherwise it has the statements of `written` that are still
    needed, and as many statements of `target` as fit next to them. A second call with the result as `written` returns
    the same statements.
    """
    wanted = {identity(statement): statement for statement in target}
    stale = [one for one in written if is_ours(one) and identity(one) not in wanted]

    def with_kept(chosen: Mapping[str, Statement]) -> tuple[Statement, ...]:
        lacking = [needed for key, needed in missing.items() if key not in chosen]
        kept = [one for one in stale if any(may_overlap(one, needed) for needed in lacking)]
        return _unique((*(one for key, one in wanted.items() if key in chosen), *kept))

    whole = with_kept(wanted)
    if fits(whole):
        return whole
    existing = identities(written)
    always = identity(ALL_THAT_IS_NOT_DENIED)
    chosen = {key: statement for key, statement in wanted.items() if key in existing or key == always}
    has_grown = True
    while has_grown:
        has_grown = False
        for key, statement in wanted.items():
            if key not in chosen and fits(with_kept({**chosen, key: statement})):
                chosen[key] = statement
                has_grown = True
    return with_kept(chosen)


def is_compiled(text: str, target: Document) -> bool:
    """Whether the compiler can have written the document `text` for a policy that has the document `target` now.

    Each statement is one of `target`, or a deny of the same form that earlier rules had. So an allow can come only from
    `target`, which has one if it is a boundary.
    """
    found, wanted = statements_of(text), identities(statements_of(target))
    denies = any(one.get("Effect") == "Deny" for one in found)
    return denies and all(identity(one) in wanted or is_ours(one) for one in found)


def added(document: Sequence[Statement], statement: Statement) -> tuple[Statement, ...] | None:
    """`document` with one more statement; None if the statement does not fit."""
    more = _unique((*document, statement))
    return more if fits(more) else None


def fits(statements: Sequence[Statement]) -> bool:
    """Whether the statements fit one IAM managed policy."""
    return size(document_of(statements)) <= POLICY_SIZE


def may_overlap(one: Statement, other: Statement) -> bool:
    """Whether one request may match both statements, by their actions alone. A negative result is certain."""
    return any(_meet(a.lower(), b.lower()) for a in _actions(one) for b in _actions(other))


def _actions(statement: Statement) -> list[str]:
    actions = statement.get("Action", "*")
    return [actions] if isinstance(actions, str) else list(actions)


def _meet(one: str, other: str) -> bool:
    """Whether one action can match both patterns. `*` matches any text, and the compiler uses no `?` in actions."""
    if "*" not in one and "*" not in other:
        return one == other
    head, tail = one.partition("*")[0], other.partition("*")[0]
    if not (head.startswith(tail) or tail.startswith(head)):
        return False
    if "*" in one and "*" in other:
        return True
    pattern, text = (one, other) if "*" in one else (other, one)
    return re.fullmatch(".*".join(map(re.escape, pattern.split("*"))), text) is not None


def _unique(statements: Iterable[Statement]) -> tuple[Statement, ...]:
    """The statements with distinct Sids, because IAM requires these in one document."""
    taken: set[str] = set()
    unique: list[Statement] = []
    for statement in statements:
        sid, number = str(statement.get("Sid", "")), 0
        while sid in taken:
            number += 1
            sid = f"{_COUNTED.sub('', str(statement['Sid']))}Kept{number}"
        taken.add(sid)
        unique.append(statement if sid == statement.get("Sid") else {**statement, "Sid": sid})
    return tuple(unique)
