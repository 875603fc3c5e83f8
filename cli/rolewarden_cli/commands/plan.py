"""`rolewarden plan`."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.padding import Padding
from rich.table import Table
from rich.text import Text
from rolewarden.bindings import EMR_ACCESS, EMR_RUNTIME, MODEL_REGISTER, ROLE, RSTUDIO, USER_PROFILE, Binding
from rolewarden.guardrails import Rules
from rolewarden.verdicts import RECOMMENDATIONS, Remediation, Verdict

from rolewarden_cli import console, options
from rolewarden_cli.accounts_table import show_accounts
from rolewarden_cli.answers import print_json
from rolewarden_cli.commands import is_open
from rolewarden_cli.connect import Connection, of_an_account
from rolewarden_cli.console import (
    VERDICT_COLORS,
    counted,
    few,
    heading,
    indented,
    policy_name,
    show_banner,
    show_reason,
    show_unread,
    time_text,
)
from rolewarden_cli.finding_rows import findings_of_plans, findings_text
from rolewarden_cli.formats import Format
from rolewarden_cli.inventory import take
from rolewarden_cli.lines import print_document
from rolewarden_cli.options import All, AsJson, FailOn, Guardrails, InAllAccounts, MemberRoleName, UsageError, one_of
from rolewarden_cli.organization import MEMBER_ROLE, MemberRole, organized
from rolewarden_cli.plan import DIRECT_DEPLOYMENT, AllPlans, Plan, PlannedRole, read_all_plans, read_plan
from rolewarden_cli.rollout import TRAIL_DAYS, Observation, Rollout, read_rollout, turns_in
from rolewarden_cli.rules import DEFAULT_FILE, CheckedFile

_FIRST_SWEEP = {
    False: "Its first sweep would make these changes.",
    True: "Its first sweep would make these changes, and report the changes that observe mode leaves out.",
}

MOST_ROLES = 50
"""Number of roles of a domain that the output shows without `--all`."""

ROLE_NAME = 26
"""Width of the column with the roles' names, in characters."""

FEW = 3
"""Number of subjects of a role that the output shows in its line."""

DAYS = 30
"""Number of days of calls that `--prevention` reads unless the user gives another one."""


@of_an_account
def run_plan(  # noqa: PLR0913, PLR0917 - each parameter is an option
    connection: Connection,
    guardrails: Guardrails = DEFAULT_FILE,
    everything: All = False,
    prevention: Annotated[bool, typer.Option("--prevention", help="Show instead the recorded calls that the "
                                             "model SCPs of guardrails.yaml would deny.")] = False,
    days: Annotated[int | None, typer.Option(metavar="N", help="With --prevention: the days of calls, 30 if not given "
                                             "and at most 90.")] = None,
    trail: Annotated[list[Path] | None, typer.Option(metavar="PATH", help="With --prevention: log files of a trail or "
                                                     "a result of CloudTrail Lake, instead of the event history. You "
                                                     "can repeat this option.")] = None,
    all_accounts: InAllAccounts = False,
    member_role: MemberRoleName = MEMBER_ROLE,
    fail_on: FailOn = None,
    as_json: AsJson = False,
    form: Annotated[Format | None, one_of(Format.CSV, Format.OCSF, Format.SARIF, what="the findings")] = None,
) -> None:  # fmt: skip
    """Show the changes that enforcing guardrails.yaml would make, and the roles that cannot be protected.

    The command only reads, and it needs no deployed stack. Its last line names the command to run next, which depends
    on the rules of the deployed stack.

    With --prevention, the command lists the principals to which the SCPs of `rolewarden compile --scp` would deny calls
    that they made. It recommends an action for each. It reads CloudTrail's event history of the given regions, with two
    requests a second.

    Example: rolewarden plan --local
    """
    rules = options.rules_in(guardrails)
    if prevention and (all_accounts or form):
        raise UsageError("--prevention is about the calls of one account: leave out --all-accounts and --format")
    if prevention:
        asked = Observation(DAYS if days is None else days, tuple(trail or ()))
        rollout = _show_prevention(connection, guardrails, rules, asked, as_json)
        options.end("plan", fail_on, rollout.conditions)
    if days is not None or trail:
        raise UsageError("--days and --trail are for service control policies: give --prevention, too")
    found = _plans(connection, MemberRole(member_role) if all_accounts else None, rules)
    if form:
        findings = findings_of_plans(found.accounts, found.unreached)
        print_document(findings_text(findings, form, datetime.now(UTC), guardrails))
    elif as_json:
        print_json(found if all_accounts else found.accounts[0])
    elif all_accounts:
        show_all_plans(console.console(), found, everything=everything)
    else:
        show_plan(console.console(), found.accounts[0], everything=everything)
    options.end("plan", fail_on, found.conditions)


