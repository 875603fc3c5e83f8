"""IAM's policies under `/rolewarden/`, kept to what the guardrails say.

Writes policies and attaches none. What a policy says is compared by digest, so that nothing is written where nothing
differs. A rule change that moves a statement from one policy to another reaches IAM in two steps: see
`rolewarden.placement`.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, Self

from rolewarden.aws import PublishedPolicy
from rolewarden.bindings import Binding, RoleKey
from rolewarden.calls import SendsMessages, WritesPolicies
from rolewarden.errors import Refused, RetryLater, RolewardenError
from rolewarden.events import ACCOUNT, EvaluationRequest, mapping, matched, parse_event
from rolewarden.guardrails import Mode
from rolewarden.names import folded, same
from rolewarden.needs import Needs
from rolewarden.origin import DEPLOYMENT, SCHEDULED_CHECK, SWEEP, Origin, Trigger
from rolewarden.own_events import GuardrailsPublished
from rolewarden.placement import added, identities, identity, is_ours, rearranged, statements_of
from rolewarden.policies import DESCRIPTION, Policy, Statement, compile_rules, digest, document_of, is_boundary
from rolewarden.progress import Progress
from rolewarden.record import Recorder, logger
from rolewarden.runtime import Runtime
from rolewarden.settings import PublishSettings
from rolewarden.verdicts import CREATED, REPLACED, UNCHANGED
from rolewarden.work import BEGIN, PUBLISH, RECHECKS, Recheck, Rechecks

LONGEST_DELAY = 900
"""The greatest number of seconds by which SQS can delay a message."""


@dataclass
class Publisher:
    """Brings the policies of accounts to the rules of `needs`.

    `held` names the policies in which the last publication kept statements: some role needs them and does not have the
    policy yet to which they move.
    """

    aws: WritesPolicies
    recorder: Recorder
    needs: Needs
    held: tuple[str, ...] = ()

    def publish(self, account: str, origin: Origin, *, only: str = "", announces: bool = True) -> dict[str, str]:
        """All policies, or the one named `only`: what was done to each, "created", "replaced" or "unchanged".

        Empty where `only` is no guardrail's policy. A deployment is all or nothing: what it has done is taken back
        where a later policy cannot be written, and CloudFormation rolls back to guardrails that are in force. A change
        that no deployment asked for is a finding, and one policy that cannot be restored holds up no other. With
        `announces` whoever listens hears of a change. Raises Refused, RetryLater and RulesError.
        """
        deploys = origin.trigger is Trigger.DEPLOYMENT
        state = _AccountPolicies(self.aws.within(account), account, self.needs)
        done: dict[str, str] = {}
        undo: list[Callable[[], None]] = []
        failed: dict[str, RolewardenError] = {}
        policies = [policy for policy in state.policies if not only or same(only, policy.name)]
        for policy in policies:
            try:
                state.found(policy.name)
            except RolewardenError as error:
                if deploys:
                    raise
                failed[policy.name] = error
        readable = [policy for policy in policies if policy.name not in failed]
        for policy in self._in_order(state, readable):
            try:
                change = self._bring(policy, state, undo, origin)
            except RolewardenError as error:
                if deploys:
                    self._take_back(undo)
                    raise
                failed[policy.name] = error
                continue
            failed.pop(policy.name, None)
            if done.get(policy.name, UNCHANGED) == UNCHANGED:
                done[policy.name] = change
        self.held = tuple(name for name in done if state.is_held(name))
        if self.held:
            # No deny is lost meanwhile: a new one may come late.
            extra = {"account": account, "policies": list(self.held), "delayed": state.delayed(done)}
            logger.warning("policies keep statements until every role has these from another policy", extra=extra)
        changes = {name for name, change in done.items() if change != UNCHANGED} - state.completed
        changed = deploys or (done and origin.call == "DeletePolicy") or changes
        if changed and announces:
            # The sweep listens: a policy that was deleted is attached to nothing, also where somebody or an earlier try
            # has made it again. No deployment is rolled back for want of this.
            event = GuardrailsPublished(account=account, policies=done, trigger=origin.trigger, cause=origin.cause)
            self.recorder.announce(event, needed=not deploys)
        if failed:
            raise next(iter(failed.values()))
        return done

    def _in_order(self, state: _AccountPolicies, policies: Sequence[Policy]) -> Iterator[Policy]:
        """The policies to bring, some of them again: a policy can let go of a statement once another one has it."""
        there = [policy for policy in policies if state.found(policy.name)]
        yield from there
        yield from (policy for policy in policies if policy not in there)
        writes = -1
        while writes < state.writes and any(not state.is_settled(policy.name) for policy in policies):
            writes = state.writes
            yield from (policy for policy in policies if not state.is_settled(policy.name))

    def _bring(self, policy: Policy, state: _AccountPolicies, undo: list[Callable[[], None]], origin: Origin) -> str:
        aws, arn = state.aws, policy.arn(self.needs.partition, state.account)
        deploys, correlation_id = origin.trigger is Trigger.DEPLOYMENT, origin.new_correlation_id()
        found = state.found(policy.name)
        if found is not None and digest(found.text) == digest(policy.document) and not state.is_rearranging:
            return UNCHANGED
        wanted = Policy(policy.name, document_of(state.wanted(policy)))
        if found is None:
            aws.create_policy(policy.name, wanted.text, DESCRIPTION, correlation_id=correlation_id)
            undo.append(lambda: aws.delete_policy(arn))
            change, version = CREATED, "v1"
        elif digest(found.text) == digest(wanted.document):
            return UNCHANGED
        else:
            finishes = origin.trigger is Trigger.SCHEDULE and state.is_on_its_way(policy.name)
            # The end of a deployment's work, and no drift: the history need not know of it.
            correlation_id = DEPLOYMENT.new_correlation_id() if finishes else correlation_id
            version = aws.replace_policy(arn, wanted.text, correlation_id=correlation_id)
            undo.append(lambda: aws.set_default_version(arn, found.version, instead_of=version))
            change = REPLACED
            if finishes:
                state.completed.add(policy.name)
        state.remember(policy.name, PublishedPolicy(version, wanted.text))
        if not deploys and policy.name not in state.completed:
            self.recorder.record_restored_policy(state.account, policy.name, change, origin, correlation_id)
        return change

    def _take_back(self, undo: list[Callable[[], None]]) -> None:
        for step in reversed(undo):
            try:
                step()
            except (Refused, RetryLater) as error:
                # The rollback of the deployment publishes the old guardrails anyway.
                logger.error("a policy could not be taken back", extra={"why": str(error)})


@dataclass
class _AccountPolicies:
    """The policies of one account as IAM has them, and the roles that depend on them; each read when first needed.

    `writes` counts the policies written so far. `completed` names those that a scheduled check brought to the end of a
    rule change, which is no drift.
    """

    aws: WritesPolicies
    account: str
    needs: Needs
    writes: int = 0
    completed: set[str] = field(default_factory=set)
    _found: dict[str, PublishedPolicy | None] = field(default_factory=dict)
    _said: dict[str, frozenset[str]] = field(default_factory=dict)

    @cached_property
    def policies(self) -> tuple[Policy, ...]:
        """The policies that the rules ask for, in the order of the file."""
        return compile_rules(self.needs.rules, self.needs.partition)

    @cached_property
    def targets(self) -> dict[str, tuple[Statement, ...]]:
        """The statements that each policy is to have in the end, by the policy's name."""
        return {policy.name: statements_of(policy.document) for policy in self.policies}

    def found(self, name: str) -> PublishedPolicy | None:
        """The policy as IAM has it, with later writes; None if it does not exist."""
        if name not in self._found:
            self._found[name] = self.aws.policy(self.needs.arn(name, self.account))
        return self._found[name]

    def remember(self, name: str, policy: PublishedPolicy) -> None:
        """Remember what a policy says from now on."""
        self._found[name] = policy
        self._said.pop(name, None)
        self.writes += 1

    def says(self, name: str) -> tuple[Statement, ...]:
        """The statements of a policy now; none if it does not exist."""
        found = self.found(name)
        return statements_of(found.text) if found else ()

    def said(self, *names: str) -> frozenset[str]:
        """The statements that these policies have now, by `identity`."""
        for name in names:
            if name not in self._said:
                self._said[name] = identities(self.says(name))
        return frozenset[str]().union(*(self._said[name] for name in names))

    @cached_property
    def _aims(self) -> dict[str, frozenset[str]]:
        return {name: identities(statements) for name, statements in self.targets.items()}

    def is_settled(self, name: str) -> bool:
        """Whether a policy says exactly what it is to say in the end."""
        return self.said(name) == self._aims[name]

    def is_held(self, name: str) -> bool:
        """Whether a policy says more than it is to say in the end."""
        return bool(self.said(name) - self._aims[name])

    @property
    def is_rearranging(self) -> bool:
        """Whether a policy that was read lacks something that another one of its guardrail may have to say for it."""
        return any(
            found is not None and self._aims[name] - self.said(name)
            for name, found in self._found.items()
            if name in self.targets
        )

    def is_on_its_way(self, name: str) -> bool:
        """Whether a policy can be the work of a rule change: it keeps statements, and the compiler can write each."""
        return self.is_held(name) and all(is_ours(one) or identity(one) in self._aims[name] for one in self.says(name))

    def _siblings(self, name: str) -> tuple[str, ...]:
        """The policies that a role has to have together with this one, itself among them."""
        if is_boundary(name):
            return (name,)
        rules = self.needs.rules.guardrails
        return next(names for guardrail in rules if name in (names := self._policies_of(guardrail)))

    def _policies_of(self, guardrail: str) -> tuple[str, ...]:
        return tuple(policy.name for policy in self.needs.policies(guardrail))

    def wanted(self, policy: Policy) -> tuple[Statement, ...]:
        """The statements that a policy must have now."""
        target, says = self.targets[policy.name], self.says(policy.name)
        # Without a statement to keep, the roles that need it need not be read.
        is_rearranged = any(is_ours(one) and identity(one) not in self._aims[policy.name] for one in says)
        statements = rearranged(says, target, self._missing(policy.name)) if is_rearranged else target
        siblings = [name for name in self._siblings(policy.name) if name != policy.name]
        for sibling in filter(self.found, siblings):
            for statement in self.targets[sibling]:
                # The sibling has no room for it yet. Until it has, this policy says it.
                if identity(statement) not in self.said(*siblings) | identities(statements):
                    statements = added(statements, statement) or statements
        return statements

    def _missing(self, name: str) -> dict[str, Statement]:
        """The statements, by `identity`, that some role with this policy needs and has from no other policy."""
        carriers = (role for role, carried in self._carried.items() if name in carried)
        kinds = {(self._needed(role), frozenset(self._carried[role] - {name})) for role in carriers}
        missing: dict[str, Statement] = {}
        for needed, others in kinds:
            had = self.said(*others)
            for statement in (one for policy in needed for one in self.targets[policy]):
                if (key := identity(statement)) not in had:
                    missing[key] = statement
        return missing

    @cached_property
    def _carried(self) -> dict[str, set[str]]:
        """The policies that each role has attached or has as its permissions boundary, by the role's name."""
        carried: dict[str, set[str]] = defaultdict(set)
        for policy in self.policies:
            users = self.aws.roles_with_boundary if is_boundary(policy.name) else self.aws.roles_with_policy
            for role in users(self.needs.arn(policy.name, self.account)):
                carried[role].add(policy.name)
        return carried

    @cached_property
    def _bindings(self) -> dict[str, list[Binding]]:
        bindings: dict[str, list[Binding]] = defaultdict(list)
        for binding in self.needs.bindings.of_account(self.account):
            if binding.role and binding.role.account == self.account:
                bindings[folded(binding.role.name)].append(binding)
        return bindings

    def _needed(self, role: str) -> frozenset[str]:
        """The policies that a role must have by its bindings. If the account has no bindings yet, those that it has."""
        if not self._bindings:
            carried = (name for name in self._carried[role] if not is_boundary(name))
            return frozenset(sibling for name in carried for sibling in self._siblings(name))
        needs = self.needs.of_role(RoleKey(self.account, role), self._bindings.get(folded(role), ()))
        return frozenset(name for name, guardrail in needs.items() if guardrail.mode is Mode.ENFORCE)

    def delayed(self, names: Iterable[str]) -> list[str]:
        """The Sids of new statements for which no policy of their guardrail has room yet, each after its policy."""
        return [
            f"{name}: {statement['Sid']}"
            for name in names
            for statement in self.targets[name]
            if identity(statement) not in self.said(*self._siblings(name))
        ]


