"""From influence scores to a set of causes."""

from typing import Annotated, Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import ConfigDict, Field, PositiveInt, model_validator
from pydantic.dataclasses import dataclass
from scipy.stats import false_discovery_control

from repair_pipeline.errors import InputError
from repair_pipeline.types import Causes, InfluenceScores


@dataclass(frozen=True, config=ConfigDict(extra="forbid"))
class CausesRule:
    """Which of the ranked examples are taken for causes: exactly one of these."""

    top: PositiveInt | Literal["planted"] | None = None
    """The K most harmful; ``planted`` takes as many as were planted."""
    fraction: Annotated[float, Field(gt=0, lt=1)] | None = None
    """This fraction of D, the most harmful first (0.15 in Fig. 5)."""
    positive: Literal[True] | None = None
    """All with r̃ > 0 (Algorithm 1), or above what is neutral for the method's scores."""
    fdr: Annotated[float, Field(gt=0, lt=1)] | None = None
    """As many as keep the expected share of false causes at or below this: Benjamini and Hochberg's procedure on
    p-values, the share of cases which the model gets right that score as high. It holds as far as harmless rows of D
    score like those cases, and they are not quite alike: D's rows were trained on, and some are hard."""

    @property
    def asks_scores(self) -> bool:
        """Whether how many rows are causes depends on the scores."""
        return self.positive is not None or self.fdr is not None

    def can_count(self, scores: InfluenceScores) -> bool:
        """Whether these scores say how many rows are causes, where the rule asks the scores."""
        if self.positive:
            return scores.neutral is not None
        return self.fdr is None or scores.null is not None

    @model_validator(mode="after")
    def _exactly_one(self) -> "CausesRule":
        if sum(value is not None for value in (self.top, self.fraction, self.positive, self.fdr)) != 1:
            raise ValueError("give exactly one of top, fraction, positive, fdr")
        return self

    def causes(self, scores: InfluenceScores, planted: int) -> Causes:
        """The causes under this rule, most harmful first.

        Raises:
            InputError: the rule takes all rows, or none where nothing was planted.
        """
        if self.positive:
            if scores.neutral is None:
                raise InputError(
                    "causes.positive needs scores that have a neutral value: treat ewc, or give causes.top"
                )
            count = int((scores.values > scores.neutral).sum())
        elif self.fdr is not None:
            count = int((false_discovery_control(p_values(scores)) <= self.fdr).sum())
        elif self.fraction is not None:
            count = round(self.fraction * len(scores.ids))
        else:
            count = planted if self.top == "planted" else int(self.top or 0)
        if self.top is not None and not 0 < count < len(scores.ids):
            raise InputError(
                f"causes.top is {self.top}, that is {count} of {len(scores.ids)} rows: leave some, take some"
            )
        return scores.top(count)


def p_values(scores: InfluenceScores) -> NDArray[np.float64]:
    """P(null ≥ r̃(z)) of every z of D, by counting; never 0, as the row counts itself.

    Raises:
        InputError: the scores have no null.
    """
    if scores.null is None:
        raise InputError("causes.fdr needs the null of a method that reads failures: treat ewc, or give causes.top")
    null = np.sort(scores.null.numpy())
    at_least = len(null) - np.searchsorted(null, scores.values.numpy(), side="left")
    return (1 + at_least) / (1 + len(null))
