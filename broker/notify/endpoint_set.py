"""The endpoints that a process delivers to at one time: a bounded number, however many subscribers there are.

What is owed to further ones waits in the outbox; only the ids are remembered here. They move up when an endpoint has
nothing left, and take turns with those that rest after a failure: dead endpoints never keep a living one out.
"""

from collections import deque
from collections.abc import Iterator

from broker.notify.endpoints import Courier, DeliveryLimits, Endpoint, OutboxReader
from broker.notify.owed import Owed, made_at
from broker.notify.queues import Budget, EndpointQueue
from broker.notify.subscription import EndpointKey


class EndpointSet:
    """Endpoints by key, at most `limits.endpoints` with a queue and deliveries of their own."""

    def __init__(self, courier: Courier, outbox: OutboxReader, limits: DeliveryLimits) -> None:
        self._courier = courier
        self._outbox = outbox
        self._limits = limits
        self._budget = Budget()
        self._active: dict[EndpointKey, Endpoint] = {}
        self._waiting: dict[EndpointKey, deque[str]] = {}

    def __iter__(self) -> Iterator[Endpoint]:
        return iter(list(self._active.values()))

    @property
    def backlog(self) -> int:
        """How many notifications are yet to be delivered."""
        return sum(map(len, self._active.values())) + sum(map(len, self._waiting.values()))

    def waiting(self) -> Iterator[tuple[EndpointKey, int, float]]:
        """The endpoints that are owed anything: how much, and since when (seconds since 1970)."""
        for key, endpoint in self._active.items():
            if (oldest := endpoint.oldest) is not None:
                yield key, len(endpoint), oldest
        for key, ids in self._waiting.items():
            yield key, len(ids), made_at(ids[0])

    def offer(self, key: EndpointKey, owed: Owed) -> bool:
        """Deliver a notification to the endpoint `key`; False if there is no room for even its id."""
        endpoint = self._active.get(key)
        if endpoint is not None:
            return endpoint.offer(owed)
        if key not in self._waiting and len(self._active) < self._limits.endpoints:
            return self._activate(key).offer(owed)
        ids = self._waiting.setdefault(key, deque())
        if len(ids) >= self._limits.backlog:
            return False
        ids.append(owed.id)
        return True

    def tidy(self) -> None:
        """Forget endpoints that have nothing left, and let those move up that wait."""
        for key in [key for key, endpoint in self._active.items() if endpoint.idle]:
            del self._active[key]
        if self._waiting:
            self._take_turns()
        for endpoint in self:
            endpoint.wake()

    def _take_turns(self) -> None:
        next_ones = list(self._waiting)
        free = self._limits.endpoints - len(self._active)
        asleep = [key for key, endpoint in self._active.items() if endpoint.asleep]
        for key in asleep[: max(0, len(next_ones) - free)]:
            self._waiting[key] = self._active.pop(key).retire()
            free += 1
        for key in next_ones[:free]:
            self._activate(key).resume(self._waiting.pop(key))

    def _activate(self, key: EndpointKey) -> Endpoint:
        queue = EndpointQueue(self._limits.queue, self._budget, self._limits.backlog)
        endpoint = self._active[key] = Endpoint(queue, self._courier, self._outbox, self._limits)
        return endpoint
