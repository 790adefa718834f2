"""How much a worker has to do, and what it refuses because that would take too long.

A refusal has to cost next to nothing, or a flood of requests takes the time of those that are accepted: it is decided
before anything but the head of a request is looked at. Three things are bounded: updates that wait for their commit (by
the committer), the time that what is under way will take, and the bytes of the bodies that came with it.
"""

import math
import time
from enum import Enum, auto
from typing import Protocol

from broker.ngsild.errors import Overloaded

_SAMPLE_SECONDS = 0.25
_BUSY = 0.25
"""The share of a core from which a worker counts as busy: MongoDB and others want some of the cores, too."""

_LEAST = 100
"""Requests that may be under way however long they take."""

_MOST = 1 << 20


class Kind(Enum):
    """What a request asks a worker to do."""

    VITAL = auto()
    """To tell how it is: never refused, or who watches over it would end it."""
    COMMIT = auto()
    """To write entities."""
    WORK = auto()
    """Anything else."""


class CommitQueue(Protocol):
    """The updates that wait for their commit."""

    @property
    def queued(self) -> int:
        """How many there are."""

    @property
    def full(self) -> bool:
        """Whether further ones would be refused."""

    def refusal(self) -> Overloaded | None:
        """Why further ones are refused; None where they are not."""


class Counts(Protocol):
    """A counter."""

    def inc(self) -> None:
        """One more."""


class Load:
    """What is under way in one worker.

    `bytes` are those of request bodies. `longest_wait` is how many seconds a request may be expected to take,
    `most_bytes` how many bytes may have come before a further request is refused.
    """

    def __init__(self, queue: CommitQueue, refused: Counts, *, longest_wait: float, most_bytes: int) -> None:
        self._queue = queue
        self._refused = refused
        self._longest_wait = longest_wait
        self._most_bytes = most_bytes
        self._most = _MOST
        self._finished = 0
        self._since = self._cpu = 0.0
        self.due = 0.0
        self.under_way = 0
        self.bytes = 0

    def began(self, size: int) -> None:
        """A request is under way, whose body has so many bytes."""
        self.under_way += 1
        self.bytes += size

    def ended(self, size: int, now: float) -> None:
        """It was answered; `now` is the clock of the event loop."""
        self.under_way -= 1
        self.bytes -= size
        self._finished += 1
        if now >= self.due:
            self._sample(now, time.thread_time())

    @property
    def high(self) -> bool:
        """Whether requests of some kind are refused."""
        return (
            self._queue.full
            or self.bytes > self._most_bytes
            or (self.under_way > self._most and self._pending > self._most)
        )

    def refusal(self, kind: Kind) -> Overloaded | None:
        """Why a request is refused now, None if it is not; it is counted."""
        found = None
        if kind is Kind.COMMIT:
            found = self._queue.refusal()
        if found is None and kind is not Kind.VITAL:
            found = self._too_much()
        if found is not None:
            self._refused.inc()
        return found

    def _too_much(self) -> Overloaded | None:
        if self.bytes > self._most_bytes:
            return Overloaded(
                f"{self.bytes} bytes of requests are under way already: the broker is overloaded; try again."
            )
        if self._pending > self._most:
            seconds = self._pending / self._most * self._longest_wait
            return Overloaded(
                f"{self._pending} requests are under way already, for about {seconds:.1f} s: the broker is overloaded; "
                "try again.",
                retry_after=max(1, math.ceil(seconds)),
            )
        return None

    @property
    def _pending(self) -> int:
        """The requests under way that do not just wait for their commit, which has a bound of its own."""
        return self.under_way - self._queue.queued

    def _sample(self, now: float, cpu: float) -> None:
        """Find out how many requests can be served within the longest wait, while there are more than a few."""
        elapsed, used = now - self._since, cpu - self._cpu
        if elapsed < 2 * _SAMPLE_SECONDS and self._pending >= _LEAST and used > _BUSY * elapsed:
            most = self._finished / elapsed * self._longest_wait
            self._most = max(_LEAST, int(most if self._most == _MOST else (most + self._most) / 2))
        else:
            self._most = min(_MOST, 2 * self._most)
        self._since, self._cpu, self._finished = now, cpu, 0
        self.due = now + _SAMPLE_SECONDS


class Holds(Protocol):
    """A connection with an answer that its client has not read yet."""

    def give_up(self) -> None:
        """End the connection at once."""


class Unread:
    """The answers that clients have not read yet: beyond `most_bytes`, who has taken longest is given up."""

    def __init__(self, most_bytes: int) -> None:
        self._most_bytes = most_bytes
        self._sizes: dict[Holds, int] = {}
        self._total = 0

    def add(self, connection: Holds, size: int) -> None:
        """So many bytes wait for the client of a connection."""
        self._sizes[connection] = size
        self._total += size
        while self._total > self._most_bytes:
            slowest = next(iter(self._sizes))
            self.remove(slowest)
            slowest.give_up()

    def remove(self, connection: Holds) -> None:
        """They were read, or the connection is lost."""
        self._total -= self._sizes.pop(connection, 0)
