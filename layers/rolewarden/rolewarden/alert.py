"""The alerts that AlertFunction sends: a finding, or a change to Rolewarden itself, as a subject and a text.

The details come from events, and a caller can choose some of them. They are cleaned and cut, and become part of a
command or a link only if AWS would accept them as a name.
"""

from __future__ import annotations

import re
import textwrap
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from types import MappingProxyType
from typing import Any, NamedTuple
from urllib.parse import quote

from rolewarden import MEMBER_ROLES
from rolewarden.events import ACCOUNT, CLOUDTRAIL, POLICY_NAME, REGION, ROLE_NAME, cause_of, mapping, matched
from rolewarden.origin import QUEUE_MESSAGE, SCHEDULED_CHECK, SWEEP, Cause
from rolewarden.own_events import AccountFinding, PolicyRestored, RoleContested, RoleFinding, SubjectFinding
from rolewarden.plaintext import is_plain, moment, plain_name, plain_text, user_agent, visible
from rolewarden.policies import policy_arn
from rolewarden.reach import FORWARD, UNDELIVERED
from rolewarden.verdicts import CREATED, RECOMMENDATIONS, REPLACED, UNDONE, Reason

SUBJECT_SIZE = 99
"""Maximum length of a subject, in characters. SNS accepts fewer than 100 ASCII characters without a line break:
https://docs.aws.amazon.com/sns/latest/api/API_Publish.html."""

COLUMNS = 78
"""Width of a line of the text, in characters. A link or a command stays on one line, because a reader copies it."""

SUMMARY_ROWS = 20
"""The number of alerts, and of callers, that a summary names."""

BODY_SIZE = 8_000
"""Maximum length of a text, in characters, because each row is cut and the rows are few. SNS accepts 256 KiB."""

CONSOLES = {
    "aws": "console.aws.amazon.com",
    "aws-us-gov": "console.amazonaws-us-gov.com",
    "aws-cn": "console.amazonaws.cn",
    "aws-eusc": "console.amazonaws-eusc.eu",
}
"""The host of the console by partition."""

_LABEL = 11
_EVENT_ID = re.compile(r"[0-9a-f-]{36}")
_USER_ID = re.compile(r"([0-9a-f]{10}-)?[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}", re.IGNORECASE)
"""The ID of a user in IAM Identity Center, as the service model of the identity store describes it."""
_ACTOR = re.compile(
    rf"arn:[\w-]+:(iam|sts)::([0-9]{{12}})?:[\w+=,.@:/-]{{1,300}}|[\w.-]+\.amazonaws\.com|{_USER_ID.pattern}", re.ASCII
)
"""The forms in which CloudTrail names a caller. The headline of an alert has no other text in its place."""
_CALL = re.compile(r"[A-Za-z]{1,64}([0-9]{8}(v[0-9]+)?)?")
"""The name of an API call, to which CloudTrail adds the date of the API if the service is Lambda."""
_SUBJECT = re.compile(r"[\w/-]{1,128} (default-user|shared-spaces)( \(\w+\))?", re.ASCII)
"""A subject as `Binding.label` names it, if it has spaces."""
_COMMAND = re.compile(rf"`[^`]{{1,{COLUMNS - _LABEL - 3}}}`")
_QUOTES = str.maketrans('"\\', "'/")
"""For characters that JSON escapes, others that it does not."""
_RUNBOOK = "Runbook"
_ENTRY = re.compile(r"docs/how-to/runbook\.md, ([\w -]+)")
"""An entry of the runbook, as the texts of findings and alerts name it."""
_GLUE = "\N{NO-BREAK SPACE}"
"""Takes the place of the spaces in a command while the text is folded. `_text` removes it from an event's texts."""


@dataclass(frozen=True)
class Link:
    """A line for a reader to click or copy, which is not folded."""

    text: str


Row = tuple[str, str | Link]
"""A label, and the text or the link after it."""


