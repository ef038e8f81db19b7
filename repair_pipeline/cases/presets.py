"""The cases of the studies, by name."""

import re
from collections.abc import Sequence
from difflib import get_close_matches

from repair_pipeline.cases.families import FAMILIES
from repair_pipeline.cases.spec import CaseSpec, parse_spec
from repair_pipeline.errors import InputError

_SUGGESTED = 3
"""The most names that are suggested instead of an unknown one."""
_EXAMPLES = ("digits-label_noise-s0", "mnist-label_noise-s0", "cifar10-instance-s0")


def preset(name: str) -> CaseSpec:
    """The preset called ``name``.

    Raises:
        InputError: there is no such preset.
    """
    match = re.fullmatch(r"(.+)-s(0|[1-9]\d*)", name)
    if match is None or match[1] not in FAMILIES:
        raise unknown_case(name)
    return parse_spec({"name": name, "seed": int(match[2]), **FAMILIES[match[1]]})


def unknown_case(name: str, stored: Sequence[str] = ()) -> InputError:
    """The error for a name that no case has. It suggests the most similar names.

    Args:
        name: what was given.
        stored: ids of stored cases.
    """
    seed = re.search(r"-s(0|[1-9]\d*)$", name)
    presets = [f"{family}{seed[0] if seed else '-s0'}" for family in FAMILIES]
    begun = sorted(key for key in stored if name and key.startswith(name))
    alike = begun[:_SUGGESTED] or get_close_matches(name, [*stored, *presets], _SUGGESTED)
    suggestion = f"did you mean {', '.join(alike)}? Else give" if alike else "give"
    return InputError(
        f"there is no case {name!r}: {suggestion} a preset (such as {', '.join(_EXAMPLES)}; repair list shows all), "
        "the id of a case that was run, or a YAML file"
    )


def case_id(spec: CaseSpec) -> str:
    """The case's name if the spec equals the preset of that name, else name + '-' + 8 hex digits of the canonical hash.

    A case that a nightly template made is already named uniquely, so it keeps its name.
    """
    if spec.template:
        return spec.name
    try:
        if preset(spec.name) == spec:
            return spec.name
    except InputError:
        pass
    return f"{spec.name}-{spec.digest}"
