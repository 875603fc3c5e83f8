"""The generated parts of docs/reference/verified.md, from docs/verified.yaml.

The file has a list of subjects, each with its claims. A claim is a fact about AWS that Rolewarden rests on.
`evidence` names the evidence for AWS's behavior. `tests` names tests of Rolewarden's behavior. Both can be the words
"not verified". tests/test_verified.py checks the file.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any, NamedTuple

import yaml

FILE = Path(__file__).parent / "verified.yaml"

NOT_VERIFIED = "not verified"

EVIDENCE = {
    "documentation": "A page of AWS says so.",
    "service model": "The model of the API in botocore, or the service authorization data of AWS, says so. A test "
    "reads each of these sources: it fails if the quoted words, the action or the condition key are not there.",
    "evaluator": "MiniStack's IAM evaluator, which this project did not write, decides so. It is not AWS.",
    "public report": "A captured record, an issue thread or the source of a public project shows it. AWS does not "
    "promise it.",
    NOT_VERIFIED: "The project has no source for it, or sources differ. Rolewarden assumes it.",
}
"""The kinds of evidence for AWS's behavior, the strongest first."""

GUIDES = {
    "AWSCloudFormation/latest/TemplateReference": "CloudFormation Template Reference",
    "AWSCloudFormation/latest/UserGuide": "CloudFormation User Guide",
    "AWSEC2/latest/APIReference": "EC2 API Reference",
    "AWSSimpleQueueService/latest/SQSDeveloperGuide": "SQS Developer Guide",
    "AmazonCloudWatch/latest/APIReference": "CloudWatch API Reference",
    "AmazonCloudWatch/latest/logs": "CloudWatch Logs User Guide",
    "AmazonCloudWatch/latest/monitoring": "CloudWatch User Guide",
    "chatbot/latest/adminguide": "Amazon Q Developer in chat applications Administrator Guide",
    "IAM/latest/APIReference": "IAM API Reference",
    "IAM/latest/UserGuide": "IAM User Guide",
    "STS/latest/APIReference": "STS API Reference",
    "accounts/latest/reference": "AWS Account Management Reference Guide",
    "amazondynamodb/latest/APIReference": "DynamoDB API Reference",
    "amazondynamodb/latest/developerguide": "DynamoDB Developer Guide",
    "aws-managed-policy/latest/reference": "AWS Managed Policy Reference",
    "awscloudtrail/latest/APIReference": "CloudTrail API Reference",
    "awscloudtrail/latest/userguide": "CloudTrail User Guide",
    "bedrock/latest/userguide": "Amazon Bedrock User Guide",
    "cdk/api/v2/docs": "AWS CDK reference",
    "controltower/latest/controlreference": "Control Tower Controls Reference Guide",
    "eventbridge/latest/ref": "EventBridge Events Reference",
    "eventbridge/latest/userguide": "EventBridge User Guide",
    "kms/latest/developerguide": "KMS Developer Guide",
    "lambda/latest/dg": "Lambda Developer Guide",
    "organizations/latest/userguide": "Organizations User Guide",
    "organizations/latest/APIReference": "Organizations API Reference",
    "sagemaker/latest/APIReference": "SageMaker API Reference",
    "sagemaker/latest/dg": "SageMaker Developer Guide",
    "securityhub/latest/userguide": "Security Hub User Guide",
    "service-authorization/latest/reference": "Service Authorization Reference",
    "sns/latest/api": "SNS API Reference",
    "sns/latest/dg": "SNS Developer Guide",
    "singlesignon/latest/userguide": "IAM Identity Center User Guide",
}
"""The names of AWS's guides, by the paths of their URLs."""


class Source(NamedTuple):
    """The source of a claim. Each kind of source has its own fields, and the others are empty.

    - `url`: the address of a page.
    - `model`: a service and one of its operations or shapes in botocore, for example `iam CreateRole`; `says` are words
      of its documentation.
    - `action`: an action in the service authorization data, for example `iam:AttachRolePolicy`; `key` is a condition
      key that it supports.
    - `file`: a file of this project, for example a captured CloudTrail record.
    """

    url: str = ""
    model: str = ""
    says: str = ""
    action: str = ""
    key: str = ""
    file: str = ""


