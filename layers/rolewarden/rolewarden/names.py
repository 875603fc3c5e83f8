"""Names whose case AWS ignores, and the single form in which Rolewarden compares them.

AWS documents this for roles and policies (CreateRole and CreatePolicy in the IAM API Reference) and for user profiles
(CreateUserProfile in the SageMaker API Reference). CloudTrail may record a name in the caller's spelling. So
Rolewarden compares names, and uses them as keys, in their `folded` form. It keeps the spelling for people and for calls
to AWS. AWS does not document the case of domain names and IAM paths, so these stay exact.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable


def folded(name: str) -> str:
    """The form of a name, or of names joined by `/`, that is the same for all spellings."""
    return name.lower()


def folded_arn(arn: str) -> str:
    """The form of a policy's ARN that is the same for all spellings of its name. Account and path stay exact."""
    path, slash, name = arn.rpartition("/")
    return f"{path}{slash}{folded(name)}"


def same(name: str, other: str) -> bool:
    """Whether two names are spellings of the same name."""
    return folded(name) == folded(other)


def among(name: str, others: Iterable[str]) -> bool:
    """Whether `name` is a spelling of one of `others`."""
    return folded(name) in map(folded, others)


def about(account: str, *names: str) -> str:
    """The key of the thing that a finding or a history row is about: an account and folded names."""
    return folded("/".join((account, *names)))


def fitting(text: str, most: int) -> str:
    """`text` if it has at most `most` bytes (over 100). Otherwise its beginning and a digest of the whole text.

    A key of DynamoDB, and the answer to CloudFormation, have a limited number of bytes, and a caller can choose parts
    of some texts. Two long texts stay different.
    """
    encoded = text.encode("utf-8", "replace")
    if len(encoded) <= most:
        return text
    digest = hashlib.sha256(encoded).hexdigest()[:16]
    return f"{encoded[: most - 20].decode('utf-8', 'ignore')}...{digest}"


def account_and_name(text: str) -> tuple[str, str]:
    """The account, and the rest, of a key that `about` made or of its unfolded form."""
    account, _, name = text.partition("/")
    return account, name
