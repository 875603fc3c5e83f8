"""`rolewarden access`: which subjects can reach which models, as IAM's policy simulator decides.

A subject can reach a model if one route is open. A route is open if IAM allows every call of it, on every resource and
with every condition key that AWS uses to authorize the call (sources: `rolewarden.policies`). Roles with the same
policies are simulated once. If no policy of a role distinguishes some models, one of them is simulated for all.
"""

from __future__ import annotations

import time
from collections import defaultdict
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from datetime import datetime
from enum import StrEnum
from functools import cached_property
from threading import Lock
from types import MappingProxyType
from typing import Any, NamedTuple

from rolewarden.bindings import BEDROCK as BEDROCK_ROLE
from rolewarden.bindings import DEFAULT_USER, EXECUTION, OTHER_VIAS, ROLE, SHARED_SPACES, USER_PROFILE, Binding, RoleKey
from rolewarden.errors import Gone, Refused, RetryLater
from rolewarden.guardrails import Rules
from rolewarden.matching import matches
from rolewarden.observing import banner_of
from rolewarden.policies import MANTLE_KEY, PROFILE_KEY, USER_KEY
from rolewarden.verdicts import Reason
from rolewarden.vocabulary import CANVAS_CREATE, CANVAS_USE, HUB_TAGS, JUMPSTART_TAGS

from rolewarden_cli.account import Context, InferenceProfile, OperatorCalls, RoleDetail, Simulated
from rolewarden_cli.answers import HIDDEN, shown_as
from rolewarden_cli.documents import Document, Library, asks_where, condition_keys, depends_on_caller
from rolewarden_cli.inventory import Inventory, Progress, ignore_progress
from rolewarden_cli.models import BEDROCK, JUMPSTART, Model, Models
from rolewarden_cli.scps import read_control_policies

AT_ONCE = 100
"""Number of resources in one simulation."""

WORKERS = 4
"""Number of simulations that run at the same time."""

MANY = 10
"""Number of simulations of one route above which the route has a progress bar of its own."""

ACCESS_PAUSES = (0.5, 1.0, 2.0, 4.0, 8.0)
"""Seconds to wait before each retry of a simulation that IAM throttles."""

BATCH = "bedrock:CreateModelInvocationJob"
MANTLE = "bedrock-mantle:CreateInference"
NO_CONTEXT: Context = MappingProxyType({})
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

    - `denied_by_scp`: whether a service control policy closes the route. IAM then names no statement of another policy.
    - `scps`: the names of the readable service control policies that may close it.
    - `by_prevention`: whether a service control policy that guardrails.yaml compiles to closes it.
    - `undecided`: condition keys that only a live call has and that could change the decision.

    If a closed route has no statements and no service control policy closes it, no statement allows it.
    """

    name: str
    allowed: bool
    statements: tuple[Statement, ...]
    denied_by_scp: bool = False
    scps: tuple[str, ...] = ()
    undecided: tuple[str, ...] = ()
    by_prevention: bool = False


@dataclass(frozen=True)
class Decision:
    """The decision of IAM on a role and a model: the routes, in the order of the simulation.

    After an open route, no further route is simulated unless the caller requests all of them.
    """

    routes: tuple[Route, ...]

    @cached_property
    def allowed(self) -> bool:
        """Whether a route is open."""
        return any(route.allowed for route in self.routes)

    @cached_property
    def route(self) -> str:
        """The name of the open route; empty if every route is closed."""
        return next((route.name for route in self.routes if route.allowed), "")

    @cached_property
    def statements(self) -> tuple[Statement, ...]:
        """The statements of the open route. If every route is closed, the denies of all routes, each once."""
        if self.allowed:
            return next(route.statements for route in self.routes if route.allowed)
        found = {s.name: s for route in self.routes for s in route.statements if s.denies}
        return tuple(found.values())

    @cached_property
    def denied_by_scp(self) -> bool:
        """Whether no route is open and a service control policy closes one of them."""
        return not self.allowed and any(route.denied_by_scp for route in self.routes)

    @cached_property
    def by_prevention(self) -> bool:
        """Whether no route is open, and an SCP that guardrails.yaml compiles to closes one of them."""
        return not self.allowed and any(route.by_prevention for route in self.routes)

    @cached_property
    def undecided(self) -> tuple[str, ...]:
        """The condition keys that only a live call has and that could change the decision."""
        counting = [route for route in self.routes if route.allowed] or self.routes
        return _all_if_each([route.undecided for route in counting]) if self.allowed else _keys(counting)


def session(role: str, source_identity: str) -> str:
    """A session of a role in words. The source identity is empty without one. The name of a role has no space."""
    return f"{role} as {source_identity}" if source_identity else role


@dataclass(frozen=True)
class Row:
    """A user profile and the roles that it uses.

    A domain's default user and shared spaces, and roles that `also_govern` selects, are rows as well. They have an
    empty `user_profile`, and `kind` distinguishes them. A role of `OTHER_VIAS` is a row of its domain, and `kind` is
    the setting that names the role.

    - `role`: the execution role.
    - `bedrock_role`: the role that Canvas uses for Bedrock; empty without one.
    - `inherits`: whether the user profile uses its domain's role.
    - `source_identity`: the source identity of its sessions in apps, if a policy of the role asks for it. Empty for
      every other row: a job, a shared space and a user without one have none, and have the access of the domain's
      default user.
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
    source_identity: str = ""

    @property
    def label(self) -> str:
        """The row in words: `research/rosa`, `research default-user`."""
        if self.kind == ROLE:
            return self.role
        name = "/".join(filter(None, (self.domain_name or self.domain_id, self.user_profile)))
        return name if self.kind == USER_PROFILE else f"{name} {self.kind}"

    @property
    def is_subject(self) -> bool:
        """Whether the row is a subject, and not a role of `OTHER_VIAS`."""
        return self.kind not in OTHER_VIAS

    @property
    def session(self) -> str:
        """The execution role, and the source identity of the session: `CanvasShared`, `CanvasShared as ana`."""
        return session(self.role, self.source_identity)

    def sessions(self, model: Model) -> tuple[str, ...]:
        """The sessions of roles that it can use to reach a model of this family."""
        also = (self.bedrock_role,) if self.bedrock_role and model.family == BEDROCK else ()
        return (self.session, *also)


