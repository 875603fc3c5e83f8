"""The functions with their own roles: no call is denied, and every permission is needed.

This scenario uses every option of guardrails.yaml, and AWS fails if a permission is for failures.
`tests/test_deployed.py` does the same with the deployed stack on an ordinary day. A new permission in template.yaml
needs a step here that uses it.
"""

import json
import time
from copy import copy
from functools import partial

import boto3
import pytest
from rolewarden import detach, enforce
from rolewarden.alert import key_of
from rolewarden.alert_limits import NARROWED_SECONDS
from rolewarden.alerting import SUMMARY, Alerter
from rolewarden.aws import Aws
from rolewarden.bindings import RoleKey
from rolewarden.clock import Clock
from rolewarden.cloudformation import OwnStack
from rolewarden.driller import Driller
from rolewarden.errors import Refused
from rolewarden.events import EvaluationRequest, SubjectKey
from rolewarden.origin import DEPLOYMENT, SCHEDULED_CHECK, SWEEP, Origin, Trigger
from rolewarden.own_operations import OwnOperations
from rolewarden.policies import compile_rules, policy_arn
from rolewarden.settings import AlertSettings, DrillSettings, own_operations
from rolewarden.stacks import StackReader
from rolewarden.work import Recheck, Work, Works
from rolewarden_local.aws import ACCOUNT_ID, REGION
from rolewarden_local.emulated._ministack import cloudformation, sts
from rolewarden_local.scenes.seed import trusting

from tests.conftest import sample
from tests.drills import put_function
from tests.handlers import STACK
from tests.permissions import of_template, unused
from tests.publishing import UNRELATED
from tests.recorded import record
from tests.stacks import deployed, translated
from tests.world import World

pytestmark = pytest.mark.long

RULES = """
fallback: boundary
surplus: detach
guardrails:
  a: {bedrock: {deny: all}}
  b: {jumpstart: {deny: all}}
assignments:
  - guardrails: [b]
    domains: [research]
    tags: {team: data-science}
    principals: ["arn:aws:iam::111122223333:role/canvas/*"]
  - guardrails: [a]
also_govern:
  trusting: [glue.amazonaws.com]
"""
HALF_WAY = RULES.replace("a: {bedrock: {deny: all}}", "a: {bedrock: {allow: [amazon.nova-*]}}").replace(
    "  b: {", "  c: {bedrock: {deny: all}}\n  d: {bedrock: {deny: all}}\n  b: {"
)
ANALYTICS, RESEARCH = "d-analytics0001", "d-research0001"
TEAM = f"arn:aws:iam::{ACCOUNT_ID}:policy/team-policy-01"


SHARED = """
surplus: detach
guardrails:
  a: {bedrock: {deny: all}}
  b: {jumpstart: {deny: all}}
assignments:
  - {guardrails: [b], user_profiles: [ana]}
  - guardrails: [a]
"""


