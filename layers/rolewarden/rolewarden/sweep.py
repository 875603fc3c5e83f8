"""The sweep: what no event told is found here.

It compares sets and walks over nothing that has not changed. Its steps are messages of a queue of their own, so that
one which runs out of time goes on from a message and never from the start:

list      what SageMaker lists beside what the table has: by LastModifiedTime only what changed is described, at once
          where that is little, else in chunks that several functions work on; the roles of `also_govern`; the tags
describe  one chunk of user profiles
compare   when the last chunk is done: which role carries what, by ListEntitiesForPolicy; what lacks a guardrail goes to
          the work queue, what carries too much to the release queue
audit     what was done since the last sweep, beside what the history says of that

A row of the table knows which chunks of a sweep are still out. Two sweeps at once have a row each; a binding is only
ever written over by one that was read later.
"""

from __future__ import annotations

import json
import time
from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, replace
from typing import Any

from rolewarden.audit import Auditor
from rolewarden.aws import GONE, Aws, ListedDomain
from rolewarden.bindings import DEFAULT_USER, EXECUTION, Binding, BindingsTable, RoleKey, sweeps_scope, tagged
from rolewarden.discovery import Discovery, Reading
from rolewarden.errors import Refused, RetryLater
from rolewarden.events import SWEEP, Nomination, SubjectKey
from rolewarden.guardrails import Fallback, Guardrail
from rolewarden.policies import is_boundary
from rolewarden.publish import DESCRIPTION
from rolewarden.reconcile import Reconciler
from rolewarden.record import Recorder
from rolewarden.work import Work, unlimited

CHUNK = 100
"""User profiles that one message asks to describe, and as many as the listing step describes itself."""

MOST_TAGS = 100_000
"""Bytes of tags that a message may carry: SQS takes 256 KiB."""

ENOUGH = 30.0
"""Seconds that a step leaves unused, to hand the rest over to a message."""


Tags = Mapping[str, Mapping[str, str]]
"""Tags of subjects, by what `tagged` gives."""


@dataclass(frozen=True)
class Sweep:
    """One sweep of an account and region; `began` is its identity, in seconds of the epoch."""

    account: str
    region: str
    began: float

    @property
    def row(self) -> tuple[str, str]:
        """Where the table keeps its progress."""
        return sweeps_scope(self.account, self.region), f"{self.began:.3f}"

    def message(self, step: str, **more: Any) -> dict[str, Any]:
        """A message that goes on with it."""
        return {"account": self.account, "region": self.region, "began": f"{self.began:.3f}", "step": step, **more}

    @classmethod
    def of(cls, body: Mapping[str, Any]) -> Sweep:
        """The sweep that a message goes on with."""
        return cls(str(body["account"]), str(body["region"]), float(body["began"]))


@dataclass
class Queues:
    """Where the sweep sends what: the rest of itself, roles that lack something, roles and policies to release."""

    sweep: str
    work: str
    release: str


