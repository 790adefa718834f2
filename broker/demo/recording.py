"""The recording: car parks and their readings, from two CSV files (examples/german-parking/README.md)."""

import csv
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from urllib.parse import quote

CAR_PARKS_FILE = "car_parks.csv"
READINGS_FILE = "free_spaces.csv"

_CAR_PARK_COLUMNS = ("place_id", "name", "city", "capacity", "latitude", "longitude", "source_url")
_READING_COLUMNS = ("timestamp", "place_id", "free")


class RecordingError(Exception):
    """The recording cannot be replayed; the text says what was found where."""


@dataclass(frozen=True, slots=True)
class CarPark:
    """A car park as its operator describes it; `capacity` in spaces, position in degrees (WGS84)."""

    entity_id: str
    name: str
    city: str
    capacity: int
    latitude: float
    longitude: float
    source: str


@dataclass(frozen=True, slots=True)
class Reading:
    """How many spaces of a car park were free at an instant (UTC)."""

    car_park: CarPark
    at: datetime
    free: int

    @property
    def observed_at(self) -> str:
        """The instant as an NGSI-LD DateTime."""
        return self.at.isoformat().replace("+00:00", "Z")

    @property
    def occupancy(self) -> float | None:
        """The share of the spaces that is taken, from 0 to 1; None where the capacity is not known to be positive.

        More free spaces than the car park has count as empty.
        """
        capacity = self.car_park.capacity
        if capacity <= 0:
            return None
        return max(0.0, round((capacity - self.free) / capacity, 6))

    @property
    def exceeds_capacity(self) -> bool:
        """Whether more spaces are free than the car park has."""
        return self.free > self.car_park.capacity


@dataclass(frozen=True, slots=True)
class Recording:
    """Car parks, and their readings in the order of time."""

    car_parks: list[CarPark]
    readings: list[Reading]


def read_recording(folder: Path, limit: int | None = None) -> Recording:
    """The recording in `folder`, cut after the first `limit` readings. RecordingError where it cannot be used."""
    places: dict[str, CarPark] = {}
    for row, where in _rows(folder / CAR_PARKS_FILE, _CAR_PARK_COLUMNS):
        places[row["place_id"]] = CarPark(
            entity_id="urn:ngsi-ld:OffStreetParking:" + quote(row["place_id"], safe=""),
            name=row["name"],
            city=row["city"],
            capacity=_integer(row["capacity"], f"{where}, capacity"),
            latitude=_degrees(row["latitude"], 90, f"{where}, latitude"),
            longitude=_degrees(row["longitude"], 180, f"{where}, longitude"),
            source=row["source_url"],
        )
    readings: list[Reading] = []
    for row, where in _rows(folder / READINGS_FILE, _READING_COLUMNS):
        car_park = places.get(row["place_id"])
        if car_park is None:
            raise RecordingError(f"{where}: the car park {row['place_id']!r} does not exist in {CAR_PARKS_FILE}.")
        readings.append(Reading(car_park, _instant(row["timestamp"], where), _integer(row["free"], f"{where}, free")))
    readings.sort(key=lambda reading: reading.at)
    return Recording(list(places.values()), readings[:limit])


def shares(readings: list[Reading], agents: int) -> list[list[Reading]]:
    """The readings dealt to at most `agents` agents, all of one car park to the same one, in their order.

    The car parks with the most readings are dealt first, each to the agent that has the least to do.
    """
    by_car_park: dict[str, list[Reading]] = {}
    for reading in readings:
        by_car_park.setdefault(reading.car_park.entity_id, []).append(reading)
    dealt: list[list[Reading]] = [[] for _ in range(min(agents, len(by_car_park)))]
    for own in sorted(by_car_park.values(), key=len, reverse=True):
        min(dealt, key=len).extend(own)
    return [sorted(share, key=lambda reading: reading.at) for share in dealt]


def _rows(file: Path, columns: tuple[str, ...]) -> Iterator[tuple[dict[str, str], str]]:
    try:
        with file.open(newline="", encoding="utf-8") as lines:
            reader = csv.DictReader(lines)
            missing = [column for column in columns if column not in (reader.fieldnames or ())]
            if missing:
                raise RecordingError(f"{file} has no column {', '.join(missing)}: expected {','.join(columns)}.")
            for row in reader:
                if None in row.values():
                    raise RecordingError(f"{file}, line {reader.line_num} has too few columns.")
                yield row, f"{file}, line {reader.line_num}"
    except OSError as error:
        raise RecordingError(f"{file} cannot be read ({error.strerror}): give the folder of a recording.") from error


def _integer(text: str, where: str) -> int:
    try:
        return int(text)
    except ValueError:
        raise RecordingError(f"{where}: {text!r} is no integer.") from None


def _degrees(text: str, limit: float, where: str) -> float:
    try:
        degrees = float(text)
    except ValueError:
        degrees = float("nan")
    if not -limit <= degrees <= limit:
        raise RecordingError(f"{where}: {text!r} is no number from -{limit} to {limit}.")
    return degrees


def _instant(text: str, where: str) -> datetime:
    try:
        instant = datetime.fromisoformat(text)
    except ValueError:
        instant = None
    if instant is None or instant.tzinfo is None:
        raise RecordingError(f"{where}: {text!r} is no date and time with a zone.")
    return instant.astimezone(UTC)
