"""What a sweep costs in AWS calls, by the size of the account: as a table for docs/architecture.md.

Half of the roles belong to user profiles, half are there by `also_govern`. Every call counts, those of the functions
that work off the queues too; what Lambda itself asks of a queue does not. Memory is the most that Python held during a
steady sweep above what it held before, the local AWS' own answers included.
"""

from __future__ import annotations

import sys
import tempfile
import tracemalloc
from pathlib import Path

from rolewarden.policies import policy_arn
from rolewarden.record import metrics
from rolewarden_local.aws import ACCOUNT_ID, LocalAws
from rolewarden_local.crowd import GUARDRAILS, bare, carry, crowd
from rolewarden_local.template import Template

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))
from tests.world import World  # noqa: E402

SIZES = (10, 100, 1_000, 10_000)


def measured(aws: LocalAws, rules: Path, roles: int) -> str:
    """One row of the table."""
    world = World(aws, Template(ROOT / "template.yaml", region="us-east-1", account=ACCOUNT_ID), rules)
    people = crowd(domains=max(1, roles // 500), profiles=roles // 2, also=roles // 2)
    first = world.calls_of_a_sweep().total()
    everybody = [*people.roles, *people.also]
    bare(everybody)
    carry(people.roles, policy_arn("approved", "aws", ACCOUNT_ID))
    carry(people.also, policy_arn("strict", "aws", ACCOUNT_ID))
    steady = world.calls_of_a_sweep().total()
    tracemalloc.start()
    world.sweep()
    held = tracemalloc.get_traced_memory()[1] / 1e6
    tracemalloc.stop()
    drifted = everybody[:: max(1, len(everybody) // max(1, len(everybody) // 100))]
    bare(drifted)
    mended = world.calls_of_a_sweep().total()
    return (
        f"| {roles:,} | {first:,} | {first / roles:.1f} | {steady:,} | {mended:,} | "
        f"{(mended - steady) / len(drifted):.1f} | {held:.0f} MB |"
    )


def main() -> None:
    """Print the table."""
    # Powertools prints what has gathered with each hundredth value.
    metrics.add_metric = lambda *_, **__: None  # type: ignore[method-assign]
    print("| governed roles | first sweep | a role | steady | 1 % drifted | a drifted role | memory, steady |")
    print("|---|---|---|---|---|---|---|")
    aws = LocalAws.start()
    with aws.connected(), tempfile.TemporaryDirectory() as folder:
        rules = Path(folder) / "guardrails.yaml"
        rules.write_text(GUARDRAILS, encoding="utf-8")
        for roles in SIZES:
            print(measured(aws, rules, roles), flush=True)


if __name__ == "__main__":
    main()
