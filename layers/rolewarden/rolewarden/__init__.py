"""Rolewarden keeps required deny policies on every IAM role that SageMaker Canvas works with.

`reconcile` decides, `aws` talks to AWS, the rest knows neither Lambda nor botocore. The words are those of
docs/explanation/architecture.md.
"""

__version__ = "0.1.0"

POLICY_PATH = "/rolewarden/"
"""IAM path of everything that Rolewarden owns: its guardrail policies and its functions' roles."""

MEMBER_ROLES = frozenset(
    f"rolewarden-{function}" for function in ("enforce", "reconcile", "sweep", "publish", "detach")
)
"""Names of the roles in another account, under the same path, each assumed by the one function of its name."""
