"""A random bad night: users, admins, attackers, infrastructure tools, faults of AWS, lost and doubled events.

After it, the account is quiet, and one check of the policies and one sweep run. `Night.teardown` checks the result.
"""

from __future__ import annotations

import contextlib
import json
import time
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import cache
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import boto3
from botocore.exceptions import ClientError
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, precondition, rule
from rolewarden.bindings import RoleKey
from rolewarden.documents import digest
from rolewarden.history import HistoryKey
from rolewarden.origin import SWEEP
from rolewarden.policies import boundary_name, compile_rules, is_boundary
from rolewarden.rotation import DAY_SECONDS, Rotation
from rolewarden.verdicts import Reason, Verdict
from rolewarden_local.aws import ACCOUNT_ID, REGION, LocalAws
from rolewarden_local.emulated._ministack import cloudformation, iam
from rolewarden_local.scenes.seed import OTHER_ROLES, TRUST, trusting
from rolewarden_local.scenes.template import Template

from tests.conftest import ROOT
from tests.guardrail_texts import BY_DOMAIN
from tests.published import publish_at
from tests.publishing import UNRELATED
from tests.soak.attacks import (
    INNOCENT,
    NUMBER,
    EventAttacks,
    ExemptRoleAttacks,
    PolicyAttacks,
    QueueAttacks,
    TableAttacks,
    attachments_of_foreign_policies,
    delete_guardrail,
    delete_role,
)
from tests.soak.functions import QUEUES, Fault, Functions, faults_of, quiet
from tests.soak.ledger import (
    OURS,
    ROLEWARDEN,
    Call,
    Ledger,
    policies_now,
    remediations_made,
    remediations_recorded,
    roles_now,
)
from tests.world import EC2_TRUST, World

NO_MODELS, APPROVED = "no-generative-ai", "only-nova-and-sonnet"
GUARDRAILS = f"""{BY_DOMAIN}never_govern:
  - {{role: DataLake}}
exemptions:
  - role: CanvasBreakGlass
    until: 2027-01-31
    reason: ticket SEC-123
"""
EXEMPT = frozenset({"CanvasBreakGlass", "DataLake"})
"""The exempt role, and the role that is never governed."""

NAMED = GUARDRAILS + "    domains: [analytics]\n    user_profiles: [breakglass]\n"
USES = {"CanvasBreakGlass": frozenset({("analytics", "breakglass")})}
"""The only use of the exempt role that NAMED exempts."""

RULES = {
    "plain": GUARDRAILS,
    "bounded": "fallback: boundary\n" + NAMED,
    "everyone": "surplus: detach\n" + GUARDRAILS + "also_govern: {trusting: [sagemaker.amazonaws.com]}\n",
}
STACK = "deployed"
QUOTA = 10
TEAM = tuple(f"arn:aws:iam::{ACCOUNT_ID}:policy/team-policy-{number:02}" for number in range(1, QUOTA + 1))
STALE_SECONDS = 30.0
"""Maximum age of a read of IAM in seconds. A recheck comes after 60 seconds."""

OPERATIONS = {
    "enforce": (
        "ListAttachedRolePolicies", "AttachRolePolicy", "GetRole", "PutRolePermissionsBoundary",
        "DeleteRolePermissionsBoundary", "DescribeDomain", "DescribeUserProfile", "Query", "PutItem",
        "TransactWriteItems", "SendMessageBatch", "PutEvents", "GetPolicy", "GetPolicyVersion", "ListPolicyVersions",
        "CreatePolicy", "CreatePolicyVersion", "DeletePolicyVersion",
    ),
    "poll": (
        "ListAttachedRolePolicies", "AttachRolePolicy", "GetRole", "PutRolePermissionsBoundary", "DetachRolePolicy",
        "DeleteRolePermissionsBoundary", "Query", "PutItem", "BatchWriteItem", "SendMessageBatch", "PutEvents",
        "CreatePolicyVersion", "GetPolicy",
    ),
    "sweep": (
        "ListDomains", "ListUserProfiles", "DescribeDomain", "DescribeUserProfile", "ListRoles", "ListPolicies",
        "ListEntitiesForPolicy", "Scan", "Query", "UpdateItem", "PutItem", "TransactWriteItems", "SendMessageBatch",
        "PutEvents",
    ),
    "check": (
        "GetPolicy", "GetPolicyVersion", "ListPolicyVersions", "CreatePolicy", "CreatePolicyVersion",
        "DeletePolicyVersion", "PutItem", "PutEvents",
    ),
}  # fmt: skip


