"""Notifications that need linked entities: drafts in the outbox, finished when they are delivered."""

from typing import Any

import orjson
import pytest

from broker.ngsild.changes import Change
from broker.ngsild.linking import JoinForm, Joining, ProjectedView
from broker.ngsild.projections import parse_projection
from broker.ngsild.query.grammar import parse_q
from broker.ngsild.query.links import without_links
from broker.ngsild.query.predicate import compile_predicate
from broker.ngsild.query.tree import Node, expand
from broker.ngsild.representations import Format
from broker.notify.completing import Completer
from broker.notify.drafts import read_draft, write_draft
from broker.notify.matching import ATTRIBUTE_DELETED, Condition
from broker.notify.rendering import Projection
from broker.notify.subscription import Subscription
from tests.unit.notify.samples import (
    EARLIER,
    MemoryEntities,
    PlainContext,
    changed,
    entity,
    owed,
    subscription,
    updated,
)


class Keys:
    """Attribute keys for names."""

    def key(self, term: str) -> str:
        return f"urn:{term}"

    expand = expand_vocab = key


def link(*ids: str, **members: Any) -> list[dict[str, Any]]:
    stamps = {"createdAt": EARLIER, "modifiedAt": EARLIER}
    return [{"type": "Relationship", "object": ids[0] if len(ids) == 1 else list(ids), **stamps, **members}]


def joining(form: JoinForm, level: int = 1, pick: str | None = None, **members: Any) -> Projection:
    picked = None if pick is None else parse_projection(pick, "pick")
    view = ProjectedView(Keys(), picked)
    members.setdefault("format", Format.SIMPLIFIED)
    return Projection(PlainContext(), pick=view.picked, joining=Joining(form, level), view=view, **members)


def query(text: str) -> Node:
    return expand(parse_q(text), Keys())


async def complete(change: Change, one: Subscription, *others: Any, most: int = 10) -> Any:
    """The data of the finished notification, None if there is none."""
    draft = owed(change.entity_id, body=write_draft(change), draft=True)
    finished = await Completer(MemoryEntities(*others), most).complete(draft, one)
    if finished is None:
        return None
    notification = orjson.loads(finished)
    assert notification["id"] == draft.id
    assert notification["notifiedAt"] == change.now
    return notification["data"]


CITY = entity("urn:city", a="Paris", country=link("urn:fr"))
COUNTRY = entity("urn:fr", a="France")
BEFORE = entity(a=1, place=link("urn:city"))
CHANGE = updated(BEFORE, a=2)


def test_a_draft_keeps_what_a_change_needs_and_no_more() -> None:
    kept = read_draft(write_draft(CHANGE), "", "urn:e:1")
    assert kept.after == CHANGE.after
    assert kept.now == CHANGE.now
    assert kept.before is not None
    assert kept.before["attributes"] == {"urn:a": BEFORE["attributes"]["urn:a"]}
    assert read_draft(write_draft(changed(BEFORE, None)), "", "urn:e:1").before == BEFORE
    assert read_draft(write_draft(changed(None, BEFORE)), "", "urn:e:1").before is None


async def test_linked_entities_stand_inside_or_behind() -> None:
    inline = await complete(CHANGE, subscription(projection=joining(JoinForm.INLINE, 2)), CITY, COUNTRY)
    france = {"id": "urn:fr", "type": "T", "a": "France"}
    paris = {"id": "urn:city", "type": "T", "a": "Paris", "country": france}
    assert inline == [{"id": "urn:e:1", "type": "T", "a": 2, "place": paris}]
    flat = await complete(CHANGE, subscription(projection=joining(JoinForm.FLAT)), CITY, COUNTRY)
    assert flat == [
        {"id": "urn:e:1", "type": "T", "a": 2, "place": "urn:city"},
        {"id": "urn:city", "type": "T", "a": "Paris", "country": "urn:fr"},
    ]


