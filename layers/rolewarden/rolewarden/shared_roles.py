"""Users of a shared role: whether Rolewarden can tell the user profiles of a domain's role apart, and how.

Without a role of its own, a user profile works as its domain's role. If the domain sets the name of the user profile as
the source identity of sessions, a condition can tell these users apart (`Rules.for_users`):

- A user who is to have **fewer** guardrails than the others: the role gets the guardrail for all sessions except those
  of this user. Every other session stays denied, also one without a source identity, such as that of a job.
- A user who is to have **further** guardrails: the role gets them for sessions of this user only. Sessions without a
  source identity do not get them, so the user can escape by a job. Only a role of its own or an SCP closes this.

A guardrail for all except some is the weaker one, so it needs more. If one of the following does not hold, the role
gets the guardrail for everybody:

- No user profile with one of these names needs the guardrail, in any domain of the covered regions that uses the role.
  The same name in two domains is one source identity, so the stricter rule counts for both.
- The trust policy of the role lets SageMaker set the source identity, and no other principal. Any other principal could
  choose the name of a user.
- The account has no domain in a region that the stack does not cover, and Rolewarden could read every region. Such a
  domain can use the role, too, and the table does not have its user profiles.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from enum import StrEnum
from typing import NamedTuple

from rolewarden.bindings import DEFAULT_USER, EXECUTION, USER_PROFILE, Binding, SharedProfile
from rolewarden.guardrails import EXCEPT, ONLY, Fallback, Guardrail, Rules
from rolewarden.names import folded


class Obstacle(StrEnum):
    """The reason why a user of a shared role cannot be told apart."""

    FALLBACK = "guardrails.yaml has `fallback: boundary`, and a boundary takes the place of whole assignments"
    UNNAMED = "its assignment does not name the user profile exactly, with at least two characters"
    SWITCHED_OFF = "its domain does not set the name of the user profile as source identity"
    TRUST = "the trust policy of the role does not let SageMaker, and only SageMaker, set a source identity"
    OUTSIDE = "the account has a domain in a region that is not covered, or Rolewarden could not read every region"
    SAME_NAME = "a user profile of the same name uses the role, and needs the guardrail"
    BEDROCK_ROLE = "Canvas uses the Bedrock role of the domain for this user, too, and that role has other guardrails"
    TOO_LONG = "the guardrail with the names of its users does not fit an IAM policy"


class SharedUse(NamedTuple):
    """The part of its assignment that a user profile without its own role gets.

    - `lacking`: the guardrails that it needs, and that its sessions do not have.
    - `only`: the guardrails that the role has for the sessions of this user profile's apps only.
    - `free_of`: the guardrails of the domain's default user that do not deny anything to these sessions.
    - `also`: the guardrails of the domain's default user that its assignment lacks, and that its sessions have.
    """

    lacking: tuple[str, ...] = ()
    only: tuple[str, ...] = ()
    free_of: tuple[str, ...] = ()
    also: tuple[str, ...] = ()


class RoleUsers:
    """The user profiles whose sessions of one role can carry a source identity.

    `bound` are the bindings of the role. User profiles without their own role can be among them, in addition to those
    of the bindings table, which `of_domain` reads. A caller who reads SageMaker again passes them, so that neither a
    forged row nor a missing one adds an exception.
    """

    def __init__(
        self, rules: Rules, bound: Sequence[Binding], of_domain: Callable[[str, str, str], Iterable[Binding]]
    ) -> None:
        self._rules = rules
        switched: dict[tuple[str, str, str], set[bool]] = {}
        for one in bound:
            if one.role and one.kind == DEFAULT_USER and one.via == EXECUTION:
                switched.setdefault(one.place, set()).add(one.identifies)
        # Of two readings of a domain, the one without source identities counts.
        identifying = {place for place, found in switched.items() if found == {True}}
        self.role = next((one.role for one in bound if one.role), None)
        self._inheriting: list[Binding] = []
        self._named: list[Binding] = []
        if not identifying:
            return
        places = {one.place for one in bound if one.domain_id and switched.get(one.place) != {False}}
        # `bound` can have a user profile that the table lacks, also one with its own role.
        for one in (*bound, *(found for place in sorted(places) for found in of_domain(*place))):
            if one.kind == USER_PROFILE and one.place in places:
                as_user = one._replace(role=self.role)
                self._named.append(as_user)
                if one.role is None and one.via == EXECUTION and one.place in identifying:
                    self._inheriting.append(as_user)

    def told_apart(
        self, needed: Mapping[str, Guardrail], variants: Mapping[str, Guardrail], may_except: Callable[[], bool]
    ) -> dict[str, Guardrail]:
        """The guardrails that the role gets instead of `needed`, by name.

        - `needed`: the guardrails that the role needs for everybody.
        - `variants`: the guardrails of `Rules.for_users` that can be compiled.
        - `may_except`: whether the role can have exceptions.
        """
        found = dict(needed)
        for name in self._rules.guardrails if self._inheriting else ():
            excepting, only = variants.get(EXCEPT + name), variants.get(ONLY + name)
            if name in needed and excepting and self._can_except(name, excepting) and may_except():
                del found[name]
                found[excepting.name] = excepting
            elif name not in needed and only and any(self._needs(one, name, only) for one in self._inheriting):
                found[only.name] = only
        return found

    def _can_except(self, name: str, excepting: Guardrail) -> bool:
        named = [one for one in self._named if folded(one.user_profile) in excepting.except_users]
        has_user = any(folded(one.user_profile) in excepting.except_users for one in self._inheriting)
        return has_user and not any(name in _names(self._rules, one) for one in named)

    def _needs(self, one: Binding, name: str, only: Guardrail) -> bool:
        return folded(one.user_profile) in only.only_users and name in _names(self._rules, one)


def obstacle(
    rules: Rules,
    shared: SharedProfile,
    use: SharedUse,
    *,
    variants: Mapping[str, Guardrail],
    of_role: Callable[[], Obstacle | None],
) -> Obstacle:
    """The first reason why `use` differs from the assignment of the user profile.

    `of_role` gives the reason why the role can have no exception at all, or None.
    """
    profile, domain = shared.profile, shared.domain
    if rules.fallback is not Fallback.NONE:
        return Obstacle.FALLBACK
    number = rules.deciding(profile._replace(role=domain.role).subject)
    if number is None or folded(profile.user_profile) not in rules.assignments[number].named_users:
        return Obstacle.UNNAMED
    if not domain.identifies:
        return Obstacle.SWITCHED_OFF
    wanted = [*(ONLY + name for name in use.lacking), *(EXCEPT + name for name in use.also)]
    if any(name not in variants for name in wanted):
        return Obstacle.TOO_LONG
    if use.lacking and shared.uses_bedrock_role:
        return Obstacle.BEDROCK_ROLE
    return of_role() or Obstacle.SAME_NAME


def _names(rules: Rules, binding: Binding) -> tuple[str, ...]:
    return tuple(guardrail.name for guardrail in rules.required(binding.subject))
