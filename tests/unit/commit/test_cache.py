"""The committer's cache of entities."""

import subprocess
import sys
from random import Random
from typing import Any

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from benchmarks.population import Population
from broker.commit.cache import EntityCache
from broker.commit.packing import Packing
from broker.ngsild.fragments import read_entity
from broker.ngsild.mutations import CreateEntity
from tests.unit.ngsild.samples import EARLIER, core
from tests.unit.ngsild.strategies import entities

MANY = 1 << 20


def entity(name: str, size: int = 100) -> dict[str, Any]:
    noise = Random(f"{name} {size}").randbytes(size // 2).hex()  # which no packing makes shorter
    return {"_id": name, "types": ["T"], "attributes": {"a": noise}, "version": 1}


def test_what_is_not_cached_is_absent() -> None:
    assert EntityCache(MANY).get("", "urn:a:b") is None


def test_an_entity_comes_back_as_a_copy_of_its_own() -> None:
    cache = EntityCache(MANY)
    kept = entity("urn:a:b")
    cache.put("", "urn:a:b", kept)
    first, second = cache.get("", "urn:a:b"), cache.get("", "urn:a:b")
    assert first == second == kept
    assert first is not second
    assert first is not None
    first["attributes"]["a"] = "changed"
    assert cache.get("", "urn:a:b") == kept


def test_tenants_are_apart() -> None:
    cache = EntityCache(MANY)
    cache.put("one", "urn:a:b", entity("1"))
    cache.put("two", "urn:a:b", entity("2"))
    cache.drop("two", "urn:a:b")
    assert cache.get("two", "urn:a:b") is None
    assert cache.get("one", "urn:a:b") == entity("1")


def test_the_last_entity_put_is_the_one_that_is_kept() -> None:
    cache = EntityCache(MANY)
    cache.put("", "urn:a:b", entity("1"))
    cache.put("", "urn:a:b", entity("2"))
    assert cache.get("", "urn:a:b") == entity("2")
    assert len(cache) == 1


def test_the_least_recently_used_entity_leaves_first() -> None:
    cache = EntityCache(4_300)
    for name in "abcde":
        cache.put("", name, entity(name, 600))
    assert cache.get("", "a") is not None
    cache.put("", "f", entity("f", 600))
    assert cache.get("", "b") is None
    assert all(cache.get("", name) is not None for name in "acdef")


def test_an_entity_too_large_for_the_cache_is_not_kept_and_displaces_only_its_older_self() -> None:
    cache = EntityCache(5_000)
    cache.put("", "a", entity("a"))
    cache.put("", "b", entity("b"))
    cache.put("", "a", entity("a", 2_000))
    assert cache.get("", "a") is None
    assert cache.get("", "b") is not None


def test_what_is_dropped_or_replaced_makes_room() -> None:
    cache = EntityCache(5_000)
    cache.put("", "a", entity("a", 600))
    for size in (100, 900) * 50:
        cache.put("", "b", entity("b", size))
        cache.drop("", "b")
        cache.put("", "b", entity("b", size))
        cache.put("", "b", entity("b", size))
    assert cache.get("", "a") is not None


@given(
    st.lists(
        st.tuples(st.sampled_from(["put", "put", "get", "drop"]), st.sampled_from("abcdefgh"), st.integers(0, 3_000)),
        max_size=60,
    )
)
def test_the_size_stays_within_the_bound_whatever_happens(steps: list[tuple[str, str, int]]) -> None:
    cache = EntityCache(6_000)
    last: dict[str, dict[str, Any]] = {}
    for action, name, size in steps:
        if action == "put":
            last[name] = entity(name, size)
            cache.put("", name, last[name])
        elif action == "drop":
            last.pop(name, None)
            cache.drop("", name)
        else:
            assert cache.get("", name) in (None, last.get(name))
    texts = [orjson.dumps(last[name]) for name in last if cache.get("", name) is not None]
    assert len(cache) == len(texts)
    assert sum(map(len, texts)) <= 6_000


FILLED = """
import random
import resource
from broker.commit.cache import EntityCache

def resident():
    with open("/proc/self/statm") as file:
        return int(file.read().split()[1]) * resource.getpagesize()

cache = EntityCache(32 << 20)
before = resident()
for number in range(100_000):
    name = f"urn:e:{number}"
    noise = random.randbytes(300).hex()
    cache.put("", name, {"_id": name, "types": ["T"], "attributes": {"a": noise}, "version": 1 << 50})
print(len(cache), resident() - before)
"""


@pytest.mark.skipif(sys.platform != "linux", reason="the resident memory is read from /proc")
def test_a_full_cache_takes_about_the_memory_that_it_may() -> None:
    # In a process of its own, whose memory is nobody else's.
    printed = subprocess.run([sys.executable, "-c", FILLED], check=True, capture_output=True, text=True).stdout
    kept, grown = map(int, printed.split())
    assert 20_000 < kept < 100_000
    assert 16 << 20 < grown < 40 << 20


def test_what_entities_of_a_type_have_in_common_takes_hardly_any_memory() -> None:
    population = Population("run", 50)
    cache = EntityCache(MANY, fresh_bytes=0)
    for index in range(50):
        stored = population.stored(index)
        cache.put("", stored["_id"], stored)
    text = orjson.dumps(population.stored(0))
    assert cache.size < 50 * len(text) / 3
    assert all(cache.get("", population.entity_id(index)) == population.stored(index) for index in range(50))


def test_more_types_than_there_are_prototypes_come_back_too() -> None:
    packing = Packing(most_prototypes=3)
    documents = [{"_id": f"urn:e:{number}", "types": [f"T{number}"], "long": "y" * 9_000} for number in range(8)]
    texts = [orjson.dumps(document) for document in [*documents, {"none": "of them"}]]
    packed = [packing.pack(text) for text in texts]
    assert [packing.unpack(one) for one in packed] == texts


def test_what_was_not_changed_for_long_is_packed_and_comes_back() -> None:
    cache = EntityCache(MANY, fresh_bytes=3_000)
    kept = {name: {**entity(name), "padding": "x" * 700} for name in "abcdef"}
    for name, one in kept.items():
        cache.put("", name, one)
    assert [len(tier.entries) for tier in (cache._fresh, cache._packed)] == [2, 4]
    assert {name: cache.get("", name) for name in kept} == kept
    cache.put("", "a", kept["b"])
    cache.drop("", "c")
    assert (cache.get("", "a"), cache.get("", "c"), len(cache)) == (kept["b"], None, 5)


@given(entities(), st.sampled_from([0, MANY]))
def test_any_entity_comes_back_equal_and_of_the_same_types(document: dict[str, Any], fresh_bytes: int) -> None:
    cache = EntityCache(MANY, fresh_bytes)
    stored, _ = CreateEntity(read_entity(document, core()))(None, EARLIER)
    cache.put("", stored["_id"], stored)
    assert repr(cache.get("", stored["_id"])) == repr(stored)
