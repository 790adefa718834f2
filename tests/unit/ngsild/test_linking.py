"""Linked entities: which ones an answer retrieves, level by level, and where it shows them."""

from collections.abc import Sequence
from typing import Any

import pytest

from broker.ngsild.errors import TooManyResults
from broker.ngsild.linking import (
    JoinForm,
    Joining,
    LinkedEntities,
    ProjectedView,
    assemble,
    retrieve_linked,
)
from broker.ngsild.model import Entity
from broker.ngsild.projections import parse_projection
from broker.ngsild.representations import Format, render_entity
from tests.unit.ngsild.samples import DATASET, OTHER_DATASET, core, entity

INLINE, FLAT = JoinForm.INLINE, JoinForm.FLAT


def uri(name: str) -> str:
    return f"urn:e:{name}"


def to(*names: str, **members: Any) -> dict[str, Any]:
    """A Relationship to one entity, or to several."""
    return {"object": uri(names[0]) if len(names) == 1 else [uri(name) for name in names], **members}


def chain(*names: str) -> list[Entity]:
    """Entities of which each is `next` to the one before it, and the last to the first."""
    return [thing(name, next=to(following)) for name, following in zip(names, (*names[1:], names[0]), strict=True)]


def thing(name: str, kind: str = "Thing", /, **attributes: Any) -> Entity:
    return entity({"id": uri(name), "type": kind}, **attributes)


class Town:
    """Entities by id, and what was asked for at each level."""

    def __init__(self, *entities: Entity) -> None:
        self.entities = {one["_id"]: one for one in entities}
        self.asked: list[list[str]] = []

    async def load(self, ids: Sequence[str]) -> dict[str, Entity]:
        self.asked.append([name.removeprefix("urn:e:") for name in ids])
        return {name: self.entities[name] for name in ids if name in self.entities}

    async def answer(
        self,
        *selected: str,
        form: JoinForm = INLINE,
        level: int = 1,
        contained_by: Sequence[str] = (),
        representation: Format = Format.SIMPLIFIED,
        pick: str = "",
        omit: str = "",
        datasets: frozenset[str] | None = None,
        most: int = 100,
    ) -> list[dict[str, Any]]:
        view = ProjectedView(
            core(), parse_projection(pick, "pick") if pick else None, parse_projection(omit, "omit") if omit else None
        )
        linked = LinkedEntities(
            [self.entities[uri(name)] for name in selected],
            Joining(form, level, frozenset(map(uri, contained_by))),
            view=view,
            datasets=datasets,
            most=most,
        )
        await retrieve_linked(linked, self.load)

        def show(one: Entity, within: ProjectedView) -> tuple[Entity, dict[str, Any]]:
            return one, render_entity(
                one, core(), representation, pick=within.picked, omit=within.omitted, datasets=datasets
            )

        return [document for _, document in assemble(linked, show, core(), representation)]


def simple(name: str, /, **members: Any) -> dict[str, Any]:
    return {"id": uri(name), "type": "Thing", **members}


CAR = thing("car", owner=to("ann"), wheels={"objectList": [uri("w1"), uri("w2")]}, riders=to("ann", "bob"), speed=5)
PEOPLE = [CAR, thing("ann", name="Ann"), thing("bob", name="Bob"), thing("w1", number=1), thing("w2", number=2)]


@pytest.mark.parametrize("form", [Format.NORMALIZED, Format.CONCISE])
async def test_a_lossless_answer_has_linked_entities_beside_the_objects(form: Format) -> None:
    (car,) = await Town(*PEOPLE).answer("car", representation=form)
    owner, riders, wheels = car["owner"], car["riders"], car["wheels"]
    assert owner["object"] == uri("ann")
    assert (owner["entity"]["id"], "entityList" in owner) == (uri("ann"), False)
    assert owner["entity"]["name"] == ("Ann" if form is Format.CONCISE else {"type": "Property", "value": "Ann"})
    assert [one["id"] for one in wheels["entityList"]] == [uri("w1"), uri("w2")]
    assert ("entity" in wheels, len(wheels["objectList"])) == (False, 2)
    assert [one["id"] for one in riders["entity"]] == [uri("bob")], "an array for an array; ann was encountered before"


