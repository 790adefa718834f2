"""Mutations on their way from their callers to a group, and their outcomes on the way back."""

import asyncio
from typing import Any, Protocol

from broker.ngsild.errors import NgsiLdError
from broker.ngsild.mutations import Mutation


class Verdict(Protocol):
    """What validation found wrong with a change, and has not counted yet."""

    @property
    def refusal(self) -> NgsiLdError | None:
        """Why the change must not be stored; None if it may be all the same."""

    def count(self) -> None:
        """Count it: a caller is given the outcome that it belongs to."""


class Submission:
    """One caller: the outcomes of its mutations in order, and the future that it awaits."""

    __slots__ = ("future", "missing", "outcomes")

    def __init__(self, future: asyncio.Future[list[Any]], mutations: int) -> None:
        self.future = future
        self.outcomes: list[Any] = [None] * mutations
        self.missing = mutations


class Entry:
    """One mutation of one entity on its way, with what came of it the last time that it was applied."""

    __slots__ = ("entity_id", "index", "mutation", "outcome", "settled", "size", "submission", "verdict")

    def __init__(self, entity_id: str, mutation: Mutation, submission: Submission, index: int, size: int) -> None:
        self.entity_id = entity_id
        self.mutation = mutation
        self.submission = submission
        self.index = index
        self.size = size
        self.outcome: Any = None
        self.verdict: Verdict | None = None
        self.settled = False

    def settle(self, outcome: Any) -> None:
        """Give the outcome to the caller, which continues when it has all of its outcomes."""
        self.settled = True
        submission = self.submission
        submission.outcomes[self.index] = outcome
        submission.missing -= 1
        if not submission.missing and not submission.future.done():
            submission.future.set_result(submission.outcomes)
