"""A random day in an account under all service control policies (SCPs), while Rolewarden is off and events are lost.

Administrators of IAM and SageMaker, an infrastructure tool, Canvas users, running functions, an approver and attackers
call the local AWS, and its authorization decides. `Account.violations` checks the invariants. `Day` calls it after each
step:

- A principal reaches no model that the guardrails of its assignment deny. Without an assignment, all guardrails count.
- Only an approver creates a wider role or user, an approver or its identity provider, or changes who can act as it.
  A role that was deleted and created again is another role.
- A subject's role reaches no model beyond those of a role that an approver passed in the same domain, or beyond those
  that all guardrails leave.
- A person reaches no model beyond those of the own subject, and never acts as an approver.

The last two hold only if AWS checks iam:PassRole in UpdateDomain and UpdateUserProfile.
"""

from __future__ import annotations

import contextlib
import io
import json
import logging
import zipfile
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from functools import cache
from typing import Any

import boto3
from botocore.credentials import Credentials
from botocore.exceptions import ClientError
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule
from moto.sagemaker.models import sagemaker_backends
from rolewarden.guardrails import Guardrail
from rolewarden.prevention import compile_prevention, wider_callers
from rolewarden_cli.admission import AdmissionPolicies
from rolewarden_cli.deployers import APPROVER, deployer_patterns
from rolewarden_cli.protect import Protection, compact
from rolewarden_local.aws import REGION, LocalAws
from rolewarden_local.emulated._ministack import iam as store
from rolewarden_local.emulated._ministack import sts
from rolewarden_local.emulated.judge import judge
from rolewarden_local.emulated.organization import MANAGEMENT
from rolewarden_local.emulated.sagemaker import members_of
from rolewarden_local.emulated.scps import organizations_decision
from rolewarden_local.emulated.service_sessions import NotTrustedError

from tests.admission import APPROVE, APPROVE_SET, APPROVE_USER, BATCH, CHAT, IAM, OLD, PROVIDER, RULES
from tests.becoming import ALLOW_ALL, trust
from tests.callers import user_with
from tests.guardrails.prevention import attached, is_denied
from tests.guardrails.probes import REQUESTS, Request
from tests.stacks import ACCOUNT, MEMBER, deployed, whole

Answer = Mapping[str, Any]


@cache
def _client(service: str) -> Any:
    """One client of a service for all callers. To make one for each caller takes longer than the calls."""
    session: Any = boto3.Session(region_name=REGION)
    return session.client(service)


UNIT = "ou-root-canvas000"
NOVA, TITAN, VISITOR = f"{IAM}:role/canvas/some/Nova", f"{IAM}:role/canvas/some/deeper/Titan", f"{IAM}:role/any/Visitor"
STRICT, CANVAS, NEAR = (
    f"{IAM}:role/canvas/none/Strict",
    f"{IAM}:role/service-role/Canvas",
    f"{IAM}:role/canvas/Some/Near",
)
TOOL, SET_ROLE = f"{IAM}:role/Terraform", f"{APPROVE_SET}0123456789abcdef"
THERE = f"arn:aws:iam::{MEMBER}:role/canvas/some/There"
THEIR_APPROVER = APPROVE.replace(ACCOUNT, MEMBER)
WIDER = (NOVA, TITAN, CHAT, OLD, VISITOR)
ROLES = (*WIDER, STRICT, CANVAS, NEAR, TOOL, APPROVE, SET_ROLE, THERE, THEIR_APPROVER)
"""The roles that callers create, change, pass and delete. Some of them exist at the beginning."""

EXISTING = (NOVA, CHAT, OLD, VISITOR, STRICT, CANVAS, TOOL, APPROVE, SET_ROLE)
"""The roles that exist at the beginning."""

USERS = (BATCH, APPROVE_USER, f"{IAM}:user/mallory", f"{IAM}:user/apps/former")
SERVICES = ("sagemaker", "lambda", "glue", "states", "ecs-tasks", "ec2", "codebuild", "cloudformation")
TO_SERVICES = trust(Service=[f"{service}.amazonaws.com" for service in SERVICES])
TO_ALL = trust(AWS="*", Service=[f"{service}.amazonaws.com" for service in SERVICES])
TRUSTS = (trust(Service="sagemaker.amazonaws.com"), TO_SERVICES, TO_ALL, trust(AWS=f"{IAM}:root"))
LIMITS = f"arn:aws:iam::{ACCOUNT}:policy/limits"
EVERYTHING = "arn:aws:iam::aws:policy/AdministratorAccess"
TEMPLATE = "arn:aws:iam::aws:role-template/sagemaker.amazonaws.com/Canvas:1"
NOW, LATER = "2026-12-01T00:00:00Z", "2126-02-01T00:00:00Z"
"""A time at which the exempt role is exempt, and one after the end of its exemption."""

SETTINGS = ("DefaultUserSettings", "DefaultSpaceSettings")
WORKS = ("sagemaker", "lambda", "glue", "states", "ecs-tasks", "ec2")
CHANGES = (
    "put_role_policy", "delete_role_policy", "attach_role_policy", "detach_role_policy",
    "put_role_permissions_boundary", "delete_role_permissions_boundary", "tag_role", "untag_role", "update_role",
)  # fmt: skip
USER_CHANGES = (
    "create_user", "delete_user", "create_access_key", "create_login_profile", "update_login_profile",
    "create_service_specific_credential", "put_user_policy", "update_user",
)  # fmt: skip
PROVIDER_CHANGES = ("update_saml_provider", "delete_saml_provider", "create_open_id_connect_provider")

