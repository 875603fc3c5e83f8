"""The tables of the report's sections: what each has about people, exceptions, tampering, rules, scope and health."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property

from rolewarden.bindings import USER_PROFILE
from rolewarden.denials import Denials, Target, TargetKind, targets_of
from rolewarden.guardrails import BedrockRule, Exemption, Guardrail, JumpStartRule, Mode
from rolewarden.matching import matches_name
from rolewarden.names import same
from rolewarden.policies import compile_guardrail
from rolewarden.verdicts import Verdict

from rolewarden_cli.access import Row
from rolewarden_cli.console import counted
from rolewarden_cli.diff import PARTITION
from rolewarden_cli.figures import MEASURED_DAYS
from rolewarden_cli.history import Entry
from rolewarden_cli.models import BEDROCK, JUMPSTART
from rolewarden_cli.report.controls import AWS_CONTROLS, CONTROLS
from rolewarden_cli.report.evidence import Evidence, find_interruptions, length_in_words, moment
from rolewarden_cli.report.model import AccountReport, Finding, FindingKind, Report, short_actor
from rolewarden_cli.report.people import People, Reach, RoleUse, listed
from rolewarden_cli.report.tables import PageTable, TableCell, coded, make_table, stated
from rolewarden_cli.stack import StackRules

MOST_ENTRIES = 1000
"""Number of the newest history entries that the page lists; the figures count all entries."""

VERDICT_WORDS = {
    Verdict.COMPLIANT: "has all its guardrails",
    Verdict.DRIFTED: "lacks a guardrail",
    Verdict.UNENFORCEABLE: "cannot get a guardrail",
    Verdict.EXEMPT: "exempt from guardrails",
    Verdict.OUT_OF_SCOPE: "no guardrail applies",
}
"""The verdicts in words, in the order of their tiles and of their colors in report.css."""

FAMILY_NAMES = {BEDROCK: "Amazon Bedrock", JUMPSTART: "SageMaker JumpStart"}
"""The names of the families of models."""

NOT_RECORDED = "not recorded"

_STACK_RULES = {
    StackRules.NONE: "none to compare",
    StackRules.SAME: "the rules of this file",
    StackRules.OTHER: "other rules than this file",
    StackRules.UNKNOWN: "not known",
}

GENERAL_LIMITS = (
    ("use of models", "The report shows who can use a model. It does not show who has used one, or for what."),
    (
        "other principals",
        "Administrators, other IAM users and roles without a SageMaker domain can call models. The report covers roles "
        "that SageMaker Canvas uses, and those that `also_govern` names.",
    ),
    (
        "the time before a remediation",
        "Rolewarden attaches a guardrail again after a change. Until then the role is unprotected, unless a service "
        "control policy denies the models.",
    ),
    (
        "access paths that stay open",
        "Some ways to a model cannot be closed by a policy, for example code of the user that calls another cloud. The "
        "page `What stays open on purpose` of the documentation lists them.",
    ),
)
"""Limits that every report has."""


@dataclass(frozen=True)
class Sections:
    """The tables of a report. A table has the account of each row if the report is about several."""

    report: Report
    people: People
    evidence: Evidence

    @property
    def is_deployed(self) -> bool:
        """Whether a stack is deployed in at least one of the accounts."""
        return any(account.plan.deployed for account in self.report.accounts)

    @property
    def undeployed(self) -> tuple[str, ...]:
        """The accounts without a deployed stack."""
        return tuple(account.account for account in self.report.accounts if not account.plan.deployed)

    def _table(
        self,
        id_: str,
        caption: str,
        heads: Sequence[str],
        rows: Iterable[tuple[str, Sequence[str | TableCell]]],
        empty: str,
    ) -> PageTable:
        """A table whose rows are pairs of an account and the cells."""
        if not self.report.is_of_several:
            return make_table(id_, caption, heads, (cells for _, cells in rows), empty)
        first, *others = heads
        with_account = ((cells[0], account or "all", *cells[1:]) for account, cells in rows)
        return make_table(id_, caption, (first, "Account", *others), with_account, empty)

    def people_with(self, reach: Reach) -> PageTable:
        """The people with a reach, by role."""
        rows = ((use.account, self._of_use(use)) for use in self.people.of(reach))
        caption = f"People who can use {reach}"
        return self._table(f"people-{reach.name.lower()}", caption, _USE_HEADS, rows, f"0 people can use {reach}.")

    @cached_property
    def other_uses(self) -> PageTable:
        """The uses of roles that are no people."""
        rows = ((use.account, self._of_use(use)) for use in self.people.others)
        heads = ("Used by", *_USE_HEADS[1:])
        empty = "Each role belongs to user profiles only."
        return self._table("other-uses", "Other users of roles, which are no people", heads, rows, empty)

    def _of_use(self, use: RoleUse) -> Sequence[str | TableCell]:
        users = TableCell(
            listed(row.label for row in use.rows),
            counted(len(use.rows), "person", "people") if len(use.rows) > 1 else "",
        )
        return (
            users,
            use.sessions,
            listed(use.guardrails) or "none",
            stated(use.verdict.value, use.verdict.value, self._because(use)),
            self._models(use),
            self._certainty(use),
        )

    def _models(self, use: RoleUse) -> TableCell:
        families = [
            f"{name} {use.of_family(family):,}" for family, name in FAMILY_NAMES.items() if use.of_family(family)
        ]
        of_set = f"model set {self.people.set_of(use)}" if use.reach is Reach.SOME else ""
        return TableCell(f"{len(use.models):,} of {use.evaluated:,}", listed(filter(None, (*families, of_set))))

    def _because(self, use: RoleUse) -> str:
        words = VERDICT_WORDS[use.verdict]
        exempt = [one for role in use.exempt if (one := self.report.exemption(use.account, role))]
        if use.verdict is Verdict.EXEMPT:
            return listed(f"{words} until {one.until}" for one in exempt) or words
        return listed((words, *(f"role {one.role} is exempt until {one.until}" for one in exempt)))

    @staticmethod
    def _certainty(use: RoleUse) -> str:
        if not use.uncertain:
            return "IAM simulated each decision"
        return f"IAM simulated each decision; {use.uncertain:,} can be another one in a live call"

    @cached_property
    def model_sets(self) -> PageTable:
        """The models of each set, by name."""
        rows = ((f"set {number}", f"{len(models):,}", listed(models)) for models, number in self.people.sets.items())
        return make_table("model-sets", "Models of each set", ("Set", "Number", "Models"), rows, "")

    @cached_property
    def exceptions(self) -> PageTable:
        """The exempt roles, and those that never get guardrails."""
        heads = (
            "Role", "Reason", "Ticket", "Approved by", "Until", "Days left", "Used by", "Can use", "Accepted now",
        )  # fmt: skip
        rows = [*self._exemptions(), *self._never_governed()]
        return self._table("exceptions-table", "Exceptions from the rules", heads, rows, "The rules have no exception.")

    def _exemptions(self) -> Iterator[tuple[str, Sequence[str | TableCell]]]:
        accounts = {account.account: account for account in self.report.accounts}
        for exemption in self.report.rules.exemptions:
            places = [exemption.account] if exemption.account else list(accounts)
            for place in places:
                yield place, self._exemption(exemption, accounts.get(place))

    def _exemption(self, exemption: Exemption, account: AccountReport | None) -> Sequence[str | TableCell]:
        left = (exemption.until - self.report.at.date()).days
        known = (
            exemption.role,
            exemption.reason or NOT_RECORDED,
            exemption.ticket or NOT_RECORDED,
            exemption.approved_by or NOT_RECORDED,
            str(exemption.until),
            stated(f"{left:,}", "warn") if 0 <= left <= _SOON else "ended" if left < 0 else f"{left:,}",
        )
        if account is None:
            return (*known, "account not in this report", "not known", "not known")
        doubts = [doubt for doubt in account.plan.doubts if same(doubt.role, exemption.role)]
        verdict = next((v for role, v in account.verdicts.items() if same(role, exemption.role)), None)
        if left < 0:
            accepted = TableCell("no", "the exemption has ended")
        elif doubts:
            accepted = stated("in doubt", "bad", listed(doubt.reason for doubt in doubts))
        elif verdict is None:
            accepted = TableCell("not used", "a domain or user profile does not use the role")
        else:
            accepted = TableCell("yes" if verdict is Verdict.EXEMPT else "no", VERDICT_WORDS[verdict])
        return (*known, *self._users_of(account, exemption.role), accepted)

    def _never_governed(self) -> Iterator[tuple[str, Sequence[str | TableCell]]]:
        for entry in self.report.rules.never_govern:
            for account in self.report.accounts:
                if (entry.account or account.account) == account.account:
                    reason = "guardrails.yaml has the role under `never_govern`"
                    yield (
                        account.account,
                        (entry.role, coded(reason), NOT_RECORDED, NOT_RECORDED, "no end", "no end",
                         *self._users_of(account, entry.role), "yes"),
                    )  # fmt: skip

    def _users_of(self, account: AccountReport, pattern: str) -> tuple[str, str]:
        """The users of the roles that a name or pattern means, and the models that the roles reach."""
        access = account.access
        rows = [row for row in access.rows if any(matches_name([pattern], role) for role in _roles_of(row))]
        if not rows:
            return "not used", "nothing was evaluated"
        sessions = {
            session
            for row in rows
            for session, role in ((row.session, row.role), (row.bedrock_role, row.bedrock_role))
            if role and matches_name([pattern], role)
        }
        decided = (enumerate(access.decisions[session]) for session in sessions)
        reached = {place for decisions in decided for place, decision in decisions if decision.allowed}
        return listed(row.label for row in rows), f"{len(reached):,} of {len(access.models):,} models"

    @cached_property
    def all_findings(self) -> tuple[Finding, ...]:
        """The findings of all accounts, the worst first."""
        kinds = list(FindingKind)
        return tuple(sorted(self.report.findings(), key=lambda one: kinds.index(one.kind)))

    def findings(self, *, noted: bool) -> PageTable:
        """The findings that are only noted, or the others, the worst first."""
        rows = ((one.account, _of_finding(one)) for one in self.all_findings if one.kind.is_noted is noted)
        heads = ("About", "Finding", "Reason", "Recommended action")
        if noted:
            return self._table("findings-noted", "Only noted", heads, rows, "The report notes nothing else.")
        empty = "The report found nothing that is broken or unknown."
        return self._table("findings-broken", "To be fixed or decided", heads, rows, empty)

    @cached_property
    def unprotected(self) -> PageTable:
        """The times in which roles were unprotected."""
        rows = (
            (
                account,
                (
                    one.role,
                    stated("unprotected", "bad", f"since {moment(one.since)}") if one.is_now else stated("yes", "good"),
                    f"{one.times:,}",
                    length_in_words(one.longest) if one.longest is not None else "not known",
                    length_in_words(one.total) if one.total is not None else "not known",
                    f"{one.unmeasured:,}",
                    "only reported, in observe mode" if one.observed else "",
                ),
            )
            for account, one in self.evidence.unprotected
        )
        heads = ("Role", "Protected now", "Times", "Longest time", "Together", "Times of unknown length", "Remark")
        empty = "The history shows no time in which a role was unprotected."
        return self._table("unprotected-table", "Times without protection, by role", heads, rows, empty)

    @cached_property
    def measured(self) -> PageTable:
        """The seconds that drills measured."""
        rows = [
            (row.region, row.account, row.figure.meaning, f"{row.p50:.1f}", f"{row.p95:.1f}", f"{row.maximum:.1f}",
             counted(row.count, "time"))
            for account in self.report.accounts
            if account.status
            for row in account.status.measured.rows
        ]  # fmt: skip
        heads = ("Region", "Account", "Seconds", "Half of all (p50)", "95 % of all (p95)", "Longest", "Measured")
        empty = f"No drill was measured in the last {MEASURED_DAYS} days."
        return make_table("drills-table", "Seconds that drills measured", heads, dict.fromkeys(rows), empty)

    @cached_property
    def tampering(self) -> PageTable:
        """The calls that took guardrails away or changed Rolewarden."""
        rows: list[tuple[str, Sequence[str | TableCell]]] = []
        for account, one in self.evidence.tampering:
            aside = listed(filter(None, (f"for {one.person}" if one.person else "",
                                         f"not verified: {one.unverified}" if one.unverified else "")))  # fmt: skip
            caller = TableCell(self.caller(one.actor), aside)
            rows.append((account, (one.call or "not known", caller, one.did, f"{one.times:,}",
                                   listed(one.about) or "Rolewarden", moment(one.first),
                                   moment(one.last))))  # fmt: skip
        heads = ("Call", "Caller", "Effect of the calls", "Times", "About", "First", "Last")
        empty = "The history has no call that took a guardrail away or changed Rolewarden."
        return self._table("tampering-table", "Calls against the guardrails, by caller", heads, rows, empty)

    def caller(self, actor: str) -> str:
        """A caller in short, or that the report leaves out callers."""
        return short_actor(actor) if self.report.provenance.has_actors else "left out"

    @cached_property
    def entries(self) -> tuple[tuple[str, Entry], ...]:
        """The entries about drift of all accounts, newest first, each with its account."""
        found = [(account.account, entry) for account in self.report.accounts for entry in account.drift]
        return tuple(sorted(found, key=lambda pair: pair[1].at, reverse=True))

    @cached_property
    def newest(self) -> PageTable:
        """The newest history entries."""
        rows = ((account, self._of_entry(entry)) for account, entry in self.entries[:MOST_ENTRIES])
        heads = ("Time", "Entry", "About", "Call", "Caller")
        caption = f"The newest {len(self.entries[:MOST_ENTRIES]):,} of {len(self.entries):,} history entries"
        return self._table("history-table", caption, heads, rows, "The history has no entry of this period.")

    def _of_entry(self, entry: Entry) -> Sequence[str | TableCell]:
        did = " ".join(filter(None, (entry.remediation or entry.verdict, listed(entry.policies))))
        why = ": ".join(filter(None, (did, entry.reason)))
        asides = (
            f"for {entry.person}" if entry.person else "",
            entry.source_address,
            f"not verified: {entry.unverified}" if entry.unverified else "",
            f"erased on {entry.erased}" if entry.erased else "",
        )
        caller = TableCell(self.caller(entry.actor), listed(filter(None, asides)))
        return moment(entry.at), TableCell(entry.kind, why), entry.about, entry.event, caller

    @cached_property
    def rule_changes(self) -> PageTable:
        """The changes of the rules."""
        rows: list[tuple[str, Sequence[str | TableCell]]] = []
        for account, entry in self.evidence.rule_changes:
            more = int(entry.row.get("more_changes") or 0)
            lines = [*entry.changes, *([f"and {counted(more, 'further line')}"] if more else [])]
            digests = " to ".join(filter(None, (entry.earlier_digest, entry.digest)))
            doubt = f"not verified: {entry.unverified}" if entry.unverified else ""
            by = TableCell(self.caller(entry.actor), listed(filter(None, (entry.person, doubt))))
            rows.append((account, (moment(entry.at), by, entry.event or "not known", entry.message,
                                   "\n".join(lines) or "no line", digests)))  # fmt: skip
        heads = ("Time", "Changed by", "Call", "In short", "Changed access", "Digests of the rules")
        empty = "The history has no change of the rules in this period."
        return self._table("rule-changes", "Changes of the rules", heads, rows, empty)

    @cached_property
    def guardrails(self) -> PageTable:
        """The guardrails with their modes."""
        rows = (
            (name, _mode(one), _families(one), self._left_open(one))
            for name, one in self.report.rules.guardrails.items()
        )
        heads = ("Guardrail", "Mode", "It denies", "It leaves open")
        return make_table("guardrails", "The guardrails of the rules", heads, rows, "The rules have no guardrail.")

    @cached_property
    def _access_paths(self) -> tuple[Target, ...]:
        return tuple(one for one in targets_of((self.report.rules,), PARTITION) if one.kind is TargetKind.PATH)

    def _left_open(self, guardrail: Guardrail) -> str:
        """The access paths that a guardrail leaves open. Its statements decide, because some options change others."""
        policies = compile_guardrail(guardrail, PARTITION)
        denials = Denials(statement for policy in policies for statement in policy.document["Statement"])
        found = [f"all of {FAMILY_NAMES[family]}" for family, rule in _rules_of(guardrail) if rule is None]
        found += [path.name for path in self._access_paths if not denials.covers(path)]
        return "; ".join(found) or "no known access path"

    @cached_property
    def scope(self) -> PageTable:
        """The accounts and regions."""
        rows: list[tuple[str | TableCell, ...]] = []
        for account in self.report.accounts:
            covered = listed(account.watch.regions) if account.watch and account.watch.regions else ""
            sweep = account.status.last_sweep if account.status else None
            people = sum(row.kind == USER_PROFILE for row in account.access.rows)
            rows.append((
                account.account,
                listed(account.access.regions),
                TableCell("deployed" if account.plan.deployed else "not deployed", covered and f"covers {covered}"),
                _STACK_RULES[account.plan.stack],
                f"{people:,}",
                f"{len(account.plan.roles):,}",
                f"{len(account.access.models):,}",
                moment(sweep.began) if sweep else "not known",
                moment(account.access.at),
            ))  # fmt: skip
        rows += [
            (one.account, stated("not read", "bad"), one.why, *["not known"] * 6) for one in self.report.unreached
        ]  # fmt: skip
        heads = ("Account", "Regions read", "Stack", "Rules of the stack", "People", "Roles", "Models",
                 "Last full evaluation", "Read at")  # fmt: skip
        return make_table("scope-table", "Accounts and regions", heads, rows, "")

    @cached_property
    def regularity(self) -> PageTable:
        """The regularity of sweeps and drills."""
        rows = (
            (
                account,
                (one.what, one.place, f"{one.times:,}", moment(one.first), moment(one.last),
                 length_in_words(one.longest_gap) if one.longest_gap is not None else "not known"),
            )
            for account, one in self.evidence.regularity
        )  # fmt: skip
        heads = ("Sign of work", "Place", "Times", "First", "Last", "Longest time without one")
        return self._table("regularity", "Sweeps and drills", heads, rows, "")

    @cached_property
    def alarms(self) -> PageTable:
        """The states of the alarms that a silent stack raises."""
        rows = (
            (account.account, (name, stated(state, "good" if state == "OK" else "bad")))
            for account in self.report.accounts
            if account.watch
            for name, state in account.watch.alarms
        )
        empty = "The state of HeartbeatAlarm and EventPathsAlarm is not known."
        return self._table("alarms", "Alarms about a silent Rolewarden", ("Alarm", "State now"), rows, empty)

    @cached_property
    def interruptions(self) -> PageTable:
        """The findings about the event path."""
        rows = (
            (account.account, (moment(entry.at), entry.reason, entry.message))
            for account in self.report.accounts
            for entry in find_interruptions(account.history)
        )
        heads = ("Time", "Finding", "Message")
        empty = "The history has no finding that events did not arrive."
        return self._table("interruptions", "Findings about the path of events", heads, rows, empty)

    @cached_property
    def scps(self) -> PageTable:
        """The service control policies of the accounts."""
        rows: list[tuple[str, Sequence[str | TableCell]]] = []
        for account in self.report.accounts:
            found = account.prevention
            rows += [
                (account.account, (scp.name, "rules of guardrails.yaml" if scp.of_rules else "another one"))
                for scp in found.scps
            ]
            if found.unread:
                rows.append((account.account, ("not read", found.unread)))
        empty = "No service control policy restricts an account of this report."
        return self._table("scps-table", "Service control policies", ("Policy", "Kind"), rows, empty)

    @property
    def scps_in_words(self) -> str:
        """Whether the SCPs have the statements of the rules."""
        if not self.report.rules.names_principals:
            return "guardrails.yaml names no principals, so it asks for no service control policy."
        found = {account.account: account.prevention.equals_rules for account in self.report.accounts}
        whole = [account for account, equal in found.items() if equal]
        lacking = [account for account, equal in found.items() if equal is False]
        unknown = [account for account, equal in found.items() if equal is None]
        return " ".join(filter(None, (
            f"The policies of {listed(whole)} have every statement of the rules." if whole else "",
            f"The policies of {listed(lacking)} lack statements of the rules." if lacking else "",
            f"The policies of {listed(unknown)} could not be compared with the rules." if unknown else "",
        )))  # fmt: skip

    @cached_property
    def gaps(self) -> PageTable:
        """Everything that the rules or this report do not cover."""
        heads = ("What", "Where or whom", "Why it is not covered")
        return self._table("gaps-table", "Limits of the rules and of this report", heads, [*self._gaps()], "")

    def _gaps(self) -> Iterator[tuple[str, Sequence[str | TableCell]]]:
        for one in self.report.unreached:
            yield one.account, (stated("account not read", "bad"), one.account, one.why)
        for account in self.report.accounts:
            plan, place = account.plan, account.account
            for line in dict.fromkeys((*plan.unread, *account.access.unread)):
                yield place, (stated("part not read", "bad"), place, line)
            for line in plan.outside:
                yield place, (stated("region not covered", "bad"), place, line)
            for named in plan.named:
                if not named.governed:
                    where = f"{named.domain_name or named.domain_id}: {named.via}"
                    why = f"role of account {named.role_account}, no guardrail is known to apply"
                    yield place, ("role named by a setting", TableCell(named.role, where), why)
            for shared in (one for one in plan.shared if one.guardrails):
                who = f"{shared.domain_name or shared.domain_id}/{shared.user_profile}"
                lacks = f"it shares the role {shared.role} of its domain and lacks {listed(shared.guardrails)}"
                why = ": ".join(filter(None, (lacks, shared.why)))
                yield place, ("user profile without a role of its own", who, why)
            for role, verdict in account.verdicts.items():
                if verdict is Verdict.UNENFORCEABLE:
                    yield place, ("role that cannot be protected", role, VERDICT_WORDS[verdict])
        for name, guardrail in self.report.rules.guardrails.items():
            if guardrail.mode is Mode.OBSERVE:
                why = "Rolewarden reports the policies that it would attach, and changes no role"
                yield "", ("guardrail in observe mode", name, why)
        yield from (("", (what, "every account", coded(why))) for what, why in GENERAL_LIMITS)

    @cached_property
    def changes(self) -> PageTable:
        """The differences from the earlier report."""
        found = self.report.comparison.changes if self.report.comparison else ()
        rows = ((one.account, (one.what, one.about, one.before, one.now)) for one in found)
        heads = ("Change", "About", "In the earlier report", "In this report")
        empty = "The data of both reports are the same."
        return self._table("changes-table", "Differences from the earlier report", heads, rows, empty)

    @cached_property
    def controls(self) -> PageTable:
        """The control objectives that the sections support."""
        rows = (
            (TableCell(f"{one.control} {one.title}", one.framework), one.says, one.how, listed(_titles(one.sections)),
             one.source)
            for one in CONTROLS
        )  # fmt: skip
        heads = ("Control", "Objective, in short", "Evidence in this report", "Sections", "Source")
        return make_table("controls-table", "Control objectives that this report supports", heads, rows, "")

    @cached_property
    def aws_controls(self) -> PageTable:
        """Public controls of AWS next to this report."""
        rows = ((TableCell(one.control, one.service), one.checks, one.beside, one.source) for one in AWS_CONTROLS)
        heads = ("Control of AWS", "Check", "Difference from this report", "Source")
        return make_table("aws-controls", "Public controls of AWS near to generative AI", heads, rows, "")


_SOON = 30
"""Days before the end of an exemption from which on the report marks it."""

_USE_HEADS = ("People", "Role", "Guardrails that it needs", "State", "Models", "How sure")

SECTION_TITLES = {
    "answer": "The answer",
    "questions": "Twelve questions",
    "people": "Who can use which models",
    "exceptions": "Exceptions",
    "findings": "Findings",
    "access": "Person by person",
    "unprotected": "Unprotected roles",
    "tampering": "Tampering",
    "rules": "Rules and their changes",
    "scope": "Accounts and regions",
    "alive": "Rolewarden at work",
    "scps": "Service control policies",
    "gaps": "Accounts and regions that are not covered",
    "since": "Changes since the last report",
    "policies": "Policies",
    "controls": "Evidence by control",
    "provenance": "Provenance",
}
"""The titles of the sections, by ID."""


def _titles(sections: Iterable[str]) -> Iterator[str]:
    return (SECTION_TITLES[section] for section in sections)


def _roles_of(row: Row) -> tuple[str, ...]:
    return tuple(filter(None, (row.role, row.bedrock_role)))


def _of_finding(finding: Finding) -> Sequence[str | TableCell]:
    return (
        TableCell(finding.about, finding.aside),
        stated(finding.kind.value, finding.kind.value),
        finding.why,
        coded(finding.recommendation),
    )


def _mode(guardrail: Guardrail) -> TableCell:
    is_enforced = guardrail.mode is Mode.ENFORCE
    words = "Rolewarden attaches it" if is_enforced else "Rolewarden only reports the policies that it would attach"
    return stated(guardrail.mode.value, "good" if is_enforced else "warn", words)


def _rules_of(guardrail: Guardrail) -> tuple[tuple[str, BedrockRule | JumpStartRule | None], ...]:
    """The family of models and the rule for it; None if the guardrail has none."""
    return (BEDROCK, guardrail.bedrock), (JUMPSTART, guardrail.jumpstart)


def _families(guardrail: Guardrail) -> str:
    found = []
    for family, rule in _rules_of(guardrail):
        if rule is None:
            continue
        name = FAMILY_NAMES[family]
        kinds = {
            "deny-all": f"every model of {name}",
            "deny": f"the models {listed(rule.patterns)} of {name}",
            "allow": f"every model of {name} but {listed(rule.patterns)}",
            "allow-all": f"no model of {name} by its name",
        }
        found.append(kinds.get(rule.kind, rule.kind))
    found += ["the assistants of AWS"] if guardrail.assistants else []
    return "; ".join(found) or "nothing"
