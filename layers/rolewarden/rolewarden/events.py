"""The parser of CloudTrail events, which says what an event asks Rolewarden to evaluate.

An event is a hint: Rolewarden reads from it which role, subject or policy to evaluate and, for the record, the cause.
The state that it reads from AWS decides. The shapes of the events, as EventBridge delivers them:
https://docs.aws.amazon.com/awscloudtrail/latest/userguide/cloudtrail-event-reference-record-contents.html.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Collection, Mapping
from datetime import datetime
from enum import StrEnum
from typing import Any, NamedTuple

from rolewarden.canary import DrillCall, DrillKind, canary_call, nonce_in
from rolewarden.origin import Cause, Origin, Trigger

DOMAIN_EVENTS = frozenset({"CreateDomain", "UpdateDomain", "DeleteDomain"})
PROFILE_EVENTS = frozenset({"CreateUserProfile", "UpdateUserProfile", "DeleteUserProfile"})
TAG_EVENTS = frozenset({"AddTags", "DeleteTags"})
ROLE_EVENTS = frozenset(
    {
        "AcquireRole",
        "CreateRole",
        "DeleteRole",
        "AttachRolePolicy",
        "DetachRolePolicy",
        "PutRolePolicy",
        "DeleteRolePolicy",
        "PutRolePermissionsBoundary",
        "DeleteRolePermissionsBoundary",
        "UpdateAssumeRolePolicy",
        "TagRole",
        "UntagRole",
    }
)
NEW_ROLE_EVENTS = frozenset({"AcquireRole", "CreateRole"})
"""The role events that create a role. AcquireRole creates it from a role template and names it only in the response."""
BOUNDARY_EVENTS = frozenset({"PutRolePermissionsBoundary", "DeleteRolePermissionsBoundary"})
"""The role events that change a role's permissions boundary."""
POLICY_EVENTS = frozenset({"CreatePolicyVersion", "SetDefaultPolicyVersion", "DeletePolicyVersion", "DeletePolicy"})

SAGEMAKER_EVENTS = DOMAIN_EVENTS | PROFILE_EVENTS | TAG_EVENTS
IAM_EVENTS = ROLE_EVENTS | POLICY_EVENTS


class Ignored(StrEnum):
    """The reason why an event triggers no evaluation."""

    NOT_AN_API_CALL = "not a CloudTrail record of an API call"
    FAILED_CALL = "the call failed and changed nothing"
    OTHER_SERVICE = "a call to another service"
    UNKNOWN_EVENT = "a call that changes no role, subject or policy that Rolewarden covers"
    OTHER_RESOURCE = "tags of a resource that is not a domain or user profile"
    OTHER_POLICY = "a policy that is not Rolewarden's"
    OTHER_ACCOUNT = "a call in an account that the stack does not cover"
    OTHER_REGION = "a call to SageMaker in a region that is not in the stack's parameter Regions"
    UNREADABLE = "the parameters do not name the changed resource; the next sweep evaluates it"


CLOUDTRAIL = "AWS API Call via CloudTrail"
"""The detail type of every event about an API call."""


class SubjectKey(NamedTuple):
    """The key of a domain or user profile in the event's region. An empty `user_profile` means the domain."""

    domain_id: str
    user_profile: str = ""


class TagChange(NamedTuple):
    """The tags of a domain or user profile that a call set or removed.

    - `principal`: the ARN of the role or user that made the call; for a session, that of its role.
    - `keys`: the keys of the tags. Empty if the record does not have them.
    """

    principal: str
    keys: frozenset[str]


