"""Parts that subscriptions have in common are kept once."""

import gc
import weakref
from typing import Any

import pytest

from broker.notify.compiling import SubscriptionCompiler
from broker.notify.sharing import Sharing
from tests.unit.notify.test_compiling import THERE, Contexts, document


def test_equal_values_of_one_type_become_the_same() -> None:
    sharing = Sharing(10)
    first = sharing.same(("a", frozenset({"b"})))
    assert sharing.same(("a", frozenset({"b"}))) is first
    assert sharing.same(1) is not sharing.same(True)


def test_what_was_made_for_a_key_is_made_once() -> None:
    sharing = Sharing(10)
    made = [sharing.made("key", lambda: ["made"]) for _ in range(3)]
    assert made[0] is made[1] is made[2]


def test_what_is_remembered_is_bounded() -> None:
    sharing = Sharing(most=10)
    for number in range(95):
        assert sharing.same(f"value {number}") == f"value {number}"
    assert len(sharing._known) <= 10


async def test_subscriptions_that_ask_the_same_share_what_they_were_compiled_to() -> None:
    compiler = SubscriptionCompiler(Contexts())
    members: dict[str, Any] = {"q": "a>1;b==2", "watchedAttributes": ["urn:a", "urn:b"]}
    one, other = [await compiler(document(f"urn:s:{name}", **members)) for name in "ab"]

    assert one.condition.predicates[0] is other.condition.predicates[0]
    assert one.condition.watched is other.condition.watched
    assert one.condition.selectors[0].types is other.condition.selectors[0].types
    assert one.target.headers is other.target.headers
    assert one.contexts is other.contexts


@pytest.mark.parametrize("different", [{"q": "a>2"}, {"q": "a>1", "expandValues": "a"}, {"q": "a>1", "jsonKeys": "a"}])
async def test_a_q_is_shared_only_where_it_is_read_in_the_same_way(different: dict[str, Any]) -> None:
    compiler = SubscriptionCompiler(Contexts())
    one, other = await compiler(document(q="a>1")), await compiler(document(**different))

    assert one.condition.predicates[0] is not other.condition.predicates[0]


async def test_an_at_context_that_is_another_one_by_now_is_no_longer_remembered() -> None:
    contexts = Contexts()
    compiler = SubscriptionCompiler(contexts)
    await compiler(document(q="a>1", context=THERE))
    former = weakref.ref(contexts.known[THERE])
    contexts.replace(THERE)
    assert former() is not None, "the compiler has to remember it, or this proves nothing"
    await compiler.outdated([])
    gc.collect()
    assert former() is None
