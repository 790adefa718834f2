"""Subscriptions from their stored form, and what happens when an @context of theirs becomes another one."""

import tracemalloc
from collections.abc import AsyncIterator
from typing import Any

import orjson
import pytest

from broker.jsonld.context import Context
from broker.jsonld.core import CORE_CONTEXT_URL
from broker.jsonld.processing import core_terms
from broker.ngsild.errors import BadRequestData, LdContextNotAvailable
from broker.ngsild.linking import JoinForm, Joining
from broker.notify.compiling import SubscriptionCompiler
from broker.notify.registry import Registry
from broker.notify.subscription import EntitySelector
from broker.storage.subscriptions import Document
from tests.unit.notify.samples import EARLIER, URL, entity, updated

THERE = "http://example.org/context.jsonld"


class Contexts:
    """@contexts without a network; `lost` cannot be had."""

    def __init__(self) -> None:
        self.changes = 0
        self.known = {url: _context(url) for url in (CORE_CONTEXT_URL, THERE)}
        self.lost: set[str] = set()
        self.asked = 0

    async def resolve(self, source: Any, tenant: str = "") -> Context:
        self.asked += 1
        if source in self.lost:
            raise LdContextNotAvailable(f"{source} cannot be had.")
        return self.known[source]

    def replace(self, url: str) -> None:
        self.known[url] = _context(url)
        self.changes += 1


def _context(url: str) -> Context:
    return Context(core_terms(), url, url)


class Source:
    """Where documents are kept."""

    def __init__(self, *documents: Document) -> None:
        self.documents = {one["_id"]["id"]: one for one in documents}

    async def get(self, _tenant: str, subscription_id: str) -> Document | None:
        return self.documents.get(subscription_id)

    async def all(self) -> AsyncIterator[Document]:
        for document in self.documents.values():
            yield document

    def edits(self) -> Any:
        raise NotImplementedError


def document(subscription_id: str = "urn:s:1", context: str = CORE_CONTEXT_URL, **members: Any) -> Document:
    notification = {"endpoint": {"uri": URL}, **members.pop("notification", {})}
    text = orjson.dumps(context).decode()
    return {
        "_id": {"tenant": "", "id": subscription_id},
        "createdAt": EARLIER,
        "version": 1,
        "definition": {
            "context": text,
            "qContext": text,
            "notificationTrigger": ["attributeCreated", "attributeUpdated"],
            "entities": [{"types": [["urn:T"]]}],
            "notification": notification,
            **members,
        },
    }


async def test_subscriptions_that_want_the_same_view_share_it_unless_it_is_joined() -> None:
    compiler = SubscriptionCompiler(Contexts())
    view = {"pick": ["id", "urn:a"], "omit": ["urn:b"], "showChanges": True}
    first, second = [await compiler(document(name, notification=view)) for name in ("urn:s:1", "urn:s:2")]
    assert first.projection is second.projection
    assert (first.projection.pick, first.projection.omit) == (frozenset({"id", "urn:a"}), frozenset({"urn:b"}))
    assert first.projection.show_changes
    assert not first.deferred


async def test_a_nested_projection_becomes_the_view_of_linked_entities() -> None:
    nested = [{"name": "urn:a", "members": ["id", "urn:x.y"]}, "type"]
    view = {"pick": nested, "omit": [{"name": "urn:a", "members": ["urn:z"]}], "join": "inline", "joinLevel": 2}
    compiled = await SubscriptionCompiler(Contexts())(document(notification=view))
    assert compiled.deferred
    projection = compiled.projection
    assert projection.joining == Joining(JoinForm.INLINE, 2)
    assert (projection.pick, projection.omit) == (frozenset({"urn:a", "type"}), frozenset())
    assert projection.view is not None
    inside = projection.view.inside("urn:a")
    assert (inside.picked, inside.omitted) == (frozenset({"id", "urn:x%2Ey"}), frozenset({"urn:z"}))


