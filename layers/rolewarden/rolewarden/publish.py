"""PublishFunction: it writes IAM's policies under `/rolewarden/`, so that they match the guardrails.

This module writes policies and attaches none. It compares policies by digest, and writes only those that differ. A rule
change that moves a statement from one policy to another reaches IAM in two steps: see `rolewarden.placement`.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, Self

from rolewarden.bindings import Binding, RoleKey
from rolewarden.calls import ReadsStacks, SendsMessages, WritesPolicies
from rolewarden.clock import Clock
from rolewarden.documents import digest
from rolewarden.errors import NotPublished, Refused, RetryLater, RolewardenError, RulesError
from rolewarden.events import ACCOUNT, EvaluationRequest, mapping, matched, parse_event
from rolewarden.guardrails import Fallback, Mode
from rolewarden.listed import PublishedPolicy
from rolewarden.names import folded, same
from rolewarden.needs import Needs
from rolewarden.origin import DEPLOYMENT, SCHEDULED_CHECK, SWEEP, Origin, Trigger
from rolewarden.own_events import GuardrailsPublished
from rolewarden.packing import Statement, document_of
from rolewarden.placement import added, identities, identity, rearranged, statements_of
from rolewarden.policies import DESCRIPTION, Policy, compile_rules, is_boundary
from rolewarden.progress import Progress
from rolewarden.published import NotesDocuments, PublishedDocuments
from rolewarden.record import Recorder, logger
from rolewarden.rules_log import OUTPUT, RulesLog, document_in
from rolewarden.runtime import Runtime
from rolewarden.settings import PublishSettings
from rolewarden.stacks import StackReader
from rolewarden.verdicts import CREATED, REPLACED, UNCHANGED
from rolewarden.work import BEGIN, DEPLOYER, LONGEST_DELAY, PUBLISH, RECHECKS, Recheck, Rechecks, rechecks_in


@dataclass
class Publisher:
    """Writes the policies of accounts according to the rules of `needs`.

    - `documents`: the documents that Rolewarden has written so far.
    - `retaining`: the names of the policies in which the last publication kept statements. Some role needs these
      statements, and does not have the policy yet to which they move.
    """

    aws: WritesPolicies
    recorder: Recorder
    needs: Needs
    documents: NotesDocuments
    retaining: tuple[str, ...] = ()

    def publish(
        self, account: str, origin: Origin, *, only: str = "", announces: bool = True, each: bool = False
    ) -> dict[str, str]:
        """Publish the policies. Gives the result by policy name: "created", "replaced" or "unchanged".

        - `account`: the account whose policies are written.
        - `origin`: the reason for the publication. A deployment writes all policies or none: if one cannot be written,
          the function undoes the earlier changes, so that CloudFormation rolls back to guardrails that are in effect.
          Any other change is a finding, unless it ends a rule change. A policy that cannot be restored is a finding,
          and does not block the others.
        - `only`: the one policy to publish. Empty means all. If no guardrail has this policy, the result is empty.
        - `announces`: whether to send an event about the change.
        - `each`: whether a deployment, too, writes the policies that it can. CloudFormation rolls back no member
          account, so there a caller who takes the name of one policy must not keep the others away.

        Raises Refused, RetryLater and RulesError. Raises NotPublished if AWS refuses some policies.
        """
        state = _AccountPolicies(self.aws.within(account), account, self.needs, self.documents.of_account(account))
        try:
            return self._publish(state, origin, only=only, announces=announces, each=each)
        finally:
            # Also after an error, because the audit compares CloudTrail with the history.
            if state.deployed:
                self.recorder.record_publication(
                    GuardrailsPublished(
                        account=account,
                        policies=state.deployed,
                        trigger=origin.trigger,
                        cause=DEPLOYMENT.cause,
                        correlation_id=state.correlation_id,
                    )
                )

    def _publish(
        self, state: _AccountPolicies, origin: Origin, *, only: str, announces: bool, each: bool
    ) -> dict[str, str]:
        account, deploys = state.account, origin.trigger is Trigger.DEPLOYMENT and not each
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
                change = self._publish_policy(policy, state, undo, origin)
            except RolewardenError as error:
                if deploys:
                    self._undo(undo)
                    raise
                failed[policy.name] = error
                continue
            failed.pop(policy.name, None)
            if done.get(policy.name, UNCHANGED) == UNCHANGED:
                done[policy.name] = change
        self.retaining = tuple(name for name in done if state.is_retaining(name))
        if self.retaining:
            # Every deny stays in effect meanwhile, but a new deny may take effect late.
            extra = {"account": account, "policies": list(self.retaining), "delayed": state.delayed(done)}
            logger.warning("policies keep statements until every role has these from another policy", extra=extra)
        changes = {name for name, change in done.items() if change != UNCHANGED} - state.completed
        changed = deploys or (done and origin.call == "DeletePolicy") or changes
        if changed and announces:
            # The event triggers a sweep. A deleted policy is attached to no role any more, even if a user or an earlier
            # attempt has created it again. A deployment does not fail if the event cannot be sent.
            event = GuardrailsPublished(account=account, policies=done, trigger=origin.trigger, cause=origin.cause)
            self.recorder.announce(event, needed=not deploys)
        self._report_failures(account, failed, origin)
        return done

    def _report_failures(self, account: str, failed: Mapping[str, RolewardenError], origin: Origin) -> None:
        """Record each policy that AWS refuses, and raise an error if a policy could not be published."""
        refused = {name: error for name, error in failed.items() if isinstance(error, Refused)}
        with self.recorder.together():
            for name, error in refused.items():
                self.recorder.record_unpublished(account, name, error, origin)
        if failed.keys() - refused.keys():
            raise next(error for name, error in failed.items() if name not in refused)
        if refused:
            first = next(iter(refused.values()))
            raise NotPublished(first.reason, str(first)) from first

    def _in_order(self, state: _AccountPolicies, policies: Sequence[Policy]) -> Iterator[Policy]:
        """The policies to publish, existing ones first, and some of them again.

        A policy can drop a statement only after another policy has it. Therefore a policy that is not complete comes
        again as long as anything was written.
        """
        existing = [policy for policy in policies if state.found(policy.name)]
        yield from existing
        yield from (policy for policy in policies if policy not in existing)
        writes = -1
        while writes < state.writes and any(not state.is_complete(policy.name) for policy in policies):
            writes = state.writes
            yield from (policy for policy in policies if not state.is_complete(policy.name))

    def _publish_policy(
        self, policy: Policy, state: _AccountPolicies, undo: list[Callable[[], None]], origin: Origin
    ) -> str:
        aws, arn = state.aws, policy.arn(self.needs.partition, state.account)
        deploys = origin.trigger is Trigger.DEPLOYMENT
        found = state.found(policy.name)
        is_whole = found is not None and digest(found.text) == digest(policy.document)
        if is_whole and not state.is_rearranging and not state.is_retaining(policy.name):
            self._note(policy, state, undo)
            return UNCHANGED
        finishes = origin.trigger is Trigger.SCHEDULE and state.is_in_rule_change(policy.name)
        wanted = Policy(policy.name, document_of(state.wanted(policy)))
        self._note(wanted, state, undo)
        # A write that finishes a deployment is no drift, so the history has it as a part of the deployment.
        is_deployed = deploys or finishes
        correlation_id = state.correlation_id if is_deployed else origin.new_correlation_id()
        if found is None:
            with state.deploying(policy.name, CREATED) if is_deployed else nullcontext():
                aws.create_policy(policy.name, wanted.text, DESCRIPTION, correlation_id=correlation_id)
            undo.append(lambda: aws.delete_policy(arn))
            change, version = CREATED, "v1"
        elif digest(found.text) == digest(wanted.document):
            return UNCHANGED
        else:
            with state.deploying(policy.name, REPLACED) if is_deployed else nullcontext():
                version = aws.replace_policy(arn, wanted.text, correlation_id=correlation_id)
            undo.append(
                lambda: aws.set_default_version(
                    arn, found.version, instead_of=version, correlation_id=state.correlation_id
                )
            )
            change = REPLACED
            if finishes:
                state.completed.add(policy.name)
        state.remember(policy.name, PublishedPolicy(version, wanted.text))
        if not deploys and policy.name not in state.completed:
            self.recorder.record_restored_policy(state.account, policy.name, change, origin, correlation_id)
        return change

    def _note(self, policy: Policy, state: _AccountPolicies, undo: list[Callable[[], None]]) -> None:
        """Note the document of a policy before the write, so that each statement of Rolewarden in IAM is noted.

        Raises RetryLater. An operator may have no permission for the table. The next check notes the document then.
        """
        before = state.noted.get(policy.name, "")
        if before == policy.text:
            return
        state.noted[policy.name] = policy.text
        try:
            self.documents.note(state.account, policy.name, policy.text)
        except Refused as refused:
            logger.error("the document of a policy is not noted", extra={"policy": policy.name, "why": str(refused)})
            return
        undo.append(lambda: self.documents.note(state.account, policy.name, before))

    def _undo(self, undo: list[Callable[[], None]]) -> None:
        for step in reversed(undo):
            try:
                step()
            except (Refused, RetryLater) as error:
                # Continue: the rollback of the deployment publishes the old guardrails anyway.
                logger.error("a change to a policy could not be undone", extra={"why": str(error)})


@dataclass
class _AccountPolicies:
    """The policies of one account as IAM has them, and the roles that use them. Each is read when it is first needed.

    - `noted`: the text of the last document that Rolewarden wrote, or is about to write, by the policy's name.
    - `writes`: the number of policies written so far.
    - `completed`: the names of the policies for which a scheduled check finished a rule change, which is no drift.
    - `deployed`: whether a deployment created or replaced a policy, by the policy's name.
    - `correlation_id`: the correlation ID of the writes of a deployment.
    """

    aws: WritesPolicies
    account: str
    needs: Needs
    noted: dict[str, str]
    writes: int = 0
    completed: set[str] = field(default_factory=set)
    deployed: dict[str, str] = field(default_factory=dict)
    correlation_id: str = field(default_factory=DEPLOYMENT.new_correlation_id)
    _found: dict[str, PublishedPolicy | None] = field(default_factory=dict)
    _identities: dict[str, frozenset[str]] = field(default_factory=dict)

    @cached_property
    def policies(self) -> tuple[Policy, ...]:
        """The policies that the rules compile to, in the order of the file."""
        return compile_rules(self.needs.rules, self.needs.partition)

    @cached_property
    def targets(self) -> dict[str, tuple[Statement, ...]]:
        """The statements that each policy must have at the end of the rule change, by the policy's name."""
        return {policy.name: statements_of(policy.document) for policy in self.policies}

    def found(self, name: str) -> PublishedPolicy | None:
        """The policy as IAM has it, including this function's own writes; None if it does not exist."""
        if name not in self._found:
            self._found[name] = self.aws.policy(self.needs.arn(name, self.account))
        return self._found[name]

    @contextmanager
    def deploying(self, name: str, change: str) -> Iterator[None]:
        """Record a write of a deployment, unless IAM refuses it. A write without an answer may have taken place."""
        is_refused = False
        try:
            yield
        except Refused:
            is_refused = True
            raise
        finally:
            if not is_refused:
                self.deployed.setdefault(name, change)

    def remember(self, name: str, policy: PublishedPolicy) -> None:
        """Record the new state of a policy after this function wrote it."""
        self._found[name] = policy
        self._identities.pop(name, None)
        self.writes += 1

    def written(self, name: str) -> tuple[Statement, ...]:
        """The statements that Rolewarden last wrote into a policy, whatever another caller has made of it since."""
        return statements_of(self.noted.get(name, ""))

    def identities_of(self, *names: str) -> frozenset[str]:
        """The `identity` of each statement that these policies have now."""
        for name in names:
            if name not in self._identities:
                found = self.found(name)
                self._identities[name] = identities(statements_of(found.text) if found else ())
        return frozenset[str]().union(*(self._identities[name] for name in names))

    def lasting(self, *names: str) -> frozenset[str]:
        """The `identity` of each statement that these policies have now because Rolewarden wrote it.

        A statement of another caller does not count, because the next publication removes it.
        """
        own = (self._target_identities[name] | identities(self.written(name)) for name in names)
        return self.identities_of(*names) & frozenset[str]().union(*own)

    @cached_property
    def _target_identities(self) -> dict[str, frozenset[str]]:
        return {name: identities(statements) for name, statements in self.targets.items()}

    def is_complete(self, name: str) -> bool:
        """Whether a policy has exactly its target statements."""
        return self.identities_of(name) == self._target_identities[name]

    def is_retaining(self, name: str) -> bool:
        """Whether Rolewarden wrote statements into a policy in addition to its target."""
        return bool(identities(self.written(name)) - self._target_identities[name])

    @property
    def is_rearranging(self) -> bool:
        """Whether a policy that was read lacks a target statement, which another policy may have to contain for it."""
        return any(
            found is not None and self._target_identities[name] - self.identities_of(name)
            for name, found in self._found.items()
            if name in self.targets
        )

    def is_in_rule_change(self, name: str) -> bool:
        """Whether a policy keeps statements, and is as Rolewarden wrote it."""
        return self.is_retaining(name) and self.identities_of(name) == identities(self.written(name))

    def _siblings(self, name: str) -> tuple[str, ...]:
        """The policies that a role must have together with this one, including this one."""
        if is_boundary(name):
            return (name,)
        all_of_them = self.needs.guardrails
        return next(names for guardrail in all_of_them if name in (names := self._policies_of(guardrail)))

    def _policies_of(self, guardrail: str) -> tuple[str, ...]:
        return tuple(policy.name for policy in self.needs.policies(guardrail))

    def wanted(self, policy: Policy) -> tuple[Statement, ...]:
        """The statements that a policy must have now."""
        target = self.targets[policy.name]
        # Read the roles only if the policy has a statement that some role may still need.
        is_rearranged = self.is_retaining(policy.name)
        missing = self._missing(policy.name) if is_rearranged else {}
        statements = rearranged(self.written(policy.name), target, missing) if is_rearranged else target
        siblings = [name for name in self._siblings(policy.name) if name != policy.name]
        for sibling in filter(self.found, siblings):
            for statement in self.targets[sibling]:
                # This policy contains the statement until the sibling has room for it.
                if identity(statement) not in self.lasting(*siblings) | identities(statements):
                    statements = added(statements, statement) or statements
        return statements

    def _missing(self, name: str) -> dict[str, Statement]:
        """The statements, by `identity`, that some role with this policy needs and has from no other policy."""
        users = (role for role, policies in self._policies_by_role.items() if name in policies)
        kinds = {(self._needed(role), frozenset(self._policies_by_role[role] - {name})) for role in users}
        missing: dict[str, Statement] = {}
        for needed, others in kinds:
            had = self.lasting(*others)
            for statement in (one for policy in needed for one in self.targets[policy]):
                if (key := identity(statement)) not in had:
                    missing[key] = statement
        return missing

    @cached_property
    def _policies_by_role(self) -> dict[str, set[str]]:
        """The policies that each role has attached or has as its permissions boundary, by the role's name."""
        found: dict[str, set[str]] = defaultdict(set)
        for policy in self.policies:
            users = self.aws.roles_with_boundary if is_boundary(policy.name) else self.aws.roles_with_policy
            for role in users(self.needs.arn(policy.name, self.account)):
                found[role].add(policy.name)
        return found

    @cached_property
    def _bindings(self) -> dict[str, list[Binding]]:
        bindings: dict[str, list[Binding]] = defaultdict(list)
        table = self.needs.bindings
        for binding in (*table.of_account(self.account), *table.of_foreign_subjects(self.account)):
            if binding.role and binding.role.account == self.account:
                bindings[folded(binding.role.name)].append(binding)
        return bindings

    def _needed(self, role: str) -> frozenset[str]:
        """The policies that a role must have because of its bindings.

        If the account has no bindings yet, the result is the role's current policies and their siblings.
        """
        if not self._bindings:
            attached = (name for name in self._policies_by_role[role] if not is_boundary(name))
            return frozenset(sibling for name in attached for sibling in self._siblings(name))
        needs = self.needs.of_role(RoleKey(self.account, role), self._bindings.get(folded(role), ()))
        return frozenset(name for name, guardrail in needs.items() if guardrail.mode is Mode.ENFORCE)

    def delayed(self, names: Iterable[str]) -> list[str]:
        """The new statements for which no policy of their guardrail has room yet, each as `policy: Sid`."""
        return [
            f"{name}: {statement['Sid']}"
            for name in names
            for statement in self.targets[name]
            if identity(statement) not in self.identities_of(*self._siblings(name))
        ]


