"""The sweep: what no event told is found here.

It compares sets and walks over nothing that has not changed. Each account is swept by itself. The steps are messages of
a queue of their own, so that one which runs out of time goes on from a message and never from the start:

begin     of an account; another account is entered first, and PublishFunction has seen to its policies before
list      of a region, what SageMaker lists beside what the table has: by LastModifiedTime only what changed is
          described, at once where that is little, else in chunks that several functions work on; the roles of
          `also_govern`; the tags
describe  one chunk of user profiles
compare   when the last chunk is done: which role carries what, by ListEntitiesForPolicy; what lacks a guardrail goes to
          the work queue, what carries too much to DetachQueue
audit     what was done since the last sweep, beside what the history says of that

A row of the table knows which chunks of a sweep are still out. Two sweeps at once have a row each; a binding is only
ever written over by one that was read later.
"""

from __future__ import annotations

import json
import re
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Self

from rolewarden import reach
from rolewarden.audit import Auditor
from rolewarden.aws import IAM_HOME_REGIONS, LONGEST_CALL, ListedDomain
from rolewarden.bindings import (
    DEFAULT_USER,
    EXECUTION,
    Binding,
    BindingsTable,
    RoleKey,
    tagged,
)
from rolewarden.calls import ListsSubjects
from rolewarden.clock import Clock
from rolewarden.discovery import Discovery, SubjectReader, SubjectReading, slots
from rolewarden.errors import Gone, Refused, RetryLater
from rolewarden.events import ACCOUNT, DOMAIN_ID, PROFILE_NAME, REGION, EvaluationRequest, SubjectKey, mapping, matched
from rolewarden.guardrails import Fallback, Guardrail
from rolewarden.names import about, folded
from rolewarden.needs import Needs
from rolewarden.origin import SWEEP, Trigger
from rolewarden.policies import DESCRIPTION, is_boundary
from rolewarden.progress import Progress, sweeps_scope
from rolewarden.record import Recorder, logger
from rolewarden.reported import ReportedFinding, ReportedFindings, ReportedKind
from rolewarden.runtime import Runtime
from rolewarden.settings import SweepSettings
from rolewarden.verdicts import Reason
from rolewarden.work import BEGIN, DOCTOR, PUBLISH, RULES, Work

LIST, DESCRIBE, COMPARE, AUDIT = "list", "describe", "compare", "audit"
"""The steps behind BEGIN."""

CHUNK = 100
"""User profiles that one message asks to describe, and as many as the listing step describes itself."""

MOST_TAGS = 100_000
"""Bytes of tags that a message may carry: SQS takes 256 KiB."""

ENOUGH = 2 * LONGEST_CALL
"""Seconds that a step leaves unused: for the call that it is at, and to hand the rest over to a message."""


SOME_SURPLUS = 3
"""Names of roles and of policies that a finished sweep keeps for `rolewarden status`."""


Tags = Mapping[str, Mapping[str, str]]
"""Tags of subjects, by what `tagged` gives."""


_BEGAN = re.compile(r"\d{1,12}\.\d{3}", re.ASCII)


@dataclass(frozen=True)
class Sweep:
    """One sweep of an account; `began` is its identity, in seconds of the epoch."""

    account: str
    began: float

    @property
    def row(self) -> tuple[str, str]:
        """Where the table keeps its progress."""
        return sweeps_scope(self.account), f"{self.began:.3f}"

    def message(self, step: str, **more: Any) -> dict[str, Any]:
        """A message that goes on with it."""
        return {"account": self.account, "began": f"{self.began:.3f}", "step": step, **more}

    @classmethod
    def of(cls, body: Any) -> Sweep | None:
        """The sweep that a message goes on with; None for anything that is no such message."""
        fields = mapping(body)
        account, began = matched(ACCOUNT, fields.get("account")), matched(_BEGAN, fields.get("began"))
        return cls(account, float(began)) if account and began else None


@dataclass
class Queues:
    """Where the sweep sends what.

    The rest of itself, roles that lack something, roles and policies to detach, accounts whose policies are looked at.
    """

    sweep: str
    work: str
    detach: str
    publish: str


@dataclass(frozen=True)
class Coverage:
    """What there is to sweep: `regions` of the stack's own `account` and of each that the StackSet `stack_set` is in.

    `call_as` is how StackSets are asked; `stack_set` is empty where there is no other account. `central_bus` is the ARN
    of the bus that takes the events of elsewhere.
    """

    account: str
    regions: tuple[str, ...]
    stack_set: str = ""
    call_as: str = ""
    central_bus: str = ""