class EvaluationRequest(NamedTuple):
    """The resource that Rolewarden must evaluate after an event.

    - `role`, `subject`, `policy`: one of them is set, or none if `ignored` is set.
    - `ignored`: why the event triggers no evaluation. None if it triggers one.
    - `detached`: whether the call detached a policy of Rolewarden from the role, or changed the role's permissions
      boundary. IAM may still show the state before the call.
    - `tags`: the change to the tags of the subject; None if the call changed none.
    - `drill`: the call on the canary, which a drill can have made. None for other calls.
    """

    account: str
    region: str
    origin: Origin
    role: str = ""
    subject: SubjectKey | None = None
    policy: str = ""
    ignored: Ignored | None = None
    detached: bool = False
    tags: TagChange | None = None
    drill: DrillCall | None = None

    @property
    def summary(self) -> dict[str, Any]:
        """The event's name and the evaluation that it requests, for the result of a function."""
        return {"event": self.origin.cause.event_name, "request": self.as_dict()}

    def as_dict(self) -> dict[str, Any]:
        """The evaluation that the event requests, or why it requests none, for logs and `rolewarden replay`."""
        named: dict[str, Any] = {}
        if self.ignored:
            named["ignored"] = self.ignored.value
        if self.drill:
            named["drill"] = self.drill.kind.value
        if self.role:
            named["role"] = self.role
        if self.policy:
            named["policy"] = self.policy
        if self.subject:
            named["domain"] = self.subject.domain_id
            if self.subject.user_profile:
                named["user_profile"] = self.subject.user_profile
        return named


ACCOUNT = re.compile(r"[0-9]{12}")
REGION = re.compile(r"(?!.{33})[a-z]{2,4}(-[a-z]+)+-[0-9]{1,2}")
ROLE_NAME = re.compile(r"[\w+=,.@-]{1,64}", re.ASCII)
POLICY_NAME = re.compile(r"[\w+=,.@-]{1,128}", re.ASCII)
DOMAIN_ID = re.compile(r"(?!.{64})d-(-*[a-z0-9]){1,61}")
PROFILE_NAME = re.compile(r"(?!.{64})[A-Za-z0-9](-*[A-Za-z0-9]){0,62}")
_DOMAIN_ARN = re.compile(r"arn:[^:]+:sagemaker:[^:]*:[^:]*:domain/(?P<domain>[^/]+)")
_PROFILE_ARN = re.compile(r"arn:[^:]+:sagemaker:[^:]*:[^:]*:user-profile/(?P<domain>[^/]+)/(?P<profile>[^/]+)")
# The path matches in any case, because IAM does not document whether its case counts. An event is only a hint, so a
# surplus match does no harm.
_POLICY_ARN = re.compile(
    r"arn:[^:]+:iam::(?P<account>[0-9]{12}):policy/(?i:rolewarden)/(?P<name>[\w+=,.@-]{1,128})", re.ASCII
)


EVENT, INGESTED = "event", "ingested"
"""The fields that the rules' input transformers give EnforceFunction: the event, and when the bus received it."""


class Arrival(NamedTuple):
    """The arrival time of an event, in seconds of the epoch. `ingested` is None if the rule did not say it."""

    started: float
    ingested: float | None = None


def arrived(payload: Any, started: float) -> tuple[Any, Arrival]:
    """The event in the payload of EnforceFunction, and when it arrived. Accepts any value.

    A payload without an input transformer is the event itself, as for `sam local invoke`.
    """
    fields = mapping(payload)
    if EVENT not in fields:
        return payload, Arrival(started)
    try:
        ingested = datetime.fromisoformat(str(fields.get(INGESTED))).timestamp()
    except (ValueError, OverflowError):
        return fields[EVENT], Arrival(started)
    return fields[EVENT], Arrival(started, ingested)


def parse_event(
    event: Any, covers: Callable[[str], bool] | None = None, regions: Collection[str] = ()
) -> EvaluationRequest:
    """Parse an EventBridge event with a CloudTrail record. Accepts any value, and raises only what `covers` raises.

    - `covers`: whether the stack covers an account. Events of other accounts are ignored. None means that all accounts
      are covered.
    - `regions`: SageMaker events of other regions are ignored. Empty means all regions.
    """
    request = _parsed(event, regions)
    if request.ignored or covers is None or covers(request.account):
        return request
    return EvaluationRequest(request.account, request.region, request.origin, ignored=Ignored.OTHER_ACCOUNT)


