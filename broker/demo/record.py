"""The record: every acknowledged update and every notification as JSON lines, for those who check a run afterwards.

{"event": "acknowledged", "entity", "observedAt", "availableSpotNumber", "occupancy", "seconds"}
{"event": "notified", "entity", "observedAt"}
"""

from datetime import datetime
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import orjson

from broker.demo.recording import Reading


class Record:
    """A file that each event is appended to at once; without a file, nothing is kept."""

    def __init__(self, file: Path | None) -> None:
        self._file = file.open("ab", buffering=0) if file is not None else None

    def acknowledged(self, reading: Reading, seconds: float) -> None:
        """An update was acknowledged, `seconds` after it was first sent."""
        self._write(
            {
                "event": "acknowledged",
                "entity": reading.car_park.entity_id,
                "observedAt": reading.observed_at,
                "availableSpotNumber": reading.free,
                "occupancy": reading.occupancy,
                "seconds": round(seconds, 6),
            }
        )

    def notified(self, entity_id: str, observed_at: datetime) -> None:
        """A notification arrived."""
        instant = observed_at.isoformat().replace("+00:00", "Z")
        self._write({"event": "notified", "entity": entity_id, "observedAt": instant})

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._file is not None:
            self._file.close()

    def _write(self, event: dict[str, Any]) -> None:
        if self._file is not None:
            self._file.write(orjson.dumps(event) + b"\n")