PEOPLE = {"alice": "plain", "rita": "research"}
"""The people who work in Canvas only, each with the domain of the user profile."""

Reach = frozenset[int]
"""The numbers of the requests in `matrix` that a principal can make."""


@cache
def scp_documents() -> dict[str, list[dict[str, Any]]]:
    """The statements of all SCPs by the name of the SCP."""
    providers = (PROVIDER, f"{IAM}:saml-provider/AWSSSO_*")
    approvers = deployer_patterns((APPROVE, APPROVE_USER, f"{APPROVE_SET}*"), "aws", ACCOUNT, APPROVER)
    documents = {
        **{policy.name: policy.document for policy in compile_prevention(RULES, "aws").policies},
        **AdmissionPolicies(wider_callers(RULES, "aws"), approvers, providers).documents(),
        "rolewarden-protection": Protection(deployed(whole())).service_control_policy(),
    }
    return {name: document["Statement"] for name, document in documents.items()}


@cache
def sids(part: str) -> list[str]:
    """The Sids of the SCPs whose name begins with `rolewarden-` and this part."""
    found = scp_documents().items()
    return [one["Sid"] for name, listed in found if name.startswith(f"rolewarden-{part}") for one in listed]


@cache
def matrix() -> tuple[Request, ...]:
    """Requests of probes.yaml. Each statement about models is the only one that denies one of them to some caller."""
    documents = {
        name: {"Version": "2012-10-17", "Statement": listed}
        for name, listed in scp_documents().items()
        if name.startswith("rolewarden-models")
    }
    allow = {"all": json.loads(ALLOW_ALL)}
    needed, found = set(sids("models")), [request for request in REQUESTS if not request.denied][:3]
    for arn, time in ((CANVAS, NOW), (VISITOR, LATER), (NOVA, NOW)):
        for request in REQUESTS if needed else ():
            context = {**request.context, "aws:PrincipalArn": arn, "aws:CurrentTime": time}
            for resource in request.resources[:1]:
                judged = judge({**allow, **documents}, request.action, resource, context)
                if judged.decision == "explicitDeny" and len(judged.matched) == 1 and judged.matched[0].sid in needed:
                    needed.discard(judged.matched[0].sid)
                    found.append(Request(request.why, request.action, [resource], request.context, request.denied))
    assert not needed, needed
    return tuple(found)


@cache
def is_wider(arn: str) -> bool:
    """Whether a role or user has fewer guardrails than one that the file does not name."""
    return len(_guardrails_of(arn, NOW)) < len(RULES.guardrails)


def is_approver(arn: str) -> bool:
    """Whether a role or user is an approver."""
    return arn in {APPROVE, APPROVE_USER, SET_ROLE}


def _belongs(arn: str, principal: str) -> bool:
    return arn.startswith(principal[:-1]) if principal.endswith("/*") else arn == principal


def _guardrails_of(arn: str, time: str) -> tuple[Guardrail, ...]:
    """The guardrails of the assignment of a principal, written a second time: it does not use the compiler."""
    every = tuple(RULES.guardrails.values())
    if arn.startswith(f"{IAM}:role/") and arn.endswith("/Visitor"):
        return () if time == NOW else every
    for assignment in RULES.assignments:
        if any(_belongs(arn, principal) for principal in assignment.principals):
            return tuple(RULES.guardrails[name] for name in assignment.guardrails)
    return every


@cache
def permitted(arn: str, time: str) -> Reach:
    """The requests that the attached policies of a principal's guardrails leave to it."""
    policies = {guardrail.name: attached(guardrail) for guardrail in _guardrails_of(arn, time)}
    return frozenset(n for n, one in enumerate(matrix()) if not is_denied(policies, one, one.context))


STRICTEST = f"{IAM}:role/Unknown"
"""A principal that the file does not name."""

_BY_SCPS: dict[tuple[str, str, str], Reach] = {}
_BY_POLICIES: dict[str, Reach] = {}


def _by_policies(policies: Mapping[str, str], boundary: str | None) -> Reach:
    key = json.dumps([sorted(policies.items()), boundary])
    if key not in _BY_POLICIES:
        documents = {name: json.loads(text) for name, text in policies.items()}
        limit = json.loads(boundary) if boundary else None
        _BY_POLICIES[key] = frozenset(
            number
            for number, one in enumerate(matrix())
            if judge(documents, one.action, one.resources[0], one.context, boundary=limit).allowed
        )
    return _BY_POLICIES[key]


def _by_scps(arn: str, time: str, left_out: str) -> Reach:
    """The requests that the SCPs of the local AWS allow."""
    key = arn, time, left_out
    if key not in _BY_SCPS:
        keys = {"aws:PrincipalArn": arn, "aws:CurrentTime": time, "aws:userid": "AROAEXAMPLE:SageMaker"}
        _BY_SCPS[key] = frozenset(
            number
            for number, one in enumerate(matrix())
            if organizations_decision(arn, one.action, one.resources[0], {**one.context, **keys}) == "allowed"
        )
    return _BY_SCPS[key]


