"""Early stopping."""


class Patience:
    """Early stopping: spent after ``checks`` consecutive scores without improvement."""

    def __init__(self, checks: int) -> None:
        self._checks = checks
        self._best = -float("inf")
        self._since = 0

    def improves(self, score: float) -> bool:
        """Record ``score`` (higher is better); True if it is the best so far."""
        if score > self._best:
            self._best, self._since = score, 0
            return True
        self._since += 1
        return False

    @property
    def spent(self) -> bool:
        """Whether training should stop."""
        return self._since >= self._checks
