"""StackSets of CloudFormation, as far as a template with AWS::CloudFormation::StackSet needs them.

MiniStack rejects AWS::CloudFormation::StackSet as an unknown type and lacks all its calls. moto has the calls, but its
CloudFormation skips unknown types and still reports success.

Self-managed StackSets deploy stacks to the accounts in their list, with their execution role (`execution`).
Service-managed ones deploy stacks to the accounts of organizational units, except to the management account. With
automatic deployment, they also deploy to accounts that join later, and delete the stacks of accounts that leave.
Service-managed StackSets belong to the management account, even if a delegated administrator makes them:
https://docs.aws.amazon.com/AWSCloudFormation/latest/UserGuide/stacksets-orgs-delegated-admin.html
"""

from __future__ import annotations

import asyncio
import uuid
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
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
from rolewarden_local.emulated.authorization import deployer_may
from rolewarden_local.emulated.execution import Execution, executed, reset_execution
from rolewarden_local.emulated.organization import NOT_DELEGATED, ORGANIZATION, STACK_SETS
from rolewarden_local.emulated.patches import Patch

KIND = "AWS::CloudFormation::StackSet"
Place = tuple[str, str]
"""An account and a region."""

NOT_ACTIVATED = "You must enable organizations access to operate a service managed stack set"
"""The message in https://github.com/pepperize/cdk-organizations/issues/1718."""
NOT_IN_CHARGE = (
    "You must be the management account or delegated admin account of an organization before operating a "
    "SERVICE_MANAGED stack set"
)
"""The message in https://github.com/aws-cloudformation/cloudformation-coverage-roadmap/issues/799."""


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


@dataclass
class StackSetRun:
    """One operation of a StackSet: CREATE, UPDATE or DELETE, and the places that it has reached."""

    action: str
    id: str = field(default_factory=lambda: str(uuid.uuid4()))
    status: str = "RUNNING"
    places: dict[Place, str] = field(default_factory=dict)
    begun: str = field(default_factory=_now)
    ended: str = ""


@dataclass
class StackSet:
    """One StackSet with its stacks by place, each with its status (CURRENT, OUTDATED)."""

    name: str
    owner: Place
    properties: Mapping[str, Any] = field(default_factory=dict)
    body: str = ""
    made: dict[Place, dict[str, str]] = field(default_factory=dict)
    id: str = field(default_factory=lambda: str(uuid.uuid4()))
    operations: list[StackSetRun] = field(default_factory=list)

    @property
    def is_managed_by_the_service(self) -> bool:
        """Whether it follows an organization."""
        return bool(self.properties["PermissionModel"] == "SERVICE_MANAGED")

    def wanted(self) -> dict[Place, str]:
        """Every place in which it must have a stack, with the organizational unit."""
        places: dict[Place, str] = {}
        for group in self.properties.get("StackInstancesGroup", ()):
            targets = group["DeploymentTargets"]
            if self.is_managed_by_the_service:
                accounts = ORGANIZATION.accounts(targets["OrganizationalUnitIds"])
                accounts.pop(ORGANIZATION.management, None)
            else:
                accounts = dict.fromkeys(targets["Accounts"], "")
            places |= {(account, region): unit for account, unit in accounts.items() for region in group["Regions"]}
        return places

    @contextmanager
    def _operation(self, action: str) -> Iterator[None]:
        """Keep an operation for ListStackSetOperations while the block carries it out."""
        self.operations.append(operation := StackSetRun(action))
        try:
            yield
            operation.status = "SUCCEEDED"
        except Exception:
            operation.status = "FAILED"
            raise
        finally:
            operation.ended = _now()

    async def bring(self) -> None:
        """Make, change and delete stacks until they are what is wanted. Raises ValueError and NotAllowedError."""
        with self._operation("UPDATE" if self.made else "CREATE"):
            await self._bring()

    async def _bring(self) -> None:
        wanted = self.wanted()
        for place in sorted(self.made.keys() - wanted.keys()):
            await self._operate(place, "DELETE", {})
            del self.made[place]
        for place in sorted(wanted):
            before = self.made.get(place)
            stack = await self._operate(place, "UPDATE" if before else "CREATE", self._request())
            whole = stack["StackStatus"] in {"CREATE_COMPLETE", "UPDATE_COMPLETE"}
            status = "CURRENT" if whole else "OUTDATED"
            self.made[place] = {"StackId": stack["StackId"], "Status": status, "OrganizationalUnitId": wanted[place]}
            if not whole:
                raise ValueError(f"{self.name} in {place}: {stack['StackStatus']}: {_reason(place, stack)}")

    async def end(self) -> None:
        """Delete every stack. Raises ValueError or NotAllowedError where one cannot be deleted."""
        with self._operation("DELETE"):
            for place in sorted(self.made):
                stack = await self._operate(place, "DELETE", {})
                if stack.get("StackStatus") == "DELETE_FAILED":
                    raise ValueError(f"{self.name} in {place}: {stack['StackStatus']}: {_reason(place, stack)}")
            self.made.clear()

    async def _operate(self, place: Place, operation: str, request: dict[str, list[str]]) -> Mapping[str, Any]:
        self.operations[-1].places[place] = "SUCCEEDED"
        execution = None
        if not self.is_managed_by_the_service:
            account, region = self.owner
            execution = Execution.begin(
                place,
                self.properties.get("AdministrationRoleARN")
                or f"arn:aws:iam::{account}:role/AWSCloudFormationStackSetAdministrationRole",
                self.properties.get("ExecutionRoleName") or "AWSCloudFormationStackSetExecutionRole",
                f"arn:aws:cloudformation:{region}:{account}:stackset/{self.name}:{self.id}",
            )
            execution.require_stack_rights(f"{operation.capitalize()}Stack")
        with executed(self._stack, execution):
            return await _settled(place, self._stack, operation, request)

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
        for number, tag in enumerate(self.properties.get("Tags", ()), 1):
            request |= {f"Tags.member.{number}.{key}": [tag[key]] for key in ("Key", "Value")}
        return request


