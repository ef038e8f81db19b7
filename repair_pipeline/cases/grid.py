"""Which treatments a case runs, on whose causes, with which settings."""

from __future__ import annotations

from dataclasses import dataclass, field

from repair_pipeline.cases.spec import CaseSpec, Settings, hash_of
from repair_pipeline.treatment.auto import Auto
from repair_pipeline.treatment.protocol import Removes, Treatment
from repair_pipeline.treatment.treatments import TREATMENTS


@dataclass(frozen=True)
class Variant:
    """One row of the recovery table: a treatment with its settings, and what it removes."""

    treatment: str
    removes: Removes
    influence_method: str | None
    """Whose causes; None where the treatment needs none."""
    settings: Settings = field(hash=False)
    """Departures from the treatment's defaults."""

    @property
    def name(self) -> str:
        """Names the variant within its case, and its file."""
        setting = [hash_of(self.settings)[:8]] if self.settings else []
        return "-".join([self.influence_method or self.removes, self.treatment, *setting])

    def make(self) -> Treatment | Auto:
        """The treatment with the variant's settings."""
        return TREATMENTS[self.treatment].treatment(**self.settings)


def variants(spec: CaseSpec, treatment: str) -> list[Variant]:
    """The grid of one treatment: empty where the case does not name it, or where it wants planted rows and none are."""
    grid = []
    for settings in spec.treatment_settings(treatment):
        for removes in TREATMENTS[treatment].removes:
            if removes == "causes":
                grid += [Variant(treatment, removes, method, settings) for method in spec.treat]
            elif removes != "planted" or spec.plants:
                grid.append(Variant(treatment, removes, None, settings))
    return grid