@dataclass(frozen=True)
class Alert:
    """A message for a person.

    - `headline`: the subject of the mail: at most SUBJECT_SIZE ASCII characters, none of which JSON escapes.
    - `title`: the whole headline.
    - `rows`: the text, in the order in which a person needs it.
    """

    headline: str
    title: str
    rows: tuple[Row, ...]

    @property
    def body(self) -> str:
        """The text of the mail."""
        # Only a label begins a line, so a name with spaces cannot look like a row.
        lines = [*_folded(f"{self.title}.", indent="  "), ""]
        for label, text in self.rows:
            if isinstance(text, Link):
                lines += [f"{label}:", text.text]
            else:
                lines += _folded(text, first=label.ljust(_LABEL), indent=" " * _LABEL)
        return "\n".join(lines) + "\n"

    def repeated(self, times: int) -> Alert:
        """Add the number of alerts like this one that were not sent before; 0 for none."""
        more = f"{_times(times)} in the hour before, without an alert each time"
        return replace(self, rows=(*self.rows, ("Repeated", more))) if times else self

    def linked(self, runbook: str) -> Alert:
        """Link the entries of the runbook that the alert names, if `runbook` is a URL and not the name of the file."""
        if not runbook.startswith("https://"):
            return self
        rows: list[Row] = []
        for label, text in self.rows:
            cited = _ENTRY.findall(text) if isinstance(text, str) and label in {"To do", _RUNBOOK} else []
            links: list[Row] = [(_RUNBOOK, Link(f"{runbook}#{anchor(entry)}")) for entry in cited]
            rows += [] if cited and label == _RUNBOOK else [(label, text)]
            rows += [link for link in links if link not in rows]
        return replace(self, rows=tuple(rows))


def anchor(heading: str) -> str:
    """The anchor of a heading of the docs, as GitHub and the documentation site make it."""
    return re.sub(r"[^\w -]", "", heading.lower()).replace(" ", "-")


class AlertKey(NamedTuple):
    """The subject of an alert. Within an hour, alerts with the same key are one mail and a number.

    - `account`: the account of the call or finding.
    - `actor`: the caller without the name of a session; empty if it is not known or not verified.
    - `call`: the call, or the kind of the finding and its reason.
    - `resource`: the changed resource, or the thing that the finding is about.
    - `is_refused`: whether AWS refused the call. An attempt must not hide the call that succeeds.
    """

    account: str
    actor: str
    call: str
    resource: str
    is_refused: bool = False


def compose(event: Any, partition: str, queues: Mapping[str, str] = MappingProxyType({}), *, banner: str = "") -> Alert:
    """Compose the alert for `event`, as EventBridge delivers it, in `partition`. Accepts any value, and raises nothing.

    - `queues`: the name of the queue of each event source mapping, by the mapping's ID in lower case.
    - `banner`: the line that names the guardrails in observe mode; empty without one.

    `compose` knows the findings from source `rolewarden`, and CloudTrail records. For any other event the alert says
    that AlertFunction cannot read it.
    """
    envelope = mapping(event)
    detail = mapping(envelope.get("detail"))
    # A finding can be about another account than the one that sends the event.
    about_account = envelope.get("source") == "rolewarden" and matched(ACCOUNT, detail.get("account"))
    account = about_account or matched(ACCOUNT, envelope.get("account"))
    place = _Console(partition, account, matched(REGION, envelope.get("region")))
    source, kind = envelope.get("source"), envelope.get("detail-type")
    about, parts = "Rolewarden", _FINDINGS.get(kind) if isinstance(kind, str) and source == "rolewarden" else None
    if kind == CLOUDTRAIL:
        about, parts = "Rolewarden itself", partial(_change, queues=queues)
    elif parts is _policy_restored:
        parts = partial(_policy_restored, observes=bool(banner))
    headline, rows = parts(detail, place) if parts and detail else _unreadable(envelope)
    replay = plain_name(envelope.get("replay-name"), 64)
    replayed = f"EventBridge delivered an old record again, by the replay {replay}: compare the time of the call"
    more = [("Replayed", replayed if replay else ""), ("Observed", banner), ("Account", place.name)]
    return _written(f"{about}: {headline}", [*rows, *more])


def key_of(event: Mapping[str, Any], about: str = "") -> AlertKey:
    """The key of an alert. `about` is what a finding is about; empty for a CloudTrail record."""
    detail = mapping(event.get("detail"))
    if about:
        account = matched(ACCOUNT, detail.get("account"))
        of_finding = Cause.from_dict(detail.get("cause"))
        if event.get("detail-type") == PolicyRestored.detail_type:
            # The policy concerns every role that needs it. So each edit is an alert, up to the limit of its caller.
            about = f"{about} {of_finding.event_id}"
        call = f"{event.get('detail-type')} {of_finding.event_name} {detail.get('reason', '')}"
        return AlertKey(account, of_finding.principal, call, about)
    cause = cause_of(detail)
    account = matched(ACCOUNT, event.get("account"))
    touched = _mapping(detail, {}) or _touched(detail, "")
    resource = " ".join((*touched, str(detail.get("awsRegion", ""))))
    return AlertKey(account, cause.principal, cause.event_name, resource, bool(detail.get("errorCode")))