@dataclass(frozen=True)
class AccessMatrix:
    """Rows, columns, and the decisions by session: `decisions[session][n]` is the decision on `models[n]`.

    - `listed`: the source of the list of Bedrock models (see `Models`).
    - `simulations`: the number of simulations that IAM made.
    - `observed`: the guardrails in observe mode, and `banner` the line that names them.
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
    observed: tuple[str, ...] = ()
    banner: str = field(default="", metadata=HIDDEN)

    @property
    def subjects(self) -> int:
        """The number of subjects."""
        return sum(row.is_subject for row in self.rows)

    @property
    def allowed(self) -> int:
        """The number of pairs of a row and a model with access."""
        return sum(cell.allowed for row in self.rows for cell in self.cells(row))

    def cell(self, row: Row, number: int) -> Decision:
        """The decision on a row and `models[number]`: of its first role with an open route, else of its first role."""
        return self._deciding(row, number)[1]

    def cells(self, row: Row) -> tuple[Decision, ...]:
        """The decisions on a row, one for each of `models`."""
        return tuple(self.cell(row, number) for number in range(len(self.models)))

    def _deciding(self, row: Row, number: int) -> tuple[str, Decision]:
        found = [(one, self.decisions[one][number]) for one in row.sessions(self.models[number])]
        return next((each for each in found if each[1].allowed), found[0])

    @property
    @shown_as("models")
    def columns(self) -> tuple[ListedModel, ...]:
        """The models, each with its family and its provider."""
        return tuple(ListedModel(model.id, model.family, model.provider) for model in self.models)

    @property
    @shown_as("decisions")
    def entries(self) -> Iterator[AccessEntry]:
        """The decision on each subject and model. A large account has too many to keep them in memory."""
        for row in self.rows:
            for number, model in enumerate(self.models):
                yield _entry(row, model, *self._deciding(row, number))


class ListedModel(NamedTuple):
    """A model: its ID, "bedrock" or "jumpstart" as its family, and its provider."""

    id: str
    family: str
    provider: str


class AccessDecision(StrEnum):
    """The decision on a subject and a model in one word.

    ALLOWED: a route is open. DENIED: none is open, and a statement or a service control policy denies one.
    NOT_ALLOWED: no statement allows a route, and none denies one.
    """

    ALLOWED = "allowed"
    DENIED = "denied"
    NOT_ALLOWED = "not allowed"


@dataclass(frozen=True)
class AccessEntry:
    """The decision on a subject and a model, which needs no other entry to be read.

    - `subject`: the subject in words, such as `research/rosa`. `domain_id`, `domain_name` and `user_profile` are its
      parts, and `kind` is the kind of subject.
    - `role`: the role that decides. `source_identity` is the source identity of its session; empty without one.
    - `inherits`: whether the subject is a user profile that uses its domain's role.
    - `route`: the open route; empty if every route is closed.
    - `statements`: the statements that decide, each as the name of its policy, a colon and the Sid or number.
    - `service_control_policy`: whether a service control policy closes a route.
    - `undecided`: the condition keys that only a live call has and that could change the decision.
    """

    account: str
    region: str
    subject: str
    kind: str
    domain_id: str
    domain_name: str
    user_profile: str
    role: str
    source_identity: str
    inherits: bool
    model: str
    family: str
    allowed: bool
    decision: AccessDecision
    route: str
    statements: tuple[str, ...]
    service_control_policy: bool
    undecided: tuple[str, ...]


def _entry(row: Row, model: Model, deciding: str, decision: Decision) -> AccessEntry:
    denied = AccessDecision.DENIED if decision.statements or decision.denied_by_scp else AccessDecision.NOT_ALLOWED
    is_own = deciding == row.session
    return AccessEntry(
        row.account,
        row.region,
        row.label,
        row.kind,
        row.domain_id,
        row.domain_name,
        row.user_profile,
        row.role if is_own else row.bedrock_role,
        row.source_identity if is_own else "",
        row.inherits,
        model.id,
        model.family,
        decision.allowed,
        AccessDecision.ALLOWED if decision.allowed else denied,
        decision.route,
        tuple(statement.name for statement in decision.statements),
        decision.denied_by_scp,
        decision.undecided,
    )


def matrix(
    calls: OperatorCalls,
    inventory: Inventory,
    models: Models,
    progress: Progress = ignore_progress,
    rules: Rules | None = None,
    *,
    organization: OperatorCalls | None = None,
) -> AccessMatrix:
    """Evaluate every role on every model with IAM's simulator. Raises Refused and RetryLater.

    - `rules`: decide which service control policies belong to prevention. Without rules, none does.
    - `organization`: the calls of a caller that can read the service control policies; None for `calls`.
    """
    rows, unread = _rows(inventory)
    judge = Judge(calls, inventory, models, rules, organization)
    rows = [row if judge.tells_users_apart(row.role) else replace(row, source_identity="") for row in rows]
    sessions = sorted({one for row in rows for one in ((row.role, row.source_identity), (row.bedrock_role, ""))})
    sessions = [one for one in sessions if one[0]]
    alike: dict[object, tuple[Decision, ...]] = {}
    decisions: dict[str, tuple[Decision, ...]] = {}
    for done, (name, source_identity) in enumerate(sessions):
        progress("roles evaluated", done, len(sessions))
        policies = judge.fingerprint(inventory.roles[name]), source_identity
        if policies not in alike:
            alike[policies] = judge.decisions(inventory.roles[name], progress, source_identity=source_identity)
        decisions[session(name, source_identity)] = alike[policies]
    progress("roles evaluated", len(sessions), len(sessions))
    return AccessMatrix(
        inventory.account,
        inventory.regions,
        inventory.at,
        models.listed,
        models.columns,
        tuple(rows),
        decisions,
        judge.simulations,
        tuple(filter(None, (*inventory.unread, *unread, *sorted(judge.unjudged), judge.scps.unread))),
        rules.observed if rules else (),
        banner_of(rules) if rules else "",
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
        # Shared spaces without a role of their own have a binding only if their settings name other roles.
        if execution is None or execution.role is None or (key[3] == SHARED_SPACES and execution is not own):
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
            source_identity=first.user_profile if shared and shared.identifies else "",
        )
        absent = [
            binding.role
            for binding in (execution, bedrock)
            if binding and binding.role and not _is_here(inventory, binding)
        ]
        if absent:
            unread.append(f"{row.label}: {_where(inventory, absent[0])}")
        else:
            rows.append(row)
    return [*rows, *_other_rows(inventory)], unread


def _where(inventory: Inventory, role: RoleKey) -> str:
    if role.account == inventory.account:
        return f"role {role.name} is not in account {inventory.account}"
    return f"role {role.name} belongs to account {role.account}, and the command reads account {inventory.account} only"


def _other_rows(inventory: Inventory) -> list[Row]:
    """A row for each role of this account that the settings of a domain name, or those of its user profiles."""
    rows = {
        Row(
            binding.account,
            binding.region,
            binding.domain_id,
            binding.domain_name,
            "",
            other.via,
            inventory.spelled(other.role.name),
        )
        for binding in inventory.bindings
        for other in binding.other_roles
        if other.role.account == inventory.account and inventory.spelled(other.role.name) in inventory.roles
    }
    return sorted(rows, key=lambda row: (row.region, row.domain_name, row.domain_id, row.kind, row.role))


def _is_here(inventory: Inventory, binding: Binding) -> bool:
    role = binding.role
    return role is not None and role.account == inventory.account and role.name in inventory.roles


Asked = Mapping[tuple[str, str], Route]
"""The decision of IAM on an action and a resource, as a route of that one call."""


class Judge:
    """An evaluation of roles and models by IAM's simulator, with as few simulations as possible."""

    def __init__(
        self,
        calls: OperatorCalls,
        inventory: Inventory,
        models: Models,
        rules: Rules | None = None,
        organization: OperatorCalls | None = None,
    ) -> None:
        self._calls = calls
        self.inventory = inventory
        self.models = models
        self.scps = read_control_policies(organization or calls, inventory.account, rules)
        self._library = Library(calls)
        self.simulations = 0
        self.unjudged: set[str] = set()
        """A line for each route that IAM's simulator refused to evaluate."""
        self._counting = Lock()

    def fingerprint(self, role: RoleDetail) -> object:
        """A value that is equal for two roles if their policies have the same effect on both.

        A policy with a condition key of the caller can have another effect on each role, and many service control
        policies have one. If these cannot be read, each role is evaluated by itself.
        """
        documents = (*self._library.of_role(role).values(), *self.scps.known)
        if self.scps.documents is None or any(depends_on_caller(document) for document in documents):
            return role.arn
        return frozenset(role.attached), tuple(sorted(role.inline.items())), role.boundary

    def tells_users_apart(self, role: str) -> bool:
        """Whether a policy of a role, or a service control policy, asks for the source identity of a session."""
        documents = (*self._library.of_role(self.inventory.roles[role]).values(), *self.scps.known)
        return any(document.mentions(USER_KEY) for document in documents)

    def decisions(
        self,
        role: RoleDetail,
        progress: Progress = ignore_progress,
        *,
        every: bool = False,
        source_identity: str = "",
    ) -> tuple[Decision, ...]:
        """Decide on a role and each model.

        - `every`: simulate all routes, even if one is open.
        - `source_identity`: the source identity of the session. Empty for a session without one.
        """
        asking = _Asking(self, role, self._library.of_role(role), progress, every, source_identity)
        found: dict[Model, Decision] = {}
        for family, decide in ((BEDROCK, asking.bedrock), (JUMPSTART, asking.jumpstart)):
            if columns := [model for model in self.models.columns if model.family == family]:
                found |= decide(columns)
        return tuple(found[model] for model in self.models.columns)

    def ask(
        self, role: RoleDetail, actions: Sequence[str], resources: Sequence[str], context: Context
    ) -> list[Simulated]:
        """The decisions on `actions` on `resources`, which are in one region and account. Raises Refused, RetryLater.

        A second simulation shows the denies of service control policies, if the first one does not decide this.
        """
        found = self._simulate(role, actions, resources, context)
        if all(one.denied_by_scp is not None for one in found):
            return found
        closed = {
            (one.action, one.resource)
            for one in self._simulate(role, actions, resources, context, as_administrator=True)
            if one.decision != "allowed" and not one.matched
        }
        return [
            one._replace(denied_by_scp=(one.action, one.resource) in closed) if one.denied_by_scp is None else one
            for one in found
        ]

    def _simulate(
        self,
        role: RoleDetail,
        actions: Sequence[str],
        resources: Sequence[str],
        context: Context,
        **options: bool,
    ) -> list[Simulated]:
        """Simulate, and try again if IAM throttles the call. Raises Refused and RetryLater."""
        with self._counting:
            self.simulations += 1
        for pause in ACCESS_PAUSES:
            try:
                return self._calls.simulate(role.arn, actions, resources, context, **options)
            except RetryLater:
                time.sleep(pause)
        return self._calls.simulate(role.arn, actions, resources, context, **options)


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


