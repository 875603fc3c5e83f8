"""`rolewarden scp`."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Annotated

import typer

from rolewarden_cli.connect import Connection, of_an_account
from rolewarden_cli.deployers import read_trusts
from rolewarden_cli.lines import print_document, print_line
from rolewarden_cli.notes import note
from rolewarden_cli.options import Guardrails, local_rules
from rolewarden_cli.protect import BOUNDARY_NAME, Protection, text
from rolewarden_cli.rules import DEFAULT_FILE, UnwritableError


@of_an_account
def run_scp(
    connection: Connection,
    deployer: Annotated[list[str] | None, typer.Option(metavar="ARN", help="The ARN of a role or user that deploys the "
                                                       "stack. The policy exempts it, and protects it from all other "
                                                       "callers. You can repeat this option.")] = None,
    boundary: Annotated[bool, typer.Option("--boundary", help="Print a permissions boundary for administrators "
                                           "instead, for an account without AWS Organizations.")] = False,
    guardrails: Guardrails = DEFAULT_FILE,
    out: Annotated[Path | None, typer.Option(metavar="FILE", help="Write the policy to this file.")] = None,
) -> None:  # fmt: skip
    """Print a service control policy that keeps administrators from changing the deployed stack.

    The policy has the names of the stack's resources: print it again after a deployment that adds resources. Without
    --deployer, it also keeps every administrator from updating or deleting the stack. The command names the callers
    that can become a deployer, and the gaps of a boundary. If guardrails.yaml has `trusted_taggers`, the policy denies
    all others to tag domains and user profiles. The command needs AWS credentials with permission to
    describe the stack and to read the trust policies of deployers (iam:GetRole).

    Example: rolewarden scp --deployer arn:aws:iam::111122223333:role/deploy-rolewarden --out scp.json
    """
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
        return
    try:
        out.write_text(text(document) + "\n", encoding="utf-8")
    except OSError as error:
        raise UnwritableError(f"{out}: cannot be written: {error.strerror}: give another file with --out") from None
    print_line(out)