class Staff:
    """A world with the functions, each with its role of the template."""

    def __init__(self, world, template, folder):
        world.environment = {**world.environment, "RECHECK_SECONDS": "0"}
        self.world, self._folder, self._aws = world, folder, {}
        for rights in of_template(template):
            name = rights.role.rsplit("/", 1)[-1]
            world.iam.create_role(
                RoleName=name, Path="/rolewarden/", AssumeRolePolicyDocument=trusting("lambda.amazonaws.com")
            )
            for policy, document in rights.policies.items():
                world.iam.put_role_policy(RoleName=name, PolicyName=policy, PolicyDocument=json.dumps(document))
            given = boto3.client("sts").assume_role(RoleArn=rights.role, RoleSessionName=rights.function)["Credentials"]
            # Lambda puts this into the credentials of the function's code.
            function = f"arn:aws:lambda:{REGION}:{ACCOUNT_ID}:function:{rights.function}"
            sts._sessions[given["AccessKeyId"]]["SourceFunctionArn"] = function
            keys = (given["AccessKeyId"], given["SecretAccessKey"], given["SessionToken"])
            self._aws[rights.function] = Aws(boto3.Session(*keys, region_name=REGION))

    def aws(self, function):
        """A connection to AWS with the role of a function."""
        return self._aws[f"{function}Function"]

    def deploy(self, text):
        """Publish another guardrails.yaml with PublishFunction."""
        path = self._folder / "guardrails.yaml"
        path.write_text(text)
        self.world = self.world.under(path, publish=False)
        self.function("Publish").publications.run(ACCOUNT_ID, DEPLOYMENT)

    def function(self, function):
        """The function with the currently deployed guardrails."""
        as_function = copy(self.world)
        as_function.assemble(self.aws(function))
        return as_function

    def enforce(self, event):
        """Pass the newest event of this name, or this event, to EnforceFunction."""
        self.function("Enforce").enforcer.handle_event(self.world.event(event) if isinstance(event, str) else event)

    def work(self):
        """Process the queue of ReconcileFunction."""
        self.function("Reconcile").work()

    def recheck(self, **nominated):
        """Run ReconcileFunction's recheck of a role or subject."""
        request = EvaluationRequest(ACCOUNT_ID, REGION, Origin(Trigger.EVENT), **nominated)
        self.function("Reconcile").enforcer.handle_message(Recheck(request, 1).as_dict())

    def sweep(self, seconds_left=900.0):
        """Run a whole sweep with SweepFunction. Its first invocation has this time."""
        sweeper = self.function("Sweep").sweeper
        sweeper.clock.seconds_left = lambda: seconds_left
        sweeper.start()
        sweeper.clock.seconds_left = lambda: 900.0
        while bodies := self.world.queued("SWEEP_QUEUE_URL"):
            for body in bodies:
                sweeper.handle_message(body)

    def audit(self):
        """Run SweepFunction's audit of all functions, an hour later."""
        return self.function("Sweep").sweeper.auditor.run(ACCOUNT_ID, time.time() + 3600)

    def detach_surplus(self):
        """Process the queue of DetachFunction."""
        function = self.function("Detach")
        with function.runtime.recorder.together():
            for body in self.world.queued("DETACH_QUEUE_URL"):
                function.detacher.handle_message(body)

    def boundary(self):
        """The boundary of the full role."""
        found = self.world.iam.get_role(RoleName="CanvasFull")["Role"].get("PermissionsBoundary", {})
        return found.get("PermissionsBoundaryArn", "").rsplit("/", 1)[-1]

    def fill(self):
        """Attach the detached policy to the full role again."""
        self.world.iam.detach_role_policy(RoleName="CanvasFull", PolicyArn=policy_arn("a", "aws", ACCOUNT_ID))
        self.world.iam.attach_role_policy(RoleName="CanvasFull", PolicyArn=TEAM)

    def stack_is(self, status):
        """Set the status of the stack in CloudFormation. The functions read nothing else of the stack."""
        names = {"StackName": "rolewarden", "StackId": STACK, "Tags": []}
        kept = {
            **names,
            "StackStatus": status,
            **dict.fromkeys(("CreationTime", "LastUpdatedTime"), "2027-01-15T00:00:00Z"),
        }
        cloudformation._stacks.set_scoped(ACCOUNT_ID, REGION, "rolewarden", kept)

    def free(self):
        """Free one slot of the full role."""
        self.world.iam.detach_role_policy(RoleName="CanvasFull", PolicyArn=TEAM)


