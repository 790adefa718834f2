"""Statements: what is sent to MongoDB turns the stored entity into the one that mutations made of it."""

import copy
import time
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from broker.commit.plan import add_statement
from broker.ngsild.attribute_mutations import DeleteAttribute, PartialUpdate
from broker.ngsild.errors import NgsiLdError
from broker.ngsild.expiry import MARK, marked
from broker.ngsild.fragments import read_attribute_fragment, read_entity, read_fragment
from broker.ngsild.model import LOCATION, NGSI_LD_BASE, Entity
from broker.ngsild.mutations import CreateEntity, DeleteEntity, Mutation, UpdateAttributes, UpsertEntity
from broker.storage.documents import as_document, as_entity
from broker.storage.entities import WRITERS_KEPT, Writes
from tests.unit.ngsild.samples import EARLIER, ID, LATER, NOW, NULL, POINT, core, entity, fragment, key
from tests.unit.ngsild.strategies import NAMES, SCOPES, TYPES, attributes, entities, geometries, instances

PROCESS = "p1"
LOCATION_NAME = "location"
WHERE_VERSION_MATCHES = "state.$[s]."


def stored(created: Entity, version: int = 7, **writers: int) -> Entity:
    return {**created, "version": version, "writers": writers or {PROCESS: 1}}


def planned(before: Entity | None, after: Entity | None, commit: int = 5) -> tuple[Writes, Entity | None]:
    writes = Writes()
    return writes, add_statement(writes, before, after, PROCESS, commit)


def executed(document: dict[str, Any], update: dict[str, Any]) -> dict[str, Any]:
    """What MongoDB makes of a document by an update: a replacement, or $set and $unset with dotted paths."""
    if not any(name.startswith("$") for name in update):
        return update
    result = copy.deepcopy(document)
    state = result["state"][0]
    for path, value in update.get("$set", {}).items():
        place, name = _place(state, path)
        place[name] = copy.deepcopy(value)
    for path in update.get("$unset", {}):
        place, name = _place(state, path)
        place.pop(name, None)
    return result


def _place(document: dict[str, Any], path: str) -> tuple[dict[str, Any], str]:
    assert path.startswith(WHERE_VERSION_MATCHES)
    *parents, name = path.removeprefix(WHERE_VERSION_MATCHES).split(".")
    for parent in parents:
        document = document[parent]
    return document, name


def required_version(statement: dict[str, Any]) -> int:
    """The version that the entity must have for the statement to change it."""
    filters = statement.get("arrayFilters")
    version: int = filters[0]["s.version"] if filters else statement["q"]["state.version"]
    return version


def state_of(one: Entity) -> dict[str, Any]:
    state: dict[str, Any] = as_document({"version": 1, **one})["state"][0]
    return state


def as_property(geometry: dict[str, Any]) -> dict[str, Any]:
    """A place that is no GeoProperty: the index has no copy of it."""
    return {"type": "Property", "value": geometry}


FRAGMENTS = st.tuples(
    st.dictionaries(NAMES, st.one_of(attributes(1), st.just(NULL)), max_size=3),
    st.fixed_dictionaries(
        {},
        optional={
            "type": TYPES,
            "scope": st.one_of(SCOPES, st.just(NULL)),
            "expiresAt": st.sampled_from(["2090-01-01T00:00:00Z", NULL]),
            LOCATION_NAME: st.one_of(geometries(), geometries().map(as_property), st.just(NULL)),
        },
    ),
).map(lambda parts: {**parts[0], **parts[1]})
MUTATIONS: st.SearchStrategy[Mutation] = st.one_of(
    FRAGMENTS.map(lambda document: UpdateAttributes(ID, fragment(document))),
    entities().map(lambda document: UpsertEntity(read_fragment(document, core()), update=False)),
    st.builds(
        lambda name, document: PartialUpdate(ID, core().key(name), read_attribute_fragment(document, core())),
        NAMES,
        instances(1),
    ),
    NAMES.map(lambda name: DeleteAttribute(ID, core().key(name), delete_all=True)),
    st.just(DeleteAttribute(ID, None)),
    st.just(DeleteAttribute(ID, LOCATION, delete_all=True)),
)


