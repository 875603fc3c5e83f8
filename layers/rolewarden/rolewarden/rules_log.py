"""The record of rule changes: what each deployment changed in terms of access, and who deployed it.

The table keeps the rules of the last deployment, because AWS keeps only their policies. Whoever can write the table can
forge that row. Therefore the digest of the rules is also an output of the stack, which only CloudFormation writes: if
the row has another digest, the change is recorded as not verified. Nothing but the record depends on the row.
"""

from __future__ import annotations

import base64
import binascii
import json
import zlib
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from rolewarden.calls import ReadsDeployments
from rolewarden.changes import NO_RULES, canonical, compare_rules, digest_of_rules
from rolewarden.clock import Clock
from rolewarden.errors import Refused, RetryLater, RulesError
from rolewarden.events import cause_of
from rolewarden.guardrails import Rules
from rolewarden.guardrails_file import read_document
from rolewarden.names import about
from rolewarden.origin import DEPLOYMENT, Cause
from rolewarden.own_events import RulesChanged
from rolewarden.progress import Progress
from rolewarden.record import RULES_CHANGES, Recorder, logger

OUTPUT = "RulesDigest"
"""The output of the stack, and the attribute of its custom resource, with the digest of the deployed rules."""

MOST_LINES, LONGEST_LINE, LONGEST_JSON = 100, 500, 2_000
"""The greatest number of lines of a change, and of characters of each, also in JSON, which writes a character of some
scripts in 12. A row has 400 KB at most (DynamoDB quotas), and an event 256 KB (EventBridge quotas)."""

MOST_TEXT = 300_000
"""The greatest number of characters of the rules that the table keeps. The rules of most files take a few hundred."""

MOST_READ = 5_000_000
"""The greatest number of characters that a row of the table can unpack to."""

OPERATION = timedelta(hours=3)
"""The longest time from the call that begins an operation on the stack to the publication of its rules."""

FIRST_RULES = "first rules"
UNKNOWN_BEFORE = "the earlier rules are not known"
NOT_THE_OUTPUT = "the table's earlier rules are not those of the stack's output RulesDigest"
NAMED_LATER = "CloudTrail now shows the deployer of these rules"


