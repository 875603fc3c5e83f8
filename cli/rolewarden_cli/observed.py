"""Calls that CloudTrail recorded, from its event history, from exported log files, or from CloudTrail Lake.

A call becomes the requests that AWS authorizes for it, so that service control policies can be applied to them. The
records have these fields:

- https://docs.aws.amazon.com/awscloudtrail/latest/userguide/cloudtrail-event-reference-user-identity.html: the ARN of
  a session names its role without the path. `sessionIssuer` has the ARN of the role.
- https://docs.aws.amazon.com/bedrock/latest/userguide/logging-using-cloudtrail.html: `modelId` is the text of the
  caller: an ID, the ID of an inference profile, or an ARN.
- https://docs.aws.amazon.com/bedrock/latest/userguide/cross-region-inference.html: `inferenceRegion` is the region that
  served the call.
- https://docs.aws.amazon.com/bedrock/latest/userguide/logging-cloudtrail-mantle.html: `callWithBearerToken` is true for
  a call with an API key.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, NamedTuple

from rolewarden.denials import AwsRequest, Values
from rolewarden.events import mapping
from rolewarden.policies import MANTLE_KEY, PROFILE_KEY, REGION_KEY, USER_KEY
from rolewarden.vocabulary import APPLICATION_PROFILE, GEOGRAPHIES, JUMPSTART_TAGS

from rolewarden_cli.options import UsageError
from rolewarden_cli.recorded import files_in, is_digest, read_entries

_DENIED = ("AccessDenied", "UnauthorizedOperation")
"""The beginnings of error codes of calls that a policy denies today, so that an SCP takes nothing away."""

_AUTHORIZED_AS = {
    "Converse": "InvokeModel",
    "ConverseStream": "InvokeModelWithResponseStream",
    "StartAsyncInvoke": "InvokeModel",
}
"""The action that AWS authorizes for a call of Bedrock, if its name is another one."""

_SESSION_OF_SAGEMAKER = ":SageMaker"

_ARN = re.compile(r"arn:[^:]+:[^:]*:[^:]*:[^:]*:.*")

_MODEL_PARAMETERS = (
    "modelId",
    "baseModelIdentifier",
    "modelIdentifier",
    "sourceModelArn",
    "modelArn",
    "modelSourceArn",
)
"""The parameters of Bedrock's calls that name a model."""

LAKE_COLUMNS = (
    "eventSource", "eventName", "awsRegion", "recipientAccountId", "errorCode", "userType", "userArn", "issuerArn",
    "principalId", "sourceIdentity", "modelId", "tags", "inferenceRegion", "calls", "first", "last",
)  # fmt: skip
"""The columns of the query that docs/how-to/prevention.md gives for CloudTrail Lake."""


class ObservedCall(NamedTuple):
    """A kind of call: calls that differ in none of these fields get the same decision.

    - `principal`: the ARN of the caller. The ARN of a session if the record does not have that of its role.
    - `models`: the IDs or ARNs of models that the call names.
    - `tags`: the tags that the call sets, by key.
    - `inference_region`: the region that served a call through an inference profile; "" for any other call.
    - `of_sagemaker`: whether SageMaker named the session of the caller.
    - `by_api_key`: whether the caller used an API key, a bearer token.
    """

    account: str
    region: str
    principal: str
    service: str
    action: str
    models: tuple[str, ...] = ()
    tags: tuple[tuple[str, str], ...] = ()
    inference_region: str = ""
    of_sagemaker: bool = False
    source_identity: str = ""
    by_api_key: bool = False

    @property
    def what(self) -> str:
        """The model as people read it, or the action if the call names no model."""
        named = [value for key, value in self.tags if key in JUMPSTART_TAGS] or list(self.models)
        return named[0].rpartition("/")[2] if named else f"{self.service}:{self.action}"


@dataclass
class Made:
    """The number of calls of a kind, with the times of the first and the last one (UTC)."""

    count: int
    first: datetime
    last: datetime

    def add(self, other: Made) -> None:
        """Count further calls of the same kind."""
        self.count += other.count
        self.first, self.last = min(self.first, other.first), max(self.last, other.last)