DEPLOYED_SECONDS = 2 * 24 * 3600.0
"""Seconds after an update of the stack for which an account can get the new rules. It has a sweep once a day at least.
"""


@dataclass
class Publications:
    """Publishes policies for a deployment, an event, a message of the publish queue, or a scheduled check.

    - `account`: the account of the function.
    - `covers`: whether the stack covers an account. Events and messages of other accounts do not count.
    - `regions`: the regions whose domains the stack covers.
    - `sweep_queue_url`: the queue that begins the sweep of an account.
    - `stacks`: the calls that read the function's own stack, `stack_id`.
    - `fallback`: the fallback for which the functions of the stack have permissions.
    - `log`: the record of rule changes.
    """

    publisher: Publisher
    progress: Progress
    rechecks: Rechecks
    queues: SendsMessages
    sweep_queue_url: str
    account: str
    covers: Callable[[str], bool]
    regions: tuple[str, ...]
    stacks: ReadsStacks
    stack_id: str
    fallback: Fallback
    clock: Clock
    log: RulesLog

    @classmethod
    def of(cls, runtime: Runtime, settings: PublishSettings) -> Self:
        """Create the Publications and their parts. Raises RulesError if the stack cannot use the rules."""
        aws = runtime.aws
        if settings.member_role:
            runtime.rules.need_accounts()
        progress = Progress(aws, settings.bindings_table, runtime.clock)
        log = RulesLog(
            StackReader(aws),
            progress,
            runtime.recorder,
            settings.account,
            settings.stack_id,
            aws.partition,
            runtime.rules,
            document_in(settings.guardrails_file),
            runtime.clock,
        )
        return cls(
            Publisher(aws, runtime.recorder, runtime.needs, PublishedDocuments(aws, settings.bindings_table)),
            progress,
            Rechecks(aws, settings.publish_queue_url, settings.recheck_seconds),
            aws,
            settings.sweep_queue_url,
            settings.account,
            runtime.covers,
            settings.regions,
            aws,
            settings.stack_id,
            settings.fallback,
            runtime.clock,
            log,
        )

    def run(self, account: str, origin: Origin) -> dict[str, Any]:
        """Publish all policies of an account. Raises Refused, RetryLater and RulesError.

        A deployment fails if the rules need a permission that the stack does not grant.
        """
        wants = self.publisher.needs.rules.fallback
        if origin.trigger is Trigger.DEPLOYMENT and wants is Fallback.BOUNDARY and self.fallback is not wants:
            raise RulesError(
                "guardrails.yaml has `fallback: boundary`, but the stack's functions cannot set permissions "
                "boundaries: deploy with the parameter Fallback=boundary, or remove the line"
            )
        done = self.publisher.publish(account, origin)
        self._schedule_completion(account, origin)
        if origin.trigger is not Trigger.DEPLOYMENT:
            return {"policies": done}
        if self.log.record_change():
            self._schedule_deployer(account, 1)
        return {"policies": done, "data": {OUTPUT: self.log.digest}}

    def _schedule_deployer(self, account: str, number: int) -> None:
        """Look up later who deployed the rules, because CloudTrail shows a call only after some minutes.

        `number` counts the lookups from 1. The last one is that of RECHECKS.
        """
        if number > RECHECKS:
            return
        message = {"account": account, "step": DEPLOYER, "rechecks": number}
        try:
            self.queues.send(self.rechecks.queue_url, [message], delay=LONGEST_DELAY)
        except (Refused, RetryLater) as error:
            logger.error("the history will not name the deployer", extra={"account": account, "why": str(error)})

    def _schedule_completion(self, account: str, origin: Origin) -> None:
        """Schedule the second step of a deployment, which follows after the sweep attached the policies.

        If the message cannot be sent, the scheduled check does the second step.
        """
        if origin.trigger is not Trigger.DEPLOYMENT or not self.publisher.retaining:
            return
        message = {"account": account, "step": PUBLISH}
        try:
            delay = min(LONGEST_DELAY, RECHECKS * self.rechecks.delay)
            self.queues.send(self.rechecks.queue_url, [message], delay=delay)
        except (Refused, RetryLater) as error:
            logger.error("the scheduled check completes the deployment", extra={"account": account, "why": str(error)})

    def handle_event(self, event: Any) -> dict[str, Any]:
        """Restore the policy that an event names. Raises Refused, RetryLater and RulesError."""
        request = parse_event(event, self.covers, self.regions)
        if request.ignored or not request.policy:
            self.publisher.recorder.record_ignored_event(request)
            return request.summary
        done = self._restore(request)
        self.rechecks.schedule(Recheck(request, 1, edited=self._was_undone(request, event, done["policies"])))
        return done

    def _was_undone(self, request: EvaluationRequest, event: Any, done: Mapping[str, str]) -> bool:
        """Whether the call of an event gave a policy another text than IAM shows now. Raises Refused and RetryLater.

        This read may be stale, so the recheck decides. `done` is the result of the publication.
        """
        if UNCHANGED not in done.values():
            return False
        parameters = mapping(mapping(mapping(event).get("detail")).get("requestParameters"))
        arn = self.publisher.needs.arn(request.policy, request.account)
        found = self.publisher.aws.within(request.account).policy(arn)
        match request.origin.call:
            case "DeletePolicy":
                return True
            case "SetDefaultPolicyVersion":
                return found is None or parameters.get("versionId") != found.version
            case "CreatePolicyVersion":
                given = identities(statements_of(str(parameters.get("policyDocument"))))
                return bool(parameters.get("setAsDefault")) and (
                    found is None or given != identities(statements_of(found.text))
                )
        return False

    def handle_message(self, body: Any) -> dict[str, Any]:
        """Handle one message of the publish queue: an account to check, or a policy after a possibly stale read.

        A message of another shape is logged as an error and dropped. Raises Refused, RetryLater and RulesError.
        """
        fields = mapping(body)
        account = matched(ACCOUNT, fields.get("account"))
        if account and not self.covers(account):
            logger.error("message of PublishQueue dropped: the stack does not cover the account", extra=fields)
            return {"ignored": "account not covered"}
        if fields.get("step") == PUBLISH and account:
            if account == self.account:
                return self.run(account, SCHEDULED_CHECK)
            return self._publish_before_sweep(account)
        if fields.get("step") == DEPLOYER and fields.get("account") == self.account:
            is_unknown, number = self.log.record_deployer(), rechecks_in(fields)
            if is_unknown and number is not None:
                self._schedule_deployer(self.account, number + 1)
            return {"deployer": "unknown" if is_unknown else "recorded"}
        recheck = Recheck.from_dict(body)
        if recheck is None or not recheck.request.policy:
            logger.error("message of PublishQueue dropped: not a recheck", extra={"body": str(body)[:200]})
            return {"ignored": "no recheck"}
        done = self._restore(recheck.request)
        if recheck.edited and UNCHANGED in done["policies"].values():
            request = recheck.request
            self.publisher.recorder.record_undone_policy(request.account, request.policy, request.origin)
        return done

    def _publish_before_sweep(self, account: str) -> dict[str, Any]:
        """Publish the policies of a member account, then trigger its sweep, which can attach them to roles."""
        done: dict[str, str] = {}
        try:
            origin = DEPLOYMENT if self._has_new_rules(account) else SCHEDULED_CHECK
            done = self.publisher.publish(account, origin, announces=False, each=True)
            self._schedule_completion(account, origin)
        except NotPublished as error:
            logger.warning("the sweep begins without some policies", extra={"account": account, "why": str(error)})
        except Refused as refused:
            self.publisher.recorder.record_account_finding(account, refused, SWEEP)
        self.queues.send(self.sweep_queue_url, [{"account": account, "step": BEGIN}])
        return {"policies": done}

    def _has_new_rules(self, account: str) -> bool:
        """Whether a member account gets these rules for the first time. Raises Refused and RetryLater.

        A deployment restores policies without an alert, so neither a message nor the table alone must decide that this
        is one. In the table, the last sweep of the account has other rules, or the account had no sweep. In addition,
        CloudFormation must have updated the stack in the last days, or IAM must show none of the policies.
        """
        needs, now = self.publisher.needs, self.clock.now()
        if self.progress.rules_of_last_sweep(account, now) == needs.fingerprint:
            return False
        if now - self.stacks.stack_updated(self.stack_id) < DEPLOYED_SECONDS:
            return True
        iam = self.publisher.aws.within(account)
        return not any(iam.policy(needs.arn(name, account)) for name in needs.published())

    def _restore(self, request: EvaluationRequest) -> dict[str, Any]:
        done = self.publisher.publish(request.account, request.origin, only=request.policy)
        return {**request.summary, "policies": done}