@settings(max_examples=120)
@given(entities(), FRAGMENTS, st.lists(MUTATIONS, min_size=1, max_size=3))
def test_the_statement_does_what_the_mutations_did(
    document: dict[str, Any], first: dict[str, Any], mutations: list[Mutation]
) -> None:
    created, _ = CreateEntity(read_entity(document, core()))(None, EARLIER)
    created, _outcome = UpdateAttributes(ID, fragment(first))(created, EARLIER)
    before = stored(created)
    kept = copy.deepcopy(before)
    after = before
    for mutation in mutations:
        try:
            result, _ = mutation(after, NOW)
        except NgsiLdError:
            continue
        assert result is not None
        after = result
    if after is before:
        return
    writes, new = planned(before, after)
    assert before == kept
    assert new == {**after, "version": 8, "writers": {PROCESS: 5}}
    (statement,) = writes.updates
    assert required_version(statement) == 7
    assert executed(as_document(before), statement["u"]) == as_document(new)
    assert as_entity(executed(as_document(before), statement["u"])) == new


def test_only_what_changed_is_written() -> None:
    before = stored(entity(a=1, b=2, scope="/a", location=POINT))
    after, _ = UpdateAttributes(ID, fragment({"a": 5}))(before, NOW)
    writes, _ = planned(before, after)
    assert set(writes.updates[0]["u"]["$set"]) == {
        WHERE_VERSION_MATCHES + name
        for name in (f"attributes.{key('a')}", "modifiedAt", "version", f"writers.{PROCESS}")
    }
    assert set(writes.updates[0]["u"]) == {"$set"}
    assert writes.updated == [ID]
    assert writes


def test_the_location_is_copied_for_the_index() -> None:
    before = stored(entity())
    moved = {"type": "Point", "coordinates": [1, 2, 300]}
    after, _ = UpdateAttributes(ID, fragment({"location": moved}))(before, NOW)
    update = planned(before, after)[0].updates[0]["u"]
    assert update["$set"][WHERE_VERSION_MATCHES + "location"] == {"type": "Point", "coordinates": [1, 2]}
    gone, _ = UpdateAttributes(ID, fragment({"location": NULL}))(stored(after), NOW)
    assert WHERE_VERSION_MATCHES + "location" in planned(stored(after), gone)[0].updates[0]["u"]["$unset"]


def test_the_instances_of_the_location_that_are_geo_properties_are_copied_together() -> None:
    assert LOCATION.endswith("location")
    other = {"type": "Point", "coordinates": [9, 41]}
    night = {"value": other, "datasetId": "urn:d:1"}
    assert "location" not in state_of(entity(location={"type": "Property", "value": POINT}))
    assert state_of(entity(location=night))["location"] == other
    assert state_of(entity(location=[{"value": POINT}, night]))["location"] == {
        "type": "GeometryCollection",
        "geometries": [POINT, other],
    }
    assert "location" not in state_of(entity(observationSpace=POINT))
    assert state_of(entity({NGSI_LD_BASE + "location": POINT}))["location"] == POINT


def test_a_new_entity_is_inserted_with_a_version_that_no_entity_had_before() -> None:
    earlier = time.time_ns() // 1000
    writes, new = planned(None, entity(a=1))
    assert writes.inserts == [new]
    assert writes.inserted == [ID]
    assert new is not None
    assert new["version"] >= earlier
    assert new["writers"] == {PROCESS: 5}


def test_an_entity_that_is_gone_is_deleted_in_the_version_that_was_read() -> None:
    before = stored(entity(a=1))
    after, _ = DeleteEntity(ID)(before, NOW)
    writes, new = planned(before, after)
    assert new is None
    assert writes.deletes == [{"q": {"_id": ID, "state.version": 7}, "limit": 1}]
    assert writes.deleted == [ID]


def test_an_entity_created_in_place_of_an_expired_one_replaces_its_document() -> None:
    before = stored(entity(a=1, expiresAt="2026-01-01T00:00:00Z"))
    after = entity({"a": 2}, now=NOW)
    writes, new = planned(before, after)
    (statement,) = writes.updates
    assert new is not None
    assert statement["u"] == as_document(new)
    assert required_version(statement) == 7
    assert "expiresAt" not in statement["u"]["state"][0]
    assert "expires" not in statement["u"]["state"][0]