def publications(staff):
    """A deployment, a deployment that fails halfway, and edits of a policy until all its versions are used."""
    staff.stack_is("UPDATE_IN_PROGRESS")
    assert staff.aws("Publish").stack_status(STACK) == "UPDATE_IN_PROGRESS"
    staff.deploy(RULES)
    published = compile_rules(staff.world.runtime.rules, "aws")
    with staff.world.aws.failing("CreatePolicy", "AccessDenied", after=1), pytest.raises(Refused):
        staff.deploy(HALF_WAY)
    assert staff.world.in_force(published) == {"a", "b", "boundary.a", "boundary.b"}
    assert Aws().policy(policy_arn("c", "aws", ACCOUNT_ID)) is None

    staff.deploy(RULES)
    squatted(staff)
    arn = policy_arn("a", "aws", ACCOUNT_ID)
    for _ in range(4):
        versions = staff.world.iam.list_policy_versions(PolicyArn=arn)["Versions"]
        if len(versions) == 5:
            staff.world.iam.delete_policy_version(PolicyArn=arn, VersionId=versions[-1]["VersionId"])
        staff.world.iam.create_policy_version(PolicyArn=arn, PolicyDocument=UNRELATED, SetAsDefault=True)
        staff.function("Publish").publications.handle_event(staff.world.event("CreatePolicyVersion"))
        for body in staff.world.queued("PUBLISH_QUEUE_URL"):
            staff.function("Publish").publications.handle_message(body)
    assert staff.world.in_force(published) == {"a", "b", "boundary.a", "boundary.b"}


def squatted(staff):
    """A caller takes the names of two deleted policies, and later gives them back."""
    world, taken = staff.world, []
    for name in ("a", "b"):
        world.iam.delete_policy(PolicyArn=policy_arn(name, "aws", ACCOUNT_ID))
        made = world.iam.create_policy(PolicyName=name, Path="/team/", PolicyDocument=UNRELATED)
        taken.append(made["Policy"]["Arn"])
    for _ in range(2):
        with pytest.raises(Refused, match=taken[0]):
            staff.function("Publish").publications.run(ACCOUNT_ID, SCHEDULED_CHECK)
    staff.enforce(world.role_event("CanvasAnalytics"))
    staff.recheck(role="CanvasAnalytics")
    assert taken[0] in world.history("CanvasAnalytics")[-1]["message"]
    for arn in taken:
        world.iam.delete_policy(PolicyArn=arn)
    staff.function("Publish").publications.run(ACCOUNT_ID, SCHEDULED_CHECK)


def events(staff):
    """Domains, profiles and roles are made, changed and deleted, and a guardrail is detached again and again."""
    world, sagemaker = staff.world, staff.world.sagemaker
    sagemaker.update_domain(DomainId=ANALYTICS)
    staff.enforce("UpdateDomain")
    sagemaker.create_user_profile(
        DomainId=RESEARCH, UserProfileName="nadia", UserSettings={"ExecutionRole": world.role("CanvasNadia")},
        Tags=[{"Key": "team", "Value": "data-science"}],
    )  # fmt: skip
    staff.enforce("CreateUserProfile")
    world.role("Glue", trusting("glue.amazonaws.com"))
    staff.enforce("CreateRole")
    assert [world.attached(role) for role in ("CanvasAnalytics", "CanvasNadia", "Glue")] == [{"a"}, {"b"}, {"a"}]

    pilot = sagemaker.create_domain(
        DomainName="pilot", AuthMode="IAM", DefaultUserSettings={"ExecutionRole": world.role("CanvasPilot")}
    )["DomainId"]
    staff.enforce("CreateDomain")
    assert world.attached("CanvasPilot") == {"a"}
    sagemaker.delete_domain(DomainId=pilot)
    staff.enforce("DeleteDomain")

    for _ in range(3):
        staff.enforce(world.detach("CanvasAnalytics", "a"))
    assert "Role Contested" in {row["kind"] for row in world.history("CanvasAnalytics")}
    world.detach("CanvasAnalytics", "a")  # Rolewarden does not get this event, and the recheck finds the change.
    staff.work()
    assert world.attached("CanvasAnalytics") == {"a"}


