"""A file with wider callers, its approvers, and their service control policies of admission."""

from datetime import date

from rolewarden.guardrails import Rules
from rolewarden.guardrails_file import read_yaml
from rolewarden.prevention import wider_callers
from rolewarden_cli.admission import AdmissionPolicies
from rolewarden_cli.deployers import APPROVER, deployer_patterns

from tests.stacks import ACCOUNT, MEMBER

IAM = f"arn:aws:iam::{ACCOUNT}"
OF_SET = f"{IAM}:role/aws-reserved/sso.amazonaws.com/eu-west-1/AWSReservedSSO_"
APPROVE, APPROVE_USER, APPROVE_SET = f"{IAM}:role/ci/approve-models", f"{IAM}:user/ci/approver", f"{OF_SET}Approve_"
PROVIDER = f"{IAM}:oidc-provider/token.example.com"
FILE = f"""
guardrails:
  none: {{bedrock: {{deny: all}}, jumpstart: {{deny: all}}}}
  some: {{bedrock: {{allow: [amazon.nova-*]}}, jumpstart: {{deny: all}}}}
assignments:
  - guardrails: []
    accounts: ["{ACCOUNT}"]
    roles: [Chat, AWSReservedSSO_Science_*]
    principals: ["{IAM}:role/apps/Chat", "{IAM}:user/apps/batch", "{OF_SET}Science_*"]
  - guardrails: [some]
    accounts: ["{ACCOUNT}", "{MEMBER}"]
    domains: [research]
    principals: ["{IAM}:role/canvas/some/*", "{IAM}:role/Old", "arn:aws:iam::{MEMBER}:role/canvas/some/*"]
  - guardrails: [none, some]
    accounts: ["{ACCOUNT}"]
    principals: ["{IAM}:role/canvas/none/*"]
  - guardrails: [none]
exemptions:
  - {{role: Visitor, account: "{ACCOUNT}", until: 2126-01-31}}
"""
TODAY = date(2026, 12, 1)


def read(file: str) -> Rules:
    """The rules of a file without errors."""
    reading = read_yaml(file, today=TODAY)
    assert reading.rules is not None, reading.errors
    return reading.rules


RULES = read(FILE)
ADMIN, CHAT, SOME, OTHER, OLD = (
    f"{IAM}:role/{name}" for name in ("Admin", "apps/Chat", "canvas/some/x", "canvas/some/y", "Old")
)
BATCH, SCIENCE, VISITOR = f"{IAM}:user/apps/batch", f"{OF_SET}Science_0123456789abcdef", f"{IAM}:role/deep/Visitor"
THERE, STRICT = f"arn:aws:iam::{MEMBER}:role/canvas/some/x", f"{IAM}:role/canvas/none/x"
WIDER_ROLES = (CHAT, SOME, OTHER, OLD, SCIENCE, VISITOR, THERE)
ADMISSION = AdmissionPolicies(
    wider_callers(RULES, "aws"),
    deployer_patterns((APPROVE, APPROVE_USER, f"{APPROVE_SET}*"), "aws", ACCOUNT, APPROVER),
    (PROVIDER, f"{IAM}:saml-provider/AWSSSO_*"),
)
DOCUMENTS = ADMISSION.documents()
STATEMENTS = [statement for document in DOCUMENTS.values() for statement in document["Statement"]]
SESSION = {"aws:userid": "AROAEXAMPLE:SageMaker"}
PROFILE = f"arn:aws:sagemaker:us-east-1:{ACCOUNT}:user-profile/d-1/alice"