EXISTING: dict[tuple[str, str, str], StackSet] = {}
"""The StackSets, by the account and region of their owner and their names."""
_LOOP: list[asyncio.AbstractEventLoop] = []


def install_stacksets(loop: asyncio.AbstractEventLoop) -> None:
    """Add StackSets to stacks, and answer lists of their stacks. Call once a process. `loop` runs all requests."""
    _LOOP.append(loop)
    provisioners._RESOURCE_HANDLERS[KIND] = {"create": _create, "update": _update, "delete": _delete}
    # The stacks of a StackSet also have the tags of the stack that owns it.
    provisioners._STACK_TAG_PROPERTY[KIND] = ("Tags", "list")
    cfn_handlers._ACTION_HANDLERS |= {
        "ActivateOrganizationsAccess": _activate,
        "DescribeOrganizationsAccess": _describe_access,
        "ListStackInstances": _list_instances,
        "ListStackSetOperations": _list_operations,
        "ListStackSetOperationResults": _list_results,
    }
    on_worker_thread = cfn_stacks._runs_on_worker_thread
    Patch(
        cfn_stacks,
        "_runs_on_worker_thread",
        lambda kind: kind == KIND or on_worker_thread(kind),
        "A StackSet waits for stacks that the loop deploys.",
    ).install()


def reset_stacksets() -> None:
    """Delete every StackSet."""
    EXISTING.clear()
    reset_execution()


def follow_organization() -> None:
    """Deploy automatically: update each StackSet for accounts that have joined or left."""
    for found in list(EXISTING.values()):
        automatic = found.properties.get("AutoDeployment", {}).get("Enabled")
        if found.is_managed_by_the_service and str(automatic).lower() == "true":
            _wait(found.bring())


def _create(_logical_id: str, props: Mapping[str, Any], _stack: str) -> tuple[str, dict[str, str]]:
    if refused := _refused(props.get("PermissionModel", ""), props.get("CallAs", ""), deployer_may):
        # The status reason of a resource has this form.
        raise ValueError(
            f'Resource handler returned message: "{refused} (Service: CloudFormation, Status Code: 400)" '
            "(HandlerErrorCode: InvalidRequest)"
        )
    key = _key(props["StackSetName"], props.get("CallAs", ""))
    if key in EXISTING:
        raise ValueError(f"StackSet {props['StackSetName']} already exists")
    made = StackSet(props["StackSetName"], key[:2])
    EXISTING[key] = made
    try:
        _bring_up(made, props)
    except Exception:
        del EXISTING[key]
        raise
    return f"{made.name}:{made.id}", {"StackSetId": f"{made.name}:{made.id}"}


