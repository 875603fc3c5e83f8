"""What every function that works on roles has: settings, a clock, AWS, the rules, the tables and the recorder."""

from __future__ import annotations

from rolewarden.aws import Aws
from rolewarden.bindings import BindingsTable
from rolewarden.clock import Clock
from rolewarden.guardrails import load
from rolewarden.history import History
from rolewarden.needs import Needs
from rolewarden.record import Recorder
from rolewarden.reported import ReportedFindings
from rolewarden.settings import Settings


class Runtime:
    """The parts that the collaborators of one function share. Only the composition of a function sees all of them."""

    def __init__(self, settings: Settings, aws: Aws | None = None, clock: Clock | None = None) -> None:
        """Make the parts. Raises RulesError if the guardrails that were deployed cannot be used."""
        self.clock = clock or Clock()
        self.aws = aws or Aws(account=settings.account, member_role=settings.member_role, clock=self.clock)
        self.rules = load(settings.guardrails_file, today=self.clock.today())
        self.bindings = BindingsTable(self.aws, settings.bindings_table, self.clock)
        self.needs = Needs(self.rules, self.aws.partition, self.bindings, self.clock)
        reported = ReportedFindings(self.aws, settings.bindings_table)
        self.recorder = Recorder(History(self.aws, settings.history), reported, self.clock)
