"""Names that AWS does not distinguish by case, and the one form in which they are compared.

IAM says so of roles and policies (CreateRole and CreatePolicy in the IAM API Reference), SageMaker of user profiles
(CreateUserProfile in the SageMaker API Reference). CloudTrail may record a name as the caller spells it. So a name is
compared, and kept as a key, by `folded`; the spelling is for people and for calls to AWS. Nothing is said of the names
of domains and of IAM's paths: these stay exact.
"""

from __future__ import annotations

from collections.abc import Iterable


def folded(name: str) -> str:
    """The form of a name, or of names joined by `/`, under which all its spellings are equal."""
    return name.lower()


def folded_arn(arn: str) -> str:
    """The form of a policy's ARN under which all spellings of its name are equal; account and path stay exact."""
    path, slash, name = arn.rpartition("/")
    return f"{path}{slash}{folded(name)}"


def same(name: str, other: str) -> bool:
    """Whether two names are spellings of one."""
    return folded(name) == folded(other)


def among(name: str, others: Iterable[str]) -> bool:
    """Whether `name` is a spelling of one of `others`."""
    return folded(name) in map(folded, others)


def about(account: str, *names: str) -> str:
    """The key of the thing that a finding or a history row is about: an account and folded names."""
    return folded("/".join((account, *names)))


def account_and_name(text: str) -> tuple[str, str]:
    """The account and the rest of a text that `about` made, or of its unfolded form."""
    account, _, name = text.partition("/")
    return account, name