def _parsed(event: Any, regions: Collection[str]) -> EvaluationRequest:
    envelope = mapping(event)
    detail = mapping(envelope.get("detail"))
    account = matched(ACCOUNT, envelope.get("account"))
    region = matched(REGION, envelope.get("region"))
    cause = cause_of(detail)
    call = cause.event_name
    origin = Origin(Trigger.EVENT, cause, call)

    def ignore(reason: Ignored) -> EvaluationRequest:
        return EvaluationRequest(account, region, origin, ignored=reason)

    if not (account and region and call) or envelope.get("detail-type") != CLOUDTRAIL:
        return ignore(Ignored.NOT_AN_API_CALL)
    if reason := _reason_to_ignore(
        call, _text(envelope.get("source")), detail, bool(regions) and region not in regions
    ):
        return ignore(reason)
    parameters = mapping(detail.get("requestParameters"))
    kind = canary_call(call, parameters)
    drill = DrillCall(kind, cause.principal, nonce_in(cause.user_agent), cause.event_id) if kind else None
    if kind is DrillKind.SUBJECTS:
        return EvaluationRequest(account, region, origin, drill=drill)
    if call in ROLE_EVENTS:
        named = _role(call, parameters, mapping(detail.get("responseElements")))
        if named is None:
            return ignore(Ignored.UNREADABLE)
        return EvaluationRequest(account, region, origin, role=named[0], detached=named[1], drill=drill)
    if call in POLICY_EVENTS:
        arn = _text(parameters.get("policyArn"))
        policy = _POLICY_ARN.fullmatch(arn)
        if policy is None:
            return ignore(Ignored.OTHER_POLICY if arn else Ignored.UNREADABLE)
        return EvaluationRequest(account, region, origin, policy=policy["name"])
    if call in TAG_EVENTS and not (_tagged_subject(parameters) or not parameters.get("resourceArn")):
        return ignore(Ignored.OTHER_RESOURCE)
    subject = _subject(call, parameters, mapping(detail.get("responseElements")))
    if subject is None:
        return ignore(Ignored.UNREADABLE)
    tags = _tag_change(call, parameters, mapping(detail.get("userIdentity")))
    return EvaluationRequest(account, region, origin, subject=subject, tags=tags)


def _reason_to_ignore(call: str, source: str, detail: Mapping[str, Any], elsewhere: bool) -> Ignored | None:
    """The reason why a call never triggers an evaluation. `elsewhere`: it was made in another region."""
    known = {
        ("aws.sagemaker", "sagemaker.amazonaws.com"): SAGEMAKER_EVENTS,
        ("aws.iam", "iam.amazonaws.com"): IAM_EVENTS,
    }.get((source, _text(detail.get("eventSource"))))
    if known is None:
        return Ignored.OTHER_SERVICE
    if call not in known:
        return Ignored.UNKNOWN_EVENT
    if detail.get("errorCode"):
        return Ignored.FAILED_CALL
    return Ignored.OTHER_REGION if elsewhere and known is SAGEMAKER_EVENTS else None


def _role(call: str, parameters: Mapping[str, Any], response: Mapping[str, Any]) -> tuple[str, bool] | None:
    """The role that a call changed, and whether it detached a policy of Rolewarden or changed the boundary."""
    created = mapping(response.get("role")) if call == "AcquireRole" else {}
    role = matched(ROLE_NAME, (created or parameters).get("roleName"))
    ours = _POLICY_ARN.fullmatch(_text(parameters.get("policyArn"))) is not None
    return (role, (ours and call == "DetachRolePolicy") or call in BOUNDARY_EVENTS) if role else None


def _tag_change(call: str, parameters: Mapping[str, Any], identity: Mapping[str, Any]) -> TagChange | None:
    """The change to tags that a call made. A call that creates a subject can also set tags."""
    given = parameters.get("tagKeys" if call == "DeleteTags" else "tags")
    if call not in TAG_EVENTS and not given:
        return None
    items = given if isinstance(given, list) else []
    keys = frozenset(filter(None, (_text(item) or _text(mapping(item).get("key")) for item in items)))
    issuer = mapping(mapping(identity.get("sessionContext")).get("sessionIssuer"))
    return TagChange(_text(issuer.get("arn")) or _text(identity.get("arn")) or _actor(identity), keys)


