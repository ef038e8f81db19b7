"""Early stopping."""


class Patience:
    """Watches a score; is spent after ``checks`` scores in a row that are no better than the best."""

    def __init__(self, checks: int) -> None:
        self._checks = checks
        self._best = -float("inf")
        self._since = 0

    def improves(self, score: float) -> bool:
        """Record ``score`` (higher is better); True where it is the best so far."""
        if score > self._best:
            self._best, self._since = score, 0
            return True
        self._since += 1
        return False

    @property
    def spent(self) -> bool:
        """Whether to stop."""
        return self._since >= self._checks
