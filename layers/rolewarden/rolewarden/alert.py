"""What a person reads at night: a finding, or a move against Rolewarden itself, as a subject and a text.

Everything in it comes from events, and so from whoever made the call: it is cleaned, cut, and never made into a command
or a link unless it is a name that AWS would take.
"""

from __future__ import annotations

import re
import textwrap
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any
from urllib.parse import quote

from rolewarden import MEMBER_ROLES
from rolewarden.events import ACCOUNT, CLOUDTRAIL, POLICY_NAME, REGION, ROLE_NAME, cause_of, mapping, matched
from rolewarden.origin import SCHEDULED_CHECK, SWEEP, Cause
from rolewarden.own_events import AccountFinding, PolicyRestored, RoleContested, RoleFinding, SubjectFinding
from rolewarden.policies import policy_arn
from rolewarden.reach import FORWARD, UNDELIVERED
from rolewarden.verdicts import CREATED, REPLACED, Reason

SUBJECT_SIZE = 99
"""Characters of a subject: SNS takes ASCII, no line break, and less than 100,
https://docs.aws.amazon.com/sns/latest/api/API_Publish.html."""

COLUMNS = 78
"""Width of a line of the text, in characters. A link or a command stays on one line, because a reader copies it."""

BODY_SIZE = 8_000
"""Characters that no text exceeds, as each row is cut and there are few; SNS takes 256 KiB."""

CONSOLES = {
    "aws": "console.aws.amazon.com",
    "aws-us-gov": "console.amazonaws-us-gov.com",
    "aws-cn": "console.amazonaws.cn",
    "aws-eusc": "console.amazonaws-eusc.eu",
}
"""The console's host by partition."""

_LABEL = 11
_EVENT_ID = re.compile(r"[0-9a-f-]{36}")
_COMMAND = re.compile(rf"`[^`]{{1,{COLUMNS - _LABEL - 3}}}`")
_GLUE = "\N{NO-BREAK SPACE}"
"""Takes the place of the spaces in a command while the text is folded. `_text` leaves none in what an event says."""


@dataclass(frozen=True)
class Alert:
    """A message for a person, ready for SNS."""

    headline: str
    body: str


@dataclass(frozen=True)
class _Link:
    """A line that is to be clicked or copied, and is not folded."""

    text: str


_Row = tuple[str, str | _Link]


def compose(event: Any, partition: str) -> Alert:
    """The alert for `event`, as EventBridge delivers it, in `partition`. Takes anything, raises nothing.

    Known are the findings of source `rolewarden` and CloudTrail records; of anything else the alert says that it
    cannot be read.
    """
    envelope = mapping(event)
    detail = mapping(envelope.get("detail"))
    # A finding may be about another account than the one that tells of it.
    about_account = envelope.get("source") == "rolewarden" and matched(ACCOUNT, detail.get("account"))
    account = about_account or matched(ACCOUNT, envelope.get("account"))
    place = _Console(partition, account, matched(REGION, envelope.get("region")))
    source, kind = envelope.get("source"), envelope.get("detail-type")
    about, tell = "Rolewarden", _TELLERS.get(kind) if isinstance(kind, str) and source == "rolewarden" else None
    if kind == CLOUDTRAIL:
        about, tell = "Rolewarden itself", _move
    headline, rows = tell(detail, place) if tell and detail else _unreadable(envelope)
    return _written(f"{about}: {headline}", [*rows, ("Account", place.name)])


