"""How fast updates are committed, as the latest groups show it: what tells how long the next one would have to wait."""

_WINDOW = 0.1
"""Seconds of work that one measurement takes in."""

_VALID = 2.0
"""Seconds for which it holds once nothing measures it any more."""


class Pace:
    """Measures while at least `enough` wait: where fewer do, it is not the commits that decide how many there are.

    `rate` is in mutations a second, None where it is not known. Times are those of the event loop's clock.
    """

    def __init__(self, enough: int) -> None:
        self._enough = enough
        self._committed = 0
        self._since: float | None = None
        self._measured = 0.0
        self.rate: float | None = None

    def begin(self, now: float) -> float | None:
        """There is something to commit, after there was nothing; the rate."""
        self._since = None
        return self._forget(now)

    def committed(self, mutations: int, waiting: int, now: float) -> float | None:
        """So many mutations were committed, and so many wait; the rate."""
        if waiting < self._enough:
            self._since = None
            return self._forget(now)
        if self._since is None:
            self._since, self._committed = now, 0
            return self.rate
        self._committed += mutations
        seconds = now - self._since
        if seconds >= _WINDOW:
            latest = self._committed / seconds
            self.rate = latest if self.rate is None else (self.rate + latest) / 2
            self._since, self._committed, self._measured = now, 0, now
        return self.rate

    def _forget(self, now: float) -> float | None:
        if now - self._measured > _VALID:
            self.rate = None
        return self.rate
