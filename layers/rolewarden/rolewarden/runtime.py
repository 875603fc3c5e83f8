"""The parts that every function for roles and policies needs: a clock, AWS, the rules, the tables and the recorder."""

from __future__ import annotations

from functools import partial

from rolewarden.aws import Aws
from rolewarden.bindings import BindingsTable
from rolewarden.clock import Clock
from rolewarden.guardrails_file import load
from rolewarden.history import History
from rolewarden.needs import Exemptions, Needs
from rolewarden.progress import CoveredAccounts
from rolewarden.record import Recorder
from rolewarden.reported import ReportedFindings
from rolewarden.settings import Settings


class Runtime:
    """The parts that the collaborators of one function share.

    Only the `of` method of each collaborator gets all of them. It passes on the parts that the collaborator needs.
    """

    def __init__(self, settings: Settings, aws: Aws | None = None, clock: Clock | None = None) -> None:
        """Create the parts. Raises RulesError if the deployed guardrails cannot be used.

        Tests and the local AWS pass `aws` and `clock`. None means those of the function.
        """
        self.clock = clock or Clock()
        self.aws = aws or Aws(account=settings.account, member_role=settings.member_role, clock=self.clock)
        self.rules = load(settings.guardrails_file, today=self.clock.today())
        self.covers = CoveredAccounts(
            self.aws, settings.bindings_table, settings.account, has_members=bool(settings.member_role)
        )
        self.bindings = BindingsTable(self.aws, settings.bindings_table, self.covers, self.clock)
        exemptions = Exemptions(self.aws, partial(self.aws.stack_published, settings.stack_id))
        history = History(self.aws, settings.history)
        self.needs = Needs(
            self.rules, self.aws.partition, self.bindings, settings.account, exemptions, self.clock, history
        )
        reported = ReportedFindings(self.aws, settings.bindings_table)
        self.recorder = Recorder(history, reported, self.clock)
