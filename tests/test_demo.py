"""The demonstration ends on a machine of any speed."""

from __future__ import annotations

import io
from types import SimpleNamespace
from typing import Any, cast

from rich.console import Console
from rolewarden_local.scenes import account, demo
from rolewarden_local.scenes.account import Account

ROW = {"milliseconds": 12, "remediation_milliseconds": 34}


def test_the_drill_of_the_first_sweep_is_shown_if_drillfunction_sends_no_other(monkeypatch):
    """On a quick machine, the demonstration asks within the seconds in which DrillFunction repeats no pulse."""
    monkeypatch.setattr(account, "PATIENCE", 0.1)
    invoked: list[Any] = []
    swept = SimpleNamespace(
        history=lambda _about: [ROW],
        client=lambda _service: SimpleNamespace(invoke=lambda **payload: invoked.append(payload)),
        outputs={"DrillFunction": "drill"},
    )
    out = io.StringIO()
    demo.show_drill(cast("Account", swept), Console(file=out, width=200))
    assert len(invoked) == 1
    assert "role pulse 12 ms, subject pulse 12 ms, full drill 12 ms" in out.getvalue()
