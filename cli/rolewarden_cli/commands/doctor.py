"""`rolewarden doctor`."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from rich.console import Console
from rich.text import Text
from rolewarden.work import DOCTOR

from rolewarden_cli import options
from rolewarden_cli.answers import print_json
from rolewarden_cli.connect import Connection, of_an_account
from rolewarden_cli.options import AsJson


@of_an_account
def run_doctor(
    connection: Connection,
    as_json: AsJson = False,
) -> None:
    """Probe whether the deployed stack can work in every region and account that it covers.

    Prints one line for each probe, for example of the trail, of the forwarder and of the entrance to an account.
    SweepFunction runs the probes with its own permissions, and every sweep runs them too. The command needs AWS
    credentials with permission to describe the stack and to invoke that function.

    Example: rolewarden doctor --region us-east-1
    """
    functions = {logical: physical for logical, _, physical in connection.deployed().resources}
    probes = connection.calls.run(functions.get("SweepFunction", ""), {"step": DOCTOR})["probes"]
    if as_json:
        print_json({"probes": probes})
    else:
        show_probes(Console(highlight=False, soft_wrap=True), probes)
    options.end(is_done=not any("message" in probe for probe in probes))


def show_probes(out: Console, probes: Iterable[Mapping[str, Any]]) -> None:
    """Print a line for each probe, with the recommended action if the probe failed."""
    for probe in probes:
        where = " ".join(filter(None, (probe["account"], probe["region"])))
        line = f"{where}  {probe['what']}"
        if "message" in probe:
            line = f"{line}: {probe['message']}: {probe['recommendation']}"
            out.print(Text.assemble(("MISSING  ", "bold red"), line))
        else:
            out.print(Text.assemble(("ok       ", "green"), line))
