"""Parts that many subscriptions have in common, kept once: there may be a hundred thousand of them in memory."""

from collections.abc import Callable, Hashable
from typing import Any, TypeVar

T = TypeVar("T", bound=Hashable)
Made = TypeVar("Made")


class Sharing:
    """Hands out what it was given or made before. It remembers at most `most` things: then it begins anew."""

    def __init__(self, most: int) -> None:
        self._most = most
        self._known: dict[Hashable, Any] = {}

    def same(self, value: T) -> T:
        """A value that is equal to this one, and of its type."""
        return self.made((type(value), value), lambda: value)

    def made(self, key: Hashable, make: Callable[[], Made]) -> Made:
        """What was made for the key before; it is not to be changed."""
        known = self._known
        found: Made | None = known.get(key)
        if found is None:
            if len(known) >= self._most:
                known.clear()
            found = known[key] = make()
        return found
