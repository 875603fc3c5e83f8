"""StackSets of CloudFormation, as far as a template that owns one needs them: AWS::CloudFormation::StackSet.

MiniStack refuses AWS::CloudFormation::StackSet as an unknown type and has none of the calls. moto has them, but its
CloudFormation makes none of the types that it does not know and still reports success.

Self-managed StackSets put stacks into the accounts that they list. Service-managed ones put stacks into the accounts of
organizational units, and, with automatic deployment, into accounts that join later. An account that leaves loses its
stacks. https://docs.aws.amazon.com/AWSCloudFormation/latest/UserGuide/what-is-cfnstacksets.html
"""

from __future__ import annotations

import asyncio
import uuid
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any
from xml.sax.saxutils import escape

from rolewarden_local.emulated._ministack import (
    cfn_handlers,
    cfn_helpers,
    cfn_stacks,
    cloudformation,
    provisioners,
    responses,
)
from rolewarden_local.emulated.organization import ORGANIZATION
from rolewarden_local.emulated.patches import Patch

KIND = "AWS::CloudFormation::StackSet"
Place = tuple[str, str]
"""Account and region."""


@dataclass
class StackSet:
    """One StackSet and what it has made: stacks by place, each with its status (CURRENT, OUTDATED)."""

    name: str
    owner: Place
    properties: Mapping[str, Any] = field(default_factory=dict)
    body: str = ""
    made: dict[Place, dict[str, str]] = field(default_factory=dict)
    id: str = field(default_factory=lambda: str(uuid.uuid4()))

    @property
    def is_managed_by_the_service(self) -> bool:
        """Whether it follows an organization."""
        return bool(self.properties["PermissionModel"] == "SERVICE_MANAGED")

    def wanted(self) -> dict[Place, str]:
        """Every place that it is to be in, with the organizational unit."""
        places: dict[Place, str] = {}
        for group in self.properties.get("StackInstancesGroup", ()):
            targets = group["DeploymentTargets"]
            if self.is_managed_by_the_service:
                accounts = ORGANIZATION.accounts(targets["OrganizationalUnitIds"])
            else:
                accounts = dict.fromkeys(targets["Accounts"], "")
            places |= {(account, region): unit for account, unit in accounts.items() for region in group["Regions"]}
        return places

    async def bring(self) -> None:
        """Make, change and delete stacks until they are what is wanted. Raises ValueError where one fails."""
        wanted = self.wanted()
        for place in sorted(self.made.keys() - wanted.keys()):
            await _settled(place, self._stack, "DELETE", {})
            del self.made[place]
        for place in sorted(wanted):
            before = self.made.get(place)
            stack = await _settled(place, self._stack, "UPDATE" if before else "CREATE", self._request())
            whole = stack["StackStatus"] in {"CREATE_COMPLETE", "UPDATE_COMPLETE"}
            status = "CURRENT" if whole else "OUTDATED"
            self.made[place] = {"StackId": stack["StackId"], "Status": status, "OrganizationalUnitId": wanted[place]}
            if not whole:
                raise ValueError(f"{self.name} in {place}: {stack['StackStatus']}: {stack['StackStatusReason']}")

    async def end(self) -> None:
        """Delete every stack."""
        for place in sorted(self.made):
            await _settled(place, self._stack, "DELETE", {})
        self.made.clear()

    @property
    def _stack(self) -> str:
        return f"StackSet-{self.name}-{self.id}"

    def _request(self) -> dict[str, list[str]]:
        request = {"TemplateBody": [self.body]}
        for number, parameter in enumerate(self.properties.get("Parameters", ()), 1):
            for key in ("ParameterKey", "ParameterValue"):
                request[f"Parameters.member.{number}.{key}"] = [str(parameter[key])]
        for number, capability in enumerate(self.properties.get("Capabilities", ()), 1):
            request[f"Capabilities.member.{number}"] = [capability]
        return request


_SETS: dict[tuple[str, str, str], StackSet] = {}
_LOOP: list[asyncio.AbstractEventLoop] = []


def install_stacksets(loop: asyncio.AbstractEventLoop) -> None:
    """Let stacks own StackSets, and answer who lists their stacks. Call once a process; `loop` runs all requests."""
    _LOOP.append(loop)
    provisioners._RESOURCE_HANDLERS[KIND] = {"create": _create, "update": _update, "delete": _delete}
    cfn_handlers._ACTION_HANDLERS["ListStackInstances"] = _list_instances
    on_worker_thread = cfn_stacks._runs_on_worker_thread
    Patch(
        cfn_stacks,
        "_runs_on_worker_thread",
        lambda kind: kind == KIND or on_worker_thread(kind),
        "A StackSet waits for stacks that the loop deploys.",
    ).install()


