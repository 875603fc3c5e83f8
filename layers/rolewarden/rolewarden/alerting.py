"""AlertFunction: decides which events become alerts, and sends them.

Every event can be forged or repeated by a caller, so it is an alert only in these cases:

- an event of Rolewarden, if the history has its row. Each row is one alert at most.
- a CloudTrail record of an account that the stack covers, about a part of Rolewarden or a trail. The event bus accepts
  such an event from CloudTrail only. A call of the own stack is not an alert. The same is true of a call that named
  nothing that exists. A change to a trail is an alert only if the other trails do not log the events that Rolewarden
  needs. The record of the call decides, and not the state of the trail when this function reads it.

`rolewarden.alert_limits` decides which of them are sent, which are counted, and which wait until CloudTrail shows their
call (`rolewarden.held_alerts`).
"""

from __future__ import annotations

import re
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, Self

from aws_lambda_powertools.metrics import MetricUnit

from rolewarden import MEMBER_ROLES, alert
from rolewarden.alert import Alert, AlertKey, compose, key_of
from rolewarden.alert_forms import forms
from rolewarden.alert_limits import KEPT_NOTICE_SECONDS, AlertLimits, alert_digest
from rolewarden.aws import IAM_HOME_REGIONS, Aws
from rolewarden.calls import SendsAlerts
from rolewarden.clock import Clock
from rolewarden.confirm import about_of, confirmed_row
from rolewarden.errors import Refused, RetryLater
from rolewarden.events import ACCOUNT, CLOUDTRAIL, cause_of, mapping, matched
from rolewarden.held_alerts import EVERYWHERE, HeldAlerts
from rolewarden.history import StoredHistory
from rolewarden.names import folded
from rolewarden.origin import Cause
from rolewarden.own_operations import OwnOperations
from rolewarden.progress import RecordedProgress
from rolewarden.reach import FORWARD, FORWARDING_RULES, UNDELIVERED, NamedTrail, narrowed, unlogged
from rolewarden.record import logger, metrics
from rolewarden.settings import AlertSettings

SUMMARY = "summary"
"""The step that sends the numbers of the hours that have ended. A schedule triggers it."""

MEMBERS_SECONDS = 300.0
"""Seconds for which the list of member accounts is used again."""

_NOTHING_THERE = re.compile(r"NoSuch|NotFound|NonExistent|DoesNotExist|Throttl|TooManyRequests|RateExceeded", re.I)
"""Error codes of calls that found no such resource, and of calls that AWS did not look at."""

_TOO_MANY = "too many different alerts"
"""The answer about an alert that a limit leaves out."""

LOOK_SECONDS = 300
"""Seconds between two readings of CloudTrail's event history."""

_LOOK = "read the event history"
"""The key of the row that keeps two readings apart."""

_HELD = "held until CloudTrail shows the call"
"""The answer about an alert that waits for its call."""

_TRAIL_CALLS = frozenset({"DeleteTrail", "PutEventSelectors", "StopLogging", "UpdateTrail"})


