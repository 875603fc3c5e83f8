"""`rolewarden access`: who can reach which model, as IAM itself judges it.

A model counts as reached where one route to it gets through: every call of the route, on every resource and with every
condition key that AWS authorizes it by (sources: `rolewarden.policies`). Roles that carry the same policies are judged
once, and models that no policy of a role tells apart are asked for by one of them.
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
from rolewarden_cli.documents import Document, Library, asks_who
from rolewarden_cli.inventory import Inventory, Progress, ignore_progress
from rolewarden_cli.models import BEDROCK, JUMPSTART, Model, Models

AT_ONCE = 100
"""Resources in one simulation."""

WORKERS = 4
"""Simulations under way at once."""

MANY = 10
"""Simulations of one route from which on it has a bar of its own."""

ACCESS_PAUSES = (0.5, 1.0, 2.0, 4.0, 8.0)
"""Seconds to wait before a simulation that IAM throttles is tried again."""

BATCH = "bedrock:CreateModelInvocationJob"
MANTLE, MANTLE_MODEL = "bedrock-mantle:CreateInference", "bedrock-mantle:Model"
DEPLOY_ACTIONS = ("sagemaker:CreateModel", *CANVAS_CREATE)
"""How a JumpStart model gets to an endpoint."""
DEPLOY_FROM_HUB = "sagemaker:DeployHubModel"


@dataclass(frozen=True)
class Statement:
    """A statement that decided.

    `policy` is the name of its policy, `arn` that policy's ARN (empty for an inline one), `label` the statement's Sid
    or its number, `document` what it says.
    """

    policy: str
    arn: str
    label: str
    document: Mapping[str, Any]

    @property
    def denies(self) -> bool:
        """Whether it is a deny."""
        return self.document.get("Effect") == "Deny"

    @property
    def name(self) -> str:
        """Policy and statement in one text."""
        return f"{self.policy}:{self.label}"


@dataclass(frozen=True)
class Route:
    """A way to a model, as `on demand`, whether it is open, and the statements that say so.

    A closed route without statements is one that nothing allows.
    """

    name: str
    allowed: bool
    statements: tuple[Statement, ...]


@dataclass(frozen=True)
class Decision:
    """What IAM says to a role that wants a model: every route to it, in the order in which they were tried.

    Where one is open no further ones were tried, unless all were asked for.
    """

    routes: tuple[Route, ...]

    @property
    def allowed(self) -> bool:
        """Whether a route is open."""
        return any(route.allowed for route in self.routes)

    @property
    def route(self) -> str:
        """The open route's name; empty where there is none."""
        return next((route.name for route in self.routes if route.allowed), "")

    @property
    def statements(self) -> tuple[Statement, ...]:
        """The denies of all routes where none is open, each once; empty where nothing allows any."""
        if self.allowed:
            return next(route.statements for route in self.routes if route.allowed)
        found = {s.name: s for route in self.routes for s in route.statements if s.denies}
        return tuple(found.values())


@dataclass(frozen=True)
class Row:
    """A user profile and the roles by which it works.

    `role` is the execution role, `bedrock_role` the one by which Canvas works with Bedrock, empty where there is none.
    A domain's default user and shared spaces, and roles that `also_govern` names, are rows as well, with an empty
    `user_profile`: `kind` tells them apart. `inherits` where the profile runs as its domain's role.
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
        """Names of the roles by which it may reach a model of that kind."""
        also = (self.bedrock_role,) if self.bedrock_role and model.family == BEDROCK else ()
        return (self.role, *also)


@dataclass(frozen=True)
class AccessMatrix:
    """Rows, columns, and the decisions by role: `decisions[role][n]` is on `models[n]`.

    `listed` tells where the list of Bedrock models comes from (see `Models`). `simulations` were asked of IAM.
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
        """What a row reaches of `models[number]`: the decision on the first of its roles that gets through."""
        found = [self.decisions[role][number] for role in row.roles(self.models[number])]
        return next((decision for decision in found if decision.allowed), found[0])

    @property
    @shown_as("models")
    def columns(self) -> list[dict[str, Any]]:
        """The models, with who makes each."""
        return [some_of(model, "id", "family", "provider") for model in self.models]

    @property
    @shown
    def verdicts(self) -> list[dict[str, Any]]:
        """The different decisions; a cell is the number of one, because few roles differ and many models do not."""
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
    """Let IAM judge every role on every model. Raises Refused and RetryLater."""
    rows, unread = _rows(inventory)
    judge = Judge(calls, inventory, models)
    names = sorted({role for row in rows for role in (row.role, row.bedrock_role) if role})
    alike: dict[object, tuple[Decision, ...]] = {}
    decisions: dict[str, tuple[Decision, ...]] = {}
    for done, name in enumerate(names):
        progress("roles judged", done, len(names))
        carries = judge.fingerprint(inventory.roles[name])
        if carries not in alike:
            alike[carries] = judge.decisions(inventory.roles[name], progress)
        decisions[name] = alike[carries]
    progress("roles judged", len(names), len(names))
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
    """A row for each subject, and what cannot be judged."""
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
        gone = [
            binding.role.name
            for binding in (execution, bedrock)
            if binding and binding.role and not _is_here(inventory, binding)
        ]
        if gone:
            unread.append(f"{row.label}: role {gone[0]} is not in account {inventory.account}")
        else:
            rows.append(row)
    return rows, unread


def _is_here(inventory: Inventory, binding: Binding) -> bool:
    role = binding.role
    return role is not None and role.account == inventory.account and role.name in inventory.roles