def _subject(name: str, parameters: Mapping[str, Any], response: Mapping[str, Any]) -> SubjectKey | None:
    if name in TAG_EVENTS:
        return _tagged_subject(parameters)
    if name in PROFILE_EVENTS:
        domain = matched(DOMAIN_ID, parameters.get("domainId"))
        profile = matched(PROFILE_NAME, parameters.get("userProfileName"))
        if domain and profile:
            return SubjectKey(domain, profile)
        return _subject_of_arn(response.get("userProfileArn"))
    domain = matched(DOMAIN_ID, parameters.get("domainId"))
    # The request of CreateDomain has no ID, because AWS assigns it. The response has the ARN.
    return SubjectKey(domain) if domain else _subject_of_arn(response.get("domainArn"))


def _tagged_subject(parameters: Mapping[str, Any]) -> SubjectKey | None:
    return _subject_of_arn(parameters.get("resourceArn"))


def _subject_of_arn(arn: Any) -> SubjectKey | None:
    if domain := _DOMAIN_ARN.fullmatch(_text(arn)):
        return SubjectKey(domain["domain"]) if DOMAIN_ID.fullmatch(domain["domain"]) else None
    if profile := _PROFILE_ARN.fullmatch(_text(arn)):
        valid = DOMAIN_ID.fullmatch(profile["domain"]) and PROFILE_NAME.fullmatch(profile["profile"])
        return SubjectKey(profile["domain"], profile["profile"]) if valid else None
    return None


def cause_of(detail: Mapping[str, Any]) -> Cause:
    """The cause that a CloudTrail record shows: the call, its caller and its time."""
    identity = mapping(detail.get("userIdentity"))
    return Cause(
        event_id=_text(detail.get("eventID")),
        event_name=_text(detail.get("eventName")),
        time=_text(detail.get("eventTime")),
        actor=_actor(identity),
        person=_person(identity),
        source_address=_text(detail.get("sourceIPAddress")),
        user_agent=_text(detail.get("userAgent")),
    ).limited()


def _actor(identity: Mapping[str, Any]) -> str:
    """The caller's ARN, or what names the caller best in a record without one.

    Such a record is about a user of Identity Center (its ID), a call that an AWS service makes for itself (its name),
    a user of an external identity provider, another account, a directory, or an unknown identity:
    https://docs.aws.amazon.com/awscloudtrail/latest/userguide/cloudtrail-event-reference-user-identity.html.
    """
    names = (identity.get(key) for key in ("invokedBy", "principalId", "userName", "accountId", "type"))
    return next(filter(None, map(_text, (identity.get("arn"), _identity_center_user(identity), *names))), "")


def _person(identity: Mapping[str, Any]) -> str:
    """The person or program behind the session of a role, or the user who made the session of a federated user.

    Empty for another caller, whom the actor names.
    """
    if not _text(identity.get("arn")):
        return ""
    session = mapping(identity.get("sessionContext"))
    if ":federated-user/" in _text(identity.get("arn")):
        # Every caller with sts:GetFederationToken chooses the name of a federated user.
        issuer = mapping(session.get("sessionIssuer"))
        return _text(issuer.get("arn")).rpartition(":")[2] or _text(issuer.get("userName"))
    person = _identity_center_user(identity) or _text(session.get("sourceIdentity"))
    if not person and _PERMISSION_SET in _text(mapping(session.get("sessionIssuer")).get("arn")):
        person = _text(identity.get("arn")).rpartition("/")[2]
    return person


_PERMISSION_SET = ":role/aws-reserved/sso.amazonaws.com/"
"""The path of the roles that IAM Identity Center makes for its permission sets. It names a session after its user."""


def _identity_center_user(identity: Mapping[str, Any]) -> str:
    """The ID of the user for whom a session of IAM Identity Center makes the call; empty without one."""
    return _text(mapping(identity.get("onBehalfOf")).get("userId"))


def mapping(value: Any) -> Mapping[str, Any]:
    """`value` if it is a mapping, otherwise an empty mapping, because data from outside may have any type."""
    return value if isinstance(value, Mapping) else {}


def _text(value: Any) -> str:
    return value if isinstance(value, str) else ""


def matched(pattern: re.Pattern[str], value: Any) -> str:
    """`value` if it is a text that `pattern` matches completely, otherwise an empty text."""
    text = _text(value)
    return text if pattern.fullmatch(text) else ""
