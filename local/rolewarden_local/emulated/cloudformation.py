"""Conditions of stacks that see pseudo parameters and functions on texts, and numbers that a parameter gives as a text.

MiniStack evaluates conditions without pseudo parameters and without most functions, see `intrinsics`. It passes the
text of a parameter to Lambda, which refuses a text for MaximumConcurrency; CloudFormation converts it.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from rolewarden_local.emulated._ministack import cfn_changesets, cfn_engine, cfn_handlers, cfn_stacks, provisioners
from rolewarden_local.emulated.intrinsics import Conditions
from rolewarden_local.emulated.patches import Patch


def install_cloudformation() -> None:
    """Evaluate conditions by the resolver of all other functions. Call once a process."""
    # Every module that imported the function has its own reference to it.
    for module in (cfn_engine, cfn_changesets, cfn_handlers, cfn_stacks):
        Patch(
            module,
            "_evaluate_conditions",
            lambda template, parameters: dict(Conditions(template, parameters)),
            "MiniStack compares the name of a pseudo parameter instead of its value, and knows no functions on texts.",
        ).install()
    mapping = provisioners._RESOURCE_HANDLERS["AWS::Lambda::EventSourceMapping"]
    create, update = mapping["create"], mapping["update"]
    mapping["create"] = lambda logical, props, stack: create(logical, _numbered(props), stack)
    mapping["update"] = lambda physical, old, new, stack: update(physical, _numbered(old), _numbered(new), stack)


def _numbered(props: Mapping[str, Any]) -> dict[str, Any]:
    """The properties of an event source mapping with the number that a parameter gave as a text."""
    scaling = props.get("ScalingConfig")
    return {**props, **({"ScalingConfig": {name: int(n) for name, n in scaling.items()}} if scaling else {})}
