"""Snapshot documents: what a client sends and sees (clauses 5.2.41, 5.2.42), and what is notified (5.3.4).

A definition, as it is stored:

    queries            JSON text: the array snapshotQueries as it was given
    context            JSON text: the @context of their names
    snapshotLifetime, snapshotPriority, endpoint, receiverInfo      as given; the priority always there
"""

from collections.abc import Callable, Mapping
from typing import Any

import orjson

from broker.core.notification_params import read_endpoint_uri, read_pairs
from broker.core.subscription_values import read_list, read_object
from broker.ngsild.durations import parse_duration
from broker.ngsild.errors import BadRequestData, NotYetImplemented
from broker.ngsild.model import NGSI_LD_BASE, NGSI_LD_NULL, Entity, encode_key
from broker.ngsild.names import check_uri
from broker.ngsild.query.grammar import parse_q
from broker.ngsild.query.predicate import compile_predicate
from broker.ngsild.query.tree import And, Linked, Node, Or, expand

Definition = dict[str, Any]

USUAL_PRIORITY = 5

_QUERIES = ("snapshotQueries", "snapshotTemporalQueries")
_CHANGEABLE = ("snapshotLifetime", "snapshotPriority", "endpoint", "receiverInfo")
_READ_ONLY = frozenset(
    {
        *("snapshotStatus", "snapshotQueriesDetails", "snapshotTemporalQueriesDetails"),
        *("createdAt", "modifiedAt", "expiresAt", "lastUsedAt"),
    }
)
_ALIASES = {"@id": "id", "@type": "type"}
_MEMBERS = frozenset({"id", "type", *_QUERIES, *_CHANGEABLE, *_READ_ONLY})


def read_snapshot(body: Any) -> tuple[str | None, Definition, list[dict[str, Any]]]:
    """The id, if there is one, the definition but for its queries, and these. BadRequestData, NotYetImplemented."""
    members = _members(body)
    _check_type(members, required=True)
    if not members.keys() & {*_QUERIES}:
        raise BadRequestData(
            "The snapshot has no snapshotQueries: say which entities it shall hold.", pointer="/snapshotQueries"
        )
    queries = [
        _read_query(one, f"/snapshotQueries/{index}", temporal=False)
        for index, one in enumerate(_list_of_queries(members, "snapshotQueries"))
    ]
    for index, one in enumerate(_list_of_queries(members, "snapshotTemporalQueries")):
        _read_query(one, f"/snapshotTemporalQueries/{index}", temporal=True)
    if "snapshotTemporalQueries" in members:
        raise NotYetImplemented(
            "Snapshots of the temporal evolution of entities are not implemented: leave snapshotTemporalQueries out.",
            pointer="/snapshotTemporalQueries",
        )
    return _read_id(members), {"snapshotPriority": USUAL_PRIORITY, **_read(members)}, queries


def read_clone(body: Any) -> tuple[str | None, Definition]:
    """The id, if there is one, and the definition of a clone, but for the queries. BadRequestData."""
    members = _members(body)
    _check_type(members, required=True)
    _refuse_queries(members, "a clone holds what its original holds")
    return _read_id(members), {"snapshotPriority": USUAL_PRIORITY, **_read(members)}


def read_changes(body: Any, snapshot_id: str) -> Definition:
    """The members that an update sets (clause 5.16.4); None for those that it deletes. BadRequestData."""
    members = _members(body)
    if members.get("id", snapshot_id) != snapshot_id:
        raise BadRequestData("The id of a snapshot cannot be changed: leave it out of the body.", pointer="/id")
    _check_type(members, required=False)
    _refuse_queries(members, "what a snapshot holds is decided when it is created")
    deleted = [name for name in _CHANGEABLE if name in members and members[name] in (None, NGSI_LD_NULL)]
    return {
        **dict.fromkeys(deleted),
        **_read({name: value for name, value in members.items() if name not in deleted}),
    }


def merged(definition: Definition, changes: Definition) -> Definition:
    """`definition` with `changes` applied, each member as a whole (clause 5.5.8)."""
    result = {name: value for name, value in {**definition, **changes}.items() if value is not None}
    result.setdefault("snapshotPriority", USUAL_PRIORITY)
    return result


def render_snapshot(document: Mapping[str, Any]) -> dict[str, Any]:
    """A stored snapshot as a client sees it, without "@context" (clause 5.2.41)."""
    definition = document["definition"]
    rendered: dict[str, Any] = {"id": document["_id"]["id"], "type": "Snapshot"}
    rendered["snapshotQueries"] = orjson.loads(definition["queries"])
    rendered.update({name: definition[name] for name in _CHANGEABLE if name in definition})
    rendered["snapshotStatus"] = document["status"]
    if "details" in document:
        rendered["snapshotQueriesDetails"] = document["details"]
    rendered.update({name: document[name] for name in ("createdAt", "modifiedAt", "expiresAt")})
    rendered["lastUsedAt"] = document["usedAt"]
    return rendered


def render_notification(document: Mapping[str, Any], notification_id: str, now: str) -> dict[str, Any]:
    """The SnapshotNotification about a snapshot in its present state (clause 5.3.4)."""
    rendered = {
        "id": notification_id,
        "type": "SnapshotNotification",
        "notifiedAt": now,
        "expiresAt": document["expiresAt"],
        "snapshotId": document["_id"]["id"],
        "snapshotPriority": document["definition"]["snapshotPriority"],
        "snapshotStatus": document["status"],
    }
    if "details" in document:
        rendered["snapshotQueriesDetails"] = document["details"]
    return rendered


