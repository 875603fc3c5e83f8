"""Deploy the stack of Rolewarden from the AWS CDK (Python).

Before each `cdk deploy`, package the template:

    sam build
    sam package --s3-bucket "$BUCKET" --output-template-file packaged.yaml
"""

from aws_cdk import App, Environment, Stack, Tags
from aws_cdk.cloudformation_include import CfnInclude

ACCOUNT, REGION = "111122223333", "us-east-1"

app = App()
stack = Stack(app, "rolewarden", env=Environment(account=ACCOUNT, region=REGION), termination_protection=True)
CfnInclude(
    stack,
    "Template",
    template_file="packaged.yaml",
    parameters={"AlarmEmail": "canvas-oncall@example.com", "OnDelete": "keep"},
)
Tags.of(stack).add("team", "platform")
app.synth()
