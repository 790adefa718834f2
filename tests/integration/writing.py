"""Every way in which a client can write an entity, and the three in which it can name its @context.

Each `Way` of `WAYS` brings an entity into the state that its normalised document describes, through one write endpoint;
whatever must be there before holds other values.
"""

import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any
from urllib.parse import quote

import orjson

from tests.integration.api import BATCH, CORE, ENTITIES, JSON, JSON_LD, link
from tests.integration.wire import Answer, request
from tests.representations import HEAD, Document, attributes_of, instances_of, placeholder

TERMS_URL = "https://contexts.example/fidelity.jsonld"
TERMS: Document = {
    "ex": "https://ex.example/$ns.1#",
    "temperature": "https://ex.example/a.b/temp$erature",
    "größe": "https://ex.example/%C3%B6.%2E",
    "owner": {"@id": "https://ex.example/owner", "@type": "@id"},
    "humidity": {"@id": "https://ex.example/humidity", "@type": "http://www.w3.org/2001/XMLSchema#double"},
    "name": {"@id": "https://ex.example/name", "@container": "@language"},
    "Building": "https://ex.example/Types.Building",
    "Male": "https://ex.example/vocab$Male",
}
"""Terms with all that MongoDB or JSON-LD could stumble over: no answer may show a value or a name otherwise."""


@dataclass(frozen=True, slots=True)
class Client:
    """A client that writes and reads with one @context, named in one way.

    `context` is what its bodies hold as "@context"; None: its requests name the @context in `headers`, if at all.
    `encode` is how it writes JSON.
    """

    port: int
    headers: dict[str, str]
    context: Any | None
    encode: Callable[[Any], bytes]

    def send(self, method: str, target: str, body: Any, *expected: int) -> Answer:
        """Send `body`, an object or an array of objects; the status must be one of `expected`."""
        if self.context is not None:
            body = (
                [{"@context": self.context, **one} for one in body]
                if isinstance(body, list)
                else {**body, "@context": self.context}
            )
        media_type = JSON if self.context is None else JSON_LD
        links = self.headers if self.context is None else {}
        answer = request(self.port, method, target, {"Content-Type": media_type, **links}, self.encode(body))
        assert answer.status in expected, (answer.status, answer.body, method, target, body)
        return answer

    def get(self, target: str, accept: str = JSON) -> Any:
        """The body of an answer to GET, without the "@context" that JSON-LD demands."""
        answer = request(self.port, "GET", target, {"Accept": accept, **self.headers})
        assert answer.status == 200, (answer.status, answer.body, target)
        assert answer.headers.get_content_type() == accept
        body = answer.json()
        if accept == JSON_LD:
            for one in body if isinstance(body, list) else [body]:
                assert one.pop("@context")
        return body


def _spaced(value: Any) -> bytes:
    return json.dumps(value, indent=1).encode()


def _unescaped(value: Any) -> bytes:
    return json.dumps(value, ensure_ascii=False, separators=(",", ":")).encode()


ENCODERS: list[Callable[[Any], bytes]] = [orjson.dumps, _spaced, _unescaped]


def clients(port: int) -> list[Client]:
    """Clients that name no @context, one in a Link header, one by URL in the body, and one by its terms in the body."""
    named = link(TERMS_URL)
    ways: list[tuple[dict[str, str], Any]] = [
        ({}, None),
        (named, None),
        (named, [TERMS_URL, CORE]),
        (named, [TERMS, CORE]),
    ]
    return [Client(port, headers, context, encode) for headers, context in ways for encode in ENCODERS]


Way = Callable[[Client, Document, Document], None]
"""Called with the client, the normalised entity, and the same entity as the client writes it."""


def path_of(entity: Document) -> str:
    """The path of an entity."""
    return f"{ENTITIES}/{quote(entity['id'], safe='')}"


def _create(client: Client, _: Document, written: Document) -> None:
    client.send("POST", ENTITIES, written, 201)


def _create_batch(client: Client, _: Document, written: Document) -> None:
    client.send("POST", f"{BATCH}/create", [written], 201)


def _upsert_new(client: Client, _: Document, written: Document) -> None:
    client.send("POST", f"{BATCH}/upsert", [written], 201)


