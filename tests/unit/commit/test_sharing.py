"""What workers hand to each other stays what it is: mutations do the same to an entity, errors say the same."""

import pickle
from collections.abc import Iterator
from typing import Any

import pytest

from broker.commit.group import Contended, OutcomeUnknown
from broker.ngsild.attribute_mutations import DeleteAttribute, PartialUpdate, ReplaceAttribute
from broker.ngsild.attributes import Nulls
from broker.ngsild.errors import AlreadyExists, BadRequestData, NgsiLdError, Overloaded, Unavailable
from broker.ngsild.fragments import read_attribute_fragment, read_entity, read_fragment, read_replacement
from broker.ngsild.merge_fragments import read_merge_fragment
from broker.ngsild.merging import Common, MergeEntity
from broker.ngsild.model import Entity
from broker.ngsild.mutations import (
    AppendAttributes,
    CreateEntity,
    DeleteEntity,
    Mutation,
    ReplaceEntity,
    UpdateAttributes,
    UpdateResult,
    UpsertEntity,
)
from broker.ngsild.query.types import parse_types
from tests.unit.ngsild.samples import DATASET, ID, NOW, NULL, OTHER_DATASET, POINT, core, entity, key

WHOLE = {
    "id": ID,
    "type": ["Building", "Größe"],
    "scope": ["/München/Nord", "/東京"],
    "expiresAt": "2090-01-01T00:00:00Z",
    "Straße": "Große Straße 1 \U0001f3e0 \ud800",
    "huge": -(2**63),
    "tiny": {"type": "Property", "value": -0.0, "observedAt": "2026-01-01T00:00:00.123456Z", "unitCode": "CEL"},
    "when": {"type": "Property", "value": {"@type": "DateTime", "@value": "2026-01-01T00:00:00Z"}},
    "location": POINT,
    "inside": {"type": "Relationship", "object": ["urn:ngsi-ld:City:1", "urn:ngsi-ld:City:2"], "objectType": "City"},
    "texts": {"type": "LanguageProperty", "languageMap": {"de": "Turm", "@none": ["a", "b"]}},
    "kind": {"type": "VocabProperty", "vocab": ["tower", "château"]},
    "raw": {"type": "JsonProperty", "json": {"a.b": [1, 1.0, None, {"$c": {}}]}},
    "several": [
        {"type": "Property", "value": 1, "datasetId": DATASET, "sub": {"value": 2}},
        {"type": "Property", "value": 3, "datasetId": OTHER_DATASET},
    ],
}
UPDATE = {
    "type": "Home",
    "scope": NULL,
    "expiresAt": NULL,
    "huge": {"type": "Property", "value": NULL},
    "Straße": 2**63 - 1,
    "several": [{"type": "Property", "value": NULL, "datasetId": DATASET}],
    "tiny": {"type": "Property", "value": [], "unitCode": NULL},
    "n": {"type": "Property", "value": 1},
    "fresh": {"type": "Property", "value": "\U0001f3e0", "sub": {"type": "Property", "value": {"a": [None]}}},
}
MERGE = {
    "type": "Home",
    "scope": NULL,
    "expiresAt": "2091-01-01T00:00:00Z",
    "huge": NULL,
    "tiny": {"type": "Property", "observedAt": "2026-02-02T00:00:00Z", "unitCode": NULL},
    "kind": "Schloß",
    "raw": {"a.b": NULL, "c": {"d": 2**63 - 1}},
    "texts": "tour",
    "several": {"dataset": {DATASET: {"value": 5, "sub": NULL}, OTHER_DATASET: NULL}},
    "fresh": {"value": 1, "sub": {"value": "château"}},
}
SELECTED = parse_types("City,(Building;Größe)").expand(core()).matches
NOT_SELECTED = parse_types("City").expand(core()).matches


def handed_over(what: Any) -> Any:
    """What arrives at another worker."""
    return pickle.loads(pickle.dumps(what, pickle.HIGHEST_PROTOCOL))


def outcome(mutation: Mutation, before: Entity | None) -> object:
    """What a mutation makes of an entity, to the order of its members and the types of its values."""
    try:
        return repr(mutation(before, NOW))
    except NgsiLdError as error:
        return type(error), vars(error)


