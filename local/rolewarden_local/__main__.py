"""`python -m rolewarden_local COMMAND`: the local AWS on the command line."""

import argparse
import json
import logging
import sys
from collections.abc import Callable

from rolewarden.errors import RolewardenError
from rolewarden_cli import shipped
from rolewarden_cli.local import needs_extra


def main(arguments: list[str] | None = None) -> int:
    """Run one command and return its exit code: 0 for success, 1 after one line that describes the error."""
    parser = argparse.ArgumentParser("rolewarden_local", description="A local AWS to try Rolewarden on.")
    commands = parser.add_subparsers(required=True, metavar="COMMAND")

    def command(name: str, run: Callable[[argparse.Namespace], int], about: str) -> argparse.ArgumentParser:
        added = commands.add_parser(name, help=about)
        added.set_defaults(run=run)
        return added

    serve = command("serve", _serve, "serve the local AWS over HTTP, empty or seeded")
    serve.add_argument("--seed", action="store_true", help="start with two Studio domains, their profiles and roles")
    serve.add_argument(
        "--stage", action="store_true", help="seed it, and make the stack's resources without a deployment"
    )
    playground = command("local", _local, "serve it with the stack deployed, and print commands to try")
    for served in (serve, playground):
        served.add_argument("--host", default="127.0.0.1", help="address to listen on (default: %(default)s)")
        served.add_argument("--port", type=int, default=5000, help="port to listen on (default: %(default)s)")
    command("demo", _demo, "deploy the stack, cause drift in six scenes, and print how Rolewarden answers")
    translate = command("translate", _translate, "print template.yaml as SAM passes it to CloudFormation")
    translate.add_argument("--region", default="us-east-1")
    attached = command("attached", _attached, "ask IAM whether a role has a guardrail attached (exit 0) or not (1)")
    attached.add_argument("role")
    attached.add_argument("guardrail")

    options = parser.parse_args(arguments)
    logging.basicConfig(level=logging.WARNING, format="%(levelname)s %(name)s: %(message)s")
    try:
        with needs_extra():
            status: int = options.run(options)
    except (RolewardenError, OSError) as error:
        print(f"rolewarden_local: {error}", file=sys.stderr)  # noqa: T201
        return 1
    return status


# Each command imports only the modules that it needs, because the local AWS takes a second to load.


def _serve(options: argparse.Namespace) -> int:
    from rolewarden.aws import Aws

    from rolewarden_local.aws import ACCOUNT_ID, REGION, LocalAws
    from rolewarden_local.scenes.seed import seed

    aws = LocalAws.start()
    if options.seed or options.stage:
        seed(aws)
    if options.stage:
        from rolewarden_cli.connect import quiet

        from rolewarden_local.scenes.deploy import write_invoke_environment
        from rolewarden_local.scenes.stage import stage
        from rolewarden_local.scenes.template import Template

        root = shipped.ROOT
        template = Template(root / "template.yaml", region=REGION, account=ACCOUNT_ID)
        # The log lines of the code that stages the account are meant for the log of a function.
        with quiet(), aws.connected():
            guardrails = root / "layers" / "guardrails" / "guardrails.yaml"
            environment = stage(template, Aws(), account=ACCOUNT_ID, guardrails=guardrails)
        if shipped.IS_CHECKOUT:
            write_invoke_environment(root, environment)
    aws.serve_forever(options.host, options.port, ready=lambda url: print(f"ready: {url}", flush=True))  # noqa: T201
    return 0


def _local(options: argparse.Namespace) -> int:
    root = shipped.checkout("a stack that SAM CLI builds and deploys")
    from rolewarden_local.scenes.playground import run_playground

    run_playground(root, options.host, options.port)
    return 0


def _demo(_options: argparse.Namespace) -> int:
    root = shipped.checkout("a stack that SAM CLI builds and deploys")
    from rolewarden_local.scenes.demo import run_demo

    run_demo(root)
    return 0


def _translate(options: argparse.Namespace) -> int:
    from rolewarden_local.scenes.template import Template

    template = Template(shipped.ROOT / "template.yaml", region=options.region, account="111122223333")
    print(json.dumps(template.body, indent=1))  # noqa: T201
    return 0


def _attached(options: argparse.Namespace) -> int:
    from rolewarden.aws import Aws
    from rolewarden.policies import policy_arn

    from rolewarden_local.aws import ACCOUNT_ID

    attached = Aws().attached_policies(options.role)
    return 0 if policy_arn(options.guardrail, "aws", ACCOUNT_ID) in attached else 1


if __name__ == "__main__":
    sys.exit(main())