def _plans(connection: Connection, role: MemberRole | None, rules: Rules) -> AllPlans:
    """The plan of the account, or of all accounts with a role for the members."""
    if role:
        connection = organized(connection)
    with console.progress() as progress:
        if role:
            return read_all_plans(connection, role, rules, options.today(), progress)
        return AllPlans((read_plan(connection, rules, options.today(), progress)[1],))


def show_all_plans(out: Console, found: AllPlans, *, everything: bool = False) -> None:
    """Print a row for each account. With `everything`, print the plan of each account after it."""
    heads = ("roles", "to change", "policies", "not protectable", "not read", "left to do")
    rows = [
        (
            one.account,
            *map(str, (len(one.roles), len(one.changed_roles), len(one.changed_policies), len(one.unprotected))),
            str(len(one.unread)),
            "yes" if is_open("plan", one.conditions) else "no",
        )
        for one in found.accounts
    ]
    total = found.totals
    sums = (total.roles, total.changed_roles, total.changed_policies, total.unprotected, total.unread)
    show_accounts(out, heads, rows, (*map(str, sums), str(total.accounts - total.done)), found.unreached)
    for one in found.accounts if everything else ():
        out.print()
        show_plan(out, one, ends=False)
    if total.done < total.accounts and not everything:
        out.print()
        out.print("--all shows the plan of each account")


def _show_prevention(connection: Connection, file: Path, rules: Rules, asked: Observation, as_json: bool) -> Rollout:
    """Print the calls that the SCPs of `rules`, which are those of `file`, would deny. Raises UsageError."""
    if not 1 <= asked.days <= TRAIL_DAYS:
        raise UsageError(
            f"--days {asked.days}: CloudTrail's event history has {TRAIL_DAYS} days: give 1 to {TRAIL_DAYS}"
        )
    with console.progress() as progress:
        inventory = take(connection, rules, progress)
        read = read_rollout(connection, inventory, rules, asked, turns_in(connection.place), progress)
    found = replace(read, unprevented=tuple(map(str, CheckedFile.at(file).checked.unprevented)))
    if as_json:
        print_json(found)
    else:
        show_rollout(console.console(), found)
    return found


