"""What the operator's commands print for people: 80 columns, colours only where there is a terminal."""

from __future__ import annotations

import json
import sys
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta

from rich.console import Console
from rich.padding import Padding
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TaskID, TextColumn
from rich.table import Table
from rich.text import Text
from rolewarden.bindings import ROLE, USER_PROFILE, Binding
from rolewarden.own_events import RoleContested, SubjectFinding
from rolewarden.verdicts import RECOMMENDATIONS, UNCHANGED, Outcome, Verdict

from rolewarden_cli.access import AccessMatrix, Decision, Row
from rolewarden_cli.detach import Detached, Surplus
from rolewarden_cli.enforce import Enforced
from rolewarden_cli.explain import Explanation, ReasonForAccess
from rolewarden_cli.history import LONG_SINCE, Entry, Status
from rolewarden_cli.models import LIVE, Model
from rolewarden_cli.plan import DIRECT_DEPLOYMENT, Plan, PlannedRole

VERDICT_COLOURS = {
    "compliant": "green",
    "drifted": "red",
    "exempt": "cyan",
    "out_of_scope": "bright_black",
    "unenforceable": "bold red",
}

ROW, COLUMN = 24, 7
"""Characters of a row's name and of a model's column, where each model has one."""

NOTHING = "allowed by nothing"

MOST_ROLES = 50
"""As many roles of a domain are shown of a plan."""

ROLE_NAME = 26
"""Characters of a role's name that have room before its verdict."""

FEW = 3
"""As many of the subjects of a role are shown beside it."""

FEW_NAMES = 6
"""As many names of a long list are shown."""


def console(*, stderr: bool = False) -> Console:
    """Where to print."""
    return Console(highlight=False, stderr=stderr, emoji=False, markup=False)


@contextmanager
def progress() -> Iterator[Callable[[str, int, int], None]]:
    """Bars on a terminal's standard error, which are gone in the end; elsewhere nothing."""
    columns = (
        TextColumn("{task.description}"),
        BarColumn(complete_style="cyan", finished_style="cyan"),
        MofNCompleteColumn(),
    )
    with Progress(*columns, console=console(stderr=True), transient=True, disable=not sys.stderr.isatty()) as bars:
        tasks: dict[str, TaskID] = {}

        def show(what: str, done: int, of: int) -> None:
            if what not in tasks:
                tasks[what] = bars.add_task(what, total=of)
            bars.update(tasks[what], completed=done, total=of, visible=done < of)

        yield show


def counted(number: int, noun: str, nouns: str = "") -> str:
    """`1 role`, `2 roles`."""
    return f"{number:,} {noun if number == 1 else nouns or f'{noun}s'}"


def _heading(text: str) -> Text:
    return Text(f"\n{text}", "bold")


def _indented(what: str | Text | Table, by: int) -> Padding:
    return Padding(what, (0, 0, 0, by), expand=False)


# plan


def show_plan(out: Console, plan: Plan, *, everything: bool = False, ends: bool = True) -> None:
    """Print the changes by region and domain; roles that stay as they are only with `everything`.

    With `ends` the last line names the command to run next.
    """
    out.print(Text(f"account {plan.account}, {', '.join(plan.regions)}", "bold"))
    if not plan.deployed:
        out.print("Rolewarden is not deployed here: this is what its first sweep would do.")
    _show_policies(out, plan)
    shown: set[str] = set()
    for place, roles in _by_place(plan.roles):
        wanted = [(role, bindings) for role, bindings in roles if everything or _is_worth_a_line(role)]
        if wanted:
            out.print(_heading(place))
            if not shown:
                heads = (Text(name, "bright_black") for name in ("role", "verdict", "policies", "works for"))
                out.print(_role_line(*heads))
        for role, bindings in wanted if everything else wanted[:MOST_ROLES]:
            _show_role(out, role, bindings, again=role.outcome.role in shown)
            shown.add(role.outcome.role)
        if len(wanted) > MOST_ROLES and not everything:
            out.print(_indented(f"and {counted(len(wanted) - MOST_ROLES, 'more role')}: --all shows them", 2))
    _show_shared(out, plan)
    _show_exemptions(out, plan)
    _show_switches(out, plan)
    _show_unread(out, plan.unread)
    out.print()
    out.print(_sum_of(plan))
    command, does = plan.next
    if ends and command:
        out.print(f"`{command}` {does}")