_ABSENT = (
    "aws:calledvia",
    "aws:federatedprovider",
    "aws:multifactorauth",
    "aws:principalservicename",
    "aws:principaltag/",
    "aws:requesttag/",
    "aws:resourcetag/",
    "aws:sourceidentity",
    "aws:tagkeys",
    "aws:username",
    "bedrock-mantle:model",
    "bedrock:inferenceprofilearn",
)
"""Beginnings of the keys that a request of Canvas does not have beyond those that are given, in lower case: it comes
from the session of a role that a service assumed, for a new resource with one tag."""


@dataclass
class _Asking:
    """The simulations of one role; `documents` are its policies by their SourcePolicyId."""

    judge: Judge
    role: RoleDetail
    documents: Mapping[str, Document]
    progress: Progress
    every: bool
    source_identity: str = ""

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
                for model, route in self._by_value(left, MANTLE_KEY, f"Mantle{self._in(region)}", (MANTLE,), (arn,)):
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
                of_profile = {**answers, **self._by_profile(profile)}
                ways = [
                    _both("", [of_profile[action, resource] for resource in (profile.arn, *profile.models)])
                    for action in CANVAS_USE
                ]
                yield _either(f"inference profile {profile.id}{self._in(region)}", ways)
            yield _both(f"batch job{self._in(region)}", [answers[BATCH, arn], answers[BATCH, jobs]])

    def _by_profile(self, profile: InferenceProfile) -> Asked:
        """The decisions on the models behind a profile, if they may be others than on a call without it.

        https://docs.aws.amazon.com/bedrock/latest/userguide/geographic-cross-region-inference.html
        """
        documents = (*self.documents.values(), *self.judge.scps.known)
        if not any(document.mentions(PROFILE_KEY) for document in documents):
            return {}
        return self._asked(CANVAS_USE, profile.models, {PROFILE_KEY: profile.arn})

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
            hub = f"arn:{self._partition}:sagemaker:{region}:aws:hub/SageMakerPublicHub"
            contents = f"arn:{self._partition}:sagemaker:{region}:aws:hub-content/SageMakerPublicHub/Model/"
            for tag in (*JUMPSTART_TAGS, *HUB_TAGS):
                key, name = f"aws:RequestTag/{tag}", f"endpoint tagged {tag}{self._in(region)}"
                form = f"{contents}{{}}/1.0.0" if tag in HUB_TAGS else "{}"
                for model, route in self._by_value(left(), key, name, DEPLOY_ACTIONS, made, form):
                    routes[model].append(route)
            in_hub = {model: f"{contents}{model.id}/1.0.0" for model in left()}
            answers = self._asked((DEPLOY_FROM_HUB,), [hub, *in_hub.values()]) if in_hub else {}
            for model, arn in in_hub.items():
                parts = [answers[DEPLOY_FROM_HUB, resource] for resource in (hub, arn)]
                routes[model].append(_both(f"hub{self._in(region)}", parts))
        # Most models have the same routes. They share a decision, so that its properties are found once.
        shared: dict[tuple[int, ...], Decision] = {}
        for found in routes.values():
            shared.setdefault(tuple(map(id, found)), Decision(tuple(found)))
        return {model: shared[tuple(map(id, found))] for model, found in routes.items()}

    def _by_value(
        self,
        columns: Sequence[Model],
        key: str,
        name: str,
        actions: Sequence[str],
        resources: Sequence[str],
        form: str = "{}",
    ) -> Iterator[tuple[Model, Route]]:
        """Evaluate a route for each model, whose ID is in the value of the condition key `key`. `form` is the value.

        Each of `actions` is authorized on the resource in the same position. If no policy of the role distinguishes
        some models, one of them is simulated for all.
        """
        alike: dict[object, list[Model]] = defaultdict(list)
        # A service control policy that the caller cannot read may tell models apart. With a few models, asking for each
        # of them costs little.
        each = self.judge.scps.documents is None and len(columns) <= MANY
        signature = str if each else self._signature(key)
        for model in columns:
            alike[signature(form.format(model.id))].append(model)
        groups = list(alike.values())

        def ask(group: Sequence[Model]) -> Route:
            context: dict[str, str | Sequence[str]] = {key: form.format(group[0].id)}
            if key.startswith("aws:RequestTag/"):
                context["aws:TagKeys"] = [key.removeprefix("aws:RequestTag/")]
            found = self._routes(actions, resources, context)
            return _both(name, [found[pair] for pair in zip(actions, resources, strict=True)])

        with ThreadPoolExecutor(WORKERS) as pool:
            for done, (group, route) in enumerate(zip(groups, pool.map(ask, groups), strict=True), start=1):
                if len(groups) > MANY:
                    self.progress(f"{self.role.name}: {name}", done, len(groups))
                yield from ((model, route) for model in group)

    def _signature(self, key: str) -> Callable[[str], object]:
        """A function with the same result for two values of `key` if every condition of every policy treats them alike.

        It is made once for a key, because a model list has a thousand values and a policy has dozens of statements.
        """
        documents = (*self.documents.values(), *self.judge.scps.known)
        if any(document.mentions(f"${{{key}") for document in documents):
            return str
        tests: list[tuple[Callable[[str, str], bool], str]] = []
        for document in documents:
            for operator, patterns in document.conditions(key):
                compare = _COMPARES.get(operator)
                if compare is None or any("${" in pattern for pattern in patterns):
                    return str
                tests += [(compare, pattern) for pattern in patterns]
        return lambda value: tuple(compare(pattern, value) for compare, pattern in tests)

    def _asked(self, actions: Sequence[str], resources: Sequence[str], context: Context = NO_CONTEXT) -> Asked:
        by_place: dict[object, list[str]] = defaultdict(list)
        for resource in resources:
            by_place[_place(resource) if self._asks_where else None].append(resource)
        chunks = [here[start : start + AT_ONCE] for here in by_place.values() for start in range(0, len(here), AT_ONCE)]
        found: dict[tuple[str, str], Route] = {}
        with ThreadPoolExecutor(WORKERS) as pool:
            for routes in pool.map(lambda chunk: self._routes(actions, chunk, context), chunks):
                found |= routes
        return found

    def _routes(self, actions: Sequence[str], resources: Sequence[str], context: Context) -> Asked:
        """Decide on `actions` and `resources`, which are in one region and account."""
        place = self._of_place(*_place(resources[0])) if self._asks_where else {}
        context = {**self._context, **place, **context}
        given = {key.lower() for key in context}
        scps, found = self.judge.scps, {}
        caller = {**context, "aws:PrincipalArn": self.role.arn}
        for one in self.judge.ask(self.role, actions, resources, context):
            denying = scps.that_deny(one.action, one.resource) if one.denied_by_scp else ()
            found[one.action, one.resource] = Route(
                "",
                one.decision == "allowed",
                tuple(self._statements(one)),
                denied_by_scp=bool(one.denied_by_scp),
                scps=denying,
                undecided=tuple(self._undecided(one, given)),
                by_prevention=bool(one.denied_by_scp) and scps.is_of_prevention(one.action, one.resource, caller),
            )
        return found

    @cached_property
    def _asks_where(self) -> bool:
        """Whether a policy can depend on the location of a resource. If not, one simulation serves several regions."""
        documents = (*self.documents.values(), *self.judge.scps.known)
        return self.judge.scps.documents is None or any(asks_where(document) for document in documents)

    @cached_property
    def _context(self) -> Context:
        """The condition keys of each request of the role, as far as they are known."""
        return {
            "aws:PrincipalArn": self.role.arn,
            "aws:PrincipalAccount": self._account,
            "aws:PrincipalType": "AssumedRole",
            "aws:PrincipalIsAWSService": False,
            "aws:ViaAWSService": False,
            "aws:SecureTransport": True,
            **{f"aws:PrincipalTag/{key}": value for key, value in self.role.tags.items() if value},
            **({USER_KEY: self.source_identity} if self.source_identity else {}),
            **self.judge.scps.context,
        }

    def _of_place(self, region: str, account: str) -> Context:
        """The condition keys with the location of a resource.

        The region is that of the resource: Bedrock authorizes a call through an inference profile in each region that
        the profile leads to, and a global one in the region `unspecified`.
        https://docs.aws.amazon.com/bedrock/latest/userguide/geographic-cross-region-inference.html
        https://docs.aws.amazon.com/bedrock/latest/userguide/global-cross-region-inference.html
        """
        organization = self.judge.scps.context.get("aws:PrincipalOrgID", "")
        keys = {"aws:RequestedRegion": region or "unspecified"}
        if account == self._account:
            keys |= {"aws:ResourceAccount": account, "aws:ResourceOrgID": organization}
        return {key: value for key, value in keys.items() if value}

    def _undecided(self, one: Simulated, given: Collection[str]) -> Iterator[str]:
        """The keys that `one` lacked, that a live request may have, and that could change the decision.

        IAM names the keys of all statements (https://github.com/boto/boto3/issues/3111) and none of a service control
        policy, so the statements that are about this request decide which keys matter. A key that no known policy
        names is one of a policy that the role got in between.
        """
        own, scps = tuple(self.documents.values()), self.judge.scps.known
        if one.denied_by_scp:
            statements = [*_covering(scps, "Deny", one), *_covering(scps, "Allow", one)]
        elif one.decision == "allowed":
            statements = _covering((*own, *scps), "Deny", one)
        elif one.decision == "implicitDeny":
            statements = _covering(own, "Allow", one)
        else:
            statements = [statement.document for statement in self._statements(one)]

        def lacks(statement: Mapping[str, Any]) -> list[str]:
            return [key for key in condition_keys(statement) if key.lower() not in given and not _is_absent(key)]

        lacking = [lacks(statement) for statement in statements]
        certain = [s for s, keys in zip(statements, lacking, strict=True) if s.get("Effect") == "Deny" and not keys]
        if one.decision == "explicitDeny" and certain:
            return
        if one.denied_by_scp and any(not statement.get("Condition") for statement in certain):
            return
        named = {key.lower() for document in (*own, *scps) for s in document.statements for key in condition_keys(s)}
        unknown = [key for key in one.missing if key.lower() not in named | set(given) and not _is_absent(key)]
        yield from sorted({*unknown, *(key for keys in lacking for key in keys)})

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
    undecided = _all_if_each([part.undecided for part in closed]) if closed else _keys(parts)
    return _route(name, closed or parts, undecided, allowed=not closed)


