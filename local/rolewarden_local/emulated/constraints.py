"""The constraints of AWS's service models on requests: lengths, ranges, patterns, and numbers of items.

MiniStack and moto check few of them. botocore checks only minimums, so a client can send a text that is too long, or
that has a character that AWS rejects.

The constraints are those of the shapes in botocore's service models, and those that only the documentation of a shape
states, as Security Hub's does. A pattern fits the whole value, as in the errors of AWS, and its word characters are
ASCII, as in Java. A pattern that Python does not know is left out. `limits` has the limits that the models do not
state.

CloudFormation makes calls for the resources of a stack. The properties of a resource meet the same constraints.
"""

from __future__ import annotations

import functools
import io
import json
import re
from collections.abc import Callable, Iterator, Mapping
from typing import Any, Final
from urllib.parse import unquote

from botocore.exceptions import UnknownServiceError
from botocore.parsers import RpcV2CBORParser
from moto.core.model import ListShape, MapShape, OperationModel, ServiceModel, Shape, StructureShape
from moto.core.parse import EC2QueryParser, QueryParser
from moto.core.utils import get_service_model

from rolewarden_local.emulated import faults, limits
from rolewarden_local.emulated._ministack import custom_resource, provisioners
from rolewarden_local.emulated.patches import Patch

_MODELS: Final = {"monitoring": "cloudwatch", "tagging": "resourcegroupstaggingapi"}
"""The name in botocore of a service whose requests are signed with another one."""

Broken = Callable[[Any, str], Iterator[str]]
"""The constraints of a shape that a value at a place breaks, in AWS's words."""


def broken_refusal(
    service: str,
    operation: str,
    method: str,
    path: str,
    headers: Mapping[str, str],
    body: bytes,
    params: Mapping[str, Any],
) -> faults.Answer | None:
    """AWS's answer to a request that breaks a constraint of its shape; None if it breaks none."""
    if b"\\ud" in body.lower() and service in _OF_TEXTS and not _is_unicode(body):
        return faults.refusal(service, "SerializationException", "The text is not valid Unicode.", 400)
    name = _model_of(service, operation)
    operation = _rest_operation(name, method, path.partition("?")[0], operation)
    if not (known := _operation(name, operation)):
        return None
    model, check = known
    if check is None and (service, operation) not in limits.OF_REQUESTS:
        return None
    request = _parsed(model, path, headers, body, params)
    if found := list(check(request, "") if check else ()):
        return _answer(service, operation, found)
    beyond = limits.beyond(service, operation, request)
    return faults.refusal(service, *beyond, 409 if beyond[0] == "LimitExceeded" else 400) if beyond else None


def install_constraints() -> None:
    """Check the properties of resources of stacks. Call once a process, after each type has its handlers."""
    for kind, calls in RESOURCE_CALLS.items():
        handlers = provisioners._RESOURCE_HANDLERS[kind]
        handlers["create"] = _checked(handlers["create"], calls, properties=1)
        if "update" in handlers:
            handlers["update"] = _checked(handlers["update"], calls, properties=2)
    Patch(
        custom_resource, "deliver_response", _limited(custom_resource.deliver_response), "MiniStack takes any answer."
    ).install()


def _limited(deliver: Callable[[str, Any], bool]) -> Callable[[str, Any], bool]:
    """Fail a custom resource whose answer is too long for CloudFormation."""

    @functools.wraps(deliver)
    def delivered(token: str, answer: Any) -> bool:
        long = limits.size(json.dumps(answer, ensure_ascii=False)) > limits.CUSTOM_RESPONSE_SIZE
        if long or limits.size(str(answer.get("PhysicalResourceId", ""))) > limits.PHYSICAL_ID_SIZE:
            answer = {"Status": "FAILED", "Reason": "Response is too long."}
        return deliver(token, answer)

    return delivered


def _checked(handler: Callable[..., Any], calls: tuple[tuple[str, str], ...], *, properties: int) -> Callable[..., Any]:
    """Refuse properties that break a constraint of a call. `properties` is the index of the argument with them."""

    @functools.wraps(handler)
    def checked(*arguments: Any, **named: Any) -> Any:
        for service, operation in calls:
            if found := broken(service, operation, arguments[properties]):
                raise ValueError(f"{operation}: {'; '.join(found)}")
        return handler(*arguments, **named)

    return checked