@dataclass(frozen=True)
class Caller:
    """Somebody with an access key, the person who uses it, and the role or user that it belongs to."""

    name: str
    person: str
    arn: str
    key: str
    secret: str = "-"  # noqa: S105
    token: str | None = None
    is_sagemaker: bool = False
    """Whether SageMaker began the session. Its name is SageMaker then, and the caller did not choose it."""
    role_id: str = ""


@dataclass
class Figures:
    """Counts of the work of this process, for the summary."""

    runs: int = 0
    steps: int = 0
    calls: Counter[str] = field(default_factory=Counter)
    done: Counter[str] = field(default_factory=Counter)

    def __str__(self) -> str:
        calls = ", ".join(f"{count:,} {name}" for name, count in sorted(self.calls.items()))
        done = ", ".join(f"{count:,} {name}" for name, count in sorted(self.done.items()))
        return f"{self.runs:,} runs, {self.steps:,} steps; calls: {calls}; {done}"


FIGURES = Figures()


@cache
def local_aws() -> LocalAws:
    return LocalAws.start()


@cache
def saved_account() -> tuple[Callable[[], None], dict[str, tuple[str, str]], dict[str, str]]:
    """A function that restores the account, the access keys of its users, and the IDs of the SCPs by their names."""
    logging.getLogger("cloudformation").setLevel(logging.CRITICAL)
    aws = local_aws()
    aws.reset()
    with aws.connected():
        iam, there = boto3.client("iam"), boto3.client("iam", aws_access_key_id=MEMBER, aws_secret_access_key="-")
        for arn in EXISTING:
            _make(iam, arn, TO_ALL if is_approver(arn) else TO_SERVICES)
        _make(there, f"arn:aws:iam::{MEMBER}:role/Admin", TO_SERVICES)
        iam.create_policy(PolicyName="limits", PolicyDocument=ALLOW_ALL)
        iam.create_instance_profile(InstanceProfileName="build")
        iam.create_saml_provider(Name="AWSSSO_0123_DO_NOT_DELETE", SAMLMetadataDocument="<" * 1000)
        keys = {}
        for name, path, actions in (
            ("mallory", "/", ["*"]),
            ("sam", "/", ["sagemaker:*", "iam:PassRole"]),
            ("ida", "/", ["iam:*", "sts:*", "cloudformation:*"]),
            ("approver", "/ci/", ["*"]),
            ("batch", "/apps/", ["*"]),
        ):
            found: Any = user_with(iam, name, *actions, Path=path).get_credentials()
            keys[name] = str(found.access_key), str(found.secret_key)
        aws.organize("o-exampleorg1", {UNIT: {ACCOUNT, MEMBER}})
        organizations = boto3.client("organizations", aws_access_key_id=MANAGEMENT, aws_secret_access_key="-")
        ids: dict[str, str] = {}
        for name, statements in scp_documents().items():
            made = organizations.create_policy(
                Name=name, Description="", Type="SERVICE_CONTROL_POLICY", Content=_text(statements)
            )
            ids[name] = made["Policy"]["PolicySummary"]["Id"]
            organizations.attach_policy(PolicyId=ids[name], TargetId=UNIT)
    return aws.saved(), keys, ids


def _text(statements: list[dict[str, Any]]) -> str:
    return compact({"Version": "2012-10-17", "Statement": statements})


def _make(iam: Any, arn: str, document: str) -> None:
    path, _, name = arn.partition(":role")[2].rpartition("/")
    iam.create_role(RoleName=name, Path=f"{path}/", AssumeRolePolicyDocument=document)
    store._roles.get_scoped(arn.split(":")[4], None, name)["InlinePolicies"]["all"] = ALLOW_ALL


@cache
def _code() -> bytes:
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w") as file:
        file.writestr("a.py", "")
    return packed.getvalue()


