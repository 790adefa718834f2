"""The parameters of requests that use entity maps (tables 6.4.3.2-1, 6.4.3.2-2, 6.5.3.1-1), and the names of maps."""

from dataclasses import dataclass
from datetime import timedelta
from urllib.parse import unquote

from broker.ngsild.durations import parse_duration
from broker.ngsild.errors import BadRequestData
from broker.web.parameters import Query

PATH = "/ngsi-ld/v1/entityMaps"

MAP_ID = "entityMapId"
"""The URL parameter by which our links to other pages name the map: a link can set no header."""


@dataclass(frozen=True, slots=True)
class MapParameters:
    """Whether the location of a map is asked for, how long a new one shall live, and which one a link refers to."""

    wanted: bool = False
    lifetime: timedelta | None = None
    map_id: str | None = None


NO_MAP = MapParameters()


def read_map_parameters(query: Query) -> MapParameters:
    """Read the URL parameters. BadRequestData for a lifetime that is no duration."""
    wanted, lifetime, map_id = query.boolean("entityMap"), query.text("entityMapLifetime"), query.text(MAP_ID)
    return (
        NO_MAP
        if not wanted and lifetime is None and map_id is None
        else MapParameters(
            wanted, parse_duration(lifetime, "entityMapLifetime") if lifetime is not None else None, map_id
        )
    )


def location_of(map_id: str) -> str:
    """The location of a map, as the header NGSILD-EntityMap has it."""
    return f"{PATH}/{map_id}"


def map_id_at(location: str) -> str:
    """The id of the map at a location: a URL, a path, or the id itself. BadRequestData if it is not UTF-8."""
    try:
        location.encode()
        return unquote(location.rstrip("/").rpartition("/")[2], errors="strict")
    except UnicodeError:
        raise BadRequestData("The location of the entity map is not UTF-8: give it as the broker told it.") from None
