"""The model of guardrails.yaml: the rules of a valid file, and which of them apply to a subject."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import date
from enum import StrEnum
from types import MappingProxyType
from typing import Literal, NamedTuple

from rolewarden.errors import RulesError
from rolewarden.matching import matches, matches_any, matches_domain, matches_name
from rolewarden.names import folded, same


class Mode(StrEnum):
    """Whether Rolewarden remediates drift or only reports it."""

    ENFORCE = "enforce"
    OBSERVE = "observe"


class SurplusPolicies(StrEnum):
    """The setting for guardrails that a role no longer needs: they stay, or a sweep requests their detachment."""

    KEEP = "keep"
    DETACH = "detach"


class Fallback(StrEnum):
    """The replacement for guardrails on a role with a full quota: nothing, or a permissions boundary."""

    NONE = "none"
    BOUNDARY = "boundary"


class Hold(StrEnum):
    """The reaction to the first use of a role that may be somebody else's: none, or a hold."""

    NONE = "none"
    SUSPICIOUS = "suspicious"


RuleKind = Literal["deny-all", "deny", "allow", "allow-all"]
"""The models that a rule denies: every model, the listed ones, all but the listed ones, or none by its name."""


class Allowance(StrEnum):
    """Whether a guardrail denies an access path that does not show which model it leads to."""

    DENY = "deny"
    ALLOW = "allow"


class Routes(StrEnum):
    """The access paths to a model that a guardrail closes: all known ones, or only those that Canvas itself uses."""

    ALL = "all"
    CANVAS = "canvas"


class BedrockRule(NamedTuple):
    """The rule of a guardrail for the models of Amazon Bedrock.

    - `patterns`: model IDs with the wildcards `*` and `?`. Empty for "deny-all" and "allow-all".
    - `allow_arns`: ARNs that lead to a model without naming it, and that stay usable.
    - `batch`: whether the guardrail denies batch jobs.
    - `rerank`: whether the guardrail denies reranking. It has no effect if `indirect` is allowed.
    - `profiles`: the geographies of the only inference profiles of AWS that stay usable. Empty for every geography.
    - `regions`: names or patterns of the only regions in which models stay usable. Empty for every region.
    - `only_through`: ARNs or patterns of the application inference profiles through which alone models stay usable.
      Empty if calls without one stay usable.
    - `require_bedrock_guardrail`: ARNs of Amazon Bedrock Guardrails, one of which each call must name. An ARN without a
      version stands for every version. Empty if calls without one stay usable.
    """

    kind: RuleKind
    patterns: tuple[str, ...] = ()
    customization: Allowance = Allowance.DENY
    indirect: Allowance = Allowance.DENY
    allow_arns: tuple[str, ...] = ()
    batch: Allowance = Allowance.ALLOW
    rerank: Allowance = Allowance.DENY
    profiles: tuple[str, ...] = ()
    regions: tuple[str, ...] = ()
    only_through: tuple[str, ...] = ()
    require_bedrock_guardrail: tuple[str, ...] = ()


class JumpStartRule(NamedTuple):
    """The rule of a guardrail for the models of SageMaker JumpStart.

    - `patterns`: as in BedrockRule.
    - `hubs`: names of private hubs whose models stay usable. Only for "deny-all".
    - `data_jobs`: whether the guardrail denies the jobs of serverless customization that prepare data.
    - `gated`: whether the guardrail denies gated models by reference. "deny-all" always does.
    """

    kind: RuleKind
    patterns: tuple[str, ...] = ()
    customization: Allowance = Allowance.DENY
    weights: Allowance = Allowance.ALLOW
    autopilot: Allowance = Allowance.ALLOW
    indirect: Allowance = Allowance.DENY
    data_jobs: Allowance = Allowance.DENY
    hubs: tuple[str, ...] = ()
    gated: Allowance = Allowance.ALLOW


class AssistantsRule(NamedTuple):
    """The rule of a guardrail for AWS's assistants. They do not show their models, so it denies all of them."""

    kind: Literal["deny-all"] = "deny-all"


