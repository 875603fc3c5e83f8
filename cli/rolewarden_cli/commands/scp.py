"""`rolewarden scp`."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Annotated

import typer
from rolewarden.packing import SCP_SIZE, Document
from rolewarden.prevention import FREE_SLOTS, SLOTS, compile_prevention, wider_callers

from rolewarden_cli.admission import AdmissionPolicies
from rolewarden_cli.connect import Connection, of_an_account
from rolewarden_cli.console import counted
from rolewarden_cli.deployers import APPROVER, deployer_patterns, read_trusts
from rolewarden_cli.files import need_writable, write_file
from rolewarden_cli.lines import print_document
from rolewarden_cli.notes import note
from rolewarden_cli.options import Guardrails, UsageError, local_rules, rules_in
from rolewarden_cli.protect import BOUNDARY_NAME, Protection, compact, text
from rolewarden_cli.rules import DEFAULT_FILE


@of_an_account
def run_scp(
    connection: Connection,
    deployer: Annotated[list[str] | None, typer.Option(metavar="ARN", help="The ARN of a role or user that deploys the "
                                                       "stack. The policy exempts it, and protects it from all other "
                                                       "callers. You can repeat this option.")] = None,
    boundary: Annotated[bool, typer.Option("--boundary", help="Print a permissions boundary for administrators "
                                           "instead, for an account without AWS Organizations.")] = False,
    admission: Annotated[bool, typer.Option("--admission", help="Print a service control policy that lets only "
                                            "approvers give a caller wider access to models instead.")] = False,
    approver: Annotated[list[str] | None, typer.Option(metavar="ARN", help="With --admission: the ARN of a role or "
                                                       "user that can give wider access. The policy protects it. You "
                                                       "can repeat this option.")] = None,
    guardrails: Guardrails = DEFAULT_FILE,
    out: Annotated[Path | None, typer.Option(metavar="FILE", help="Write the policy to this file.")] = None,
) -> None:  # fmt: skip
    """Print a service control policy that keeps administrators from changing the deployed stack.

    The policy has the names of the stack's resources: print it again after a deployment that adds resources. Without
    --deployer, it also keeps every administrator from updating or deleting the stack. The command names the callers
    that can become a deployer, and the gaps of a boundary. If guardrails.yaml has `trusted_taggers`, the policy denies
    all others to tag domains and user profiles. The command needs AWS credentials with permission to
    describe the stack and to read the trust policies of deployers (iam:GetRole).

    With --admission, the policy has the principals and exempt roles of guardrails.yaml instead, and needs no stack.
    docs/how-to/prevention.md has the steps to use it.

    Example: rolewarden scp --deployer arn:aws:iam::111122223333:role/deploy-rolewarden --out scp.json
    """
    need_writable(out)
    if admission:
        if boundary or deployer:
            raise UsageError("--admission prints another policy: give it without --boundary and --deployer")
        _print_admission(connection, approver or (), guardrails, out)
        return
    if approver:
        raise UsageError("--approver is for the policy about wider roles: give --admission, too")
    rules = local_rules(guardrails)
    taggers = rules.trusted_taggers if rules else ()
    protection = Protection(connection.deployed(), tuple(deployer or ()), taggers=taggers)
    trusts = read_trusts(connection.calls, (*protection.deployers, *taggers), connection.account)
    protection = replace(protection, providers=trusts.providers)
    document = protection.boundary() if boundary else protection.service_control_policy()
    if not deployer:
        note("without --deployer, no administrator under this policy can update or delete the stack")
    for line in (*protection.notes(), *trusts.notes):
        note(line)
    if boundary:
        note(f"the boundary leaves out {'; '.join(protection.left_out())}. A service control policy covers them")
        note(f"create the policy with the name {BOUNDARY_NAME}: the document protects the policy of that name")
    elif left := protection.left_out_of_scp():
        note(f"the policy has no room for a deny of {'; '.join(left)}. Such a call sends an alert")
    if out is None:
        print_document(text(document))
    else:
        write_file(out, text(document) + "\n")


def _print_admission(connection: Connection, approver: Sequence[str], guardrails: Path, out: Path | None) -> None:
    rules, partition = rules_in(guardrails), connection.aws.partition
    approvers = deployer_patterns(approver, partition, connection.account, APPROVER)
    trusts = read_trusts(connection.calls, approvers, connection.account, APPROVER)
    wider = wider_callers(rules, partition)
    documents = AdmissionPolicies(wider, approvers, trusts.providers).documents()
    if not approvers:
        note("without --approver, no caller under this policy can create or pass a wider role")
    if not wider:
        note(f"{guardrails} names no wider caller, so nothing is left to approve: write `principals` of assignments")
    for line in (*trusts.notes, *_sizes(documents, len(compile_prevention(rules, partition).policies))):
        note(line)
    if out is None and len(documents) > 1:
        raise UsageError(f"the policy needs {len(documents)} documents: name the file of the first one with --out")
    if out is None:
        for document in documents.values():
            print_document(text(document))
        return
    for number, document in enumerate(documents.values(), start=1):
        # White space counts in an SCP, so a file has none.
        write_file(out.with_stem(f"{out.stem}-{number}") if number > 1 else out, compact(document))


def _sizes(documents: dict[str, Document], of_models: int) -> list[str]:
    """The characters of each document, and the SCPs that all parts of prevention take together."""
    lines = [f"{name}: {len(compact(one)):,} of {SCP_SIZE:,} characters" for name, one in documents.items()]
    taken = len(documents) + of_models + 1
    together = (
        f"{counted(len(documents), 'SCP')} of admission, {of_models} of models (`rolewarden compile --scp`) and 1 of "
        f"protection (`rolewarden scp`) are {taken} of the {SLOTS} that a root, OU or account can have"
    )
    if taken > FREE_SLOTS:
        others = SLOTS - FREE_SLOTS
        together += f". Others take about {others}: attach a part to a level above, because denies add up"
    return [*lines, together]
