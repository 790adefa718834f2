"""Ordered answers over HTTP: sort keys, directions, distances, collations, and pages of them (clause 4.23)."""

import json
import re
import uuid
from typing import Any

import pytest

from broker.local import LocalBroker
from tests.conftest import RunningBroker
from tests.integration.api import BATCH, ENTITIES, JSON
from tests.integration.wire import request
from tests.problems import assert_problem

TOWN = f"order{uuid.uuid4().hex[:10]}"
HEADERS = {"NGSILD-Tenant": TOWN}


def place(lon: float, lat: float) -> dict[str, Any]:
    return {"type": "GeoProperty", "value": {"type": "Point", "coordinates": [lon, lat]}}


def thing(letter: str, **members: Any) -> dict[str, Any]:
    return {"id": f"urn:ngsi-ld:{letter}", "type": "T", **members}


THINGS = [
    thing("a", name="Zebra", rank=10, where=place(8, 40), at={"value": 1, "observedAt": "2026-01-03T00:00:00Z"}),
    thing("b", name="\u00c4hre", rank=9.5, where=place(9, 40), at={"value": 1, "observedAt": "2026-01-01T00:00:00Z"}),
    thing("c", name="apfel", rank="high", where=place(10, 45), address={"city": "Berlin"}),
    thing("d", name="Apfel", rank=[1], where={"value": 5}, address={"city": "Aachen"}),
    thing("e", name="a10", rank=True, scope="/A"),
    thing("f", name="a2", rank={"x": 1}, scope="/B", at={"value": 1, "sub": {"value": 3}}),
    thing("g", rank="2026-01-31", at={"value": 1, "sub": {"value": 2}}),
]  # fmt: skip


@pytest.fixture(scope="module", autouse=True)
def town(broker_process: LocalBroker) -> None:
    body = json.dumps(THINGS).encode()
    answer = request(broker_process.settings.port, "POST", f"{BATCH}/create", {"Content-Type": JSON, **HEADERS}, body)
    assert answer.status == 201, answer.body


async def letters(broker: RunningBroker, **parameters: str) -> str:
    async with broker.client.get(ENTITIES, params={"type": "T", **parameters}, headers=HEADERS) as response:
        assert response.status == 200, await response.text()
        return "".join(entity["id"][-1] for entity in await response.json())


@pytest.mark.parametrize(
    ("parameters", "expected"),
    [
        ({"orderBy": "id"}, "abcdefg"),
        ({"orderBy": "id;desc"}, "gfedcba"),
        ({"orderBy": "rank"}, "bacfdeg"),  # number, text, object, array, boolean, date
        ({"orderBy": "rank;desc"}, "abcfdeg"),  # the kinds stay in their order
        ({"orderBy": "type,rank;desc"}, "abcfdeg"),
        ({"orderBy": "scope;desc"}, "feabcdg"),
        ({"orderBy": "at.observedAt"}, "bacdefg"),
        ({"orderBy": "at.sub"}, "gfabcde"),
        ({"orderBy": "at.sub;desc,name;desc"}, "fgadcbe"),
        ({"orderBy": "address[city]"}, "dcabefg"),
        ({"orderBy": "nothing"}, "abcdefg"),
        ({"orderBy": "createdAt,id;desc"}, "gfedcba"),
        ({"orderBy": "https://uri.etsi.org/ngsi-ld/default-context/rank"}, "bacfdeg"),
    ],
)
async def test_entities_are_sorted_by_what_is_asked_for(
    broker: RunningBroker, parameters: dict[str, str], expected: str
) -> None:
    assert await letters(broker, **parameters) == expected


@pytest.mark.parametrize(
    ("collation", "expected"),
    [
        (None, "efbcdag"),
        ("und", "efbcdag"),
        ("und-u-kn", "febcdag"),
        ("sv", "efcdabg"),
        ("und-u-kf-upper", "efbdcag"),
        ("en-US", "efbcdag"),
        ("de-DE-u-co-phonebk", "efbcdag"),
    ],
)
async def test_texts_are_compared_as_the_collation_has_it(
    broker: RunningBroker, collation: str | None, expected: str
) -> None:
    others = {"collation": collation} if collation is not None else {}
    assert await letters(broker, orderBy="name", **others) == expected


