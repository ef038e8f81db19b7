"""From influence scores to a set of causes."""

from typing import Annotated, Literal

from pydantic import ConfigDict, Field, PositiveInt, model_validator
from pydantic.dataclasses import dataclass

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
    """All with r̃ > 0 (Algorithm 1)."""

    @model_validator(mode="after")
    def _exactly_one(self) -> "CausesRule":
        if sum(value is not None for value in (self.top, self.fraction, self.positive)) != 1:
            raise ValueError("give exactly one of top, fraction, positive")
        return self

    def causes(self, scores: InfluenceScores, planted: int) -> Causes:
        """The causes under this rule, most harmful first.

        Raises:
            InputError: the rule takes all rows, or none where nothing was planted.
        """
        ranked = scores.order
        if self.positive:
            count = int((scores.values > 0).sum())
        elif self.fraction is not None:
            count = round(self.fraction * len(ranked))
        else:
            count = planted if self.top == "planted" else int(self.top or 0)
        if self.top is not None and not 0 < count < len(ranked):
            raise InputError(f"causes.top is {self.top}, that is {count} of {len(ranked)} rows: leave some, take some")
        return Causes(tuple(scores.ids[ranked[:count]].tolist()))
