"""JSON values inside attributes: what can be kept, and the conversions between the client's form and the stored one.

A value comes back equal to what was sent. What MongoDB cannot keep is refused here, with the reason: integers beyond 64
bits and nesting deeper than `MAX_DEPTH`. Keys are encoded as `model.encode_key` says.
"""

from typing import Any

from broker.ngsild.errors import BadRequestData
from broker.ngsild.model import NGSI_LD_NULL, decode_key, encode_key

MAX_DEPTH = 150
"""Levels of nesting of a stored entity, the entity itself being level 1 (MongoDB allows 200 in a whole command)."""

INT64_MIN, INT64_MAX = -(2**63), 2**63 - 1
_PLAIN = (float, bool)


def encode_value(value: Any, depth: int, pointer: str, *, allow_null: bool = False) -> Any:
    """The stored form of a JSON value found at `pointer`, at nesting level `depth` of the stored entity.

    `allow_null` lets the text "urn:ngsi-ld:null" pass as a member of objects (merge operations, clause 5.5.12);
    elsewhere it is BadRequestData (clause 5.5.4). An array is replaced as a whole: nothing in it can be deleted.
    """
    kind = type(value)
    if kind is str:
        if value == NGSI_LD_NULL and not allow_null:
            raise BadRequestData(
                f'"{NGSI_LD_NULL}" stands for a deletion and cannot be stored as a value; '
                "send it only in an operation that updates or merges, and not inside an array.",
                pointer=pointer,
            )
        return value
    if kind in _PLAIN or value is None:
        return value
    if kind is int:
        if not INT64_MIN <= value <= INT64_MAX:
            raise BadRequestData(
                f"The integer {value} does not fit into 64 bits; send it as a string or as a floating point number.",
                pointer=pointer,
            )
        return value
    if depth >= MAX_DEPTH:
        raise BadRequestData(
            f"The value is nested deeper than Vela can keep ({MAX_DEPTH} levels of the whole entity); flatten it.",
            pointer=pointer,
        )
    if kind is list:
        return [encode_value(item, depth + 1, pointer) for item in value]
    return {
        encode_key(key): encode_value(item, depth + 1, pointer, allow_null=allow_null) for key, item in value.items()
    }


def decode_value(value: Any) -> Any:
    """The JSON value that `encode_value` made `value` of."""
    kind = type(value)
    if kind is dict:
        return {decode_key(key): decode_value(item) for key, item in value.items()}
    if kind is list:
        return [decode_value(item) for item in value]
    return value