def beyond(key: AlertKey, most: int, *, of_actor: bool, holds: bool = False) -> Alert:
    """The alert that a limit of `most` different alerts in an hour is reached.

    It is the limit of the caller with `of_actor`. Otherwise it is that of the account: for refused calls, for callers
    that CloudTrail has not confirmed, or for the findings of sweeps if the key has no caller. With `holds`, further
    alerts wait until CloudTrail shows their calls.
    """
    done = "stopped these alerts for the rest of the hour, and counts them; "
    if holds:
        done = (
            "sends further alerts of this kind only when CloudTrail shows their calls, some minutes later; a summary "
        )
        done += "names those whose calls CloudTrail does not have, because a caller may have forged the records; "
    if of_actor:
        who = plain_name(_short(key.actor), 128) or "a caller that is not known"
        kept, first = "calls of other callers still cause alerts", "look up every call of the caller in CloudTrail"
    elif holds:
        who, kept = "callers", "calls that CloudTrail shows still cause alerts"
        first = "look up the calls of these alerts in CloudTrail by their IDs"
    elif key.actor:
        who = "callers"
        kept, first = "calls that succeed still cause alerts", "look up the refused calls of the account in CloudTrail"
    else:
        who = "sweeps"
        kept, first = "calls still cause alerts", "run `rolewarden history`, which has every finding,"
    rows: list[Row] = [
        ("What", f"{who} caused more than {most} different alerts within an hour: the flood may hide an attack"),
        ("Who", plain_name(key.actor, 300) if of_actor else ""),
        ("Done", f"{done}{kept}"),
        ("To do", f"{first} now, and do not wait for the summary"),
        (_RUNBOOK, "docs/how-to/runbook.md, Too many alerts"),
        ("Account", key.account),
    ]
    return _written(f"Rolewarden: {who} caused too many alerts in account {key.account}", rows)


def summary(
    repeated: Sequence[tuple[str, int]],
    left_out: Sequence[tuple[str, int]],
    unverified: int = 0,
    examples: Sequence[tuple[str, str]] = (),
) -> Alert:
    """The alert that says how often alerts were repeated, and how many were left out.

    - `repeated`: the headline of each alert that was sent once, and the number of further ones like it.
    - `left_out`: each caller or account that caused too many different alerts, and the number of alerts left out.
    - `unverified`: the number of alerts whose calls CloudTrail does not show.
    - `examples`: the headlines of some of them, each with the ID of the call.
    """
    total = sum(number for _, number in (*repeated, *left_out)) + unverified
    rows: list[Row] = [("What", f"{total} further alerts within an hour were not sent one by one")]
    rows += [
        ("Repeated", f"{_times(number)} more: {plain_text(headline, 128)}")
        for headline, number in repeated[:SUMMARY_ROWS]
    ]
    rows += [("Left out", f"{number} alerts about {plain_name(who, 128)}") for who, number in left_out[:SUMMARY_ROWS]]
    if unverified:
        text = f"CloudTrail's event history did not show the calls of {unverified} alerts: a caller may have forged "
        rows.append(("Unverified", f"{text}their records, so do not act on the named callers"))
    rows += [
        ("Unverified", f"{plain_text(headline, 128)}, event {matched(_EVENT_ID, event_id) or 'without an ID'}")
        for headline, event_id in examples[:SUMMARY_ROWS]
    ]
    rows += [
        ("Done", "counted these alerts"),
        (
            "To do",
            "look up the calls in CloudTrail, and stop their caller if they are not intended"
            + (_FIND_INVOKERS if unverified else ""),
        ),
        (_RUNBOOK, "docs/how-to/runbook.md, Too many alerts"),
    ]
    return _written(f"Rolewarden: {total} further alerts within an hour", rows)