async def test_a_query_about_linked_entities_is_split() -> None:
    compiled = await SubscriptionCompiler(Contexts())(document(q="a==1;b{c}==2", notification={"join": "@none"}))
    assert compiled.deferred
    key = "https://uri%2Eetsi%2Eorg/ngsi-ld/default-context/a"
    one, other = ({**entity(), "attributes": {key: [{"type": "Property", "value": value}]}} for value in (1, 2))
    assert [all(holds(found) for holds in compiled.condition.predicates) for found in (one, other)] == [True, False]


async def test_a_periodic_subscription_knows_what_it_selects_and_hears_of_no_change() -> None:
    selector = {"types": [["urn:T", "urn:U"]], "id": ["urn:e:1"], "idPattern": "x"}
    periodic = document(timeInterval=2.5, q="a==1", scopeQ="/x", entities=[selector])
    registry = Registry(Source(periodic), SubscriptionCompiler(Contexts()))
    await registry.apply(periodic)
    assert registry.matching == {}
    [compiled] = registry.periodic.values()
    assert compiled.periodic is not None
    assert compiled.periodic.seconds == 2.5
    assert compiled.periodic.selectors == (EntitySelector((("urn:T", "urn:U"),), ("urn:e:1",), "x"),)
    assert compiled.periodic.q is not None
    assert compiled.periodic.scope is not None
    registry.forget("", "urn:s:1")
    assert registry.periodic == {}


@pytest.mark.parametrize(
    ("members", "pointer"),
    [
        ({"q": "a=="}, "/q"),
        ({"scopeQ": "//"}, "/scopeQ"),
        ({"geoQ": {"georel": "by", "geometry": "Point", "coordinates": [1, 2]}}, "/geoQ"),
        ({"entities": [{"idPattern": "("}]}, "/entities/0/idPattern"),
    ],
)
async def test_what_cannot_be_compiled_is_named(members: dict[str, Any], pointer: str) -> None:
    with pytest.raises(BadRequestData) as caught:
        await SubscriptionCompiler(Contexts())(document(**members))
    assert caught.value.pointer == pointer


async def test_subscriptions_are_compiled_anew_when_their_context_becomes_another_one() -> None:
    contexts = Contexts()
    source = Source(document("urn:s:1"), document("urn:s:2", THERE), document("urn:s:3", jsonldContext=THERE))
    compiler = SubscriptionCompiler(contexts)
    registry = Registry(source, compiler, compiler.outdated)
    for one in source.documents.values():
        await registry.apply(one)
    before = {name: registry.get("", name) for name in source.documents}
    asked = contexts.asked
    await registry.renew()
    assert contexts.asked == asked  # nothing has changed: nothing is looked at
    contexts.replace(THERE)
    await registry.renew()
    assert registry.get("", "urn:s:1") is before["urn:s:1"]
    for name in ("urn:s:2", "urn:s:3"):
        renewed = registry.get("", name)
        assert renewed is not None
        assert renewed is not before[name]
        assert renewed.projection.context is contexts.known[THERE]
    assert set(registry.matching[""].candidates(updated(entity(a=1), a=2))) == {
        registry.get("", name) for name in source.documents
    }


async def test_a_context_that_is_lost_stays_in_use() -> None:
    contexts = Contexts()
    source = Source(document(context=THERE))
    compiler = SubscriptionCompiler(contexts)
    registry = Registry(source, compiler, compiler.outdated)
    await registry.apply(source.documents["urn:s:1"])
    before = registry.get("", "urn:s:1")
    contexts.lost.add(THERE)
    contexts.changes += 1
    await registry.renew()
    assert registry.get("", "urn:s:1") is before is not None


async def test_a_hundred_thousand_subscriptions_would_share_what_is_the_same_and_stay_small() -> None:
    compiler = SubscriptionCompiler(Contexts())
    warm = await compiler(document("urn:s:0", q="n>0"))
    tracemalloc.start()
    try:
        many = [await compiler(document(f"urn:s:{number}", q=f"n>{number}")) for number in range(1, 201)]
        used = tracemalloc.get_traced_memory()[0] / len(many)
    finally:
        tracemalloc.stop()
    assert {id(one.projection) for one in many} == {id(warm.projection)}
    assert len({id(source) for one in many for source, _ in one.contexts}) == 1
    assert used < 8_000, f"{used:.0f} bytes for each"