def broken(service: str, operation: str, properties: Mapping[str, Any]) -> list[str]:
    """The constraints of a call that the properties of a resource break, in AWS's words.

    CloudFormation has most names from the call. It writes a number as a text, and a document as an object.
    """
    known = _operation(_model_of(service, operation), operation)
    if known is None or known[0].input_shape is None:
        return []
    request = _as_request(known[0].input_shape, properties)
    beyond = limits.beyond(service, operation, request)
    return [*(known[1](request, "") if known[1] else ()), *([": ".join(beyond)] if beyond else ())]


def _as_request(shape: Shape, value: Any) -> Any:
    if isinstance(shape, StructureShape) and isinstance(value, Mapping):
        return {name: _as_request(shape.members[name], one) for name, one in value.items() if name in shape.members}
    if isinstance(shape, ListShape):
        return [_as_request(shape.member, one) for one in (value if isinstance(value, list) else [value])]
    if isinstance(shape, MapShape):
        # The tags of every type of resource are a list.
        value = value if isinstance(value, Mapping) else {tag["Key"]: tag["Value"] for tag in value}
        return {name: _as_request(shape.value, one) for name, one in value.items()}
    if shape.type_name == "string":
        return json.dumps(value, separators=(",", ":")) if isinstance(value, dict | list) else str(value)
    return float(value) if shape.type_name in _NUMBERS else value


_NUMBERS: Final = frozenset({"integer", "long", "float", "double"})
RESOURCE_CALLS: Final = {
    "AWS::CloudFormation::StackSet": (("cloudformation", "CreateStackSet"),),
    "AWS::CloudWatch::Alarm": (("monitoring", "PutMetricAlarm"),),
    "AWS::CloudWatch::Dashboard": (("monitoring", "PutDashboard"),),
    "AWS::DynamoDB::Table": (("dynamodb", "CreateTable"),),
    "AWS::Events::EventBus": (("events", "CreateEventBus"),),
    "AWS::Events::Rule": (("events", "PutRule"), ("events", "PutTargets")),
    "AWS::IAM::ManagedPolicy": (("iam", "CreatePolicy"),),
    "AWS::IAM::Policy": (("iam", "PutRolePolicy"),),
    "AWS::IAM::Role": (("iam", "CreateRole"),),
    "AWS::KMS::Key": (("kms", "CreateKey"),),
    "AWS::Lambda::EventSourceMapping": (("lambda", "CreateEventSourceMapping"),),
    "AWS::Lambda::Function": (("lambda", "CreateFunction"),),
    "AWS::Lambda::LayerVersion": (("lambda", "PublishLayerVersion"),),
    "AWS::Logs::LogGroup": (("logs", "CreateLogGroup"),),
    "AWS::SNS::Topic": (("sns", "CreateTopic"),),
}
"""The calls that make a resource of each type, if their shapes have constraints."""


def _answer(service: str, operation: str, found: list[str]) -> faults.Answer:
    number = len(found)
    message = f"{number} validation error{'s' * (number > 1)} detected: {'; '.join(found)}"
    code = "ValidationError" if service in _OF_XML else _CODES.get(service, "ValidationException")
    code = _CODES_OF_OPERATIONS.get(operation, code)
    return faults.refusal(service, code, message, 400)


_OF_XML: Final = frozenset({"iam", "sts", "cloudformation"})
_CODES: Final = {
    "cloudtrail": "InvalidParameterException",
    "monitoring": "ValidationError",
    "organizations": "InvalidInputException",
    "securityhub": "InvalidInputException",
    "sns": "InvalidParameter",
    "tagging": "InvalidParameterException",
}
"""The code of an invalid parameter, if the service does not call it ValidationException."""
_CODES_OF_OPERATIONS: Final = {"LookupEvents": "InvalidMaxResultsException"}
"""The code of an operation that has its own."""