@dataclass
class Publications:
    """The publications of PublishFunction: for a deployment, an event, a message of its queue, or a scheduled check.

    - `account`: the account of the function. `own_account` is the same, or empty if the stack covers an organization.
    - `regions`: the regions whose domains the stack covers.
    - `sweep_queue_url`: the queue that begins the sweep of an account.
    """

    publisher: Publisher
    progress: Progress
    rechecks: Rechecks
    queues: SendsMessages
    sweep_queue_url: str
    account: str
    own_account: str
    regions: tuple[str, ...]

    @classmethod
    def of(cls, runtime: Runtime, settings: PublishSettings) -> Self:
        """Put the publications together."""
        aws = runtime.aws
        return cls(
            Publisher(aws, runtime.recorder, runtime.needs),
            Progress(aws, settings.bindings_table, runtime.clock),
            Rechecks(aws, settings.publish_queue_url, settings.recheck_seconds),
            aws,
            settings.sweep_queue_url,
            settings.account,
            # In an organization the account of an event is a hint: STS decides whether the function can enter it.
            "" if settings.member_role else settings.account,
            settings.regions,
        )

    def run(self, account: str, origin: Origin) -> dict[str, Any]:
        """Bring all of IAM's policies to what the guardrails say. Raises Refused, RetryLater and RulesError."""
        done = self.publisher.publish(account, origin)
        self._complete_soon(account, origin)
        return {"policies": done}

    def _complete_soon(self, account: str, origin: Origin) -> None:
        """Have a deployment completed once the sweep has attached the policies to which statements have moved.

        Without this message the scheduled check completes it.
        """
        if origin.trigger is not Trigger.DEPLOYMENT or not self.publisher.held:
            return
        message = {"account": account, "step": PUBLISH}
        try:
            delay = min(LONGEST_DELAY, RECHECKS * self.rechecks.delay)
            self.queues.send(self.rechecks.queue_url, [message], delay=delay)
        except (Refused, RetryLater) as error:
            logger.error("the scheduled check completes the deployment", extra={"account": account, "why": str(error)})

    def handle_event(self, event: Any) -> dict[str, Any]:
        """Restore the policy that an event names. Raises Refused and RetryLater."""
        request = parse_event(event, self.own_account, self.regions)
        if request.ignored or not request.policy:
            self.publisher.recorder.record_ignored_event(request)
            return request.summary
        done = self._restored(request)
        self.rechecks.schedule(Recheck(request, 1))
        return done

    def handle_message(self, body: Any) -> dict[str, Any]:
        """Work on one message of the publish queue: an account to check, or a policy that IAM may have shown as it was.

        Raises as `handle_event` does.
        """
        fields = mapping(body)
        if fields.get("step") == PUBLISH and (account := matched(ACCOUNT, fields.get("account"))):
            if account == self.account:
                return self.run(account, SCHEDULED_CHECK)
            return self._publish_before_sweep(account)
        second = Recheck.from_dict(body)
        if second is None or not second.request.policy:
            logger.error("a message of PublishQueue is no recheck", extra={"body": str(body)[:200]})
            return {"ignored": "no recheck"}
        return self._restored(second.request)

    def _publish_before_sweep(self, account: str) -> dict[str, Any]:
        """Bring another account's policies to what they are to say, and have it swept: roles may then carry them.

        The message does not say whether this is a deployment, because a deployment restores policies without an alert.
        The table does: by a deployment the account's last sweep had other rules, and a new account had no sweep.
        """
        deploys = self.progress.rules_of_last_sweep(account) != self.publisher.needs.fingerprint
        origin = DEPLOYMENT if deploys else SCHEDULED_CHECK
        done: dict[str, str] = {}
        try:
            done = self.publisher.publish(account, origin, announces=False)
            self._complete_soon(account, origin)
        except Refused as refused:
            self.publisher.recorder.record_account_finding(account, refused, SWEEP)
        self.queues.send(self.sweep_queue_url, [{"account": account, "step": BEGIN}])
        return {"policies": done}

    def _restored(self, request: EvaluationRequest) -> dict[str, Any]:
        done = self.publisher.publish(request.account, request.origin, only=request.policy)
        return {**request.summary, "policies": done}
