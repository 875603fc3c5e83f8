"""`rolewarden sweep`."""

from __future__ import annotations

from rolewarden.own_events import SweepRequested

from rolewarden_cli.connect import Connection, of_an_account


@of_an_account
def run_sweep(connection: Connection) -> None:
    """Ask the deployed stack to check every policy and look at every role now.

    Needs AWS credentials that may put events on the default bus.

    Example: rolewarden sweep --region us-east-1
    """
    connection.recorded()
    event = SweepRequested(by="rolewarden sweep")
    connection.writer.put_events([(event.detail_type, event.detail)])
    region = connection.aws.region
    print(f"asked for a sweep in {region}: `rolewarden status` shows when it has ended")