def _show_policies(out: Console, plan: Plan) -> None:
    changed = plan.changed_policies
    if changed:
        out.print(_heading("policies under /rolewarden/"))
    for policy in changed:
        out.print(_indented(Text.assemble((f"{policy.change:9}", "red"), " ", policy.name), 2))
    if plan.stack.may_undo and changed:
        out.print(_indented("The deployed stack reverts a policy that differs from the rules it runs.", 2))


def _by_place(roles: Iterable[PlannedRole]) -> list[tuple[str, list[tuple[PlannedRole, list[Binding]]]]]:
    """Roles by region and domain, each with what it works for there."""
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
        return "roles that work for no domain"
    return f"{region}  domain {name}" + (f" ({domain_id})" if name != domain_id else "")


def _is_worth_a_line(role: PlannedRole) -> bool:
    return role.changes or role.outcome.before is not Verdict.COMPLIANT or bool(role.outcome.reason or role.surplus)


def _show_role(out: Console, role: PlannedRole, bindings: Sequence[Binding], *, again: bool) -> None:
    outcome = role.outcome
    verdict = outcome.verdict if outcome.verdict is Verdict.UNENFORCEABLE else outcome.before
    # A role that could not be looked at has a reason, and carries nobody knows what.
    slots = f"{role.attached_policies}/{role.quota}" if role.attached_policies or not outcome.reason else ""
    name = Text(outcome.role, "bold")
    if len(name) > ROLE_NAME:  # the names that AWS gives are; such a one has a line of its own
        out.print(_indented(name, 2))
        name = Text()
    out.print(_role_line(name, Text(verdict, VERDICT_COLOURS[verdict]), f"{slots:>8}", _subjects(bindings)))
    if again:
        return
    for text in _done_to(role):
        out.print(_indented(text, 4))
    _show_trouble(out, outcome)


def _role_line(*cells: str | Text) -> Padding:
    """A role's line, or what stands above the first; `policies` are how many it carries, of how many it may."""
    line = Table.grid(padding=(0, 2, 0, 0))
    for width in (ROLE_NAME, 13, 8):
        line.add_column(min_width=width, no_wrap=True)
    line.add_column(overflow="fold")
    line.add_row(*cells)
    return _indented(line, 2)


def _subjects(bindings: Sequence[Binding]) -> str:
    names = []
    for binding in bindings:
        name = binding.user_profile if binding.kind == USER_PROFILE else binding.kind
        via = "" if binding.via == "execution" else f" ({binding.via})"
        names.append("also_govern" if binding.kind == ROLE else f"{name}{via}")
    return _few(names, FEW)


def _few(names: Sequence[str], most: int = FEW_NAMES, *, of: int = 0) -> str:
    """The first names, and how many more there are: of `of`, or of `names` if it is 0."""
    shown, number = names[:most], of or len(names)
    more = f" and {number - len(shown):,} more" if number > len(shown) else ""
    return ", ".join(shown) + more


def _done_to(role: PlannedRole) -> Iterator[Text]:
    outcome = role.outcome
    if outcome.attached:
        yield Text(f"+ attach {', '.join(outcome.attached)}", "green")
    if outcome.remediation == "bounded":
        yield Text(f"+ set the permissions boundary {_name(outcome.boundary)}", "green")
    if outcome.boundary_removed:
        yield Text(f"- take off the permissions boundary {_name(outcome.boundary_removed)}", "yellow")
    if outcome.remediation == "observed":
        yield Text(f"lacks {', '.join(outcome.missing)}, which is only observed", "yellow")
    if role.detached:
        yield Text(f"- detach {', '.join(role.detached)}, which it does not need", "yellow")
    if role.surplus:
        yield Text(
            f"has {', '.join(role.surplus)} without need: `rolewarden detach` takes it off"
            if role.detachable
            else f"has {', '.join(role.surplus)} without need, and keeps it"
        )
    if outcome.verdict is Verdict.EXEMPT:
        yield Text(f"exempt {outcome.message}", "cyan")


def _name(policy_arn: str) -> str:
    return policy_arn.rsplit("/", 1)[-1]


def _show_trouble(out: Console, outcome: Outcome) -> None:
    if not outcome.reason:
        return
    lacks = [name for name in outcome.missing if name not in outcome.attached]
    needs = f", so it goes without {', '.join(lacks)}" if lacks else ""
    out.print(_indented(Text(f"! {outcome.reason}{needs}", "red"), 4))
    if recommendation := RECOMMENDATIONS.get(outcome.reason):
        out.print(_indented(recommendation, 6))


