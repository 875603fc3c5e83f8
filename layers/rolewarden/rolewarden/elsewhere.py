"""The look at the regions that the stack does not cover: it reports their domains, and resolves what is over.

A domain of such a region can use a shared role, and Rolewarden does not know its users. So a role has exceptions for
users only if the last look found that the account has no such domain (`StoredBindings.covers_domains`). A caller who
can write the row of that look has an exception until the next look, so each sweep looks first if the rules have
exceptions. Otherwise a sweep looks once a day.
"""

from __future__ import annotations

from dataclasses import dataclass

from rolewarden import reach
from rolewarden.calls import ReadsPaths
from rolewarden.clock import Clock
from rolewarden.errors import Refused, RetryLater
from rolewarden.origin import SWEEP
from rolewarden.progress import Progress
from rolewarden.record import Recorder
from rolewarden.reported import ReportedFindings, ReportedKind
from rolewarden.verdicts import Reason


@dataclass
class Elsewhere:
    """Looks at the enabled regions of accounts that are not among `covered`."""

    aws: ReadsPaths
    progress: Progress
    reported: ReportedFindings
    recorder: Recorder
    covered: tuple[str, ...]
    clock: Clock

    def look(self, account: str) -> dict[str, int | str]:
        """Report the domains, resolve what is over, and record whether the account has none. Raises RetryLater.

        If AWS does not answer, the result says so, and the last look counts for as long as it does.
        """
        now, unresolved = self.clock.now(), set[str]()
        try:
            probes = list(reach.regional_probes(self.aws, account, self.covered))
        except RetryLater as error:
            self.recorder.record_unread(f"regions of {account}", error)
            return {"unread": str(error)}
        for probe in probes:
            if probe.message and not probe.is_warning:
                refused, kind = Refused(probe.reason, probe.message), ReportedKind.OUTSIDE
                unresolved.add(self.recorder.record_account_finding(account, refused, SWEEP, kind))
        # A region that could not be read may still have a domain. A refused list of regions leaves all unread.
        unread = [probe.region for probe in probes if probe.message and probe.reason is not Reason.OUTSIDE]
        for finding in self.reported.of_account(account):
            may_last = any(finding.name.endswith(f" {region}") or not region for region in unread)
            if finding.kind is ReportedKind.OUTSIDE and finding.about not in unresolved and not may_last:
                self.recorder.record_resolved([finding], SWEEP)
        self.progress.set_regions_read(account, now, covered=not any(probe.message for probe in probes))
        return {"regions": len(unresolved)}
