"""The control objectives that the sections of the report support, and the controls of AWS next to it.

A section supports an objective: it is evidence for one part of it, and does not fulfil it alone. docs/verified.yaml has
the sources. A control without a source that the project could read is left out.
"""

from __future__ import annotations

from typing import NamedTuple

NIST, ISO_27001, ISO_42001 = "NIST SP 800-53 Rev. 5", "ISO/IEC 27001:2022", "ISO/IEC 42001:2023"


class ControlObjective(NamedTuple):
    """A control of a framework.

    - `says`: its objective in short, in our words.
    - `sections`: the IDs of the sections of the report that support it, and `how` they do.
    - `source`: an address. For a control of NIST, it is AWS's own mapping of a similar check, if AWS has one. ISO sells
      its standards, so the sources for ISO's controls are public explanations of them.
    """

    framework: str
    control: str
    title: str
    says: str
    sections: tuple[str, ...]
    how: str
    source: str


_IAM_CONTROLS = "https://docs.aws.amazon.com/securityhub/latest/userguide/iam-controls.html"
_CONFIG_CONTROLS = "https://docs.aws.amazon.com/securityhub/latest/userguide/config-controls.html"
_SI_7 = (
    "https://cloud.ibm.com/docs/framework-financial-services-controls?topic=framework-financial-services-controls-si-7"
)
_ACCESS_CONTROL = "https://www.isms.online/iso-27001/annex-a/5-15-access-control-2022/"
_PRIVILEGED = "https://www.isms.online/iso-27001/annex-a/8-2-use-of-privileged-access-rights-2022"
_RESPONSIBLE = "https://controlstack.au/controls/iso42001-annex-a-9-2-processes-for-responsible-use-of-ai-systems/"

CONTROLS = (
    ControlObjective(
        NIST, "AC-3", "Access Enforcement", "The system enforces the approved access.",
        ("people", "access", "policies"),
        "They show the access that AWS grants to each person, and the policies that limit it.",
        _IAM_CONTROLS,
    ),
    ControlObjective(
        NIST, "AC-6", "Least Privilege", "People have only the access that their tasks need.",
        ("answer", "people", "exceptions"),
        "They show the people who can use every model, and the reason for each exemption.",
        _IAM_CONTROLS,
    ),
    ControlObjective(
        NIST, "CM-6", "Configuration Settings",
        "Settings are documented and implemented, and deviations are approved and monitored.",
        ("rules", "exceptions", "findings"),
        "They show the documented rules with their mode, the approved deviations, and the differences from the rules.",
        _CONFIG_CONTROLS,
    ),
    ControlObjective(
        NIST, "SI-7", "Software, Firmware, and Information Integrity",
        "Unauthorized changes are detected, and the organization reacts to them.",
        ("tampering", "unprotected", "alive"),
        "They show each detected change with its caller, how long it was in effect, and whether detection worked.",
        _SI_7,
    ),
    ControlObjective(
        ISO_27001, "A.5.15", "Access control", "Rules for access are established and implemented.",
        ("rules", "people", "access"),
        "They show the rules for access to models, and the access that results.",
        _ACCESS_CONTROL,
    ),
    ControlObjective(
        ISO_27001, "A.8.2", "Privileged access rights", "Privileged access is restricted and managed.",
        ("exceptions", "people", "tampering"),
        "They show exempt roles with their approvals and last days, and callers who changed guardrails.",
        _PRIVILEGED,
    ),
    ControlObjective(
        ISO_42001, "A.9.2", "Processes for responsible use of AI systems",
        "Processes for the responsible use of AI systems are defined and documented.",
        ("rules", "people", "exceptions"),
        "They show which models are approved for whom, and how exceptions were approved.",
        _RESPONSIBLE,
    ),
)  # fmt: skip
"""The control objectives, by framework."""


class AwsControl(NamedTuple):
    """A public control of AWS near to generative AI: what it checks, and what this report has in addition."""

    service: str
    control: str
    checks: str
    beside: str
    source: str


AWS_CONTROLS = (
    AwsControl(
        "AWS Security Hub CSPM, AWS Config", "IAM.1, iam-policy-no-statements-with-admin-access",
        "A customer managed policy does not allow every action on every resource.",
        "It evaluates one policy. This report shows what all policies of a role together allow for each model.",
        _IAM_CONTROLS,
    ),
    AwsControl(
        "AWS Security Hub CSPM, AWS Config",
        "BedrockAgentCore.1, bedrockagentcore-runtime-private-network-required",
        "A runtime of Amazon Bedrock AgentCore works in a private network.",
        "It is about the network. This report is about the people who can call a model.",
        "https://docs.aws.amazon.com/securityhub/latest/userguide/bedrockagentcore-controls.html",
    ),
    AwsControl(
        "AWS Security Hub CSPM, AWS Config", "SageMaker.1, sagemaker-notebook-no-direct-internet-access",
        "A notebook instance of SageMaker AI has no direct access to the internet.",
        "It is about the network. This report is about models, and covers SageMaker domains.",
        "https://docs.aws.amazon.com/securityhub/latest/userguide/sagemaker-controls.html",
    ),
    AwsControl(
        "AWS Control Tower", "CT.SAGEMAKER.PR.1",
        "A CloudFormation template creates no notebook instance with direct access to the internet.",
        "It checks templates before a deployment. This report shows the access in the account.",
        "https://docs.aws.amazon.com/controltower/latest/controlreference/sagemaker-rules.html",
    ),
)  # fmt: skip
"""Public controls of AWS about generative AI and SageMaker that the project could read. None of them decides which
person can use which model."""