def rechecks(staff):
    """Rechecks of a domain, a profile and a role that were changing, and of a domain that no longer exists."""
    world = staff.world
    world.sagemaker.update_user_profile(
        DomainId=RESEARCH, UserProfileName="nadia", UserSettings={"ExecutionRole": world.role("CanvasNadia2")}
    )
    world.role("Glue2", trusting("glue.amazonaws.com"))
    staff.recheck(subject=SubjectKey(RESEARCH))
    staff.recheck(subject=SubjectKey(RESEARCH, "nadia"))
    staff.recheck(subject=SubjectKey("d-gone00000001"))
    request = EvaluationRequest(ACCOUNT_ID, REGION, Origin(Trigger.EVENT, call="CreateRole"), role="Glue2")
    staff.function("Reconcile").enforcer.handle_message(Recheck(request, 1).as_dict())
    assert [world.attached(role) for role in ("CanvasResearch", "CanvasNadia2", "Glue2")] == [{"a"}, {"b"}, {"a"}]


def full_role(staff):
    """A full role gets a boundary and loses it after a slot is free, once by an event and once by a sweep."""
    staff.enforce(staff.world.role_event("CanvasFull"))
    assert staff.boundary() == "boundary.a"
    staff.free()
    staff.enforce("DetachRolePolicy")
    assert (staff.boundary(), staff.world.attached("CanvasFull")) == ("", {"a"})

    staff.fill()
    staff.sweep()
    staff.work()
    assert staff.boundary() == "boundary.a"
    staff.free()
    staff.sweep()
    staff.work()
    assert (staff.boundary(), staff.world.attached("CanvasFull")) == ("", {"a"})


def sweeps(staff):
    """A sweep with little time, one without permission to read tags, sweeps with unprotected roles, and an audit."""
    world = staff.world
    # The sweep reads the selectors of a trail only if they are not the default.
    boto3.client("cloudtrail").put_event_selectors(
        TrailName="management-events", EventSelectors=[{"ReadWriteType": "WriteOnly"}]
    )
    for role in ("CanvasAnalytics", "CanvasOmar", "CanvasRosa"):
        for policy in world.attached(role):
            world.detach(role, policy)
    staff.sweep(seconds_left=0)
    staff.work()
    assert [world.attached(role) for role in ("CanvasAnalytics", "CanvasOmar", "CanvasRosa")] == [{"a"}, {"a"}, {"b"}]
    request = {"source": "rolewarden", "detail-type": "Sweep Requested"}
    staff.function("Sweep").sweeper.handle_event(request)
    assert len(world.queued("PUBLISH_QUEUE_URL")) == 1

    world.sagemaker.update_domain(DomainId=ANALYTICS)
    world.sagemaker.update_user_profile(
        DomainId=RESEARCH, UserProfileName="nadia", UserSettings={"ExecutionRole": world.role("CanvasNadia3")}
    )
    with world.aws.failing("GetResources", "AccessDeniedException"):
        staff.sweep()
    kinds = [row["kind"] for row in world.history("account/publication of a")]
    assert kinds == ["Account Finding", "Finding Resolved"]
    staff.work()
    assert world.attached("CanvasNadia3") == {"b"}
    assert staff.audit()["backfilled"] == 0


def detaches(staff):
    """The surplus policies of a moved, a deleted and a bounded profile, and those of another guardrails.yaml."""
    world = staff.world
    old = policy_arn("only-nova-and-sonnet", "aws", ACCOUNT_ID)
    world.iam.create_policy_version(PolicyArn=old, PolicyDocument=UNRELATED)
    staff.detach_surplus()  # This removes the messages of earlier sweeps.
    assert world.attached("CanvasNadia") == set()
    assert Aws().policy(old) is None

    world.sagemaker.delete_user_profile(DomainId=ANALYTICS, UserProfileName="omar")
    staff.sweep()
    staff.detach_surplus()
    assert world.attached("CanvasOmar") == set()

    staff.fill()
    staff.sweep()
    staff.work()
    world.sagemaker.delete_user_profile(DomainId=RESEARCH, UserProfileName="fatima")
    staff.sweep()
    staff.detach_surplus()
    assert staff.boundary() == ""


MOVED = RULES.replace("a: {bedrock: {deny: all}}", "a: {jumpstart: {deny: all}}\n  c: {bedrock: {deny: all}}").replace(
    "guardrails: [a]", "guardrails: [a, c]"
)