@dataclass(frozen=True)
class _Console:
    partition: str
    account: str
    region: str

    @property
    def name(self) -> str:
        return ", ".join(filter(None, (self.account, self.region)))

    def console(self, page: str, fragment: str) -> Iterator[Row]:
        """A page of the console, if the partition's console is known."""
        if self.partition in CONSOLES and self.region:
            host = CONSOLES[self.partition]
            yield "Console", Link(f"https://{host}/{page}/home?region={self.region}#/{fragment}")

    def links_to_role(self, role: str) -> Iterator[Row]:
        """The role in the console, and the command that lists its attached policies."""
        if ROLE_NAME.fullmatch(role) and is_plain(role):
            yield from self.console("iam", f"roles/details/{quote(role, safe='')}")
            yield "Command", Link(f"aws iam list-attached-role-policies --role-name {role}")

    def links_to_policy(self, policy: str, *, was_deleted: bool) -> Iterator[Row]:
        """A guardrail's policy in the console, and the commands that show it.

        An edited policy still has the version with the edit, until IAM has five newer ones. IAM deletes the versions of
        a deleted policy with it, so the command then lists the roles that have the new policy attached.
        """
        if POLICY_NAME.fullmatch(policy) and is_plain(policy) and self.account:
            arn = policy_arn(policy, self.partition, self.account)
            yield from self.console("iam", f"policies/details/{quote(arn, safe='')}")
            if was_deleted:
                yield "Command", Link(f"aws iam list-entities-for-policy --policy-arn {arn}")
            else:
                yield "Versions", Link(f"aws iam list-policy-versions --policy-arn {arn}")
                yield "Command", Link(f"aws iam get-policy-version --policy-arn {arn} --version-id VERSION")

    def links_to_event(self, event_id: str) -> Iterator[Row]:
        """The call in CloudTrail's event history."""
        if _EVENT_ID.fullmatch(event_id):
            yield from self.console("cloudtrailv2", f"events/{event_id}")
            attribute = f"AttributeKey=EventId,AttributeValue={event_id}"
            region = f" --region {self.region}" if self.region else ""
            yield "Command", Link(f"aws cloudtrail lookup-events{region} --lookup-attributes {attribute}")


_Parts = tuple[str, list[Row]]
"""The headline of an alert, and its rows of a label and a text."""


def _role_finding(detail: Mapping[str, Any], place: _Console) -> _Parts:
    role, reason = plain_name(detail.get("role"), 64), plain_text(detail.get("reason"), 64)
    missing = _names(detail.get("missing"), without=detail.get("attached"))
    rows = [
        (
            "What",
            f"role {role} lacks {missing or 'a guardrail'}, and Rolewarden cannot protect it: "
            "until you act, its users may reach models that the missing guardrail denies",
        ),
        *_used_by(detail),
        *_caused(detail),
        ("Done", f"{_done(detail) or 'changed nothing'} ({reason})"),
        *_left_to_do(detail, place, role),
    ]
    return f"role {role} cannot be protected: {reason}", rows


def _subject_finding(detail: Mapping[str, Any], place: _Console) -> _Parts:
    domain, profile = plain_name(detail.get("domain"), 64), plain_name(detail.get("user_profile"), 64)
    role, reason = plain_name(detail.get("role"), 64), plain_text(detail.get("reason"), 64)
    missing = _names(detail.get("missing"))
    who = f"user profile {domain}/{profile}" if profile else f"domain {domain}" if domain else f"role {role}"
    if policy := plain_name(detail.get("policy"), 128):
        who = f"guardrail {policy}"
    elif domain == "*":
        # A sweep writes this if AWS refuses to list the domains of a region, or their tags.
        who = "the domains of a region"
    if missing:
        what = f"{who} needs {missing}, but uses its domain's role, which has only the guardrails of the domain"
        done = "nothing: the role keeps the guardrails of its domain"
    else:
        what = f"AWS refused a call that Rolewarden needs to evaluate {who}"
        done = "nothing: Rolewarden continues with its earlier data"
    rows = [
        ("What", what),
        ("Role", role),
        *_caused(detail),
        ("Done", f"{done} ({reason})"),
        *_left_to_do(detail, place, role),
    ]
    return f"{who} cannot be {'protected' if missing else 'evaluated'}: {reason}", rows


