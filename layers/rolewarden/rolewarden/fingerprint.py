"""The fingerprint of a set of rules. Two copies of Rolewarden with the same fingerprint enforce the same rules."""

from __future__ import annotations

import hashlib
import json

from rolewarden.documents import digest
from rolewarden.guardrails import Rules
from rolewarden.policies import compile_rules


def fingerprint(rules: Rules, partition: str) -> str:
    """The SHA-256 digest, in hexadecimal, of the content of `rules` and of the policies that they compile to.

    The policies are part of it because another version of Rolewarden can compile the same rules to other policies.
    Comments and layout of the file do not count. Raises RulesError if the rules cannot be compiled.
    """
    policies = {policy.name: digest(policy.document) for policy in compile_rules(rules, partition)}
    said = json.dumps([rules._asdict(), policies], sort_keys=True, default=_plain)
    return hashlib.sha256(said.encode()).hexdigest()


def _plain(value: object) -> object:
    return dict(value) if hasattr(value, "keys") else str(value)  # type: ignore[call-overload]
