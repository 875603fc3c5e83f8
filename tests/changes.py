"""Rule changes in a world, and the denies of every role at every moment of them."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from functools import cache
from pathlib import Path
from typing import Any
from urllib.parse import unquote

import boto3
from rolewarden.bindings import RoleKey
from rolewarden.guardrails import Mode
from rolewarden.origin import DEPLOYMENT, SCHEDULED_CHECK
from rolewarden.packing import Document
from rolewarden.policies import compile_rules
from rolewarden_local.aws import ACCOUNT_ID
from rolewarden_local.emulated.judge import judge

from tests.world import World

EVERYTHING: Document = {"Version": "2012-10-17", "Statement": [{"Effect": "Allow", "Action": "*", "Resource": "*"}]}
WRITES = {
    "AttachRolePolicy",
    "CreatePolicyVersion",
    "DeletePolicy",
    "DeletePolicyVersion",
    "DeleteRolePermissionsBoundary",
    "DetachRolePolicy",
    "PutRolePermissionsBoundary",
    "SetDefaultPolicyVersion",
}
BEDROCK = [f"meta.llama-{number:02}-v1:0" for number in range(40)]
JUMPSTART = [f"pytorch-model-{number:02}" for number in range(40)]


def request(action: str, resource: str = "*", **context: str) -> tuple[str, str, Mapping[str, str]]:
    return action, resource, context


def requests() -> Iterator[tuple[str, str, Mapping[str, str]]]:
    for number in (0, 5, 13, 39):
        model, entry = BEDROCK[number], JUMPSTART[number]
        yield request("bedrock:InvokeModel", f"arn:aws:bedrock:us-east-1::foundation-model/{model}")
        yield request("bedrock:CreateModelInvocationJob", f"arn:aws:bedrock:us-east-1::foundation-model/{model}")
        yield ("bedrock-mantle:CreateInference", "*", {"bedrock-mantle:Model": model})
        for tag in ("sagemaker-sdk:jumpstart-model-id", "sagemaker-studio:jumpstart-model-id", "sm-jumpstart-id"):
            for action, key in (
                ("CreateEndpoint", "RequestTag"),
                ("InvokeEndpoint", "ResourceTag"),
            ):
                yield (
                    f"sagemaker:{action}",
                    "arn:aws:sagemaker:us-east-1:111122223333:endpoint/it",
                    {f"aws:{key}/{tag}": entry},
                )
        hub = f"arn:aws:sagemaker:us-east-1:aws:hub-content/SageMakerPublicHub/Model/{entry}"
        yield request("sagemaker:DeployHubModel", hub)
    yield request("bedrock:CreateModelCustomizationJob", f"arn:aws:bedrock:us-east-1::foundation-model/{BEDROCK[0]}")
    yield request("bedrock:CreateModelImportJob")
    yield request("bedrock:InvokeAgent")
    yield request("aws-external-anthropic:CreateInference")
    yield request("sagemaker:CreateTrainingSession")
    yield request("q:SendMessage")
    yield request("datazone:GenerateCode")
    passed = {"iam:PassedToService": "sagemaker.amazonaws.com"}
    yield request("iam:PassRole", "arn:aws:iam::111122223333:role/Admin", **passed)


REQUESTS = list(requests())


def denied(documents: Mapping[str, Document], boundary: Document | None = None) -> set[int]:
    """The numbers of the requests that these policies and this boundary deny to an administrator."""
    held = {name: json.dumps(document) for name, document in {"everything": EVERYTHING, **documents}.items()}
    limit = json.dumps(boundary) if boundary is not None else None
    return {
        number
        for number, (action, resource, context) in enumerate(REQUESTS)
        if not judge(held, action, resource, context, boundary=limit).allowed
    }


class Watch:
    """The denied requests of each role at every moment, read from IAM."""

    def __init__(self, world: World) -> None:
        self.world = world
        self.iam = boto3.client("iam")
        self.known: dict[str, set[int]] = {}

    def document(self, arn: str) -> Document:
        version = self.iam.get_policy(PolicyArn=arn)["Policy"]["DefaultVersionId"]
        found: Any = self.iam.get_policy_version(PolicyArn=arn, VersionId=version)["PolicyVersion"]["Document"]
        return found if isinstance(found, dict) else json.loads(unquote(found))

    def roles(self) -> list[str]:
        bound = self.world.bindings.all()
        return sorted({binding.role.name for binding in bound if binding.role and binding.role.account == ACCOUNT_ID})

    def denied(self) -> dict[str, set[int]]:
        """The requests that each role is currently denied."""
        found = {}
        document = cache(self.document)  # Many roles have the same policies, and nothing writes between these reads.
        for role in self.roles():
            attached = self.iam.list_attached_role_policies(RoleName=role)["AttachedPolicies"]
            arns = [policy["PolicyArn"] for policy in attached if ":policy/rolewarden/" in policy["PolicyArn"]]
            bounded = self.iam.get_role(RoleName=role)["Role"].get("PermissionsBoundary", {})
            documents = {arn: document(arn) for arn in arns}
            boundary = document(arn) if "/rolewarden/" in (arn := bounded.get("PermissionsBoundaryArn", "")) else None
            key = json.dumps([documents, boundary], sort_keys=True)
            if key not in self.known:
                self.known[key] = denied(documents, boundary)
            found[role] = self.known[key]
        return found

    def required(self) -> dict[str, set[int]]:
        """The requests that the current rules deny to each role."""
        needs, found = self.world.runtime.needs, {}
        texts = {policy.name: policy.document for policy in compile_rules(needs.rules, "aws")}
        for role in self.roles():
            required = needs.of_role(RoleKey(ACCOUNT_ID, role))
            names = sorted(name for name, guardrail in required.items() if guardrail.mode is Mode.ENFORCE)
            key = json.dumps([{name: texts[name] for name in names}, None], sort_keys=True)
            if key not in self.known:
                self.known[key] = denied({name: texts[name] for name in names})
            found[role] = self.known[key]
        return found

    @contextmanager
    def keeping(self, stays: Mapping[str, set[int]]) -> Iterator[None]:
        """Assert after each call to IAM in the block that none of these denies is removed."""
        lost: list[str] = []

        def after_a_call(model: Any, **_: Any) -> None:
            if model.name not in WRITES or lost:
                return
            now = self.denied()
            lost.extend(
                f"after {model.name}, {role} may {REQUESTS[number]}"
                for role, numbers in stays.items()
                for number in sorted(numbers - now[role])
            )

        hooks = self.world.runtime.aws._iam.meta.events
        hooks.register("after-call.iam", after_a_call)
        try:
            yield
        finally:
            hooks.unregister("after-call.iam", after_a_call)
        assert lost == []


def carried_out(world: World) -> None:
    """Run all steps after a deployment: sweep, queues, detachment, scheduled check."""
    for _ in range(3):
        world.sweep()
        world.work()
        world.detach_surplus()
        world.publications.run(ACCOUNT_ID, SCHEDULED_CHECK)
    world.work()


def settle(world: World) -> World:
    """Sweep and process all queues of a new world, so that its roles match its rules."""
    world.publications.run(ACCOUNT_ID, DEPLOYMENT)
    carried_out(world)
    return world


_SETTLED: dict[str, Callable[[], None]] = {}
"""Functions that restore the account after `settle`, by the text of guardrails.yaml."""


def settled(world: World) -> World:
    """Do what `settle` does, or restore the account of an earlier call with the same rules. The functions are cold."""
    text = Path(world.environment["GUARDRAILS_FILE"]).read_text()
    if text not in _SETTLED:
        settle(world)
        _SETTLED[text] = world.aws.saved()
    _SETTLED[text]()
    world.lend()
    world.assemble(world.runtime.aws)
    return world


SHORT, LONG = ({"bedrock": {"deny": BEDROCK[:n]}} for n in (4, 24))


def of(guardrail: Mapping[str, Any]) -> dict[str, Any]:
    return {"guardrails": {"g": guardrail}, "assignments": [{"guardrails": ["g"]}]}
