"""`rolewarden access`: which subjects can reach which models, as IAM's policy simulator decides.

A subject can reach a model if one route is open. A route is open if IAM allows every call of it, on every resource and
with every condition key that AWS uses to authorize the call (sources: `rolewarden.policies`). Roles with the same
policies are simulated once. If no policy of a role distinguishes some models, one of them is simulated for all.
"""

from __future__ import annotations

import time
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from datetime import datetime
from functools import cached_property
from threading import Lock
from typing import Any

from rolewarden.bindings import BEDROCK as BEDROCK_ROLE
from rolewarden.bindings import DEFAULT_USER, EXECUTION, ROLE, USER_PROFILE, Binding
from rolewarden.errors import Gone, Refused, RetryLater
from rolewarden.guardrails import matches
from rolewarden.policies import CANVAS_CREATE, CANVAS_USE, JUMPSTART_TAGS
from rolewarden.verdicts import Reason

from rolewarden_cli.account import OperatorCalls, RoleDetail, Simulated
from rolewarden_cli.answers import HIDDEN, as_json, shown, shown_as, some_of
from rolewarden_cli.documents import Document, Library, depends_on_caller
from rolewarden_cli.inventory import Inventory, Progress, ignore_progress
from rolewarden_cli.models import BEDROCK, JUMPSTART, Model, Models

AT_ONCE = 100
"""Number of resources in one simulation."""

WORKERS = 4
"""Number of simulations that run at the same time."""

MANY = 10
"""Number of simulations of one route above which the route has a progress bar of its own."""

ACCESS_PAUSES = (0.5, 1.0, 2.0, 4.0, 8.0)
"""Seconds to wait before each retry of a simulation that IAM throttles."""

BATCH = "bedrock:CreateModelInvocationJob"
MANTLE, MANTLE_MODEL = "bedrock-mantle:CreateInference", "bedrock-mantle:Model"
DEPLOY_ACTIONS = ("sagemaker:CreateModel", *CANVAS_CREATE)
"""The calls that deploy a JumpStart model to an endpoint."""
DEPLOY_FROM_HUB = "sagemaker:DeployHubModel"


@dataclass(frozen=True)
class Statement:
    """A statement that decided.

    - `policy`, `arn`: the name and the ARN of its policy; the ARN is empty for an inline policy.
    - `label`: the Sid of the statement, or its number.
    - `document`: the statement itself.
    """

    policy: str
    arn: str
    label: str
    document: Mapping[str, Any]

    @property
    def denies(self) -> bool:
        """Whether the statement is a deny."""
        return self.document.get("Effect") == "Deny"

    @property
    def name(self) -> str:
        """The name of the policy and the label of the statement in one text."""
        return f"{self.policy}:{self.label}"


@dataclass(frozen=True)
class Route:
    """A way to a model, for example `on demand`: whether it is open, and the statements that decide.

    If a closed route has no statements, no statement allows it.
    """

    name: str
    allowed: bool
    statements: tuple[Statement, ...]


@dataclass(frozen=True)
class Decision:
    """The decision of IAM on a role and a model: the routes, in the order of the simulation.

    After an open route, no further route is simulated unless the caller requests all of them.
    """

    routes: tuple[Route, ...]

    @property
    def allowed(self) -> bool:
        """Whether a route is open."""
        return any(route.allowed for route in self.routes)

    @property
    def route(self) -> str:
        """The name of the open route; empty if every route is closed."""
        return next((route.name for route in self.routes if route.allowed), "")

    @property
    def statements(self) -> tuple[Statement, ...]:
        """The statements of the open route. If every route is closed, the denies of all routes, each once."""
        if self.allowed:
            return next(route.statements for route in self.routes if route.allowed)
        found = {s.name: s for route in self.routes for s in route.statements if s.denies}
        return tuple(found.values())