@dataclass
class Sweeper:
    """Sweeps accounts."""

    aws: ListsSubjects
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

    @classmethod
    def of(cls, runtime: Runtime, settings: SweepSettings) -> Self:
        """Put a Sweeper together."""
        aws, clock = runtime.aws, runtime.clock
        progress = Progress(aws, settings.bindings_table, clock)
        return cls(
            aws,
            runtime.bindings,
            progress,
            ReportedFindings(aws, settings.bindings_table),
            Discovery(SubjectReader(aws, runtime.rules, settings.own_roles), runtime.bindings, clock),
            runtime.needs,
            runtime.recorder,
            Auditor(aws, progress, runtime.recorder, settings.own_roles),
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
        )

    def handle_event(self, event: Any) -> dict[str, Any]:
        """Begin what an event of the bus, or of the schedule, asks for. Raises Refused and RetryLater.

        A policy that was put right is asked about in its account; everything else sweeps them all. `rolewarden doctor`
        asks for no sweep, but whether one can work; RULES asks which rules the function runs.
        """
        if mapping(event).get("step") == RULES:
            return {"rules": self.needs.fingerprint}
        if mapping(event).get("step") == DOCTOR:
            return {"probes": [probe.as_dict() for probe in self.probes()]}
        detail = mapping(mapping(event).get("detail"))
        account = matched(ACCOUNT, detail.get("account"))
        # What the event says of a deployment only adds accounts: it is a hint like the rest of the event.
        deployed = detail.get("trigger") == Trigger.DEPLOYMENT.value
        if account and not deployed and account in {self.coverage.account, *self.progress.member_accounts()}:
            return self.begin(account)
        return self.start()

    def start(self) -> dict[str, Any]:
        """Have every account swept. Raises as `begin` does."""
        if self.coverage.stack_set:
            self._ask_for_members()
        return self.begin(self.coverage.account)

    def _ask_for_members(self) -> None:
        """Send for each other account a message; what is kept of those that are no more goes."""
        try:
            there = self._member_accounts()
        except Refused as refused:
            # Which accounts there are is not known for now: those that are known stay, and this one is swept.
            self.recorder.record_account_finding(self.coverage.account, refused, SWEEP)
            return
        known = self.progress.member_accounts()
        for gone in sorted(known.keys() - there):
            # StackSets does not say whether the account has left or somebody has taken its stack away.
            left = Refused(Reason.LEFT, f"ListStackInstances: {self.coverage.stack_set} has no stack there any more")
            self.recorder.record_account_finding(gone, left, SWEEP)
            self.bindings.forget_account(gone)
            self.progress.forget_member(gone)
        for new in sorted(there - known.keys()):
            self.progress.set_member_swept(new, 0)
        self.aws.send(self.queues.publish, [{"account": account, "step": PUBLISH} for account in sorted(there)])

    def _member_accounts(self) -> set[str]:
        """The other accounts that there are now. Raises Refused, RetryLater."""
        if not self.coverage.stack_set:
            return set()
        home = self._central.home_region
        there = self.aws.stack_set_accounts(self.coverage.stack_set, home, self.coverage.call_as)
        return set(there) - {self.coverage.account}

    @property
    def _central(self) -> reach.CentralStack:
        home = IAM_HOME_REGIONS.get(self.aws.partition, self.aws.region)
        return reach.CentralStack(self.coverage.account, self.aws.region, home, self.coverage.central_bus)

    def probes(self, account: str = "") -> Iterator[reach.Probe]:
        """Whether events come from each region of an account, or of all, and it lets us in.

        Raises Refused where the accounts cannot be listed, and RetryLater.
        """
        for each in [account] if account else [self.coverage.account, *sorted(self._member_accounts())]:
            yield from reach.probes(self.aws, each, self.coverage.regions, self._central)

    def _probe_paths(self, account: str, told: Iterable[ReportedFinding]) -> set[str]:
        """Report each missing link of the path to the central account. Gives the keys of the findings."""
        standing: set[str] = set()
        try:
            for probe in self.probes(account):
                if probe.message:
                    refused = Refused(Reason.UNHEARD, f"{probe.what} in {probe.region}: {probe.message}")
                    standing.add(self.recorder.record_account_finding(account, refused, SWEEP))
        except RetryLater as error:
            # The next sweep asks again; what was the case may still be.
            self.recorder.record_unread(f"paths of {account}", error)
            standing.update(finding.about for finding in told)
        return standing

    def begin(self, account: str) -> dict[str, Any]:
        """Begin the sweep of an account and go as far as time allows. Raises Refused and RetryLater."""
        try:
            self.aws.within(account, afresh=True)
        except Refused as refused:
            self.recorder.record_account_finding(account, refused, SWEEP)
            return {"account": account, "refused": str(refused)}
        sweep = Sweep(account, self.clock.now())
        self.progress.begin(sweep.row, sweep.began, self.needs.fingerprint)
        if len(self.coverage.regions) == 1:
            return self.list_subjects(sweep, self.coverage.regions[0])
        # Each region is a chunk like those of user profiles: the last of all that is done compares.
        self.progress.add_chunks(sweep.row, set(self.coverage.regions))
        self.progress.end_listing(sweep.row)
        messages = [sweep.message(LIST, region=region) for region in self.coverage.regions]
        self.aws.send(self.queues.sweep, messages)
        return {"account": account, "regions": list(self.coverage.regions)}

    def handle_message(self, body: Any) -> dict[str, Any]:
        """Go on with a sweep from one of its messages; what is none is named and dropped.

        Raises Refused and RetryLater.
        """
        sweep, fields = Sweep.of(body), mapping(body)
        step, after = fields.get("step"), str(fields.get("after", ""))
        region = matched(REGION, fields.get("region"))
        if step == BEGIN and (account := matched(ACCOUNT, fields.get("account"))):
            return self.begin(account)
        if sweep and step == DESCRIBE and region and (chunk := _chunk_of(body)):
            return self.describe(sweep, region, *chunk)
        if sweep and step == AUDIT:
            return self.audit(sweep)
        if sweep and step == COMPARE:
            return self.compare(sweep, after)
        if sweep and step == LIST and region:
            return self.list_subjects(sweep, region, after)
        logger.error("a message of the sweep queue is no step of a sweep", extra={"body": str(body)[:200]})
        return {"ignored": "no sweep message"}

    def list_subjects(self, sweep: Sweep, region: str, after: str = "") -> dict[str, Any]:
        """Bind, and compare where no chunk is out; `after` is the domain that was bound last before time ran out."""
        reached = self.bind(sweep, region, after)
        if reached is not None:
            self.aws.send(self.queues.sweep, [sweep.message(LIST, region=region, after=reached)])
            return {"listed": reached}
        alone = len(self.coverage.regions) == 1
        is_last = self.progress.end_listing(sweep.row) if alone else self.progress.end_chunk(sweep.row, region)
        return self.compare(sweep) if is_last else {"listed": "everything"}

    def bind(self, sweep: Sweep, region: str, after: str = "") -> str | None:
        """Bring the table in step with what is listed, domain by domain; the last one where time runs out."""
        at = self.clock.now()
        tags = self._tags(sweep, region)
        # At once: a query for each domain would be more calls than the pages of the table.
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
        if _changed(known[""], domain.modified):
            reading = self.discovery.refresh(sweep.account, region, SubjectKey(domain.id))
            self._report_reading(sweep, region, reading)
            if reading.gone:
                return
            del known[""]
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
            # What is known of its profiles stays, and the other domains are swept all the same.
            self._report_reading(sweep, region, SubjectReading(SubjectKey(domain.id), refused=refused))
            return
        gone = [binding.key for name in known.keys() - listed.keys() for binding in known[name]]
        changed = [
            name for name, found in sorted(listed.items()) if _changed(known[name], found.modified, name=found.name)
        ]
        same = [binding for name in listed.keys() - set(changed) for binding in known[name]]
        self.bindings.write(_retagged([*own, *same], tags), gone, at=at)
        asked = [listed[name].name for name in changed]
        chunks = [asked[start : start + CHUNK] for start in range(0, len(asked), CHUNK)]
        messages = [
            sweep.message(
                DESCRIBE,
                region=region,
                domain=[domain.id, domain.name],
                profiles=_tagged(domain, chunk, tags),
            )
            for chunk in chunks
        ]
        if len(chunks) == 1 and self.clock.seconds_left() > ENOUGH + CHUNK:
            self._describe(sweep, region, domain, messages[0]["profiles"])
        elif chunks:
            self._ask_for(sweep, domain, messages)

    def _ask_for(self, sweep: Sweep, domain: ListedDomain, messages: list[dict[str, Any]]) -> None:
        """Send chunks on their way; the comparison waits for them."""
        self.progress.add_chunks(sweep.row, {_chunk_id(domain, message["profiles"]) for message in messages})
        self.aws.send(self.queues.sweep, messages)

    def describe(
        self, sweep: Sweep, region: str, domain: ListedDomain, profiles: Mapping[str, Mapping[str, str] | None]
    ) -> dict[str, Any]:
        """Read one chunk of user profiles, names and tags; after the last that was out, ask for the comparison.

        What there is no time for is a chunk of its own.
        """
        self.discovery.reader.take_name(region, domain.id, domain.name)
        self._describe(sweep, region, domain, profiles)
        if self.progress.end_chunk(sweep.row, _chunk_id(domain, profiles)):
            self.aws.send(self.queues.sweep, [sweep.message(COMPARE)])
        return {"described": len(profiles)}

    def _describe(
        self, sweep: Sweep, region: str, domain: ListedDomain, profiles: Mapping[str, Mapping[str, str] | None]
    ) -> None:
        at = self.clock.now()
        found: list[Binding] = []
        gone: list[tuple[str, str]] = []
        known: tuple[Binding, ...] = ()
        left = dict(profiles)
        for name, tags in profiles.items():
            if self.clock.seconds_left() < ENOUGH and len(left) < len(profiles):
                # Not before one is done, so that there is an end.
                rest = sweep.message(DESCRIBE, region=region, domain=[domain.id, domain.name], profiles=left)
                self._ask_for(sweep, domain, [rest])
                break
            del left[name]
            try:
                reading = self.discovery.reader.profile(sweep.account, region, domain.id, name, tags=tags)
            except RetryLater as error:
                self._record_unread(sweep, f"{domain.id}/{name}", error)
                continue
            self._report_reading(sweep, region, reading)
            if reading.refused and reading.bindings:
                known = known or self.bindings.of_domain(sweep.account, region, domain.id)
                reading = reading.with_known(known)
            if not reading.refused or reading.bindings:
                found += reading.bindings
                gone += slots(sweep.account, region, domain.id, name)
        self.bindings.write(found, gone, at=at)

    def _record_unread(self, sweep: Sweep, what: str, error: RetryLater) -> None:
        """One subject that AWS cannot tell of now holds up no other; it stays as it is known till the next sweep."""
        self.progress.mark_unread(sweep.row)
        self.recorder.record_unread(what, error)

    def _tags(self, sweep: Sweep, region: str) -> Tags | None:
        """All subjects' tags, a call for each hundred: they change without a trace in LastModifiedTime.

        None where no rule asks for them, or AWS refuses them: then they are taken as they were.
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
        """All domains in the order of their ids; None where AWS does not list them: then they are as they were."""
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
        new = [binding for key, binding in found.items() if key not in known]
        self.bindings.write(new, known.keys() - found.keys(), at=at)

    def compare(self, sweep: Sweep, after: str = "") -> dict[str, Any]:
        """Send what lacks a guardrail to the work queue, and what carries too much to DetachQueue.

        `after` names the last role that was dealt with before time ran out.
        """
        read_at = self.clock.now()
        bindings, told = self._bind_role(sweep), self.reported.of_account(sweep.account)
        roles: dict[RoleKey, list[Binding]] = defaultdict(list)
        for binding in bindings:
            if binding.role:
                roles[binding.role].append(binding)
        carriers = self._carriers(sweep)
        required = {role: self.needs.of_role(role, bound) for role, bound in roles.items()}
        # The boundary of a role that carries all again is reconcile's to take off.
        bounded = self._bounded(carriers)
        lacking = [
            role
            for role in sorted(roles, key=lambda role: role.path)
            if required[role]
            and (
                role.account != sweep.account
                or role in bounded
                or any(role not in carriers.get(name, ()) for name in required[role])
            )
        ]
        works = [Work.of_sweep(role, sweep.account, roles[role], read_at) for role in lacking if role.path > after]
        for start in range(0, len(works), 10):
            if self.clock.seconds_left() < ENOUGH:
                self.aws.send(self.queues.sweep, [sweep.message(COMPARE, after=after)])
                return {"compared": after}
            some = works[start : start + 10]
            self.aws.send(self.queues.work, [work.as_dict() for work in some])
            after = some[-1].role.path
        surplus = self._detach(sweep, required, carriers)
        standing = {role.path for role in lacking} | self._unkeepable(bindings) | self._probe_paths(sweep.account, told)
        self._resolve_findings(sweep, told, standing)
        counts = {
            "subjects": len({binding.label for binding in bindings}),
            "roles": len(roles),
            "unprotected": len(lacking),
            "exempt": sum(self.needs.exemption(role) is not None for role in roles),
            "surplus": len(surplus),
            "seconds": round(self.clock.now() - sweep.began),
        }
        self.recorder.record_sweep(sweep.account, self.coverage.regions, counts)
        unused = sorted(carriers.keys() - self.needs.published())
        names = {"roles": surplus[:SOME_SURPLUS], "policies": unused[:SOME_SURPLUS]}
        self.progress.finish(sweep.row, {**counts, "unused_policies": len(unused)}, names)
        if sweep.account != self.coverage.account:
            self.progress.set_member_swept(sweep.account, sweep.began)
        # A step of its own: what stands in the way of it is no reason to call the sweep incomplete.
        self.aws.send(self.queues.sweep, [sweep.message(AUDIT)])
        return counts

    def audit(self, sweep: Sweep) -> dict[str, Any]:
        """Compare what Rolewarden has done with its history. Raises RetryLater."""
        done = self.auditor.run(sweep.account, self.clock.now())
        if done.get("behind"):
            self.aws.send(self.queues.sweep, [sweep.message(AUDIT)])
        return done

    def _carriers(self, sweep: Sweep) -> dict[str, frozenset[RoleKey]]:
        """Which roles carry which of Rolewarden's policies, those of guardrails that are out of the file too.

        A boundary is carried by the roles whose permissions boundary it is.
        """
        aws, published, found = self.aws.within(sweep.account), self.needs.published(), {}
        spelled = {folded(name): name for name in published}
        for listed in aws.own_policies():
            name = spelled.get(folded(listed), listed)
            arn = self.needs.arn(name, sweep.account)
            if name in published or aws.policy_description(arn) == DESCRIPTION:
                carriers = aws.roles_with_boundary if is_boundary(name) else aws.roles_with_policy
                found[name] = frozenset(RoleKey(sweep.account, role) for role in carriers(arn))
        return found

    def _bounded(self, carriers: Mapping[str, Iterable[RoleKey]]) -> set[RoleKey]:
        """The roles that a boundary of Rolewarden's stands in for, as long as there is to be such a thing."""
        if self.needs.rules.fallback is not Fallback.BOUNDARY:
            return set()
        return {role for name, roles in carriers.items() if is_boundary(name) for role in roles}

    def _bind_role(self, sweep: Sweep) -> list[Binding]:
        """Every binding of the account; those of domains that are gone, or in no region of ours, are taken out."""
        at = self.clock.now()
        there: dict[str, set[str] | None] = {}
        for region in self.coverage.regions:
            domains = self._domains(sweep, region)
            there[region] = None if domains is None else {domain.id for domain in domains}
        bound, gone = [], []
        for binding in self.bindings.of_account(sweep.account):
            listed = there.get(binding.region, set())
            if binding.domain_id and listed is not None and binding.domain_id not in listed:
                gone.append(binding.key)
            else:
                bound.append(binding)
        self.bindings.write((), gone, at=at)
        return bound

    def _detach(
        self,
        sweep: Sweep,
        required: Mapping[RoleKey, Mapping[str, Guardrail]],
        carriers: Mapping[str, Iterable[RoleKey]],
    ) -> list[str]:
        """Ask for what roles carry and do not need to be taken off; names of the roles that carry too much."""
        published = self.needs.published()
        kept = self.needs.kept()
        surplus: dict[RoleKey, list[str]] = defaultdict(list)
        for name, roles in sorted(carriers.items()):
            for role in roles:
                if self.needs.may_lose(name, required.get(role, {}), ()):
                    surplus[role].append(name)
        asked = [
            {"account": sweep.account, "role": role.name, "policies": names}
            for role, carried in sorted(surplus.items(), key=lambda found: found[0].path)
            if (names := [name for name in carried if name not in kept])
        ]
        retired = [{"account": sweep.account, "policy": name} for name in sorted(carriers.keys() - published)]
        # Who could not be read may need what seems too much; and who only observes takes nothing off.
        if (asked or retired) and not self.needs.rules.observes and self.progress.has_read_everything(sweep.row):
            self.aws.send(self.queues.detach, [*asked, *retired])
        return sorted(role.name for role in surplus)

    def _unkeepable(self, bindings: Iterable[Binding]) -> set[str]:
        """Tell of user profiles whose assignment cannot be kept, as they run as their domain's role; who they are."""
        bindings = list(bindings)
        default = {b.domain_id: b for b in bindings if b.kind == DEFAULT_USER and b.via == EXECUTION}
        found = set()
        for binding in bindings:
            if binding.role is None and (shared := default.get(binding.domain_id)):
                missing = self.needs.out_of_reach(binding, shared)
                if missing:
                    self.recorder.record_unkeepable(binding, shared, missing, SWEEP)
                    found.add(about(binding.account, binding.domain_id, binding.user_profile))
        return found

    def _resolve_findings(self, sweep: Sweep, told: Iterable[ReportedFinding], standing: set[str]) -> None:
        """Tell of findings that are not the case any more, also where no event told who has seen to them.

        `standing` is what findings of this sweep are about, and what is still being seen to. What a sweep could not
        read may hide that something is still wrong. Only a boundary that cannot be taken off, which is no lack, is
        never settled so: it is forgotten after a week.
        """
        over = [f for f in told if f.about not in standing and f.kind is not ReportedKind.BOUNDARY]
        sure = [f for f in over if f.kind in {ReportedKind.ROLE, ReportedKind.SHARED_ROLE}]
        if len(sure) < len(over) and self.progress.has_read_everything(sweep.row):
            sure = over
        settled: dict[str, list[ReportedFinding]] = defaultdict(list)
        for finding in sure:
            settled[finding.about].append(finding)
        for findings in settled.values():
            self.recorder.record_resolved(findings, SWEEP)


