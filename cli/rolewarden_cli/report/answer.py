"""The headline of the report, and the short answers to the questions that an auditor asks."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property

from rolewarden.verdicts import Verdict

from rolewarden_cli.console import counted
from rolewarden_cli.report.evidence import Evidence, length_in_words, moment
from rolewarden_cli.report.model import Report
from rolewarden_cli.report.people import People, Reach, listed
from rolewarden_cli.report.sections import GENERAL_LIMITS, NOT_RECORDED, SECTION_TITLES, VERDICT_WORDS, Sections

MOST_NAMED = 4
"""Number of names that a sentence has at most."""

_BECAUSE = {
    Verdict.EXEMPT: "by an exemption",
    Verdict.DRIFTED: "because their role lacks a guardrail",
    Verdict.UNENFORCEABLE: "because their role cannot get a guardrail",
    Verdict.OUT_OF_SCOPE: "because no guardrail applies to their role",
    Verdict.COMPLIANT: "because their guardrails deny none of these models",
}

NOT_DEPLOYED = "not-deployed"
"""The ID of the note that says that no stack is deployed."""


@dataclass(frozen=True)
class Question:
    """A question of an auditor, its answer in a sentence, and the ID and title of the place with the evidence."""

    number: int
    text: str
    answer: str
    place: str
    title: str


@dataclass(frozen=True)
class ReportAnswer:
    """The sentences of the headline, and the answers to the questions."""

    report: Report
    people: People
    evidence: Evidence
    sections: Sections

    @cached_property
    def verdicts(self) -> dict[Verdict, int]:
        """The number of roles of all accounts with each verdict, 0 included."""
        found = [verdict for account in self.report.accounts for verdict in account.verdicts.values()]
        return {verdict: found.count(verdict) for verdict in VERDICT_WORDS}

    @property
    def governed(self) -> int:
        """The number of roles that need a guardrail and are not exempt."""
        return sum(self.verdicts[v] for v in (Verdict.COMPLIANT, Verdict.DRIFTED, Verdict.UNENFORCEABLE))

    @property
    def coverage(self) -> str:
        """The percentage of governed roles that are compliant, rounded down, so that 100 % means all."""
        if not self.governed:
            return "none"
        return f"{1000 * self.verdicts[Verdict.COMPLIANT] // self.governed / 10:g} %"

    @property
    def unread(self) -> int:
        """The number of accounts and parts that the command could not read."""
        lines = {
            (account.account, line)
            for account in self.report.accounts
            for line in (*account.plan.unread, *account.access.unread)
        }
        return len(lines) + len(self.report.unreached)

    @property
    def any_model(self) -> str:
        """The number of people who can use a model."""
        number, people = self.people.number(Reach.EVERY, Reach.SOME), self.people.number()
        if not people:
            return "The report has no person: no user profile uses a role of an account."
        whole = (
            f"All {people:,} people" if number == people > 1 else f"{number:,} of {counted(people, 'person', 'people')}"
        )
        return f"{whole} can use at least one generative model."

    @property
    def every_model(self) -> str:
        """The number of people who can use every model, and the reasons."""
        number = self.people.number(Reach.EVERY)
        if not number:
            return "0 people can use every model."
        sizes = {use.evaluated for use in self.people.uses}
        models = f"all {max(sizes):,} models" if len(sizes) == 1 else "every model"
        by = [f"{many:,} {_BECAUSE[verdict]}" for verdict, many in self._reasons]
        return f"{counted(number, 'person', 'people')} can use {models} that the report evaluates: {listed(by)}."

    @property
    def _reasons(self) -> list[tuple[Verdict, int]]:
        found = self.people.by_cause(Reach.EVERY)
        return [(verdict, found[verdict]) for verdict in _BECAUSE if found[verdict]]

    @property
    def exempting(self) -> str:
        """The exemptions by which people can use models; empty without one."""
        found = {}
        for use in self.people.uses:
            for role in use.exempt:
                if one := self.report.exemption(use.account, role):
                    found[one.account, one.role] = one
        if not found:
            return ""
        texts = [
            f"role {one.role} until {one.until}, "
            + (f"approved by {one.approved_by}" if one.approved_by else f"approval {NOT_RECORDED}")
            for one in list(found.values())[:MOST_NAMED]
        ]
        more = f"; and {len(found) - MOST_NAMED:,} more" if len(found) > MOST_NAMED else ""
        noun = "The exemption is" if len(found) == 1 else "The exemptions are"
        return f"{noun}: {'; '.join(texts)}{more}."

    @property
    def covered(self) -> str:
        """The number of roles that have the guardrails that they need."""
        if not self.governed:
            return "No role needs a guardrail."
        have = self.verdicts[Verdict.COMPLIANT]
        roles = counted(self.governed, "role that needs guardrails has them", "roles that need guardrails have them")
        return f"{have:,} of {roles} ({self.coverage})."

    @property
    def incomplete(self) -> str:
        """A warning that the figures can be too small; empty if the command could read everything."""
        if not self.unread:
            return ""
        parts = counted(self.unread, "part")
        return f"The command could not read {parts} of the accounts, so more people may be able to use a model."

    @cached_property
    def questions(self) -> tuple[Question, ...]:
        """The twelve questions."""
        return tuple(
            Question(number, text, answer, place, SECTION_TITLES.get(place.partition("-")[0], "the note above"))
            for number, (text, answer, place) in enumerate(self._asked(), start=1)
        )

    def _asked(self) -> Iterator[tuple[str, str, str]]:
        yield "Who can use any generative model?", self.any_model, "people"
        yield "Who can use every model?", self.every_model, "people-every"
        yield "By which exemption, until when, and approved by whom?", self._exemptions(), "exceptions"
        yield "Which person uses which role?", self._roles(), "access"
        yield "Which roles were unprotected, and for how long?", *self._if_recorded(self._unprotected(), "unprotected")
        yield "Who tampered with guardrails or with Rolewarden?", *self._if_recorded(self._tampered(), "tampering")
        yield "Who changed the rules, and what did that change?", *self._if_recorded(self._rules(), "rules")
        yield "Which accounts and regions are covered?", self._scope(), "scope"
        yield "Was Rolewarden working all the time?", *self._if_recorded(self._alive(), "alive")
        yield "Which service control policies hold?", self._scps(), "scps"
        yield "What is not covered?", self._gaps(), "gaps"
        yield "What changed since the last report?", self._changes(), "since"

    def _if_recorded(self, answer: str, place: str) -> tuple[str, str]:
        return (answer, place) if self.sections.is_deployed else ("Not recorded.", NOT_DEPLOYED)

    def _exemptions(self) -> str:
        exemptions = self.report.rules.exemptions
        if not exemptions:
            return "The rules have no exemption."
        ended = sum(one.until < self.report.at.date() for one in exemptions)
        unapproved = sum(not one.approved_by for one in exemptions)
        parts = [
            f"{counted(len(exemptions), 'exemption')} in the rules",
            f"{ended:,} have ended" if ended else "",
        ]
        parts += [f"{unapproved:,} without a recorded approval" if unapproved else "each with its approval"]
        return f"{listed(filter(None, parts))}. {self.exempting}".strip()

    def _roles(self) -> str:
        roles = {(use.account, role) for use in self.people.uses for role in use.roles}
        used = counted(len(roles), "role")
        return f"{counted(self.people.number(), 'person', 'people')} and {used}; the table has a row for each person."

    def _unprotected(self) -> str:
        found = [one for _, one in self.evidence.unprotected]
        if not found:
            return "No role, as far as the history shows."
        now = sum(one.is_now for one in found)
        longest = max((one.longest for one in found if one.longest is not None), default=None)
        parts = [
            counted(len(found), "role"),
            f"{now:,} of them now" if now else "",
            f"the longest time was {length_in_words(longest)}" if longest is not None else "",
        ]
        return f"{listed(filter(None, parts))}."

    def _tampered(self) -> str:
        found = [one for _, one in self.evidence.tampering]
        if not found:
            return "No caller, as far as the history shows."
        calls = counted(sum(one.times for one in found), "call")
        if not self.report.provenance.has_actors:
            return f"{calls}. The report leaves out callers."
        callers = dict.fromkeys(self.sections.caller(one.actor) for one in found)
        more = f" and {len(callers) - MOST_NAMED:,} more" if len(callers) > MOST_NAMED else ""
        return f"{calls} by {listed(list(callers)[:MOST_NAMED])}{more}."

    def _rules(self) -> str:
        found = [entry for _, entry in self.evidence.rule_changes]
        if not found:
            return "The history has no change of the rules in this period."
        newest = max(found, key=lambda entry: entry.at)
        by = f" by {self.sections.caller(newest.actor)}" if newest.actor else ""
        number = counted(len(found), "change")
        return f"{number}; the newest one{by} on {newest.at:%Y-%m-%d}: {newest.message}."

    def _scope(self) -> str:
        regions = {region for account in self.report.accounts for region in account.access.regions}
        accounts = counted(len(self.report.accounts), "account")
        unreached = f"; {len(self.report.unreached):,} more could not be read" if self.report.unreached else ""
        return f"{accounts} in {listed(sorted(regions))}{unreached}."

    def _alive(self) -> str:
        found = [one for _, one in self.evidence.regularity]
        gaps = [one.longest_gap for one in found if one.longest_gap is not None]
        silent = dict.fromkeys(one.what for one in found if not one.times)
        longest = f"The longest time without a sign of work was {length_in_words(max(gaps))}." if gaps else ""
        unseen = f"The record has no {' and no '.join(silent)}." if silent else ""
        return " ".join(filter(None, (longest, unseen)))

    def _scps(self) -> str:
        number = sum(len(account.prevention.scps) for account in self.report.accounts)
        return f"{counted(number, 'policy', 'policies')} could be read. {self.sections.scps_in_words}"

    def _gaps(self) -> str:
        number = len(self.sections.gaps.rows)
        general = len(GENERAL_LIMITS)
        own = counted(number - general, "limit")
        return f"{own} of these accounts, and {general} that every report has."

    def _changes(self) -> str:
        comparison = self.report.comparison
        if comparison is None:
            return "This report was not compared with an earlier one."
        return f"{counted(len(comparison.changes), 'difference')} since {moment(comparison.at)}."
