"""Rendered entities that are kept: what comes from memory is what would be rendered anew, and never out of date."""

import subprocess
import sys
from typing import Any

import bson
import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from broker.jsonld.context import Context
from broker.jsonld.processing import core_terms
from broker.ngsild.fragments import read_entity
from broker.ngsild.model import Entity
from broker.ngsild.mutations import CreateEntity
from broker.ngsild.representations import Format
from broker.storage.documents import StoredEntity, as_document
from broker.telemetry import CacheStatistics
from broker.web.parameters import Presentation
from broker.web.rendered import RenderedEntities
from tests.unit.ngsild.samples import EARLIER, ID, core, entity
from tests.unit.ngsild.strategies import entities

MANY = 1 << 20
PAST, FUTURE = "2001-01-01T00:00:00Z", "2199-01-01T00:00:00Z"
PLAIN = Presentation()

presentations = st.builds(
    Presentation,
    format=st.sampled_from(Format),
    sys_attrs=st.booleans(),
    omit=st.sampled_from([[], ["id"], ["type", "scope"]]),
    lang=st.sampled_from([None, "fr", "*"]),
)


class Counted(RenderedEntities):
    """With its own statistics at hand."""

    def __init__(self, max_bytes: int = MANY) -> None:
        self.counted = CacheStatistics("test", "Texts")
        super().__init__(max_bytes, self.counted)

    def show(self, stored: StoredEntity, presentation: Presentation = PLAIN, tenant: str = "") -> bytes | None:
        return self.text(self.view(core(), presentation), tenant, stored)


def stored(one: Entity, version: int = 1 << 40) -> StoredEntity:
    return StoredEntity(bson.encode(as_document({**one, "version": version})))


@given(document=entities(), presentation=presentations)
def test_what_is_kept_equals_what_is_rendered_anew_byte_by_byte(
    document: dict[str, Any], presentation: Presentation
) -> None:
    created, _ = CreateEntity(read_entity(document, core()))(None, EARLIER)
    rendered = Counted()
    created.pop("expiresAt", None)  # what expires is never kept
    first = rendered.show(stored(created), presentation)
    again = rendered.show(stored(created), presentation)
    assert (rendered.counted.misses, rendered.counted.hits) == (1, 1)
    assert first == again == Counted().show(stored(created), presentation)
    assert first is not None
    view = rendered.view(core(), presentation)
    assert orjson.loads(view.with_context(first)) == {"@context": core().source, **orjson.loads(first)}


def test_another_version_is_rendered_anew_and_takes_the_place_of_the_first() -> None:
    rendered = Counted()
    old, new = stored(entity(a=1), 2**40), stored(entity(a=2), 2**40 + 1)
    assert rendered.show(old) != rendered.show(new)
    assert rendered.show(new) == Counted().show(new)
    assert len(rendered) == 1
    assert rendered.show(old) == Counted().show(old)  # a find that was slower than the one before it


def test_tenants_presentations_and_contexts_are_apart() -> None:
    rendered = Counted()
    one = stored(entity(a=1))
    other_context = Context(core_terms(), "http://example.org/c", "http://example.org/c")
    rendered.show(one)
    rendered.show(one, tenant="madrid")
    rendered.show(one, Presentation(format=Format.SIMPLIFIED))
    rendered.show(one, Presentation(attrs=["a"]))
    rendered.show(one, Presentation(pick=["a"]))
    rendered.show(one, Presentation(omit=["a"]))
    rendered.show(one, Presentation(datasets=["@none"]))
    rendered.text(rendered.view(other_context, PLAIN), "", one)
    assert (rendered.counted.misses, rendered.counted.hits, len(rendered)) == (8, 0, 8)


def test_equal_presentations_share_a_view() -> None:
    rendered = Counted()
    first = rendered.view(core(), Presentation(pick=["a", "b"]))
    assert rendered.view(core(), Presentation(pick=["a", "b"])) is first
    assert rendered.view(core(), Presentation(pick=["b", "a"])) is not first


def test_what_expires_is_rendered_anew_every_time() -> None:
    rendered = Counted()
    assert rendered.show(stored(entity(a=1, expiresAt=FUTURE))) is not None
    assert rendered.show(stored(entity(a=1, expiresAt=PAST))) is None
    assert (rendered.counted.hits, len(rendered)) == (0, 0)


def test_memory_is_bounded_and_the_least_recently_used_leaves_first() -> None:
    rendered = Counted(max_bytes=40_000)
    text = "x" * 7_000
    many = [stored(entity(id=f"urn:e:{number}", a=text)) for number in range(6)]
    for one in many[:4]:
        rendered.show(one)
    rendered.show(many[0])
    rendered.show(many[4])
    rendered.show(many[5])
    assert rendered._bytes <= 40_000
    hits = rendered.counted.hits
    rendered.show(many[0])
    assert rendered.counted.hits == hits + 1
    rendered.show(many[1])
    assert rendered.counted.hits == hits + 1


FILLED = """
import resource
from broker.telemetry import CacheStatistics
from broker.web.parameters import Presentation
from broker.web.rendered import RenderedEntities
from tests.unit.ngsild.samples import core, entity
from tests.unit.web.test_rendered import stored

def resident():
    with open("/proc/self/statm") as file:
        return int(file.read().split()[1]) * resource.getpagesize()

rendered = RenderedEntities(16 << 20, CacheStatistics("test", "Texts"))
view = rendered.view(core(), Presentation())
one = entity(a="x" * 400)
rendered.text(view, "", stored(one))
before = resident()
for number in range(30_000):
    rendered.text(view, "", stored({**one, "_id": f"urn:ngsi-ld:Building:{number:010}"}))
print(len(rendered), resident() - before)
"""


@pytest.mark.skipif(sys.platform != "linux", reason="the resident memory is read from /proc")
def test_what_is_kept_takes_about_the_memory_that_it_may() -> None:
    # In a process of its own, whose memory is nobody else's.
    printed = subprocess.run([sys.executable, "-c", FILLED], check=True, capture_output=True, text=True).stdout
    kept, grown = map(int, printed.split())
    assert 10_000 < kept < 30_000
    assert 8 << 20 < grown < 20 << 20


def test_no_memory_keeps_nothing_and_one_large_entity_never_fills_it() -> None:
    nothing = Counted(max_bytes=0)
    assert nothing.show(stored(entity(a=1))) == nothing.show(stored(entity(a=1)))
    little = Counted(max_bytes=10_000)
    little.show(stored(entity(a="x" * 5_000)))
    assert (len(nothing), len(little), little._bytes) == (0, 0, 0)


def test_the_bytes_of_what_leaves_are_free_again() -> None:
    rendered = Counted()
    for version in range(100):
        rendered.show(stored(entity(a="x" * version), 2**40 + version))
    assert rendered._bytes == len(rendered.show(stored(entity(a="x" * 99), 2**40 + 99)) or b"") + len(ID) + 450


def test_views_are_bounded_too() -> None:
    rendered = Counted()
    for number in range(1000):
        rendered.view(core(), Presentation(pick=[f"a{number}"]))
    assert len(rendered._views) <= 256


def test_an_element_of_which_nothing_is_shown_gets_its_context() -> None:
    view = Counted().view(core(), PLAIN)
    assert orjson.loads(view.with_context(b"{}")) == {"@context": core().source}
