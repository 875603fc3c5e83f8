"""`rolewarden sweep`."""

from __future__ import annotations

from rolewarden.own_events import SweepRequested

from rolewarden_cli.connect import Connection, of_an_account
from rolewarden_cli.lines import print_line


@of_an_account
def run_sweep(connection: Connection) -> None:
    """Start a sweep: the deployed stack checks every policy and evaluates every role.

    The command needs AWS credentials with permission to put events on the default event bus.

    Example: rolewarden sweep --region us-east-1
    """
    connection.deployed()
    event = SweepRequested(by="rolewarden sweep")
    connection.writer.put_events([(event.detail_type, event.detail)])
    region = connection.aws.region
    print_line(f"requested a sweep in {region}: `rolewarden status` shows its end")
