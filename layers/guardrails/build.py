"""Check guardrails.yaml, and write it as JSON into the layer. A function reads it as the package rolewarden_rules."""

import json
import shutil
import sys
import tempfile
from datetime import UTC, datetime
from pathlib import Path

from packages import get_packages
from rolewarden.check import check
from rolewarden.known import known_models


def need_yaml() -> None:
    """Install PyYAML for the build if this Python does not have it. The layer itself contains no YAML parser.

    pip accepts only the files whose hashes stand in requirements.txt.
    """
    try:
        import yaml  # noqa: F401
    except ImportError:
        folder = tempfile.mkdtemp()
        if problem := get_packages("install", Path(folder), [], Path(__file__).with_name("requirements.txt")):
            sys.exit(f"error: {problem}")
        sys.path.insert(0, folder)


def main(source: Path, target: Path) -> int:
    """Write the JSON file, and return 0. If guardrails.yaml has errors, print them and return 1."""
    need_yaml()
    from rolewarden import yamltext

    checked = check(source, today=datetime.now(UTC).date(), known=known_models())
    for problem in checked.errors:
        print("error:", problem, file=sys.stderr)
    for problem in checked.warnings:
        print("warning:", problem, file=sys.stderr)
    if checked.rules is None:
        return 1
    target.mkdir(parents=True, exist_ok=True)
    document, _ = yamltext.parse_yaml(source.read_text(encoding="utf-8-sig"))
    (target / "__init__.py").write_text("", encoding="utf-8")
    (target / "guardrails.json").write_text(json.dumps(document, indent=1) + "\n", encoding="utf-8")
    shutil.copy(source, target / source.name)
    return 0


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1]), Path(sys.argv[2])))
