"""Explanations of MongoDB, reduced (storage/plans.py)."""

from typing import Any

from broker.storage.plans import QueryPlan, Search, read_plan

STATISTICS = {"totalKeysExamined": 7, "totalDocsExamined": 5, "nReturned": 3, "executionTimeMillis": 12}
SCAN = {"stage": "IXSCAN", "indexName": "types"}


def plan(winning: dict[str, Any]) -> QueryPlan:
    return read_plan({"queryPlanner": {"winningPlan": winning}, "executionStats": STATISTICS})


def test_the_stages_and_indexes_of_a_plan_are_read_from_the_last_to_the_first() -> None:
    branches = {"stage": "OR", "inputStages": [{"stage": "IXSCAN", "indexName": "mine"}, SCAN, SCAN]}
    found = plan({"stage": "SORT", "inputStage": {"stage": "FETCH", "inputStage": branches}})

    assert found.stages == ("SORT", "FETCH", "OR", "IXSCAN", "IXSCAN", "IXSCAN")
    assert found.indexes == ("mine", "types")
    assert (found.keys, found.documents, found.returned, found.seconds) == (7, 5, 3, 0.012)
    assert (found.examined, found.whole_collection) == (7, False)


def test_plans_of_newer_servers_and_of_shards_are_read_as_well() -> None:
    newer = {"isCached": False, "queryPlan": {"stage": "FETCH", "inputStage": SCAN}, "slotBasedPlan": {"stages": "…"}}
    assert plan(newer).stages == ("FETCH", "IXSCAN")
    sharded = {"stage": "SHARD_MERGE", "shards": [{"shardName": "a", "winningPlan": newer}, {"winningPlan": SCAN}]}
    assert plan(sharded).stages == ("SHARD_MERGE", "FETCH", "IXSCAN", "IXSCAN")


def test_going_through_all_entities_is_noticed_in_whatever_order() -> None:
    assert plan({"stage": "COLLSCAN"}).whole_collection
    assert plan({"stage": "FETCH", "inputStage": {"stage": "IXSCAN", "indexName": "_id_"}}).whole_collection


def test_a_search_says_only_what_was_asked_for() -> None:
    assert Search({"a": 1}).command() == {"find": "entities", "filter": {"a": 1}}
    assert Search({}, {"_id": -1}, skip=3, limit=4, hint="types").command() == {
        "find": "entities", "filter": {}, "sort": {"_id": -1}, "skip": 3, "limit": 4, "hint": "types"
    }  # fmt: skip