@dataclass(frozen=True)
class Row:
    """A user profile and the roles that it uses.

    A domain's default user and shared spaces, and roles that `also_govern` selects, are rows as well. They have an
    empty `user_profile`, and `kind` distinguishes them.

    - `role`: the execution role.
    - `bedrock_role`: the role that Canvas uses for Bedrock; empty without one.
    - `inherits`: whether the user profile uses its domain's role.
    """

    account: str
    region: str
    domain_id: str
    domain_name: str
    user_profile: str
    kind: str
    role: str
    bedrock_role: str = ""
    inherits: bool = False

    @property
    def label(self) -> str:
        """The row in words: `research/rosa`, `research default-user`."""
        if self.kind == ROLE:
            return self.role
        name = "/".join(filter(None, (self.domain_name or self.domain_id, self.user_profile)))
        return name if self.kind == USER_PROFILE else f"{name} {self.kind}"

    def roles(self, model: Model) -> tuple[str, ...]:
        """The names of the roles that it can use to reach a model of this family."""
        also = (self.bedrock_role,) if self.bedrock_role and model.family == BEDROCK else ()
        return (self.role, *also)


@dataclass(frozen=True)
class AccessMatrix:
    """Rows, columns, and the decisions by role: `decisions[role][n]` is the decision on `models[n]`.

    - `listed`: the source of the list of Bedrock models (see `Models`).
    - `simulations`: the number of simulations that IAM made.
    """

    account: str
    regions: tuple[str, ...]
    at: datetime
    listed: str
    models: tuple[Model, ...] = field(metadata=HIDDEN)
    rows: tuple[Row, ...] = field(metadata=HIDDEN)
    decisions: Mapping[str, tuple[Decision, ...]] = field(metadata=HIDDEN)
    simulations: int
    unread: tuple[str, ...] = ()

    def cell(self, row: Row, number: int) -> Decision:
        """The decision on a row and `models[number]`: of its first role with an open route, else of its first role."""
        found = [self.decisions[role][number] for role in row.roles(self.models[number])]
        return next((decision for decision in found if decision.allowed), found[0])

    @property
    @shown_as("models")
    def columns(self) -> list[dict[str, Any]]:
        """The models, each with its family and its provider."""
        return [some_of(model, "id", "family", "provider") for model in self.models]

    @property
    @shown
    def verdicts(self) -> list[dict[str, Any]]:
        """The distinct decisions. A cell has the number of one of them, because most cells have the same decision."""
        names = ("allowed", "route", "statements")
        return [dict(zip(names, verdict, strict=True)) for verdict in self._numbers]

    @property
    @shown_as("rows")
    def numbered_rows(self) -> list[dict[str, Any]]:
        """The rows, each with the number of the verdict in each column."""
        numbers, columns = self._numbers, range(len(self.models))
        return [
            {**as_json(row), "cells": [numbers[_verdict(self.cell(row, column))] for column in columns]}
            for row in self.rows
        ]

    @cached_property
    def _numbers(self) -> dict[tuple[bool, str, tuple[str, ...]], int]:
        cells = (_verdict(self.cell(row, column)) for row in self.rows for column in range(len(self.models)))
        return {verdict: number for number, verdict in enumerate(dict.fromkeys(cells))}


def _verdict(decision: Decision) -> tuple[bool, str, tuple[str, ...]]:
    return decision.allowed, decision.route, tuple(statement.name for statement in decision.statements)


def matrix(
    calls: OperatorCalls, inventory: Inventory, models: Models, progress: Progress = ignore_progress
) -> AccessMatrix:
    """Evaluate every role on every model with IAM's simulator. Raises Refused and RetryLater."""
    rows, unread = _rows(inventory)
    judge = Judge(calls, inventory, models)
    names = sorted({role for row in rows for role in (row.role, row.bedrock_role) if role})
    alike: dict[object, tuple[Decision, ...]] = {}
    decisions: dict[str, tuple[Decision, ...]] = {}
    for done, name in enumerate(names):
        progress("roles evaluated", done, len(names))
        policies = judge.fingerprint(inventory.roles[name])
        if policies not in alike:
            alike[policies] = judge.decisions(inventory.roles[name], progress)
        decisions[name] = alike[policies]
    progress("roles evaluated", len(names), len(names))
    return AccessMatrix(
        inventory.account,
        inventory.regions,
        inventory.at,
        models.listed,
        models.columns,
        tuple(rows),
        decisions,
        judge.simulations,
        (*inventory.unread, *unread, *sorted(judge.unjudged)),
    )