class Claim(NamedTuple):
    """A fact about AWS. `matters` describes the effect if it is wrong, and `live` a way to check it in an account.

    `rolewarden verify` prints the claims with a `decisive` place in this order, because the protection depends on them.
    """

    subject: str
    id: str
    claim: str
    matters: str
    evidence: str
    sources: tuple[Source, ...]
    tests: tuple[str, ...]
    live: str
    decisive: int = 0


@cache
def claims() -> tuple[Claim, ...]:
    """All claims in the order of the file. Raises TypeError if a claim has an unknown or lacks a required field."""
    return tuple(_claims(yaml.safe_load(FILE.read_text(encoding="utf-8"))))


def _claims(subjects: Any) -> Iterator[Claim]:
    for subject in subjects:
        for raw in subject["claims"]:
            sources = tuple(
                Source(url=source) if isinstance(source, str) else Source(**source) for source in raw.pop("sources", ())
            )
            # The words "not verified" instead of tests do not count as tests.
            tests = raw.pop("tests", ())
            found = () if tests == NOT_VERIFIED else tuple(tests)
            yield Claim(**{"subject": subject["subject"], "live": "", **raw, "sources": sources, "tests": found})


def kinds() -> str:
    """The table of the kinds of evidence, with the number of claims."""
    found = Counter(claim.evidence for claim in claims())
    rows = ["| evidence | meaning | claims |", "|---|---|---|"]
    rows += [f"| {kind} | {meaning} | {found[kind]} |" for kind, meaning in EVIDENCE.items()]
    tested = sum(bool(claim.tests) for claim in claims())
    total = len(claims())
    return "\n".join([*rows, "", f"The list has {total} claims. {tested} of them have tests, {total - tested} do not."])


def unsettled() -> str:
    """The table of the claims without evidence, decisive ones first, with a way to check each in an account."""
    rows = ["| claim | how to check it in an account |", "|---|---|"]
    doubtful = sorted(
        (claim for claim in claims() if claim.evidence == NOT_VERIFIED),
        key=lambda claim: (claim.decisive == 0, claim.decisive),
    )
    return "\n".join([*rows, *(f"| {claim.claim} | {claim.live} |" for claim in doubtful)])


def all_claims() -> str:
    """A table for each subject."""
    parts = []
    for subject in dict.fromkeys(claim.subject for claim in claims()):
        rows = [f"## {subject}", "", "| claim | evidence that AWS behaves so | tests of Rolewarden |", "|---|---|---|"]
        rows += [_row(claim) for claim in claims() if claim.subject == subject]
        parts.append("\n".join(rows))
    return "\n\n".join(parts)


def _row(claim: Claim) -> str:
    sources = "; ".join(map(_source, claim.sources))
    # The source of a claim without evidence is about the same subject, but does not show the claim.
    related = "related: " if claim.evidence == NOT_VERIFIED else ""
    evidence = f"**{claim.evidence}**" + (f"; {related}{sources}" if sources else "")
    if claim.live:
        evidence += f"<br>Check: {claim.live}"
    tests = "<br>".join(map(_test, claim.tests)) or f"**{NOT_VERIFIED}**"
    return f"| **{claim.claim}**<br>If this is wrong: {claim.matters} | {evidence} | {tests} |"


def _source(source: Source) -> str:
    if source.url:
        return f"[{label(source.url)}]({source.url})"
    if source.model:
        return f"botocore, `{source.model}`: “{source.says}”"
    if source.file:
        return f"`{source.file}`"
    key = f" with the key `{source.key}`" if source.key else ""
    return f"service authorization data, `{source.action}`{key}"


def label(url: str) -> str:
    """The name of a page's guide with the page, or the host of a page without a guide."""
    match = re.fullmatch(r"https://docs\.aws\.amazon\.com/(?P<guide>.+)/(?P<page>[^/]*)", url)
    if match:
        page = re.sub(r"\.html.*", "", match["page"])
        return f"{GUIDES[match['guide']]}, {page}" if page else GUIDES[match["guide"]]
    host = url.split("/")[2]
    return f"{host}, {url.rstrip('/').rpartition('/')[2]}"


def _test(node: str) -> str:
    file, _, name = node.partition("::")
    return f"`{file}` {name.removeprefix('test_').replace('_', ' ')}"