_OF_TEXTS: Final = frozenset({"dynamodb", "events", "sqs"})
"""Services that store texts of callers. AWS does not document its answer to half of a surrogate pair, which no text in
UTF-8 has, so the local AWS refuses it."""


def _is_unicode(body: bytes) -> bool:
    try:
        json.dumps(json.loads(body), ensure_ascii=False).encode()
    except UnicodeEncodeError:
        return False
    except ValueError:
        pass
    return True


def _model_of(service: str, operation: str) -> str:
    return "bedrock-runtime" if service == "bedrock" and operation in _RUNTIME else _MODELS.get(service, service)


_RUNTIME: Final = frozenset({"Converse", "ConverseStream", "InvokeModel", "InvokeModelWithResponseStream"})


@functools.cache
def _service(name: str) -> ServiceModel | None:
    try:
        return get_service_model(name)
    except UnknownServiceError:
        return None


@functools.cache
def _operation(service: str, operation: str) -> tuple[OperationModel, Broken | None] | None:
    """The model of an operation and the check of its requests; None without a model, and no check without limits."""
    model = _service(service)
    if model is None or operation not in model.operation_names:
        return None
    of_operation = model.operation_model(operation)
    shape = of_operation.input_shape
    return of_operation, _check(shape, {}) if shape else None


def _check(shape: Shape, known: dict[str, Any]) -> Broken | None:
    """The check of a shape; None if neither it nor a shape inside it has a constraint."""
    if shape.name in known:
        # A shape that contains itself, such as DynamoDB's AttributeValue, is checked to this depth only.
        return None
    inside = {**known, shape.name: True}
    checks: list[Broken] = []
    if isinstance(shape, StructureShape):
        members = {name: check for name, member in shape.members.items() if (check := _check(member, inside))}
        if members:
            checks.append(functools.partial(_members, members))
    elif isinstance(shape, ListShape):
        if of_item := _check(shape.member, inside):
            checks.append(functools.partial(_items, of_item))
    elif isinstance(shape, MapShape) and (of_value := _check(shape.value, inside)):
        checks.append(functools.partial(_values, of_value))
    if own := _own(shape):
        checks.append(own)
    if not checks:
        return None
    return checks[0] if len(checks) == 1 else functools.partial(_both, checks)


def _members(members: Mapping[str, Broken], value: Any, where: str) -> Iterator[str]:
    for name, check in members.items():
        if value.get(name) is not None:
            yield from check(value[name], f"{where}.{name}" if where else name[0].lower() + name[1:])


def _items(of_item: Broken, value: Any, where: str) -> Iterator[str]:
    for number, item in enumerate(value, 1):
        yield from of_item(item, f"{where}.{number}.member")


def _values(of_value: Broken, value: Any, where: str) -> Iterator[str]:
    for name, item in value.items():
        yield from of_value(item, f"{where}.{name}.member")


def _both(checks: list[Broken], value: Any, where: str) -> Iterator[str]:
    for check in checks:
        yield from check(value, where)


def _own(shape: Shape) -> Broken | None:
    """The check of a shape's own constraints; None if it has none."""
    least, most, pattern = (shape.metadata.get(name) for name in ("min", "max", "pattern"))
    if most is None and (stated := _MOST.search(shape.documentation)):
        most = int(stated[1].rstrip(",").replace(",", ""))
    form = _form(pattern) if pattern and shape.type_name == "string" else None
    if least is None and most is None and form is None:
        return None
    if shape.type_name in {"string", "list", "map", "blob"}:
        return functools.partial(_length, least or 0, float("inf") if most is None else most, form, pattern)
    low, high = (float("-inf") if least is None else least), (float("inf") if most is None else most)
    return functools.partial(_range, low, high) if shape.type_name in _NUMBERS else None


_MOST: Final = re.compile(r"(?:Length Constraints|Array Members): .*?Maximum (?:length of|number of|of) ([\d,]+)")
"""The maximum that the documentation of a shape states."""