def befalling(what: str, tries: int = 1) -> st.SearchStrategy[list[Fault | None]]:
    """The faults of the first tries of an invocation, often none."""
    faults = list(faults_of(*OPERATIONS[what]))
    one = st.none() | st.integers(0, len(faults) - 1).map(lambda number: faults[number])
    return st.just([]) | st.lists(one, min_size=1, max_size=tries)


@dataclass
class Done:
    """Counts of the work of this process's machines, for the summary."""

    runs: int = 0
    steps: int = 0
    whole_runs: int = 0
    invocations: int = 0
    remediations: int = 0
    late: int = 0


DONE = Done()


@cache
def _aws() -> LocalAws:
    return LocalAws.start()


@cache
def _template() -> Template:
    return Template(ROOT / "template.yaml", region=REGION, account=ACCOUNT_ID)


_FOLDER = TemporaryDirectory()


@cache
def _world(rules: str) -> tuple[World, Callable[[], None]]:
    """A protected account with these rules, and the function that restores it."""
    path = Path(_FOLDER.name) / f"{rules}.yaml"
    path.write_text(RULES[rules])
    world = World(_aws(), _template(), path)
    with quiet(world):
        world.protected().queued()
        world.iam.create_policy(PolicyName="theirs", PolicyDocument=UNRELATED)
        _deploy(world)
    return world, _aws().saved()


def _deploy(world: World) -> None:
    """Record that a stack has just deployed the rules, and that every role is older."""
    template = json.dumps({"Resources": {"Alone": {"Type": "AWS::SNS::Topic"}}})
    made = boto3.client("cloudformation").create_stack(StackName=STACK, TemplateBody=template)
    world.environment = {**world.environment, "STACK_ID": made["StackId"]}
    for role in iam._roles.values():
        role["CreateDate"] = "2026-01-01T00:00:00Z"
    publish_at(STACK, datetime.now(UTC))


def _deployed() -> str:
    return str(cloudformation._stacks.get_scoped(ACCOUNT_ID, REGION, STACK)["LastUpdatedTime"])


@cache
def _client(rules: str, person: str, service: str) -> Any:
    """A user's client. The world's saved state has its key, so all runs share the client."""
    world, _ = _world(rules)
    return world.seeded.access_keys[person].session().client(service)  # type: ignore[call-overload]