async def test_pick_goes_into_linked_entities() -> None:
    projection = joining(JoinForm.INLINE, pick="id,place{a}")
    shown = await complete(CHANGE, subscription(projection=projection), CITY)
    assert shown == [{"id": "urn:e:1", "place": {"a": "Paris"}}]


async def test_changes_are_shown_beside_linked_entities() -> None:
    before = entity(a=1, b=2, place=[*link("urn:city"), *link("urn:gone", datasetId="urn:d:1")])
    change = updated(before, a=5, b=None, place=link("urn:city"))
    projection = joining(JoinForm.INLINE, show_changes=True, format=Format.NORMALIZED)
    [shown] = await complete(change, subscription(projection=projection), CITY)
    assert shown["a"]["previousValue"] == 1
    assert shown["b"] == {"type": "Property", "value": "urn:ngsi-ld:null", "previousValue": 2}
    kept, deleted = shown["place"]
    assert kept["entity"]["id"] == "urn:city"
    assert (deleted["object"], deleted["previousObject"]) == ("urn:ngsi-ld:null", "urn:gone")


async def test_a_deletion_is_told_without_linked_entities() -> None:
    projection = joining(JoinForm.FLAT)
    watching = subscription(Condition(triggers=ATTRIBUTE_DELETED, watched=frozenset({"urn:a"})), projection=projection)
    [shown] = await complete(changed(BEFORE, None), watching, CITY)
    assert shown.keys() == {"id", "type", "deletedAt", "a"}


async def test_past_the_limit_the_uris_must_do() -> None:
    change = updated(entity(), place=link("urn:city", "urn:fr"))
    projection = joining(JoinForm.FLAT)
    assert len(await complete(change, subscription(projection=projection), CITY, COUNTRY, most=2)) == 3
    assert len(await complete(change, subscription(projection=projection), CITY, COUNTRY, most=1)) == 1


async def test_expired_linked_entities_are_absent() -> None:
    expired = {**CITY, "expiresAt": "2020-01-01T00:00:00Z"}
    assert len(await complete(CHANGE, subscription(projection=joining(JoinForm.FLAT)), expired)) == 1


@pytest.mark.parametrize(
    ("text", "wanted"),
    [
        ('place{a}=="Paris"', True),
        ('place{a}=="Lyon"', False),
        ('place{country{a}}=="France"', True),
        ('place{country{a}}=="Spain"', False),
        ('place{a}=="Lyon"|a==2', True),
        ('a==2;place{a}=="Paris"', True),
        ("nowhere{a}", False),
    ],
)
async def test_a_query_about_linked_entities_is_decided_at_delivery(text: str, wanted: bool) -> None:
    asking = subscription(link_query=query(text))
    assert asking.deferred
    assert (await complete(CHANGE, asking, CITY, COUNTRY) is not None) == wanted


@pytest.mark.parametrize(
    ("text", "left"),
    [
        ("place{a}==1", None),
        ("place{a}==1;b==2", "b==2"),
        ("place{a}==1|b==2", None),
        ("(place{a}==1;b==2)|c==3", "b==2|c==3"),
        ("b==2;c==3", "b==2;c==3"),
    ],
)
def test_what_a_query_asks_of_the_entity_itself_is_decided_first(text: str, left: str | None) -> None:
    remaining = without_links(query(text))
    if left is None:
        assert remaining is None
        return
    assert remaining is not None
    holds, expected = compile_predicate(remaining), compile_predicate(query(left))
    for one in (entity(b=2, c=3), entity(b=2), entity(c=3), entity()):
        assert holds(one) == expected(one)


async def test_several_entities_are_joined_together() -> None:
    completer = Completer(MemoryEntities(CITY, COUNTRY), 10)
    rendered = await completer.render_all([BEFORE, CITY], subscription(projection=joining(JoinForm.FLAT)))
    assert [one["id"] for one in orjson.loads(b"[" + rendered + b"]")] == ["urn:e:1", "urn:city", "urn:fr"]