async def test_a_weaker_collation_makes_more_names_equal(broker: RunningBroker) -> None:
    assert "cd" in await letters(broker, orderBy="name,id;desc")
    assert "dc" in await letters(broker, orderBy="name,id;desc", collation="und-u-ks-level1")


@pytest.mark.parametrize(
    ("parameters", "expected"),
    [
        ({"orderBy": "where;dist-asc", "orderFrom": "[8,40]"}, "abcdefg"),
        ({"orderBy": "where;dist-desc", "orderFrom": "[8,40]"}, "cbadefg"),
        ({"orderBy": "where;dist-asc", "orderFrom": "[10,44]"}, "cbadefg"),
        (
            {
                "orderBy": "where;dist-asc",
                "orderFrom": "[[9.9,44],[10.1,46]]",
                "orderGeometry": "LineString",
            },
            "cbadefg",
        ),
        ({"orderBy": "where;dist-asc", "orderFrom": "[9,40]", "geoproperty": "where", "geometry": "Point",
          "georel": "near;maxDistance==200000", "coordinates": "[8,40]"}, "ba"),
    ],
)  # fmt: skip
async def test_entities_are_sorted_by_their_distance_from_a_place(
    broker: RunningBroker, parameters: dict[str, str], expected: str
) -> None:
    assert await letters(broker, **parameters) == expected


def page_links(response: Any) -> dict[str, str]:
    """The targets of the links to the next and the previous page, by relation."""
    header = ", ".join(response.headers.getall("Link", []))
    return {name: target for target, name in re.findall(r'<([^>]*)>; rel="(next|prev)"', header)}


@pytest.mark.parametrize("order", ["rank", "rank;desc", "name,id;desc", "where;dist-desc", "at.observedAt"])
@pytest.mark.parametrize("limit", [1, 2, 3])
async def test_pages_of_an_order_lead_there_and_back(broker: RunningBroker, order: str, limit: int) -> None:
    whole = await letters(broker, orderBy=order, orderFrom="[8,40]")
    seen = ""
    relations: list[set[str]] = []
    target = f"{ENTITIES}?type=T&orderBy={order.replace(';', '%3B')}&orderFrom=[8,40]&limit={limit}"
    links: dict[str, str] = {}
    while target:
        async with broker.client.get(target, headers=HEADERS) as response:
            assert response.status == 200, await response.text()
            page = "".join(entity["id"][-1] for entity in await response.json())
            links = page_links(response)
            relations.append(set(links))
        seen += page
        target = links.get("next", "")
    assert seen == whole
    assert relations[0] == {"next"}
    assert relations[-1] == {"prev"}
    back = page
    while target := links.get("prev", ""):
        async with broker.client.get(target, headers=HEADERS) as response:
            back = "".join(entity["id"][-1] for entity in await response.json()) + back
            links = page_links(response)
    assert back == whole


async def test_an_offset_skips_in_the_order(broker: RunningBroker) -> None:
    whole = await letters(broker, orderBy="rank")
    assert await letters(broker, orderBy="rank", offset="2", limit="3") == whole[2:5]


async def test_a_cursor_is_of_no_use_with_another_query(broker: RunningBroker) -> None:
    async with broker.client.get(
        ENTITIES, params={"type": "T", "orderBy": "rank", "limit": "2"}, headers=HEADERS
    ) as response:
        (cursor,) = re.findall(r"cursor=([^&>]*)", str(response.headers.getall("Link")))
    for parameters in (
        {"type": "T", "orderBy": "name", "cursor": cursor},
        {"type": "T", "orderBy": "rank;desc", "cursor": cursor},
        {"type": "T", "cursor": cursor},
        {"type": "U", "orderBy": "rank", "cursor": cursor},
        {"type": "T", "orderBy": "rank", "q": "rank", "cursor": cursor},
        {"type": "T", "orderBy": "rank", "cursor": cursor[:-4]},
        {"type": "T", "orderBy": "rank", "cursor": cursor[:10] + "AAAA" + cursor[14:]},
    ):
        async with broker.client.get(ENTITIES, params=parameters, headers=HEADERS) as response:
            await assert_problem(response, 400, "BadRequestData")
    assert len(await letters(broker, orderBy="rank", cursor=cursor, limit="100", pick="id")) == 5