@dataclass
class Alerter:
    """Sends alerts to the alarm topic."""

    aws: SendsAlerts
    settings: AlertSettings
    limits: AlertLimits
    held: HeldAlerts
    history: StoredHistory
    members: RecordedProgress
    operations: OwnOperations
    clock: Clock
    _listed: tuple[float, frozenset[str]] = field(default=(float("-inf"), frozenset()))

    @classmethod
    def of(cls, aws: Aws, settings: AlertSettings, operations: OwnOperations) -> Self:
        """Create an Alerter and its parts."""
        clock = Clock()
        return cls(
            aws,
            settings,
            AlertLimits(aws, settings.alerts_table, clock),
            HeldAlerts(
                aws,
                aws,
                settings.alerts_table,
                frozenset({*settings.regions, aws.region, IAM_HOME_REGIONS.get(aws.partition, aws.region)}),
                clock,
            ),
            StoredHistory(aws, settings.history),
            RecordedProgress(aws, settings.bindings_table),
            operations,
            clock,
        )

    def handle(self, event: Any) -> dict[str, Any]:
        """Send the alert of an event if it is one. Raises RetryLater."""
        envelope = mapping(event)
        if envelope.get("step") == SUMMARY:
            return self._send_summary()
        if envelope.get("detail-type") == CLOUDTRAIL:
            return self._handle_record(envelope)
        return self._handle_finding(envelope)

    def _handle_finding(self, event: Mapping[str, Any]) -> dict[str, Any]:
        row = confirmed_row(event, self.settings.account, self.history, self.clock.now())
        if row is None:
            metrics.add_metric("UnconfirmedEvents", MetricUnit.Count, 1)
            return _none("the history has no row of this event")
        notice = f"{row['about']} {row['at']}"
        if not self.limits.claim_notice(notice):
            return _none("this row of the history was reported")
        about = about_of(event.get("detail-type"), mapping(event.get("detail")))
        sent = self._send(event, key_of(event, about))
        # A row whose alert a limit left out can still become one if its event comes again.
        if sent.get("why") != _TOO_MANY:
            self.limits.keep_notice(notice, KEPT_NOTICE_SECONDS)
        return sent

    def _handle_record(self, event: Mapping[str, Any]) -> dict[str, Any]:
        account, record = matched(ACCOUNT, event.get("account")), mapping(event.get("detail"))
        if not str(event.get("source", "")).startswith("aws."):
            return _none("CloudTrail did not send this record")
        if not self._covers(account):
            return _none("the stack does not cover the account")
        if not self._is_part(account, record):
            return _none("the call names no part of Rolewarden")
        if _NOTHING_THERE.search(str(record.get("errorCode") or "")):
            return _none("the call found nothing to change")
        if self.operations.caused(event):
            return _none("an operation of Rolewarden's own stack or StackSets")
        if str(record.get("eventName")) in _TRAIL_CALLS and self._is_still_logged(account, record):
            return _none("other trails log the events that Rolewarden needs")
        return self._send(event, key_of(event))

    def _is_part(self, account: str, record: Mapping[str, Any]) -> bool:
        """Whether a call in another account or region names a part of forwarder.yaml, or any trail.

        The forwarders select events by the beginning of a name. A caller can give a resource of their own such a name.
        The rules for the stack's own account and region name the resources themselves.
        """
        service, parameters = str(record.get("eventSource")).partition(".")[0], mapping(record.get("requestParameters"))
        is_own = account == self.settings.account
        if is_own and (service == "iam" or record.get("awsRegion") == self.aws.region):
            return True
        names = {key: value for key, value in parameters.items() if isinstance(value, str)}
        if service == "iam":
            return folded(names.get("roleName", "")) in self._member_roles
        if service == "events":
            is_default = re.split("[:/]", names.get("eventBusName", "default"))[-1] == "default"
            return is_default and (names.get("rule") or names.get("name")) in FORWARDING_RULES.values()
        if service == "sqs":
            queue = names.get("queueUrl") or names.get("sourceArn", "")
            return re.split("[:/]", queue)[-1] == UNDELIVERED
        if service == "cloudformation":
            return any(self._stacks.fullmatch(stack) for stack in _stacks_in(parameters))
        return service == "cloudtrail"

    @cached_property
    def _member_roles(self) -> frozenset[str]:
        """The names of the roles of forwarder.yaml, folded."""
        regions = {*self.settings.regions, self._home_region}
        return frozenset(map(folded, {*MEMBER_ROLES, *(f"{FORWARD}{region}" for region in regions)}))

    @cached_property
    def _stacks(self) -> re.Pattern[str]:
        """Matches the names and ARNs of the stacks that Rolewarden's StackSets create."""
        names = "|".join(map(re.escape, self.operations.stack_sets)) or "(?!)"
        return re.compile(rf"(arn:[^/]+:stack/)?StackSet-({names})-[0-9a-f-]+(/[0-9a-f-]+)?")

    def _covers(self, account: str) -> bool:
        """Whether the stack covers an account. Raises RetryLater.

        The table may not have an account that has just joined, so StackSets decides on an account that it does not
        have.
        """
        if account == self.settings.account:
            return True
        if not self.settings.member_stack_set:
            return False
        return self.members.is_member(account) or account in self._member_accounts()

    def _member_accounts(self) -> frozenset[str]:
        read, accounts = self._listed
        if time.monotonic() - read < MEMBERS_SECONDS:
            return accounts
        home, settings = self._home_region, self.settings
        try:
            accounts = frozenset(self.aws.stack_set_accounts(settings.member_stack_set, home, settings.call_as))
        except Refused as refused:
            # SweepFunction reports the refusal. The table has every account that a sweep has listed.
            logger.error("the member accounts cannot be listed", extra={"why": str(refused)})
            accounts = frozenset()
        self._listed = time.monotonic(), accounts
        return accounts

    @property
    def _home_region(self) -> str:
        return IAM_HOME_REGIONS.get(self.aws.partition, self.aws.region)

    def _is_still_logged(self, account: str, record: Mapping[str, Any]) -> bool:
        """Whether trails log all events that Rolewarden needs after a change to a trail. False if AWS does not say.

        A trail that a caller has narrowed in the last minutes does not count, even if it logs everything now. Otherwise
        a caller could narrow one trail after another, and restore all of them within seconds. Raises RetryLater.
        """
        if record.get("errorCode") or account != self.settings.account:
            # AWS refused the call, or this function cannot read the trails of the account.
            return bool(record.get("errorCode"))
        parameters = mapping(record.get("requestParameters"))
        trail = str(parameters.get("name") or parameters.get("trailName") or "")
        if narrowed(record, self.settings.regions, self._home_region):
            self.limits.note_narrowed(f"{record.get('awsRegion', '')} {trail}")
        without = [
            NamedTrail(name, region) for region, _, name in (item.partition(" ") for item in self.limits.narrowed())
        ]
        if not trail:
            return False
        try:
            return not unlogged(self.aws, self.settings.regions, self._home_region, without)
        except (Refused, RetryLater) as error:
            logger.error("the trails cannot be read", extra={"why": str(error)})
            return False

    def _send(self, event: Mapping[str, Any], key: AlertKey, *, is_verified: bool = False) -> dict[str, Any]:
        message = compose(event, self.aws.partition, self.settings.queues, banner=self.settings.banner)
        admission = self.limits.admit(key, message.headline, is_verified=is_verified)
        if limit := admission.reached:
            if limit.holds:
                self._keep_until_shown(event, key, message)
            if self.limits.claim_notice(limit.item):
                self._notify(alert.beyond(key, limit.most, of_actor=limit.of_actor, holds=limit.holds))
                self.limits.keep_notice(limit.item)
            return _none(_HELD if limit.holds else _TOO_MANY, message)
        if not admission.is_new:
            return _none("this alert was sent within the hour", message)
        self._notify(message.repeated(admission.repeats))
        self.limits.keep(key)
        return {"alert": message.headline}

    def _keep_until_shown(self, event: Mapping[str, Any], key: AlertKey, message: Alert) -> None:
        """Keep an alert until CloudTrail shows its call. The record of a call is not kept: CloudTrail has it."""
        detail = mapping(event.get("detail"))
        if event.get("detail-type") == CLOUDTRAIL:
            event_id = cause_of(detail).event_id
            self.held.keep(key, str(detail.get("awsRegion")), event_id, message.headline, None)
        else:
            cause = Cause.from_dict(detail.get("cause"))
            self.held.keep(key, EVERYWHERE, cause.event_id, message.headline, event)

    def _send_held(self) -> None:
        """Send the held alerts whose calls CloudTrail has. Raises RetryLater."""
        for one, record in self.held.found():
            account, _, region = one.place.partition(" ")
            of_call = {
                "source": f"aws.{str(record.get('eventSource')).partition('.')[0]}",
                "detail-type": CLOUDTRAIL,
                "account": account,
                "region": region,
                "detail": record,
            }
            event = one.event or of_call
            about = about_of(event.get("detail-type"), mapping(event.get("detail"))) if one.event else ""
            key = key_of(event, about)
            # A forged record can have the ID of another call.
            if alert_digest(key) == one.key and cause_of(record).principal == key.actor:
                self._send(event, key, is_verified=True)
                self.held.forget_sent(one)

    def _send_summary(self) -> dict[str, Any]:
        # CloudTrail answers few look-ups a second, so a caller must not cause one after the other.
        if self.limits.claim_notice(_LOOK):
            try:
                self._send_held()
            except RetryLater as error:
                logger.error("not every held alert could be decided", extra={"why": str(error)})
            self.limits.keep_notice(_LOOK, LOOK_SECONDS)
        late = self.held.late()
        unverified = sum(one.number for one in late)
        counted = self.limits.counted()
        sent = ""
        if unverified:
            metrics.add_metric("UnverifiedAlerts", MetricUnit.Count, unverified)
        if counted.repeated or counted.left_out or unverified:
            examples = [example for one in late for example in one.examples]
            message = alert.summary(counted.repeated, counted.left_out, unverified, examples)
            self._notify(message)
            sent = message.headline
        self.limits.forget(counted)
        self.held.forget_late(late)
        return {"alert": sent}

    def _notify(self, message: Alert) -> None:
        linked = message.linked(self.settings.runbook)
        self.aws.notify(self.settings.topic, linked.headline, forms(linked))
        logger.info("alert", extra={"subject": message.headline})


def _stacks_in(parameters: Mapping[str, Any]) -> Iterator[str]:
    """The names and IDs of stacks in the parameters of a call to CloudFormation."""
    listed = [parameters.get(name) for name in ("stackIds", "stackDefinitions")]
    for found in (parameters.get("stackName"), *(item for each in listed if isinstance(each, list) for item in each)):
        stack = mapping(found).get("stackName", found)
        if isinstance(stack, str):
            yield stack


def _none(why: str, message: Alert | None = None) -> dict[str, Any]:
    logger.info(f"no alert: {why}", extra={"subject": message.headline} if message else {})
    return {"alert": "", "why": why}