def exemption(staff):
    """The functions compare an exempt role with IAM and with the time of the deployment."""
    exempt = f"exemptions:\n  - {{role: CanvasResearch, account: '{ACCOUNT_ID}', until: 2999-01-31}}\n"
    staff.stack_is("UPDATE_COMPLETE")
    staff.deploy(RULES + exempt)
    staff.enforce(staff.world.role_event("CanvasResearch"))
    staff.recheck(role="CanvasResearch")
    staff.deploy(MOVED + exempt)
    staff.sweep()
    staff.detach_surplus()
    assert staff.world.attached("CanvasResearch") == set()

    staff.deploy(RULES)
    staff.sweep()
    staff.work()
    staff.detach_surplus()
    assert staff.world.attached("CanvasResearch") == {"a"}


def moved_statements(staff):
    """A deployment moves statements to another guardrail. Roles get this guardrail, then lose surplus policies."""
    staff.deploy(MOVED)
    staff.sweep()
    staff.work()
    staff.function("Publish").publications.run(ACCOUNT_ID, SCHEDULED_CHECK)
    assert staff.world.in_force() >= {"a", "b", "c"}
    assert staff.world.attached("CanvasAnalytics") == {"a", "c"}

    staff.deploy(RULES)
    staff.sweep()
    staff.detach_surplus()
    assert staff.world.attached("CanvasAnalytics") == {"a"}


def deletion(staff):
    """The stack is deleted, and its guardrails with it."""
    staff.stack_is("DELETE_IN_PROGRESS")
    function = staff.function("Detach")
    done = detach.stack(
        function.runtime.aws, ACCOUNT_ID, "Delete", own=OwnStack(STACK, removes=True),
        recorder=function.runtime.recorder, clock=Clock(),
    )  # fmt: skip
    assert done["deleted"] == 4
    assert Aws().own_policies() == ("drill.canary",)


def alert(staff):
    """AlertFunction sends the alert of a finding and of a change to a trail, counts one, and sends the number."""
    aws, environment = staff.aws("Alert"), staff.world.environment
    alerter = Alerter.of(aws, AlertSettings.read(environment), OwnOperations(StackReader(aws), STACK, {}))
    finding = record(staff.aws("Enforce"), environment["HISTORY_TABLE"], sample("finding_role"))
    assert alerter.handle(finding)["alert"] == "Rolewarden: role CanvasFull cannot be protected: quota full"
    event = sample("self_stop_logging")
    event["detail"]["requestParameters"] = {"name": "management-events"}
    assert "StopLogging" in alerter.handle(event)["alert"]
    everything = [{"readWriteType": "All", "includeManagementEvents": True}]
    parameters = {"trailName": "other", "eventSelectors": everything}
    event["detail"] |= {"eventName": "PutEventSelectors", "requestParameters": parameters}
    begun = alerter.clock.now
    alerter.clock.now = lambda: begun() + NARROWED_SECONDS + 1
    assert alerter.handle(event)["why"] == "other trails log the events that Rolewarden needs"
    changed = sample("self_disable_rule")
    assert [bool(alerter.handle(changed)["alert"]) for _ in range(2)] == [True, False]
    alerter.held.keep(key_of(changed), "us-east-1", "a call that CloudTrail does not have", "x", None)
    now = alerter.clock.now
    alerter.clock.now = lambda: now() + 4000
    assert alerter.handle({"step": SUMMARY})["alert"] == "Rolewarden: 1 further alerts within an hour"


def call_of_cloudformation(staff):
    """AlertFunction asks whether a call of CloudFormation is Rolewarden's own."""
    stack, _ = own_operations({"STACK_ID": STACK})
    event = sample("self_put_role_policy")
    event["detail"]["sourceIPAddress"] = "cloudformation.amazonaws.com"
    OwnOperations(StackReader(staff.aws("Alert")), stack, {}).caused(event)
    assert staff.world.aws.calls()[-1].operation == "DescribeStackEvents"


@pytest.fixture(scope="module")
def template():
    return translated(Fallback="boundary")


