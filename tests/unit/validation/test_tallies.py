"""Violations, counted in memory and added to the database."""

from collections.abc import Mapping
from typing import Any

import pytest
import structlog

from broker.ngsild.content import snapshot_content
from broker.ngsild.errors import BadRequestData, Unavailable
from broker.storage.violations import OVERFLOW, ViolationCount, ViolationKey, add_count
from broker.validation import tallies as module
from broker.validation.policies import Policy
from broker.validation.tallies import Tallies, source_of
from broker.validation.violations import Violation

ROAD = "https://example.org/Road"


class RoadModel:
    """Names attributes by the last part of their key."""

    name = "Road"
    iri = ROAD

    def name_of(self, key: str) -> str:
        return key.rpartition("/")[2]


class MemoryViolations:
    """A database in memory; `refusal` is raised instead of keeping anything."""

    def __init__(self) -> None:
        self.kept: dict[ViolationKey, ViolationCount] = {}
        self.refusal: Exception | None = None

    async def add(self, counts: Mapping[ViolationKey, ViolationCount]) -> None:
        if self.refusal is not None:
            raise self.refusal
        for key, one in counts.items():
            add_count(self.kept, key, one)


class MemoryMetrics:
    def __init__(self) -> None:
        self.counted: list[tuple[str, ...]] = []

    def count(self, type_name: str, attribute: str, rule: str, policy: str) -> None:
        self.counted.append((type_name, attribute, rule, policy))


class Scene:
    """Tallies with a database and metrics in memory."""

    def __init__(self) -> None:
        self.store, self.metrics = MemoryViolations(), MemoryMetrics()
        self.tallies = Tallies(self.store, self.metrics)

    def count(
        self, attribute: str = "length", number: int = 1, tenant: str = "", policy: Policy = Policy.WARN, **more: Any
    ) -> None:
        violation = Violation(f"/{attribute}", attribute, "maximum", str(number), "less", "Road/schema.json#/x", **more)
        self.tallies.count(tenant, road(number), RoadModel(), violation, policy)

    def kept(self, attribute: str = "length", tenant: str = "", source: str = "") -> ViolationCount:
        return self.store.kept[ViolationKey(tenant, ROAD, attribute, "maximum", source)]


def road(number: int = 1, **texts: Any) -> Any:
    attributes = {
        f"https://example%2Eorg/{name}": [{"type": "Property", "value": text}] for name, text in texts.items()
    }
    return {"_id": f"urn:road:{number}", "types": [ROAD], "attributes": attributes}


async def test_violations_of_one_kind_are_counted_with_the_last_one_as_a_sample() -> None:
    scene = Scene()
    scene.count(number=1)
    scene.count(number=2)
    await scene.tallies.flush()
    scene.count(number=3, policy=Policy.ENFORCE)
    scene.count("width")
    await scene.tallies.flush()
    kept = scene.kept()
    assert (kept.count, kept.name, kept.policy) == (3, "Road", "enforce")
    assert kept.first < kept.last
    assert kept.sample == {
        "entity": "urn:road:3", "pointer": "/length", "detail": "length is 3; expected less.", "found": "3",
        "expected": "less", "schema": "Road/schema.json#/x",
    }  # fmt: skip
    assert scene.kept("width").count == 1


async def test_the_metrics_hear_of_every_violation_at_once() -> None:
    scene = Scene()
    scene.count()
    scene.count(policy=Policy.ENFORCE)
    assert scene.metrics.counted == [("Road", "length", "maximum", "warn"), ("Road", "length", "maximum", "enforce")]


async def test_what_is_advisory_counts_as_accepted_under_any_policy() -> None:
    scene = Scene()
    scene.count(policy=Policy.ENFORCE, advisory=True)
    await scene.tallies.flush()
    assert scene.kept().policy == "warn"


async def test_a_snapshot_counts_for_its_tenant() -> None:
    scene = Scene()
    scene.count(tenant=snapshot_content("madrid", "urn:snapshot:1", "token"))
    await scene.tallies.flush()
    assert scene.kept(tenant="madrid").count == 1


async def test_counts_that_could_not_be_added_are_added_later_once() -> None:
    scene = Scene()
    scene.count()
    scene.store.refusal = Unavailable("the storage is away")
    with pytest.raises(Unavailable):
        await scene.tallies.flush()
    scene.count()
    scene.store.refusal = None
    await scene.tallies.flush()
    await scene.tallies.flush()
    assert scene.kept().count == 2


async def test_counts_that_cannot_be_kept_do_not_stand_in_the_way_of_others() -> None:
    scene = Scene()
    scene.count()
    scene.store.refusal = BadRequestData("MongoDB refuses it")
    with pytest.raises(BadRequestData):
        await scene.tallies.flush()
    scene.store.refusal = None
    scene.count("width")
    await scene.tallies.flush()
    assert [key.attribute for key in scene.store.kept] == ["width"]


async def test_what_is_left_is_added_at_the_end() -> None:
    scene = Scene()
    scene.tallies.start()
    scene.count()
    await scene.tallies.stop()
    assert scene.kept().count == 1


async def test_beyond_a_bound_new_kinds_are_counted_together(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "TALLY_LIMIT", 2)
    scene = Scene()
    for name in ("a", "b", "c", "d", "a"):
        scene.count(name)
    await scene.tallies.flush()
    assert scene.kept("a").count == 2
    assert set(scene.store.kept) == {*(ViolationKey("", ROAD, name, "maximum", "") for name in "ab"), OVERFLOW}
    assert (scene.store.kept[OVERFLOW].count, scene.store.kept[OVERFLOW].name) == (2, "")


async def test_the_1st_10th_and_100th_violation_of_a_kind_is_logged() -> None:
    scene = Scene()
    with structlog.testing.capture_logs() as logged:
        for _ in range(120):
            scene.count()
        scene.count(policy=Policy.ENFORCE)
    assert [line["count"] for line in logged] == [1, 10, 100]


@pytest.mark.parametrize(
    ("texts", "source"),
    [
        ({}, ""),
        ({"source": "https://a.example"}, "https://a.example"),
        ({"source": "https://a.example", "dataProvider": "City"}, "City"),
        ({"dataProvider": {"no": "text"}, "source": "b"}, "b"),
        ({"dataSource": "c"}, ""),
        ({"dataProvider": "x" * 999}, "x" * 200),
    ],
)
def test_the_source_is_the_provider_of_the_data_or_else_its_source(texts: dict[str, Any], source: str) -> None:
    assert source_of(road(**texts), RoadModel()) == source
