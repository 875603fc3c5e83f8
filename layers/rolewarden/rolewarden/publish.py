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

from rolewarden.aws import Aws, PublishedPolicy
from rolewarden.bindings import Binding, RoleKey
from rolewarden.errors import Refused, RetryLater, RolewardenError
from rolewarden.events import CHECK, DEPLOYMENT, SWEEP, Cause
from rolewarden.guardrails import Mode
from rolewarden.names import folded, same
from rolewarden.placement import added, document_of, identities, identity, is_ours, rearranged, statements_of
from rolewarden.policies import ALL_THAT_IS_NOT_DENIED, Policy, Statement, compile_rules, digest, is_boundary
from rolewarden.reconcile import Reconciler
from rolewarden.record import GUARDRAILS_PUBLISHED, Recorder, logger

DESCRIPTION = "A guardrail of Rolewarden: edit guardrails.yaml"
"""Marks a policy as one that Rolewarden made: no other is ever retired."""

CREATED, REPLACED, UNCHANGED = "created", "replaced", "unchanged"


@dataclass
class Publisher:
    """Brings the policies of accounts to what the rules of `reconciler` say.

    `held` names the policies that the last publication left with statements that are to go: the roles that still need
    them do not have the policies yet to which these statements have moved.
    """

    aws: Aws
    recorder: Recorder
    reconciler: Reconciler
    held: tuple[str, ...] = ()

    def publish(self, account: str, cause: Cause, *, only: str = "", announces: bool = True) -> dict[str, str]:
        """All policies, or the one named `only`: what was done to each, "created", "replaced" or "unchanged".

        Empty where `only` is no guardrail's policy. A deployment is all or nothing: what it has done is taken back
        where a later policy cannot be written, and CloudFormation rolls back to guardrails that are in force. A change
        that no deployment asked for is a finding, and one policy that cannot be restored holds up no other. With
        `announces` whoever listens hears of a change. Raises Refused, RetryLater and RulesError.
        """
        deploys = cause == DEPLOYMENT
        state = _Account(self.aws.within(account), account, self.reconciler)
        done: dict[str, str] = {}
        completed: set[str] = set()
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
                change = self._bring(policy, state, undo, cause, completed)
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
            extra = {"account": account, "policies": list(self.held), "late": state.late(done)}
            logger.warning("policies keep statements until every role has these from another policy", extra=extra)
        changes = {name for name, change in done.items() if change != UNCHANGED} - completed
        changed = deploys or (done and cause.event_name == "DeletePolicy") or changes
        if changed and announces:
            # The sweep listens: a policy that was deleted is attached to nothing, also where somebody or an earlier try
            # has made it again. No deployment is rolled back for want of this.
            detail = {"account": account, "policies": done, "cause": cause.as_dict()}
            self.recorder.announce(GUARDRAILS_PUBLISHED, detail, needed=not deploys)
        if failed:
            raise next(iter(failed.values()))
        return done

    def _in_order(self, state: _Account, policies: Sequence[Policy]) -> Iterator[Policy]:
        """The policies to bring, some of them again: a policy can let go of a statement once another one has it."""
        there = [policy for policy in policies if state.found(policy.name)]
        yield from there
        yield from (policy for policy in policies if policy not in there)
        writes = -1
        while writes < state.writes and any(not state.is_settled(policy.name) for policy in policies):
            writes = state.writes
            yield from (policy for policy in policies if not state.is_settled(policy.name))

    def _bring(
        self, policy: Policy, state: _Account, undo: list[Callable[[], None]], cause: Cause, completed: set[str]
    ) -> str:
        aws, arn = state.aws, policy.arn(self.aws.partition, state.account)
        deploys, mark = cause == DEPLOYMENT, cause.mark()
        found = state.found(policy.name)
        if found is not None and digest(found.text) == digest(policy.document) and not state.is_rearranging:
            return UNCHANGED
        document = document_of(state.wanted(policy))
        text = policy.text if digest(document) == digest(policy.document) else Policy(policy.name, document).text
        if found is None:
            aws.create_policy(policy.name, text, DESCRIPTION, mark=mark)
            undo.append(lambda: aws.delete_policy(arn))
            change, version = CREATED, "v1"
        elif digest(found.text) == digest(document):
            return UNCHANGED
        else:
            finishes = cause in {CHECK, SWEEP} and state.is_on_its_way(policy.name)
            # The end of a deployment's work, and no drift: the history need not know of it.
            mark = DEPLOYMENT.mark() if finishes else mark
            version = aws.replace_policy(arn, text, mark=mark)
            undo.append(lambda: aws.set_default_version(arn, found.version, instead_of=version))
            change = REPLACED
            if finishes:
                completed.add(policy.name)
        state.wrote(policy.name, PublishedPolicy(version, text))
        if not deploys and policy.name not in completed:
            self.recorder.policy(state.account, policy.name, change, cause, mark)
        return change

    def _take_back(self, undo: list[Callable[[], None]]) -> None:
        for step in reversed(undo):
            try:
                step()
            except (Refused, RetryLater) as error:
                # The rollback of the deployment publishes the old guardrails anyway.
                logger.error("a policy could not be taken back", extra={"why": str(error)})