def overall_status(results: list[str]) -> str:
    """The status of a snapshot whose queries had these results (clause 5.16.1.4)."""
    if all(result == "success" for result in results):
        return "success"
    return next((status for result, status in _OVERALL if result in results), "failure")


_OVERALL = (("success", "partial"), ("empty", "empty"))


def snapshot_filter(text: str) -> Callable[[Mapping[str, Any]], bool]:
    """Whether a stored snapshot meets a query about the members of snapshots (clauses 4.9, 5.16.7). BadRequestData."""
    tree = expand(parse_q(text), _SnapshotMembers())
    _refuse_links(tree)
    matches = compile_predicate(tree)
    return lambda document: matches(_as_entity(document))


class _SnapshotMembers:
    """The names that a query about snapshots may use."""

    def key(self, name: str) -> str:
        if name not in _MEMBERS:
            raise BadRequestData(
                f"{name!r:.80} is no member of a snapshot: expected one of {', '.join(sorted(_MEMBERS))}"
            )
        return encode_key(NGSI_LD_BASE + name)

    def expand(self, name: str) -> str:
        raise BadRequestData(f"a type such as {name!r:.80} cannot be compared with a member of a snapshot")

    expand_vocab = expand


def _as_entity(document: Mapping[str, Any]) -> Entity:
    rendered = render_snapshot(document)
    system = {name: rendered[name] for name in ("createdAt", "modifiedAt", "expiresAt")}
    attributes = {
        encode_key(NGSI_LD_BASE + name): [{"type": "Property", "value": value}]
        for name, value in rendered.items()
        if name not in system
    }
    return {"_id": rendered["id"], "types": ["Snapshot"], **system, "attributes": attributes}


def _refuse_links(node: Node) -> None:
    if isinstance(node, Linked):
        raise BadRequestData("q leads to linked entities: a snapshot has none.")
    if isinstance(node, And | Or):
        for term in node.terms:
            _refuse_links(term)


def _members(body: Any) -> dict[str, Any]:
    if not isinstance(body, dict):
        raise BadRequestData("The body is no snapshot: expected a JSON object with the members of one.", pointer="")
    members: dict[str, Any] = {}
    for sent, value in body.items():
        name = _ALIASES.get(sent, sent)
        if name not in _MEMBERS:
            raise BadRequestData(
                f"{sent!r:.80} is no member of a snapshot: expected those of clause 5.2.41.",
                pointer="/" + sent.replace("~", "~0").replace("/", "~1"),
            )
        if name in members and members[name] != value:
            raise BadRequestData(f"{name!r} is given twice, with different values.", pointer=f"/{sent}")
        if name not in _READ_ONLY:
            members[name] = value
    return members


def _check_type(members: Mapping[str, Any], *, required: bool) -> None:
    if required and "type" not in members:
        raise BadRequestData('The snapshot has no type: add "type": "Snapshot".', pointer="/type")
    if members.get("type", "Snapshot") != "Snapshot":
        raise BadRequestData(f'The type is {members["type"]!r:.80}: expected "Snapshot".', pointer="/type")


def _read_id(members: Mapping[str, Any]) -> str | None:
    return check_uri(members["id"], "id of the snapshot", "/id") if "id" in members else None


def _refuse_queries(members: Mapping[str, Any], reason: str) -> None:
    for name in _QUERIES:
        if name in members:
            raise BadRequestData(f"{name} cannot be given here: {reason}. Leave it out.", pointer=f"/{name}")


def _list_of_queries(members: Mapping[str, Any], name: str) -> list[Any]:
    return read_list(members[name], f"/{name}", "queries") if name in members else []


def _read_query(value: Any, pointer: str, *, temporal: bool) -> dict[str, Any]:
    query = read_object(value, pointer)
    if temporal and "temporalQ" not in query:
        raise BadRequestData("A temporal query has no temporalQ: add one.", pointer=f"{pointer}/temporalQ")
    if not temporal and "temporalQ" in query:
        raise BadRequestData(
            "temporalQ is for queries of the temporal evolution of entities, which stand in snapshotTemporalQueries.",
            pointer=f"{pointer}/temporalQ",
        )
    return query


def _read(members: Mapping[str, Any]) -> Definition:
    read: Definition = {}
    if "snapshotLifetime" in members:
        parse_duration(members["snapshotLifetime"], "snapshotLifetime", pointer="/snapshotLifetime")
        read["snapshotLifetime"] = members["snapshotLifetime"]
    if "snapshotPriority" in members:
        priority = members["snapshotPriority"]
        if type(priority) is not int or not 1 <= priority <= 10:
            raise BadRequestData(
                f"snapshotPriority is {priority!r:.80}: expected a whole number from 1 to 10.",
                pointer="/snapshotPriority",
            )
        read["snapshotPriority"] = priority
    if "endpoint" in members:
        read["endpoint"] = read_endpoint_uri(members["endpoint"], "/endpoint")
    if "receiverInfo" in members:
        read["receiverInfo"] = read_pairs(members["receiverInfo"], "/receiverInfo", headers=True)
    return read