class ExemptRole(NamedTuple):
    """The name or pattern of roles without guardrails, and their account. An empty account stands for any account."""

    account: str
    role: str


class Guardrail(NamedTuple):
    """A named set of denies on models.

    - `pass_roles`: patterns of the names of the only roles that a covered role can pass to a service. Empty means that
      the guardrail does not restrict this.
    - `exempt_roles`: the roles of all exemptions and of `never_govern`. A role with the guardrail can neither pass nor
      assume them, because it would get around its denies with them.
    - `api_keys`: whether the guardrail denies API keys for models.
    - `fixed_tags`: whether a covered role can change no tag of a domain or user profile, because an assignment of the
      file matches tags.
    - `trusted_taggers`: the principals that can change these tags, even as a covered role.
    - `other_profiles`: whether a covered role can open and start the applications of other user profiles.
    - `shared_spaces`: whether a covered role can work in shared spaces, which run as a role of the domain.
    - `except_users`, `only_users`: names of user profiles, in lower case. The guardrail then denies nothing to sessions
      with one of these names as their source identity, or it denies something only to these. See `Rules.for_users`.
    """

    name: str
    bedrock: BedrockRule | None = None
    jumpstart: JumpStartRule | None = None
    routes: Routes = Routes.ALL
    mode: Mode = Mode.ENFORCE
    assistants: AssistantsRule | None = None
    pass_roles: tuple[str, ...] = ()
    exempt_roles: tuple[ExemptRole, ...] = ()
    fixed_tags: bool = False
    api_keys: Allowance = Allowance.ALLOW
    trusted_taggers: tuple[str, ...] = ()
    other_profiles: Allowance = Allowance.ALLOW
    shared_spaces: Allowance = Allowance.ALLOW
    except_users: tuple[str, ...] = ()
    only_users: tuple[str, ...] = ()


EXCEPT, ONLY = "except.", "only."
"""The beginnings of the names of guardrails for some users of a shared role. The name of a guardrail of the file has no
dot, so it cannot begin so."""


class Subject(NamedTuple):
    """A use of a role, with all attributes that an assignment can match.

    An attribute that does not apply is empty: a role that `also_govern` covers has no domain, and the default user of a
    domain has no profile name.
    """

    account: str
    role: str
    domain_id: str = ""
    domain_name: str = ""
    user_profile: str = ""
    tags: Mapping[str, str] = MappingProxyType({})


class Assignment(NamedTuple):
    """The guardrails that matching subjects need.

    A subject matches if it meets one of the patterns of each kind that is not empty, and all `tags`.

    - `principals`: the callers that belong to the assignment under prevention: ARNs, and paths that end in `/*`. They
      do not decide which subjects match.
    - `source_identities`: the names of user profiles. If any, the principals belong to the assignment only in sessions
      with one of these names as their source identity.
    """

    guardrails: tuple[str, ...]
    accounts: tuple[str, ...] = ()
    domains: tuple[str, ...] = ()
    user_profiles: tuple[str, ...] = ()
    roles: tuple[str, ...] = ()
    tags: Mapping[str, str] = MappingProxyType({})
    principals: tuple[str, ...] = ()
    source_identities: tuple[str, ...] = ()

    @property
    def matches_everyone(self) -> bool:
        """Whether every subject matches, so that no assignment below this one is ever used."""
        return not (self.accounts or self.domains or self.user_profiles or self.roles or self.tags)

    @property
    def named_users(self) -> tuple[str, ...]:
        """The user profiles that the assignment names exactly, in lower case. A source identity has two characters.

        A pattern is not among them, because a condition that ignores case takes no pattern.
        """
        names = (folded(name) for name in self.user_profiles if not set(name) & set("*?"))
        return tuple(name for name in names if len(name) > 1)

    def matches(self, subject: Subject) -> bool:
        """Whether this assignment applies to `subject`."""
        return (
            matches_any(self.accounts, subject.account)
            and matches_domain(self.domains, subject.domain_id, subject.domain_name)
            and (not self.user_profiles or matches_name(self.user_profiles, subject.user_profile))
            and (not self.roles or matches_name(self.roles, subject.role))
            and all(key in subject.tags and matches(pattern, subject.tags[key]) for key, pattern in self.tags.items())
        )