@dataclass
class Sweeper:
    """Sweeps accounts and regions. `seconds_left` tells how long the function may still run."""

    aws: Aws
    table: BindingsTable
    discovery: Discovery
    reconciler: Reconciler
    recorder: Recorder
    auditor: Auditor
    queues: Queues
    seconds_left: Callable[[], float] = unlimited
    now: Callable[[], float] = time.time

    def start(self, account: str, region: str) -> dict[str, Any]:
        """Begin a sweep and go as far as time allows. Raises Refused and RetryLater."""
        sweep = Sweep(account, region, self.now())
        self.table.sweep_begins(sweep.row, sweep.began)
        return self.listing(sweep)

    def message(self, body: Mapping[str, Any]) -> dict[str, Any]:
        """Go on with a sweep from one of its messages. Raises Refused and RetryLater."""
        sweep = Sweep.of(body)
        after = str(body.get("after", ""))
        if body["step"] == "describe":
            return self.describe(sweep, ListedDomain(*body["domain"]), body["profiles"])
        if body["step"] == "audit":
            return self.audit(sweep)
        return self.compare(sweep, after) if body["step"] == "compare" else self.listing(sweep, after)

    def listing(self, sweep: Sweep, after: str = "") -> dict[str, Any]:
        """Bind, and compare where no chunk is out; `after` is the domain that was bound last before time ran out."""
        reached = self.bind(sweep, after)
        if reached is not None:
            self.aws.send(self.queues.sweep, [sweep.message("list", after=reached)])
            return {"listed": reached}
        return self.compare(sweep) if self.table.sweep_listed(sweep.row) else {"listed": "everything"}

    def bind(self, sweep: Sweep, after: str = "") -> str | None:
        """Bring the table in step with what is listed, domain by domain; the last one where time runs out."""
        at = self.now()
        tags = self._tags(sweep)
        # At once: a query for each domain would be more calls than the pages of the table.
        known: dict[str, list[Binding]] = defaultdict(list)
        for binding in self.table.of_region(sweep.account, sweep.region):
            known[binding.domain_id].append(binding)
        for domain in self._domains(sweep) or ():
            if domain.id <= after:
                continue
            if self.seconds_left() < ENOUGH:
                return after
            try:
                self._domain(sweep, domain, known[domain.id], tags, at)
            except RetryLater as error:
                self._missed(sweep, domain.id, error)
            after = domain.id
        self._also_governed(sweep, known[""], at)
        return None

    def _domain(
        self, sweep: Sweep, domain: ListedDomain, bound: Iterable[Binding], tags: Tags | None, at: float
    ) -> None:
        self.discovery.named(sweep.region, domain.id, domain.name)
        known = defaultdict(list)
        for binding in bound:
            known[binding.user_profile].append(binding)
        if _changed(known[""], domain.modified):
            reading = self.discovery.refresh(sweep.account, sweep.region, SubjectKey(domain.id))
            self._tell(sweep, reading)
            if reading.gone:
                return
            del known[""]
        own = known.pop("", [])
        try:
            listed = {profile.name: profile for profile in self.aws.user_profiles(sweep.region, domain.id)}
        except Refused as refused:
            if refused.reason == GONE:
                slots = self.discovery.slots(sweep.account, sweep.region, domain.id)
                members = [binding.key for bindings in known.values() for binding in bindings]
                self.table.write((), [*slots, *members], at=self.now())
            else:
                # What is known of its profiles stays, and the other domains are swept all the same.
                self._tell(sweep, Reading(SubjectKey(domain.id), refused=refused))
            return
        gone = [binding.key for name in known.keys() - listed.keys() for binding in known[name]]
        changed = [name for name in sorted(listed) if _changed(known[name], listed[name].modified)]
        same = [binding for name in listed.keys() - set(changed) for binding in known[name]]
        self.table.write(_retagged([*own, *same], tags), gone, at=at)
        chunks = [changed[start : start + CHUNK] for start in range(0, len(changed), CHUNK)]
        messages = [
            sweep.message("describe", domain=[domain.id, domain.name], profiles=_tagged(domain, chunk, tags))
            for chunk in chunks
        ]
        if len(chunks) == 1 and self.seconds_left() > ENOUGH + CHUNK:
            self._describe(sweep, domain, messages[0]["profiles"])
        elif chunks:
            self.table.sweep_waits(sweep.row, {_chunk_id(domain, chunk) for chunk in chunks})
            self.aws.send(self.queues.sweep, messages)

    def describe(
        self, sweep: Sweep, domain: ListedDomain, profiles: Mapping[str, Mapping[str, str] | None]
    ) -> dict[str, Any]:
        """Read one chunk of user profiles, names and tags; after the last that was out, ask for the comparison."""
        self.discovery.named(sweep.region, domain.id, domain.name)
        self._describe(sweep, domain, profiles)
        if self.table.sweep_done(sweep.row, _chunk_id(domain, profiles)):
            self.aws.send(self.queues.sweep, [sweep.message("compare")])
        return {"described": len(profiles)}

    def _describe(self, sweep: Sweep, domain: ListedDomain, profiles: Mapping[str, Mapping[str, str] | None]) -> None:
        at = self.now()
        found: list[Binding] = []
        gone: list[tuple[str, str]] = []
        known: tuple[Binding, ...] = ()
        for name, tags in profiles.items():
            try:
                reading = self.discovery.profile(sweep.account, sweep.region, domain.id, name, tags=tags)
            except RetryLater as error:
                self._missed(sweep, f"{domain.id}/{name}", error)
                continue
            self._tell(sweep, reading)
            if reading.refused and reading.bindings:
                known = known or self.table.of_domain(sweep.account, sweep.region, domain.id)
                reading = reading.with_known(known)
            if not reading.refused or reading.bindings:
                found += reading.bindings
                gone += self.discovery.slots(sweep.account, sweep.region, domain.id, name)
        self.table.write(found, gone, at=at)

    def _missed(self, sweep: Sweep, what: str, error: RetryLater) -> None:
        """One subject that AWS cannot tell of now holds up no other; it stays as it is known till the next sweep."""
        self.table.sweep_missed(sweep.row)
        self.recorder.missed(what, error)

    def _tags(self, sweep: Sweep) -> Tags | None:
        """All subjects' tags, a call for each hundred: they change without a trace in LastModifiedTime.

        None where no rule asks for them, or AWS refuses them: then they are taken as they were.
        """
        if not self.reconciler.rules.asks_for_tags:
            return None
        try:
            return self.aws.subject_tags(sweep.region)
        except Refused as refused:
            self._tell(sweep, Reading(SubjectKey("*"), refused=refused))
            return None

    def _tell(self, sweep: Sweep, reading: Reading) -> None:
        if reading.refused:
            self.table.sweep_missed(sweep.row)
            self.recorder.refused(
                Nomination(sweep.account, sweep.region, SWEEP, subject=reading.subject), reading.refused
            )

    def _domains(self, sweep: Sweep) -> list[ListedDomain] | None:
        """All domains in the order of their ids; None where AWS does not list them: then they are as they were."""
        try:
            return sorted(self.aws.domains(sweep.region), key=lambda domain: domain.id)
        except Refused as refused:
            self._tell(sweep, Reading(SubjectKey("*"), refused=refused))
            return None

    def _also_governed(self, sweep: Sweep, bound: Iterable[Binding], at: float) -> None:
        known = {binding.key: binding for binding in bound}
        rules = self.reconciler.rules.also_govern
        found = {}
        if rules:
            for role in self.aws.roles():
                if binding := self.discovery.also_governed(sweep.account, role):
                    found[binding.key] = binding
        new = [binding for key, binding in found.items() if key not in known]
        self.table.write(new, known.keys() - found.keys(), at=at)

    def compare(self, sweep: Sweep, after: str = "") -> dict[str, Any]:
        """Send what lacks a guardrail to the work queue, and what carries too much to the release queue.

        `after` names the last role that was dealt with before time ran out.
        """
        read_at = self.now()
        bindings = self._bound(sweep)
        roles: dict[RoleKey, list[Binding]] = defaultdict(list)
        for binding in bindings:
            if binding.role:
                roles[binding.role].append(binding)
        carriers = self._carriers(sweep)
        required = {role: self.reconciler.needs(role, bound) for role, bound in roles.items()}
        # The boundary of a role that carries all again is reconcile's to take off.
        bounded = self._bounded(carriers)
        lacking = [
            role
            for role in sorted(roles, key=lambda role: role.path)
            if required[role]
            and (
                role.account != sweep.account
                or role.name in bounded
                or any(role.name not in carriers.get(name, ()) for name in required[role])
            )
        ]
        works = [Work.of_sweep(role, sweep.account, roles[role], read_at) for role in lacking if role.path > after]
        for start in range(0, len(works), 10):
            if self.seconds_left() < ENOUGH:
                self.aws.send(self.queues.sweep, [sweep.message("compare", after=after)])
                return {"compared": after}
            some = works[start : start + 10]
            self.aws.send(self.queues.work, [work.as_dict() for work in some])
            after = some[-1].role.path
        too_much = self._release(sweep, {role.name: names for role, names in required.items()}, carriers)
        self._unkeepable(bindings)
        counts = {
            "subjects": len({binding.label for binding in bindings}),
            "roles": len(roles),
            "lacking": len(lacking),
            "exempt": sum(self.reconciler.exemption(role) is not None for role in roles),
            "carrying_too_much": too_much,
            "seconds": round(self.now() - sweep.began),
        }
        self.recorder.swept(sweep.account, sweep.region, counts)
        self.table.sweep_completed(sweep.row, counts)
        # A step of its own: what stands in the way of it is no reason to call the sweep incomplete.
        self.aws.send(self.queues.sweep, [sweep.message("audit")])
        return counts

    def audit(self, sweep: Sweep) -> dict[str, Any]:
        """Compare what Rolewarden has done with its history. Raises RetryLater."""
        done = self.auditor.run(sweep.account, self.now())
        if done.get("behind"):
            self.aws.send(self.queues.sweep, [sweep.message("audit")])
        return done

    def _carriers(self, sweep: Sweep) -> dict[str, frozenset[str]]:
        """Which roles carry which of Rolewarden's policies, those of guardrails that are out of the file too.

        A boundary is carried by the roles whose permissions boundary it is.
        """
        published, found = self.reconciler.published(), {}
        for name in self.aws.own_policies():
            arn = self.reconciler.arn(name, sweep.account)
            if name in published or self.aws.policy_description(arn) == DESCRIPTION:
                carriers = self.aws.roles_with_boundary if is_boundary(name) else self.aws.roles_with_policy
                found[name] = carriers(arn)
        return found

    def _bounded(self, carriers: Mapping[str, Iterable[str]]) -> set[str]:
        """Names of the roles that a boundary of Rolewarden's stands in for, as long as there is to be such a thing."""
        if self.reconciler.rules.fallback is not Fallback.BOUNDARY:
            return set()
        return {role for name, roles in carriers.items() if is_boundary(name) for role in roles}

    def _bound(self, sweep: Sweep) -> list[Binding]:
        """Every binding of the account and region; those of domains that are gone are taken out."""
        at = self.now()
        domains = self._domains(sweep)
        there = None if domains is None else {domain.id for domain in domains}
        bound, gone = [], []
        for binding in self.table.of_region(sweep.account, sweep.region):
            if binding.domain_id and there is not None and binding.domain_id not in there:
                gone.append(binding.key)
            else:
                bound.append(binding)
        self.table.write((), gone, at=at)
        return bound

    def _release(
        self, sweep: Sweep, required: Mapping[str, Mapping[str, Guardrail]], carriers: Mapping[str, Iterable[str]]
    ) -> int:
        """Ask for what roles carry and do not need to be taken off; how many roles carry too much."""
        published = self.reconciler.published()
        kept = self.reconciler.kept()
        surplus: dict[str, list[str]] = defaultdict(list)
        for name, roles in sorted(carriers.items()):
            for role in roles:
                if self.reconciler.may_lose(name, required.get(role, {}), ()):
                    surplus[role].append(name)
        asked = [
            {"account": sweep.account, "role": role, "policies": names}
            for role, carried in sorted(surplus.items())
            if (names := [name for name in carried if name not in kept])
        ]
        retired = [{"account": sweep.account, "policy": name} for name in sorted(carriers.keys() - published)]
        # Who could not be read may need what seems too much; and who only observes takes nothing off.
        if (asked or retired) and not self.reconciler.rules.observes and self.table.sweep_is_whole(sweep.row):
            self.aws.send(self.queues.release, [*asked, *retired])
        return len(surplus)

    def _unkeepable(self, bindings: Iterable[Binding]) -> None:
        """Tell of user profiles whose assignment cannot be kept, as they run as their domain's role."""
        bindings = list(bindings)
        default = {b.domain_id: b for b in bindings if b.kind == DEFAULT_USER and b.via == EXECUTION}
        for binding in bindings:
            if binding.role is None and (shared := default.get(binding.domain_id)):
                missing = self.reconciler.out_of_reach(binding, shared)
                if missing:
                    self.recorder.unkeepable(binding, shared, missing, SWEEP)


def _changed(known: Iterable[Binding], modified: str) -> bool:
    """Whether a subject has to be described, as it is not known or not known as it is listed."""
    known = list(known)
    return not known or any(not binding.modified or binding.modified != modified for binding in known)


def _retagged(bindings: Iterable[Binding], tags: Tags | None) -> list[Binding]:
    """Those of `bindings` whose tags have changed, with their tags."""
    if tags is None:
        return []
    now = ((binding, tags.get(tagged(binding.domain_id, binding.user_profile), {})) for binding in bindings)
    return [replace(binding, tags=found) for binding, found in now if found != binding.tags]


def _tagged(domain: ListedDomain, profiles: Iterable[str], tags: Tags | None) -> Mapping[str, Mapping[str, str] | None]:
    """User profiles with their tags; None where they are not known from the list, or too many for a message."""
    names = list(profiles)
    found = {name: (tags or {}).get(tagged(domain.id, name), {}) for name in names}
    if tags is None or len(json.dumps(found)) > MOST_TAGS:
        return dict.fromkeys(names)
    return found


def _chunk_id(domain: ListedDomain, profiles: Iterable[str]) -> str:
    return f"{domain.id}/{next(iter(profiles))}"