class Night(TableAttacks, PolicyAttacks, QueueAttacks, EventAttacks, ExemptRoleAttacks, RuleBasedStateMachine):
    """One run, with the moves of `attacks` on Rolewarden's own resources.

    `alice` administers, `mallory` attacks, and the infrastructure tool also uses mallory's key.
    """

    exempt = EXEMPT

    def __init__(self) -> None:
        super().__init__()
        self.was_stale = False
        self.stack = contextlib.ExitStack()
        self.steps = 0

    @initialize(rules=st.sampled_from(sorted(RULES)))
    def begin(self, rules: str) -> None:
        self.ruleset = rules
        self.stack.enter_context(_aws().connected())
        self.world, restore = _world(rules)
        self.stack.enter_context(quiet(self.world))
        restore()
        self.world.lend()
        self.functions = Functions(self.world, _template())
        self.age = 0.0
        # Only GetRole shows whether a role has another owner's boundary, because IAM lacks a conditional write.
        self.stack.enter_context(
            _aws().stale(
                STALE_SECONDS,
                clock=lambda: self.functions.now,
                age=lambda operation: 0.0 if operation == "GetRole" and rules == "bounded" else self.age,
            )
        )
        self.ledger = Ledger(
            {"research": APPROVED, "": NO_MODELS},
            EXEMPT,
            USES if rules == "bounded" else {},
            _deployed(),
            everyone=NO_MODELS if rules == "everyone" else "",
            detaches=rules == "everyone",
        )
        self.began = HistoryKey(datetime.now(UTC)).text
        self.seen = 0
        self.mail: list[dict[str, Any]] = []
        self.made = 0

    # People

    def by(self, person: str, service: str, operation: str, **parameters: Any) -> Any:
        """Make a user's call, and ignore an error of AWS."""
        client = _client(self.ruleset, person, service)
        try:
            answer = getattr(client, operation)(**parameters)
        except ClientError:
            answer = {}
        self.collect()
        return answer

    def collect(self) -> None:
        """Collect the events of new calls by users. The rules ignore those of Rolewarden."""
        events = list(_aws().events)
        new, self.seen = events[self.seen :], len(events)
        self.mail += [event for event in new if event["detail"]["userIdentity"]["arn"] != ROLEWARDEN]

    def role(self, number: int) -> str:
        roles = sorted(roles_now())
        return roles[number % len(roles)]

    def domain(self, number: int) -> str:
        domains = sorted(self.ledger_domains())
        return domains[number % len(domains)]

    def ledger_domains(self) -> list[str]:
        from rolewarden_local.emulated import sagemaker

        return list(sagemaker.state()[(ACCOUNT_ID, REGION)]["domains"]) or ["d-gone"]

    def profiles(self) -> list[tuple[str, str]]:
        from rolewarden_local.emulated import sagemaker

        return sorted(sagemaker.state()[(ACCOUNT_ID, REGION)].get("rolewarden_user-profile", {})) or [("d-gone", "x")]

    def arn(self, role: str) -> str:
        return f"arn:aws:iam::{ACCOUNT_ID}:role/{role}"

    def name(self) -> str:
        self.made += 1
        return f"Made{self.made}"

    @rule(trust=st.sampled_from([TRUST, EC2_TRUST]))
    def a_role_is_made(self, trust: str) -> None:
        if len(roles_now()) < 20:
            self.by("alice", "iam", "create_role", RoleName=self.name(), AssumeRolePolicyDocument=trust)

    @rule(domain=NUMBER, role=st.none() | NUMBER)
    def a_profile_is_made(self, domain: int, role: int | None) -> None:
        settings = {} if role is None else {"ExecutionRole": self.arn(self.role(role))}
        if len(self.profiles()) < 12:
            self.by(
                "alice", "sagemaker", "create_user_profile",
                DomainId=self.domain(domain), UserProfileName=self.name().lower(), UserSettings=settings,
            )  # fmt: skip

    @rule(profile=NUMBER, role=NUMBER, whose=st.sampled_from([ACCOUNT_ID] * 9 + ["444455556666"]))
    def a_profile_gets_another_role(self, profile: int, role: int, whose: str) -> None:
        domain, name = self.profiles()[profile % len(self.profiles())]
        arn = self.arn(self.role(role)).replace(ACCOUNT_ID, whose)
        self.by(
            "alice", "sagemaker", "update_user_profile",
            DomainId=domain, UserProfileName=name, UserSettings={"ExecutionRole": arn},
        )  # fmt: skip

    @rule(profile=NUMBER)
    def a_profile_goes(self, profile: int) -> None:
        domain, name = self.profiles()[profile % len(self.profiles())]
        self.by("alice", "sagemaker", "delete_user_profile", DomainId=domain, UserProfileName=name)

    @rule(domain=NUMBER, role=NUMBER, how=st.sampled_from(["user", "space", "bedrock"]))
    def a_domain_gets_another_role(self, domain: int, role: int, how: str) -> None:
        arn = self.arn(self.role(role))
        bedrock: dict[str, Any] = {"CanvasAppSettings": {"GenerativeAiSettings": {"AmazonBedrockRoleArn": arn}}}
        settings: dict[str, Any] = {
            "user": {"DefaultUserSettings": {"ExecutionRole": arn}},
            "space": {"DefaultSpaceSettings": {"ExecutionRole": arn}},
            "bedrock": {"DefaultUserSettings": bedrock},
        }[how]
        self.by("alice", "sagemaker", "update_domain", DomainId=self.domain(domain), **settings)

    @rule(name=st.sampled_from(["research", "sales"]), role=NUMBER)
    def a_domain_is_made(self, name: str, role: int) -> None:
        if len(self.ledger_domains()) < 4:
            self.by(
                "alice", "sagemaker", "create_domain", DomainName=name, AuthMode="IAM", VpcId="vpc-1",
                SubnetIds=["subnet-1"], DefaultUserSettings={"ExecutionRole": self.arn(self.role(role))},
            )  # fmt: skip

    @rule(domain=NUMBER)
    def a_domain_goes(self, domain: int) -> None:
        gone = self.domain(domain)
        if len(self.ledger_domains()) > 2:
            for of, name in self.profiles():
                if of == gone:
                    self.by("alice", "sagemaker", "delete_user_profile", DomainId=of, UserProfileName=name)
            self.by("alice", "sagemaker", "delete_domain", DomainId=gone)

    @rule(role=NUMBER)
    def a_role_is_filled(self, role: int) -> None:
        name = self.role(role)
        for arn in TEAM[: max(0, QUOTA - len(roles_now()[name]["AttachedPolicies"]))]:
            self.by("alice", "iam", "attach_role_policy", RoleName=name, PolicyArn=arn)

    @rule(role=NUMBER)
    def a_slot_is_freed(self, role: int) -> None:
        name = self.role(role)
        if theirs := [arn for arn in roles_now()[name]["AttachedPolicies"] if not arn.startswith(OURS)]:
            self.by("alice", "iam", "detach_role_policy", RoleName=name, PolicyArn=theirs[role % len(theirs)])

    @rule(role=NUMBER, again=st.booleans())
    def a_role_is_deleted(self, role: int, again: bool) -> None:
        name = self.role(role)
        if name in EXEMPT | OTHER_ROLES.keys():
            return
        delete_role(self.by, name)
        if again:
            self.by("mallory", "iam", "create_role", RoleName=name, AssumeRolePolicyDocument=TRUST)

    @rule(role=NUMBER, boundary=st.sampled_from(["theirs", ""]))
    def a_boundary_is_changed(self, role: int, boundary: str) -> None:
        name = self.role(role)
        if boundary:
            arn = f"arn:aws:iam::{ACCOUNT_ID}:policy/theirs"
            self.by("alice", "iam", "put_role_permissions_boundary", RoleName=name, PermissionsBoundary=arn)
        else:
            self.by("mallory", "iam", "delete_role_permissions_boundary", RoleName=name)

    @rule(role=NUMBER, kind=st.sampled_from(["inline", "tag", "ec2", "sagemaker"]))
    def a_role_is_worked_on(self, role: int, kind: str) -> None:
        name = self.role(role)
        if kind == "inline":
            self.by("alice", "iam", "put_role_policy", RoleName=name, PolicyName="more", PolicyDocument=UNRELATED)
        elif kind == "tag":
            self.by("alice", "iam", "tag_role", RoleName=name, Tags=[{"Key": "touched", "Value": str(role)}])
        else:
            trust = trusting(f"{kind}.amazonaws.com")
            self.by("alice", "iam", "update_assume_role_policy", RoleName=name, PolicyDocument=trust)

    @rule(role=NUMBER)
    def a_guardrail_is_taken_off(self, role: int) -> None:
        carriers = sorted(
            (name, arn)
            for name, found in roles_now().items()
            for arn in found["AttachedPolicies"]
            if arn.startswith(OURS)
        )
        if carriers:
            name, arn = carriers[role % len(carriers)]
            self.by("mallory", "iam", "detach_role_policy", RoleName=name, PolicyArn=arn)

    @rule()
    def the_infrastructure_tool_takes_off_what_it_does_not_know(self) -> None:
        for name in ("CanvasOmar", "CanvasRosa", "BuildServer"):
            for arn in roles_now().get(name, {}).get("AttachedPolicies", ()):
                if arn.startswith(OURS):
                    self.by("mallory", "iam", "detach_role_policy", RoleName=name, PolicyArn=arn)

    @rule(policy=st.sampled_from([NO_MODELS, APPROVED]), default=st.booleans())
    def a_guardrail_is_edited(self, policy: str, default: bool) -> None:
        self.by(
            "mallory", "iam", "create_policy_version",
            PolicyArn=OURS + policy, PolicyDocument=UNRELATED, SetAsDefault=default,
        )  # fmt: skip

    @rule(policy=st.sampled_from([NO_MODELS, APPROVED]), version=st.integers(1, 8), gone=st.booleans())
    def a_guardrail_is_turned_back(self, policy: str, version: int, gone: bool) -> None:
        operation = "delete_policy_version" if gone else "set_default_policy_version"
        self.by("mallory", "iam", operation, PolicyArn=OURS + policy, VersionId=f"v{version}")

    @rule(policy=st.sampled_from([NO_MODELS, APPROVED]), taken=st.sampled_from([False] * 4 + [True]))
    def a_guardrail_is_deleted(self, policy: str, taken: bool) -> None:
        delete_guardrail(self.by, policy)
        if taken:
            self.by("mallory", "iam", "create_policy", PolicyName=policy, Path="/theirs/", PolicyDocument=UNRELATED)

    @rule(role=NUMBER, what=st.sampled_from([NO_MODELS, APPROVED, "stray"]))
    def somebody_attaches_what_is_under_our_path(self, role: int, what: str) -> None:
        if what == "stray":
            self.by(
                "mallory",
                "iam",
                "create_policy",
                PolicyName=what,
                Path="/rolewarden/",
                PolicyDocument=UNRELATED,
            )
        self.by("mallory", "iam", "attach_role_policy", RoleName=self.role(role), PolicyArn=OURS + what)

    # AWS

    @rule(number=NUMBER, faults=befalling("enforce", 3))
    @precondition(lambda self: self.mail)
    def an_event_arrives(self, number: int, faults: list[Fault | None]) -> None:
        self.deliver(self.mail.pop(number % len(self.mail)), faults)

    @rule(number=NUMBER)
    @precondition(lambda self: self.mail)
    def an_event_arrives_and_will_again(self, number: int) -> None:
        self.deliver(self.mail[number % len(self.mail)], [])

    @rule(number=NUMBER)
    @precondition(lambda self: self.mail)
    def an_event_is_lost(self, number: int) -> None:
        self.mail.pop(number % len(self.mail))

    @rule(latest_first=st.booleans())
    @precondition(lambda self: self.mail)
    def all_events_arrive(self, latest_first: bool) -> None:
        mail, self.mail = self.mail[:12], self.mail[12:]
        for event in reversed(mail) if latest_first else mail:
            self.deliver(event, [])

    @rule(number=NUMBER, role=NUMBER)
    @precondition(lambda self: self.mail)
    def an_event_arrives_that_lies(self, number: int, role: int) -> None:
        event = self.mail[number % len(self.mail)]
        said = {**(event["detail"]["requestParameters"] or {}), "roleName": self.role(role)}
        lie = {**event, "detail": {**event["detail"], "requestParameters": said}}
        self.deliver(lie, [])

    @rule(queue=st.sampled_from(["WorkQueue"] * 3 + ["PublishQueue", "SweepQueue", "DetachQueue"]),
          faults=befalling("poll"), twice=st.sampled_from([False] * 4 + [True]))  # fmt: skip
    def a_queue_is_polled(self, queue: str, faults: list[Fault | None], twice: bool) -> None:
        needs, before = self.ledger.needs_now(), roles_now()
        self.functions.poll(queue, faults, twice=twice)
        if queue == "DetachQueue" and self.age == 0:
            # Whatever the table says, no role loses a policy that its subjects need at this time.
            for role, found in roles_now().items():
                lost = set(before[role]["AttachedPolicies"]) - set(found["AttachedPolicies"])
                assert not {arn.removeprefix(OURS) for arn in lost} & needs.get(role, set()), (role, lost)

    @rule(seconds=st.sampled_from([1, 20, 61, 600, 7200]))
    def time_passes(self, seconds: int) -> None:
        mail, self.mail = self.mail[:12], self.mail[12:]
        for event in mail:
            self.deliver(event, [])
        self.functions.now += seconds
        for queue in QUEUES:
            self.functions.poll(queue)

    @rule(age=st.sampled_from([0.0, 0.0, 5.0, STALE_SECONDS]))
    def iam_answers_from_before(self, age: float) -> None:
        self.age = age
        self.was_stale |= age > 0

    @rule(faults=befalling("sweep", 2))
    def it_is_time_for_a_sweep(self, faults: list[Fault | None]) -> None:
        self.functions.sweep(faults)

    @rule(faults=befalling("check", 2))
    def it_is_time_for_a_check(self, faults: list[Fault | None]) -> None:
        self.functions.check(faults)

    def deliver(self, event: dict[str, Any], faults: list[Fault | None]) -> None:
        self.functions.deliver(event, faults)

    # In the end

    def teardown(self) -> None:
        with self.stack:
            if not hasattr(self, "ledger"):
                return
            self.age = 0.0
            self.collect()
            self.functions.now += 7200
            self.functions.check()
            # Within a day, the sweeps have read every subject again.
            self.functions.process.sweeper.rotation = Rotation(DAY_SECONDS)
            self.functions.sweep()
            self.functions.work_off(most=300)
            self.functions.now += 3600
            audited = self.functions.process.sweeper.auditor.run(ACCOUNT_ID, time.time() + 3600)
            DONE.late += audited["backfilled"]
            self.must_hold()

    def must_hold(self) -> None:
        """The invariants."""
        assert len(_aws().events) < 10_000
        ours = self.ledger.play(_aws().events)
        published = {policy.name for policy in compile_rules(self.functions.process.runtime.rules, "aws")}
        self.nothing_but_guardrails_was_touched(ours, published)
        # While IAM refuses to describe an exempt role, Rolewarden governs it.
        assert self.functions.has_refused_descriptions or not self.ledger.wronged
        assert self.was_stale or not attachments_of_foreign_policies(_aws().events)
        self.others_are_as_people_left_them()
        self.guardrails_say_what_they_should()
        self.governed_roles_are_guarded()
        self.every_remediation_is_told(ours)

    def nothing_but_guardrails_was_touched(self, calls: list[Call], published: set[str]) -> None:
        for name, said, _ in calls:
            policy = said.get("policyArn", said.get("permissionsBoundary", "")).removeprefix(OURS)
            role = said.get("roleName", "")
            if name == "AttachRolePolicy":
                assert policy in published, (name, said)
                assert not is_boundary(policy), (name, said)
                assert policy in self.ledger.needed[role], (name, said)
            elif name == "DetachRolePolicy":
                assert self.ledger.detaches, (name, said)
                assert policy in published, (name, said)
            elif name in {"PutRolePermissionsBoundary", "DeleteRolePermissionsBoundary"}:
                assert self.ruleset == "bounded", (name, said)
                assert name.startswith("Delete") or (policy in published and is_boundary(policy)), (name, said)
            else:
                assert name in {
                    "CreatePolicy", "CreatePolicyVersion", "SetDefaultPolicyVersion", "DeletePolicyVersion"
                }, (name, said)  # fmt: skip
                assert said.get("policyName", policy) in published, (name, said)
                assert said.get("path", "/rolewarden/") == "/rolewarden/", (name, said)

    def others_are_as_people_left_them(self) -> None:
        now = self.ledger.others(roles_now())
        left = self.ledger.others(self.ledger.roles)
        assert now == left
        policies = policies_now()
        assert {arn: policies.get(arn) for arn in self.ledger.theirs} == self.ledger.theirs

    def guardrails_say_what_they_should(self) -> None:
        policies = policies_now()
        for policy in compile_rules(self.functions.process.runtime.rules, "aws"):
            if not self.is_taken(policy.name):
                assert digest(policies[OURS + policy.name]) == digest(policy.document), policy.name

    def is_taken(self, policy: str) -> bool:
        """Whether a policy under another path has this name, so that it cannot be created again."""
        return f"arn:aws:iam::{ACCOUNT_ID}:policy/theirs/{policy}" in policies_now()

    def governed_roles_are_guarded(self) -> None:
        roles = roles_now()
        for role, needed in self.ledger.needs_now().items():
            found = roles.get(role)
            carried = {arn.removeprefix(OURS) for arn in (found or {}).get("AttachedPolicies", ())}
            if found and not needed - carried:
                assert self.ruleset != "bounded" or not (found["PermissionsBoundary"] or "").startswith(OURS), role
                continue
            why = self.why_not(role, needed - carried, found)
            assert why is not None, (role, needed, carried)
            if why == "":
                continue
            foreign = role.startswith("arn:")
            account, name = (role.split(":")[4], role.rsplit("/", 1)[-1]) if foreign else (ACCOUNT_ID, role)
            outcome = self.functions.process.enforcer.reconciler.reconcile(RoleKey(account, name), SWEEP)
            assert (outcome.verdict, outcome.reason) == (Verdict.UNENFORCEABLE, why), (role, outcome)

    def why_not(self, role: str, missing: set[str], found: dict[str, Any] | None) -> Reason | str | None:
        """The reason why a role can lack policies: "" if a boundary protects it or it does not exist, or None."""
        if role.startswith("arn:"):
            return Reason.OTHER_ACCOUNT
        if found is None:
            return ""
        if all(self.is_taken(policy) for policy in missing):
            return Reason.NAME_TAKEN
        if len(found["AttachedPolicies"]) < QUOTA:
            return None
        needed = self.ledger.needs_now()[role]
        held = self.ruleset == "bounded" and found["PermissionsBoundary"] == OURS + boundary_name(needed)
        return "" if held else Reason.QUOTA

    def every_remediation_is_told(self, calls: list[Call]) -> None:
        made = remediations_made(calls)
        rows = list(self.world.runtime.aws.scan(self.world.environment["HISTORY_TABLE"]))
        blamed = [row for row in rows if INNOCENT in row.get("cause", {}).get("actor", "")]
        assert all(row["cause"].get("unverified") for row in blamed), blamed
        told = remediations_recorded(row for row in rows if row.get("backfilled") or row["at"] > self.began)
        assert told == made, {"not made": told - made, "not told": made - told}
        DONE.runs += 1
        DONE.steps += self.steps
        DONE.whole_runs += self.steps >= 50
        DONE.invocations += self.functions.invocations
        DONE.remediations += made.total()

    def check_invariants(self, *arguments: Any, **more: Any) -> None:
        """Hypothesis calls this after each step."""
        super().check_invariants(*arguments, **more)
        self.steps += 1