class Account:
    """The account of one run, its callers, and what approvers did in it.

    - `left_out`: the Sid of a statement that its SCP lacks, or "".
    - `is_checked`: whether UpdateDomain and UpdateUserProfile need iam:PassRole.
    """

    def __init__(self, left_out: str = "", *, is_checked: bool = True) -> None:
        restore, keys, ids = saved_account()
        restore()
        self.aws, self.left_out, self.is_checked = local_aws(), left_out, is_checked
        self._number = 0
        for name, statements in scp_documents().items() if left_out else ():
            if any(one["Sid"] == left_out for one in statements):
                kept = [one for one in statements if one["Sid"] != left_out]
                client = boto3.client("organizations", aws_access_key_id=MANAGEMENT, aws_secret_access_key="-")
                client.update_policy(PolicyId=ids[name], Content=_text(kept))
        users = [Caller(name, name, f"{IAM}:user/{name}", *keys[name]) for name in ("mallory", "sam", "ida")]
        self.approver = Caller("approver", "approver", APPROVE_USER, *keys["approver"])
        self.callers = [
            *users,
            Caller("root", "root", f"{IAM}:root", ACCOUNT),
            self.service("tool", TOOL, "codebuild"),
            self.service("admin of the other account", f"arn:aws:iam::{MEMBER}:role/Admin", "codebuild"),
            self.service("etl", NOVA, "lambda"),
            self.approver,
            self.service("approver", APPROVE, "codebuild"),
        ]
        self.sessions: list[Caller] = []
        self.held: list[tuple[str, str, str]] = []
        """The person, the ARN and the role ID (empty for a user) of each identity as which a person can act."""
        self.passed: dict[str, set[str]] = {}
        self.approved = self.identities()
        self.domains = {name: self._domain(name, role) for name, role in (("plain", STRICT), ("research", NOVA))}
        for person, domain in PEOPLE.items():
            self.call(
                self.approver, "sagemaker", "create_user_profile", DomainId=self.domains[domain], UserProfileName=person
            )
            self.canvas(person)

    def _domain(self, name: str, role: str) -> str:
        found = self.create_domain(self.approver, name, role)
        assert found
        return found

    def service(self, person: str, arn: str, service: str) -> Caller:
        """A session that a service begins with a role, for a person."""
        key = self.aws.work_as(f"{service}.amazonaws.com", arn, "work")
        return Caller(f"{person}'s {service}", person, arn, key, token="-", role_id=self._role_id(key))

    @staticmethod
    def _role_id(key: str) -> str:
        return str(sts._sessions[key]["UserId"].partition(":")[0])

    def caller(self, number: int) -> Caller:
        """One of the callers, by any number."""
        every = [*self.callers, *self.sessions[-8:]]
        return every[number % len(every)]

    def call(self, caller: Caller, service: str, operation: str, **parameters: Any) -> Answer | None:
        """The answer to a call; None if AWS denies it or finds an error in it."""
        client = _client(service)
        client._request_signer._credentials = Credentials(caller.key, caller.secret, caller.token)
        try:
            answer: Answer = getattr(client, operation)(**parameters)
        except ClientError as error:
            code, message = error.response["Error"]["Code"], error.response["Error"]["Message"]
            assert code not in {"InternalFailure", "InternalError"}, message
            FIGURES.calls["denied by an SCP" if message.endswith("service control policy") else "failed"] += 1
            return None
        FIGURES.calls["done"] += 1
        if is_approver(caller.arn):
            self.approved = self.identities()
            domain = str(parameters.get("DomainId") or answer.get("DomainArn", "")).rpartition("/")[2]
            if service == "sagemaker" and domain:
                self.passed.setdefault(domain, set()).update(_roles_in(parameters))
        return answer

    def hold(self, caller: Caller, name: str, arn: str, key: str, secret: str = "", **more: Any) -> Caller:
        """Give the person of a caller a further identity, with which the person calls from now on."""
        role_id = self._role_id(key) if key in sts._sessions and ":role/" in arn else ""
        found = Caller(f"{caller.person}'s {name}", caller.person, arn, key, secret or "-", role_id=role_id, **more)
        self.held.append((caller.person, arn, role_id))
        self.sessions.append(found)
        return found

    # Roles

    def create_role(self, caller: Caller, arn: str, document: str) -> None:
        path, _, name = arn.partition(":role")[2].rpartition("/")
        self.call(caller, "iam", "create_role", RoleName=name, Path=f"{path}/", AssumeRolePolicyDocument=document)
        self.call(caller, "iam", "put_role_policy", RoleName=name, PolicyName="all", PolicyDocument=ALLOW_ALL)

    def delete_role(self, caller: Caller, arn: str) -> None:
        of_role = {"RoleName": arn.rpartition("/")[2]}
        self.call(caller, "iam", "delete_role_policy", **of_role, PolicyName="all")
        for profile in ("build",):
            self.call(caller, "iam", "remove_role_from_instance_profile", **of_role, InstanceProfileName=profile)
        self.call(caller, "iam", "detach_role_policy", **of_role, PolicyArn=EVERYTHING)
        if self.call(caller, "iam", "delete_role", **of_role):
            FIGURES.done["roles deleted"] += 1

    def change_role(self, caller: Caller, arn: str, what: str) -> None:
        of_role = {"RoleName": arn.rpartition("/")[2]}
        parameters: dict[str, Any] = {
            "put_role_policy": {"PolicyName": "all", "PolicyDocument": ALLOW_ALL},
            "delete_role_policy": {"PolicyName": "all"},
            "attach_role_policy": {"PolicyArn": EVERYTHING},
            "detach_role_policy": {"PolicyArn": EVERYTHING},
            "put_role_permissions_boundary": {"PermissionsBoundary": LIMITS},
            "delete_role_permissions_boundary": {},
            "tag_role": {"Tags": [{"Key": "team", "Value": "research"}]},
            "untag_role": {"TagKeys": ["team"]},
            "update_role": {"MaxSessionDuration": 43_200},
        }
        self.call(caller, "iam", what, **of_role, **parameters[what])

    def update_trust(self, caller: Caller, arn: str, document: str) -> None:
        name = arn.rpartition("/")[2]
        self.call(caller, "iam", "update_assume_role_policy", RoleName=name, PolicyDocument=document)

    def acquire_role(self, caller: Caller, arn: str) -> None:
        path, _, name = arn.partition(":role")[2].rpartition("/")
        values = {"RoleName": {"Values": [name]}, "Path": {"Values": [f"{path}/"]}}
        self.call(caller, "iam", "acquire_role", TemplateArn=TEMPLATE, ReplacementValues=values)

    def assume(self, caller: Caller, arn: str, session: str, *, is_tagged: bool) -> None:
        tags: dict[str, Any] = {"Tags": [{"Key": "team", "Value": "research"}]} if is_tagged else {}
        found = self.call(caller, "sts", "assume_role", RoleArn=arn, RoleSessionName=session, **tags)
        if found:
            given = found["Credentials"]
            token = given["SessionToken"]
            self.hold(caller, "session", arn, given["AccessKeyId"], given["SecretAccessKey"], token=token)

    # Subjects

    def create_domain(self, caller: Caller, name: str, role: str) -> str:
        found = self.call(
            caller, "sagemaker", "create_domain",
            DomainName=name, AuthMode="IAM", DefaultUserSettings={"ExecutionRole": role}, VpcId="v", SubnetIds=["s"],
        )  # fmt: skip
        return str(found["DomainArn"]).rpartition("/")[2] if found else ""

    def update_domain(self, caller: Caller, domain: str, role: str, setting: str) -> None:
        self.call(caller, "sagemaker", "update_domain", DomainId=domain, **{setting: {"ExecutionRole": role}})

    def create_profile(self, caller: Caller, domain: str, name: str, role: str | None) -> None:
        settings = {"UserSettings": {"ExecutionRole": role}} if role else {}
        self.call(caller, "sagemaker", "create_user_profile", DomainId=domain, UserProfileName=name, **settings)

    def update_profile(self, caller: Caller, domain: str, name: str, role: str) -> None:
        settings = {"UserSettings": {"ExecutionRole": role}}
        self.call(caller, "sagemaker", "update_user_profile", DomainId=domain, UserProfileName=name, **settings)

    def delete_profile(self, caller: Caller, domain: str, name: str) -> None:
        self.call(caller, "sagemaker", "delete_user_profile", DomainId=domain, UserProfileName=name)

    def create_space(self, caller: Caller, domain: str, name: str) -> None:
        self.call(caller, "sagemaker", "create_space", DomainId=domain, SpaceName=name)

    def open_profile(self, caller: Caller, domain: str, name: str) -> None:
        """Open a user profile by a presigned URL. The design does not claim that an IAM user cannot do so."""
        parameters = {"DomainId": domain, "UserProfileName": name}
        found = self.call(caller, "sagemaker", "create_presigned_domain_url", **parameters)
        if found is None:
            return
        if not (caller.is_sagemaker or is_wider(caller.arn)):
            FIGURES.done["user profiles opened, not claimed"] += 1
            return
        self._open(caller, found["AuthorizedUrl"])

    def canvas(self, person: str) -> Caller | None:
        """Sign a person in to Canvas, in the own user profile. None if the profile or its role is missing."""
        url = self._url(self.domains[PEOPLE[person]], person)
        return self._open(Caller(person, person, "", ""), url) if url else None

    def _open(self, caller: Caller, url: str) -> Caller | None:
        try:
            key = self.aws.open_profile(url)
        except NotTrustedError:
            return None
        session = sts._sessions[key]
        arn = store._roles.get_scoped(ACCOUNT, None, session["Arn"].split("/")[1])["Arn"]
        FIGURES.done["sessions of Canvas"] += 1
        return self.hold(caller, "Canvas", arn, key, token="-", is_sagemaker=True)

    def _url(self, domain: str, name: str) -> str:
        """A presigned URL by the identity provider, which no SCP restricts. Outside of authorization."""
        with self.aws.unrestricted():
            client = _client("sagemaker")
            client._request_signer._credentials = Credentials(ACCOUNT, "-")
            try:
                return str(client.create_presigned_domain_url(DomainId=domain, UserProfileName=name)["AuthorizedUrl"])
            except ClientError:
                return ""

    # Services that work as a role

    def work(self, caller: Caller, service: str, arn: str) -> None:
        """Let a service run code as a role. The person of the caller then acts as this role."""
        self._number += 1
        name, role = f"work-{self._number}", arn.rpartition("/")[2]
        job: dict[str, Any] = {
            "TrainingJobName": name,
            "AlgorithmSpecification": {"TrainingInputMode": "File"},
            "OutputDataConfig": {"S3OutputPath": "s3://bucket"},
            "ResourceConfig": {"VolumeSizeInGB": 1},
            "StoppingCondition": {},
        }
        code = {"Runtime": "python3.13", "Handler": "a.b", "Code": {"ZipFile": _code()}}
        machine = json.dumps({"StartAt": "a", "States": {"a": {"Type": "Succeed"}}})
        container = {"name": "c", "image": "i"}
        calls: dict[str, tuple[str, str, dict[str, Any]]] = {
            "sagemaker": ("sagemaker", "create_training_job", {**job, "RoleArn": arn}),
            "lambda": ("lambda", "create_function", {"FunctionName": name, **code, "Role": arn}),
            "glue": ("glue", "create_job", {"Name": name, "Role": role, "Command": {"Name": "glueetl"}}),
            "states": ("stepfunctions", "create_state_machine",
                       {"name": name, "definition": machine, "roleArn": arn}),
            "ecs-tasks": ("ecs", "register_task_definition",
                          {"family": name, "containerDefinitions": [container], "taskRoleArn": arn}),
            "ec2": ("iam", "add_role_to_instance_profile", {"InstanceProfileName": "build", "RoleName": role}),
        }  # fmt: skip
        if service == "ec2":
            self.call(caller, "iam", "remove_role_from_instance_profile", InstanceProfileName="build", RoleName=role)
        at, operation, parameters = calls[service]
        # A role cannot be passed to a service of another account, and a name is a role of the caller's account.
        if not self.call(caller, at, operation, **parameters) or caller.arn.split(":")[4] != ACCOUNT:
            return
        try:
            key = self.aws.work_as(f"{service}.amazonaws.com", arn, name)
        except NotTrustedError:
            return
        FIGURES.done["roles passed to services"] += 1
        self.hold(caller, service, arn, key, token="-")

    def stack(self, caller: Caller, arn: str, document: str, service_role: str = "") -> None:
        """Create a role with CloudFormation, and delete the stack if that fails."""
        self._number += 1
        path, _, role = arn.partition(":role")[2].rpartition("/")
        name = f"stack-{self._number}"
        properties = {"RoleName": role, "Path": f"{path}/", "AssumeRolePolicyDocument": json.loads(document)}
        template = json.dumps({"Resources": {"Role": {"Type": "AWS::IAM::Role", "Properties": properties}}})
        more = {"RoleARN": service_role} if service_role else {}
        capabilities = ["CAPABILITY_NAMED_IAM"]
        if self.call(
            caller, "cloudformation", "create_stack",
            StackName=name, TemplateBody=template, Capabilities=capabilities, **more,
        ):  # fmt: skip
            state = self.finished(name, caller.arn.split(":")[4])
            FIGURES.done[f"stacks {state}"] += 1
            if is_approver(caller.arn):
                self.approved = self.identities()

    def finished(self, name: str, account: str) -> str:
        """The final status of a stack of an account."""
        with self.aws.unrestricted():
            client = _client("cloudformation")
            client._request_signer._credentials = Credentials(account, "-")
            while True:
                [found] = client.describe_stacks(StackName=name)["Stacks"]
                if not found["StackStatus"].endswith("_IN_PROGRESS"):
                    return str(found["StackStatus"])

    # Users and identity providers

    def change_user(self, caller: Caller, arn: str, what: str) -> None:
        name, password = arn.rpartition("/")[2], {"Password": "correct horse battery staple"}
        path = arn.partition(":user")[2].rpartition("/")[0] + "/"
        parameters: dict[str, dict[str, Any]] = {
            "create_user": {"UserName": name, "Path": path},
            "delete_user": {"UserName": name},
            "create_access_key": {"UserName": name},
            "create_login_profile": {"UserName": name, **password},
            "update_login_profile": {"UserName": name, **password},
            "create_service_specific_credential": {"UserName": name, "ServiceName": "bedrock.amazonaws.com"},
            "put_user_policy": {"UserName": name, "PolicyName": "all", "PolicyDocument": ALLOW_ALL},
            "update_user": {"UserName": "mallory", "NewUserName": name, "NewPath": path},
        }
        found = self.call(caller, "iam", what, **parameters[what])
        user = store._users.get_scoped(ACCOUNT, None, name)
        if found is None or user is None:
            return
        if what == "create_access_key":
            made = found["AccessKey"]
            self.hold(caller, "access key", user["Arn"], made["AccessKeyId"], made["SecretAccessKey"])
        elif what in {"create_login_profile", "update_login_profile", "create_service_specific_credential"}:
            # A password or an API key of Bedrock is no access key, so the person makes no further calls with it here.
            self.held.append((caller.person, user["Arn"], ""))

    def change_provider(self, caller: Caller, what: str) -> None:
        arn = f"{IAM}:saml-provider/AWSSSO_0123_DO_NOT_DELETE"
        parameters: dict[str, dict[str, Any]] = {
            "update_saml_provider": {"SAMLProviderArn": arn, "SAMLMetadataDocument": ">" * 1000},
            "delete_saml_provider": {"SAMLProviderArn": arn},
            "create_open_id_connect_provider": {"Url": "https://token.example.com", "ThumbprintList": ["0" * 40]},
        }
        self.call(caller, "iam", what, **parameters[what])

    def leave(self, caller: Caller) -> None:
        """Try to take an SCP from the account."""
        for policy in saved_account()[2].values():
            self.call(caller, "organizations", "detach_policy", PolicyId=policy, TargetId=UNIT)

    # The invariants

    def identities(self) -> dict[str, str]:
        """The wider roles and users, approvers and their providers: each with its ID and who can act as it."""
        found: dict[str, str] = {}
        for (_, name), role in store._roles._data.items():
            if is_wider(role["Arn"]) or is_approver(role["Arn"]):
                found[role["Arn"]] = f"{role['RoleId']} {role['AssumeRolePolicyDocument']} {name}"
        for (account, name), user in store._users._data.items():
            if is_wider(user["Arn"]) or is_approver(user["Arn"]):
                keys = sorted(key for key, one in store._access_keys._data.items() if one["UserName"] == name)
                login = store._login_profiles.get_scoped(account, None, name)
                found[user["Arn"]] = f"{user['UserId']} {keys} {login} {user.get('ServiceSpecificCredentials')}"
        for providers in (store._saml_providers, store._oidc_providers):
            here = ((arn, one) for (account, arn), one in providers._data.items() if account == ACCOUNT)
            found.update({arn: json.dumps(one, default=str) for arn, one in here})
        return found

    def violations(self) -> Iterator[str]:
        """The invariants that do not hold now, each in a sentence."""
        principals = [*store._roles._data.values(), *store._users._data.values()]
        for principal in principals:
            for time in (NOW, LATER):
                if more := self.reach(principal, time) - permitted(principal["Arn"], time):
                    yield f"{principal['Arn']} reaches {[matrix()[number].action for number in more]} at {time}"
        for arn, identity in self.identities().items():
            if self.approved.get(arn) != identity:
                yield f"{arn} was created or changed by a caller who is no approver: {identity}"
        for domain, roles in self.subjects() if self.is_checked else ():
            for arn in roles:
                if not self._is_passed(arn, domain):
                    yield f"a subject of {domain} works as {arn}, which no approver passed there"
        for person, arn, role_id in self.held:
            if person in {"approver"} or not self._is_alive(arn, role_id):
                continue
            if is_approver(arn):
                yield f"{person} acts as {arn}"
            if not self._may_act_as(person, arn):
                yield f"{person} reaches the models of {arn}"

    def _may_act_as(self, person: str, arn: str) -> bool:
        if person == "etl":
            return permitted(arn, NOW) <= permitted(NOVA, NOW)
        if person in PEOPLE:
            return not self.is_checked or self._is_passed(arn, self.domains[PEOPLE[person]])
        return permitted(arn, NOW) <= permitted(STRICTEST, NOW)

    def _is_passed(self, arn: str, domain: str) -> bool:
        """Whether a role reaches no more than one that an approver passed in a domain, or than the strictest rules."""
        role = self.entity(arn)
        if role is None:
            return True
        widest = [permitted(each, NOW) for each in (*self.passed.get(domain, ()), STRICTEST)]
        return any(self.reach(role, NOW) <= each for each in widest)

    @staticmethod
    def entity(arn: str) -> Mapping[str, Any] | None:
        of_kind = store._roles if ":role/" in arn else store._users
        found: Mapping[str, Any] | None = of_kind.get_scoped(arn.split(":")[4], None, arn.rpartition("/")[2])
        return found if found and found["Arn"] == arn else None

    def _is_alive(self, arn: str, role_id: str) -> bool:
        entity = self.entity(arn)
        return entity is not None and role_id in {"", entity.get("RoleId")}

    @staticmethod
    def subjects() -> Iterator[tuple[str, set[str]]]:
        """Each domain, with the roles of its user profiles and those that new ones and spaces inherit."""
        backend = sagemaker_backends[ACCOUNT][REGION]
        members = members_of(backend)
        for domain in backend.domains.values():
            of_domain = {
                "DefaultUserSettings": domain.default_user_settings,
                "DefaultSpaceSettings": domain.default_space_settings,
            }
            settings = [of_domain, *({"UserSettings": one.settings} for one in members if one.domain_id == domain.id)]
            yield domain.id, {role for one in settings for role in _roles_in(one)}

    def reach(self, entity: Mapping[str, Any], time: str) -> Reach:
        """The requests that a role or user can make now: its policies, its boundary and the SCPs allow them."""
        arn: str = entity["Arn"]
        account = arn.split(":")[4]
        inline = entity.get("InlinePolicies") or store._user_inline_policies.get_scoped(
            account, None, arn.rpartition("/")[2]
        )
        policies = dict(inline or {}) | dict.fromkeys(entity.get("AttachedPolicies") or (), ALLOW_ALL)
        boundary = ALLOW_ALL if entity.get("PermissionsBoundary") else None
        # A statement of admission is about no request of `matrix`, so all accounts without one share the decisions.
        left_out = self.left_out if self.left_out in sids("models") else ""
        return _by_policies(policies, boundary) & _by_scps(arn, time, left_out)