def _show_shared(out: Console, plan: Plan) -> None:
    if not plan.shared:
        return
    out.print(_heading("rules that cannot be kept, as the user profile runs as its domain's role"))
    for shared in plan.shared:
        name = f"{shared.domain_name or shared.domain_id}/{shared.user_profile}"
        line = Text.assemble((name, "bold"), f"  needs {', '.join(shared.guardrails)}, runs as {shared.role}")
        out.print(_indented(line, 2))
    out.print(_indented(plan.shared[0].recommendation, 4))


def _show_exemptions(out: Console, plan: Plan) -> None:
    if plan.exemptions:
        out.print(_heading("exemptions that end soon"))
    for ending in plan.exemptions:
        names = _few(ending.roles) if ending.roles else f"{ending.pattern} (no role of that name)"
        when = counted(ending.days_left, "day")
        out.print(_indented(Text.assemble((names, "bold"), f"  {ending.until}, in {when}: {ending.reason}"), 2))


def _show_switches(out: Console, plan: Plan) -> None:
    if plan.switches:
        out.print(_heading("switched on in Canvas"))
    for switch in plan.switches:
        name = "/".join(filter(None, (switch.domain_name or switch.domain_id, switch.user_profile)))
        what = (
            "direct deployment of JumpStart models"
            if switch.switch == DIRECT_DEPLOYMENT
            else f"Amazon Bedrock, as role {switch.role}"
        )
        out.print(_indented(Text.assemble((name, "bold"), f"  {what}"), 2))


def _show_unread(out: Console, unread: Sequence[str]) -> None:
    if unread:
        out.print(_heading("could not be read, so this is not the whole"))
    for line in unread:
        out.print(_indented(line, 2))


def _sum_of(plan: Plan) -> Text:
    after = Counter(role.outcome.verdict for role in plan.roles)
    stay = sum(role.outcome.before is Verdict.COMPLIANT and not role.changes for role in plan.roles)
    parts = [
        (len(plan.changed_policies), counted(len(plan.changed_policies), "policy", "policies") + " to write"),
        (len(plan.changed_roles), counted(len(plan.changed_roles), "role") + " to change"),
        (stay, f"{stay:,} compliant"),
        (len(plan.with_surplus), f"{counted(len(plan.with_surplus), 'role')} with surplus policies"),
        (after[Verdict.EXEMPT], f"{after[Verdict.EXEMPT]} exempt"),
        (after[Verdict.UNENFORCEABLE], f"{after[Verdict.UNENFORCEABLE]} cannot be protected"),
    ]
    return Text(", ".join(part for number, part in parts if number) or "no role is governed", "bold")


# enforce


def show_enforced(out: Console, done: Enforced, *, left: Sequence[str] = ()) -> None:
    """Print the change to each policy and role. `left` are the roles that cannot be protected."""
    for policy, what in done.policies.items():
        if what != UNCHANGED:
            out.print(Text.assemble((f"{what:9}", "green"), " policy ", policy))
    for outcome in done.outcomes:
        if outcome.verdict is Verdict.OUT_OF_SCOPE:
            continue
        line = Text.assemble((outcome.role, "bold"), "  ", (outcome.before, VERDICT_COLOURS[outcome.before]))
        line.append(" > ").append(outcome.verdict, VERDICT_COLOURS[outcome.verdict])
        if outcome.attached:
            line.append(f"  + {', '.join(outcome.attached)}")
        if outcome.remediation == "bounded":
            line.append(f"  + boundary {_name(outcome.boundary)}")
        out.print(line)
        _show_trouble(out, outcome)
    for role, policies in done.detached.items():
        if policies:
            out.print(Text.assemble((role, "bold"), f"  - {', '.join(policies)}"))
    for what in done.postponed:
        out.print(Text(f"not done: {what}", "red"))
    changed = sum(outcome.has_written for outcome in done.outcomes) + sum(map(bool, done.detached.values()))
    end = f"{counted(changed, 'role')} changed"
    if done.stopped:
        end += f", stopped before {counted(len(done.left), 'role')}: run it again to go on"
    elif done.postponed:
        end += f", {len(done.postponed)} not done: run it again"
    if left:
        end += f", {len(left)} cannot be protected: {_few(left)}"
    out.print(Text(f"\n{end}", "bold"))


# detach


