"""`rolewarden compile`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Annotated

import typer
from rolewarden.packing import POLICY_SIZE, SCP_SIZE
from rolewarden.prevention import FREE_SLOTS, SLOTS, WITH_NOT_RESOURCE, Prevention, Scope, compile_prevention

from rolewarden_cli import console
from rolewarden_cli.answers import print_json
from rolewarden_cli.commands import ExitCode
from rolewarden_cli.console import counted, show_problems
from rolewarden_cli.files import need_folder, write_all
from rolewarden_cli.fixed_boundaries import PATH, FixedBoundaries, compile_fixed_boundaries
from rolewarden_cli.lines import print_document, print_line
from rolewarden_cli.notes import note
from rolewarden_cli.options import AsJson, RulesFile, UsageError
from rolewarden_cli.protect import compact, text
from rolewarden_cli.rules import DEFAULT_FILE, CheckedFile, readable
from rolewarden_cli.shipped import here_or_shipped


def run_compile(
    file: RulesFile = DEFAULT_FILE,
    scp: Annotated[bool, typer.Option("--scp", help="Print service control policies (SCPs) that deny at use, instead "
                                      "of IAM policies.")] = False,
    boundaries: Annotated[bool, typer.Option("--boundaries", help="Print a fixed permissions boundary for the roles of "
                                             "each assignment, and SCPs that protect it, for accounts without room for "
                                             "more SCPs.")] = False,
    scope: Annotated[Scope, typer.Option(help="The callers that the SCPs restrict: all of an account, or only sessions "
                                         "that SageMaker names.")] = Scope.ACCOUNT,
    partition: Annotated[str, typer.Option(metavar="PARTITION", help="The partition of the SCPs, for example "
                                           "aws-us-gov.")] = "aws",
    out: Annotated[Path | None, typer.Option(metavar="DIR", help="Write each policy to a file there.")] = None,
    as_json: AsJson = False,
) -> None:  # fmt: skip
    """Print the IAM policies or the service control policies that guardrails.yaml compiles to.

    With --scp or --boundaries, the command also prints the characters of the policies and the number of SCPs to attach.
    It needs no AWS credentials. docs/how-to/prevention.md has the steps to use these policies.

    Example: rolewarden compile --scp --out policies
    """
    if not scp and (scope is not Scope.ACCOUNT or (partition != "aws" and not boundaries)):
        raise UsageError("--scope and --partition are for service control policies: give --scp, too")
    if boundaries and (scp or partition not in WITH_NOT_RESOURCE):
        raise UsageError(
            "--boundaries prints other service control policies, which need NotResource: give it without --scp, and "
            f"with --partition {' or '.join(sorted(WITH_NOT_RESOURCE))}"
        )
    need_folder(out)
    found = CheckedFile.at(here_or_shipped(file))
    show_problems(console.console(stderr=True, soft_wrap=True), found.problems(scp=scp or boundaries))
    if found.checked.rules is None:
        raise typer.Exit(ExitCode.ERROR)
    if scp:
        prevention = compile_prevention(found.checked.rules, partition, scope)
        _show_prevention(prevention, scope, partition, out, as_json)
        return
    if boundaries:
        _show_boundaries(compile_fixed_boundaries(found.checked.rules, partition), out, as_json)
        return
    texts = {policy.name: readable(policy) for policy in found.policies}
    written = write_all({name: f"{text}\n" for name, text in texts.items()}, out) if out else None
    if as_json:
        print_json({"policies": {policy.name: policy.document for policy in found.policies}})
    else:
        _show(texts, written)


def _show(texts: Mapping[str, str], written: Sequence[Path] | None) -> None:
    """Print the files that were `written`, or the texts of the policies by their names if there are none."""
    if written is not None:
        for path in written:
            print_line(path)
        return
    for name, readable_text in texts.items():
        print_line(name)
        print_document(readable_text)


def _show_prevention(prevention: Prevention, scope: Scope, partition: str, out: Path | None, as_json: bool) -> None:
    policies = prevention.policies
    # White space counts in an SCP, so a file has none.
    written = write_all({policy.name: policy.text for policy in policies}, out) if out else None
    if as_json:
        print_json(
            {
                "policies": {policy.name: policy.document for policy in policies},
                "characters": {policy.name: len(policy.text) for policy in policies},
                "scope": scope,
                "partition": partition,
                "observed": list(prevention.observed),
                "without_not_resource": list(prevention.without_not_resource),
                "exemptions_without_account": list(prevention.exemptions_without_account),
            }
        )
    else:
        _show({policy.name: text(policy.document) for policy in policies}, written)
    for line in _notes(prevention, partition):
        note(line)


def _show_boundaries(found: FixedBoundaries, out: Path | None, as_json: bool) -> None:
    documents = found.scps | {one.name: one.document for one in found.boundaries}
    written = write_all({name: compact(document) for name, document in documents.items()}, out) if out else None
    if as_json:
        print_json(
            {
                "policies": found.scps,
                "boundaries": {one.name: one.document for one in found.boundaries},
                "arns": {one.name: list(one.arns) for one in found.boundaries},
                "roles": {one.name: list(one.roles) for one in found.boundaries},
                "left_out": dict(found.left_out),
            }
        )
    else:
        _show({name: text(document) for name, document in documents.items()}, written)
    for name, document in found.scps.items():
        note(f"{name}: {len(compact(document)):,} of {SCP_SIZE:,} characters")
    for one in found.boundaries:
        taken = f"{len(compact(one.document)):,} of {POLICY_SIZE:,} characters"
        note(f"{one.name}: {taken}. Create it under {PATH} in the accounts of {', '.join(one.roles)}")
    for principal, reason in found.left_out:
        note(f"{principal} gets the strictest rules: {reason}")
    if not found.boundaries:
        note(
            "no assignment has a boundary: name paths or roles of assignments with fewer guardrails under `principals`"
        )


def _notes(prevention: Prevention, partition: str) -> list[str]:
    policies = prevention.policies
    lines = [f"{policy.name}: {len(policy.text):,} of {SCP_SIZE:,} characters" for policy in policies]
    taken = f"{counted(len(policies), 'SCP')} of the {SLOTS} that a root, OU or account can have"
    if not policies:
        lines.append("every guardrail is in observe mode, so the SCP would deny nothing: write `mode: enforce`")
    elif len(policies) > FREE_SLOTS:
        lines.append(
            f"{taken}. Others take about {SLOTS - FREE_SLOTS}: attach a part to a level above, because denies add up"
        )
    else:
        lines.append(taken)
    if prevention.observed and policies:
        lines.append(f"in observe mode, so not in the SCP: {', '.join(prevention.observed)}")
    if prevention.without_not_resource:
        lines.append(
            f"AWS documents no NotResource in SCPs of {partition}, so these statements are only in the attached "
            f"policies: {', '.join(prevention.without_not_resource)}"
        )
    return lines