@dataclass(frozen=True)
class _Console:
    partition: str
    account: str
    region: str

    @property
    def name(self) -> str:
        return ", ".join(filter(None, (self.account, self.region)))

    def console(self, page: str, fragment: str) -> Iterator[_Row]:
        """A page of the console, where it is known where the console is."""
        if self.partition in CONSOLES and self.region:
            host = CONSOLES[self.partition]
            yield "Console", _Link(f"https://{host}/{page}/home?region={self.region}#/{fragment}")

    def links_to_role(self, role: str) -> Iterator[_Row]:
        """The role in the console, and the command that says what it carries."""
        if ROLE_NAME.fullmatch(role):
            yield from self.console("iam", f"roles/details/{quote(role, safe='')}")
            yield "Look", _Link(f"aws iam list-attached-role-policies --role-name {role}")

    def links_to_policy(self, policy: str, *, was_deleted: bool) -> Iterator[_Row]:
        """A guardrail's policy in the console, and the commands that show it.

        A policy that was edited still has the version with the edit, until IAM has five newer ones. One that was
        deleted has lost its versions: then the command lists the roles that have the new policy attached.
        """
        if POLICY_NAME.fullmatch(policy) and self.account:
            arn = policy_arn(policy, self.partition, self.account)
            yield from self.console("iam", f"policies/details/{quote(arn, safe='')}")
            if was_deleted:
                yield "Look", _Link(f"aws iam list-entities-for-policy --policy-arn {arn}")
            else:
                yield "Versions", _Link(f"aws iam list-policy-versions --policy-arn {arn}")
                yield "Look", _Link(f"aws iam get-policy-version --policy-arn {arn} --version-id VERSION")

    def links_to_event(self, event_id: str) -> Iterator[_Row]:
        """The call in CloudTrail's event history."""
        if _EVENT_ID.fullmatch(event_id):
            yield from self.console("cloudtrailv2", f"events/{event_id}")
            attribute = f"AttributeKey=EventId,AttributeValue={event_id}"
            region = f" --region {self.region}" if self.region else ""
            yield "Look", _Link(f"aws cloudtrail lookup-events{region} --lookup-attributes {attribute}")


_Told = tuple[str, list[_Row]]
"""The headline, and what there is to say in rows of a label and a text."""


def _role_finding(detail: Mapping[str, Any], place: _Console) -> _Told:
    role, reason = _text(detail.get("role"), 64), _text(detail.get("reason"), 64)
    missing = _names(detail.get("missing"), without=detail.get("attached"))
    rows = [
        ("What", f"role {role} lacks {missing or 'a guardrail'} and cannot be given it"),
        *_works_for(detail),
        *_caused(detail),
        ("Done", f"{_done(detail) or 'nothing'}: {reason}"),
        *_left_to_do(detail, place, role),
    ]
    return f"role {role} cannot be protected: {reason}", rows


def _subject_finding(detail: Mapping[str, Any], place: _Console) -> _Told:
    domain, profile = _text(detail.get("domain"), 64), _text(detail.get("user_profile"), 64)
    role, reason = _text(detail.get("role"), 64), _text(detail.get("reason"), 64)
    missing = _names(detail.get("missing"))
    who = f"user profile {domain}/{profile}" if profile else f"domain {domain}" if domain else f"role {role}"
    if missing:
        what = f"{who} needs {missing}, but uses its domain's role, which has only what the domain needs"
        done = "nothing: the role keeps the guardrails of its domain"
    else:
        what = f"AWS does not let Rolewarden evaluate {who}"
        done = "nothing: what was known before stays in force"
    rows = [
        ("What", what),
        ("Role", role),
        *_caused(detail),
        ("Done", f"{done} ({reason})"),
        *_left_to_do(detail, place, role),
    ]
    return f"{who} cannot be protected: {reason}", rows


def _account_finding(detail: Mapping[str, Any], place: _Console) -> _Told:
    reason = _text(detail.get("reason"), 64)
    what = f"AWS refused a call that Rolewarden needs to cover account {place.account}: roles may be unprotected"
    done = "nothing: Rolewarden continues with what AWS lets it read"
    if reason == Reason.LEFT:
        what = f"account {place.account} is no longer covered: its roles may be unprotected"
        done = "nothing: its guardrails stay attached, and Rolewarden does not restore one that somebody removes"
    elif reason == Reason.UNHEARD:
        what = f"events of account {place.account} may not arrive: only a sweep detects changes to its roles"
        done = "swept the account as usual; Rolewarden cannot repair the path of the events"
    elif reason == Reason.FORGED:
        what = "a caller invoked a function of Rolewarden with a request that CloudFormation did not send"
        done = "refused the request; it removed no guardrail"
    rows = [
        ("What", what),
        *_caused(detail),
        ("Done", done),
        ("Why", _text(detail.get("message"), 400)),
        ("To do", _text(detail.get("recommendation"), 200)),
        ("Runbook", "docs/how-to/runbook.md, Account Finding"),
    ]
    return f"account {place.account}: {reason}", rows