def show_surplus(out: Console, found: Surplus) -> None:
    """Print the policies to detach from each role, and the policies to delete afterwards."""
    out.print(Text(f"account {found.account}", "bold"))
    for role, policies in found.roles.items():
        out.print(_indented(Text.assemble((role, "bold"), "  ", (f"- {', '.join(policies)}", "yellow")), 2))
    for policy in found.policies:
        out.print(_indented(Text.assemble(("deletes policy ", "yellow"), policy), 2))
    if not found:
        out.print("no role has a policy or boundary of Rolewarden that it does not need")


def show_detached(out: Console, done: Detached) -> None:
    """Print the policies detached and deleted, and the reason for each one that is left."""
    for role, policies in done.roles.items():
        if policies:
            out.print(Text.assemble((role, "bold"), f"  - {', '.join(policies)}"))
    for policy in done.policies:
        out.print(f"deleted policy {policy}")
    for what in done.left:
        out.print(Text(f"not done: {what}", "red"))
    changed = sum(map(bool, done.roles.values()))
    end = f"{counted(changed, 'role')} changed, {counted(len(done.policies), 'policy', 'policies')} deleted"
    out.print(Text(f"\n{end}" + (f", {len(done.left)} not done: run it again" if done.left else ""), "bold"))


# access


def show_access(out: Console, found: AccessMatrix, *, everything: bool = False) -> None:
    """A column for each of a few models; of many, what each group of rows reaches."""
    source = "as it lists them now" if found.listed == LIVE else f"from {found.listed}"
    out.print(Text(f"account {found.account}, {', '.join(found.regions)}", "bold"))
    counts = f"{counted(len(found.rows), 'subject')}, {counted(len(found.models), 'model')}"
    out.print(f"{counts}, Bedrock's {source}")
    if ROW + COLUMN * len(found.models) <= out.width:
        _show_columns(out, found)
    else:
        _show_groups(out, found, most=len(found.rows) if everything else FEW_NAMES)
    _show_unread(out, found.unread)


def _show_columns(out: Console, found: AccessMatrix) -> None:
    out.print()
    for number, model in enumerate(found.models, start=1):
        out.print(f"{number:>3}  {model.id}")
    letters: dict[tuple[bool, str], str] = {}
    table = Table.grid(padding=(0, 1, 0, 0))
    table.show_header = True
    table.add_column("", overflow="fold")
    for number in range(1, len(found.models) + 1):
        table.add_column(str(number), no_wrap=True)
    for row in found.rows:
        cells = [found.cell(row, number) for number in range(len(found.models))]
        roles = filter(None, (row.role, row.bedrock_role))
        name = Text.assemble((row.label, "bold"), *((f"\n  {role}", "bright_black") for role in roles))
        table.add_row(name, *(_cell(cell, letters) for cell in cells))
    out.print()
    out.print(table)
    out.print()
    legend = Table.grid(padding=(0, 2, 0, 0))
    for (allowed, why), letter in letters.items():
        legend.add_row(Text(f"{'yes' if allowed else 'no'} {letter}", _colour(allowed)), why)
    out.print(legend)


def _colour(allowed: bool) -> str:
    return "yellow" if allowed else "green"


def _cell(decision: Decision, letters: dict[tuple[bool, str], str]) -> Text:
    why = (decision.allowed, _why(decision))
    letter = letters.setdefault(why, _letter(len(letters)))
    return Text(f"{'yes' if decision.allowed else 'no'} {letter}", _colour(decision.allowed))


def _letter(number: int) -> str:
    rest, last = divmod(number, 26)
    return (_letter(rest - 1) if rest else "") + chr(ord("a") + last)


def _why(decision: Decision) -> str:
    by_policy: dict[str, list[str]] = defaultdict(list)
    for statement in decision.statements:
        by_policy[statement.policy].append(statement.label)
    names = "; ".join(f"{policy}: {', '.join(labels)}" for policy, labels in by_policy.items())
    if decision.allowed:
        return f"{decision.route}, allowed by {names}"
    return f"denied by {names}" if names else NOTHING


def _show_groups(out: Console, found: AccessMatrix, *, most: int) -> None:
    groups: dict[tuple[tuple[bool, str], ...], list[Row]] = defaultdict(list)
    for row in found.rows:
        cells = (found.cell(row, number) for number in range(len(found.models)))
        groups[tuple((cell.allowed, _why(cell)) for cell in cells)].append(row)
    for told, rows in groups.items():
        out.print(_heading(_few([row.label for row in rows], most)))
        names = sorted({role for row in rows for role in (row.role, row.bedrock_role) if role})
        out.print(_indented(Text(f"by {_few(names, most)}", "bright_black"), 2))
        for family, title in (("bedrock", "Bedrock"), ("jumpstart", "JumpStart")):
            of_it = [(model, *cell) for model, cell in zip(found.models, told, strict=True) if model.family == family]
            if of_it:
                _show_family(out, title, of_it)


