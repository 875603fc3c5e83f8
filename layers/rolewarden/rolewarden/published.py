"""The documents that Rolewarden has written to IAM, as rows of the bindings table.

IAM does not say who wrote a policy, so the text of a policy does not show whether Rolewarden or another caller wrote
it. PublishFunction therefore notes each document before it writes it. During a rule change, it keeps only statements of
these rows, and never statements that it finds in IAM. The table's policy refuses the writes of all other callers, and a
member account's administrator cannot reach the table at all.

A row is a hint, too. Only statements count that the compiler can have written (see `rolewarden.statement_forms`), so a
forged row cannot make a policy deny anything else. Without a row, a policy keeps no statement of earlier rules.
"""

from __future__ import annotations

from typing import Protocol

from rolewarden.bindings import row_key
from rolewarden.calls import WritesItems


class NotesDocuments(Protocol):
    """Reads and notes the documents that Rolewarden has written."""

    def of_account(self, account: str) -> dict[str, str]:
        """As `PublishedDocuments.of_account`."""

    def note(self, account: str, policy: str, text: str) -> None:
        """As `PublishedDocuments.note`."""


class PublishedDocuments:
    """The documents that Rolewarden has written to IAM. Methods raise RetryLater."""

    def __init__(self, aws: WritesItems, table: str) -> None:
        self.aws = aws
        self._table = table

    def of_account(self, account: str) -> dict[str, str]:
        """The text of the last document of each policy of an account, by the policy's name."""
        rows = self.aws.query(self._table, {"scope": _scope(account)})
        return {row["item"]: row["text"] for row in rows if isinstance(row.get("text"), str) and row["text"]}

    def note(self, account: str, policy: str, text: str) -> None:
        """Note the document that Rolewarden is about to write. An empty text means that it has written none."""
        self.aws.put(self._table, {**row_key((_scope(account), policy)), "text": text})


class NoDocuments:
    """No documents, for a command without a deployed stack. It remembers those of its own run."""

    def __init__(self) -> None:
        self._texts: dict[tuple[str, str], str] = {}

    def of_account(self, account: str) -> dict[str, str]:
        """As `PublishedDocuments.of_account`."""
        return {policy: text for (owner, policy), text in self._texts.items() if owner == account}

    def note(self, account: str, policy: str, text: str) -> None:
        """As `PublishedDocuments.note`."""
        self._texts[account, policy] = text


def _scope(account: str) -> str:
    return f"published/{account}"
