"""CloudTrail events of changing calls to IAM and SageMaker, as EventBridge delivers them, and of calls of models.

MiniStack records calls only for LookupEvents and does not send events to EventBridge. moto does neither.

The shape is that of https://docs.aws.amazon.com/awscloudtrail/latest/userguide/cloudtrail-event-reference-record-contents.html
and of captured events. Parameters have the names of the API with a lower-case first letter. `responseElements` is null
unless the call created something. IAM is always in us-east-1. The event of a denied call has the error and no
parameters.
"""

import functools
import json
import uuid
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Final
from urllib.parse import parse_qsl, unquote

from botocore.parsers import ResponseParserError, create_parser
from moto.core.parse import PROTOCOL_PARSERS
from moto.core.utils import get_service_model
from werkzeug.datastructures import MultiDict

from rolewarden_local.emulated import names
from rolewarden_local.emulated._ministack import REGION, iam, sts
from rolewarden_local.emulated.transport import MODEL_CALL

Event = dict[str, Any]

SERVICES: Final = frozenset({"iam", "sagemaker"})
DENIED: Final = frozenset({"AccessDenied", "AccessDeniedException"})

MODEL_CALLS: Final = frozenset({"Converse", "ConverseStream", "InvokeModel", "InvokeModelWithResponseStream"})
"""The calls of models that are management events. The others of Bedrock Runtime are data events:
https://docs.aws.amazon.com/bedrock/latest/userguide/logging-using-cloudtrail.html"""

_REGION_OF_PROFILE: Final = {"apac": "ap-southeast-2", "eu": "eu-central-1", "global": "us-west-2", "us": "us-west-2"}
"""The region in which the local AWS serves a call through an inference profile of this geography."""

_READING: Final = (
    "BatchDescribe",
    "BatchGet",
    "Describe",
    "Generate",
    "Get",
    "List",
    "QueryLineage",
    "Search",
    "Simulate",
)
_SECRETS: Final = frozenset({"password", "oldPassword", "newPassword", "secretAccessKey"})


@dataclass(frozen=True)
class ApiCall:
    """One call at the endpoint: its request, its caller and its answer."""

    service: str
    operation: str
    account: str
    region: str
    access_key: str
    headers: Mapping[str, str]
    body: bytes
    status: int
    answer_headers: Mapping[str, str]
    answer: bytes
    request_id: str
    source_ip: str = "127.0.0.1"
    path: str = ""


def leaves_event(service: str, operation: str) -> bool:
    """Whether a call of this operation changes something. Only such calls reach EventBridge."""
    known = service in SERVICES and operation in get_service_model(service).operation_names
    return known and not operation.startswith(_READING)


def is_in_history_only(service: str, operation: str) -> bool:
    """Whether only LookupEvents shows a call of this operation: one that deploys a stack, or one of a model.

    CloudTrail hands a call that deploys a stack to EventBridge, too. The local AWS does not, because the owner of a
    stack that deploys it here would get an alert for each test. The sample events have these calls. A call of a model
    is read-only, and EventBridge gets such an event only if a rule asks for it.
    """
    if service == "bedrock":
        return operation in MODEL_CALLS
    return service == "cloudformation" and operation in {"CreateStack", "ExecuteChangeSet", "UpdateStack"}


def event(call: ApiCall, at: float | None = None) -> Event:
    """The event of one call, with EventBridge's envelope.

    `at` is the time of the call in seconds of the epoch; None for now.
    """
    moment = datetime.now(UTC) if at is None else datetime.fromtimestamp(at, UTC)
    now = moment.strftime("%Y-%m-%dT%H:%M:%SZ")
    region = REGION if call.service == "iam" else call.region
    detail: dict[str, Any] = {
        "eventVersion": "1.08",
        "userIdentity": identity(call.access_key, call.account),
        "eventTime": now,
        "eventSource": f"{call.service}.amazonaws.com",
        "eventName": call.operation,
        "awsRegion": region,
        "sourceIPAddress": call.source_ip,
        "userAgent": call.headers.get("user-agent", ""),
        **_outcome(call),
        **_more(call),
        "requestID": call.request_id,
        "eventID": str(uuid.uuid4()),
        "readOnly": call.service == "bedrock",
        "eventType": "AwsApiCall",
        "managementEvent": True,
        "recipientAccountId": call.account,
        "eventCategory": "Management",
    }
    return {
        "version": "0",
        "id": str(uuid.uuid4()),
        "detail-type": "AWS API Call via CloudTrail",
        "source": f"aws.{call.service}",
        "account": call.account,
        "time": now,
        "region": region,
        "resources": [],
        "detail": detail,
    }


def identity(access_key: str, account: str) -> dict[str, Any]:
    """CloudTrail's `userIdentity` of the caller with this access key.

    For an STS session it has the ARN of the role that issued the session, with the path, because EventBridge rules
    compare principals by this ARN. If the key belongs neither to a session nor to an IAM user, it is the account's
    root.
    """
    if session := sts._sessions.get(access_key):
        return _assumed_role(access_key, account, session)
    if key := iam._access_keys.get_scoped(account, None, access_key):
        return _user(access_key, account, key)
    return {
        "type": "Root",
        "principalId": account,
        "arn": f"arn:aws:iam::{account}:root",
        "accountId": account,
        "accessKeyId": access_key,
    }