def reset_stacksets() -> None:
    """Forget every StackSet."""
    _SETS.clear()


def follow_organization() -> None:
    """Automatic deployment: what an account that has joined or left asks of each StackSet."""
    for found in list(_SETS.values()):
        automatic = found.properties.get("AutoDeployment", {}).get("Enabled")
        if found.is_managed_by_the_service and str(automatic).lower() == "true":
            _wait(found.bring())


def _create(_logical_id: str, props: Mapping[str, Any], _stack: str) -> tuple[str, dict[str, str]]:
    owner = (responses.get_account_id(), responses.get_region())
    key = (*owner, props["StackSetName"])
    if key in _SETS:
        raise ValueError(f"StackSet {props['StackSetName']} already exists")
    made = StackSet(props["StackSetName"], owner)
    _bring_up(made, props)
    _SETS[key] = made
    return f"{made.name}:{made.id}", {"StackSetId": f"{made.name}:{made.id}"}


def _update(physical_id: str, _old: Any, new: Mapping[str, Any], _stack: str) -> tuple[str, dict[str, str]]:
    _bring_up(_found(physical_id.partition(":")[0]), new)
    return physical_id, {"StackSetId": physical_id}


def _delete(physical_id: str, _props: Mapping[str, Any]) -> None:
    found = _SETS.pop((responses.get_account_id(), responses.get_region(), physical_id.partition(":")[0]), None)
    if found:
        _wait(found.end())


def _bring_up(found: StackSet, props: Mapping[str, Any]) -> None:
    body, refused = cfn_helpers._resolve_template({"TemplateURL": [props["TemplateURL"]]})
    if refused or not body:
        raise ValueError(f"{found.name}: no template at {props['TemplateURL']}")
    found.properties, found.body = props, body
    _wait(found.bring())


def _found(name: str) -> StackSet:
    return _SETS[(responses.get_account_id(), responses.get_region(), name)]


def _wait(coroutine: Any) -> None:
    asyncio.run_coroutine_threadsafe(coroutine, _LOOP[0]).result()


async def _settled(place: Place, name: str, operation: str, request: dict[str, list[str]]) -> Mapping[str, Any]:
    """The stack `name` in `place` after an operation on it."""
    with responses.request_scope(*place):
        handler = cfn_handlers._ACTION_HANDLERS[f"{operation.capitalize()}Stack"]
        status, _, answer = handler({"StackName": [name], **request})
        stack: Mapping[str, Any] = cloudformation._stacks.get(name) or {}
        if status >= 300 and b"No updates are to be performed" not in answer:
            raise ValueError(f"{name} in {place}: {answer.decode()}")
        while stack.get("StackStatus", "").endswith("_IN_PROGRESS"):
            await asyncio.sleep(0.01)
        return stack


def _list_instances(params: Mapping[str, Any]) -> Any:
    name = cfn_helpers._p(params, "StackSetName").split(":")[0]
    key = (responses.get_account_id(), responses.get_region(), name)
    if key not in _SETS:
        return cfn_helpers._error("StackSetNotFoundException", f"StackSet {name} not found", 404)
    account, region = (cfn_helpers._p(params, f"StackInstance{part}") for part in ("Account", "Region"))
    made = _SETS[key].made.items()
    found = [place for place in made if account in ("", place[0][0]) and region in ("", place[0][1])]
    size = int(cfn_helpers._p(params, "MaxResults") or 100)
    page, more, refused = cfn_helpers._page(sorted(found), params, "ListStackInstances", size)
    if refused:
        return refused
    return cfn_helpers._xml(
        200,
        "ListStackInstancesResponse",
        f"<ListStackInstancesResult><Summaries>{''.join(_members(_SETS[key], page))}</Summaries>{more}"
        "</ListStackInstancesResult>",
    )


def _members(stack_set: StackSet, page: Iterable[tuple[Place, Mapping[str, str]]]) -> Iterable[str]:
    for (account, region), made in page:
        fields = {"StackSetId": f"{stack_set.name}:{stack_set.id}", "Region": region, "Account": account, **made}
        detailed = {"CURRENT": "SUCCEEDED"}.get(made["Status"], "FAILED")
        told = "".join(f"<{key}>{escape(value)}</{key}>" for key, value in fields.items() if value)
        yield (
            f"<member>{told}<StackInstanceStatus><DetailedStatus>{detailed}</DetailedStatus></StackInstanceStatus>"
            "</member>"
        )
