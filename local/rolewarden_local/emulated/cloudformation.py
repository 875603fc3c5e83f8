"""Conditions of stacks with pseudo parameters, number parameters, and encrypted tables with policies.

MiniStack evaluates conditions without pseudo parameters and without most functions (see `intrinsics`). It passes the
string of a parameter to Lambda, which rejects a string for MaximumConcurrency. CloudFormation converts it to a number.
The events of a stack in MiniStack lack the properties of their resources.
MiniStack also drops the encryption of a table. In AWS, SSEEnabled without a type means a KMS key that AWS manages and
charges for. A table without SSESpecification has a key that AWS owns and does not charge for:
https://docs.aws.amazon.com/amazondynamodb/latest/developerguide/encryption.howitworks.html
"""

from __future__ import annotations

import html
import json
import re
from collections.abc import Callable, Mapping
from typing import Any

import yaml

from rolewarden_local.emulated._ministack import (
    cfn_changesets,
    cfn_engine,
    cfn_handlers,
    cfn_stacks,
    dynamodb,
    iam,
    provisioners,
)
from rolewarden_local.emulated.intrinsics import Conditions
from rolewarden_local.emulated.patches import Patch
from rolewarden_local.emulated.tables import put_policy


def install_cloudformation() -> None:
    """Evaluate conditions with the resolver of all other functions. Call once a process."""
    # Every module that imported the function has its own reference to it.
    for module in (cfn_engine, cfn_changesets, cfn_handlers, cfn_stacks):
        Patch(
            module,
            "_evaluate_conditions",
            lambda template, parameters: dict(Conditions(template, parameters)),
            "MiniStack compares the name of a pseudo parameter instead of its value, and lacks functions on strings.",
        ).install()
    if yaml.__with_libyaml__:
        Patch(
            cfn_engine,
            "CfnLoader",
            _in_c(cfn_engine.CfnLoader),
            "PyYAML's parser in Python takes a second for the template of this project, and MiniStack calls it twice.",
        ).install()
    events = cfn_handlers._ACTION_HANDLERS["DescribeStackEvents"]
    cfn_handlers._ACTION_HANDLERS["DescribeStackEvents"] = lambda params: _with_properties(params, events(params))
    mapping = provisioners._RESOURCE_HANDLERS["AWS::Lambda::EventSourceMapping"]
    create, update = mapping["create"], mapping["update"]
    mapping["create"] = lambda logical, props, stack: create(logical, _numbered(props), stack)
    mapping["update"] = lambda physical, old, new, stack: update(physical, _numbered(old), _numbered(new), stack)
    role = provisioners._RESOURCE_HANDLERS["AWS::IAM::Role"]
    role["create"] = _bounding(role["create"], properties=1)
    role["update"] = _bounding(role["update"], properties=2)
    table = provisioners._RESOURCE_HANDLERS["AWS::DynamoDB::Table"]
    create_table, update_table = table["create"], table["update"]
    table["create"] = lambda logical, props, stack: _with_policy(
        props, _encrypted(props, create_table(logical, props, stack))
    )
    table["update"] = lambda physical, old, new, stack, *more, **named: _with_policy(
        new, update_table(physical, old, new, stack, *more, **named)
    )


def _in_c(loader: Any) -> type[yaml.CSafeLoader]:
    """A class that loads the same YAML with libyaml."""

    class Loader(yaml.CSafeLoader):
        yaml_constructors = loader.yaml_constructors
        yaml_multi_constructors = loader.yaml_multi_constructors
        yaml_implicit_resolvers = loader.yaml_implicit_resolvers

    return Loader


_EVENT_OF = re.compile(r"<LogicalResourceId>([^<]*)</LogicalResourceId>")


def _with_properties(params: Any, answer: tuple[int, Any, bytes]) -> tuple[int, Any, bytes]:
    """DescribeStackEvents with the properties of each resource, as JSON in the field ResourceProperties.

    The properties are those that the resource has now, and an event of CloudFormation has those of its own operation.
    """
    status, headers, body = answer
    stack = cfn_handlers._resolve_stack(cfn_handlers._p(params, "StackName")) or {}
    made = {name: resource.get("Properties") for name, resource in stack.get("_resources", {}).items()}

    def with_properties(found: re.Match[str]) -> str:
        properties = made.get(html.unescape(found[1]))
        text = html.escape(json.dumps(properties, default=str)) if properties else ""
        return found[0] + (f"<ResourceProperties>{text}</ResourceProperties>" if text else "")

    return status, headers, _EVENT_OF.sub(with_properties, body.decode()).encode()


def _bounding(handler: Callable[..., Any], *, properties: int) -> Callable[..., Any]:
    """Set a role's permissions boundary, which MiniStack omits. `properties` is the index of the argument with it."""

    def bound(*arguments: Any) -> Any:
        boundary = arguments[properties].get("PermissionsBoundary", "")
        if boundary and not iam._policy_exists(boundary):
            raise ValueError(f"Scope ARN: {boundary} does not exist or is not attachable.")
        made = handler(*arguments)
        iam._roles[made[0]]["PermissionsBoundary"] = boundary
        return made

    return bound


def _numbered(props: Mapping[str, Any]) -> dict[str, Any]:
    """The properties of an event source mapping, with the string of a parameter converted to a number."""
    scaling = props.get("ScalingConfig")
    return {**props, **({"ScalingConfig": {name: int(n) for name, n in scaling.items()}} if scaling else {})}


def _with_policy(props: Mapping[str, Any], made: tuple[str, Any]) -> tuple[str, Any]:
    """A created or updated table with the policy of its properties, which MiniStack omits."""
    put_policy(dynamodb._tables[made[0]]["TableArn"], (props.get("ResourcePolicy") or {}).get("PolicyDocument"))
    return made


def _encrypted(props: Mapping[str, Any], made: tuple[str, Any]) -> tuple[str, Any]:
    """A created table with the encryption of its properties."""
    asked = dict(props.get("SSESpecification") or {})
    spec = {"Enabled": str(asked.pop("SSEEnabled", False)).lower() == "true", **asked} if asked else None
    dynamodb._tables[made[0]]["SSEDescription"] = dynamodb._sse_description_from_spec(spec)
    return made
