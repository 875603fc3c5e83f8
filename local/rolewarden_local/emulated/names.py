"""Names that AWS does not distinguish by case: a call with a name in another case reaches the same entity.

MiniStack and moto compare names exactly.

The IAM API Reference documents this for users, groups, roles and managed policies (CreateRole and similar calls). It
does not document it for paths, so paths stay exact.
"""

from collections.abc import Mapping
from typing import Any, Final

from rolewarden_local.emulated._ministack import iam, responses

_STORES: Final = {"RoleName": iam._roles, "UserName": iam._users, "GroupName": iam._groups}
_ARNS: Final = ("PolicyArn", "PermissionsBoundary")


def stored(store: Any, name: str, account: str = "") -> str:
    """The stored spelling of `name` (or of an ARN that ends in it) in an account, or `name` if nothing is stored."""
    account = account or responses.get_account_id()
    if not name or store.contains_scoped(account, None, name):
        return name
    wanted = _key(name)
    found = (key for owner, key in list(store._data) if owner == account and _key(key) == wanted)
    return next(found, name)


def entity(store: Any, account: str, name: str) -> Any:
    """The entity that an account's store has under a name in any case, or None."""
    return store.get_scoped(account, None, stored(store, name, account))


def as_stored(params: Mapping[str, Any]) -> dict[str, Any]:
    """The parameters of a call to IAM, with every name in the stored spelling."""
    spelled = dict(params)
    for parameter, store in _STORES.items():
        if parameter in params:
            spelled[parameter] = [stored(store, _text(params, parameter))]
    for parameter in _ARNS:
        if parameter in params:
            spelled[parameter] = [stored(iam._policies, _text(params, parameter))]
    role = iam._roles.get(_text(spelled, "RoleName"))
    if role and (name := _text(params, "PolicyName")):
        inline = {kept.lower(): kept for kept in role["InlinePolicies"]}
        spelled["PolicyName"] = [inline.get(name.lower(), name)]
    return spelled


def _key(name: str) -> str:
    path, slash, last = name.rpartition("/")
    return f"{path}{slash}{last.lower()}"


def _text(params: Mapping[str, Any], key: str) -> str:
    return str(iam._p(params, key) or "")
