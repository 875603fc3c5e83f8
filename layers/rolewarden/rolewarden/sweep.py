"""The sweep: the full scheduled evaluation of an account, which detects changes that produced no event.

The sweep compares sets, and describes only the subjects that have changed. Each account has its own sweep. The steps
are messages of the sweep queue, so that a step that runs out of time continues from a message and never from the start:

- begin: start the sweep of an account. In a member account, PublishFunction publishes the policies before it sends this
  message, and SweepFunction then assumes its role in the account.
- list: compare the subjects that SageMaker lists in a region with the table, and read the tags and the roles of
  `also_govern`. Only a subject whose LastModifiedTime has changed is described: at once if these are few, otherwise in
  chunks on which several functions work.
- describe: read one chunk of user profiles.
- compare: after the last chunk, find the roles that have each policy (ListEntitiesForPolicy). Send the roles that lack
  a guardrail to the work queue, and surplus guardrails to DetachQueue.
- audit: compare the calls that CloudTrail has recorded since the last audit with the history.
- drills: report the regions in which drills are cut, and restore the canary.
- prevention: if guardrails.yaml names principals, test whether its service control policies are in effect.
- regions: once a day, look for domains in the regions that the stack does not cover. If the rules have exceptions for
  users of a shared role, the comparison of each sweep begins with this look.

A row of the table records the outstanding chunks of a sweep. Two sweeps at the same time have a row each. A binding
replaces only a binding that was read earlier.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import Any, Self, TypeGuard

from rolewarden import __version__, reach
from rolewarden.audit import Auditor
from rolewarden.aws import IAM_HOME_REGIONS, LONGEST_CALL
from rolewarden.bindings import (
    DEFAULT_USER,
    EXECUTION,
    USER_PROFILE,
    Binding,
    BindingsTable,
    RoleKey,
    Tags,
    has_changed,
    retagged,
    shared_profiles,
    tags_by_name,
)
from rolewarden.calls import SweepsAccounts
from rolewarden.canary import CANARY_POLICY, CANARY_ROLE, is_canary, is_of_drills
from rolewarden.clock import Clock
from rolewarden.discovery import Discovery, SubjectReader, SubjectReading, slots
from rolewarden.drill import RecordedDrills
from rolewarden.elsewhere import Elsewhere
from rolewarden.errors import Gone, Refused, RetryLater
from rolewarden.events import ACCOUNT, EvaluationRequest, SubjectKey, mapping, matched
from rolewarden.guardrails import Fallback, Guardrail
from rolewarden.heartbeat import Heartbeat
from rolewarden.in_force import PreventionProbe
from rolewarden.judge import DrillJudge
from rolewarden.links import LinkReader
from rolewarden.listed import ListedDomain
from rolewarden.names import about, folded
from rolewarden.needs import Needs, VerifiedExemption, changed_trust, replaced
from rolewarden.origin import SWEEP, Trigger
from rolewarden.own_parts import OwnParts
from rolewarden.own_rules import OwnRules
from rolewarden.path import EventPath
from rolewarden.policies import DESCRIPTION, is_boundary
from rolewarden.progress import Progress
from rolewarden.record import ACCOUNT_WIDE, PUBLICATION_OF, Recorder, logger
from rolewarden.reported import ReportedFinding, ReportedFindings, ReportedKind
from rolewarden.rotation import Rotation
from rolewarden.runtime import Runtime
from rolewarden.settings import SweepSettings
from rolewarden.sweep_messages import AUDIT, CHUNK, COMPARE, DESCRIBE, LIST, REGIONS, Sweep, chunk_id, chunk_of
from rolewarden.sweep_requests import ALL, REQUESTED, SweepRequests, is_of_bus
from rolewarden.verdicts import Doubt, Reason
from rolewarden.work import BEGIN, DOCTOR, DRILLS, HEARTBEAT, PUBLISH, RULES, Work, body_for, messages_of

ENOUGH = 2 * LONGEST_CALL
"""Seconds that a step leaves unused: for the current call, and for the message that hands over the rest."""

REGIONS_SECONDS = 23 * 3600
"""Seconds between two looks at all regions of an account: less than a day, because sweeps do not begin to the second.
"""

SOME_SURPLUS = 3
"""The number of names of roles, and of policies, that a finished sweep keeps for `rolewarden status`."""


@dataclass
class Queues:
    """The URLs of the queues that the sweep sends messages to.

    - `sweep`: the further steps of the sweep.
    - `work`: roles that lack a guardrail.
    - `detach`: roles with surplus guardrails, and unused policies.
    - `publish`: member accounts, whose policies PublishFunction checks before they are swept.
    """

    sweep: str
    work: str
    detach: str
    publish: str


@dataclass(frozen=True)
class Coverage:
    """The accounts and regions that the stack covers.

    - `account`: the stack's own account.
    - `regions`: the regions that are covered in each account.
    - `stack_set`: the StackSet that covers the member accounts. Empty without an organization.
    - `call_as`: the `CallAs` parameter of calls to StackSets.
    - `central_bus`: the ARN of the event bus for events of other regions and accounts. Empty if no other sends events.
    """

    account: str
    regions: tuple[str, ...]
    stack_set: str = ""
    call_as: str = ""
    central_bus: str = ""


@dataclass
class Sweeper:
    """Sweeps accounts."""

    aws: SweepsAccounts
    bindings: BindingsTable
    progress: Progress
    reported: ReportedFindings
    discovery: Discovery
    needs: Needs
    recorder: Recorder
    auditor: Auditor
    queues: Queues
    coverage: Coverage
    clock: Clock
    heartbeat: Heartbeat
    rotation: Rotation
    requests: SweepRequests
    judge: DrillJudge
    parts: OwnParts
    prevention: PreventionProbe
    elsewhere: Elsewhere

    @classmethod
    def of(cls, runtime: Runtime, settings: SweepSettings) -> Self:
        """Create a Sweeper and its parts."""
        aws, clock = runtime.aws, runtime.clock
        progress = Progress(aws, settings.bindings_table, clock)
        reported = ReportedFindings(aws, settings.bindings_table)
        return cls(
            aws,
            runtime.bindings,
            progress,
            reported,
            Discovery(SubjectReader(aws, runtime.rules, settings.own_roles), runtime.bindings, clock),
            runtime.needs,
            runtime.recorder,
            Auditor(aws, progress, runtime.recorder, settings.own_roles, timedelta(seconds=settings.sweep_seconds)),
            Queues(
                settings.sweep_queue_url,
                settings.work_queue_url,
                settings.detach_queue_url,
                settings.publish_queue_url,
            ),
            Coverage(
                settings.account, settings.regions, settings.member_stack_set, settings.call_as, settings.central_bus
            ),
            clock,
            Heartbeat(progress, runtime.recorder, clock, settings.sweep_seconds),
            Rotation(settings.sweep_seconds),
            SweepRequests(aws, progress, settings.sweep_queue_url, settings.account, clock),
            cls._judge(runtime, settings),
            OwnParts(aws, settings.account, settings.stack_id, settings.central_bus, clock),
            PreventionProbe.of(aws, runtime.rules, settings),
            Elsewhere(aws, progress, reported, runtime.recorder, settings.regions, clock),
        )

    @staticmethod
    def _judge(runtime: Runtime, settings: SweepSettings) -> DrillJudge:
        aws, bindings = runtime.aws, runtime.bindings
        home = IAM_HOME_REGIONS.get(aws.partition, aws.region)
        path = EventPath(
            aws,
            LinkReader(aws),
            reach.CentralStack(settings.account, aws.region, home, settings.central_bus),
            settings.path,
            settings.regions,
            settings.organization_id,
            # SweepFunction reads the whole account, because the index by role is for the functions that attach.
            lambda account: any(
                binding.role == RoleKey(account, CANARY_ROLE)
                for binding in (*bindings.of_account(account), *bindings.of_foreign_subjects(account))
            ),
        )
        drills = RecordedDrills(aws, settings.bindings_table)
        limit = settings.drill_limit_minutes * 60.0
        return DrillJudge(drills, path, runtime.recorder, runtime.clock, limit, settings.sweep_seconds)

    def handle_event(self, event: Any) -> dict[str, Any]:
        """Begin the sweeps that an event of the bus or of the schedule triggers. Raises Refused and RetryLater.

        An event about a restored policy triggers the sweep of its account. Every other event triggers the sweep of all
        accounts, except four steps. HEARTBEAT counts the accounts without a recent sweep. DOCTOR returns the probes of
        all accounts, and DRILLS the states of drills. RULES returns the version of the function and the fingerprint of
        the rules that it runs.
        """
        if mapping(event).get("step") == HEARTBEAT:
            return self._beat()
        if mapping(event).get("step") == RULES:
            return {"rules": self.needs.fingerprint, "version": __version__}
        if mapping(event).get("step") == DOCTOR:
            accounts = [self.coverage.account, *sorted(self.progress.member_accounts())]
            of_scps = self.prevention.probes_of(accounts, lambda: self.clock.seconds_left() >= ENOUGH)
            probes = (*self.probes(), *of_scps, *self.regional_probes())
            return {"probes": [probe.as_dict() for probe in probes]}
        if mapping(event).get("step") == DRILLS:
            account = matched(ACCOUNT, mapping(event).get("account"))
            accounts = [account] if account else [self.coverage.account, *sorted(self.progress.member_accounts())]
            return {"drills": self.judge.show(accounts, self.coverage.regions)}
        detail = mapping(mapping(event).get("detail"))
        account = matched(ACCOUNT, detail.get("account"))
        # The field only widens the sweep to all accounts, so a forged value does no harm.
        deployed = detail.get("trigger") == Trigger.DEPLOYMENT.value
        is_known = account and account in {self.coverage.account, *self.progress.member_accounts()}
        target = account if is_known and not deployed else ALL
        # Every caller with lambda:InvokeFunction can claim to be the schedule, so that is limited, too.
        if is_of_bus(mapping(event)):
            return self._start_requested(target) if self.requests.claim(target) else {"waits": target}
        if not self.requests.claim(target, may_overlap=True):
            return {"waits": target}
        return self.start() if target == ALL else self.begin(target)

    def _start_requested(self, target: str) -> dict[str, Any]:
        """Start a sweep that the event bus requested, and check the own account's policies, as its schedule does."""
        if target != ALL:
            return self.begin(target)
        self.aws.send(self.queues.publish, [{"account": self.coverage.account, "step": PUBLISH}])
        return self.start()

    def start(self) -> dict[str, Any]:
        """Trigger the sweep of every member account, and begin that of the stack's own. Raises as `begin` does."""
        if self.coverage.stack_set:
            self._trigger_members()
        return self.begin(self.coverage.account)

    def _trigger_members(self) -> None:
        """Send a message for each member account, and delete the rows of accounts that are no longer members."""
        try:
            current = self._member_accounts()
        except Refused as refused:
            # The list of accounts is unknown for now. The known accounts stay, and the stack's own is swept.
            self.recorder.record_account_finding(self.coverage.account, refused, SWEEP)
            return
        known = self.progress.member_accounts()
        for former in sorted(known.keys() - current - {self.coverage.account}):
            # StackSets does not say whether the account left the organization or an administrator deleted the stack.
            message = f"ListStackInstances: {self.coverage.stack_set} no longer has a stack in the account"
            self.recorder.record_account_finding(former, Refused(Reason.LEFT, message), SWEEP)
            self.bindings.forget_account(former)
            self.progress.forget_member(former)
        for new in sorted(current - known.keys()):
            self.progress.set_member_swept(new, 0)
        self.aws.send(self.queues.publish, [{"account": account, "step": PUBLISH} for account in sorted(current)])

    def _beat(self) -> dict[str, Any]:
        """Count the accounts that need attention. Raises RetryLater."""
        try:
            members, unlisted = self._member_accounts(), False
        except Refused:
            # `start` reports the refusal as a finding.
            members, unlisted = set(self.progress.member_accounts()), True
        accounts = {self.coverage.account, *members}
        return self.heartbeat.beat(accounts, unlisted=unlisted, cut=self.judge.cut_off(sorted(accounts)))

    def _member_accounts(self) -> set[str]:
        """The member accounts now; empty without an organization. Raises Refused and RetryLater."""
        if not self.coverage.stack_set:
            return set()
        home = self._central.home_region
        accounts = self.aws.stack_set_accounts(self.coverage.stack_set, home, self.coverage.call_as)
        return set(accounts) - {self.coverage.account}

    @property
    def _central(self) -> reach.CentralStack:
        home = IAM_HOME_REGIONS.get(self.aws.partition, self.aws.region)
        return reach.CentralStack(self.coverage.account, self.aws.region, home, self.coverage.central_bus)

    def probes(self, account: str = "") -> Iterator[reach.Probe]:
        """The probes of one account, or of all accounts if `account` is empty.

        The probes of the central account begin with the list of the member accounts. Raises RetryLater.
        """
        members: set[str] = set()
        if self.coverage.stack_set and account in {"", self.coverage.account}:
            try:
                members = self._member_accounts()
                yield reach.Probe(self.coverage.account, "", reach.MEMBERS)
            except Refused as refused:
                yield reach.Probe(self.coverage.account, "", reach.MEMBERS, str(refused), refused.reason)
        rules = self._own_rules() if self.coverage.central_bus else None  # only forwarders are compared with them
        for each in [account] if account else [self.coverage.account, *sorted(members)]:
            if each == self.coverage.account:
                yield from reach.own_probes(self.parts, self._central)
            yield from reach.probes(self.aws, each, self.coverage.regions, self._central, rules)

    def _own_rules(self) -> OwnRules | None:
        """The rules of the templates; None if AWS refuses the list of resources, which is a problem itself."""
        try:
            return self.parts.rules()
        except Refused:
            return None

    def regional_probes(self) -> Iterator[reach.Probe]:
        """Look for domains in the regions that the stack does not cover, in all accounts for which time suffices.

        Raises RetryLater.
        """
        for account in (self.coverage.account, *sorted(self.progress.member_accounts())):
            if self.clock.seconds_left() < ENOUGH:
                message = "time does not suffice to read the regions of all accounts now; a sweep reads them once a day"
                yield reach.Probe(account, "", reach.OUTSIDE, message, is_warning=True)
                return
            yield from reach.regional_probes(self.aws, account, self.coverage.regions)

    def _probe_paths(self, account: str, reported: Iterable[ReportedFinding]) -> tuple[set[str], bool | None]:
        """Report each broken link of the path to the central account.

        Gives the keys of unresolved findings, and whether every link works (None: AWS could not answer).
        """
        unresolved: set[str] = set()
        is_whole: bool | None = True
        try:
            for probe in self.probes(account):
                if probe.message:
                    is_whole = False
                    # At its start, the sweep reported in the same words that it cannot list the member accounts.
                    where = "" if probe.what == reach.MEMBERS else f"{probe.what} in {probe.region}: "
                    refused = Refused(probe.reason, f"{where}{probe.message}")
                    unresolved.add(self.recorder.record_account_finding(account, refused, SWEEP, is_link=bool(where)))
        except RetryLater as error:
            # The next sweep probes again. Until then, the findings that were reported may still be true.
            self.recorder.record_unread(f"paths of {account}", error)
            unresolved.update(finding.about for finding in reported)
            is_whole = None if is_whole else is_whole
        return unresolved, is_whole

    def begin(self, account: str) -> dict[str, Any]:
        """Begin the sweep of an account, and continue as far as time allows. Raises Refused and RetryLater."""
        try:
            self.aws.within(account, afresh=True)
        except Refused as refused:
            self.recorder.record_account_finding(account, refused, SWEEP)
            return {"account": account, "refused": str(refused)}
        sweep = Sweep(account, self.clock.now())
        if unfinished := self.progress.unfinished(account, sweep.began):
            # Its comparison may never come, because a message was lost or a caller changed the row.
            self.aws.send(self.queues.sweep, [Sweep(account, float(unfinished)).message(COMPARE)])
        self.progress.begin(sweep.row, sweep.began, self.needs.fingerprint)
        if len(self.coverage.regions) == 1:
            return self.list_subjects(sweep, self.coverage.regions[0])
        # Each region is a chunk, like a chunk of user profiles. The function that ends the last chunk compares.
        self.progress.add_chunks(sweep.row, set(self.coverage.regions))
        self.progress.end_listing(sweep.row)
        messages = [sweep.message(LIST, region=region) for region in self.coverage.regions]
        self.aws.send(self.queues.sweep, messages)
        return {"account": account, "regions": list(self.coverage.regions)}

    def handle_message(self, body: Any) -> dict[str, Any]:
        """Continue a sweep from one of its messages. Raises Refused and RetryLater.

        A message of another shape is logged as an error and dropped.
        """
        fields = mapping(body)
        sweep = Sweep.of(fields) if self._covers(fields.get("account")) else None
        step, after = fields.get("step"), str(fields.get("after", ""))
        region = fields.get("region") if fields.get("region") in self.coverage.regions else ""
        target = fields.get("target")
        if step == REQUESTED and (target == ALL or self._covers(target)):
            is_next = self.requests.claim(target, has_waited=True)
            return self._start_requested(target) if is_next else {"waits": target}
        if step == BEGIN and self._covers(account := fields.get("account")):
            return self.begin(account) if self.requests.claim(account, may_overlap=True) else {"waits": account}
        if sweep and step == DESCRIBE and region and (chunk := chunk_of(fields)):
            return self.describe(sweep, region, *chunk)
        if sweep and step == AUDIT:
            return self.audit(sweep)
        if sweep and step == DRILLS:
            return self.judge_drills(sweep)
        if sweep and step == reach.PREVENTION:
            return self.test_prevention(sweep)
        if sweep and step == REGIONS:
            return self.elsewhere.look(sweep.account)
        if sweep and step == COMPARE:
            return self.compare(sweep, after)
        if sweep and step == LIST and region:
            return self.list_subjects(sweep, region, after)
        logger.error("message of the sweep queue dropped: not a step of a sweep", extra={"body": str(body)[:200]})
        return {"ignored": "no sweep message"}

    def _covers(self, account: object) -> TypeGuard[str]:
        """Whether the stack covers the account that a message names. Raises RetryLater.

        A sweep of another account could bind roles of this one to that account's subjects.
        """
        if not isinstance(account, str) or not matched(ACCOUNT, account):
            return False
        return account == self.coverage.account or self.progress.is_member(account)

    def list_subjects(self, sweep: Sweep, region: str, after: str = "") -> dict[str, Any]:
        """Bind the subjects of a region, and compare if no chunk is outstanding.

        `after` is the ID of the last domain that was bound before time ran out; empty at the start.
        """
        reached = self.bind(sweep, region, after)
        if reached is not None:
            self.aws.send(self.queues.sweep, [sweep.message(LIST, region=region, after=reached)])
            return {"listed": reached}
        alone = len(self.coverage.regions) == 1
        is_last = self.progress.end_listing(sweep.row) if alone else self.progress.end_chunk(sweep.row, region)
        return self.compare(sweep) if is_last else {"listed": "everything"}

    def bind(self, sweep: Sweep, region: str, after: str = "") -> str | None:
        """Update the table from SageMaker's lists, domain by domain.

        Gives None at the end, or the ID of the last domain that was bound if time runs out.
        """
        at = self.clock.now()
        tags = self._tags(sweep, region)
        # One query reads the whole region: a query for each domain would need more calls.
        known: dict[str, list[Binding]] = defaultdict(list)
        for binding in self.bindings.of_region(sweep.account, region):
            known[binding.domain_id].append(binding)
        for domain in self._domains(sweep, region) or ():
            if domain.id <= after:
                continue
            if self.clock.seconds_left() < ENOUGH:
                return after
            try:
                self._sweep_domain(sweep, region, domain, known[domain.id], tags, at)
            except RetryLater as error:
                self._record_unread(sweep, domain.id, error)
            after = domain.id
        if region == self.coverage.regions[0]:
            self._bind_also_governed(sweep, at)
        return None

    def _sweep_domain(
        self,
        sweep: Sweep,
        region: str,
        domain: ListedDomain,
        bound: Iterable[Binding],
        tags: Tags | None,
        at: float,
    ) -> None:
        self.discovery.reader.take_name(region, domain.id, domain.name)
        known = defaultdict(list)
        for binding in bound:
            known[folded(binding.user_profile)].append(binding)
        if self._is_due(sweep, region, domain) or has_changed(known[""], domain.modified, domain=domain):
            reading = self.discovery.refresh(sweep.account, region, SubjectKey(domain.id))
            self._report_reading(sweep, region, reading)
            if reading.gone:
                return
            known.pop("", None)
        own = known.pop("", [])
        try:
            profiles = self.aws.within(sweep.account).user_profiles(region, domain.id)
            listed = {folded(profile.name): profile for profile in profiles}
        except Gone:
            keys = slots(sweep.account, region, domain.id)
            of_profiles = [binding.key for bindings in known.values() for binding in bindings]
            self.bindings.write((), [*keys, *of_profiles], at=self.clock.now())
            return
        except Refused as refused:
            # The known bindings of its profiles stay, and the sweep continues with the other domains.
            self._report_reading(sweep, region, SubjectReading(SubjectKey(domain.id), refused=refused))
            return
        gone = [binding.key for name in known.keys() - listed.keys() for binding in known[name]]
        changed = [
            name
            for name, found in sorted(listed.items())
            if self._is_due(sweep, region, domain, name)
            or has_changed(known[name], found.modified, name=found.name, domain=domain)
        ]
        same = [binding for name in listed.keys() - set(changed) for binding in known[name]]
        self.bindings.write(retagged([*own, *same], tags), gone, at=at)
        names = [listed[name].name for name in changed]
        chunks = [names[start : start + CHUNK] for start in range(0, len(names), CHUNK)]
        messages = [sweep.message(DESCRIBE, region=region, domain=domain.id, profiles=chunk) for chunk in chunks]
        if len(chunks) == 1 and self.clock.seconds_left() > ENOUGH + CHUNK:
            self._describe(sweep, region, domain.id, tags_by_name(domain, names, tags))
        elif chunks:
            self._send_chunks(sweep, messages)

    def _is_due(self, sweep: Sweep, region: str, domain: ListedDomain, user_profile: str = "") -> bool:
        """Whether this sweep reads a subject even if it is unchanged, see `rolewarden.rotation`."""
        return self.rotation.is_due(f"{sweep.account}/{region}/{domain.id}/{folded(user_profile)}", sweep.began)

    def _send_chunks(self, sweep: Sweep, messages: list[dict[str, Any]]) -> None:
        """Record chunks as outstanding, so that the comparison waits for them, and send their messages."""
        self.progress.add_chunks(sweep.row, {chunk_id(each["domain"], each["profiles"]) for each in messages})
        self.aws.send(self.queues.sweep, messages)

    def describe(self, sweep: Sweep, region: str, domain_id: str, profiles: Sequence[str]) -> dict[str, Any]:
        """Read one chunk of user profiles, and trigger the comparison after the last outstanding chunk.

        A message only names the profiles. The name of their domain and their tags decide on guardrails, so they are
        read from SageMaker. The profiles for which time does not suffice become another chunk.
        """
        self._describe(sweep, region, domain_id, dict.fromkeys(profiles))
        if self.progress.end_chunk(sweep.row, chunk_id(domain_id, profiles)):
            self.aws.send(self.queues.sweep, [sweep.message(COMPARE)])
        return {"described": len(profiles)}

    def _describe(
        self, sweep: Sweep, region: str, domain_id: str, profiles: Mapping[str, Mapping[str, str] | None]
    ) -> None:
        """Read and bind user profiles. `profiles` has their tags by name; None means that the tags have to be read."""
        at = self.clock.now()
        found: list[Binding] = []
        gone: list[tuple[str, str]] = []
        known: tuple[Binding, ...] = ()
        left = dict(profiles)
        for name, tags in profiles.items():
            if self.clock.seconds_left() < ENOUGH and len(left) < len(profiles):
                # Each message describes at least one profile, so that the chunks come to an end.
                rest = sweep.message(DESCRIBE, region=region, domain=domain_id, profiles=list(left))
                self._send_chunks(sweep, [rest])
                break
            del left[name]
            try:
                reading = self.discovery.reader.profile(sweep.account, region, domain_id, name, tags=tags)
            except RetryLater as error:
                self._record_unread(sweep, f"{domain_id}/{name}", error)
                continue
            self._report_reading(sweep, region, reading)
            if reading.refused and reading.bindings:
                known = known or self.bindings.of_domain(sweep.account, region, domain_id)
                reading = reading.with_known(known)
            if not reading.refused or reading.bindings:
                found += reading.bindings
                gone += slots(sweep.account, region, domain_id, name)
        self.bindings.write(found, gone, at=at)

    def _record_unread(self, sweep: Sweep, what: str, error: RetryLater) -> None:
        """Record that AWS could not answer for one subject now. Its known bindings stay until the next sweep."""
        self.progress.mark_unread(sweep.row)
        self.recorder.record_unread(what, error)

    def _tags(self, sweep: Sweep, region: str) -> Tags | None:
        """The tags of all subjects, a hundred in a call. A change of tags does not change LastModifiedTime.

        None if no rule refers to tags, or if AWS refuses the call. The known tags then stay as they are.
        """
        if not self.needs.rules.asks_for_tags:
            return None
        try:
            return self.aws.within(sweep.account).subject_tags(region)
        except Refused as refused:
            self._report_reading(sweep, region, SubjectReading(SubjectKey("*"), refused=refused))
            return None

    def _report_reading(self, sweep: Sweep, region: str, reading: SubjectReading) -> None:
        if reading.refused:
            self.progress.mark_unread(sweep.row)
            self.recorder.record_refusal(
                EvaluationRequest(sweep.account, region, SWEEP, subject=reading.subject), reading.refused
            )

    def _domains(self, sweep: Sweep, region: str) -> list[ListedDomain] | None:
        """All domains in the order of their IDs. None if AWS refuses to list them; their known bindings then stay."""
        try:
            return sorted(self.aws.within(sweep.account).domains(region), key=lambda domain: domain.id)
        except Refused as refused:
            self._report_reading(sweep, region, SubjectReading(SubjectKey("*"), refused=refused))
            return None

    def _bind_also_governed(self, sweep: Sweep, at: float) -> None:
        known = {binding.key: binding for binding in self.bindings.also_governed(sweep.account)}
        rules = self.needs.rules.also_govern
        found = {}
        if rules:
            for role in self.aws.within(sweep.account).roles():
                if binding := self.discovery.reader.also_governed(sweep.account, role):
                    found[binding.key] = binding
        new = [binding for key, binding in found.items() if known.get(key) != binding]
        self.bindings.write(new, known.keys() - found.keys(), at=at)

    def compare(self, sweep: Sweep, after: str = "") -> dict[str, Any]:
        """Send roles that lack a guardrail to the work queue, and surplus guardrails to DetachQueue.

        If the sweep has outstanding chunks, or its row was deleted, this only sends the roles. Such a sweep is not
        complete: it detaches nothing, resolves no finding, and does not count for the heartbeat.

        `after` is the path of the last role that was sent before time ran out; empty at the start.
        """
        if not after and not self._read_elsewhere(sweep):
            return {"compared": after}
        bindings, reported = self._drop_unlisted_bindings(sweep), self.reported.of_account(sweep.account)
        roles: dict[RoleKey, list[Binding]] = defaultdict(list)
        lent: dict[RoleKey, list[Binding]] = defaultdict(list)
        for binding in (*bindings, *self.bindings.forget_strays(sweep.account)):
            if binding.role:
                (roles if binding.role.account == sweep.account else lent)[binding.role].append(binding)
        users = self._users(sweep)
        verified = {
            role: self.needs.exemption(role, _with_inheriting(roles.get(role, ()), bindings))
            for role in self.needs.exempt_roles(sweep.account)
        }
        exempt = {role for role, found in verified.items() if found and found.holds and role in roles}
        required = {role: {} if role in exempt else self.needs.required(bound) for role, bound in roles.items()}
        # A role with a fallback boundary may have all its policies again. Only the Reconciler removes the boundary
        # then, so every such role goes to the work queue.
        bounded = self._bounded(users)
        lacking = [
            role
            for role in roles
            if required[role] and (role in bounded or any(role not in users.get(name, ()) for name in required[role]))
        ]
        works = [Work.of_sweep(role, sweep.account, roles[role]) for role in lacking]
        # The comparison has only the policies of this account, so it sends every role of another account. Subjects of
        # several accounts can use such a role, so the receiver reads its bindings from the table.
        works += [Work(role, sweep.account, SWEEP) for role, bound in lent.items() if self.needs.of_role(role, bound)]
        works = sorted((work for work in works if _place(work) > after), key=_place)
        messages = messages_of(works)
        for start in range(0, len(messages), 10):
            if self.clock.seconds_left() < ENOUGH:
                self.aws.send(self.queues.sweep, [sweep.message(COMPARE, after=after)])
                return {"compared": after}
            some = messages[start : start + 10]
            self.aws.send(self.queues.work, [body_for(each) for each in some])
            after = _place(some[-1][-1])
        if not self.progress.is_whole(sweep.row):
            logger.error(
                "the sweep has not ended, and its roles are evaluated as far as they are known",
                extra=sweep.message(COMPARE),
            )
            return {"compared": after, "whole": False}
        surplus = self._send_detachments(sweep, required, users)
        unresolved = {role.path for role in lacking} | self._report_unkeepable(bindings, required)
        broken, is_whole = self._probe_paths(sweep.account, reported)
        unresolved |= broken
        doubts = {role: found.doubt for role, found in verified.items() if found and found.doubt}
        doubts |= self._doubts_of_never_governed(roles)
        doubts = self._changed_trusts(sweep.account, verified.keys() - doubts.keys()) | doubts
        unresolved |= {self.recorder.record_doubt(sweep.account, doubt, SWEEP) for doubt in doubts.values()}
        self._resolve_findings(sweep, reported, unresolved)
        self._report_replaced(sweep.account, verified)
        if sweep.account == self.coverage.account:
            self._resolve_uncovered()
        counts = {
            "subjects": len({binding.label for binding in bindings}),
            "roles": len(roles),
            "unprotected": len(lacking),
            "exempt": len(exempt),
            "surplus": len(surplus),
            "seconds": max(0, round(self.clock.now() - sweep.began)),
        }
        self.recorder.record_sweep(sweep.account, self.coverage.regions, counts)
        unused = sorted(users.keys() - self.needs.published())
        names = {"roles": surplus[:SOME_SURPLUS], "policies": unused[:SOME_SURPLUS]}
        observed = {name: [one.name for one in self.needs.policies(name)] for name in self.needs.rules.observed}
        more = {
            "unused_policies": len(unused),
            "fallback": int(self.needs.rules.fallback is Fallback.BOUNDARY),
            "observes": int(self.needs.rules.observes),
        }
        self.progress.finish(sweep.row, {**counts, **more}, names, observed)
        self.progress.set_health(sweep.account, sweep.began, is_whole=is_whole)
        if sweep.account != self.coverage.account:
            self.progress.set_member_swept(sweep.account, sweep.began)
        # These are separate steps, because the sweep is complete even if they fail.
        steps = self._last_steps(sweep, reported)
        self.aws.send(self.queues.sweep, [sweep.message(step) for step in steps])
        return counts

    def _last_steps(self, sweep: Sweep, reported: Iterable[ReportedFinding]) -> list[str]:
        """The steps that follow the comparison. Raises RetryLater."""
        is_due = self.clock.now() - self.progress.regions_read(sweep.account) >= REGIONS_SECONDS
        steps = [AUDIT, DRILLS, REGIONS] if is_due else [AUDIT, DRILLS]
        # Earlier rules may have named principals. Then their finding is to be resolved.
        if self.needs.rules.names_principals or any(finding.kind is ReportedKind.PREVENTION for finding in reported):
            steps.append(reach.PREVENTION)
        return steps

    def _read_elsewhere(self, sweep: Sweep) -> bool:
        """Look at the other regions if the rules have exceptions for users of shared roles.

        A domain there ends the exceptions of the account, so the comparison must know of it. Gives False if time does
        not suffice: another message then begins the comparison. Raises RetryLater.
        """
        if not self.needs.excepts:
            return True
        if self.clock.seconds_left() < ENOUGH:
            self.aws.send(self.queues.sweep, [sweep.message(COMPARE)])
            return False
        self.elsewhere.look(sweep.account)
        return True

    def judge_drills(self, sweep: Sweep) -> dict[str, Any]:
        """Report where drills are cut, resolve what is over, and restore the canary. Raises RetryLater."""
        unresolved = self.judge.report(sweep.account)
        for finding in self.reported.of_account(sweep.account):
            if finding.kind is ReportedKind.DRILL and finding.about not in unresolved:
                self.recorder.record_resolved([finding], SWEEP)
        try:
            self._restore_canary(sweep)
        except Refused as refused:
            logger.error("the canary cannot be read", extra={"account": sweep.account, "why": str(refused)})
        return {"cut": len(unresolved)}

    def test_prevention(self, sweep: Sweep) -> dict[str, Any]:
        """Report service control policies that are not in effect, and resolve what is over. Raises RetryLater."""
        kind, unresolved = ReportedKind.PREVENTION, set()
        for probe in self.prevention.probes(sweep.account):
            if probe.message and not probe.is_warning:
                refused = Refused(probe.reason, f"{probe.what}: {probe.message}")
                unresolved.add(self.recorder.record_account_finding(sweep.account, refused, SWEEP, kind))
        for finding in self.reported.of_account(sweep.account):
            if finding.kind is kind and finding.about not in unresolved:
                self.recorder.record_resolved([finding], SWEEP)
        return {"prevention": len(unresolved)}

    def _restore_canary(self, sweep: Sweep) -> None:
        """Send the canary role to the work queue if its policy is not attached. Raises Refused and RetryLater.

        A drill that was not heard stays missed, because only an event counts as heard. A drill within its limit is left
        alone.
        """
        arn = self.needs.arn(CANARY_POLICY, sweep.account)
        if any(is_canary(role) for role in self.aws.within(sweep.account).roles_with_policy(arn)):
            return
        if not self.judge.is_waiting(sweep.account):
            self.aws.send(self.queues.work, [Work(RoleKey(sweep.account, CANARY_ROLE), sweep.account, SWEEP).as_dict()])

    def _report_replaced(self, account: str, verified: Mapping[RoleKey, VerifiedExemption | None]) -> None:
        """Report the exempt roles that have another unique ID than at the last sweep. Raises RetryLater.

        A deployment has confirmed each of them, so the exemption holds. The row with the earlier ID decides nothing
        else, because a caller could forge it.
        """
        for role, exemption in verified.items():
            if not (exemption and exemption.holds and exemption.found) or exemption.exemption.role_id:
                continue
            known = self.progress.exempt_id(role)
            if known and known != exemption.found.id:
                self.recorder.record_doubt(account, replaced(exemption.found), SWEEP)
            if known != exemption.found.id:
                self.progress.set_exempt_id(role, exemption.found.id)

    def _doubts_of_never_governed(self, roles: Iterable[RoleKey]) -> dict[RoleKey, Doubt]:
        """The doubts about those of `roles` that `never_govern` names. Raises RetryLater."""
        found = {role: never for role in roles if (never := self.needs.never(role))}
        return {role: never.doubt for role, never in found.items() if never.doubt}

    def _changed_trusts(self, account: str, roles: Collection[RoleKey]) -> dict[RoleKey, Doubt]:
        """A doubt for each of these exempt roles whose trust policy has changed since the last deployment.

        IAM does not say when a trust policy changed, but CloudTrail's event history does. Raises RetryLater.
        """
        if not roles or (deployed := self.needs.exemptions.deployed()) is None:
            return {}
        names = {role.name: role for role in roles}
        changed = self.auditor.retrusted(account, names.keys(), deployed, self.clock.now())
        return {names[name]: changed_trust(names[name], at) for name, at in changed.items()}

    def audit(self, sweep: Sweep) -> dict[str, Any]:
        """Compare the recorded calls of Rolewarden with its history. Raises RetryLater."""
        done = self.auditor.run(sweep.account, self.clock.now())
        if done.get("behind"):
            self.aws.send(self.queues.sweep, [sweep.message(AUDIT)])
        return done

    def _users(self, sweep: Sweep) -> dict[str, frozenset[RoleKey]]:
        """The roles that use each of Rolewarden's policies, by the policy's name.

        A role uses the policies that are attached to it, and its permissions boundary. The result includes the policies
        of guardrails that were removed from guardrails.yaml.
        """
        aws, published, found = self.aws.within(sweep.account), self.needs.published(), {}
        spelled = {folded(name): name for name in published}
        for listed in aws.own_policies():
            if is_of_drills(listed):
                continue
            name = spelled.get(folded(listed), listed)
            arn = self.needs.arn(name, sweep.account)
            if name in published or aws.policy_description(arn) == DESCRIPTION:
                users = aws.roles_with_boundary if is_boundary(name) else aws.roles_with_policy
                found[name] = frozenset(RoleKey(sweep.account, role) for role in users(arn))
        return found

    def _bounded(self, users: Mapping[str, Iterable[RoleKey]]) -> set[RoleKey]:
        """The roles that have a fallback boundary of Rolewarden's; empty without `fallback: boundary`."""
        if self.needs.rules.fallback is not Fallback.BOUNDARY:
            return set()
        return {role for name, roles in users.items() if is_boundary(name) for role in roles}

    def _drop_unlisted_bindings(self, sweep: Sweep) -> list[Binding]:
        """Delete the bindings of domains that no longer exist, or whose region the stack does not cover.

        Gives the other bindings of the account.
        """
        at = self.clock.now()
        existing: dict[str, set[str] | None] = {}
        for region in self.coverage.regions:
            domains = self._domains(sweep, region)
            existing[region] = None if domains is None else {domain.id for domain in domains}
        bound, gone = [], []
        for binding in self.bindings.of_account(sweep.account):
            listed = existing.get(binding.region, set())
            if binding.domain_id and listed is not None and binding.domain_id not in listed:
                gone.append(binding.key)
            else:
                bound.append(binding)
        self.bindings.write((), gone, at=at)
        return bound

    def _send_detachments(
        self,
        sweep: Sweep,
        required: Mapping[RoleKey, Mapping[str, Guardrail]],
        users: Mapping[str, Iterable[RoleKey]],
    ) -> list[str]:
        """Send the surplus guardrails and unused policies to DetachQueue. Gives the names of roles with a surplus."""
        surplus: dict[RoleKey, list[str]] = defaultdict(list)
        for name, roles in sorted(users.items()):
            for role in roles:
                if self.needs.is_surplus(name, required.get(role, {})):
                    surplus[role].append(name)
        detachments = [
            {"account": sweep.account, "role": role.name, "policies": names}
            for role, unneeded in sorted(surplus.items(), key=lambda found: found[0].path)
            if (names := [name for name in unneeded if self.needs.may_lose(name, required.get(role, {}))])
        ]
        # DetachFunction deletes such a policy only if no role has it by then.
        unused = [{"account": sweep.account, "policy": name} for name in sorted(users.keys() - self.needs.published())]
        # Send no detachments if the sweep could not read everything, because an unread subject may still need the
        # policy, or if every guardrail is in observe mode.
        can_detach = not self.needs.rules.observes
        if (detachments or unused) and can_detach and self.progress.has_read_everything(sweep.row):
            self.aws.send(self.queues.detach, [*detachments, *unused])
        return sorted(role.name for role in surplus)

    def _report_unkeepable(
        self, bindings: Iterable[Binding], required: Mapping[RoleKey, Mapping[str, Guardrail]]
    ) -> set[str]:
        """Report the user profiles whose assignment cannot be kept because they run as their domain's role.

        `required` has the policies that each role needs. Gives the keys of the findings.
        """
        found = set()
        for shared in shared_profiles(bindings):
            profile, domain = shared.profile, shared.domain
            use = self.needs.shared_use(shared, required.get(domain.role, {}) if domain.role else {})
            if use.lacking:
                self.recorder.record_unkeepable(profile, domain, use.lacking, SWEEP)
                found.add(about(profile.account, profile.domain_id, profile.user_profile))
        return found

    def _resolve_findings(self, sweep: Sweep, reported: Iterable[ReportedFinding], unresolved: set[str]) -> None:
        """Report the findings that are no longer true as resolved, even if no event has shown the change.

        `unresolved` holds the keys of this sweep's findings, and of the roles that are sent to the work queue. Each
        sweep resolves findings of the kinds ROLE, SHARED_ROLE and EXEMPTION, and of the kind PUBLICATION if IAM has the
        policy. Only a sweep that could read everything resolves the other kinds, because something unread may still be
        wrong. No comparison resolves a finding of the kinds BOUNDARY, CANARY, FIRST_USE, REPLACEMENT, TAGS and
        UNSIGNED, which expire after a week, or OUTSIDE, DRILL and PREVENTION, which have a step of their own.
        """
        apart = {
            ReportedKind.BOUNDARY,
            ReportedKind.CANARY,
            ReportedKind.DRILL,
            ReportedKind.FIRST_USE,
            ReportedKind.OUTSIDE,
            ReportedKind.PREVENTION,
            ReportedKind.REPLACEMENT,
            ReportedKind.TAGS,
            ReportedKind.UNSIGNED,
        }
        over = [f for f in reported if f.about not in unresolved and f.kind not in apart]
        unpublished = [f for f in over if f.kind is ReportedKind.PUBLICATION and not self._is_published(sweep, f.name)]
        over = [f for f in over if f not in unpublished]
        by_each = {
            ReportedKind.ROLE,
            ReportedKind.SHARED_ROLE,
            ReportedKind.EXEMPTION,
            ReportedKind.PUBLICATION,
        }
        sure = [f for f in over if f.kind in by_each]
        if len(sure) < len(over) and self.progress.has_read_everything(sweep.row):
            sure = over
        resolved: dict[str, list[ReportedFinding]] = defaultdict(list)
        for finding in sure:
            resolved[finding.about].append(finding)
        for findings in resolved.values():
            self.recorder.record_resolved(findings, SWEEP)

    def _is_published(self, sweep: Sweep, finding: str) -> bool:
        """Whether IAM has the policy of a finding about a publication as the rules want it. Raises RetryLater."""
        policy = finding.removeprefix(f"{ACCOUNT_WIDE}{PUBLICATION_OF}")
        if policy not in self.needs.published():
            return True
        try:
            return self.needs.is_in_iam(policy, sweep.account, self.aws.within(sweep.account))
        except Refused as refused:
            logger.warning("a policy cannot be read", extra={"policy": policy, "why": str(refused)})
            return False

    def _resolve_uncovered(self) -> None:
        """Report the findings about roles of uncovered accounts that are no longer true as resolved.

        Subjects of several accounts can name the same role, so the sweep of one account alone does not resolve them.
        """
        found: dict[RoleKey, list[ReportedFinding]] = defaultdict(list)
        for finding in self.reported.of_uncovered_accounts():
            found[RoleKey(finding.account, finding.name)].append(finding)
        for role, findings in found.items():
            bindings = [b for b in self.bindings.of_foreign_subjects(role.account) if b.role == role]
            if self.progress.is_member(role.account) or not self.needs.of_role(role, bindings):
                self.recorder.record_resolved(findings, SWEEP)


def _with_inheriting(uses: Iterable[Binding], bindings: Iterable[Binding]) -> list[Binding]:
    """`uses` of a role, and those of `bindings` that are user profiles without a role in a domain whose role it is."""
    uses = list(uses)
    domains = {(use.region, use.domain_id) for use in uses if use.kind == DEFAULT_USER and use.via == EXECUTION}
    profiles = (one for one in bindings if one.kind == USER_PROFILE and one.role is None)
    return [*uses, *(profile for profile in profiles if (profile.region, profile.domain_id) in domains)]


def _place(work: Work) -> str:
    """The place of a role in the order of work: that of its first row in the table, where the receiver reads ahead."""
    return f"{work.rows[0].item if work.rows else ''}\t{work.role.path}"