def _update(
    physical_id: str, old: Mapping[str, Any], new: Mapping[str, Any], _stack: str
) -> tuple[str, dict[str, str]]:
    _bring_up(EXISTING[_key(physical_id, old.get("CallAs", ""))], new)
    return physical_id, {"StackSetId": physical_id}


def _delete(physical_id: str, props: Mapping[str, Any]) -> None:
    key = _key(physical_id, props.get("CallAs", ""))
    if key in EXISTING:
        _wait(EXISTING[key].end())
        del EXISTING[key]


def _bring_up(found: StackSet, props: Mapping[str, Any]) -> None:
    body, refused = cfn_helpers._resolve_template({"TemplateURL": [props["TemplateURL"]]})
    if refused or not body:
        raise ValueError(f"{found.name}: no template at {props['TemplateURL']}")
    tags = [tag for tag in props.get("Tags", ()) if not tag["Key"].startswith("aws:")]
    found.properties, found.body = {**props, "Tags": tags}, body
    _wait(found.bring())


def _key(name: str, call_as: str) -> tuple[str, str, str]:
    """The account that owns a StackSet. For a delegated administrator it is the management account."""
    account = ORGANIZATION.management if call_as == "DELEGATED_ADMIN" else responses.get_account_id()
    return account, responses.get_region(), name.partition(":")[0]


def _refused(model: str, call_as: str, may: Callable[[str], bool] = lambda _: True) -> str:
    """The reason why StackSets rejects a call with a permission model, or "". `may` checks the caller."""
    account = responses.get_account_id()
    if call_as == "DELEGATED_ADMIN":
        if account not in ORGANIZATION.administrators[STACK_SETS]:
            return NOT_DELEGATED
        if not may("organizations:ListDelegatedAdministrators"):
            return NOT_DELEGATED
    elif model == "SERVICE_MANAGED" and (account != ORGANIZATION.management or not ORGANIZATION.id):
        return NOT_IN_CHARGE
    return NOT_ACTIVATED if model == "SERVICE_MANAGED" and not ORGANIZATION.operates_stack_sets else ""


def _activate(_params: Mapping[str, Any]) -> Any:
    """Answer ActivateOrganizationsAccess, which also gives StackSets trusted access."""
    if not ORGANIZATION.id or responses.get_account_id() != ORGANIZATION.management:
        message = "You must be the management account of an organization to activate organizations access"
        return cfn_helpers._error("InvalidOperationException", message, 400)
    ORGANIZATION.set_stack_sets_active()
    return cfn_helpers._xml(
        200,
        "ActivateOrganizationsAccessResponse",
        "<ActivateOrganizationsAccessResult></ActivateOrganizationsAccessResult>",
    )


def _describe_access(_params: Mapping[str, Any]) -> Any:
    status = "ENABLED" if ORGANIZATION.operates_stack_sets else "DISABLED"
    return cfn_helpers._xml(
        200,
        "DescribeOrganizationsAccessResponse",
        f"<DescribeOrganizationsAccessResult><Status>{status}</Status></DescribeOrganizationsAccessResult>",
    )


def _reason(place: Place, stack: Mapping[str, Any]) -> str:
    """The reason why a stack failed: the message of its first failed resource."""
    with responses.request_scope(*place):
        events = cloudformation._stack_events.get(stack["StackId"]) or ()
    reasons = (event["ResourceStatusReason"] for event in events if event["ResourceStatus"].endswith("_FAILED"))
    return str(next(reasons, stack["StackStatusReason"]))


def _wait(coroutine: Any) -> None:
    asyncio.run_coroutine_threadsafe(coroutine, _LOOP[0]).result()


