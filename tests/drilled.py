"""A Ground as a deployed stack that an operator drills with the command line."""

from __future__ import annotations

import contextlib
import io
import json
from collections.abc import Mapping
from typing import Any

import pytest
from rolewarden_cli import drill
from rolewarden_cli.account import DeployedStack, OperatorCalls
from rolewarden_cli.drill import Pace
from rolewarden_local.aws import ACCOUNT_ID

from tests.clinic import Clinic
from tests.drills import HOME, Ground, client
from tests.stacks import ID


class Operated:
    """A Ground whose functions the commands invoke. Time passes only while a command waits.

    - `invoked`: the functions and payloads of all invocations.
    - `clinic`: the other resources of the stack, which `rolewarden doctor` checks; None for none.
    - `log`: what the functions printed.
    """

    def __init__(self, ground: Ground, monkeypatch: pytest.MonkeyPatch, clinic: Clinic | None = None) -> None:
        self.clinic = clinic
        if clinic:
            clinic.make_function("DrillFunction")
        self.ground = ground
        self.invoked: list[tuple[str, Mapping[str, Any]]] = []
        self.log = io.StringIO()
        self.parameters = {"DrillLimitMinutes": "15"}
        monkeypatch.setattr(drill, "PACE", Pace(lambda: ground.now, self.wait))
        monkeypatch.setattr(OperatorCalls, "stack", lambda *_: self.stack)
        monkeypatch.setattr(OperatorCalls, "run", lambda _, function, payload: self.run(function, payload))

    @property
    def stack(self) -> DeployedStack:
        """The stack as CloudFormation describes it."""
        functions = ("DrillFunction",) if self.clinic else ("DrillFunction", "SweepFunction")
        more = self.clinic.stack if self.clinic else None
        resources = (
            *((name, "AWS::Lambda::Function", name) for name in functions),
            *((name, "AWS::DynamoDB::Table", name) for name in ("BindingsTable", "HistoryTable")),
            *(more.resources if more else ()),
        )
        parameters = {**(more.parameters if more else {}), **self.parameters}
        arn = f"arn:aws:cloudformation:{HOME}:{ACCOUNT_ID}:stack/rolewarden/{ID}"
        return DeployedStack("rolewarden", arn, resources, parameters)

    def run(self, function: str, payload: Mapping[str, Any]) -> Any:
        """Invoke a function of the stack."""
        self.invoked.append((function, payload))
        with contextlib.redirect_stdout(self.log):
            if function == "SweepFunction":
                return self.ground.world.sweeper.handle_event(payload)
            with self.ground.late():
                return self.ground.driller.handle(payload)

    def wait(self, seconds: float) -> None:
        """Let time pass."""
        with contextlib.redirect_stdout(self.log):
            self.ground.wait(seconds)

    def publish_metrics(self) -> None:
        """Give CloudWatch the metrics in the log, as AWS does."""
        for line in self.log.getvalue().splitlines():
            printed = json.loads(line) if line.startswith("{") else {}
            for directive in printed.get("_aws", {}).get("CloudWatchMetrics", ()):
                [names] = directive["Dimensions"]
                dimensions = [{"Name": name, "Value": printed[name]} for name in names]
                data = [
                    {
                        "MetricName": metric["Name"],
                        "Dimensions": dimensions,
                        "Values": printed[metric["Name"]],
                        "Unit": metric["Unit"],
                    }
                    for metric in directive["Metrics"]
                ]
                client("cloudwatch").put_metric_data(Namespace=directive["Namespace"], MetricData=data)