@dataclass
class ObservedCalls:
    """The calls since a time, by kind. Each event counts once, also if several files have it.

    - `since`: older calls are left out.
    - `read`: the number of records that were read.
    """

    since: datetime
    made: dict[ObservedCall, Made] = field(default_factory=dict)
    read: int = 0
    _ids: set[str] = field(default_factory=set)

    def add(self, record: Mapping[str, Any]) -> None:
        """Count the call of one record, unless no SCP could deny it. Raises KeyError and ValueError if it is no record.

        Insights and records of VPC endpoints are no calls.
        """
        self.read += 1
        if record.get("eventCategory", "Management") not in {"Data", "Management"}:
            return
        at = _time(str(record["eventTime"]))
        event_id = str(record.get("eventID", ""))
        if at < self.since or (event_id and event_id in self._ids):
            return
        self._ids.add(event_id)
        if call := _call(record):
            self._add_calls(call, Made(1, at, at))

    def add_row(self, row: Mapping[str, str]) -> None:
        """Count the calls of one row of CloudTrail Lake. Raises ValueError and KeyError if it lacks something."""
        self.read += 1
        first, last = _time(row["first"]), _time(row["last"])
        if last >= self.since and (call := _call(_record_of(row))):
            self._add_calls(call, Made(_number(row["calls"]), first, last))

    def _add_calls(self, call: ObservedCall, made: Made) -> None:
        if known := self.made.get(call):
            known.add(made)
        else:
            self.made[call] = made


def _call(record: Mapping[str, Any]) -> ObservedCall | None:
    """The call of a record. None if a policy denied it, or if an AWS service made it, which no SCP restricts."""
    identity = mapping(record.get("userIdentity"))
    session = mapping(identity.get("sessionContext"))
    principal = str(mapping(session.get("sessionIssuer")).get("arn") or identity.get("arn") or "")
    if principal and not _ARN.fullmatch(principal):
        raise ValueError(f"has a caller `{principal}`, which is no ARN")
    if (
        not principal
        or str(record.get("errorCode") or "").startswith(_DENIED)
        or ":role/aws-service-role/" in principal
    ):
        return None
    parameters, more = mapping(record.get("requestParameters")), mapping(record.get("additionalEventData"))
    service = str(record["eventSource"]).partition(".")[0]
    name = str(record["eventName"])
    return ObservedCall(
        str(record.get("recipientAccountId") or identity.get("accountId") or principal.split(":")[4]),
        str(record["awsRegion"]),
        principal,
        service,
        _AUTHORIZED_AS.get(name, name) if service == "bedrock" else name,
        tuple(str(parameters[key]) for key in _models_of(service) if parameters.get(key)),
        tuple(sorted(_tags(parameters.get("tags") or parameters.get("tagKeys")))),
        str(more.get("inferenceRegion") or ""),
        str(identity.get("principalId", "")).endswith(_SESSION_OF_SAGEMAKER),
        str(session.get("sourceIdentity") or ""),
        any(str(fields.get("callWithBearerToken")).lower() == "true" for fields in (parameters, more)),
    )


def _models_of(service: str) -> tuple[str, ...]:
    if service == "bedrock-mantle":
        return ("model",)
    return _MODEL_PARAMETERS if service == "bedrock" else ()


def _tags(listed: Any) -> Iterator[tuple[str, str]]:
    if isinstance(listed, Mapping):
        yield from ((str(key), str(value)) for key, value in listed.items())
        return
    for tag in listed if isinstance(listed, list) else ():
        if isinstance(tag, str):
            yield tag, ""
        elif isinstance(tag, Mapping) and "key" in tag:
            yield str(tag["key"]), str(tag.get("value", ""))


def _record_of(row: Mapping[str, str]) -> dict[str, Any]:
    """A row of CloudTrail Lake as a record. Lake gives an empty text, or leaves the column out, if a field is null."""
    return {
        **{key: row[key] for key in ("eventSource", "eventName", "awsRegion")},
        "recipientAccountId": row.get("recipientAccountId", ""),
        "errorCode": row.get("errorCode", ""),
        "userIdentity": {
            "type": row.get("userType", ""),
            "arn": row.get("userArn", ""),
            "principalId": row.get("principalId", ""),
            "sessionContext": {
                "sessionIssuer": {"arn": row.get("issuerArn", "")},
                "sourceIdentity": row.get("sourceIdentity", ""),
            },
        },
        "requestParameters": {"modelId": row.get("modelId", ""), "tags": _tags_of(row.get("tags", ""))},
        "additionalEventData": {"inferenceRegion": row.get("inferenceRegion", "")},
    }


_TAG = re.compile(r"""["']?key["']?\s*[:=]\s*["']?([^"',}]+)["']?,\s*["']?value["']?\s*[:=]\s*["']?([^"'}]*)""")


def _tags_of(text: str) -> list[dict[str, str]]:
    """The tags in a text of Lake: as JSON, or in the form `[{key=a, value=b}]`. Its form is not verified."""
    return [{"key": key.strip(), "value": value.strip()} for key, value in _TAG.findall(text)]


def _time(text: str) -> datetime:
    """A time of CloudTrail, or one of Lake, such as `2026-11-29 10:00:00.000`."""
    try:
        at = datetime.fromisoformat(text.strip().replace("Z", "+00:00"))
    except ValueError:
        raise ValueError(f"has the time `{text}`, which has an unknown form") from None
    return at.replace(tzinfo=UTC) if at.tzinfo is None else at.astimezone(UTC)


