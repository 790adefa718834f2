"""How fast updates are committed, as the latest groups show it: what tells how long the next one would have to wait."""

_WINDOW = 0.1
"""Seconds of work that one measurement takes in."""


class Pace:
    """Measures while there is something to commit; the time between counts for nothing.

    `rate` is in mutations a second, None until enough was committed to tell.
    """

    def __init__(self) -> None:
        self.rate: float | None = None
        self._committed = 0
        self._busy = 0.0
        self._since = 0.0

    def begin(self, now: float) -> None:
        """There is something to commit, after there was nothing; `now` is the clock of the event loop."""
        self._since = now

    def committed(self, mutations: int, now: float) -> None:
        """So many mutations were committed."""
        self._committed += mutations
        self._busy += now - self._since
        self._since = now
        if self._busy >= _WINDOW:
            latest = self._committed / self._busy
            self.rate = latest if self.rate is None else (self.rate + latest) / 2
            self._committed, self._busy = 0, 0.0