class Exemption(NamedTuple):
    """A role that needs no guardrail up to and including the day `until` (UTC), and the reason.

    - `role`: the exact name of one role.
    - `account`: the account of the role. Empty for the account of the stack, if the stack covers no other.
    - `role_id`: the unique ID of the one role that is exempt. Empty if a deployment confirms the role.
    - `domains`, `user_profiles`: patterns of the subjects that can use the role, as in an Assignment. If both are
      empty, the exemption names no subjects.
    - `ticket`, `approved_by`: the record of the approval, for people. Empty if the file does not name them.
    """

    role: str
    until: date
    reason: str = ""
    account: str = ""
    domains: tuple[str, ...] = ()
    user_profiles: tuple[str, ...] = ()
    role_id: str = ""
    ticket: str = ""
    approved_by: str = ""

    @property
    def names_subjects(self) -> bool:
        """Whether the exemption says which subjects can use the role."""
        return bool(self.domains or self.user_profiles)

    def covers(self, subject: Subject) -> bool:
        """Whether the exemption applies to the use of the role by `subject`. A role without a domain has no user."""
        return not subject.domain_id or (
            matches_domain(self.domains, subject.domain_id, subject.domain_name)
            and (not self.user_profiles or matches_name(self.user_profiles, subject.user_profile))
        )


class NeverGoverned(NamedTuple):
    """Roles that get no guardrail, whichever subject names them.

    - `role`: a pattern of the names of roles.
    - `account`: the account of the roles. Empty for the account of the stack, if the stack covers no other.
    """

    role: str
    account: str = ""

    def covers(self, account: str, role: str, *, home: str) -> bool:
        """Whether this entry means a role of `account`. Without an account, it means those of the account `home`."""
        return (self.account or home) == account and matches_name([self.role], role)


class AlsoGovern(NamedTuple):
    """Roles that need guardrails although no domain or user profile uses them.

    - `roles`: patterns of the names of roles.
    - `trusting`: principals whose roles are covered, as `Trust` has them: a role that one of these can assume.
    """

    roles: tuple[str, ...] = ()
    trusting: tuple[str, ...] = ()

    def __bool__(self) -> bool:
        return bool(self.roles or self.trusting)