def show_rollout(out: Console, found: Rollout) -> None:
    """Print the calls that the SCPs would deny, the rules that they cannot see, and the calls without a record."""
    out.print(Text(f"account {found.account}, {counted(found.days, 'day')} until now", "bold"))
    out.print(f"{counted(found.records, 'record')} read from {found.source}")
    if found.is_management:
        out.print(
            Text("This is the management account: no SCP restricts its callers, and its calls are left out.", "yellow")
        )
    if found.denied:
        out.print(heading("principals with calls that the SCPs would deny"))
    for one in found.denied:
        where = "" if one.account == found.account else f" in account {one.account}"
        out.print(indented(Text.assemble((one.principal, "bold"), where), 2))
        calls = f"{counted(one.calls, 'call')} of {few(one.models, FEW)} in {few(one.regions, FEW)}"
        out.print(indented(Text(calls, "red"), 4))
        out.print(indented(f"first {time_text(one.first)}, last {time_text(one.last)}", 4))
        if not one.in_sagemaker:
            out.print(indented("`rolewarden compile --scp --scope sagemaker` would allow them", 4))
        if one.used_by:
            out.print(indented(f"used by {few(one.used_by, FEW)}", 4))
        if one.guardrail_needed:
            out.print(indented("allowed if they name the Amazon Bedrock Guardrail, which is not recorded", 4))
        out.print(indented(Text.assemble((f"{one.choice}: ", "bold"), one.recommendation), 4))
    if found.wider:
        out.print(heading("subjects whose role is wider than their assignment"))
    for subject in found.wider:
        out.print(indented(Text.assemble((subject.subject, "bold"), f"  works as {subject.role}"), 2))
        out.print(indented(Text(f"keeps {few(subject.reaches, FEW)}", "yellow"), 4))
        out.print(indented(subject.recommendation, 4))
    if found.unprevented:
        out.print(heading("rules that an SCP cannot see"))
    for line in found.unprevented:
        out.print(indented(line, 2))
    out.print(heading("calls that the event history cannot show, and that the SCPs deny: verify them"))
    for unseen in found.unseen:
        out.print(indented(Text(unseen.why), 2))
        out.print(indented(Text(unseen.verify, "bright_black"), 4))
    show_unread(out, found.unread)
    out.print()
    denied = f"{counted(found.calls, 'call')} of {counted(len(found.denied), 'principal')} would be denied"
    out.print(Text(denied if found.denied else "the SCPs would deny none of the recorded calls", "bold"))


def show_plan(out: Console, plan: Plan, *, everything: bool = False, ends: bool = True) -> None:
    """Print the changes by region and domain.

    - `everything`: also print the roles that would not change.
    - `ends`: name the command to run next in the last line.
    """
    out.print(Text(f"account {plan.account}, {', '.join(plan.regions)}", "bold"))
    show_banner(out, plan.banner)
    if not plan.deployed:
        out.print(f"Rolewarden is not deployed here. {_FIRST_SWEEP[bool(plan.observed)]}")
    _show_policies(out, plan)
    shown: set[str] = set()
    for place, roles in _by_place(plan.roles):
        wanted = [(role, bindings) for role, bindings in roles if everything or _is_worth_a_line(role)]
        if wanted:
            out.print(heading(place))
            if not shown:
                heads = (Text(name, "bright_black") for name in ("role", "verdict", "policies", "used by"))
                out.print(_role_line(*heads))
        for role, bindings in wanted if everything else wanted[:MOST_ROLES]:
            _show_role(out, role, bindings, again=role.outcome.role in shown)
            shown.add(role.outcome.role)
        if len(wanted) > MOST_ROLES and not everything:
            out.print(indented(f"and {counted(len(wanted) - MOST_ROLES, 'more role')}: --all shows them", 2))
    _show_promotions(out, plan)
    _show_shared(out, plan)
    _show_exemptions(out, plan)
    _show_doubts(out, plan)
    _show_loosened(out, plan)
    _show_unmatched(out, plan)
    _show_switches(out, plan)
    _show_named(out, plan)
    _show_outside(out, plan)
    show_unread(out, plan.unread)
    out.print()
    out.print(_sum_of(plan))
    command, does = plan.next
    if ends and command:
        out.print(f"`{command}` {does}")


