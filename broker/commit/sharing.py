"""Each entity has an owner among the workers of a broker, and the owner commits its updates.

Requests for one entity come in over any worker. If each worker committed what it was sent, they would race for the same
entities: the caches would be stale half of the time, and what has lost a race is read and written again. So the worker
that was sent a request reads it, hands the mutation to the owner of the entity, and answers with the outcome
(docs/adr/0018).

Nothing that a broker promises rests on this: the version of an entity decides all races, as it does between hosts.
Where an owner cannot be reached, a worker commits by itself.
"""

import asyncio
import socket
from collections.abc import Awaitable, Mapping, Sequence
from typing import Any, Protocol
from zlib import crc32

from broker.commit.colleagues import Colleague, Reception
from broker.commit.committer import Committer
from broker.ngsild.errors import NgsiLdError, Overloaded
from broker.ngsild.mutations import Mutation


class Counts(Protocol):
    """A counter."""

    def inc(self, amount: float = 1) -> None:
        """So many more."""


class SharedCommits:
    """Commits what this worker is sent, together with its colleagues. To its callers it is a `Committer`.

    `index` is the place of this worker, others come to its `door`; `colleagues` are the others by their places.
    `handed_over` counts the mutations that went to one of them; `most_pending` of them may be without an outcome.
    """

    def __init__(
        self,
        committer: Committer,
        index: int,
        colleagues: Mapping[int, Colleague],
        door: socket.socket | None = None,
        *,
        most_pending: int,
        handed_over: Counts,
    ) -> None:
        self._committer = committer
        self._index = index
        self._places = len(colleagues) + 1
        self._colleagues = colleagues
        self._reception = Reception(door, self._take_over) if door is not None else None
        self._most_pending = most_pending
        self._handed_over = handed_over
        self._pending = 0
        self._taken_over = 0

    async def start(self) -> None:
        """Open the door, and go to the others' doors."""
        if self._reception is not None:
            await self._reception.start()
        for colleague in self._colleagues.values():
            colleague.start()

    def leave(self) -> None:
        """Share nothing more; what was handed over, and taken over, gets its outcomes all the same."""
        for colleague in self._colleagues.values():
            colleague.leave()
        if self._reception is not None:
            self._reception.leave()

    async def close(self, timeout: float) -> None:  # noqa: ASYNC109 - how long to wait for others
        """Wait until colleagues have the outcomes of theirs, for `timeout` seconds at most."""
        if self._reception is not None:
            await self._reception.close(timeout)

    def submit(self, tenant: str, entity_id: str, mutation: Mutation, size: int = 0) -> Awaitable[Any]:
        """Commit one mutation; its outcome, or its error raised. Errors as those of `Committer.submit`."""
        owner = self._owner(tenant, entity_id)
        if owner is None:
            return self._committer.submit(tenant, entity_id, mutation, size)
        return self._hand_over(owner, tenant, entity_id, mutation, size)

    async def submit_many(self, tenant: str, mutations: Sequence[tuple[str, Mutation]], size: int = 0) -> list[Any]:
        """Commit several mutations in order; for each its outcome, or its NgsiLdError as a value."""
        if not self._colleagues:
            return await self._committer.submit_many(tenant, mutations, size)
        shares: dict[Colleague | None, list[int]] = {}
        for index, (entity_id, _) in enumerate(mutations):
            shares.setdefault(self._owner(tenant, entity_id), []).append(index)
        if len(shares) == 1 and None in shares:
            return await self._committer.submit_many(tenant, mutations, size)
        refusal = self.refusal()
        if refusal is not None:
            raise refusal
        outcomes: list[Any] = [None] * len(mutations)
        begun = []
        for owner, indexes in shares.items():
            part = [mutations[index] for index in indexes]
            part_size = size * len(part) // len(mutations)
            begun.append((indexes, self._begin(owner, tenant, part, part_size)))
        handed_over = len(mutations) - len(shares.get(None, ()))
        self._pending += handed_over
        try:
            for indexes, future in begun:
                for index, outcome in zip(indexes, await future, strict=True):
                    outcomes[index] = outcome
        finally:
            self._pending -= handed_over
        return outcomes

    @property
    def queued(self) -> int:
        """How many mutations that this worker was sent have no outcome yet."""
        return self._committer.queued - self._taken_over + self._pending

    @property
    def full(self) -> bool:
        """Whether further ones would be refused."""
        return self._committer.full or self._pending >= self._most_pending

    def refusal(self) -> Overloaded | None:
        """Why further ones are refused; None where they are not."""
        refusal = self._committer.refusal()
        if refusal is None and self._pending >= self._most_pending:
            return Overloaded(f"{self._pending} updates wait for another worker: the broker is overloaded; try again.")
        return refusal

    def _owner(self, tenant: str, entity_id: str) -> Colleague | None:
        """The colleague that commits changes of the entity; None if this worker does."""
        if not self._colleagues:
            return None
        place = crc32(f"{tenant}\n{entity_id}".encode(errors="surrogatepass")) % self._places
        if place == self._index:
            return None
        colleague = self._colleagues[place]
        return colleague if colleague.reachable else None

    def _begin(
        self, owner: Colleague | None, tenant: str, mutations: Sequence[tuple[str, Mutation]], size: int
    ) -> asyncio.Future[list[Any]]:
        if owner is None:
            return self._committer.enqueue(tenant, mutations, size)
        self._handed_over.inc(len(mutations))
        return owner.submit(tenant, mutations, size)

    async def _hand_over(self, owner: Colleague, tenant: str, entity_id: str, mutation: Mutation, size: int) -> Any:
        refusal = self.refusal()
        if refusal is not None:
            raise refusal
        self._pending += 1
        try:
            [outcome] = await self._begin(owner, tenant, ((entity_id, mutation),), size)
        finally:
            self._pending -= 1
        if isinstance(outcome, NgsiLdError):
            raise outcome
        return outcome

    def _take_over(
        self, tenant: str, mutations: Sequence[tuple[str, Mutation]], size: int
    ) -> asyncio.Future[list[Any]]:
        """Commit what a colleague was sent. Overloaded if too much waits already."""
        future = self._committer.enqueue(tenant, mutations, size)
        count = len(mutations)
        self._taken_over += count
        future.add_done_callback(lambda _: self._give_back(count))
        return future

    def _give_back(self, count: int) -> None:
        self._taken_over -= count
