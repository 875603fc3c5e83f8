"""Rolewarden keeps required deny policies attached to every IAM role that SageMaker Canvas uses.

docs/explanation/architecture.md lists the modules and defines the terms.
"""

__version__ = "1.0.0rc1"
"""The version, in the form of Python packages. The wheel, `--version`, the report and `doctor` read it here."""

POLICY_PATH = "/rolewarden/"
"""IAM path of Rolewarden's guardrail policies and of its functions' roles."""

GUARDRAILS_RESOURCE = "Guardrails"
"""Logical ID of the custom resource that publishes the guardrails. CloudFormation updates it only with a new layer, so
that an update of the stack which changes something else does not confirm the exemptions."""

MEMBER_ROLES = frozenset(
    f"rolewarden-{function}" for function in ("enforce", "reconcile", "sweep", "publish", "detach", "drill", "alert")
)
"""Names of the roles in a member account, under the same path. Each can be assumed by the function of its name only."""