def _show_promotions(out: Console, plan: Plan) -> None:
    """Print the changes that enforcing the guardrails in observe mode would make."""
    if not plan.promotions:
        return
    out.print(heading("in enforce mode instead of observe mode"))
    for found in plan.promotions:
        is_one = len(found.guardrails) == 1
        name = found.guardrails[0] if is_one else "all of them"
        would, not_ = counted(len(found.would_change), "role"), counted(len(found.could_not), "role")
        out.print(indented(Text(name, "bold"), 2))
        out.print(indented(f"{would} would change{_named(found.would_change)}", 4))
        out.print(indented(f"{not_} could not be protected{_named(found.could_not)}", 4))
        for reason in dict.fromkeys(found.could_not.values()):
            out.print(indented(Text(f"{reason}: {RECOMMENDATIONS.get(reason, '')}", "yellow"), 6))
    out.print(indented("Write `mode: enforce` into a guardrail, and deploy, to promote it.", 2))


def _named(roles: Iterable[str]) -> str:
    names = list(roles)
    return f": {few(names, FEW)}" if names else ""


def _show_policies(out: Console, plan: Plan) -> None:
    changed = plan.changed_policies
    if changed:
        out.print(heading("policies under /rolewarden/"))
    for policy in changed:
        out.print(indented(Text.assemble((f"{policy.change:9}", "red"), " ", policy.name), 2))
    if plan.stack.may_undo and changed:
        out.print(indented("The deployed stack reverts a policy that differs from the rules it runs.", 2))
    _show_removed(out, plan)


def _show_removed(out: Console, plan: Plan) -> None:
    """Print the policies of guardrails that were removed from guardrails.yaml or renamed."""
    if plan.unused:
        out.print(heading("policies of guardrails that were removed or renamed"))
    for name in plan.unused:
        roles = [role.outcome.role for role in plan.with_policy(name)]
        losing = sum(name in role.detached for role in plan.roles)
        if roles:
            text = f"stays attached to {few(roles, FEW)}, and denies, until `rolewarden detach` detaches it"
        elif losing:
            text = f"is detached from {counted(losing, 'role')} after the policies that they need, then deleted"
        else:
            text = "is attached to no role, and is deleted"
        out.print(indented(Text.assemble((name, "bold"), f"  {text}"), 2))
    if any(plan.with_policy(name) for name in plan.unused):
        text = "Until then, it counts against the quota of attached policies. Rolewarden no longer restores its text."
        out.print(indented(text, 2))


def _by_place(roles: Iterable[PlannedRole]) -> list[tuple[str, list[tuple[PlannedRole, list[Binding]]]]]:
    """The roles by region and domain, each with its bindings there."""
    places: dict[tuple[str, str, str], list[tuple[PlannedRole, list[Binding]]]] = defaultdict(list)
    for role in roles:
        here: dict[tuple[str, str, str], list[Binding]] = defaultdict(list)
        for binding in role.bindings:
            here[binding.region, binding.domain_name or binding.domain_id, binding.domain_id].append(binding)
        for place, bindings in here.items() if here else [(("", "", ""), [])]:
            places[place].append((role, bindings))
    return [(_place(*place), found) for place, found in sorted(places.items(), key=lambda entry: entry[0])]


def _place(region: str, name: str, domain_id: str) -> str:
    if not domain_id:
        return "roles that no domain uses"
    return f"{region}  domain {name}" + (f" ({domain_id})" if name != domain_id else "")


def _is_worth_a_line(role: PlannedRole) -> bool:
    return role.changes or role.outcome.before is not Verdict.COMPLIANT or bool(role.outcome.reason or role.surplus)


def _show_role(out: Console, role: PlannedRole, bindings: Sequence[Binding], *, again: bool) -> None:
    outcome = role.outcome
    verdict = outcome.verdict if outcome.verdict is Verdict.UNENFORCEABLE else outcome.before
    # If IAM did not return the role, its attached policies are not known, and the outcome has a reason.
    slots = f"{role.attached_policies}/{role.quota}" if role.attached_policies or not outcome.reason else ""
    name = Text(outcome.role, "bold")
    if len(name) > ROLE_NAME:  # A generated name can be longer, and then needs its own line.
        out.print(indented(name, 2))
        name = Text()
    out.print(_role_line(name, Text(verdict, VERDICT_COLORS[verdict]), f"{slots:>8}", _subjects(bindings)))
    if again:
        return
    for text in _done_to(role):
        out.print(indented(text, 4))
    show_reason(out, outcome)