def _either(name: str, parts: Sequence[Route]) -> Route:
    """A route that is open if any of `parts` is open."""
    opened = [part for part in parts if part.allowed]
    undecided = _all_if_each([part.undecided for part in opened]) if opened else _keys(parts)
    return _route(name, opened or parts, undecided, allowed=bool(opened))


def _route(name: str, deciding: Sequence[Route], undecided: tuple[str, ...], *, allowed: bool) -> Route:
    return Route(
        name,
        allowed,
        _once(deciding),
        denied_by_scp=not allowed and any(part.denied_by_scp for part in deciding),
        scps=tuple(dict.fromkeys(scp for part in deciding for scp in part.scps)),
        undecided=undecided,
        by_prevention=not allowed and any(part.by_prevention for part in deciding),
    )


def _keys(parts: Iterable[Route]) -> tuple[str, ...]:
    """The undecided keys of any of `parts`."""
    return tuple(sorted({key for part in parts for key in part.undecided}))


def _all_if_each(undecided: Sequence[tuple[str, ...]]) -> tuple[str, ...]:
    """The keys of all, but none if one of them is decided: it decides alone."""
    return tuple(sorted({key for keys in undecided for key in keys})) if all(undecided) else ()


def _place(resource: str) -> tuple[str, str]:
    """The region and the account of an ARN."""
    _, _, _, region, account, _ = resource.split(":", 5)
    return region, account


def _covering(documents: Iterable[Document], effect: str, one: Simulated) -> list[Mapping[str, Any]]:
    return [found for document in documents for found in document.covering(effect, one.action, one.resource)]


def _is_absent(key: str) -> bool:
    """Whether the requests that are asked about do not have a condition key."""
    return key.lower().startswith(_ABSENT)


def _once(parts: Iterable[Route]) -> tuple[Statement, ...]:
    found = {(s.policy, s.arn, s.label): s for part in parts for s in part.statements}
    return tuple(found.values())