def _show_family(out: Console, title: str, told: Sequence[tuple[Model, bool, str]]) -> None:
    reached = [model for model, allowed, _ in told if allowed]
    out.print(_indented(Text(f"{title}: {len(reached):,} of {len(told):,} reached", _colour(bool(reached))), 2))
    if reached and len(reached) < len(told):
        out.print(_indented(_few([model.id for model in reached]), 4))
    reasons = Counter(why for _, _, why in told)
    for why, number in reasons.most_common():
        out.print(_indented(f"{number:,} {why}", 4))


# explain


def show_explanation(out: Console, found: Explanation) -> None:
    """One decision in words."""
    allowed = found.decision.allowed
    may = ("may use" if allowed else "may not use", _colour(allowed))
    out.print(Text.assemble((found.role, "bold"), " ", may, " ", (found.model.id, "bold")))
    out.print(_standing(found))
    grid = Table.grid(padding=(0, 2, 0, 0))
    numbers = {reason.statement.name: str(number) for number, reason in enumerate(found.reasons, start=1)}
    for route in found.decision.routes:
        word = Text("yes" if route.allowed else "no", _colour(route.allowed))
        by = ", ".join(numbers[statement.name] for statement in route.statements)
        grid.add_row("", word, Text(route.name, overflow="fold"), f"by {by}" if by else NOTHING)
    out.print()
    out.print(grid)
    by_policy: dict[str, list[ReasonForAccess]] = defaultdict(list)
    for reason in found.reasons:
        by_policy[reason.statement.policy].append(reason)
    for reasons in by_policy.values():
        _show_reasons(out, numbers, reasons, recorded=found.recorded)


def _standing(found: Explanation) -> str:
    if not found.subjects or found.planned is None:
        return "It works for nobody that SageMaker knows of."
    outcome = found.planned.outcome
    works = f"It works for {_few(found.subjects)}, and is {outcome.before}"
    if outcome.before is Verdict.EXEMPT:
        return f"{works} {outcome.message}."
    lacks = [name for name in found.planned.outcome.missing if outcome.before is not Verdict.COMPLIANT]
    return f"{works}: it lacks {', '.join(lacks)}." if lacks else f"{works}."


def _show_reasons(
    out: Console, numbers: Mapping[str, str], reasons: Sequence[ReasonForAccess], *, recorded: bool
) -> None:
    """What is known of one policy, and those of its statements that decided."""
    first = reasons[0]
    out.print(_heading(first.statement.policy))
    grid = Table.grid(padding=(0, 2, 0, 0))
    grid.add_column(width=11, style="bright_black")
    grid.add_column(overflow="fold")
    if first.statement.arn:
        grid.add_row("  policy", first.statement.arn)
    if first.guardrail:
        grid.add_row("  guardrail", first.guardrail)
        grid.add_row("  asked by", "; ".join(first.assignments) or "no assignment: the role has it without need")
        grid.add_row("  attached", _attached(first.attached, recorded=recorded))
    out.print(grid)
    for reason in reasons:
        statement = reason.statement
        verb = "denies" if statement.denies else "allows"
        out.print(
            _indented(Text.assemble((f"{numbers[statement.name]}  {statement.label}", "bold"), f" {verb} it:"), 2)
        )
        text = json.dumps({key: value for key, value in statement.document.items() if key != "Sid"}, indent=1)
        out.print(_indented(text, 5))


def _attached(entry: Entry | None, *, recorded: bool) -> str:
    if entry is None:
        return "the history does not say" if recorded else "not known: nothing is deployed that would record it"
    return f"{_time(entry.at)}, after {_cause(entry)}"


# history and status


def show_history(out: Console, entries: Sequence[Entry]) -> None:
    """Two lines an entry, newest first."""
    if not entries:
        out.print("nothing of the kind is recorded")
    for entry in entries:
        out.print(Text.assemble(_time(entry.at), "  ", (entry.about, "bold"), "  ", _kind(entry)))
        for text in (_policies(entry), Text(entry.reason, "red"), Text(_cause(entry))):
            if text:
                out.print(_indented(text, 22))


