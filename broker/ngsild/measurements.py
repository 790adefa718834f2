"""The instance that most updates consist of, read at once; `attributes.py` reads all others, member by member."""

from typing import Any

from broker.ngsild.model import NGSI_LD_NULL, Instance
from broker.ngsild.timestamps import read_timestamp
from broker.ngsild.values import INT64_MAX, INT64_MIN


def read_measurement(raw: dict[str, Any]) -> Instance | None:
    """A Property with a number, a text or a boolean, perhaps with observedAt, in the stored form.

    None for everything else, and for whatever is wrong: that is read in full, member by member.
    """
    if raw.get("type") != "Property":
        return None
    value: Any = raw.get("value")
    kind = type(value)
    if kind is int:
        if not INT64_MIN <= value <= INT64_MAX:
            return None
    elif (kind is not str or value == NGSI_LD_NULL) and kind is not float and kind is not bool:
        return None
    if len(raw) == 2:
        return {"type": "Property", "value": value}
    observed_at = read_timestamp(raw.get("observedAt"))
    if len(raw) != 3 or observed_at is None:
        return None
    return {"type": "Property", "value": value, "observedAt": observed_at}
