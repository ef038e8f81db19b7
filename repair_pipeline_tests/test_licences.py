"""Licences of what is installed with the package: none of them forbids to use it in a closed product."""

import re
from importlib.metadata import Distribution, PackageNotFoundError, distribution

import pytest
from packaging.requirements import Requirement

KNOWN = re.compile(r"MIT|BSD|Apache|ISC|PSF|Python Software Foundation|MPL|Mozilla|Zlib|NVIDIA|OSI Approved|LGPL", re.I)
SAYS_NOTHING = {"cuda-toolkit", "huey"}
"""Their metadata name no licence: cuda-toolkit is NVIDIA's list of its own packages, huey's file LICENSE is MIT."""


def installed_with(package: str) -> dict[str, Distribution]:
    """Every package that is installed with this one, extras apart."""
    found, waiting = {}, [package]
    while waiting:
        name = waiting.pop().lower().replace("_", "-")
        try:
            needs = distribution(name).requires or []
        except PackageNotFoundError:  # for another platform, or version of Python
            continue
        if name not in found:
            found[name] = distribution(name)
            wanted = map(Requirement, needs)
            waiting += [each.name for each in wanted if each.marker is None or each.marker.evaluate({"extra": ""})]
    return found


def licence(package: Distribution) -> str:
    """What a package says of its licence: as an expression, in its classifiers, or in words."""
    metadata = package.metadata
    classified = [line.split(" :: ")[-1] for line in metadata.get_all("Classifier") or [] if line.startswith("License")]
    words = (metadata.get("License") or "").strip().splitlines()[:1]
    return metadata.get("License-Expression") or "; ".join([*classified, *words])


def forbids(said: str) -> bool:
    """Whether a licence is the GPL or the AGPL without a choice."""
    choices = re.split(r"\bOR\b", said)
    return all(re.search(r"(?<!L)GPL|(?<!Lesser )General Public License", choice) for choice in choices)


@pytest.mark.parametrize(
    ("said", "forbidden"),
    [
        ("GPL-3.0-only", True),
        ("GNU Affero General Public License v3", True),
        ("AGPL-3.0", True),
        ("LGPL-2.1", False),
        ("GNU Lesser General Public License v3 (LGPLv3)", False),
        ("GPL-2.0 OR MIT", False),
        ("MIT", False),
    ],
)
def test_the_gpl_is_told_from_others(said, forbidden):
    assert forbids(said) is forbidden


def test_no_package_that_is_needed_is_under_the_gpl_alone():
    licences = {name: licence(package) for name, package in installed_with("repair_pipeline").items()}
    assert len(licences) > 100
    assert {name for name, said in licences.items() if forbids(said)} == set()
    assert {name for name, said in licences.items() if not KNOWN.search(said)} <= SAYS_NOTHING