def test_an_expiry_becomes_a_date_for_the_index() -> None:
    before = stored(entity(a=1))
    after, _ = UpdateAttributes(ID, fragment({"expiresAt": "2090-01-01T00:00:00Z"}))(before, NOW)
    assert planned(before, after)[0].updates[0]["u"]["state"][0]["expires"] == "2090-01-01T00:00:00.000000Z"


def test_an_update_beside_an_expiry_writes_only_what_changed() -> None:
    before = marked(None, stored(entity(a=1, b={"value": 1, "expiresAt": LATER}, expiresAt=LATER)))
    after, _ = UpdateAttributes(ID, fragment({"a": 5}))(before, NOW)
    writes, _ = planned(before, marked(before, after))
    assert set(writes.updates[0]["u"]["$set"]) == {
        WHERE_VERSION_MATCHES + name
        for name in (f"attributes.{key('a')}", "modifiedAt", "version", f"writers.{PROCESS}")
    }


def test_the_mark_of_attributes_that_expire_is_written_and_taken_away() -> None:
    before = stored(entity(a=1))
    after, _ = UpdateAttributes(ID, fragment({"a": {"value": 2, "expiresAt": LATER}}))(before, NOW)
    writes, new = planned(before, marked(before, after))
    assert writes.updates[0]["u"]["$set"][f"{WHERE_VERSION_MATCHES}{MARK}"] == LATER
    assert new is not None
    durable, _ = UpdateAttributes(ID, fragment({"a": 3}))(new, NOW)
    writes, _ = planned(new, marked(new, durable))
    assert set(writes.updates[0]["u"]["$unset"]) == {f"{WHERE_VERSION_MATCHES}{MARK}"}


def test_writes_know_whether_something_expires() -> None:
    assert not planned(None, entity(a=1))[0].transient
    assert not planned(stored(entity(a=1, expiresAt=LATER)), None)[0].transient
    assert planned(None, entity(a=1, expiresAt=LATER))[0].transient
    assert planned(None, marked(None, entity(a={"value": 1, "expiresAt": LATER})))[0].transient
    before = stored(entity(a=1))
    after, _ = UpdateAttributes(ID, fragment({"expiresAt": LATER}))(before, NOW)
    assert planned(before, after)[0].transient


class TestWriters:
    def write(self, before: Entity, process: str, commit: int) -> Entity:
        after, _ = UpdateAttributes(ID, fragment({"a": commit}))(before, NOW)
        writes = Writes()
        new = add_statement(writes, before, after, process, commit)
        assert new is not None
        found = executed(as_document(before), writes.updates[0]["u"])["state"][0]
        assert found["writers"] == new["writers"]
        assert list(found["writers"]) == list(new["writers"])
        return new

    def test_each_process_has_its_last_commit(self) -> None:
        new = self.write(self.write(stored(entity(a=1), p1=3, p2=4), "p1", 9), "p3", 2)
        assert new["writers"] == {"p1": 9, "p2": 4, "p3": 2}

    def test_the_processes_that_wrote_last_are_remembered(self) -> None:
        current = stored(entity(a=1), old=1)
        for number in range(WRITERS_KEPT + 3):
            current = self.write(current, f"p{number % WRITERS_KEPT}", number)
            current = self.write(current, "old", number)
            assert len(current["writers"]) <= WRITERS_KEPT
            assert current["writers"]["old"] == number
        current = self.write(current, "new", 1)
        assert list(current["writers"])[-2:] == ["old", "new"]

    def test_a_process_that_goes_on_writing_sends_one_number(self) -> None:
        before = stored(entity(a=1), p2=4, p1=3)
        after, _ = UpdateAttributes(ID, fragment({"a": 5}))(before, NOW)
        assert planned(before, after)[0].updates[0]["u"]["$set"][f"{WHERE_VERSION_MATCHES}writers.{PROCESS}"] == 5
