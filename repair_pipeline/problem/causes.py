"""Selecting the causes from influence scores."""

from typing import Annotated, Literal

from pydantic import ConfigDict, Field, PositiveInt, model_validator
from pydantic.dataclasses import dataclass

from repair_pipeline.errors import InputError
from repair_pipeline.problem.calibration import within_false_share
from repair_pipeline.types import Causes, InfluenceScores


@dataclass(frozen=True, config=ConfigDict(extra="forbid"))
class CausesRule:
    """How many of the ranked examples are causes: exactly one of the fields is given.

    Raises:
        ValueError: not exactly one field is given.
    """

    top: PositiveInt | Literal["planted"] | None = None
    """The K most harmful rows; ``planted``: as many as were planted."""
    fraction: Annotated[float, Field(gt=0, lt=1)] | None = None
    """The most harmful fraction of D (0.15 in Fig. 5)."""
    positive: Literal[True] | None = None
    """All rows with r̃ > 0 (Algorithm 1), or above the neutral value of the method's scores."""
    fdr: Annotated[float, Field(gt=0, lt=1)] | None = None
    """The bound on the expected share of false causes, by the scores' calibrated P(harmful) (``calibration.py``): as
    many of the most harmful rows as keep the mean of 1 − P at or below it. May select no row."""

    harmful: Annotated[float, Field(gt=0, lt=1)] | None = None
    """The least P(harmful) of a cause: more rows than by ``fdr``, for treatments that weigh them by P."""

    @property
    def calibrates(self) -> bool:
        """Whether the rule needs calibrated scores."""
        return self.fdr is not None or self.harmful is not None

    @property
    def asks_scores(self) -> bool:
        """Whether the number of causes depends on the scores."""
        return self.positive is not None or self.calibrates

    def can_count(self, scores: InfluenceScores) -> bool:
        """Whether these scores have what the rule needs: a neutral value, or probabilities."""
        if self.positive:
            return scores.neutral is not None
        return not self.calibrates or scores.probability is not None

    @property
    def _given(self) -> tuple[object, ...]:
        return (self.top, self.fraction, self.positive, self.fdr, self.harmful)

    @model_validator(mode="after")
    def _exactly_one(self) -> "CausesRule":
        if sum(value is not None for value in self._given) != 1:
            raise ValueError("give exactly one of top, fraction, positive, fdr, harmful")
        return self

    def causes(self, scores: InfluenceScores, planted: int) -> Causes:
        """The causes under this rule, most harmful first.

        Args:
            scores: of all rows of D.
            planted: number of planted rows.

        Raises:
            InputError: ``top`` takes no row or all rows, or the scores lack the neutral value or the
                probabilities that are needed.
        """
        if self.positive:
            if scores.neutral is None:
                raise InputError("causes.positive needs scores with a neutral value: treat ewc, or set causes.top")
            count = int((scores.values > scores.neutral).sum())
        elif self.calibrates:
            if scores.probability is None:
                raise InputError("causes.fdr and causes.harmful need calibrated scores: set causes.top instead")
            if self.harmful is not None:
                count = int((scores.probability >= self.harmful).sum())
            else:
                count = within_false_share(scores.probability, scores.order, self.fdr or 0.0)
        elif self.fraction is not None:
            count = round(self.fraction * len(scores.ids))
        else:
            count = planted if self.top == "planted" else int(self.top or 0)
        if self.top is not None and not 0 < count < len(scores.ids):
            raise InputError(
                f"causes.top is {self.top}, which selects {count} of {len(scores.ids)} rows: "
                f"select between 1 and {len(scores.ids) - 1}"
            )
        return scores.top(count)