Asked = Mapping[tuple[str, str], Route]
"""What IAM said of an action on a resource, as a route of that one call."""


class Judge:
    """Asks IAM's simulator about roles and models, no more often than it has to."""

    def __init__(self, calls: OperatorCalls, inventory: Inventory, models: Models) -> None:
        self._calls = calls
        self.inventory = inventory
        self.models = models
        self._library = Library(calls)
        self.simulations = 0
        self.unjudged: set[str] = set()
        """What IAM's simulator would not judge, a line each."""
        self._counting = Lock()

    def fingerprint(self, role: RoleDetail) -> object:
        """Equal for roles to which every policy says the same."""
        documents = self._library.of_role(role)
        if any(asks_who(document) for document in documents.values()):
            return role.arn
        return frozenset(role.attached), tuple(sorted(role.inline.items())), role.boundary

    def decisions(
        self, role: RoleDetail, progress: Progress = ignore_progress, *, every: bool = False
    ) -> tuple[Decision, ...]:
        """What IAM says to a role that wants each model; with `every` all routes are tried, though one is open."""
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
        """One simulation; one that IAM throttles is tried again. Raises Refused and RetryLater."""
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
"""On what about a value an operator of a condition hangs."""


@dataclass
class _Asking:
    """Asks about one role; `documents` are its policies by what the simulator calls them."""

    judge: Judge
    role: RoleDetail
    documents: Mapping[str, Document]
    progress: Progress
    every: bool

    def bedrock(self, columns: Sequence[Model]) -> dict[Model, Decision]:
        """On demand, through inference profiles, in a batch job; then on Mantle, where that was not enough."""
        wanted: dict[str, None] = {}
        for region in self._regions:
            wanted[self._arn(region, "model-invocation-job/*")] = None
            for model in columns:
                wanted[self._model_arn(region, model)] = None
                for profile in self.judge.models.behind(region, model):
                    wanted |= dict.fromkeys((profile.arn, *profile.models))
        said = self._asked((*CANVAS_USE, BATCH), list(wanted))
        decided = [(model, list(self._until_open(self._named(model, said)))) for model in columns]
        left = [model for model, routes in decided if self.every or not routes[-1].allowed]
        on_mantle: dict[Model, list[Route]] = {model: [] for model in columns}
        for region in self._regions:
            arn = f"arn:{self._partition}:bedrock-mantle:{region}:{self._account}:project/default"
            try:
                for model, route in self._by_value(left, MANTLE_MODEL, f"Mantle{self._in(region)}", (MANTLE,), (arn,)):
                    on_mantle[model].append(route)
            except Refused as refused:
                # The newest of the namespaces: a simulator that does not know it says nothing of the other routes.
                if isinstance(refused, Gone) or refused.reason is not Reason.REFUSED:
                    raise
                self.judge.unjudged.add(f"Mantle in {region}: {refused}")
        return {model: Decision((*routes, *on_mantle[model])) for model, routes in decided}

    def _named(self, model: Model, said: Asked) -> Iterator[Route]:
        for region in self._regions:
            arn, jobs = self._model_arn(region, model), self._arn(region, "model-invocation-job/*")
            yield _either(f"on demand{self._in(region)}", [said[action, arn] for action in CANVAS_USE])
            for profile in self.judge.models.behind(region, model):
                ways = [
                    _both("", [said[action, resource] for resource in (profile.arn, *profile.models)])
                    for action in CANVAS_USE
                ]
                yield _either(f"inference profile {profile.id}{self._in(region)}", ways)
            yield _both(f"batch job{self._in(region)}", [said[BATCH, arn], said[BATCH, jobs]])

    def jumpstart(self, columns: Sequence[Model]) -> dict[Model, Decision]:
        """To an endpoint, tagged by one of the tags that tell of JumpStart; then from a hub."""
        routes: dict[Model, list[Route]] = {model: [] for model in columns}

        def left() -> list[Model]:
            return [model for model in columns if self.every or not any(route.allowed for route in routes[model])]

        for region in self._regions:
            # Named as Canvas names what it makes: its managed policies allow nothing else.
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
            said = self._asked((DEPLOY_FROM_HUB,), [hub, *in_hub.values()]) if in_hub else {}
            for model, arn in in_hub.items():
                parts = [said[DEPLOY_FROM_HUB, resource] for resource in (hub, arn)]
                routes[model].append(_both(f"hub{self._in(region)}", parts))
        return {model: Decision(tuple(found)) for model, found in routes.items()}

    def _by_value(
        self, columns: Sequence[Model], key: str, name: str, actions: Sequence[str], resources: Sequence[str]
    ) -> Iterator[tuple[Model, Route]]:
        """A route for each model, whose id is the value of the condition key `key`.

        Its `actions` are authorized on `resources`, one each. Models whose ids no policy of the role tells apart are
        asked for by one of them.
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
        """Equal for values that every condition of the role's policies takes the same way."""
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
                # A policy that the role got in between.
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
    """A route that takes all of `parts`."""
    closed = [part for part in parts if not part.allowed]
    return Route(name, not closed, _once(closed or parts))


def _either(name: str, parts: Sequence[Route]) -> Route:
    """A route that any of `parts` opens."""
    opened = [part for part in parts if part.allowed]
    return Route(name, bool(opened), _once(opened or parts))


def _once(parts: Iterable[Route]) -> tuple[Statement, ...]:
    found = {(s.policy, s.arn, s.label): s for part in parts for s in part.statements}
    return tuple(found.values())