def _number(text: str) -> int:
    if not re.fullmatch("[0-9]+", text):
        raise ValueError(f"has `{text}` as its number of calls")
    return int(text)


def caller_context(principal: str, now: datetime, *, of_sagemaker: bool) -> dict[str, Values]:
    """The condition keys about a caller at the time `now`. `of_sagemaker`: whether SageMaker names the session."""
    return {
        "aws:PrincipalArn": principal,
        "aws:CurrentTime": f"{now:%Y-%m-%dT%H:%M:%SZ}",
        "aws:userid": f"AROAEXAMPLE{_SESSION_OF_SAGEMAKER if of_sagemaker else ':other'}",
    }


def requests_of(call: ObservedCall, principal: str, now: datetime) -> tuple[AwsRequest, ...]:
    """The requests that AWS authorizes for a call at the time `now`. The call fails if one of them is denied.

    - `principal`: the ARN of the caller, with the path of its role.
    """
    partition = principal.split(":")[1]
    context = caller_context(principal, now, of_sagemaker=call.of_sagemaker) | {REGION_KEY: call.region}
    if call.source_identity:
        context[USER_KEY] = call.source_identity
    if call.tags:
        context["aws:TagKeys"] = tuple(key for key, _ in call.tags)
        context |= {f"aws:RequestTag/{key}": value for key, value in call.tags}
    action = f"{call.service}:{call.action}"
    place = f"arn:{partition}:{call.service}:{call.region}:{call.account}:"
    found = []
    if call.by_api_key:
        found.append(AwsRequest(f"{call.service}:CallWithBearerToken", f"{place}example", context))
    if call.service == "bedrock-mantle":
        named = {MANTLE_KEY: call.models[0]} if call.models else {}
        found.append(AwsRequest(action, f"{place}project/default", {**context, **named}))
    elif call.models:
        asked = (pair for model in call.models for pair in _resources(call, model, partition))
        found += [AwsRequest(action, resource, {**context, **more}) for resource, more in asked]
    else:
        found.append(AwsRequest(action, f"{place}example", context))
    return tuple(found)


def _resources(call: ObservedCall, model: str, partition: str) -> Iterator[tuple[str, dict[str, Values]]]:
    """The resources on which Bedrock authorizes a call of `model`, each with further condition keys."""
    name = model.rpartition("/")[2]
    if model.startswith("arn:") and ":inference-profile/" not in model:
        yield model, {}
        # The model of an application inference profile is not in the record: only its region is.
        if f":{APPLICATION_PROFILE}/" in model and call.inference_region:
            yield model, {REGION_KEY: call.inference_region}
        return
    geography, _, behind = name.partition(".")
    if geography not in GEOGRAPHIES:
        yield f"arn:{partition}:bedrock:{call.region}::foundation-model/{name}", {}
        return
    profile = f"arn:{partition}:bedrock:{call.region}:{call.account}:inference-profile/{name}"
    yield profile, {}
    reached = dict.fromkeys((call.region, call.inference_region or call.region))
    for region in reached:
        yield (
            f"arn:{partition}:bedrock:{region}::foundation-model/{behind}",
            {PROFILE_KEY: profile, REGION_KEY: region},
        )
    if geography == "global":
        yield (
            f"arn:{partition}:bedrock:::foundation-model/{behind}",
            {PROFILE_KEY: profile, REGION_KEY: "unspecified"},
        )


def read_exports(paths: Iterable[Path], calls: ObservedCalls) -> None:
    """Count the calls of exported files: logs of a trail, answers of `lookup-events`, or results of CloudTrail Lake.

    A folder stands for the files of events below it. Raises UnusableInputError and UsageError.
    """
    for path in paths:
        for file in files_in(path):
            for number, entry in enumerate(read_entries(file), 1):
                if is_digest(entry):
                    continue
                if lacking := _count(calls, entry):
                    raise UsageError(
                        f"{file}: is neither a log file of CloudTrail nor a result of the query for CloudTrail Lake: "
                        f"entry {number} {lacking}: see docs/how-to/prevention.md"
                    )


def _count(calls: ObservedCalls, entry: Any) -> str:
    """Count a record, an event or a row of Lake. If it is none of them, give what it lacks."""
    if not isinstance(entry, Mapping):
        return "is no JSON object"
    try:
        if "calls" in entry:
            calls.add_row({key: str(value or "") for key, value in entry.items()})
        else:
            calls.add(mapping(entry.get("detail")) or entry)
    except KeyError as error:
        return f"lacks `{error.args[0]}`"
    except ValueError as error:
        return str(error)
    return ""