def _account_finding(detail: Mapping[str, Any], place: _Console) -> _Parts:
    reason = plain_text(detail.get("reason"), 64)
    what = f"AWS refused a call that Rolewarden needs to cover account {place.account}: roles may be unprotected"
    done = "nothing: Rolewarden continues with the data that AWS lets it read"
    if reason == Reason.LEFT:
        what = f"Rolewarden no longer covers account {place.account}: its roles may be unprotected"
        done = "nothing: its guardrails stay attached, but Rolewarden does not restore one that a caller removes"
    elif reason == Reason.UNHEARD:
        what = f"events of account {place.account} may not arrive: only a sweep detects changes to its roles"
        done = "swept the account as usual; Rolewarden cannot repair the path of the events"
    elif reason == Reason.OUTSIDE:
        what = f"account {place.account} has SageMaker domains in a region that Rolewarden does not cover"
        done = "nothing: Rolewarden covers the regions of its parameter Regions only"
    elif reason == Reason.NOT_PREVENTED:
        what = f"service control policies do not deny models in account {place.account} as guardrails.yaml says"
        done = "nothing: Rolewarden attaches its policies to roles as before, and changes no service control policy"
    elif reason == Reason.NOT_DELEGATED:
        what = "StackSets does not list the member accounts for Rolewarden: their roles may be unprotected"
        done = "swept the central account only"
    elif reason == Reason.UNSIGNED:
        what = f"a caller used the credentials of a function of Rolewarden in account {place.account}"
        done = "nothing: a sweep attaches missing guardrails in enforce mode again, and does not undo other changes"
    elif reason == Reason.FORGED:
        what = "a caller invoked a function of Rolewarden with a request that CloudFormation did not send"
        done = "refused the request; it removed no guardrail"
    elif reason in _EXEMPTIONS:
        what, done = _EXEMPTIONS[reason]
    rows = [
        ("What", what),
        *_caused(detail),
        ("Done", done),
        ("Why", plain_text(detail.get("message"), 400)),
        ("To do", _recommended(detail)),
        (_RUNBOOK, "docs/how-to/runbook.md, Account Finding"),
    ]
    return f"account {place.account}: {reason}", rows


_EXEMPTIONS: dict[str, tuple[str, str]] = {
    Reason.EXEMPT_ABSENT: (
        "guardrails.yaml exempts a role that does not exist: a role of that name may not be the one that you exempted",
        "nothing: a role that a caller creates now is not exempt before the next deployment",
    ),
    Reason.EXEMPT_NEWER: (
        "a caller created an exempt role after the last deployment: it may not be the role that you exempted",
        "ended the exemption until the next deployment: the role gets the guardrails that its users need",
    ),
    Reason.EXEMPT_OTHER: (
        "the exempt role is not the role whose ID guardrails.yaml has",
        "ended the exemption: the role gets the guardrails that its users need",
    ),
    Reason.EXEMPT_REPLACED: (
        "a deployment confirmed the exemption of a role that is not the one that was exempt before",
        "nothing: the role is exempt",
    ),
    Reason.EXEMPT_BEYOND: (
        "a domain or user profile uses an exempt role that is not exempt for it",
        "ended the exemption: the role gets its guardrails, for all its users",
    ),
    Reason.EXEMPT_GAINED: (
        "a domain or user profile that uses an exempt role has changed: it may use the role only since then",
        "nothing: the role stays exempt, and its new user has no guardrails",
    ),
    Reason.EXEMPT_TRUST: (
        "a caller changed the trust policy of an exempt role: other callers may be able to assume it",
        "nothing: the role stays exempt",
    ),
}
"""The text of an alert about a doubt of an exemption, and the reaction of Rolewarden, by the reason."""


def _recommended(detail: Mapping[str, Any]) -> str:
    """The recommended action for the reason of a finding. Any other text could come from whoever forged an event."""
    reason = detail.get("reason")
    known = RECOMMENDATIONS.get(reason, "") if isinstance(reason, str) else ""
    return known or "run `rolewarden history`, which has the whole finding"


def _left_to_do(detail: Mapping[str, Any], place: _Console, role: str) -> Iterator[Row]:
    """The error message, the recommended action and the links of an unenforceable finding."""
    yield "Why", plain_text(detail.get("message"), 400)
    yield "To do", _recommended(detail)
    yield from place.links_to_role(role)
    yield _RUNBOOK, "docs/how-to/runbook.md, UnenforceableAlarm"


def _policy_restored(detail: Mapping[str, Any], place: _Console, *, observes: bool = False) -> _Parts:
    unless = ", unless its guardrail is in observe mode" if observes else ""
    policy, remediation = plain_name(detail.get("policy"), 128), plain_text(detail.get("remediation"), 32)
    was = {CREATED: "deleted", REPLACED: "edited", UNDONE: "changed"}.get(remediation, "tampered with")
    done = {
        CREATED: f"created the policy again; the next sweep attaches it to every role that needs it{unless}",
        REPLACED: "restored the default version of the policy to the text of guardrails.yaml",
        UNDONE: "nothing: the policy had the text of guardrails.yaml again when Rolewarden read it",
    }.get(remediation, "restored the policy")
    rows = [
        ("What", f"a caller {was} the policy of guardrail {policy}: roles that need it may have been unprotected"),
        *_caused(detail),
        ("Done", done),
        (
            "To do",
            "ask the caller why; deny writing policies under /rolewarden/ with the policy that `rolewarden scp` prints",
        ),
        *place.links_to_policy(policy, was_deleted=remediation == CREATED),
        (_RUNBOOK, "docs/how-to/runbook.md, Policy Restored"),
    ]
    return f"guardrail {policy} was {was} and is restored", rows