@dataclass
class RulesLog:
    """Records the rule changes of the stack `stack_id` in the account `account`.

    - `rules`: the rules of this function, and `document` the parsed file that they come from.
    """

    deployments: ReadsDeployments
    progress: Progress
    recorder: Recorder
    account: str
    stack_id: str
    partition: str
    rules: Rules
    document: Any
    clock: Clock

    @property
    def digest(self) -> str:
        """The digest of the rules."""
        return digest_of_rules(self.document)

    def record_change(self) -> bool:
        """Record what these rules change, if they differ from those of the last deployment.

        Return whether the record still lacks the deployer. A failure is logged, because it must not fail a deployment.
        """
        try:
            before = self.deployments.stack_output(self.stack_id, OUTPUT)
            text = _unpacked(self.progress.published_rules(self.account))
            earlier = _document(text)
            if earlier is not None and self.digest == digest_of_rules(earlier) == (before or self.digest):
                return False
            cause = self._deployer(self.clock.now())
            self.recorder.record_rules(self._event(earlier, before, cause or DEPLOYMENT.cause))
            self.progress.set_published_rules(self.account, _packed(canonical(self.document)))
        except (Refused, RetryLater) as error:
            logger.error("the change of the rules could not be recorded", extra={"why": str(error)})
            return False
        return cause is None

    def record_deployer(self) -> bool:
        """Add the deployer to the newest record of these rules. Return whether the record still lacks the deployer.

        Everything comes from the history and from CloudTrail, so a forged message only makes this function look again.
        Raises RetryLater.
        """
        rows = self.recorder.newest(about(self.account, RULES_CHANGES))
        row = next((one for one in rows if one.get("kind") == RulesChanged.detail_type), {})
        if row.get("digest") != self.digest or Cause.from_dict(row.get("cause")) != DEPLOYMENT.cause:
            return False
        cause = self._deployer(_time_of(row))
        if cause is None:
            return True
        # The text of the row is not repeated, because this function has not compared the rules again.
        event = RulesChanged(account=self.account, cause=cause, digest=self.digest, summary=NAMED_LATER)
        self.recorder.record_deployer(row, event)
        return False

    def _event(self, earlier: Any, before: str, cause: Cause) -> RulesChanged:
        lines: list[str] = []
        summary, unverified = UNKNOWN_BEFORE, ""
        if rules := _rules(earlier, self.clock) if earlier is not None or not before else None:
            try:
                today = self.clock.today()
                change = compare_rules(rules, self.rules, self.partition, today, home=self.account)
            except RulesError as error:
                logger.warning("the rules could not be compared", extra={"why": str(error)})
            else:
                lines = [cut(line) for line in change.lines()]
                summary = FIRST_RULES if rules is NO_RULES else cut(change.summary)
                unverified = NOT_THE_OUTPUT if earlier is not None and digest_of_rules(earlier) != before else ""
        return RulesChanged(
            account=self.account,
            cause=cause,
            digest=self.digest,
            earlier_digest=before if earlier is None else digest_of_rules(earlier),
            summary=summary,
            changes=tuple(lines[:MOST_LINES]),
            more_changes=max(0, len(lines) - MOST_LINES),
            unverified=unverified,
        )

    def _deployer(self, at: float) -> Cause | None:
        """The call that began the operation on the stack, as CloudTrail shows it; None if it does not show it yet."""
        until = datetime.fromtimestamp(at, UTC)
        try:
            calls = list(self.deployments.deployment_calls(self.stack_id, until - OPERATION, until))
        except (Refused, RetryLater) as error:
            logger.warning("CloudTrail does not show the deployer", extra={"why": str(error)})
            return None
        newest = max(calls, key=lambda record: str(record.get("eventTime")), default=None)
        return cause_of(newest) if newest else None


def document_in(path: Path) -> Any:
    """The parsed content of a guardrails file that the reader has accepted."""
    text = path.read_text(encoding="utf-8-sig")
    if path.suffix == ".json":
        return json.loads(text)
    from rolewarden import yamltext  # a function reads JSON, and does not load the parser

    return yamltext.parse_yaml(text)[0]


def _rules(document: Any, clock: Clock) -> Rules | None:
    """The rules of a document; those before the first publication for None, and None if the document has errors."""
    if document is None:
        return NO_RULES
    return read_document(document, {}, file="the earlier rules", today=clock.today()).rules


def _document(text: str) -> Any:
    """The document in a text of the table; None if the text is none."""
    try:
        return json.loads(text) if text else None
    except (ValueError, RecursionError):
        return None


def _packed(text: str) -> str:
    packed = base64.b85encode(zlib.compress(text.encode())).decode()
    return packed if len(packed) <= MOST_TEXT else ""


def _unpacked(packed: str) -> str:
    """The inverse of `_packed`; empty for another text, and for one that unpacks to more than a file has."""
    try:
        stream = zlib.decompressobj()
        text = stream.decompress(base64.b85decode(packed), MOST_READ)
        return "" if stream.unconsumed_tail else text.decode()
    except (ValueError, zlib.error, binascii.Error):
        return ""


def _time_of(row: Mapping[str, Any]) -> float:
    try:
        return datetime.fromisoformat(str(row.get("at", "")).partition("#")[0]).timestamp()
    except ValueError:
        return 0.0


def cut(line: str) -> str:
    """The line, or its beginning if it is longer than LONGEST_LINE or LONGEST_JSON."""
    for most in (LONGEST_LINE, LONGEST_JSON // 12 - 3):
        if len(line) > LONGEST_LINE or len(json.dumps(line)) > LONGEST_JSON:
            line = f"{line[: most - 3]}..."
    return line