def _upsert_replacing(client: Client, entity: Document, written: Document) -> None:
    client.send("POST", ENTITIES, {**_bare(entity), "scope": "/Old", "gone": 1}, 201)
    client.send("POST", f"{BATCH}/upsert", [written], 204)


def _upsert_updating(client: Client, entity: Document, written: Document) -> None:
    _prepare(client, entity)
    client.send("POST", f"{BATCH}/upsert?options=update", [written], 204)


def _update_batch(client: Client, entity: Document, written: Document) -> None:
    _prepare(client, entity)
    client.send("POST", f"{BATCH}/update", [written], 204)


def _merge_batch(client: Client, entity: Document, written: Document) -> None:
    client.send("POST", ENTITIES, _bare(entity), 201)
    client.send("POST", f"{BATCH}/merge", [written], 204)


def _replace(client: Client, entity: Document, written: Document) -> None:
    client.send("POST", ENTITIES, {**_bare(entity), "scope": "/Old", "gone": 1}, 201)
    client.send("PUT", path_of(entity), written, 204)


def _merge(client: Client, entity: Document, written: Document) -> None:
    client.send("POST", ENTITIES, _bare(entity), 201)
    client.send("PATCH", path_of(entity), written, 204)


def _merge_again(client: Client, entity: Document, written: Document) -> None:
    client.send("POST", ENTITIES, entity, 201)
    client.send("PATCH", path_of(entity), written, 204)


def _append(client: Client, entity: Document, written: Document) -> None:
    client.send("POST", ENTITIES, _bare(entity), 201)
    client.send("POST", f"{path_of(entity)}/attrs", written, 204)


def _append_missing(client: Client, entity: Document, written: Document) -> None:
    client.send("POST", ENTITIES, _bare(entity), 201)
    client.send("POST", f"{path_of(entity)}/attrs?options=noOverwrite", written, 204)


def _update(client: Client, entity: Document, written: Document) -> None:
    _prepare(client, entity)
    client.send("PATCH", f"{path_of(entity)}/attrs", written, 204)


def _update_each(client: Client, entity: Document, written: Document) -> None:
    client.send("POST", ENTITIES, {**entity, **_placeholders(entity)}, 201)
    for target, one in _each_instance(entity, written):
        client.send("PATCH", target, one, 204)


def _replace_each(client: Client, entity: Document, written: Document) -> None:
    client.send("POST", ENTITIES, {**entity, **_placeholders(entity)}, 201)
    for target, one in _each_instance(entity, written):
        client.send("PUT", target, one, 204)


WAYS: dict[str, Way] = {
    "POST entities": _create,
    "PUT entity": _replace,
    "PATCH entity": _merge,
    "PATCH entity with what it holds": _merge_again,
    "POST attrs": _append,
    "POST attrs, noOverwrite": _append_missing,
    "PATCH attrs": _update,
    "PATCH attr": _update_each,
    "PUT attr": _replace_each,
    "batch create": _create_batch,
    "batch upsert, new": _upsert_new,
    "batch upsert, replacing": _upsert_replacing,
    "batch upsert, updating": _upsert_updating,
    "batch update": _update_batch,
    "batch merge": _merge_batch,
}

OF_ONE_ATTRIBUTE = frozenset({"PATCH attr", "PUT attr"})
"""Ways whose bodies are objects of one attribute instance, never values alone or arrays."""


def _bare(entity: Document) -> Document:
    return {"id": entity["id"], "type": entity["type"]}


def _placeholders(entity: Document) -> Document:
    return {name: placeholder(raw) for name, raw in attributes_of(entity).items()}


def _prepare(client: Client, entity: Document) -> None:
    """The entity as it will be, but with other values in all attributes and another scope."""
    scope = {"scope": "/Old"} if "scope" in entity else {}
    client.send("POST", ENTITIES, {**_bare(entity), **scope, **_placeholders(entity)}, 201)


def _each_instance(entity: Document, written: Document) -> Iterator[tuple[str, Document]]:
    for name, raw in written.items():
        if name not in HEAD and name in entity:
            for one in instances_of(raw):
                yield f"{path_of(entity)}/attrs/{quote(name, safe='')}", one