def mutations() -> Iterator[tuple[str, Mutation]]:
    """What operations submit, each with a name."""
    whole, update = read_entity(WHOLE, core()), read_fragment(UPDATE, core(), nulls=Nulls.MEMBERS)
    merge = read_merge_fragment(MERGE, core())
    yield "create", CreateEntity(whole)
    yield "create with a null", CreateEntity(read_fragment({**WHOLE, **UPDATE}, core(), nulls=Nulls.MEMBERS))
    for updates in (False, True):
        yield f"upsert, update={updates}", UpsertEntity(whole, updates)
        yield f"append, overwrite={updates}", AppendAttributes(ID, update, updates)
    yield "merge with common members", MergeEntity(ID, merge, Common("2026-03-03T00:00:00Z", "fr"))
    yield "merge without a language", MergeEntity(ID, merge)
    yield (
        "merge of simplified attributes",
        MergeEntity(
            ID, read_merge_fragment({"kind": ["tower", ""], "raw": {"vocab": "tower"}}, core(), simplified=True)
        ),
    )
    for selector in (None, SELECTED, NOT_SELECTED):
        yield "replace", ReplaceEntity(ID, whole, selector)
        yield "update", UpdateAttributes(ID, update, selector)
        yield "append", AppendAttributes(ID, update, True, selector)
        yield "merge", MergeEntity(ID, read_merge_fragment({"kind": "Schloß"}, core()), Common(), selector)
        yield "delete", DeleteEntity(ID, selector)
        for changes in (
            {"value": 2**63 - 1, "unitCode": NULL, "sub": {"type": "Property", "value": "ß"}},
            {"type": "Property", "value": NULL},
            {"type": "Relationship", "object": "urn:ngsi-ld:City:3"},
        ):
            fragment = read_attribute_fragment(changes, core(), key("tiny"))
            yield "partial update", PartialUpdate(ID, key("tiny"), fragment, selector)
        replacement = read_replacement({"type": "Property", "value": {"ß": [2**63 - 1]}}, core(), key("tiny"))
        yield "replace attribute", ReplaceAttribute(ID, key("tiny"), replacement, selector)
        for name, dataset_id, everything in (
            ("tiny", None, False),
            ("several", DATASET, False),
            ("several", None, False),
            ("several", None, True),
            (None, None, False),
        ):
            yield "delete attribute", DeleteAttribute(ID, name and key(name), dataset_id, everything, selector)


@pytest.mark.parametrize(("name", "mutation"), list(mutations()))
def test_a_mutation_that_was_handed_over_does_the_same(name: str, mutation: Mutation) -> None:
    for before in (None, entity(WHOLE), entity()):
        assert outcome(handed_over(mutation), before) == outcome(mutation, before), name


def test_mutations_that_are_handed_over_together_do_not_change_each_other() -> None:
    fragment = read_fragment(UPDATE, core(), nulls=Nulls.MEMBERS)
    first, second = handed_over([UpdateAttributes(ID, fragment), AppendAttributes(ID, fragment)])
    before = entity(WHOLE)
    after, _ = first(before, NOW)
    assert repr(second(after, NOW)) == repr(AppendAttributes(ID, fragment)(after, NOW))
    assert before == entity(WHOLE)


def test_a_merge_is_handed_over_without_its_context() -> None:
    """A context of many terms would cost more than the update."""
    assert len(pickle.dumps(MergeEntity(ID, read_merge_fragment(MERGE, core())))) < 5_000


def test_outcomes_come_back_as_they_are() -> None:
    result = UpdateResult(["https://example.org/ß"], [("scope", "It exists already.")])
    assert handed_over([None, True, False, result]) == [None, True, False, result]


def subclasses(kind: type[NgsiLdError]) -> Iterator[type[NgsiLdError]]:
    yield kind
    for one in kind.__subclasses__():
        yield from subclasses(one)


@pytest.mark.parametrize("kind", list(dict.fromkeys(subclasses(NgsiLdError))))
def test_an_error_comes_back_with_all_that_it_says(kind: type[NgsiLdError]) -> None:
    if issubclass(kind, Unavailable):
        error: NgsiLdError = kind("Später.", retry_after=7)
    else:
        error = kind(
            "Größe fehlt.",
            pointer="/a~1b/0",
            violations=[{"pointer": "/ß", "detail": "2^80", "found": -(2**63)}],
            headers={"Retry-After": "7"},
        )

    came_back = handed_over(error)

    assert type(came_back) is kind
    assert vars(came_back) == vars(error)
    assert came_back.problem() == error.problem()
    assert str(came_back) == error.detail


def test_the_errors_of_the_committer_are_among_them() -> None:
    assert {OutcomeUnknown, Contended, Overloaded, AlreadyExists, BadRequestData} <= set(subclasses(NgsiLdError))


def test_an_error_that_was_raised_comes_back_without_what_raised_it() -> None:
    try:
        try:
            raise OSError("no space left")
        except OSError as cause:
            raise BadRequestData("It does not fit.", pointer="/a") from cause
    except BadRequestData as error:
        came_back = handed_over(error)
    assert (came_back.detail, came_back.pointer) == ("It does not fit.", "/a")