def _assumed_role(access_key: str, account: str, session: Mapping[str, Any]) -> dict[str, Any]:
    name = session["Arn"].split("/")[1]
    role = names.entity(iam._roles, account, name) or {}
    since = datetime.fromtimestamp(session["IssuedAt"], UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
    return {
        "type": "AssumedRole",
        "principalId": session["UserId"],
        "arn": session["Arn"],
        "accountId": account,
        "accessKeyId": access_key,
        "sessionContext": {
            "sessionIssuer": {
                "type": "Role",
                "principalId": role.get("RoleId", session["UserId"].split(":")[0]),
                "arn": role.get("Arn", f"arn:aws:iam::{account}:role/{name}"),
                "accountId": account,
                "userName": role.get("RoleName", name),
            },
            "webIdFederationData": {},
            "attributes": {"creationDate": since, "mfaAuthenticated": "false"},
            **({"sourceIdentity": session["SourceIdentity"]} if session.get("SourceIdentity") else {}),
        },
    }


def _user(access_key: str, account: str, key: Mapping[str, Any]) -> dict[str, Any]:
    user = iam._users.get_scoped(account, None, key["UserName"]) or {}
    return {
        "type": "IAMUser",
        "principalId": user.get("UserId", ""),
        "arn": user.get("Arn", f"arn:aws:iam::{account}:user/{key['UserName']}"),
        "accountId": account,
        "accessKeyId": access_key,
        "userName": key["UserName"],
        "sessionContext": {
            "sessionIssuer": {},
            "webIdFederationData": {},
            "attributes": {"creationDate": key["CreateDate"], "mfaAuthenticated": "false"},
        },
    }


def _outcome(call: ApiCall) -> dict[str, Any]:
    if call.status < 300:
        return {"requestParameters": _request(call), "responseElements": _response(call)}
    error = _error(call)
    code = _error_names(call.service).get(error["Code"], error["Code"])
    parameters = None if code in DENIED else _request(call)
    return {
        "errorCode": code,
        "errorMessage": error["Message"],
        "requestParameters": parameters,
        "responseElements": None,
    }


def _more(call: ApiCall) -> dict[str, Any]:
    """The region that serves a call through an inference profile.

    https://docs.aws.amazon.com/bedrock/latest/userguide/cross-region-inference.html
    """
    geography = _model_id(call).rpartition("/")[2].partition(".")[0]
    if call.service != "bedrock" or call.status >= 300 or geography not in _REGION_OF_PROFILE:
        return {}
    return {"additionalEventData": {"inferenceRegion": _REGION_OF_PROFILE[geography]}}


def _model_id(call: ApiCall) -> str:
    found = MODEL_CALL.fullmatch(call.path)
    return unquote(found["model"]) if found else ""


def _api_of(service: str) -> Any:
    """The service model. The calls of models are in an API of their own, and are signed for `bedrock`."""
    return get_service_model("bedrock-runtime" if service == "bedrock" else service)


def _error(call: ApiCall) -> dict[str, str]:
    try:
        error: dict[str, str] = _parsed_answer(call)["Error"]
    except ResponseParserError:  # The answer has the form of no AWS protocol: this is a bug of an emulator.
        return {"Code": "InternalFailure", "Message": call.answer.decode(errors="replace")}
    return error


@functools.cache
def _error_names(service: str) -> dict[str, str]:
    # The API answers NoSuchEntity, but CloudTrail records the name of the shape, NoSuchEntityException.
    return {shape.error_code: shape.name for shape in _api_of(service).error_shapes}


def _request(call: ApiCall) -> dict[str, Any] | None:
    if call.service == "bedrock":
        return {"modelId": _model_id(call)}
    shape = get_service_model(call.service).operation_model(call.operation).input_shape
    if shape is None:
        return None
    if call.service == "sagemaker":
        parameters = json.loads(call.body or b"{}")
    else:
        parser = PROTOCOL_PARSERS["query"](get_service_model(call.service).operation_model(call.operation))
        form = MultiDict(parse_qsl(call.body.decode(), keep_blank_values=True))
        parameters = parser.parse({"values": form, "body": b"", "headers": {}, "method": "POST", "url_path": "/"})
    return _recorded(shape, parameters) or None


def _response(call: ApiCall) -> dict[str, Any] | None:
    if not call.operation.startswith("Create"):
        return None
    shape = get_service_model(call.service).operation_model(call.operation).output_shape
    if shape is None:
        return None
    answer = _parsed_answer(call)
    answer.pop("ResponseMetadata", None)
    if call.service == "sagemaker":
        answer = {name: value for name, value in answer.items() if name.endswith("Arn")}
    return _recorded(shape, answer) or None


def _parsed_answer(call: ApiCall) -> dict[str, Any]:
    model = _api_of(call.service)
    answer = {"status_code": call.status, "headers": call.answer_headers, "body": call.answer}
    parsed: dict[str, Any] = _parser(model.metadata["protocol"]).parse(
        answer, model.operation_model(call.operation).output_shape
    )
    return parsed


@functools.cache
def _parser(protocol: str) -> Any:
    return create_parser(protocol)


def _recorded(shape: Any, value: Any) -> Any:
    """A parameter in CloudTrail's form: names of members have a small first letter, and keys of maps are unchanged."""
    if shape.type_name == "structure":
        return {
            lowered: _recorded(shape.members[name], member)
            for name, member in value.items()
            if name in shape.members and (lowered := name[0].lower() + name[1:]) not in _SECRETS
        }
    if shape.type_name == "list":
        return [_recorded(shape.member, member) for member in value]
    if isinstance(value, datetime):
        return value.astimezone(UTC).strftime(
            "%b %-d, %Y %-I:%M:%S %p"
        )  # CloudTrail writes numbers as Java prints them.
    return value
