"""`python -m rolewarden_local COMMAND`: the local AWS, from a terminal."""

import argparse
import json
import logging
import sys
from collections.abc import Callable
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]


def main(arguments: list[str] | None = None) -> int:
    """Run one command; 0 where it did what it is for."""
    parser = argparse.ArgumentParser("rolewarden_local", description="A local AWS to try Rolewarden on.")
    commands = parser.add_subparsers(required=True, metavar="COMMAND")

    def command(name: str, run: Callable[[argparse.Namespace], int], about: str) -> argparse.ArgumentParser:
        added = commands.add_parser(name, help=about)
        added.set_defaults(run=run)
        return added

    serve = command("serve", _serve, "serve it over HTTP, empty or seeded")
    serve.add_argument("--seed", action="store_true", help="start with two Studio domains, their profiles and roles")
    serve.add_argument("--stage", action="store_true", help="seed, and make what the stack would own, undeployed")
    playground = command("local", _local, "serve it with the stack deployed and an account to play with")
    for served in (serve, playground):
        served.add_argument("--host", default="127.0.0.1", help="address to listen on (default: %(default)s)")
        served.add_argument("--port", type=int, default=5000, help="port to listen on (default: %(default)s)")
    command("demo", _demo, "live a day of drift against the deployed stack")
    translate = command("translate", _translate, "print template.yaml as CloudFormation gets it")
    translate.add_argument("--region", default="us-east-1")
    attached = command("attached", _attached, "ask IAM whether a role has a guardrail attached (exit 0) or not (1)")
    attached.add_argument("role")
    attached.add_argument("guardrail")

    options = parser.parse_args(arguments)
    logging.basicConfig(level=logging.WARNING, format="%(levelname)s %(name)s: %(message)s")
    status: int = options.run(options)
    return status


# Each command imports what it needs: the local AWS takes a second to load.


def _serve(options: argparse.Namespace) -> int:
    from rolewarden.aws import Aws

    from rolewarden_local.aws import ACCOUNT_ID, REGION, LocalAws
    from rolewarden_local.scenes.seed import seed

    aws = LocalAws.start()
    if options.seed or options.stage:
        seed(aws)
    if options.stage:
        from rolewarden_local.scenes.deploy import write_invoke_environment
        from rolewarden_local.scenes.stage import stage
        from rolewarden_local.scenes.template import Template

        template = Template(ROOT / "template.yaml", region=REGION, account=ACCOUNT_ID)
        with aws.connected():
            guardrails = ROOT / "layers" / "guardrails" / "guardrails.yaml"
            write_invoke_environment(ROOT, stage(template, Aws(), account=ACCOUNT_ID, guardrails=guardrails))
    aws.serve_forever(options.host, options.port, ready=lambda url: print(f"ready: {url}", flush=True))  # noqa: T201
    return 0


def _local(options: argparse.Namespace) -> int:
    from rolewarden_local.scenes import playground

    return _told(lambda: playground.run_playground(ROOT, options.host, options.port))


def _demo(_options: argparse.Namespace) -> int:
    from rolewarden_local.scenes import demo

    return _told(lambda: demo.run_demo(ROOT))


def _told(run: Callable[[], None]) -> int:
    from rolewarden_local.scenes.account import StayedUnprotectedError
    from rolewarden_local.scenes.deploy import DeployError

    try:
        run()
    except (DeployError, StayedUnprotectedError, OSError) as error:
        print(f"rolewarden_local: {error}", file=sys.stderr)  # noqa: T201
        return 1
    return 0


def _translate(options: argparse.Namespace) -> int:
    from rolewarden_local.scenes.template import Template

    template = Template(ROOT / "template.yaml", region=options.region, account="111122223333")
    print(json.dumps(template.body, indent=1))  # noqa: T201
    return 0


def _attached(options: argparse.Namespace) -> int:
    from rolewarden.aws import Aws
    from rolewarden.policies import policy_arn

    from rolewarden_local.emulated._ministack import ACCOUNT_ID

    carried = Aws().attached_policies(options.role)
    return 0 if policy_arn(options.guardrail, "aws", ACCOUNT_ID) in carried else 1


if __name__ == "__main__":
    sys.exit(main())