class Rules(NamedTuple):
    """A valid guardrails.yaml.

    - `trusted_taggers`: the ARNs of the only principals that can set the tags by which assignments match. Empty if the
      file names none.
    """

    guardrails: Mapping[str, Guardrail]
    assignments: tuple[Assignment, ...]
    exemptions: tuple[Exemption, ...] = ()
    also_govern: AlsoGovern = AlsoGovern()
    surplus: SurplusPolicies = SurplusPolicies.KEEP
    fallback: Fallback = Fallback.NONE
    never_govern: tuple[NeverGoverned, ...] = ()
    hold: Hold = Hold.NONE
    trusted_taggers: tuple[str, ...] = ()

    def required(self, subject: Subject) -> tuple[Guardrail, ...]:
        """The guardrails that `subject` needs: those of the first assignment that matches it."""
        number = self.deciding(subject)
        names = self.assignments[number].guardrails if number is not None else ()
        return tuple(self.guardrails[name] for name in names)

    def deciding(self, subject: Subject) -> int | None:
        """The position of the first assignment that matches `subject`, from 0; None if none does."""
        return next((number for number, one in enumerate(self.assignments) if one.matches(subject)), None)

    @property
    def for_users(self) -> Mapping[str, Guardrail]:
        """The guardrails that tell the users of a shared role apart by their source identity, by name.

        Each guardrail can have two of them: one for all sessions except those of users whose assignment lacks the
        guardrail, and one for sessions of users whose assignment has it. They name the users of all assignments, so
        `rolewarden.shared_roles` decides for each role whether they fit. Empty with `fallback: boundary`, because a
        boundary takes the place of whole assignments.
        """
        found: dict[str, Guardrail] = {}
        for name, guardrail in self.guardrails.items() if self.fallback is Fallback.NONE else ():
            with_it = [one for one in self.assignments if name in one.guardrails]
            without = [one for one in self.assignments if name not in one.guardrails]
            free = tuple(dict.fromkeys(user for one in without for user in one.named_users))
            bound = tuple(dict.fromkeys(user for one in with_it for user in one.named_users))
            if with_it and free:
                found[EXCEPT + name] = guardrail._replace(name=EXCEPT + name, except_users=free)
            if without and bound:
                found[ONLY + name] = guardrail._replace(name=ONLY + name, only_users=bound)
        return found

    def exemption(self, account: str, role: str, today: date, *, home: str) -> Exemption | None:
        """The exemption of a role of `account` that applies on the day `today` (UTC); None if no exemption applies.

        An exemption without an account applies in the account `home` only.
        """
        in_force = (e for e in self.exemptions if today <= e.until and (e.account or home) == account)
        return next((e for e in in_force if same(e.role, role)), None)

    def never(self, account: str, role: str, *, home: str) -> NeverGoverned | None:
        """The entry of `never_govern` for a role of `account`; None without one."""
        return next((entry for entry in self.never_govern if entry.covers(account, role, home=home)), None)

    def confirms(self, role: str) -> bool:
        """Whether the file names a role by its exact name, in an assignment or in `also_govern`."""
        named = (*self.also_govern.roles, *(name for one in self.assignments for name in one.roles))
        return any(same(name, role) for name in named if not set(name) & set("*?"))

    def need_accounts(self) -> None:
        """Raise RulesError if an exemption, or an entry of `never_govern`, names no account.

        A stack that covers several accounts needs the account of each.
        """
        for number, entry in enumerate(self.never_govern, start=1):
            if not entry.account:
                raise RulesError(
                    f"guardrails.yaml: never_govern[{number}]: `{entry.role}` names no account, and the stack covers "
                    'an organization: write `account: "111122223333"` with the ID of the role\'s account'
                )
        for number, exemption in enumerate(self.exemptions, start=1):
            if not exemption.account:
                raise RulesError(
                    f"guardrails.yaml: exemptions[{number}]: `{exemption.role}` names no account, and the stack covers "
                    'an organization: write `account: "111122223333"` with the ID of the role\'s account'
                )

    @property
    def enforced_together(self) -> tuple[tuple[str, ...], ...]:
        """The sets of guardrails that an assignment enforces together, each set once, as sorted names."""
        sets = (
            tuple(sorted(name for name in assignment.guardrails if self.guardrails[name].mode is Mode.ENFORCE))
            for assignment in self.assignments
        )
        return tuple(dict.fromkeys(filter(None, sets)))

    @property
    def prevents(self) -> bool:
        """Whether an assignment names principals, so that the file is also meant for service control policies."""
        return any(assignment.principals for assignment in self.assignments)

    @property
    def observed(self) -> tuple[str, ...]:
        """The names of the guardrails in observe mode."""
        return tuple(name for name, guardrail in self.guardrails.items() if guardrail.mode is Mode.OBSERVE)

    @property
    def observes(self) -> bool:
        """Whether every guardrail is in observe mode, so that Rolewarden changes no role."""
        return all(guardrail.mode is Mode.OBSERVE for guardrail in self.guardrails.values())

    @property
    def names_principals(self) -> bool:
        """Whether an assignment names its principals, which prepares the file for service control policies."""
        return any(assignment.principals for assignment in self.assignments)

    @property
    def asks_for_tags(self) -> bool:
        """Whether an assignment matches tags. Otherwise a sweep does not need to list them."""
        return bool(self.tag_keys)

    @property
    def tag_keys(self) -> frozenset[str]:
        """The keys of the tags by which assignments match."""
        return frozenset(key for assignment in self.assignments for key in assignment.tags)