def _left_to_do(detail: Mapping[str, Any], place: _Console, role: str) -> Iterator[_Row]:
    """Why something is unenforceable, and what a person does about it."""
    yield "Why", _text(detail.get("message"), 400)
    yield "To do", _text(detail.get("recommendation"), 200)
    yield from place.links_to_role(role)
    yield "Runbook", "docs/how-to/runbook.md, UnenforceableAlarm"


def _policy_restored(detail: Mapping[str, Any], place: _Console) -> _Told:
    policy, remediation = _text(detail.get("policy"), 128), _text(detail.get("remediation"), 32)
    was = {CREATED: "deleted", REPLACED: "edited"}.get(remediation, "tampered with")
    done = {
        CREATED: "created the policy again; a sweep attaches it to every role that needs it",
        REPLACED: "restored the default version of the policy to what guardrails.yaml says",
    }.get(remediation, remediation)
    rows = [
        ("What", f"the policy of guardrail {policy} was {was}: every role that needs it went without"),
        *_caused(detail),
        ("Done", done),
        (
            "To do",
            "ask the caller why; deny writing policies under /rolewarden/ with the policy that `rolewarden scp` prints",
        ),
        *place.links_to_policy(policy, was_deleted=remediation == CREATED),
        ("Runbook", "docs/how-to/runbook.md, Policy Restored"),
    ]
    return f"guardrail {policy} was {was} and is restored", rows


def _role_contested(detail: Mapping[str, Any], place: _Console) -> _Told:
    role, since = _text(detail.get("role"), 64), _text(detail.get("since"), 32)
    times = _times(detail.get("remediations")) or "again and again"
    rows: list[_Row] = [
        ("What", f"somebody takes the guardrails off role {role}; they were restored {times} since {since}"),
        *_works_for(detail),
    ]
    actors = detail.get("actors")
    for listed in (actors if isinstance(actors, list) else [])[:5]:
        fighter = Cause.from_dict(listed)
        who = filter(None, (_text(fighter.actor, 300), _times(mapping(listed).get("times"))))
        rows += [("Who", ", ".join(who)), ("From", _from(fighter))]
    last = Cause.from_dict(detail.get("cause"))
    rows += [
        ("Last", " at ".join(filter(None, (_text(last.event_name, 128), _text(last.time, 32))))),
        ("Done", f"{_done(detail) or 'attached the missing policies'}, each time, and goes on doing so"),
        ("To do", "find what detaches it (an infrastructure tool that owns the role?) and have it leave "
                  "policies under /rolewarden/ alone, or exempt the role in guardrails.yaml"),
        *place.links_to_role(role),
        ("Runbook", "docs/how-to/runbook.md, ContestedAlarm"),
    ]  # fmt: skip
    return f"role {role} is contested: restored {times}", rows


def _move(detail: Mapping[str, Any], place: _Console) -> _Told:
    """A call on something that Rolewarden is made of, or on the trail that it hears of."""
    cause = cause_of(detail)
    # Lambda's names carry the date of the API, as DeleteFunction20150331.
    call = re.sub(r"\d{8}(v\d+)?$", "", _text(cause.event_name, 128))
    service = _text(detail.get("eventSource"), 64).partition(".")[0]
    noun, meaning, recommendation = _PARTS.get(service, ("part", "what Rolewarden is made of changes", _RESTORE))
    kind, name = _touched(detail)
    touched = f"{kind} {name}".strip() or noun
    if _FORWARDERS.fullmatch(name):
        meaning, recommendation = "what happens here may go unseen, or be left as it is, from now on", _FORWARD_AGAIN
    refused = _text(detail.get("errorCode"), 64)
    rows = [
        ("What", f"{call} on {touched}: {'a failed attempt' if refused else meaning}"),
        *_caused({"cause": cause.as_dict()}),
        (
            "Done",
            f"nothing: AWS refused the call ({refused})" if refused else "nothing: Rolewarden cannot repair itself",
        ),
        ("To do", "ask the caller why" if refused else f"if this change is not intended, {recommendation}"),
        *place.links_to_event(cause.event_id),
        ("Runbook", "docs/how-to/runbook.md, Changes to Rolewarden itself"),
    ]
    did = "tried" if refused else "called"
    return f"{_short(_text(cause.actor, 300)) or 'somebody'} {did} {call} on {touched}", rows


