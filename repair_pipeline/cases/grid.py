"""Which treatments a case runs, on whose causes."""

from dataclasses import dataclass

from repair_pipeline.cases.spec import CaseSpec
from repair_pipeline.treatment.treatments import TREATMENTS, Removes


@dataclass(frozen=True)
class Cell:
    """One row of the recovery table: a treatment, and what it removes."""

    treatment: str
    removes: Removes
    influence_method: str | None
    """Whose causes; None where the treatment needs none."""

    @property
    def name(self) -> str:
        return f"{self.influence_method or self.removes}-{self.treatment}"


def cells(spec: CaseSpec, treatment: str) -> list[Cell]:
    """The grid of one treatment: empty where the case does not name it, or where it wants planted rows and none are."""
    if treatment not in spec.treatments:
        return []
    grid = []
    for removes in TREATMENTS[treatment].removes:
        if removes == "causes":
            grid += [Cell(treatment, removes, method) for method in spec.treat]
        elif removes == "nothing" or spec.corruption is not None:
            grid.append(Cell(treatment, removes, None))
    return grid
