from typing import Any

import pytest

from broker.core.snapshot_documents import (
    merged,
    overall_status,
    read_changes,
    read_clone,
    read_snapshot,
    render_snapshot,
    snapshot_filter,
)
from broker.ngsild.errors import BadRequestData, NotYetImplemented

QUERY = {"type": "Query", "entities": [{"type": "Vehicle"}]}
ID = "urn:ngsi-ld:Snapshot:1"


def body(**members: Any) -> dict[str, Any]:
    return {"type": "Snapshot", "snapshotQueries": [QUERY], **members}


def stored(**members: Any) -> dict[str, Any]:
    definition = {"queries": "[]", "context": '"x"', "snapshotPriority": 5, **members.pop("definition", {})}
    times = dict.fromkeys(("createdAt", "modifiedAt", "expiresAt", "usedAt"), "2026-01-01T00:00:00.000000Z")
    return {"_id": {"tenant": "", "id": ID}, "status": "success", "definition": definition, **times, **members}


def test_a_snapshot_has_its_members_and_the_usual_priority() -> None:
    assert read_snapshot(body(id=ID, snapshotLifetime="PT1H")) == (
        ID,
        {"snapshotPriority": 5, "snapshotLifetime": "PT1H"},
        [QUERY],
    )


def test_what_only_the_broker_may_set_is_ignored() -> None:
    given = body(snapshotStatus="success", expiresAt="2099-01-01T00:00:00Z", snapshotQueriesDetails=[])
    assert read_snapshot(given)[1] == {"snapshotPriority": 5}


@pytest.mark.parametrize(
    ("given", "pointer"),
    [
        ({"snapshotQueries": [QUERY]}, "/type"),
        ({"type": "Snap", "snapshotQueries": [QUERY]}, "/type"),
        ({"type": "Snapshot"}, "/snapshotQueries"),
        (body(snapshotQueries=[]), "/snapshotQueries"),
        (body(snapshotQueries=["q"]), "/snapshotQueries/0"),
        (body(snapshotQueries=[{**QUERY, "temporalQ": {}}]), "/snapshotQueries/0/temporalQ"),
        (body(snapshotTemporalQueries=[QUERY]), "/snapshotTemporalQueries/0/temporalQ"),
        (body(id="no uri"), "/id"),
        (body(snapshotPriority=0), "/snapshotPriority"),
        (body(snapshotPriority=11), "/snapshotPriority"),
        (body(snapshotPriority=True), "/snapshotPriority"),
        (body(snapshotPriority="5"), "/snapshotPriority"),
        (body(snapshotLifetime="1 hour"), "/snapshotLifetime"),
        (body(endpoint="nowhere"), "/endpoint"),
        (body(receiverInfo=[{"key": "Host", "value": "x"}]), "/receiverInfo/0/key"),
        (body(**{"na/me": 1}), "/na~1me"),
    ],
)
def test_a_snapshot_that_makes_no_sense_is_refused_with_a_pointer(given: Any, pointer: str) -> None:
    with pytest.raises(BadRequestData) as refused:
        read_snapshot(given)
    assert refused.value.pointer == pointer


def test_temporal_queries_are_not_there_yet() -> None:
    with pytest.raises(NotYetImplemented):
        read_snapshot(body(snapshotTemporalQueries=[{**QUERY, "temporalQ": {}}]))


def test_neither_a_clone_nor_an_update_can_have_queries() -> None:
    for read in (read_clone, lambda given: read_changes(given, ID)):
        with pytest.raises(BadRequestData) as refused:
            read(body())
        assert refused.value.pointer == "/snapshotQueries"


def test_an_update_cannot_change_the_id() -> None:
    assert read_changes({"id": ID, "snapshotPriority": 1}, ID) == {"snapshotPriority": 1}
    with pytest.raises(BadRequestData):
        read_changes({"id": "urn:ngsi-ld:Snapshot:2"}, ID)


def test_an_update_sets_and_deletes_members() -> None:
    before = {"endpoint": "http://a.example/", "snapshotPriority": 2, "queries": "[]"}
    changes = read_changes({"endpoint": None, "snapshotPriority": "urn:ngsi-ld:null", "snapshotLifetime": "P1D"}, ID)
    assert merged(before, changes) == {"snapshotPriority": 5, "snapshotLifetime": "P1D", "queries": "[]"}


@pytest.mark.parametrize(
    ("results", "status"),
    [
        (["success", "success"], "success"),
        (["success", "empty"], "partial"),
        (["success", "failure"], "partial"),
        (["empty", "failure"], "empty"),
        (["failure", "failure"], "failure"),
    ],
)
def test_the_status_follows_from_the_results_of_the_queries(results: list[str], status: str) -> None:
    assert overall_status(results) == status


@pytest.mark.parametrize(
    ("q", "meets"),
    [
        ("snapshotPriority<6", True),
        ("snapshotPriority<5", False),
        ('snapshotStatus=="success"', True),
        ('snapshotStatus=="failure"', False),
        ("endpoint", False),
        ("!endpoint", True),
        ("createdAt<2027-01-01T00:00:00Z", True),
        ("lastUsedAt>2027-01-01T00:00:00Z", False),
        ('snapshotPriority==5;snapshotStatus~="^succ"', True),
    ],
)
def test_a_purge_query_is_about_the_members_of_snapshots(q: str, meets: bool) -> None:
    assert snapshot_filter(q)(stored()) is meets


@pytest.mark.parametrize(
    "q", ["speed>50", "scope", "id==1", "endpoint{x}==1", "snapshotPriority<", "endpoint.speed==1"]
)
def test_a_purge_query_about_anything_else_is_refused(q: str) -> None:
    with pytest.raises(BadRequestData):
        snapshot_filter(q)


def test_a_snapshot_is_shown_with_its_state_but_without_what_is_inside() -> None:
    shown = render_snapshot(stored(job={"process": "p"}, content="c", details=[{"resultStatus": "empty"}]))
    assert shown["lastUsedAt"] == "2026-01-01T00:00:00.000000Z"
    assert shown["snapshotQueriesDetails"] == [{"resultStatus": "empty"}]
    assert not shown.keys() & {"_id", "job", "content", "definition", "context", "queries", "version"}