def _unreadable(envelope: Mapping[str, Any]) -> _Told:
    rows: list[_Row] = [
        ("What", "AlertFunction got an event that it cannot read"),
        ("Source", _text(envelope.get("source"), 64)),
        ("Kind", _text(envelope.get("detail-type"), 128)),
        ("Id", _text(envelope.get("id"), 64)),
        ("When", _text(envelope.get("time"), 32)),
        ("Done", "nothing"),
        ("To do", "look for the id in the logs of Rolewarden's functions and in CloudTrail"),
        ("Runbook", "docs/how-to/runbook.md, An event that cannot be read"),
    ]
    return "an event that cannot be read", rows


_TELLERS: dict[str, Callable[[Mapping[str, Any], _Console], _Told]] = {
    RoleFinding.detail_type: _role_finding,
    SubjectFinding.detail_type: _subject_finding,
    AccountFinding.detail_type: _account_finding,
    PolicyRestored.detail_type: _policy_restored,
    RoleContested.detail_type: _role_contested,
}

_RESTORE = "restore the stack (docs/how-to/runbook.md, Restore the stack), then run `rolewarden sweep`"
_FORWARD_AGAIN = "run `rolewarden doctor`: it names what is missing here and the recommended action"
_FORWARDERS = re.compile(rf"{FORWARD}.+|{UNDELIVERED}|StackSet-.+|{'|'.join(sorted(MEMBER_ROLES))}", re.IGNORECASE)
"""The names of what forwarder.yaml makes, and of its stacks."""
_PARTS = {
    "lambda": ("function", "roles may be changed unseen from now on", _RESTORE),
    "iam": ("role", "a function may do less than it has to, or more than it may", _RESTORE),
    "dynamodb": ("table", "bindings or history may be lost", _RESTORE),
    "sqs": ("queue", "roles that wait for their evaluation may be lost", _RESTORE),
    "logs": ("log group", "what the functions log may be lost", _RESTORE),
    "sns": ("topic", "alarms may reach nobody", "check the subscriptions with `aws sns "
            f"list-subscriptions-by-topic --topic-arn TOPIC`; {_RESTORE}"),
    "kms": ("key", "what it encrypts cannot be read without it",
            "run `aws kms cancel-key-deletion --key-id KEY` and `aws kms enable-key --key-id KEY` at once, "
            f"then {_RESTORE}; a key of your own needs the policy in docs/how-to/kms-key.md"),
    "events": ("rule", "changes to roles may go unseen from now on", _RESTORE),
    "monitoring": ("alarm", "nobody may be notified of the next failure", _RESTORE),
    "cloudtrail": ("trail", "without a trail that logs, only the sweep detects a change to a role",
                   "run `aws cloudtrail start-logging --name TRAIL`, and check what it logs with "
                   "`aws cloudtrail get-event-selectors --trail-name TRAIL`"),
    "cloudformation": ("stack", "Rolewarden itself is being deployed, changed or taken down", "stop the "
                       "operation, then deploy the stack as you want it"),
}  # fmt: skip
"""By service: what a resource of Rolewarden's is there, what a change to it may mean, and what to do about it."""

_PARAMETERS = {
    # Before functionName: whose queue it is tells more than who is to receive from it.
    "eventSourceArn": "queue",
    "functionName": "function",
    "layerName": "layer",
    "uuid": "event source mapping",
    "roleName": "role",
    "tableName": "table",
    "resourceArn": "table",
    "queueUrl": "queue",
    "logGroupName": "log group",
    "subscriptionArn": "subscription",
    "topicArn": "topic",
    "keyId": "key",
    "rule": "rule",
    "alarmName": "alarm",
    "alarmNames": "alarm",
    "stackName": "stack",
    "stackSetName": "StackSet",
    "trailName": "trail",
    "name": "",
    # After rule and name: a rule's bus is beside it.
    "eventBusName": "event bus",
}
"""Under which name CloudTrail has what was touched, and what that is; `name` is a rule's, a bus' or a trail's."""