def _length(
    least: int, most: float, form: re.Pattern[str] | None, pattern: str, value: Any, where: str
) -> Iterator[str]:
    failed = f"at '{where}' failed to satisfy constraint: Member must"
    if not least <= len(value) <= most:
        than = f"less than or equal to {most}" if len(value) > most else f"greater than or equal to {least}"
        yield f"Value {_shown(value)} {failed} have length {than}"
    if form and not form.fullmatch(value):
        yield f"Value {_shown(value)} {failed} satisfy regular expression pattern: {pattern}"


def _range(least: float, most: float, value: Any, where: str) -> Iterator[str]:
    if not least <= value <= most:
        than = f"less than or equal to {most}" if value > most else f"greater than or equal to {least}"
        yield f"Value '{value}' at '{where}' failed to satisfy constraint: Member must have value {than}"


def _shown(value: Any) -> str:
    return f"'{value[:200]}'" if isinstance(value, str) else f"of {len(value)} items"


def _form(pattern: str) -> re.Pattern[str] | None:
    python = functools.reduce(lambda text, pair: text.replace(*pair), _CLASSES.items(), pattern)
    try:
        return re.compile(python, re.ASCII if python == pattern else re.UNICODE)
    except re.error:
        return None


_CLASSES: Final = {
    r"\p{L}": r"\w",
    r"\p{N}": r"\d",
    r"\p{Z}": r"\s",
    r"\p{Alnum}": "a-zA-Z0-9",
    r"\p{Print}": r"\x20-\x7e",
    r"[\w-_]": r"[\w_-]",
    r"\w-\/": r"\w\/-",
}
"""Character classes of Java that Python does not know, and those that it has instead. They may accept a little more."""


def _parsed(
    model: OperationModel, path: str, headers: Mapping[str, str], body: bytes, params: Mapping[str, Any]
) -> Mapping[str, Any]:
    """The parameters of a request, as far as the constraints need them. Empty if the request cannot be read."""
    protocol = model.service_model.metadata["protocol"]
    if "cbor" in headers.get("content-type", ""):
        read = RpcV2CBORParser().parse_data_item(io.BytesIO(body)) if body else {}
        return read if isinstance(read, dict) else {}
    if protocol in {"query", "ec2"}:
        first = {name: found[0] if isinstance(found, list) else found for name, found in params.items()}
        parser = (QueryParser if protocol == "query" else EC2QueryParser)(model)
        found = parser.parse({"values": first})
        return found if isinstance(found, dict) else {}
    if protocol == "rest-xml":
        return {}
    try:
        read = json.loads(body) if body else {}
    except ValueError:
        read = {}
    read = read if isinstance(read, dict) else {}
    return {**read, **_labels(model, path)} if protocol == "rest-json" else read


@functools.lru_cache(maxsize=1_000)
def _rest_operation(service: str, method: str, path: str, known: str) -> str:
    """The operation of a request to a REST API, by its method and path. `known` for a service with another API.

    MiniStack does not tell apart some operations of Lambda, such as GetFunction and GetPolicy.
    """
    model = _service(service)
    if model is None or model.metadata["protocol"] != "rest-json":
        return known
    found = [
        name
        for name in model.operation_names
        if (http := model.operation_model(name).http)["method"] == method
        and re.fullmatch(_path_form(http["requestUri"]), path)
    ]
    # A path without variable parts is more specific than one with them.
    return min(found, key=lambda name: model.operation_model(name).http["requestUri"].count("{"), default=known)


@functools.cache
def _path_form(uri: str) -> str:
    """The form of the paths of an operation, with a group for each parameter that is part of the path."""
    form = re.sub(r"\\\{(\w+)\\\}", r"(?P<\1>[^/]+)", re.escape(uri.partition("?")[0]))
    return re.sub(r"\\\{(\w+)\\\+\\\}", r"(?P<\1>.+)", form).removesuffix("/") + "/?"


def _labels(model: OperationModel, path: str) -> Mapping[str, str]:
    """The parameters that are parts of the path of a request."""
    found = re.fullmatch(_path_form(model.http["requestUri"]), path.partition("?")[0])
    return {name: unquote(value) for name, value in found.groupdict().items()} if found else {}