def _kind(entry: Entry) -> Text:
    """The verdicts before and after, or what else it tells of."""
    before = str(entry.row.get("before", ""))
    if not before:
        return Text(f"{entry.kind.lower()} {entry.remediation}".strip(), VERDICT_COLOURS.get(entry.verdict, ""))
    text = Text(before, VERDICT_COLOURS.get(before, ""))
    if entry.verdict != before or entry.remediation not in {"", "none"}:
        text.append(" > ").append(entry.verdict, VERDICT_COLOURS.get(entry.verdict, ""))
    return text


def _policies(entry: Entry) -> Text:
    if not entry.policies or entry.kind == RoleContested.detail_type:
        return Text()
    sign = "+" if entry.row.get("attached") else "-" if entry.row.get("detached") else "lacks"
    return Text(f"{sign} {', '.join(entry.policies)}")


def _cause(entry: Entry) -> str:
    by = f" by {entry.actor}" if entry.actor else ""
    place = f" from {entry.source_address}" if entry.source_address else ""
    return f"{entry.event or 'unknown cause'}{by}{place}"


def show_status(out: Console, found: Status) -> None:
    """How the deployed stack is doing."""
    out.print(Text(f"account {found.account}, {found.region}", "bold"))
    grid = Table.grid(padding=(0, 2, 0, 0))
    grid.add_column(width=13)
    grid.add_column(overflow="fold")
    grid.add_row("last sweep", _last_sweep(found))
    grid.add_row("coverage", _coverage(found))
    grid.add_row("remediated", f"{counted(found.remediated_last_day, 'time')} in the last day")
    grid.add_row("contested", str(len(found.contested)) if found.contested else "none")
    for role in found.contested:
        times = f"{role.times} times since {_time(role.since)} by {', '.join(role.actors)}"
        grid.add_row("", Text.assemble((role.role, "bold"), f"  {times}"))
    grid.add_row("unenforceable", str(len(found.unenforceable)) if found.unenforceable else "none")
    for entry in found.unenforceable:
        kind = "user profile " if entry.kind == SubjectFinding.detail_type else ""
        text = Text.assemble((f"{kind}{entry.about}", "bold"), f"  {entry.reason or entry.verdict}")
        grid.add_row("", text.append(f"\n{entry.recommendation}" if entry.recommendation else ""))
    grid.add_row("surplus", _surplus(found))
    out.print(grid)


def _surplus(found: Status) -> str:
    sweep = found.last_sweep
    if sweep is None:
        return "not known before a sweep; see `rolewarden plan`"
    parts = []
    if roles := sweep.completed.get("surplus", 0):
        parts.append(
            f"{counted(roles, 'role')} with policies that no rule asks for: {_few(sweep.surplus_roles, of=roles)}"
        )
    if unused := sweep.completed.get("unused_policies", 0):
        names = _few(sweep.unused_policies, of=unused)
        parts.append(f"{counted(unused, 'unused policy', 'unused policies')}: {names}")
    return "\n".join([*parts, "`rolewarden detach` shows them and takes them off"]) if parts else "none"


def _coverage(found: Status) -> str:
    if found.last_sweep is None:
        return "not known before a sweep; see `rolewarden plan`"
    exempt = f", {found.exempt} exempt" if found.exempt else ""
    return f"{found.covered:,} of {found.governed:,} governed roles have what they need{exempt}"


def _last_sweep(found: Status) -> Text:
    if found.last_sweep is None or found.sweep_age is None:
        return Text("none in the last week: see SweepFunction's log", "red")
    counts, age = found.last_sweep.completed, found.sweep_age
    lacking = f"{counts.get('unprotected', 0)} of {found.governed}"
    text = Text(f"{_ago(age)} ago", "red" if age > LONG_SINCE else "")
    text.append(f", took {counts.get('seconds', 0)} s, found {lacking} roles unprotected")
    if found.last_sweep.missed:
        text.append("; not everything could be read", "yellow")
    if found.running:
        text.append(f"; another one runs since {_time(found.running.began)}")
    return text


def _ago(age: timedelta) -> str:
    seconds = max(0, round(age.total_seconds()))
    for unit, length in (("day", 86_400), ("hour", 3_600), ("minute", 60)):
        if seconds >= 2 * length:
            return counted(seconds // length, unit)
    return counted(seconds, "second")


def _time(at: datetime) -> str:
    return at.astimezone(UTC).strftime("%Y-%m-%d %H:%M:%SZ")
