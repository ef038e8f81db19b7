"""``attribute``: scores of how much each training row harms the failures."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from repair_pipeline.datasets.labels import texts
from repair_pipeline.errors import InputError
from repair_pipeline.influence.methods import METHODS
from repair_pipeline.influence.protocol import InfluenceMethod
from repair_pipeline.library.problem import RepairProblem
from repair_pipeline.library.settings import configured, name_of, require_no_settings, require_task
from repair_pipeline.library.tables import Shown
from repair_pipeline.problem.query import QueryBased
from repair_pipeline.types import Causes, InfluenceScores

if TYPE_CHECKING:
    from matplotlib.axes import Axes


@dataclass(frozen=True, eq=False, repr=False)
class Scores(Shown):
    """r̃(z) of every scored training row. Greater is more harmful; in nats, unless ``influence.unit`` says otherwise."""

    method: str
    """Name of the influence method."""
    influence: InfluenceScores
    """The values in the order of the rows, the neutral value if there is one, and the method's notes."""
    labels: tuple[str, ...]
    """The given label of each row: the class's name, or the number."""
    positions: np.ndarray
    """Position of each row in ``train``, from 0."""

    def __len__(self) -> int:
        return len(self.labels)

    def top(self, count: int) -> Causes:
        """The ``count`` most harmful rows; ties are broken by id.

        Raises:
            InputError: ``count`` is not between 1 and the number of rows less 1.
        """
        if not 0 < count < len(self):
            raise InputError(f"top({count}) of {len(self)} rows: give a count from 1 to {len(self) - 1}")
        return self.influence.top(count)

    def to_pandas(self) -> pd.DataFrame:
        """One line per row, most harmful first: rank from 1, example_id, position in ``train``, label, influence."""
        order = self.influence.order
        return pd.DataFrame(
            {
                "rank": np.arange(1, len(order) + 1),
                "example_id": self.influence.ids[order],
                "position": self.positions[order],
                "label": np.array(self.labels, dtype=object)[order],
                "influence": self.influence.values.numpy()[order],
            }
        )

    def plot(self, ax: Axes | None = None) -> Axes:
        """Draws a histogram of the values, with a line at the neutral value if there is one.

        Args:
            ax: where to draw; None: a new figure.
        """
        if ax is None:
            from matplotlib import pyplot  # imported here because it takes a second

            _, ax = pyplot.subplots()
        ax.hist(self.influence.values.numpy(), bins=50)
        if self.influence.neutral is not None:
            ax.axvline(self.influence.neutral, color="black", linestyle="--")
        ax.set(xlabel=f"influence by {self.method} ({self.influence.unit})", ylabel="training rows")
        return ax

    def shown(self) -> tuple[str, pd.DataFrame]:
        """A summary line, and a table of the five most harmful rows."""
        neutral = self.influence.neutral
        above = "" if neutral is None else f", {int((self.influence.values > neutral).sum())} above {neutral:.3f}"
        line = f"Scores of {len(self)} training rows by {self.method}, in {self.influence.unit}{above}"
        return line, self.to_pandas().head(5)


def attribute(problem: RepairProblem, method: str | InfluenceMethod = "ewc", **settings: Any) -> Scores:
    """Score every training row by how much it opposes the correction of the failures (Eq. 7).

    Args:
        problem: the problem whose training rows are scored.
        method: an influence method's name as in case files, or an instance.
        **settings: of the method, if it is given by name.

    Returns:
        One value r̃ for each of the N scored rows, in nats unless the scores say otherwise. Greater is more harmful.

    Raises:
        InputError: the method or a setting is unknown, or the method needs what the problem lacks.
    """
    if isinstance(method, str):
        name, scorer = method, configured(method, METHODS.named(method), settings)
    else:
        require_no_settings(method, settings)
        name, scorer = name_of(method, METHODS), method
    role = METHODS[name].role if name in METHODS else "repair"
    if name in METHODS:
        require_task(problem.likelihood.form, name, METHODS[name].needs_classes, suggests=name == "cross_fit")
    if role == "reference" and not problem.corrupted:
        raise InputError(f"{name} reads which rows are known to be wrong: give the problem corrupted= ids")
    require_guard(problem, name, scorer)
    with problem.watched(name) as progress:
        influence = scorer.scores(problem.task(f"influence/{name}", progress, role))
    labels = tuple(texts(problem.fit.labels, problem.classes))
    return Scores(name, influence, labels, problem.positions)


def require_guard(problem: RepairProblem, name: str, method: object) -> None:
    """Check, before a long computation, that the problem has guard rows if the method learns them.

    Args:
        problem: the problem.
        name: of the method or treatment, for the message.
        method: an influence method or a treatment.

    Raises:
        InputError: the method needs guard rows and the problem has none.
    """
    if isinstance(method, QueryBased) and method.guard != "none" and not len(problem.tests.guard):
        raise InputError(
            f"{name} learns guard rows together with the failures, and the problem has none: give guard= rows that the "
            "model gets right, or set guard='none' if the method has that setting, which is less stable"
        )