async def test_a_simplified_answer_has_linked_entities_in_place_of_their_uris() -> None:
    assert await Town(*PEOPLE).answer("car") == [
        simple(
            "car",
            owner=simple("ann", name="Ann"),
            wheels=[simple("w1", number=1), simple("w2", number=2)],
            riders=[uri("ann"), simple("bob", name="Bob")],
            speed=5,
        )
    ]


async def test_a_flat_answer_appends_each_linked_entity_once() -> None:
    shown = await Town(*PEOPLE).answer("car", form=FLAT)
    assert [one["id"] for one in shown] == list(map(uri, ("car", "ann", "w1", "w2", "bob")))
    assert shown[0]["riders"] == [uri("ann"), uri("bob")]


async def test_each_level_asks_once_for_all_that_it_needs_and_nothing_twice() -> None:
    town = Town(thing("a", x=to("b", "c")), thing("b", x=to("d", "c")), thing("c", x=to("d", "a", "e")), thing("d"))
    await town.answer("a", level=10)
    assert town.asked == [["b", "c"], ["d", "e"]]


@pytest.mark.parametrize(("level", "expected"), [(1, "ab"), (2, "abc"), (3, "abcd"), (4, "abcd"), (10, "abcd")])
async def test_relationships_are_followed_as_far_as_the_level_says(level: int, expected: str) -> None:
    town = Town(*chain("a", "b", "c", "d"))
    assert [one["id"][-1] for one in await town.answer("a", form=FLAT, level=level)] == list(expected)
    (shown,) = await town.answer("a", level=level)
    for letter in expected[1:]:
        shown = shown["next"]
        assert shown["id"] == uri(letter)
    assert isinstance(shown["next"], str), "the next entity is a URI: too far away, or encountered before"


@pytest.mark.parametrize("form", [INLINE, FLAT])
async def test_an_entity_that_links_to_itself_is_shown_once(form: JoinForm) -> None:
    town = Town(*chain("a"))
    assert await town.answer("a", form=form, level=5) == [simple("a", next=uri("a"))]
    assert town.asked == []


@pytest.mark.parametrize("form", [INLINE, FLAT])
async def test_entities_that_the_client_has_encountered_are_neither_shown_nor_asked_for(form: JoinForm) -> None:
    town = Town(*chain("a", "b", "c"))
    assert await town.answer("a", form=form, level=3, contained_by=["b"]) == [simple("a", next=uri("b"))]
    assert town.asked == []


@pytest.mark.parametrize("form", [INLINE, FLAT])
async def test_a_target_that_does_not_exist_remains_a_uri(form: JoinForm) -> None:
    town = Town(thing("a", x=to("gone"), y={"objectList": [uri("gone"), uri("lost")]}))
    (shown,) = await town.answer("a", form=form, level=3, representation=Format.CONCISE)
    assert shown["x"] == {"object": uri("gone")}
    assert shown["y"] == {"objectList": [uri("gone"), uri("lost")]}


async def test_of_several_targets_those_are_shown_that_exist() -> None:
    town = Town(thing("a", x=to("gone", "b"), y={"objectList": [uri("c"), uri("gone")]}), thing("b"), thing("c"))
    (shown,) = await town.answer("a", representation=Format.CONCISE)
    assert shown["x"]["entity"] == [simple("b")]
    assert shown["y"]["entityList"] == [simple("c")]
    (shown,) = await town.answer("a")
    assert shown["x"] == [uri("gone"), simple("b")]
    assert shown["y"] == [simple("c"), uri("gone")]


async def test_what_is_nearest_is_shown_first() -> None:
    town = Town(thing("a", x=to("b"), y=to("c")), thing("b", z=to("c")), thing("c"))
    assert await town.answer("a", level=2) == [simple("a", x=simple("b", z=uri("c")), y=simple("c"))]


async def test_inline_each_selected_entity_shows_all_that_it_links_to() -> None:
    town = Town(thing("a", x=to("c")), thing("b", x=to("c", "a")), thing("c"))
    assert await town.answer("a", "b") == [
        simple("a", x=simple("c")),
        simple("b", x=[simple("c"), simple("a", x=uri("c"))]),
    ]
    assert town.asked == [["c"]], "an entity that was selected is at hand"