def _rows(inventory: Inventory) -> tuple[list[Row], list[str]]:
    """A row for each subject, and a line for each subject that cannot be evaluated."""
    subjects: dict[tuple[str, str, str, str, str], dict[str, Binding]] = {}
    for binding in inventory.bindings:
        name = binding.role.name if binding.kind == ROLE and binding.role else binding.user_profile
        key = (binding.region, binding.domain_name or binding.domain_id, binding.domain_id, binding.kind, name)
        subjects.setdefault(key, {})[binding.via] = binding
    defaults = {key[:3]: found for key, found in subjects.items() if key[3] == DEFAULT_USER}
    rows: list[Row] = []
    unread: list[str] = []
    for key, found in sorted(subjects.items()):
        default = defaults.get(key[:3], {})
        own, shared = found.get(EXECUTION), default.get(EXECUTION)
        execution = own if own and own.role else shared
        if execution is None or execution.role is None:
            continue
        bedrock = found.get(BEDROCK_ROLE) or (default.get(BEDROCK_ROLE) if key[3] == USER_PROFILE else None)
        first = next(iter(found.values()))
        row = Row(
            first.account,
            first.region,
            first.domain_id,
            first.domain_name,
            first.user_profile,
            first.kind,
            execution.role.name,
            bedrock.role.name if bedrock and bedrock.role else "",
            inherits=execution is not own,
        )
        absent = [
            binding.role.name
            for binding in (execution, bedrock)
            if binding and binding.role and not _is_here(inventory, binding)
        ]
        if absent:
            unread.append(f"{row.label}: role {absent[0]} is not in account {inventory.account}")
        else:
            rows.append(row)
    return rows, unread


def _is_here(inventory: Inventory, binding: Binding) -> bool:
    role = binding.role
    return role is not None and role.account == inventory.account and role.name in inventory.roles


Asked = Mapping[tuple[str, str], Route]
"""The decision of IAM on an action and a resource, as a route of that one call."""


class Judge:
    """An evaluation of roles and models by IAM's simulator, with as few simulations as possible."""

    def __init__(self, calls: OperatorCalls, inventory: Inventory, models: Models) -> None:
        self._calls = calls
        self.inventory = inventory
        self.models = models
        self._library = Library(calls)
        self.simulations = 0
        self.unjudged: set[str] = set()
        """A line for each route that IAM's simulator refused to evaluate."""
        self._counting = Lock()

    def fingerprint(self, role: RoleDetail) -> object:
        """A value that is equal for two roles if their policies have the same effect on both."""
        documents = self._library.of_role(role)
        if any(depends_on_caller(document) for document in documents.values()):
            return role.arn
        return frozenset(role.attached), tuple(sorted(role.inline.items())), role.boundary

    def decisions(
        self, role: RoleDetail, progress: Progress = ignore_progress, *, every: bool = False
    ) -> tuple[Decision, ...]:
        """Decide on a role and each model. With `every`, simulate all routes, even if one is open."""
        asking = _Asking(self, role, self._library.of_role(role), progress, every)
        found: dict[Model, Decision] = {}
        for family, decide in ((BEDROCK, asking.bedrock), (JUMPSTART, asking.jumpstart)):
            if columns := [model for model in self.models.columns if model.family == family]:
                found |= decide(columns)
        return tuple(found[model] for model in self.models.columns)

    def ask(
        self,
        role: RoleDetail,
        actions: Sequence[str],
        resources: Sequence[str],
        context: Mapping[str, str | Sequence[str]],
    ) -> list[Simulated]:
        """Simulate, and try again if IAM throttles the call. Raises Refused and RetryLater."""
        with self._counting:
            self.simulations += 1
        for pause in ACCESS_PAUSES:
            try:
                return self._calls.simulate(role.arn, actions, resources, context)
            except RetryLater:
                time.sleep(pause)
        return self._calls.simulate(role.arn, actions, resources, context)


def _is_equal(pattern: str, value: str) -> bool:
    return pattern == value


def _is_equal_in_any_case(pattern: str, value: str) -> bool:
    return pattern.lower() == value.lower()


_COMPARES: Mapping[str, Callable[[str, str], bool]] = {
    "StringEquals": _is_equal,
    "StringNotEquals": _is_equal,
    "StringEqualsIgnoreCase": _is_equal_in_any_case,
    "StringNotEqualsIgnoreCase": _is_equal_in_any_case,
    "StringLike": matches,
    "StringNotLike": matches,
}
"""For each operator of a condition, the comparison of a value with a pattern on which its result depends."""