numbers = st.integers(0, 16)
roles, wider_roles, names = (
    st.sampled_from(ROLES),
    st.sampled_from((*WIDER, STRICT)),
    st.sampled_from(["alice", "rita", "eve"]),
)
trusts, domains = st.sampled_from(TRUSTS), st.sampled_from(["plain", "research", "third"])


class Day(RuleBasedStateMachine):
    """A random day. Each rule is the attempt of one caller, and each caller tries everything."""

    left_out = ""
    is_checked = True

    def __init__(self) -> None:
        super().__init__()
        self._stack = contextlib.ExitStack()
        aws = local_aws()
        saved_account()
        self._stack.enter_context(aws.connected())
        self._stack.enter_context(aws.authorizing(updates_pass_roles=self.is_checked))
        self.account = Account(self.left_out, is_checked=self.is_checked)
        self._steps = 0

    def teardown(self) -> None:
        self._stack.close()
        FIGURES.runs += 1
        FIGURES.steps += self._steps

    def _domain(self, name: str) -> str:
        return self.account.domains.get(name) or self.account.domains["plain"]

    @rule(who=numbers, arn=roles, trusted=trusts)
    def create_role(self, who: int, arn: str, trusted: str) -> None:
        self.account.create_role(self.account.caller(who), arn, trusted)

    @rule(who=numbers, arn=roles)
    def delete_role(self, who: int, arn: str) -> None:
        self.account.delete_role(self.account.caller(who), arn)

    @rule(who=numbers, arn=roles, trusted=trusts)
    def delete_and_create_role(self, who: int, arn: str, trusted: str) -> None:
        self.account.delete_role(self.account.caller(who), arn)
        self.account.create_role(self.account.caller(who), arn, trusted)

    @rule(who=numbers, arn=roles, trusted=trusts)
    def update_trust(self, who: int, arn: str, trusted: str) -> None:
        self.account.update_trust(self.account.caller(who), arn, trusted)

    @rule(who=numbers, arn=roles, what=st.sampled_from(CHANGES))
    def change_role(self, who: int, arn: str, what: str) -> None:
        self.account.change_role(self.account.caller(who), arn, what)

    @rule(who=numbers, arn=roles)
    def acquire_role(self, who: int, arn: str) -> None:
        self.account.acquire_role(self.account.caller(who), arn)

    @rule(who=numbers, arn=roles, session=st.sampled_from(["SageMaker", "me"]), is_tagged=st.booleans())
    def assume(self, who: int, arn: str, session: str, is_tagged: bool) -> None:
        self.account.assume(self.account.caller(who), arn, session, is_tagged=is_tagged)

    @rule(who=numbers, role=wider_roles)
    def create_domain(self, who: int, role: str) -> None:
        if "third" not in self.account.domains:
            found = self.account.create_domain(self.account.caller(who), "third", role)
            self.account.domains.update({"third": found} if found else {})

    @rule(who=numbers, domain=domains, role=wider_roles, setting=st.sampled_from(SETTINGS))
    def update_domain(self, who: int, domain: str, role: str, setting: str) -> None:
        self.account.update_domain(self.account.caller(who), self._domain(domain), role, setting)

    @rule(who=numbers, domain=domains, name=names, role=st.none() | wider_roles)
    def create_profile(self, who: int, domain: str, name: str, role: str | None) -> None:
        self.account.create_profile(self.account.caller(who), self._domain(domain), name, role)

    @rule(who=numbers, domain=domains, name=names, role=wider_roles)
    def update_profile(self, who: int, domain: str, name: str, role: str) -> None:
        self.account.update_profile(self.account.caller(who), self._domain(domain), name, role)

    @rule(who=numbers, domain=domains, name=names)
    def delete_profile(self, who: int, domain: str, name: str) -> None:
        self.account.delete_profile(self.account.caller(who), self._domain(domain), name)

    @rule(who=numbers, domain=domains, name=names)
    def create_space(self, who: int, domain: str, name: str) -> None:
        self.account.create_space(self.account.caller(who), self._domain(domain), name)

    @rule(who=numbers, domain=domains, name=names)
    def open_profile(self, who: int, domain: str, name: str) -> None:
        self.account.open_profile(self.account.caller(who), self._domain(domain), name)

    @rule(person=st.sampled_from(sorted(PEOPLE)))
    def canvas(self, person: str) -> None:
        self.account.canvas(person)

    @rule(person=st.sampled_from(sorted(PEOPLE)), domain=domains, name=names)
    def open_profile_from_canvas(self, person: str, domain: str, name: str) -> None:
        if session := self.account.canvas(person):
            self.account.open_profile(session, self._domain(domain), name)

    @rule(who=numbers, service=st.sampled_from(WORKS), arn=st.sampled_from(EXISTING))
    def work(self, who: int, service: str, arn: str) -> None:
        self.account.work(self.account.caller(who), service, arn)

    @rule(who=numbers, arn=roles, trusted=trusts, by=st.sampled_from(["", "", TOOL, APPROVE, NOVA]))
    def stack(self, who: int, arn: str, trusted: str, by: str) -> None:
        self.account.stack(self.account.caller(who), arn, trusted, by)

    @rule(who=numbers, arn=st.sampled_from(USERS), what=st.sampled_from(USER_CHANGES))
    def change_user(self, who: int, arn: str, what: str) -> None:
        self.account.change_user(self.account.caller(who), arn, what)

    @rule(who=numbers, what=st.sampled_from(PROVIDER_CHANGES))
    def change_provider(self, who: int, what: str) -> None:
        self.account.change_provider(self.account.caller(who), what)

    @rule(who=numbers)
    def leave(self, who: int) -> None:
        self.account.leave(self.account.caller(who))

    @invariant()
    def nobody_is_wider_than_an_approver_made_them(self) -> None:
        self._steps += 1
        for violation in self.account.violations():
            raise AssertionError(violation)


def _roles_in(settings: Mapping[str, Any]) -> set[str]:
    """The roles in the settings of a domain or user profile."""
    blocks = ("DefaultUserSettings", "DefaultSpaceSettings", "UserSettings")
    found = ((settings.get(block) or {}).get("ExecutionRole") for block in blocks)
    return {str(role) for role in found if role}
