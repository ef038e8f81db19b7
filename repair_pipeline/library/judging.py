"""Whether a repair is accepted, by rows that nothing has read."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from functools import partial
from typing import Any

import pandas as pd
from torch import nn

from repair_pipeline.evaluation import gate, judging
from repair_pipeline.library.holdout import require_outcome
from repair_pipeline.library.problem import RepairProblem
from repair_pipeline.library.repairing import Repair
from repair_pipeline.library.rows import Source, examples_of
from repair_pipeline.library.settings import configured
from repair_pipeline.library.tables import Shown
from repair_pipeline.models.copying import copied
from repair_pipeline.problem.fitting import require_readable
from repair_pipeline.treatment.protocol import Treatment
from repair_pipeline.treatment.training import Untouched


@dataclass(frozen=True, repr=False)
class Verdict(Shown, gate.Verdict):
    """What the gate decides, the numbers that it rests on, and what the controls were."""

    controls: str

    def shown(self) -> tuple[str, pd.DataFrame]:
        """The decision with its reason, and the numbers with their 95% intervals."""
        rows = [
            ("accuracy on unseen rows", self.gain, self.gain_low, self.gain_high),
            ("holdout accuracy over the controls'", self.over_control, self.over_control_low, self.over_control_high),
            ("accuracy on remaining rows", self.remaining_change, self.remaining_low, float("nan")),
        ]
        if self.worst_class is not None and self.worst_class_low is not None:
            rows.append((f"the same of class {self.worst_class}", float("nan"), self.worst_class_low, float("nan")))
        table = pd.DataFrame(rows, columns=["change", "by", "low", "high"])
        decision = self.verdict.replace("_", " ")
        return f"{decision[0].upper()}{decision[1:]}. {self.reason} Controls: {self.controls}.", table


def judge(
    problem: RepairProblem, repaired: Repair | nn.Module, holdout: Source, remaining: Source, **settings: Any
) -> Verdict:
    """Accept a repair, reject it, or say that the data are not to blame, by the same gate as the pipeline's.

    The controls of a repair are the same treatment of as many random rows. Of a model that was made elsewhere it is not
    known which rows it left out, so its controls are the problem's model fine-tuned with nothing removed, under as many
    seeds: what it fixes beyond them is shown, and that rows are to blame is not. The natural mix of failures and other
    rows is taken to be that of all rows given here and to the problem: give all of one test set.

    Args:
        holdout: failures that nothing has read. Those that the problem has judged another model on do not count; where
            that is all of them, the best verdict is ``recommended``.
        remaining: rows that the problem's model gets right and nothing has read.
        settings: of the gate: ``bound``, ``class_bound``, ``controls``.

    Raises:
        InputError: a row is among those of the problem, or is right where it must be wrong; or a setting cannot be one.
    """
    rule = configured("judge", gate.Gate, settings)
    parts = {where: problem.read(where, rows) for where, rows in (("holdout", holdout), ("remaining", remaining))}
    rows = examples_of(parts)
    for where, right in (("holdout", False), ("remaining", True)):
        problem.holdouts.require_unseen(where, parts[where])
        require_outcome(problem.base, where, rows[where], right)
    removed: int | None = None
    treatment: Treatment | None = None
    if isinstance(repaired, Repair):
        given, removed = repaired.model, len(repaired.causes)
        treatment = repaired.treatment if removed else Untouched()
        words = f"{repaired.name} without {removed} random rows, {rule.controls} times"
    else:
        given = repaired
        words = (
            f"finetune with nothing removed, {rule.controls} times, as the rows that this model left out are not known"
        )
    model = problem.likelihood.on(copied(given)).to(problem.classifier.theta_hat.device).eval()
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
        made = judging.controls(rule, problem.seed, partial(problem.task, progress=progress), treatment, removed or 0)
        decided = judging.judged(
            rule,
            unseen,
            model,
            made,
            removed=removed,
            classes=problem.classes,
            seed=problem.seed,
            progress=progress,
        )
    return Verdict(**asdict(decided), controls=words)