def drills(staff):
    """A drill is sent, heard and answered, a sweep restores the canary, and the judge reads every link."""
    world = staff.world
    driller = Driller.of(staff.aws("Drill"), DrillSettings.read(world.environment), Clock())
    driller.deployed()
    driller.handle({"step": "drill", "account": ACCOUNT_ID})
    staff.enforce("DetachRolePolicy")
    canary = f"arn:aws:iam::{ACCOUNT_ID}:policy/rolewarden/drill.canary"
    world.iam.detach_role_policy(RoleName="rolewarden-canary", PolicyArn=canary)
    staff.function("Reconcile").enforcer.evaluate(Work(RoleKey(ACCOUNT_ID, "rolewarden-canary"), ACCOUNT_ID, SWEEP))
    put_function((REGION,))
    for rule in ("EnforceFunctionRoles", "EnforceFunctionSubjects"):
        boto3.client("events").put_rule(Name=rule, EventPattern='{"source": ["aws.none"]}')
    judge = staff.function("Sweep").sweeper.judge
    judge.limit = 0.0
    for state in judge.states(ACCOUNT_ID):
        list(judge.path._broken(state, time.time()))
        judge.path.broken_queue(ACCOUNT_ID, REGION)


def own_parts(staff, template):
    """CloudFormation lists the resources of the central stack, and SweepFunction reads the parts that notify people."""
    staff.stack_is("UPDATE_COMPLETE")
    stack = cloudformation._stacks.get_scoped(ACCOUNT_ID, REGION, "rolewarden")
    stack["_resources"] = {
        logical: {"PhysicalResourceId": physical, "LogicalResourceId": logical, "ResourceType": kind,
                  "ResourceStatus": "UPDATE_COMPLETE", "Timestamp": "2026-01-15T00:00:00Z"}
        for logical, kind, physical in deployed(template, physical=str).resources
    }  # fmt: skip
    # A sweep reads subscriptions only if the stack has had one for days. Without the parameter AlarmEmail, it has none.
    subscription = next(iter(stack["_resources"].values())) | {"ResourceType": "AWS::SNS::Subscription"}
    stack["_resources"]["AlarmTopicMail"] = subscription | {"LogicalResourceId": "AlarmTopicMail"}
    stack["_resources"]["AlarmKey"]["PhysicalResourceId"] = "AlarmKey"
    for logical, found in stack["_resources"].items():
        if found["ResourceType"] == "AWS::Lambda::Function" and logical != "EnforceFunction":
            put_function((), logical)
    # The rules of this world have no targets, its topic has no policy, and it has no alarms.
    problems = dict(staff.function("Sweep").sweeper.parts.problems())
    assert "does not send to" in problems["EnforceFunctionRoles"]
    assert "no confirmed mail subscription" in problems["AlarmTopic"]
    topic = stack["_resources"]["AlarmTopic"]["PhysicalResourceId"]
    boto3.client("sns").subscribe(TopicArn=topic, Protocol="email", Endpoint="ops@example.com")
    staff.world.aws.confirm_subscriptions()
    problems = dict(staff.function("Sweep").sweeper.parts.problems())
    assert "the policy of AlarmTopic" in problems["AlarmTopic"]
    assert any("alarm" in problem for problem in problems.values())
    staff.stack_is("UPDATE_COMPLETE")


def roles_of_a_sweep(staff):
    """The roles of one message of a sweep share the reads of IAM, and one of them has never had a guardrail."""
    staff.deploy(RULES.replace("fallback: boundary\n", ""))
    world, names = staff.world, ("CanvasOmar", "CanvasNadia4")
    world.sagemaker.update_user_profile(
        DomainId=RESEARCH, UserProfileName="nadia", UserSettings={"ExecutionRole": world.role("CanvasNadia4")}
    )
    for policy in world.attached("CanvasOmar"):
        world.detach("CanvasOmar", policy)
    staff.sweep()
    world.queued()
    works = Works(tuple(Work(RoleKey(ACCOUNT_ID, name), ACCOUNT_ID, SWEEP) for name in names))
    enforcer = staff.function("Reconcile").enforcer
    with pytest.MonkeyPatch.context() as patch, enforcer.recorder.together():
        patch.setattr(enforce, "SHARED_FROM", 1)
        enforcer.handle_message(works.as_dict())
    assert [world.attached(name) for name in names] == [{"a"}, {"b"}]
    staff.deploy(RULES)