async def test_flat_no_entity_is_shown_twice() -> None:
    town = Town(thing("a", x=to("c")), thing("b", x=to("c", "a")), thing("c"))
    assert [one["id"][-1] for one in await town.answer("a", "b", form=FLAT)] == ["a", "b", "c"]


async def test_the_object_type_does_not_keep_an_entity_away_that_exists() -> None:
    town = Town(thing("a", x=to("b", objectType="Elephant")), thing("b", "Mouse"))
    (shown,) = await town.answer("a")
    assert shown["x"]["type"] == "Mouse"


async def test_each_instance_of_a_relationship_has_its_own_linked_entities() -> None:
    instances = [to("b"), to("c", datasetId=DATASET), to("d", datasetId=OTHER_DATASET)]
    town = Town(thing("a", x=instances), thing("b"), thing("c"))
    (shown,) = await town.answer("a", representation=Format.NORMALIZED)
    assert [one.get("entity", {}).get("id") for one in shown["x"]] == [uri("b"), uri("c"), None]
    (shown,) = await town.answer("a")
    assert shown["x"] == {"dataset": {"@none": simple("b"), DATASET: simple("c"), OTHER_DATASET: uri("d")}}


async def test_only_the_instances_that_are_shown_are_followed() -> None:
    town = Town(thing("a", x=[to("b"), to("c", datasetId=DATASET)]), thing("b"), thing("c", y=to("b")))
    (shown,) = await town.answer("a", level=2, datasets=frozenset({DATASET}))
    assert shown["x"] == {"dataset": {DATASET: simple("c")}}
    assert town.asked == [["c"]]


async def test_relationships_of_attributes_are_not_followed() -> None:
    town = Town(thing("a", speed={"value": 1, "by": to("b")}), thing("b"))
    assert await town.answer("a") == [simple("a", speed=1)]
    assert town.asked == []


async def test_what_is_not_picked_is_not_followed() -> None:
    town = Town(*PEOPLE)
    assert await town.answer("car", pick="id,speed") == [{"id": uri("car"), "speed": 5}]
    assert await town.answer("car", omit="owner,wheels,riders") == [simple("car", speed=5)]
    assert town.asked == []


async def test_a_projection_goes_on_inside_of_linked_entities() -> None:
    town = Town(thing("a", x=to("b")), thing("b", y=to("c"), name="B", age=1), thing("c", name="C", age=2))
    assert await town.answer("a", level=2, pick="x{name,y{id}}") == [{"x": {"name": "B", "y": {"id": uri("c")}}}]
    assert await town.answer("a", level=2, pick="x{name}") == [{"x": {"name": "B"}}]
    assert await town.answer("a", level=2, pick="x") == [
        {"x": simple("b", y=simple("c", name="C", age=2), name="B", age=1)}
    ]
    assert await town.answer("a", level=2, omit="type,x{age,y{id,name}}") == [
        {"id": uri("a"), "x": simple("b", y={"type": "Thing", "age": 2}, name="B")}
    ]
    assert await town.answer("a", form=FLAT, level=2, pick="id,x{id,y}", omit="x{y{age}}") == [
        {"id": uri("a"), "x": uri("b")},
        {"id": uri("b"), "y": uri("c")},
        simple("c", name="C"),
    ]


@pytest.mark.parametrize("form", [INLINE, FLAT])
async def test_too_many_linked_entities_are_refused_before_they_are_loaded(form: JoinForm) -> None:
    town = Town(thing("a", x=to(*map(str, range(11)))))
    with pytest.raises(TooManyResults, match="more than 10 linked entities"):
        await town.answer("a", form=form, most=10)
    assert town.asked == []


async def test_the_bound_counts_every_place_at_which_an_answer_shows_an_entity() -> None:
    town = Town(*(thing(name, x=to("far")) for name in "abcdef"), thing("far"))
    assert len(await town.answer(*"abcdef", form=FLAT, most=5)) == 7
    with pytest.raises(TooManyResults):
        await town.answer(*"abcdef", most=5)
