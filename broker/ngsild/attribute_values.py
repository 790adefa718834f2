"""The values of attributes: what each attribute type may hold, checked and stored (clauses 4.5.2 to 4.5.24)."""

from collections.abc import Callable
from enum import IntEnum
from typing import Any, Protocol

from broker.ngsild.errors import BadRequestData
from broker.ngsild.geometry import read_geometry
from broker.ngsild.model import NGSI_LD_NULL, VALUE_MEMBERS
from broker.ngsild.names import check_language_tag, check_uri
from broker.ngsild.values import encode_value

RELATIONSHIPS = frozenset({"Relationship", "ListRelationship"})
WITH_UNITS = frozenset({"Property", "GeoProperty", "ListProperty"})
LANG_STRING = "http://www.w3.org/1999/02/22-rdf-syntax-ns#langString"
"""The only valueType of a LanguageProperty (table 5.2.32-1)."""


class Nulls(IntEnum):
    """Where an NGSI-LD Null may stand (clause 5.5.4)."""

    REFUSED = 0
    """Nowhere."""
    MEMBERS = 1
    """In place of an attribute or of one of its members: operations that update."""
    DEEP = 2
    """Also inside JSON values: operations that merge."""


class Vocabulary(Protocol):
    """What reading a value needs of an @context. What cannot be expanded is BadRequestData."""

    def expand_vocab(self, value: str) -> str:
        """The IRI of a vocabulary term."""


class Terms(Vocabulary, Protocol):
    """What reading needs of an @context. What cannot be expanded is BadRequestData."""

    def key(self, term: str) -> str:
        """The attribute key of a term."""

    def expand(self, term: str) -> str:
        """The IRI of a type or attribute name."""


def read_value(kind: str, value: Any, terms: Vocabulary, depth: int, pointer: str, nulls: Nulls) -> Any:
    """The stored form of the value of an attribute of type `kind`, at nesting level `depth` of the stored entity."""
    allow_null = nulls is Nulls.DEEP
    if value is None and kind != "JsonProperty":
        raise BadRequestData(
            f'null is no value in NGSI-LD; to delete something, send "{NGSI_LD_NULL}" in an update or merge.',
            pointer=pointer,
        )
    if kind == "Property":
        return encode_value(value, depth, pointer, allow_null=allow_null)
    if kind == "GeoProperty":
        return encode_value(read_geometry(value, pointer), depth, pointer)
    if kind == "Relationship":
        return _read_objects(value, pointer)
    if kind == "LanguageProperty":
        return _read_language_map(value, pointer, allow_null)
    if kind == "VocabProperty":
        return _read_vocab(value, terms, pointer)
    if kind == "JsonProperty":
        _check_raw_json(value, pointer)
        return encode_value(value, depth, pointer, allow_null=allow_null)
    if not isinstance(value, list):
        raise BadRequestData(f"The {VALUE_MEMBERS[kind]} of a {kind} must be an array.", pointer=pointer)
    if kind == "ListProperty":
        return [encode_value(item, depth + 1, f"{pointer}/{index}") for index, item in enumerate(value)]
    return [_read_list_object(item, f"{pointer}/{index}") for index, item in enumerate(value)]


def read_unit_code(kind: str, value: Any, pointer: str) -> str:
    """The unitCode of an attribute of type `kind`; BadRequestData where the type has no units."""
    if kind not in WITH_UNITS:
        raise BadRequestData(f"A {kind} has no unit: leave unitCode out.", pointer=pointer)
    return read_text(value, "unitCode", pointer)


def read_value_type(kind: str, value: Any, terms: Terms, pointer: str) -> str:
    """The IRI of a valueType; a LanguageProperty has one only."""
    text = read_text(value, "valueType", pointer)
    value_type = located(terms.expand_vocab, text, pointer)
    if kind == "LanguageProperty":
        check_language_value_type(value_type, pointer)
    return value_type


def check_language_value_type(value_type: str, pointer: str) -> None:
    """BadRequestData unless the IRI is the valueType of a LanguageProperty (table 5.2.32-1)."""
    if value_type != LANG_STRING:
        raise BadRequestData(
            f"The valueType of a LanguageProperty is langString, not {value_type!r:.80}: leave it out.", pointer=pointer
        )


def read_type_names(value: Any, what: str, terms: Terms, pointer: str) -> str | list[str]:
    """The IRIs of one type name or several: objectType, entityTypeSealed."""
    if isinstance(value, list) and value:
        return [located(terms.expand, read_text(item, what, pointer), pointer) for item in value]
    return located(terms.expand, read_text(value, what, pointer), pointer)


def read_text(value: Any, what: str, pointer: str) -> str:
    """`value` if it is a text that says something, else BadRequestData that calls it `what`."""
    if isinstance(value, str) and value and value != NGSI_LD_NULL:
        return value
    raise BadRequestData(f"The {what} {value!r:.80} is not a text: expected a non-empty string.", pointer=pointer)


def located(expand: Callable[[str], str], name: str, pointer: str) -> str:
    """`expand(name)`; what is wrong with the name is reported at `pointer`."""
    try:
        return expand(name)
    except BadRequestData as error:
        raise BadRequestData(error.detail, pointer=pointer) from None


def _check_raw_json(value: Any, pointer: str) -> None:
    for item in value if type(value) is list else (value,):
        if type(item) is not dict:
            raise BadRequestData(
                f"The json of a JsonProperty is {item!r:.80}: expected an object or an array of objects; any other "
                "value belongs in a Property.",
                pointer=pointer,
            )


def _read_objects(value: Any, pointer: str) -> str | list[str]:
    if isinstance(value, list):
        if not value:
            raise BadRequestData(
                "The object of a Relationship is an empty array: give at least one URI.", pointer=pointer
            )
        return [check_uri(item, "object of the Relationship", f"{pointer}/{index}") for index, item in enumerate(value)]
    return check_uri(value, "object of the Relationship", pointer)


def _read_list_object(item: Any, pointer: str) -> str:
    if isinstance(item, dict) and set(item) == {"object"}:
        item = item["object"]
    return check_uri(item, "object of the ListRelationship", pointer)


def _read_language_map(value: Any, pointer: str, allow_null: bool) -> dict[str, str | list[str]]:
    if not isinstance(value, dict) or not value:
        raise BadRequestData('A languageMap is an object such as {"en": "tower", "fr": "tour"}.', pointer=pointer)
    for tag, text in value.items():
        check_language_tag(tag, pointer)
        if (text == NGSI_LD_NULL and not allow_null) or (isinstance(text, list) and NGSI_LD_NULL in text):
            raise BadRequestData(f'"{NGSI_LD_NULL}" is no text of a languageMap.', pointer=f"{pointer}/{tag}")
        if not isinstance(text, str) and not (isinstance(text, list) and all(isinstance(item, str) for item in text)):
            raise BadRequestData(
                "A languageMap maps each tag to a text or an array of texts.", pointer=f"{pointer}/{tag}"
            )
    return value


def _read_vocab(value: Any, terms: Vocabulary, pointer: str) -> str | list[str]:
    if isinstance(value, list) and value:
        return [located(terms.expand_vocab, read_text(item, "vocab", pointer), pointer) for item in value]
    return located(terms.expand_vocab, read_text(value, "vocab", pointer), pointer)
