"""Divides statements that are too long for a policy, and packs statements into few policy documents."""

from __future__ import annotations

import itertools
import json
from bisect import bisect_left
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from functools import lru_cache
from typing import Any

from rolewarden.errors import RulesError

Document = dict[str, Any]
Statement = dict[str, Any]

_compact = json.JSONEncoder(separators=(",", ":")).encode
"""`json.dumps` would make a new encoder for each statement."""

SCP_SIZE = 10_240
"""Maximum characters of a service control policy, since May 2026 (5,120 before),
https://docs.aws.amazon.com/organizations/latest/userguide/orgs_reference_limits.html. White space counts unless the
policy is saved in the console."""

POLICY_SIZE = 6144
"""The greatest number of characters of a managed policy without white space (IAM and STS quotas, IAM User Guide)."""


def allowing(patterns: Sequence[str], deny: Callable[[Sequence[str]], Statement]) -> list[Statement]:
    """The statements that `deny` makes from an allow list: one, or several if the list is too long for one.

    Several statements together deny the same as one would. Each denies a part of the IDs, and exempts the families that
    the others cover.
    """
    whole = deny(patterns)
    if _fits(whole):
        return [whole]
    return [statement for part in parted(tuple(patterns)) for statement in allowing(part, deny)]


@lru_cache(maxsize=256)
def parted(patterns: tuple[str, ...]) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """Two lists, each shorter than `patterns`. An ID matches both lists exactly if it matches `patterns`.

    The first list has the patterns inside one family, and families that contain the other patterns. The second list has
    the other patterns, and that one family. Raises Indivisible if no family divides the patterns. The statements
    of a guardrail divide the same patterns, so the result is kept.
    """
    ordered = sorted(patterns)

    def distance(family: str) -> float:
        """The distance of the family from half of the patterns."""
        inside = bisect_left(ordered, f"{family}\U0010ffff") - bisect_left(ordered, family)
        return abs(inside - len(ordered) / 2)

    # Few families near the half are compared, because a comparison of all takes minutes for a few hundred patterns.
    best, least, compared = None, sum(map(len, patterns)), 0
    for family in sorted(_families(patterns), key=distance):
        parts = _parts_by(family, patterns)
        if parts is None:
            continue
        longest = max(sum(map(len, part)) for part in parts)
        if longest < least:
            best, least = parts, longest
        compared += 1
        if best and compared >= _COMPARED:
            break
    if best is None:
        raise Indivisible
    return best


_COMPARED = 8
"""The number of families that parted compares, if one of them divides the patterns."""


def _parts_by(family: str, patterns: Sequence[str]) -> tuple[tuple[str, ...], tuple[str, ...]] | None:
    """The two lists of `parted` by `family`; None if a pattern outside the family matches IDs inside it."""
    inside = [pattern for pattern in patterns if pattern.startswith(family)]
    outside = [pattern for pattern in patterns if not pattern.startswith(family)]
    others: dict[str, None] = {}
    for pattern in outside:
        other = _family(pattern, family)
        if other is None:
            return None
        others[other] = None
    return (*inside, *filter(None, others)), (*outside, f"{family}*")


def _families(patterns: Sequence[str]) -> list[str]:
    """The beginnings by which some of the patterns differ from others, sorted."""
    pairs = itertools.pairwise(sorted(patterns))
    found = {_beginning(*order) for one, other in pairs for order in ((one, other), (other, one))}
    return sorted(filter(None, found))


def _beginning(pattern: str, other: str) -> str | None:
    """The shortest beginning of `pattern` that `other` does not have; None if that beginning has a wildcard.

    The beginning of a Bedrock ID contains the provider, because the name of a geography may precede the ID.
    """
    ends = range(pattern.find(".") + 1, len(pattern))
    beginning = next((pattern[:end] for end in ends if not other.startswith(pattern[:end])), pattern)
    return None if set(beginning) & set("*?") else beginning


def _family(pattern: str, other: str) -> str | None:
    """A pattern that covers `pattern` and matches nothing that begins with `other`; None if none is possible."""
    beginning = _beginning(pattern, other)
    return f"{beginning}*" if beginning and beginning != pattern else beginning


class Indivisible(RulesError):
    """A statement is too long for a policy and cannot be divided into statements with the same meaning."""


def shortest(values: Sequence[str]) -> str | list[str]:
    """`values` as IAM's JSON takes them: a single value needs no list."""
    return values[0] if len(values) == 1 else list(values)


def size(document: Document) -> int:
    """The number of characters of `document` as IAM counts them: without white space."""
    return len("".join(_compact(document).split()))


def document_of(statements: Iterable[Statement]) -> Document:
    """The policy document of these statements."""
    return {"Version": "2012-10-17", "Statement": list(statements)}


def _fits(statement: Statement) -> bool:
    return size(document_of([statement])) <= POLICY_SIZE


def packed(pieces: Iterable[Statement], most: int) -> list[Document]:
    """Documents of at most `most` characters that contain `pieces`, each piece in the first document with room for it.

    A deny applies in any attached policy document. The quota of policies per role is small, so the statements are
    packed into few documents.
    """
    pieces = list(pieces)
    documents: list[list[Statement]] = []
    rooms: dict[int, int] = {}  # of the documents that have room for another piece, by their place
    sizes = [size(piece) + 1 for piece in pieces]  # with a comma
    smallest = list(itertools.accumulate(reversed(sizes), min))[::-1]
    for piece, needed, least in zip(pieces, sizes, smallest, strict=True):
        place = next((place for place, room in rooms.items() if needed <= room), len(documents))
        if place == len(documents):
            documents.append([])
            rooms[place] = most - size(document_of([])) + 1
        documents[place].append(piece)
        rooms[place] -= needed
        if rooms[place] < least:
            del rooms[place]
    return [document_of(statements) for statements in documents]


def by_name(name: str, documents: Iterable[Document]) -> dict[str, Document]:
    """The documents by their names: `name` for the first one, and `name` with a number for each further one."""
    return {f"{name}-{number}" if number > 1 else name: one for number, one in enumerate(documents, start=1)}


def numbered(pieces: Sequence[Statement]) -> Iterator[Statement]:
    """`pieces`, with a number after each Sid that several of them have."""
    shared = Counter(piece["Sid"] for piece in pieces)
    numbers: Counter[str] = Counter()
    for piece in pieces:
        sid = piece["Sid"]
        numbers[sid] += 1
        yield piece if shared[sid] == 1 else {**piece, "Sid": f"{sid}{numbers[sid]}"}


def pieces_of(statement: Statement) -> list[Statement]:
    """`statement`, or several statements with the same meaning if it is too long for a policy.

    Each of the several statements has a part of the list. Raises Indivisible if the list cannot be divided.
    """
    if _fits(statement):
        return [statement]
    if isinstance(statement.get("Resource"), list):
        halves = [{**statement, "Resource": shortest(half)} for half in _halves(statement["Resource"])]
    elif isinstance(values := _only_like(statement.get("Condition", {})), list):
        (key,) = statement["Condition"]["StringLike"]
        halves = [
            {**statement, "Condition": {**statement["Condition"], "StringLike": {key: half}}}
            for half in _halves(values)
        ]
    else:
        raise Indivisible
    return [piece for half in halves for piece in pieces_of(half)]


def _only_like(condition: Document) -> Any:
    """The values of a condition with StringLike of one key, whatever else it has; None for another condition."""
    like = condition.get("StringLike", {})
    return next(iter(like.values())) if len(like) == 1 else None


def _halves(values: list[str]) -> tuple[list[str], list[str]]:
    middle = len(values) // 2
    return values[:middle], values[middle:]
