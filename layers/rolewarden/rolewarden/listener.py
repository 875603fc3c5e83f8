"""EnforceFunction hears a drill: it measures when, and it attaches the canary's policy again after a full drill.

The event of a drill travels the path of every other event, and the policy is attached with the rights that attach
guardrails. A detachment of the canary's policy that is no drill is a finding, because a caller who can do that can do
the same to a guardrail. See `rolewarden.drill` for what a drill is.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from rolewarden import POLICY_PATH
from rolewarden.calls import RestoresCanary
from rolewarden.canary import CANARY_POLICY, CANARY_ROLE, DrillCall, DrillKind
from rolewarden.clock import Clock
from rolewarden.drill import Drill, Drills, Heard
from rolewarden.errors import Refused
from rolewarden.events import Arrival, EvaluationRequest
from rolewarden.names import folded_arn
from rolewarden.origin import Cause, Origin
from rolewarden.own_events import CanaryRestored, DrillMeasured
from rolewarden.record import Recorder, logger
from rolewarden.reported import ReportedKind
from rolewarden.verdicts import Reason

MEMBER_DRILL_ROLE = "rolewarden-drill"
"""The name of the role in a member account with which DrillFunction makes its calls there."""


@dataclass
class Listener:
    """Hears drills.

    - `account`, `drill_role`: the stack's own account, and the name of DrillFunction's role in it.
    - `partition`: the partition of the stack.
    """

    aws: RestoresCanary
    drills: Drills
    recorder: Recorder
    clock: Clock
    account: str
    drill_role: str
    partition: str

    def hear(self, request: EvaluationRequest, call: DrillCall, arrival: Arrival, *, is_used: bool) -> dict[str, Any]:
        """Handle a `call` on the canary. `is_used` says that a subject uses the canary role. Raises RetryLater.

        Gives the nonce of the drill that was heard. If the call is no drill, the result says so.
        """
        drill, heard = self._drill(request.account, call)
        if drill is None or (heard and heard.event_id != call.event_id):
            return self._handle_stranger(request, call, is_used=is_used)
        if heard and not heard.refused:
            return {"nonce": drill.nonce, "heard": "before"}
        correlation_id, refused = "", ""
        if drill.kind is DrillKind.FULL:
            correlation_id = request.origin.new_correlation_id()
            try:
                self._attach(request.account, correlation_id, is_used=is_used)
            except Refused as error:
                refused = str(error)
                if error.reason is Reason.CANARY:
                    self._report(request, error)
        now = self.clock.now()
        restored = now - arrival.started if drill.kind is DrillKind.FULL and not refused else None
        delivery = None if arrival.ingested is None else max(0.0, arrival.ingested - drill.at)
        start = None if arrival.ingested is None else max(0.0, arrival.started - max(drill.at, arrival.ingested))
        seconds = max(0.0, arrival.started - drill.at)
        found = Heard(call.event_id, seconds, delivery, start, restored, refused)
        self.drills.put_heard(drill, found, now)
        measured = _measured(drill, found, request.origin.cause, correlation_id)
        self.recorder.record_drill(measured, counted=drill.counted)
        return {"nonce": drill.nonce, "heard": "now", **({"refused": refused} if refused else {})}

    def restore_missing(self, account: str, origin: Origin, *, is_used: bool) -> None:
        """Attach the canary's policy if it is missing, because a sweep found that. Raises RetryLater."""
        if self._is_attached(account):
            return
        if why := self.restore(account, origin, is_used=is_used):
            logger.error("the canary cannot be restored", extra={"account": account, "why": why})

    def restore(self, account: str, origin: Origin, *, is_used: bool) -> str:
        """Attach the canary's policy without a drill. Gives why it is refused, or an empty text. Raises RetryLater."""
        correlation_id = origin.new_correlation_id()
        try:
            self._attach(account, correlation_id, is_used=is_used)
        except Refused as refused:
            return str(refused)
        event = CanaryRestored(
            account=account,
            role=CANARY_ROLE,
            attached=(CANARY_POLICY,),
            correlation_id=correlation_id,
            cause=origin.cause,
        )
        self.recorder.record_canary(event)
        return ""

    def _is_attached(self, account: str) -> bool:
        """Whether the canary has its policy, or cannot be read. Raises RetryLater."""
        try:
            attached = self.aws.within(account).attached_policies(CANARY_ROLE)
        except Refused as refused:
            logger.error("the canary cannot be read", extra={"account": account, "why": str(refused)})
            return True
        return folded_arn(self._policy(account)) in map(folded_arn, attached)

    def _drill(self, account: str, call: DrillCall) -> tuple[Drill | None, Heard | None]:
        """The drill that made a call, and what was heard of it before; None if no drill made it."""
        if not call.nonce or call.principal != self._driller(account):
            return None, None
        drill, heard = self.drills.find(account, call.nonce)
        return (drill, heard) if drill and drill.kind is call.kind else (None, None)

    def _driller(self, account: str) -> str:
        """The ARN, without the name of its session, with which DrillFunction makes its calls in an account."""
        name = self.drill_role if account == self.account else MEMBER_DRILL_ROLE
        return f"arn:{self.partition}:sts::{account}:assumed-role/{name}"

    def _handle_stranger(self, request: EvaluationRequest, call: DrillCall, *, is_used: bool) -> dict[str, Any]:
        """Handle a call on the canary that is no drill: report a detachment, and attach the policy again."""
        if call.kind is not DrillKind.FULL:
            return {"heard": "no drill"}
        actor = call.principal or "an unknown caller"
        message = f"canary: {actor} detached {CANARY_POLICY} from the role {CANARY_ROLE}, and no drill did that"
        self._report(request, Refused(Reason.CANARY, message))
        # A caller can forge such a call again and again. Each write would take from the rate at which IAM accepts the
        # attachments of guardrails. If the list is stale, the next sweep restores the canary.
        if self._is_attached(request.account):
            return {"heard": "no drill"}
        refused = self.restore(request.account, request.origin, is_used=is_used)
        return {"heard": "no drill", **({"refused": refused} if refused else {})}

    def _report(self, request: EvaluationRequest, refused: Refused) -> None:
        self.recorder.record_account_finding(request.account, refused, request.origin, ReportedKind.CANARY)

    def _attach(self, account: str, correlation_id: str, *, is_used: bool) -> None:
        """Attach the canary's policy to the canary role, if the role is as the template creates it. Raises Refused.

        IAM may still list the policy just after its detachment, so no list is read.
        """
        aws = self.aws.within(account)
        if is_used:
            raise Refused(Reason.CANARY, f"canary: a domain or user profile uses the role {CANARY_ROLE}")
        if not aws.role(CANARY_ROLE).is_closed:
            raise Refused(Reason.CANARY, f"canary: the trust policy of the role {CANARY_ROLE} allows callers")
        aws.attach(CANARY_ROLE, self._policy(account), correlation_id=correlation_id)

    def _policy(self, account: str) -> str:
        return f"arn:{self.partition}:iam::{account}:policy{POLICY_PATH}{CANARY_POLICY}"


def _measured(drill: Drill, heard: Heard, cause: Cause, correlation_id: str) -> DrillMeasured:
    is_restored = heard.remediation is not None
    return DrillMeasured(
        account=drill.account,
        cause=cause,
        drill=drill.kind.value,
        region=drill.region,
        nonce=drill.nonce,
        milliseconds=round(heard.seconds * 1000),
        delivery_milliseconds=_milliseconds(heard.delivery),
        start_milliseconds=_milliseconds(heard.start),
        remediation_milliseconds=_milliseconds(heard.remediation),
        attached=(CANARY_POLICY,) if is_restored else (),
        correlation_id=correlation_id if is_restored else "",
        message=heard.refused,
    )


def _milliseconds(seconds: float | None) -> int | None:
    return None if seconds is None else round(seconds * 1000)
