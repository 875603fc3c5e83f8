"""`rolewarden scp`."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated

import typer

from rolewarden_cli.connect import Connection, of_an_account
from rolewarden_cli.protect import BOUNDARY_NAME, Protection, text
from rolewarden_cli.rules import UnwritableError


@of_an_account
def run_scp(
    connection: Connection,
    deployer: Annotated[list[str] | None, typer.Option(metavar="ARN-PATTERN", help="Who deploys the stack: is denied "
                                                       "nothing. May be given again.")] = None,
    boundary: Annotated[bool, typer.Option("--boundary", help="A permissions boundary for administrators instead: "
                                           "for an account without AWS Organizations.")] = False,
    out: Annotated[Path | None, typer.Option(metavar="FILE", help="Write it there.")] = None,
) -> None:  # fmt: skip
    """Print the service control policy that keeps people from taking the deployed stack apart.

    It has the stack's real names: print it anew after a deployment that adds to the stack. Without --deployer nobody
    can update or delete the stack where it is in force. Needs AWS credentials that may describe the stack.

    Example: rolewarden scp --deployer 'arn:aws:iam::*:role/deploy' --out scp.json
    """
    protection = Protection(connection.deployed(), tuple(deployer or ()))
    document = protection.boundary() if boundary else protection.service_control_policy()
    if not deployer:
        print("rolewarden: no --deployer: nobody under this can update or delete the stack", file=sys.stderr)
    if boundary:
        print(f"rolewarden: create it as {BOUNDARY_NAME}: it protects itself by that name", file=sys.stderr)
    if out is None:
        print(text(document))
        return
    try:
        out.write_text(text(document) + "\n", encoding="utf-8")
    except OSError as error:
        raise UnwritableError(f"{out}: cannot be written: {error.strerror}: give another file with --out") from None
    print(out)
