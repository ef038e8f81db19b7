"""Early stopping that remembers the best so far."""

from typing import Generic, TypeVar

State = TypeVar("State")


class Patience(Generic[State]):
    """Keeps the state of the best score; is spent after ``patience`` checks in a row without a better one."""

    def __init__(self, patience: int) -> None:
        self.patience = patience
        self.best: State | None = None
        self.best_score = -float("inf")
        self.since = 0

    def improves(self, score: float) -> bool:
        """Record ``score`` (higher is better); True where it is the best so far, whose state is then to be kept."""
        if score > self.best_score:
            self.best_score, self.since = score, 0
            return True
        self.since += 1
        return False

    @property
    def spent(self) -> bool:
        return self.since >= self.patience