def _changed(known: Iterable[Binding], modified: str, *, name: str = "") -> bool:
    """Whether a subject has to be described, as it is not known or not known as it is listed.

    Nor is a user profile with another spelling of its `name`, which an event's caller has chosen.
    """
    known = list(known)
    return not known or any(
        not binding.modified or binding.modified != modified or binding.user_profile != name for binding in known
    )


def _retagged(bindings: Iterable[Binding], tags: Tags | None) -> list[Binding]:
    """Those of `bindings` whose tags have changed, with their tags."""
    if tags is None:
        return []
    now = ((binding, tags.get(tagged(binding.domain_id, binding.user_profile), {})) for binding in bindings)
    return [binding._replace(tags=found) for binding, found in now if found != binding.tags]


def _tagged(domain: ListedDomain, profiles: Iterable[str], tags: Tags | None) -> Mapping[str, Mapping[str, str] | None]:
    """User profiles with their tags; None where they are not known from the list, or too many for a message."""
    names = list(profiles)
    found = {name: (tags or {}).get(tagged(domain.id, name), {}) for name in names}
    if tags is None or len(json.dumps(found)) > MOST_TAGS:
        return dict.fromkeys(names)
    return found


def _chunk_of(body: Mapping[str, Any]) -> tuple[ListedDomain, dict[str, Mapping[str, str] | None]] | None:
    """The domain and the user profiles, with tags, that a message asks to describe; None where it does not say."""
    domain, profiles = body.get("domain"), body.get("profiles")
    if not isinstance(domain, list) or not 1 <= len(domain) <= 2 or not isinstance(profiles, Mapping) or not profiles:
        return None
    tags = [tags for tags in profiles.values() if tags is not None]
    texts = [*domain, *(text for found in tags if isinstance(found, Mapping) for text in found.values())]
    if not all(isinstance(found, Mapping) for found in tags) or not all(isinstance(text, str) for text in texts):
        return None
    if not matched(DOMAIN_ID, domain[0]) or not all(matched(PROFILE_NAME, name) for name in profiles):
        return None
    return ListedDomain(*domain), dict(profiles)


def _chunk_id(domain: ListedDomain, profiles: Iterable[str]) -> str:
    return f"{domain.id}/{next(iter(profiles))}"