def _role_contested(detail: Mapping[str, Any], place: _Console) -> _Parts:
    role, since = plain_name(detail.get("role"), 64), moment(detail.get("since"))
    times = _times(detail.get("remediations")) or "again and again"
    rows: list[Row] = [
        ("What", f"a caller removes the guardrails from role {role}; Rolewarden restored them {times} since {since}"),
        *_used_by(detail),
    ]
    actors = detail.get("actors")
    for listed in (actors if isinstance(actors, list) else [])[:5]:
        caller = Cause.from_dict(listed)
        who = filter(None, (_caller(caller) or "not known", _times(mapping(listed).get("times"))))
        rows += [("Who", ", ".join(who)), ("From", _from(caller))]
    last = Cause.from_dict(detail.get("cause"))
    rows += [
        ("Last call", " at ".join(filter(None, (_called(last), moment(last.time))))),
        ("Done", f"{_done(detail) or 'attached the missing policies'} each time, and continues to do so"),
        ("To do", "find the tool or person that removes the guardrails (often an infrastructure tool that manages the "
                  "role), and make it ignore policies under /rolewarden/, or exempt the role in guardrails.yaml"),
        *place.links_to_role(role),
        (_RUNBOOK, "docs/how-to/runbook.md, ContestedAlarm"),
    ]  # fmt: skip
    return f"role {role} is contested: restored {times}", rows


def _change(detail: Mapping[str, Any], place: _Console, *, queues: Mapping[str, str]) -> _Parts:
    """The alert about a call on a part of Rolewarden, or on a trail."""
    cause = cause_of(detail)
    # CloudTrail adds the date of the API to Lambda's event names, for example DeleteFunction20150331.
    call = plain_name(re.sub(r"[0-9]{8}(v[0-9]+)?$", "", cause.event_name), 128)
    service = str(detail.get("eventSource")).partition(".")[0]
    noun, meaning, recommendation = _PARTS.get(service, ("part", "a part of Rolewarden changes", _RESTORE))
    kind, name = _mapping(detail, queues) or _touched(detail, noun)
    touched = f"{kind} {name}".strip() or noun
    if _FORWARDERS.fullmatch(name):
        meaning, recommendation = _UNDETECTED, _FORWARD_AGAIN
    refused = plain_text(detail.get("errorCode"), 64)
    rows = [
        ("What", f"{call} on {touched}: {'a failed attempt' if refused else meaning}"),
        *_caused({"cause": cause.as_dict()}),
        (
            "Done",
            f"nothing: AWS refused the call ({refused})" if refused else "nothing: Rolewarden cannot repair itself",
        ),
        ("To do", "ask the caller why" if refused else f"if this change is not intended, {recommendation}"),
        *place.links_to_event(cause.event_id),
        (_RUNBOOK, "docs/how-to/runbook.md, Changes to Rolewarden itself"),
    ]
    did = "tried" if refused else "called"
    who = _short(plain_name(cause.actor, 300)) if _ACTOR.fullmatch(cause.actor) else "a caller"
    who = f"user {who}" if _USER_ID.fullmatch(cause.actor) else who
    return f"{who} {did} {call} on {touched}", rows


def _unreadable(envelope: Mapping[str, Any]) -> _Parts:
    rows: list[Row] = [
        ("What", "AlertFunction received an event that it cannot read"),
        ("Source", plain_text(envelope.get("source"), 64)),
        ("Kind", plain_text(envelope.get("detail-type"), 128)),
        ("Id", plain_text(envelope.get("id"), 64)),
        ("When", moment(envelope.get("time"))),
        ("Done", "nothing"),
        ("To do", "search the logs of Rolewarden's functions and CloudTrail for the ID"),
        (_RUNBOOK, "docs/how-to/runbook.md, An event that cannot be read"),
    ]
    return "an event that cannot be read", rows


_FINDINGS: dict[str, Callable[[Mapping[str, Any], _Console], _Parts]] = {
    RoleFinding.detail_type: _role_finding,
    SubjectFinding.detail_type: _subject_finding,
    AccountFinding.detail_type: _account_finding,
    PolicyRestored.detail_type: _policy_restored,
    RoleContested.detail_type: _role_contested,
}

