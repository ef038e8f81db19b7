"""The variants of a case's treatments: which method's causes each removes, and its settings."""

from __future__ import annotations

from dataclasses import dataclass, field

from repair_pipeline.cases.spec import CaseSpec, Settings, hash_of
from repair_pipeline.treatment.protocol import Removes, Search, Treatment
from repair_pipeline.treatment.treatments import TREATMENTS


@dataclass(frozen=True)
class Variant:
    """One row of the recovery table: a treatment with its settings, and what it removes."""

    treatment: str
    removes: Removes
    influence_method: str | None
    """The influence method whose causes are removed; None if the treatment uses none."""
    settings: Settings = field(hash=False)
    """Settings that differ from the treatment's defaults."""

    @property
    def name(self) -> str:
        """Unique within the case; also the name of the variant's file."""
        settings_hash = [hash_of(self.settings)[:8]] if self.settings else []
        return "-".join([self.influence_method or self.removes, self.treatment, *settings_hash])

    def make(self) -> Treatment | Search:
        """The treatment with the variant's settings."""
        return TREATMENTS[self.treatment].treatment(**self.settings)


def variants(spec: CaseSpec, treatment: str) -> list[Variant]:
    """All variants of one treatment.

    Empty if the case does not name it, or if it removes planted rows and there are none.
    """
    grid = []
    for settings in spec.treatment_settings(treatment):
        for removes in TREATMENTS[treatment].removes:
            if removes == "causes":
                grid += [Variant(treatment, removes, method, settings) for method in spec.treat]
            elif removes != "planted" or spec.plants:
                grid.append(Variant(treatment, removes, None, settings))
    return grid
