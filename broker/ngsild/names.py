"""Names and identifiers: URIs, scopes, and the names that the core @context keeps for itself (clauses 4.6, 4.18)."""

import re
from typing import Any
from unicodedata import category

from broker.ngsild.errors import BadRequestData
from broker.ngsild.model import NGSI_LD_BASE, NGSI_LD_NULL, encode_key

_URI = re.compile(r"[A-Za-z][A-Za-z0-9+.\-]*:[^\s<>\"{}|\\^`\x00-\x20\x7f]+")
_UNUSABLE = re.compile(
    "[\x00-\x20\x7f-\xa0\xad\u034f\u061c\u115f\u1160\u17b4\u17b5\u180b-\u180f\u200b-\u200f\u202a-\u202e\u2060-\u206f"
    "\u2800\u3164\ud800-\uf8ff\ufdd0-\ufdef\ufe00-\ufe0f\ufeff\uffa0\ufff0-\uffff\U0001bca0-\U0001bca3"
    "\U0001d173-\U0001d17a\U000e0000-\U000e0fff\U000f0000-\U0010ffff"
    + "".join(chr(plane << 16 | 0xFFFE) + chr(plane << 16 | 0xFFFF) for plane in range(1, 15))
    + "]"
)
"""What RFC 3987 does not let an IRI hold, and what nobody can see in one: an id with it looks like another id."""
_UNUSABLE_IN_IRI = re.compile(r"[\s<>\"]")
_SCOPE = re.compile(r"/?[^\W\d_]\w*(?:/[^\W\d_]\w*)*")
_LANGUAGE_TAG = re.compile(r"[A-Za-z]{1,8}(?:-[A-Za-z0-9]{1,8})*|@none")

ENTITY_MEMBERS = frozenset({"id", "@id", "type", "@type", "@context", "scope"})
SYSTEM_MEMBERS = frozenset({"createdAt", "modifiedAt", "deletedAt"})
"""Members of entities and attributes that the broker makes; ignored when a client sends them (clause 5.2.2)."""

NOT_ATTRIBUTES = frozenset(
    {
        *("id", "@id", "type", "@type", "@context", "@graph", "@value", "@language", "@list", "@set", "@none"),
        *("value", "object", "languageMap", "vocab", "json", "valueList", "objectList"),
        *("previousValue", "previousObject", "previousLanguageMap", "previousVocab", "previousJson"),
        *("previousValueList", "previousObjectList", "entity", "entityList", "datasetId", "instanceId"),
        *("observedAt", "createdAt", "modifiedAt", "deletedAt", "expiresAt", "unitCode", "valueType", "objectType"),
        *("entityIdSealed", "entityTypeSealed", "lang"),
    }
)
"""Non-reified members: none of them can be the name of an attribute (clause 4.5.1)."""

_CORE_NAMES = {"json": "hasJSON", "valueType": "hasValueType", "objectType": "hasObjectType"} | {
    name: f"has{name[0].upper()}{name[1:]}"
    for name in NOT_ATTRIBUTES
    if name.startswith("previous") or name in ("value", "object", "languageMap", "vocab", "valueList", "objectList")
}
NOT_ATTRIBUTE_KEYS = frozenset(
    encode_key(NGSI_LD_BASE + _CORE_NAMES.get(name, name)) for name in NOT_ATTRIBUTES | {"scope"} if name[0] != "@"
)
"""The same by their IRIs in the core @context: an attribute with such an IRI would be shown under the reserved name."""

GEO_KEYS = frozenset(encode_key(NGSI_LD_BASE + name) for name in ("location", "observationSpace", "operationSpace"))
"""The attributes of an entity that are GeoProperties by definition (clause 4.7.1)."""

PROOF_KEY = encode_key(NGSI_LD_BASE + "ngsildproof")
"""The attribute that seals another one (clause 4.5.2.2)."""

SPECIAL_KEYS = NOT_ATTRIBUTE_KEYS | GEO_KEYS | {PROOF_KEY}
"""Attribute keys with rules of their own."""


def is_uri(text: str) -> bool:
    """Whether `text` is an absolute URI (or IRI): a scheme, a colon, something after it. The NGSI-LD Null is none.

    Characters that cannot be seen are in no IRI.
    """
    if _URI.fullmatch(text) is None or text == NGSI_LD_NULL:
        return False
    return text.isascii() or _UNUSABLE.search(text) is None


def unusable_character(name: str) -> str | None:
    """The first character because of which `name` names no type or attribute (clause 4.6.2); None if it may.

    A name begins with a letter and goes on with letters, numbers and underscores. Names in use have "-", "." and
    combining marks as well: they are accepted. A name with a colon has a prefix or is an IRI: it may hold what an IRI
    may.
    """
    found = _UNUSABLE.search(name) or (_UNUSABLE_IN_IRI.search(name) if ":" in name else None)
    if found is not None:
        return found[0]
    if ":" in name or not name:
        return None
    if not name[0].isalpha():
        return name[0]
    return next((one for one in name if not (one.isalnum() or one in "_-." or category(one).startswith("M"))), None)


def check_uri(value: Any, what: str, pointer: str | None = None) -> str:
    """`value` if it is a URI, else BadRequestData that calls it `what`."""
    if isinstance(value, str) and is_uri(value):
        return value
    if value == NGSI_LD_NULL:
        raise BadRequestData(
            f'The {what} is "{NGSI_LD_NULL}", which stands for a deletion and cannot name anything (clause 5.5.4).',
            pointer=pointer,
        )
    raise BadRequestData(
        f"The {what} {value!r} is not a URI: expected an absolute URI such as urn:ngsi-ld:Building:1.", pointer=pointer
    )


def check_language_tag(tag: str, pointer: str | None = None) -> None:
    """BadRequestData unless `tag` is shaped like a language tag of RFC 5646 or is "@none" (clause 4.6.5)."""
    if _LANGUAGE_TAG.fullmatch(tag) is None:
        raise BadRequestData(
            f'{tag!r} is not a language tag: expected RFC 5646, such as "de", or "@none".', pointer=pointer
        )


def read_scopes(value: Any, pointer: str = "/scope", *, allow_null: bool = False) -> list[str]:
    """The scopes of an entity as a list without repetitions (clause 4.18); a deletion is `[NGSI_LD_NULL]`."""
    scopes = value if isinstance(value, list) else [value]
    if scopes == [NGSI_LD_NULL]:
        if allow_null:
            return [NGSI_LD_NULL]
        raise BadRequestData("A scope can be deleted only by an update or merge operation.", pointer=pointer)
    for scope in scopes:
        if not isinstance(scope, str) or _SCOPE.fullmatch(scope) is None:
            raise BadRequestData(
                f"{scope!r} is not a scope: expected levels of letters, digits and underscores that begin with a "
                "letter, separated by slashes, such as /Madrid/Gardens.",
                pointer=pointer,
            )
    if not scopes:
        raise BadRequestData(
            "The scope is an empty array: give at least one scope or leave the member out.", pointer=pointer
        )
    return list(dict.fromkeys(scopes))