_FIND_INVOKERS = (
    "; for unverified calls, find the callers with permission to invoke the functions, in CloudTrail's data events or "
    "in IAM"
)
_RESTORE = "restore the stack (docs/how-to/runbook.md, Restore the stack), then run `rolewarden sweep`"
_FORWARD_AGAIN = "run `rolewarden doctor`, which names the missing part and the recommended action"
_FORWARDERS = re.compile(rf"{FORWARD}.+|{UNDELIVERED}|StackSet-.+|{'|'.join(sorted(MEMBER_ROLES))}", re.IGNORECASE)
"""Matches the names of the resources that forwarder.yaml creates, and of its stacks."""
_UNDETECTED = "Rolewarden may miss changes to roles, or fail to remediate them, from now on"
_PARTS = {
    "lambda": ("function", _UNDETECTED, _RESTORE),
    "iam": ("role", "a function may lack a permission that it needs, or have one that it must not have", _RESTORE),
    "dynamodb": ("table", "bindings or history may be lost", _RESTORE),
    "sqs": ("queue", "messages about roles to evaluate may be lost", _RESTORE),
    "logs": ("log group", "log entries of the functions may be lost", _RESTORE),
    "sns": ("topic", "alarms and alerts may get lost", "check the subscriptions with `aws sns "
            "list-subscriptions-by-topic --topic-arn TOPIC`, and the data protection policy, which the stack does not "
            f"set, with `aws sns get-data-protection-policy --resource-arn TOPIC`; {_RESTORE}"),
    "kms": ("key", "without the key, Rolewarden cannot read its encrypted data",
            "run `aws kms cancel-key-deletion --key-id KEY` and `aws kms enable-key --key-id KEY` at once, "
            f"then {_RESTORE}; a key of your own needs the policy in docs/how-to/kms-key.md"),
    "events": ("rule", _UNDETECTED, _RESTORE),
    "monitoring": ("alarm", "the next failure may trigger no alarm", _RESTORE),
    "cloudtrail": ("trail", "without a trail that logs, only the sweep detects a change to a role",
                   "run `aws cloudtrail start-logging --name TRAIL`, and see the events that it logs with "
                   "`aws cloudtrail get-event-selectors --trail-name TRAIL`"),
    "cloudformation": ("stack", "a caller deploys, changes or deletes Rolewarden itself", "stop the "
                       "operation, then deploy the stack as you want it"),
}  # fmt: skip
"""For each service: the kind of Rolewarden's resource, the impact of a change to it, and the recommended action."""

_PARAMETERS = {
    # This is before functionName, because the queue says more about the change than the function that receives from it.
    "eventSourceArn": "queue",
    "functionName": "function",
    "layerName": "layer",
    "roleName": "role",
    "tableName": "table",
    "globalTableName": "table",
    # The kind of resource that the service has.
    "resourceArn": "",
    "queueUrl": "queue",
    "sourceArn": "queue",
    "logGroupName": "log group",
    "logGroupIdentifier": "log group",
    "resourceIdentifier": "log group",
    "subscriptionArn": "subscription",
    "topicArn": "topic",
    "keyId": "key",
    "rule": "rule",
    "alarmName": "alarm",
    "alarmNames": "alarm",
    "stackName": "stack",
    "stackIds": "stack",
    "stackSetName": "StackSet",
    "trailName": "trail",
    "name": "",
    # This is after rule and name, because the record of a call on a rule also has the rule's bus.
    "eventBusName": "event bus",
}
"""Request parameters that name the changed resource, each with the kind of resource, in the order of their use.

`name` can belong to a rule, a bus or a trail, so it has no kind.
"""


def _mapping(detail: Mapping[str, Any], queues: Mapping[str, str]) -> tuple[str, str] | None:
    """The queue and the ID of the event source mapping that a call changes, or None.

    CloudTrail writes the ID as uUID. A failed attempt has no response with the queue.
    """
    parameters = mapping(detail.get("requestParameters"))
    named = parameters.get("uUID") or parameters.get("uuid")
    if not (source := matched(_EVENT_ID, named) or plain_name(named, 64)):
        return None
    answered = _short(plain_name(mapping(detail.get("responseElements")).get("eventSourceArn"), 256))
    queue = answered or queues.get(source.lower(), "")
    return ("queue", f"{queue}, mapping {source}") if queue else ("event source mapping", source)


