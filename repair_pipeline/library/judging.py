"""``judge``: whether a repair is accepted, by rows that neither the model nor the repair has read."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from functools import partial
from typing import Any

import pandas as pd
from torch import nn

from repair_pipeline.compute.streams import numpy_stream
from repair_pipeline.evaluation import gate, judging
from repair_pipeline.library.holdout import require_outcome
from repair_pipeline.library.problem import RepairProblem
from repair_pipeline.library.repairing import Repair
from repair_pipeline.library.rows import Source, examples_of
from repair_pipeline.library.settings import configured
from repair_pipeline.library.tables import Shown
from repair_pipeline.models.copying import copied
from repair_pipeline.problem.fitting import require_readable
from repair_pipeline.treatment.control import reseeded
from repair_pipeline.treatment.protocol import Treatment
from repair_pipeline.treatment.training import Untouched
from repair_pipeline.types import Causes


@dataclass(frozen=True, repr=False)
class Verdict(Shown, gate.Verdict):
    """The gate's decision, the numbers that it rests on, and a description of the controls."""

    controls: str
    """Which controls the model was compared with, and how many of them."""

    def shown(self) -> tuple[str, pd.DataFrame]:
        """The decision with its reason, and a table of the numbers with their 95% intervals."""
        rows = [
            ("accuracy on unseen rows", self.gain, self.gain_low, self.gain_high),
            ("the same over the controls'", self.over_control, self.over_control_low, self.over_control_high),
            ("accuracy on remaining rows", self.remaining_change, self.remaining_low, float("nan")),
        ]
        if self.worst_class is not None and self.worst_class_change is not None:
            name = f"accuracy on remaining rows of class {self.worst_class}"
            rows.append((name, self.worst_class_change, float("nan"), float("nan")))
        table = pd.DataFrame(rows, columns=["change", "by", "low", "high"])
        decision = self.verdict.replace("_", " ")
        return f"{decision[0].upper()}{decision[1:]}. {self.reason} Controls: {self.controls}.", table


def judge(
    problem: RepairProblem, repaired: Repair | nn.Module, holdout: Source, remaining: Source, **settings: Any
) -> Verdict:
    """Judge a repaired model on unseen rows, by the same gate as the pipeline.

    A repair is repeated from other seeds, and compared with as many controls: the same treatment with as many random
    rows removed. For a model made elsewhere the removed rows are not known, so it stands alone, and its controls are
    the problem's model, fine-tuned with nothing removed under several seeds. They show what the model gains beyond
    fine-tuning, but not that training rows are to blame.

    The share of failures among test rows (the natural mix) is computed from all rows given here and to the problem, so
    give all rows of one test set.

    Args:
        problem: the problem that was repaired.
        repaired: a result of ``repair``, or any model that takes the same inputs and returns the same outputs.
        holdout: failures of the problem's model that neither it nor the repair has read. Those on which the problem has
            judged another model do not count. If that leaves none, all count, and the best verdict is ``recommended``.
        remaining: rows that the problem's model gets right and that neither it nor the repair has read.
        **settings: of the gate: ``level``, how much may be lost: strict, standard (the default) or exploratory; or in
            numbers ``bound`` and ``class_bound``, the share of remaining rows (of all classes, of one class) that may
            break; ``controls``, the number of controls and of repairs, at least 3.

    Returns:
        ``verdict`` is accepted, recommended, rejected, not_proven or not_a_data_problem. Changes are shares of rows.

    Raises:
        InputError: a row is also in the problem, or is right where it must be wrong or the other way round; or a
            setting is unknown or out of range.
    """
    rule = configured("judge", gate.Gate, settings)
    parts = {where: problem.read(where, rows) for where, rows in (("holdout", holdout), ("remaining", remaining))}
    rows = examples_of(parts)
    for where, right in (("holdout", False), ("remaining", True)):
        problem.holdouts.require_unseen(where, parts[where])
        require_outcome(problem.base, where, rows[where], right)
    removed: int | None = None
    treatment: Treatment | None = None
    causes = Causes(())
    if isinstance(repaired, Repair):
        repaired_model, removed, causes = repaired.model, len(repaired.causes), repaired.causes
        treatment = repaired.treatment if removed else Untouched()
        controls = f"{repaired.name} without {removed} random rows, {rule.controls} times"
    else:
        repaired_model = repaired
        controls = (
            f"finetune with nothing removed, {rule.controls} times, as the rows that this model left out are not known"
        )
    model = problem.with_logits(copied(repaired_model).to(problem.classifier.theta_hat.device)).eval()
    require_readable(model, rows["holdout"][:2], problem.classes)
    tests = problem.tests
    failures = len(tests.query) + len(tests.query_tuning) + len(rows["holdout"])
    unseen = judging.Unseen(
        rows["holdout"],
        rows["remaining"],
        failures / (failures + len(tests.guard) + len(rows["remaining"])),
        *problem.holdouts.read(judging.weights_digest(model), parts["holdout"]),
    )
    with problem.watched("judge") as progress:
        task = partial(problem.task, progress=progress)
        outcomes = judging.outcomes(
            unseen,
            model,
            (reseeded(number, treatment, causes, task) for number in range(rule.controls - 1)) if treatment else (),
            judging.controls(rule, problem.seed, task, treatment, removed or 0),
            removed=removed,
            relabels=isinstance(repaired, Repair) and repaired.relabels,
            counts=True,
            progress=progress,
        )
    (verdict,) = gate.judge(rule, [outcomes], problem.classes, numpy_stream(problem.seed, "gate"))
    return Verdict(**asdict(verdict), controls=controls)