def _role_line(*cells: str | Text) -> Padding:
    """The line of a role, or the heads of the columns: role, verdict, attached policies of the quota, subjects."""
    line = Table.grid(padding=(0, 2, 0, 0))
    for width in (ROLE_NAME, 13, 8):
        line.add_column(min_width=width, no_wrap=True)
    line.add_column(overflow="fold")
    line.add_row(*cells)
    return indented(line, 2)


def _subjects(bindings: Sequence[Binding]) -> str:
    names = []
    for binding in bindings:
        name = binding.user_profile if binding.kind == USER_PROFILE else binding.kind
        via = "" if binding.via == "execution" else f" ({binding.via})"
        names.append("also_govern" if binding.kind == ROLE else f"{name}{via}")
    return few(names, FEW)


def _done_to(role: PlannedRole) -> Iterator[Text]:
    outcome = role.outcome
    if outcome.attached:
        yield Text(f"+ attach {', '.join(outcome.attached)}", "green")
    if outcome.remediation == "bounded":
        yield Text(f"+ set the permissions boundary {policy_name(outcome.boundary)}", "green")
    if outcome.boundary_removed:
        yield Text(f"- remove the permissions boundary {policy_name(outcome.boundary_removed)}", "yellow")
    if outcome.remediation == "observed":
        yield Text(f"lacks {', '.join(outcome.missing)} (in observe mode: reported, not remediated)", "yellow")
    if role.detached:
        yield Text(f"- detach {', '.join(role.detached)}, which the role does not need", "yellow")
    if role.surplus:
        yield Text(
            f"does not need {', '.join(role.surplus)}: `rolewarden detach` detaches it"
            if role.detachable
            else f"does not need {', '.join(role.surplus)}, and keeps it"
        )
    if outcome.verdict is Verdict.EXEMPT:
        yield Text(f"exempt {outcome.message}", "cyan")


def _show_shared(out: Console, plan: Plan) -> None:
    if plan.shared:
        out.print(heading("assignments that cannot be enforced: the user profile uses its domain's role"))
    for shared in plan.shared:
        name = f"{shared.domain_name or shared.domain_id}/{shared.user_profile}"
        needs = [f"needs {', '.join(shared.guardrails)}"] if shared.guardrails else []
        needs += [f"also gets {', '.join(shared.also)}"] if shared.also else []
        line = Text.assemble((name, "bold"), f"  {', '.join(needs)}, uses role {shared.role}: {shared.why}")
        out.print(indented(line, 2))
    for action in dict.fromkeys(shared.recommendation for shared in plan.shared):
        out.print(indented(action, 4))
    if plan.told_apart:
        out.print(heading("assignments enforced by source identity: the user profile uses its domain's role"))
    for one in plan.told_apart:
        name = f"{one.domain_name or one.domain_id}/{one.user_profile}"
        parts = [f"also {', '.join(one.only)}"] if one.only else []
        parts += [f"not {', '.join(one.free_of)}"] if one.free_of else []
        out.print(indented(Text.assemble((name, "bold"), f"  {', '.join(parts)}, uses role {one.role}"), 2))
        out.print(indented(one.limits, 4))


def _show_exemptions(out: Console, plan: Plan) -> None:
    if plan.exemptions:
        out.print(heading("exemptions that end soon"))
    for ending in plan.exemptions:
        names = few(ending.roles) if ending.roles else f"{ending.role} (not used here)"
        when = counted(ending.days_left, "day")
        out.print(indented(Text.assemble((names, "bold"), f"  {ending.until}, in {when}: {ending.reason}"), 2))


