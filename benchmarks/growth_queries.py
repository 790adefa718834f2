"""The queries that are measured against the size of the collection: data only.

Each finds as many entities however many there are, so that what it costs should not grow with them.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass
from random import Random
from urllib.parse import quote

from benchmarks.crowd import CROWD_TYPE, DEGREES, SHARE_OF_OTHERS, SOUTH, crowd_id, position, serial
from benchmarks.scenarios import ENTITIES

FOUND = 20
"""About how many entities a range or a circle holds."""

EXPORT_PAGE = 1_000
EXPORT = f"{ENTITIES}?type={CROWD_TYPE}&limit={EXPORT_PAGE}"

_METERS_PER_DEGREE = 111_195


@dataclass(frozen=True)
class GrowthQuery:
    """One kind of query. `path` makes a request with random values for a number of entities.

    `limit_ms` is what it may take at the median over `limit_size` entities. `explained`: it is one of GET
    /entities, and may not look at much more than it finds.
    """

    name: str
    title: str
    path: Callable[[Random, int], str]
    limit_ms: float | None = None
    limit_size: int = 100_000
    explained: bool = True


def _get(random: Random, size: int) -> str:
    return f"{ENTITIES}/{crowd_id(random.randrange(size))}"


def _list(_random: Random, _size: int) -> str:
    return f"{ENTITIES}?type={CROWD_TYPE}&limit=20"


def _range(random: Random, size: int) -> str:
    low = random.randrange(size - FOUND)
    return f"{ENTITIES}?type={CROWD_TYPE}&q={quote(f'temperature=={low}..{low + FOUND}')}&limit=100"


def _above(_random: Random, size: int) -> str:
    return f"{ENTITIES}?type={CROWD_TYPE}&q={quote(f'temperature>{size - FOUND}')}&limit=100"


def _text(random: Random, size: int) -> str:
    text = serial(random.randrange(0, size, SHARE_OF_OTHERS))
    q = f'serial=="{text}"'
    return f"{ENTITIES}?type={CROWD_TYPE}&q={quote(q, safe='')}"


def _near(random: Random, size: int) -> str:
    area = DEGREES**2 * _METERS_PER_DEGREE**2 * math.cos(math.radians(SOUTH + DEGREES / 2))
    reach = math.ceil(math.sqrt(FOUND * area / size / math.pi))
    longitude, latitude = position(random.randrange(size))
    near = f"georel={quote(f'near;maxDistance=={reach}')}&geometry=Point"
    return f"{ENTITIES}?type={CROWD_TYPE}&{near}&coordinates={quote(f'[{longitude},{latitude}]')}&limit=100"


def _types(_random: Random, _size: int) -> str:
    return "/ngsi-ld/v1/types"


def _type_details(_random: Random, _size: int) -> str:
    return "/ngsi-ld/v1/types?details=true"


INDEXED = ("temperature", "serial")
"""Attributes of CROWD_TYPE for which an index is declared before anything is measured."""

GROWTH_QUERIES = (
    GrowthQuery("get", "One entity by id", _get, explained=False),
    GrowthQuery("list20", "20 entities of a type", _list),
    GrowthQuery("q range", "type and q=temperature==a..b, with a declared index", _range, 10),
    GrowthQuery("q above", "type and q=temperature>a, with a declared index", _above, 10),
    GrowthQuery("q text", 'type and q=serial=="text", with a declared index', _text, 10),
    GrowthQuery("near", "type and georel=near;maxDistance==a", _near, 20),
    GrowthQuery("types", "All entity types", _types, 50, 1_000_000, explained=False),
    GrowthQuery(
        "types details", "All entity types with their attributes", _type_details, 50, 1_000_000, explained=False
    ),
)
EXPORT_NAME = "export page"
EXPORT_TITLE = f"One page of {EXPORT_PAGE:,} entities, of an export of all by the links to the next page"


def growth_names() -> tuple[str, ...]:
    """The names of all queries, in the order in which they run."""
    return (*(query.name for query in GROWTH_QUERIES), EXPORT_NAME)
