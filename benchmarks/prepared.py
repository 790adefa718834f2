"""Requests as bytes, built before the clock starts: only the sequence number is filled in when a request is sent.

A prepared request is the tuple of the bytes between the places of its sequence number, so that
`sequence.join(prepared)` is all that is left to do per request.
"""

from collections.abc import Iterator, Sequence
from random import Random

import orjson

from benchmarks.population import ENTITY_TYPE, INITIAL_VALUE, Population, attributes, measurement, position
from benchmarks.scenarios import ENTITIES, Operation

Prepared = tuple[bytes, ...]

_REQUESTS = 20_000
_FEWEST_REQUESTS = 100
_SEQUENCE = "@sequence@"
_DIGITS = len(str(INITIAL_VALUE))
_ACCEPT = "Accept: application/json\r\n"


def choose_entities(operation: Operation, size: int, seed: int) -> list[tuple[int, ...]]:
    """The random entities (indexes below `size`) of each prepared request, the same for the same seed.

    Requests are sent in this order, over and over: the n-th request of a load is number n modulo their count. The seed
    of a load is its first sequence number, so that each load chooses anew.
    Raises ValueError where a batch asks for more entities than there are.
    """
    random = Random(seed)
    size = min(size, operation.among or size)
    if operation.body == "entities":
        count = max(_FEWEST_REQUESTS, _REQUESTS // operation.entities)
        return [tuple(random.sample(range(size), operation.entities)) for _ in range(count)]
    return [(random.randrange(size),) for _ in range(_REQUESTS)]


def written_entities(operation: Operation, size: int, seed: int) -> list[tuple[int, ...]]:
    """The entities that each prepared request writes; none of a request that only reads."""
    chosen = choose_entities(operation, size, seed)
    return [() if operation.reads(number) else indexes for number, indexes in enumerate(chosen)]


def prepare(
    operation: Operation, population: Population, host: str, seed: int, pages: Sequence[str] = ()
) -> list[Prepared]:
    """All requests of `operation`; `host` is the value of the Host header, `pages` are those that it is about."""
    if pages:
        return [(f"{operation.method} {page} HTTP/1.1\r\nHost: {host}\r\n{_ACCEPT}\r\n".encode(),) for page in pages]
    return [tuple(text.encode().split(_SEQUENCE.encode())) for text in _texts(operation, population, host, seed)]


def _texts(operation: Operation, population: Population, host: str, seed: int) -> Iterator[str]:
    attribute = operation.changes[0] if operation.changes else ""
    for number, indexes in enumerate(choose_entities(operation, population.size, seed)):
        entity_id = population.entity_id(indexes[0])
        if operation.reads(number):
            yield f"GET {ENTITIES}/{entity_id} HTTP/1.1\r\nHost: {host}\r\n{_ACCEPT}\r\n"
            continue
        longitude, latitude = position(indexes[0])
        path = operation.path.format(
            id=entity_id, type=ENTITY_TYPE, attribute=attribute, longitude=longitude, latitude=latitude
        )
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
    if operation.body == "attribute":
        return changed[operation.changes[0]]
    if operation.body == "entities":
        return [{"id": population.entity_id(index), "type": ENTITY_TYPE, **changed} for index in indexes]
    identity = {"id": population.new_entity_id(_SEQUENCE), "type": ENTITY_TYPE}
    return {**identity, **attributes(indexes[0], _SEQUENCE)}