async def _settled(place: Place, name: str, operation: str, request: dict[str, list[str]]) -> Mapping[str, Any]:
    """Run an operation on the stack `name` in `place`, and return the stack."""
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
    call_as = cfn_helpers._p(params, "CallAs")
    if refused := _refused("", call_as):
        return cfn_helpers._error("ValidationError", refused, 400)
    key = _key(cfn_helpers._p(params, "StackSetName"), call_as)
    if key not in EXISTING:
        return cfn_helpers._error("StackSetNotFoundException", f"StackSet {key[2]} not found", 404)
    account, region = (cfn_helpers._p(params, f"StackInstance{part}") for part in ("Account", "Region"))
    made = EXISTING[key].made.items()
    found = [place for place in made if account in ("", place[0][0]) and region in ("", place[0][1])]
    size = int(cfn_helpers._p(params, "MaxResults") or 100)
    page, more, refused = cfn_helpers._page(sorted(found), params, "ListStackInstances", size)
    if refused:
        return refused
    return cfn_helpers._xml(
        200,
        "ListStackInstancesResponse",
        f"<ListStackInstancesResult><Summaries>{''.join(_members(EXISTING[key], page))}</Summaries>{more}"
        "</ListStackInstancesResult>",
    )


def _members(stack_set: StackSet, page: Iterable[tuple[Place, Mapping[str, str]]]) -> Iterable[str]:
    for (account, region), made in page:
        fields = {"StackSetId": f"{stack_set.name}:{stack_set.id}", "Region": region, "Account": account, **made}
        # A stack that an operation did not update stays OUTDATED when a later operation that detects drift succeeds.
        detailed = fields.pop("DetailedStatus", "") or {"CURRENT": "SUCCEEDED"}.get(made["Status"], "FAILED")
        told = "".join(f"<{key}>{escape(value)}</{key}>" for key, value in fields.items() if value)
        yield (
            f"<member>{told}<StackInstanceStatus><DetailedStatus>{detailed}</DetailedStatus></StackInstanceStatus>"
            "</member>"
        )


def _list_operations(params: Mapping[str, Any]) -> Any:
    """ListStackSetOperations, latest first."""
    found = _asked_for(params)
    if not isinstance(found, StackSet):
        return found
    page, more, refused = cfn_helpers._page(found.operations[::-1], params, "ListStackSetOperations", 100)
    members = (
        _member(
            OperationId=each.id,
            Action=each.action,
            Status=each.status,
            CreationTimestamp=each.begun,
            EndTimestamp=each.ended,
        )
        for each in page or ()
    )
    return refused or _summaries("ListStackSetOperations", members, more)


def _list_results(params: Mapping[str, Any]) -> Any:
    """ListStackSetOperationResults: the places of one operation."""
    found = _asked_for(params)
    if not isinstance(found, StackSet):
        return found
    asked = cfn_helpers._p(params, "OperationId")
    operation = next((each for each in found.operations if each.id == asked), None)
    if operation is None:
        return cfn_helpers._error("OperationNotFoundException", f"Operation {asked} not found", 404)
    page, more, refused = cfn_helpers._page(
        sorted(operation.places.items()), params, "ListStackSetOperationResults", 100
    )
    members = (_member(Account=place[0], Region=place[1], Status=status) for place, status in page or ())
    return refused or _summaries("ListStackSetOperationResults", members, more)


def _asked_for(params: Mapping[str, Any]) -> Any:
    """The StackSet that a call names, or the refusal of the call."""
    call_as = cfn_helpers._p(params, "CallAs")
    if refused := _refused("", call_as):
        return cfn_helpers._error("ValidationError", refused, 400)
    key = _key(cfn_helpers._p(params, "StackSetName"), call_as)
    return EXISTING.get(key) or cfn_helpers._error("StackSetNotFoundException", f"StackSet {key[2]} not found", 404)


def _member(**fields: str) -> str:
    return f"<member>{''.join(f'<{key}>{escape(value)}</{key}>' for key, value in fields.items() if value)}</member>"


def _summaries(operation: str, members: Iterable[str], more: str) -> Any:
    result = f"{operation}Result"
    text = f"<{result}><Summaries>{''.join(members)}</Summaries>{more}</{result}>"
    return cfn_helpers._xml(200, f"{operation}Response", text)
