"""The order in which CloudFormation creates resources: the least helpful one that the dependencies allow.

CloudFormation creates resources at the same time if neither depends on the other, and a StackSet takes minutes. Only
DependsOn and references guarantee that another resource exists:
https://docs.aws.amazon.com/AWSCloudFormation/latest/TemplateReference/aws-attribute-dependson.html
MiniStack creates resources one after the other in alphabetical order. A resource without a DependsOn that it needs then
usually works by chance.
"""

from __future__ import annotations

import random
import time
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from typing import Any, Final

from rolewarden_local.emulated._ministack import cfn_engine, cfn_stacks, lambda_svc
from rolewarden_local.emulated.patches import Patch

STACK_SET: Final = "AWS::CloudFormation::StackSet"

QUIET: Final = 0.5
"""Seconds without a running function after which the work of a custom resource counts as finished."""

LONGEST: Final = 20.0
"""Seconds after which CloudFormation continues although functions are running."""


@dataclass
class Order:
    """The order of creation. `seed` decides the order of equally unhelpful resources."""

    seed: int = 0


ORDER: Final = Order()
"""The order of every stack of this process. `reset` sets its seed to 0 again."""


def install_order() -> None:
    """Make CloudFormation create resources in the least helpful order. Call once a process."""
    # Deletions have the reverse order.
    Patch(
        cfn_stacks,
        "_topological_sort",
        lambda resources, conditions: creation_order(resources, conditions, ORDER.seed),
        "MiniStack creates resources in alphabetical order, so a missing dependency has no effect.",
    ).install()
    Patch(
        cfn_stacks,
        "_provision_keeping_seed",
        _with_time_to_act(cfn_stacks._provision_keeping_seed),
        "MiniStack creates all other resources of a stack before the work of a custom resource can need them.",
    ).install()


def creation_order(resources: Mapping[str, Any], conditions: Mapping[str, bool], seed: int) -> list[str]:
    """The names of the resources with their conditions, each after its dependencies.

    A custom resource comes as early as possible, with only its dependencies before it, so that its function finds
    everything else missing. An alarm comes as early as possible, so that it evaluates everything that happens later. A
    StackSet comes after all other resources. `seed` shuffles the rest. Raises ValueError if the dependencies are
    circular.
    """
    made = cfn_engine._topological_sort(resources, conditions)
    needs = {name: dependencies(resources[name], made) - {name} for name in made}
    eager = {name for name in made if _is_custom(resources[name])}
    needed = _with_dependencies(eager, needs)
    chance = random.Random(seed)
    luck = {name: chance.random() for name in sorted(made)}

    def rank(name: str) -> tuple[int, float]:
        if resources[name]["Type"] == STACK_SET:
            return 3, luck[name]
        if resources[name]["Type"] == "AWS::CloudWatch::Alarm":
            return -1, luck[name]
        return (0 if name in eager else 1 if name in needed else 2), luck[name]

    order: list[str] = []
    left = set(made)
    while left:
        following = min((name for name in left if not needs[name] & left), key=rank)
        order.append(following)
        left.remove(following)
    return order


def dependencies(resource: Mapping[str, Any], made: Collection[str]) -> set[str]:
    """Those of the resources `made` that must exist before a resource: by DependsOn, or by a reference.

    A reference in Metadata counts as one in Properties, which MiniStack does not do
    (https://cloudonaut.io/optional-dependson-with-cloudformation-metadata-to-the-rescue).
    """
    referring = {"Properties": [resource.get("Properties", {}), resource.get("Metadata", {})]}
    return set(cfn_engine._extract_deps({**resource, **referring}, set(made)))


def _is_custom(resource: Mapping[str, Any]) -> bool:
    kind = str(resource["Type"])
    return kind.startswith("Custom::") or kind == "AWS::CloudFormation::CustomResource"


def _with_dependencies(names: set[str], needs: Mapping[str, set[str]]) -> set[str]:
    """`names` and all their direct and indirect dependencies."""
    found: set[str] = set()
    left = list(names)
    while left:
        if (name := left.pop()) not in found:
            found.add(name)
            left += needs[name]
    return found


def _with_time_to_act(provision: Callable[..., Any]) -> Callable[..., Any]:
    def provision_and_wait(kind: str, *rest: Any) -> Any:
        if kind == STACK_SET:
            _wait_for_functions()
        made = provision(kind, *rest)
        if _is_custom({"Type": kind}):
            _wait_for_functions()
        return made

    return provision_and_wait


def _wait_for_functions() -> None:
    """Wait until no function has run for `QUIET` seconds. Return at once if no account has a function."""
    if not lambda_svc._functions.has_any():
        return
    end, quiet_since = time.monotonic() + LONGEST, time.monotonic()
    while time.monotonic() < min(end, quiet_since + QUIET):
        if lambda_svc.executions_in_flight()[0]:
            quiet_since = time.monotonic()
        time.sleep(0.02)
