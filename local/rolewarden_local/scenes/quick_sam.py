"""The command `sam` with libyaml instead of PyYAML's parser in Python, which takes half of the time of a `sam deploy`.

The Python of SAM CLI runs this file, so it imports nothing of Rolewarden.
"""

import sys

import yaml


def run_quickly() -> None:
    """Run SAM CLI with the arguments of this process."""
    if yaml.__with_libyaml__:
        yaml.SafeLoader, yaml.SafeDumper = yaml.CSafeLoader, yaml.CSafeDumper  # type: ignore[assignment,misc]
    from samcli.cli.main import cli  # It makes a class from the dumper.

    sys.argv[0] = "sam"
    cli()


if __name__ == "__main__":
    run_quickly()