def _show_doubts(out: Console, plan: Plan) -> None:
    if plan.doubts:
        out.print(heading("exemptions that AWS contradicts"))
    for doubt in plan.doubts:
        out.print(indented(Text.assemble((doubt.role, "bold"), f"  {doubt.reason}"), 2))
        out.print(indented(Text(doubt.message, "yellow"), 4))
        out.print(indented(doubt.recommendation, 4))


def _show_loosened(out: Console, plan: Plan) -> None:
    if plan.loosened:
        out.print(heading("assignments that callers can choose"))
    for rule in plan.loosened:
        now = few(rule.subjects, FEW) if rule.subjects else "no subject of this account"
        line = Text.assemble((f"assignment {rule.assignment}", "bold"), f"  matches {now} now")
        out.print(indented(line, 2))
        out.print(indented(Text(rule.why, "yellow"), 4))


def _show_unmatched(out: Console, plan: Plan) -> None:
    if plan.unmatched:
        out.print(heading("names in guardrails.yaml that match nothing here"))
    for found in plan.unmatched:
        out.print(indented(Text.assemble((found.place, "bold"), f"  {found.line}"), 2))


def _show_switches(out: Console, plan: Plan) -> None:
    if plan.switches:
        out.print(heading("switched on in Canvas"))
    for switch in plan.switches:
        name = "/".join(filter(None, (switch.domain_name or switch.domain_id, switch.user_profile)))
        what = (
            "direct deployment of JumpStart models"
            if switch.switch == DIRECT_DEPLOYMENT
            else f"Amazon Bedrock, as role {switch.role}"
        )
        out.print(indented(Text.assemble((name, "bold"), f"  {what}"), 2))


_USES = {
    MODEL_REGISTER: "registers models of Canvas in another account",
    EMR_ACCESS: "lets JupyterLab work with EMR",
    EMR_RUNTIME: "runs jobs of EMR",
    RSTUDIO: "runs RStudio",
}
"""The use of a role, by the setting that names it."""


def _show_named(out: Console, plan: Plan) -> None:
    if plan.named:
        out.print(heading("other roles that settings name"))
    for named in plan.named:
        whose = f" of account {named.role_account}" if named.role_account != plan.account else ""
        use = _USES.get(named.via, "is evaluated by the stack in its own account")
        line = Text.assemble((f"{named.role}{whose}", "bold"), f"  {use}, for {few(named.subjects, FEW)}")
        out.print(indented(line, 2))
        if named.governed is False:
            out.print(indented("it gets no guardrail, unless `also_govern` covers it", 4))


def _show_outside(out: Console, plan: Plan) -> None:
    if plan.outside:
        out.print(heading("domains in regions that are not covered"))
        for found in plan.outside:
            out.print(indented(Text(found.removeprefix("domains in ")), 2))
        fix = "Add the region to --region and to the stack's parameter Regions, or delete the domains."
        out.print(indented(fix, 2))


def _sum_of(plan: Plan) -> Text:
    after = Counter(role.outcome.verdict for role in plan.roles)
    stay = sum(role.outcome.before is Verdict.COMPLIANT and not role.changes for role in plan.roles)
    observed = sum(role.outcome.remediation == Remediation.OBSERVED and not role.changes for role in plan.roles)
    parts = [
        (len(plan.changed_policies), counted(len(plan.changed_policies), "policy", "policies") + " to write"),
        (len(plan.changed_roles), counted(len(plan.changed_roles), "role") + " to change"),
        (stay, f"{stay:,} compliant"),
        (observed, f"{observed:,} without a guardrail in observe mode"),
        (len(plan.with_surplus), f"{counted(len(plan.with_surplus), 'role')} with surplus policies"),
        (after[Verdict.EXEMPT], f"{after[Verdict.EXEMPT]} exempt"),
        (after[Verdict.UNENFORCEABLE], f"{after[Verdict.UNENFORCEABLE]} cannot be protected"),
    ]
    return Text(", ".join(part for number, part in parts if number) or "no governed role", "bold")