@dataclass
class _Asking:
    """The simulations of one role; `documents` are its policies by their SourcePolicyId."""

    judge: Judge
    role: RoleDetail
    documents: Mapping[str, Document]
    progress: Progress
    every: bool

    def bedrock(self, columns: Sequence[Model]) -> dict[Model, Decision]:
        """Decide on Bedrock models: on demand, inference profiles, batch jobs, and Mantle if these are closed."""
        wanted: dict[str, None] = {}
        for region in self._regions:
            wanted[self._arn(region, "model-invocation-job/*")] = None
            for model in columns:
                wanted[self._model_arn(region, model)] = None
                for profile in self.judge.models.behind(region, model):
                    wanted |= dict.fromkeys((profile.arn, *profile.models))
        answers = self._asked((*CANVAS_USE, BATCH), list(wanted))
        decided = [(model, list(self._until_open(self._named(model, answers)))) for model in columns]
        left = [model for model, routes in decided if self.every or not routes[-1].allowed]
        on_mantle: dict[Model, list[Route]] = {model: [] for model in columns}
        for region in self._regions:
            arn = f"arn:{self._partition}:bedrock-mantle:{region}:{self._account}:project/default"
            try:
                for model, route in self._by_value(left, MANTLE_MODEL, f"Mantle{self._in(region)}", (MANTLE,), (arn,)):
                    on_mantle[model].append(route)
            except Refused as refused:
                # This service prefix is new. If the simulator does not know it, the other routes are still valid.
                if isinstance(refused, Gone) or refused.reason is not Reason.REFUSED:
                    raise
                self.judge.unjudged.add(f"Mantle in {region}: {refused}")
        return {model: Decision((*routes, *on_mantle[model])) for model, routes in decided}

    def _named(self, model: Model, answers: Asked) -> Iterator[Route]:
        for region in self._regions:
            arn, jobs = self._model_arn(region, model), self._arn(region, "model-invocation-job/*")
            yield _either(f"on demand{self._in(region)}", [answers[action, arn] for action in CANVAS_USE])
            for profile in self.judge.models.behind(region, model):
                ways = [
                    _both("", [answers[action, resource] for resource in (profile.arn, *profile.models)])
                    for action in CANVAS_USE
                ]
                yield _either(f"inference profile {profile.id}{self._in(region)}", ways)
            yield _both(f"batch job{self._in(region)}", [answers[BATCH, arn], answers[BATCH, jobs]])

    def jumpstart(self, columns: Sequence[Model]) -> dict[Model, Decision]:
        """Decide on JumpStart models: an endpoint with each of the tags of JumpStart, then a hub."""
        routes: dict[Model, list[Route]] = {model: [] for model in columns}

        def left() -> list[Model]:
            return [model for model in columns if self.every or not any(route.allowed for route in routes[model])]

        for region in self._regions:
            # The managed policies of Canvas allow only resources with this prefix in their names.
            made = tuple(
                f"arn:{self._partition}:sagemaker:{region}:{self._account}:{kind}/canvas-rolewarden"
                for kind in ("model", "endpoint", "endpoint-config")
            )
            for tag in JUMPSTART_TAGS:
                name = f"endpoint tagged {tag}{self._in(region)}"
                for model, route in self._by_value(left(), f"aws:RequestTag/{tag}", name, DEPLOY_ACTIONS, made):
                    routes[model].append(route)
            hub = f"arn:{self._partition}:sagemaker:{region}:aws:hub/SageMakerPublicHub"
            contents = f"arn:{self._partition}:sagemaker:{region}:aws:hub-content/SageMakerPublicHub/Model"
            in_hub = {model: f"{contents}/{model.id}/1.0.0" for model in left()}
            answers = self._asked((DEPLOY_FROM_HUB,), [hub, *in_hub.values()]) if in_hub else {}
            for model, arn in in_hub.items():
                parts = [answers[DEPLOY_FROM_HUB, resource] for resource in (hub, arn)]
                routes[model].append(_both(f"hub{self._in(region)}", parts))
        return {model: Decision(tuple(found)) for model, found in routes.items()}

    def _by_value(
        self, columns: Sequence[Model], key: str, name: str, actions: Sequence[str], resources: Sequence[str]
    ) -> Iterator[tuple[Model, Route]]:
        """Evaluate a route for each model, whose ID is the value of the condition key `key`.

        Each of `actions` is authorized on the resource in the same position. If no policy of the role distinguishes
        some models, one of them is simulated for all.
        """
        alike: dict[object, list[Model]] = defaultdict(list)
        for model in columns:
            alike[self._signature(key, model.id)].append(model)
        groups = list(alike.values())

        def ask(group: Sequence[Model]) -> Route:
            context: dict[str, str | Sequence[str]] = {key: group[0].id}
            if key.startswith("aws:RequestTag/"):
                context["aws:TagKeys"] = [key.removeprefix("aws:RequestTag/")]
            found = self._routes(self.judge.ask(self.role, actions, resources, context))
            return _both(name, [found[pair] for pair in zip(actions, resources, strict=True)])

        with ThreadPoolExecutor(WORKERS) as pool:
            for done, (group, route) in enumerate(zip(groups, pool.map(ask, groups), strict=True), start=1):
                if len(groups) > MANY:
                    self.progress(f"{self.role.name}: {name}", done, len(groups))
                yield from ((model, route) for model in group)

    def _signature(self, key: str, value: str) -> object:
        """A value that is equal for two values of `key` if every condition of the role's policies treats them alike."""
        if any(document.mentions(f"${{{key}") for document in self.documents.values()):
            return value
        found = []
        for document in self.documents.values():
            for operator, patterns in document.conditions(key):
                compare = _COMPARES.get(operator)
                if compare is None or any("${" in pattern for pattern in patterns):
                    return value
                found += [compare(pattern, value) for pattern in patterns]
        return tuple(found)

    def _asked(self, actions: Sequence[str], resources: Sequence[str]) -> Asked:
        found: dict[tuple[str, str], Route] = {}
        chunks = [resources[start : start + AT_ONCE] for start in range(0, len(resources), AT_ONCE)]
        with ThreadPoolExecutor(WORKERS) as pool:
            for simulated in pool.map(lambda chunk: self.judge.ask(self.role, actions, chunk, {}), chunks):
                found |= self._routes(simulated)
        return found

    def _routes(self, simulated: Iterable[Simulated]) -> dict[tuple[str, str], Route]:
        return {
            (one.action, one.resource): Route("", one.decision == "allowed", tuple(self._statements(one)))
            for one in simulated
        }

    def _statements(self, simulated: Simulated) -> Iterator[Statement]:
        for matched in simulated.matched:
            if document := self.documents.get(matched.policy):
                index = document.index(matched)
                yield Statement(document.name, document.arn, document.label(index), document.statements[index])
            else:
                # The policy was attached after the inventory was read, so its text is not known.
                yield Statement(
                    matched.policy, "", "", {"Effect": "Allow" if simulated.decision == "allowed" else "Deny"}
                )

    def _until_open(self, routes: Iterator[Route]) -> Iterator[Route]:
        for route in routes:
            yield route
            if route.allowed and not self.every:
                return

    @property
    def _partition(self) -> str:
        return self.judge.inventory.partition

    @property
    def _account(self) -> str:
        return self.judge.inventory.account

    @property
    def _regions(self) -> tuple[str, ...]:
        return self.judge.inventory.regions

    def _in(self, region: str) -> str:
        return f" in {region}" if len(self._regions) > 1 else ""

    def _arn(self, region: str, resource: str) -> str:
        return f"arn:{self._partition}:bedrock:{region}:{self._account}:{resource}"

    def _model_arn(self, region: str, model: Model) -> str:
        return f"arn:{self._partition}:bedrock:{region}::foundation-model/{model.id}"


def _both(name: str, parts: Sequence[Route]) -> Route:
    """A route that is open if all of `parts` are open."""
    closed = [part for part in parts if not part.allowed]
    return Route(name, not closed, _once(closed or parts))


def _either(name: str, parts: Sequence[Route]) -> Route:
    """A route that is open if any of `parts` is open."""
    opened = [part for part in parts if part.allowed]
    return Route(name, bool(opened), _once(opened or parts))


def _once(parts: Iterable[Route]) -> tuple[Statement, ...]:
    found = {(s.policy, s.arn, s.label): s for part in parts for s in part.statements}
    return tuple(found.values())