@dataclass
class _Account:
    """What the policies of one account say now, and which roles depend on them; read when it is first needed."""

    aws: Aws
    account: str
    reconciler: Reconciler
    writes: int = 0
    _found: dict[str, PublishedPolicy | None] = field(default_factory=dict)

    @cached_property
    def policies(self) -> tuple[Policy, ...]:
        """What the rules ask for, in the order of the file."""
        return compile_rules(self.reconciler.rules, self.aws.partition)

    @cached_property
    def targets(self) -> dict[str, tuple[Statement, ...]]:
        """The statements that each policy is to have in the end, by the policy's name."""
        return {policy.name: statements_of(policy.document) for policy in self.policies}

    def found(self, name: str) -> PublishedPolicy | None:
        """What IAM has of a policy, with what was written since."""
        if name not in self._found:
            self._found[name] = self.aws.policy(self.reconciler.arn(name, self.account))
        return self._found[name]

    def wrote(self, name: str, policy: PublishedPolicy) -> None:
        """Remember what a policy says from now on."""
        self._found[name] = policy
        self.writes += 1

    def says(self, name: str) -> tuple[Statement, ...]:
        """The statements of a policy now; none if it does not exist."""
        found = self.found(name)
        return statements_of(found.text) if found else ()

    def is_settled(self, name: str) -> bool:
        """Whether a policy says exactly what it is to say in the end."""
        return identities(self.says(name)) == identities(self.targets[name])

    def is_held(self, name: str) -> bool:
        """Whether a policy says more than it is to say in the end."""
        return bool(identities(self.says(name)) - identities(self.targets[name]))

    @property
    def is_rearranging(self) -> bool:
        """Whether a policy that was read lacks something that another one of its guardrail may have to say for it."""
        return any(
            found is not None and identities(self.targets[name]) - identities(self.says(name))
            for name, found in self._found.items()
            if name in self.targets
        )

    def is_on_its_way(self, name: str) -> bool:
        """Whether a policy says what a rule change leaves for a while: it keeps statements, all of them our own."""
        return self.is_held(name) and all(is_ours(one) for one in self.says(name) if not _is_everything(one))

    def _siblings(self, name: str) -> tuple[str, ...]:
        """The policies that a role has to have together with this one, itself among them."""
        if is_boundary(name):
            return (name,)
        rules = self.reconciler.rules.guardrails
        return next(names for guardrail in rules if name in (names := self._policies_of(guardrail)))

    def _policies_of(self, guardrail: str) -> tuple[str, ...]:
        return tuple(policy.name for policy in self.reconciler.policies(guardrail))

    def wanted(self, policy: Policy) -> tuple[Statement, ...]:
        """What a policy has to say now."""
        target = self.targets[policy.name]
        says, kept = self.says(policy.name), identities(target)
        # Without a statement that could be kept, nobody need be asked who still needs it.
        is_rearranged = any(is_ours(one) and identity(one) not in kept for one in says)
        statements = rearranged(says, target, self._missing(policy.name)) if is_rearranged else target
        others = [self.says(name) for name in self._siblings(policy.name) if name != policy.name]
        said = identities(one for statements_ in others for one in statements_)
        for sibling in self._siblings(policy.name):
            if sibling == policy.name or self.found(sibling) is None:
                continue
            for statement in self.targets[sibling]:
                # It waits for room there. Until it has that, this policy says it.
                key = identity(statement)
                if key not in said and key not in identities(statements):
                    statements = added(statements, statement) or statements
        return statements

    def _missing(self, name: str) -> dict[str, Statement]:
        """What some role with this policy needs and has from no other policy, by `identity`."""
        carriers = (role for role, carried in self._carried.items() if name in carried)
        kinds = {(self._needed(role), frozenset(self._carried[role] - {name})) for role in carriers}
        missing: dict[str, Statement] = {}
        for needed, others in kinds:
            had = frozenset[str]().union(*(identities(self.says(other)) for other in others))
            for statement in (one for policy in needed for one in self.targets[policy]):
                if (key := identity(statement)) not in had:
                    missing[key] = statement
        return missing

    @cached_property
    def _carried(self) -> dict[str, set[str]]:
        """Which of the policies each role has attached, or has as its permissions boundary, by the role's name."""
        carried: dict[str, set[str]] = defaultdict(set)
        for policy in self.policies:
            users = self.aws.roles_with_boundary if is_boundary(policy.name) else self.aws.roles_with_policy
            for role in users(self.reconciler.arn(policy.name, self.account)):
                carried[role].add(policy.name)
        return carried

    @cached_property
    def _bindings(self) -> dict[str, list[Binding]]:
        bindings: dict[str, list[Binding]] = defaultdict(list)
        for binding in self.reconciler.table.of_account(self.account):
            if binding.role and binding.role.account == self.account:
                bindings[folded(binding.role.name)].append(binding)
        return bindings

    def _needed(self, role: str) -> frozenset[str]:
        """The policies that a role has to have: by what it is bound to, or as long as nothing is bound, all it has."""
        if not self._bindings:
            carried = (name for name in self._carried[role] if not is_boundary(name))
            return frozenset(sibling for name in carried for sibling in self._siblings(name))
        needs = self.reconciler.needs(RoleKey(self.account, role), self._bindings.get(folded(role), ()))
        return frozenset(name for name, guardrail in needs.items() if guardrail.mode is Mode.ENFORCE)

    def late(self, names: Iterable[str]) -> list[str]:
        """Sids of what these policies are to deny and no policy of their guardrail has room for yet."""
        late = []
        for name in names:
            said = identities(one for sibling in self._siblings(name) for one in self.says(sibling))
            late += [f"{name}: {one['Sid']}" for one in self.targets[name] if identity(one) not in said]
        return late


def _is_everything(statement: Statement) -> bool:
    return identity(statement) == identity(ALL_THAT_IS_NOT_DENIED)