def users_of_a_shared_role(staff):
    """A user of a shared role becomes an exception, for which DetachFunction reads the domain's user profiles."""
    staff.deploy(SHARED)
    world, role = staff.world, "CanvasAnalytics"
    trust = json.loads(trusting("sagemaker.amazonaws.com"))
    trust["Statement"][0]["Action"] = ["sts:AssumeRole", "sts:SetSourceIdentity"]
    world.iam.update_assume_role_policy(RoleName=role, PolicyDocument=json.dumps(trust))
    staff.enforce("UpdateAssumeRolePolicy")
    world.sagemaker.update_domain(
        DomainId=ANALYTICS, DomainSettingsForUpdate={"ExecutionRoleIdentityConfig": "USER_PROFILE_NAME"}
    )
    staff.enforce("UpdateDomain")
    staff.sweep()
    staff.work()
    staff.detach_surplus()
    assert world.attached(role) == {"except.a", "only.b"}


@pytest.fixture(scope="module")
def staff(aws, template, tmp_path_factory):
    return Staff(World(aws, template), template, tmp_path_factory.mktemp("rules"))


@pytest.fixture(scope="module")
def judged(aws, staff, template):
    """The decisions on all calls of the functions' work."""
    with aws.authorizing() as authorization:
        for stretch in (
            publications,
            events,
            rechecks,
            full_role,
            sweeps,
            roles_of_a_sweep,
            detaches,
            exemption,
            drills,
            partial(own_parts, template=template),
            moved_statements,
            alert,
            call_of_cloudformation,
            users_of_a_shared_role,
            deletion,
        ):
            stretch(staff)
    return authorization.judged


QUEUES = {"Publish": "PublishQueue", "Reconcile": "WorkQueue", "Detach": "DetachQueue", "Sweep": "SweepQueue"}
USED_BY_AWS = {
    # Lambda polls a queue with the role of its function.
    *(
        (f"{function}Function", f"sqs:{action}", queue)
        for function, queue in QUEUES.items()
        for action in ("DeleteMessage", "GetQueueAttributes", "ReceiveMessage")
    ),
    # Lambda sends an event that failed three times to the dead-letter queue.
    *(
        (f"{function}Function", "sqs:SendMessage", "InvocationsDeadLetterQueue")
        for function in ("Alert", "Enforce", "Publish", "Detach", "Drill", "Sweep")
    ),
    # Lambda writes the logs of a function.
    *(
        (f"{function}Function", f"logs:{action}", f"log-group:{function}Logs:*")
        for function in ("Alert", "Enforce", "Publish", "Reconcile", "Detach", "Drill", "Sweep")
        for action in ("CreateLogStream", "PutLogEvents")
    ),
    # SNS encrypts with the permissions of the publisher.
    ("AlertFunction", "kms:Decrypt", "key/AlarmKey"),
    ("AlertFunction", "kms:GenerateDataKey", "key/AlarmKey"),
}
"""Calls that AWS itself makes with a function's role, without a call of the function."""

WITHOUT_EFFECT = {
    (f"{function}Function", f"sagemaker:{action}", resource)
    for function in ("Enforce", "Reconcile", "Detach", "Sweep")
    for action, resource in (("DescribeDomain", "user-profile/*"), ("DescribeUserProfile", "domain/*"))
}
"""Actions in a shared statement on a kind of resource that they do not have (Service Authorization Reference)."""


def test_no_call_of_a_function_is_denied(judged):
    assert not [call for call in judged if not call.allowed]


def test_every_permission_is_needed_by_a_call_or_used_by_aws_for_the_function(judged, template):
    assert unused(of_template(template), judged) == USED_BY_AWS | WITHOUT_EFFECT
