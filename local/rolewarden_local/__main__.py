"""`python -m rolewarden_local serve`: the local AWS as a server."""

import argparse
import logging

from rolewarden_local.aws import HEALTH_PATH, LocalAws
from rolewarden_local.seed import seed


def main(arguments: list[str] | None = None) -> None:
    """Serve until told to end (SIGTERM, SIGINT)."""
    parser = argparse.ArgumentParser("rolewarden_local", description="A local AWS to try Rolewarden on.")
    serve = parser.add_subparsers(required=True, metavar="COMMAND").add_parser("serve", help="serve it over HTTP")
    serve.add_argument("--host", default="127.0.0.1", help="address to listen on (default: %(default)s)")
    serve.add_argument(
        "--port", type=int, default=5000, help="port to listen on, 0 for a free one (default: %(default)s)"
    )
    serve.add_argument("--seed", action="store_true", help="start with two Studio domains, their profiles and roles")
    options = parser.parse_args(arguments)

    logging.basicConfig(level=logging.WARNING, format="%(levelname)s %(name)s: %(message)s")
    aws = LocalAws.start()
    if options.seed:
        seed(aws)
    aws.serve_forever(options.host, options.port, ready=_announce)


def _announce(url: str) -> None:
    print(f"local AWS on {url} (health: {url}{HEALTH_PATH}); export AWS_ENDPOINT_URL={url}", flush=True)  # noqa: T201


if __name__ == "__main__":
    main()