def _touched(detail: Mapping[str, Any]) -> tuple[str, str]:
    """What kind of thing a call was made on, and its name or names. Both are empty if the call does not say it."""
    parameters = mapping(detail.get("requestParameters"))
    table = mapping(mapping(detail.get("responseElements")).get("tableDescription"))
    for name, kind in _PARAMETERS.items():
        value = parameters.get(name) or (table.get(name) if name == "tableName" else None)
        if isinstance(value, list):
            found = _names(value)
        elif name == "queueUrl":
            found = _text(value, 256).rsplit("/", 1)[-1]
        else:
            found = _short(_text(value, 256))
            # The resource part of an ARN says what it is, and we do already.
            found = found.removeprefix(f"{kind}/").removeprefix(f"{kind}:")
        if found:
            return kind, found
    return "", ""


def _works_for(detail: Mapping[str, Any]) -> Iterator[_Row]:
    if subjects := _names(detail.get("subjects"), more=_count(detail.get("more_subjects"))):
        yield "Works for", subjects


def _done(detail: Mapping[str, Any]) -> str:
    if detail.get("remediation") == "bounded":
        return "set the permissions boundary that has the denies"
    attached = _names(detail.get("attached"))
    return f"attached {attached}" if attached else ""


def _caused(detail: Mapping[str, Any]) -> Iterator[_Row]:
    cause = Cause.from_dict(detail.get("cause"))
    found = {SWEEP.cause: "a sweep", SCHEDULED_CHECK.cause: "a scheduled check"}.get(cause)
    if found:
        yield "Who", f"not known: {found} found it: no event reported it"
        return
    yield "Who", _text(cause.actor, 300) or "not known"
    yield "Call", " at ".join(filter(None, (_text(cause.event_name, 128), _text(cause.time, 32))))
    yield "From", _from(cause)


def _from(cause: Cause) -> str:
    return ", ".join(filter(None, (_text(cause.source_address, 128), _text(cause.user_agent, 200))))


def _short(name: str) -> str:
    """Of an ARN what comes after the account: a subject has little room."""
    return name.split(":", 5)[-1] if name.startswith("arn:") else name


def _written(headline: str, rows: list[_Row]) -> Alert:
    # SNS refuses a subject that has any other character.
    subject = headline.encode("ascii", "replace").decode()
    if len(subject) > SUBJECT_SIZE:
        subject = subject[: SUBJECT_SIZE - 3].rstrip() + "..."
    lines = [*_folded(f"{headline}."), ""]
    for label, text in rows:
        if isinstance(text, _Link):
            lines += [f"{label}:", text.text]
        elif text:
            lines += _folded(text, first=label.ljust(_LABEL), indent=" " * _LABEL)
    return Alert(subject, "\n".join(lines) + "\n")


def _folded(text: str, *, first: str = "", indent: str = "") -> list[str]:
    """`text` in lines of COLUMNS characters. A command between backticks, and a word with hyphens, stays whole."""
    joined = _COMMAND.sub(lambda command: command[0].replace(" ", _GLUE), text)
    lines = textwrap.wrap(joined, COLUMNS, initial_indent=first, subsequent_indent=indent, break_on_hyphens=False)
    return [line.replace(_GLUE, " ") for line in lines]


def _text(value: Any, most: int) -> str:
    """`value` fit to be printed: one line, no control or direction characters, no link, `most` characters."""
    if not isinstance(value, str):
        return ""
    # Four times as much is looked at: cleaning makes it shorter, and it may be megabytes.
    printable = "".join(char if char.isprintable() else " " for char in value[: 4 * most])
    text = " ".join(printable.split()).replace("://", ": //")
    return text if len(text) <= most else text[: most - 3] + "..."


def _names(value: Any, *, without: Any = None, more: int = 0) -> str:
    """Up to ten names of a list, and how many there are besides."""
    left = without if isinstance(without, list) else []
    found = [item for item in value if item not in left] if isinstance(value, list) else []
    more += max(0, len(found) - 10)
    return ", ".join(filter(None, (_text(item, 64) for item in found[:10]))) + (f" and {more} more" if more else "")


def _count(value: Any) -> int:
    return value if isinstance(value, int) and not isinstance(value, bool) and 0 < value < 1_000_000 else 0


def _times(value: Any) -> str:
    count = _count(value)
    return "" if not count else "once" if count == 1 else f"{count} times"
