"""Write the bill of materials of the wheel of the command, as CycloneDX in JSON.

    python wheel_bom.py WHEEL FILE

The bill lists the wheel with its SHA-256 hash, and each package that `pipx install` adds to it, also those of the extra
`local`. The versions are those of the environment that runs this script, with which the tests run. pip may choose newer
ones. As `layers/rolewarden/bom.py`, the script writes the same file for the same wheel and environment.
"""

from __future__ import annotations

import hashlib
import json
import os
import sys
import zipfile
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime
from email.parser import Parser
from importlib.metadata import distribution
from pathlib import Path
from uuid import NAMESPACE_URL, uuid5

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "layers" / "rolewarden"))

from bom import IncompleteBillError, license_of, normalized
from cyclonedx.contrib.license.factories import LicenseFactory
from cyclonedx.model import HashAlgorithm, HashType, Property
from cyclonedx.model.bom import Bom
from cyclonedx.model.component import Component, ComponentType
from cyclonedx.output.json import JsonV1Dot6
from packageurl import PackageURL
from packaging.requirements import Requirement

EXTRA = "local"
"""The extra with the local AWS. `dev` is for the checkout only."""


def bill_of_wheel(wheel: Path, environment: Mapping[str, str]) -> str:
    """The bill of a wheel. Raises IncompleteBillError."""
    name, version, requirements = read_wheel(wheel)
    digest = hashlib.sha256(wheel.read_bytes()).hexdigest()
    plain = set(needed(requirements, ""))
    components = [package(each, is_extra=each not in plain) for each in sorted(needed(requirements, EXTRA))]
    bom = Bom()
    bom.metadata.component = Component(
        name=name,
        version=version,
        type=ComponentType.APPLICATION,
        licenses=[LicenseFactory().make_from_string("Apache-2.0")],
        bom_ref=f"{name}@{version}",
        hashes=[HashType(alg=HashAlgorithm.SHA_256, content=digest)],
    )
    bom.components.update(components)
    bom.register_dependency(bom.metadata.component, components)
    bom.serial_number = uuid5(NAMESPACE_URL, " ".join([digest, *(str(each.purl) for each in components)]))
    epoch = environment.get("SOURCE_DATE_EPOCH")
    bom.metadata.timestamp = datetime.fromtimestamp(int(epoch or 0), UTC)
    text = json.loads(JsonV1Dot6(bom).output_as_string())
    if epoch is None:
        del text["metadata"]["timestamp"]
    return json.dumps(text, indent=2, sort_keys=True) + "\n"


def read_wheel(wheel: Path) -> tuple[str, str, list[Requirement]]:
    """The name, the version and the requirements of a wheel."""
    with zipfile.ZipFile(wheel) as archive:
        [name] = [each for each in archive.namelist() if each.endswith(".dist-info/METADATA")]
        metadata = Parser().parsestr(archive.read(name).decode("utf-8"))
    return metadata["Name"], metadata["Version"], [Requirement(each) for each in metadata.get_all("Requires-Dist", [])]


def needed(requirements: list[Requirement], extra: str) -> Iterator[str]:
    """The names of all packages that the requirements need, each once, also those that other packages need."""
    seen: set[str] = set()
    left = [(each, extra) for each in requirements]
    while left:
        requirement, chosen = left.pop()
        name = normalized(requirement.name)
        if requirement.marker and not requirement.marker.evaluate({"extra": chosen}):
            continue
        extras = requirement.extras or {""}
        if name not in seen:
            seen.add(name)
            yield name
            left += [(Requirement(text), each) for text in distribution(name).requires or () for each in extras]


def package(name: str, *, is_extra: bool) -> Component:
    """A package that the wheel needs, in the version of this environment."""
    found = distribution(name)
    url = PackageURL("pypi", name=name, version=found.version)
    try:
        licenses = [LicenseFactory().make_from_string(license_of(name, found))]
    except IncompleteBillError:
        licenses = []  # The package names no license in a form that SPDX has, and it is not part of the wheel.
    return Component(
        name=name,
        version=found.version,
        type=ComponentType.LIBRARY,
        bom_ref=str(url),
        purl=url,
        licenses=licenses,
        properties=[Property(name="rolewarden:extra", value=EXTRA if is_extra else "")],
    )


def main(wheel: str, target: str) -> None:
    """Write the file."""
    Path(target).parent.mkdir(parents=True, exist_ok=True)
    Path(target).write_text(bill_of_wheel(Path(wheel), os.environ), encoding="utf-8")


if __name__ == "__main__":
    main(*sys.argv[1:])
