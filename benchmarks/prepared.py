"""Requests as bytes, built before the clock starts: only the sequence number is filled in when a request is sent.

A prepared request is the tuple of the bytes between the places of its sequence number, so that
`sequence.join(prepared)` is all that is left to do per request.
"""

from collections.abc import Iterator, Sequence
from random import Random

import orjson

from benchmarks.population import ENTITY_TYPE, INITIAL_VALUE, Population, attributes, measurement
from benchmarks.scenarios import Operation

Prepared = tuple[bytes, ...]

_REQUESTS = 20_000
_FEWEST_REQUESTS = 500
_SEED = 4711
_SEQUENCE = "@sequence@"
_DIGITS = len(str(INITIAL_VALUE))
_ACCEPT = "Accept: application/json\r\n"


def choose_entities(operation: Operation, size: int) -> list[tuple[int, ...]]:
    """The random entities (indexes below `size`) of each prepared request, the same at every call.

    Requests are sent in this order, over and over: the n-th request of a load is number n modulo their count.
    Raises ValueError where a batch asks for more entities than there are.
    """
    random = Random(_SEED)
    if operation.body == "entities":
        count = max(_FEWEST_REQUESTS, _REQUESTS // operation.entities)
        return [tuple(random.sample(range(size), operation.entities)) for _ in range(count)]
    return [(random.randrange(size),) for _ in range(_REQUESTS)]


def prepare(operation: Operation, population: Population, host: str, pages: Sequence[str] = ()) -> list[Prepared]:
    """All requests of `operation`; `host` is the value of the Host header, `pages` are those that it is about."""
    if pages:
        return [(f"{operation.method} {page} HTTP/1.1\r\nHost: {host}\r\n{_ACCEPT}\r\n".encode(),) for page in pages]
    return [tuple(text.encode().split(_SEQUENCE.encode())) for text in _texts(operation, population, host)]


def _texts(operation: Operation, population: Population, host: str) -> Iterator[str]:
    for indexes in choose_entities(operation, population.size):
        path = operation.path.format(id=population.entity_id(indexes[0]), type=ENTITY_TYPE)
        head = f"{operation.method} {path} HTTP/1.1\r\nHost: {host}\r\n{_ACCEPT}"
        if operation.body == "none":
            yield head + "\r\n"
            continue
        body = orjson.dumps(_content(operation, population, indexes)).decode()
        # A value is a number: its placeholder loses the quotes that JSON gave it; one inside an id has none.
        body = body.replace(f'"{_SEQUENCE}"', _SEQUENCE)
        length = len(body) + body.count(_SEQUENCE) * (_DIGITS - len(_SEQUENCE))
        yield f"{head}Content-Type: application/json\r\nContent-Length: {length}\r\n\r\n{body}"


def _content(operation: Operation, population: Population, indexes: tuple[int, ...]) -> object:
    changed = measurement(operation.changes, _SEQUENCE)
    if operation.body == "attributes":
        return changed
    if operation.body == "entities":
        return [{"id": population.entity_id(index), "type": ENTITY_TYPE, **changed} for index in indexes]
    identity = {"id": population.new_entity_id(_SEQUENCE), "type": ENTITY_TYPE}
    return {**identity, **attributes(indexes[0], _SEQUENCE)}