def _touched(detail: Mapping[str, Any], noun: str) -> tuple[str, str]:
    """The kind and the name or names of the resource that a call changes. Both are empty if the call has no name.

    `noun` is the kind of resource that the service has.
    """
    parameters = mapping(detail.get("requestParameters"))
    table = mapping(mapping(detail.get("responseElements")).get("tableDescription"))
    muted = mapping(parameters.get("muteTargets"))
    for name, usual in _PARAMETERS.items():
        kind = noun if name == "resourceArn" else usual
        value = parameters.get(name) or muted.get(name) or (table.get(name) if name == "tableName" else None)
        if isinstance(value, list):
            found = _names(value)
        elif name == "queueUrl":
            found = plain_name(value, 256).rsplit("/", 1)[-1]
        else:
            found = _short(plain_name(value, 256))
            # The alert already has the kind, which the resource part of an ARN would repeat.
            of_kind = kind.replace(" ", "-")
            found = found.removeprefix(f"{of_kind}/").removeprefix(f"{of_kind}:")
        if found:
            return kind, found
    return "", ""


def _used_by(detail: Mapping[str, Any]) -> Iterator[Row]:
    if subjects := _names(detail.get("subjects"), more=_count(detail.get("more_subjects"))):
        yield "Used by", subjects


def _done(detail: Mapping[str, Any]) -> str:
    if detail.get("remediation") == "bounded":
        return "set the fallback boundary with the same denies"
    attached = _names(detail.get("attached"))
    return f"attached {attached}" if attached else ""


def _caused(detail: Mapping[str, Any]) -> Iterator[Row]:
    cause = Cause.from_dict(detail.get("cause"))
    found = {SWEEP.cause: "a sweep", SCHEDULED_CHECK.cause: "a scheduled check"}.get(cause)
    if found:
        yield "Who", f"not known: {found} found it, and not an event"
        return
    doubt = f" (not verified: only a {QUEUE_MESSAGE} says so)" if cause.unverified else ""
    yield "Who", f"{_caller(cause)}{doubt}" if cause.actor else "not known"
    yield "Call", " at ".join(filter(None, (_called(cause), moment(cause.time))))
    yield "From", _from(cause)


def _caller(cause: Cause) -> str:
    """The caller in words, with the person behind a shared role."""
    actor, person = plain_name(cause.actor, 300), plain_name(cause.person, 128)
    if _USER_ID.fullmatch(cause.actor):
        actor = f"Identity Center user {actor}"
    return f"{actor} for {person}" if actor and person else actor


def _called(cause: Cause) -> str:
    return cause.event_name if _CALL.fullmatch(cause.event_name) else plain_name(cause.event_name, 128)


def _from(cause: Cause) -> str:
    return ", ".join(filter(None, (plain_name(cause.source_address, 128), user_agent(cause.user_agent, 200))))


def _short(name: str) -> str:
    """The part of an ARN after the account, because a subject is short. Other names stay as they are."""
    return name.split(":", 5)[-1] if name.startswith("arn:") else name


def _written(headline: str, rows: list[Row]) -> Alert:
    headline = visible(headline)
    # SNS rejects a subject with a character that is not ASCII. EventBridge Pipes puts the subject between quotation
    # marks of JSON, see docs/how-to/alerts.md, and may not escape it.
    subject = headline.encode("ascii", "replace").decode().translate(_QUOTES)
    if len(subject) > SUBJECT_SIZE:
        subject = subject[: SUBJECT_SIZE - 3].rstrip() + "..."
    shown = ((label, Link(visible(text.text)) if isinstance(text, Link) else visible(text)) for label, text in rows)
    return Alert(subject, headline, tuple(row for row in shown if row[1]))


def _folded(text: str, *, first: str = "", indent: str = "") -> list[str]:
    """`text` in lines of COLUMNS characters. A command between backticks, and a word with hyphens, stays whole."""
    joined = _COMMAND.sub(lambda command: command[0].replace(" ", _GLUE), text)
    lines = textwrap.wrap(joined, COLUMNS, initial_indent=first, subsequent_indent=indent, break_on_hyphens=False)
    return [line.replace(_GLUE, " ") for line in lines]


def _names(value: Any, *, without: Any = None, more: int = 0) -> str:
    """Up to ten names of a list, and the number of the others. `more` is added to that number."""
    left = without if isinstance(without, list) else []
    found = [item for item in value if item not in left] if isinstance(value, list) else []
    more += max(0, len(found) - 10)
    return ", ".join(filter(None, (_listed(item) for item in found[:10]))) + (f" and {more} more" if more else "")


def _listed(value: Any) -> str:
    text = plain_text(value, 64)
    return text if _SUBJECT.fullmatch(text) else plain_name(value, 64)


def _count(value: Any) -> int:
    return value if isinstance(value, int) and not isinstance(value, bool) and 0 < value < 1_000_000 else 0


def _times(value: Any) -> str:
    count = _count(value)
    return "" if not count else "once" if count == 1 else f"{count} times"
