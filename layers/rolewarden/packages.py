"""Install or download the packages of a requirements.txt, each only with the hash that stands there.

    python packages.py install FOLDER [option of pip ...]
    python packages.py download FOLDER

pip compares each package with its hash, and installs none if one differs. This script adds one line that says what to
do. It needs only the standard library and pip, because `sam build` runs it before anything is installed.
"""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

REQUIREMENTS = Path(__file__).with_name("requirements.txt")

COMMANDS = {"install": "--target", "download": "--dest"}
"""The command of pip, and its option for the folder."""

ALWAYS = ("--quiet", "--disable-pip-version-check", "--no-deps", "--require-hashes", "--only-binary=:all:")
"""Options of every command. pip builds no package from source, because its build could run other code."""

PINNED = re.compile(
    r"^(?P<name>[\w.-]+)==(?P<version>\S+) \\\n(?P<hashes>(?:    --hash=sha256:[0-9a-f]{64}(?: \\)?\n)+)", re.MULTILINE
)
"""A requirement, with at least one hash."""


def pinned(requirements: Path) -> dict[str, list[str]]:
    """The SHA-256 hashes of each requirement, by `name==version`."""
    text = requirements.read_text(encoding="utf-8")
    return {
        f"{found['name']}=={found['version']}": re.findall(r"[0-9a-f]{64}", found["hashes"])
        for found in PINNED.finditer(text)
    }


def get_packages(command: str, folder: Path, options: list[str], requirements: Path = REQUIREMENTS) -> str:
    """Run pip. Return an empty text, or a line with the problem and the correction."""
    arguments = [*ALWAYS, COMMANDS[command], str(folder), *options, "-r", str(requirements)]
    pip = [sys.executable, "-m", "pip", command, *arguments]
    ran = subprocess.run(pip, stderr=subprocess.PIPE, text=True, check=False)
    if ran.returncode == 0:
        return ""
    wanted = {found: name for name, hashes in pinned(requirements).items() for found in hashes}
    changed = sorted({wanted[found] for found in re.findall(r"[0-9a-f]{64}", ran.stderr) if found in wanted})
    if "HASHES" in ran.stderr and changed:
        return (
            f"the file of {', '.join(changed)} does not have its hash in {requirements.name}, nothing was installed: "
            "delete .wheels and run `make install`; if the error stays, do not deploy"
        )
    return f"pip could not get the packages: {reason(ran.stderr)}: delete .wheels, check your network, and build again"


def reason(errors: str) -> str:
    """The last error of pip, without its prefix."""
    found = [line.removeprefix("ERROR: ") for line in errors.splitlines() if line.startswith("ERROR: ")]
    return found[-1].rstrip(".") if found else "no reason given"


def main(command: str, folder: str, *options: str) -> str | None:
    """The exit status: None, or the line to print."""
    problem = get_packages(command, Path(folder), [*options])
    return f"error: {problem}" if problem else None


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
