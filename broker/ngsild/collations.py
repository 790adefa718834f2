"""Collations (clause 4.23.3): language tags with the settings of RFC 6067, such as `und`, `de-u-co-phonebk`, `sv-u-kn`.

    tag      = language ["-" script] ["-" region] ["-u" 1*("-" key *("-" value))] ["-x-icu"]

A key without a value means true. The settings are those of ICU that MongoDB can be told: `co` (a variant of the
language's order), `ks` (strength), `kc`, `kf` (case), `kn` (numbers by value), `ka`, `kv` (punctuation), `kb`, `kk`.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

from broker.ngsild.errors import BadRequestData

_TAG = re.compile(
    r"(?P<language>[a-z]{2,3})(?:-(?P<script>[a-z]{4}))?(?:-(?P<region>[a-z]{2}|[0-9]{3}))?"
    r"(?:-u(?P<settings>(?:-[a-z0-9]{2,8})+?))?(?:-x-icu)?",
    re.ASCII,
)
_LONGEST = 100
_BOOLEAN = {"true": True, "false": False}
_VALUES: Mapping[str, Mapping[str, Any]] = {
    "co": {
        **{name: name for name in ("compat", "emoji", "eor", "phonetic", "pinyin", "reformed", "search", "searchjl")},
        **{name: name for name in ("standard", "stroke", "unihan", "zhuyin", "big5han")},
        "dict": "dictionary",
        "gb2312": "gb2312han",
        "phonebk": "phonebook",
        "trad": "traditional",
    },
    "ks": {"level1": 1, "level2": 2, "level3": 3, "level4": 4, "identic": 5},
    "kc": _BOOLEAN,
    "kf": {"upper": "upper", "lower": "lower", "false": "off"},
    "kn": _BOOLEAN,
    "ka": {"noignore": "non-ignorable", "shifted": "shifted"},
    "kv": {"punct": "punct", "space": "space"},
    "kb": _BOOLEAN,
    "kk": _BOOLEAN,
}


@dataclass(frozen=True, slots=True)
class Collation:
    """An order of texts. `language` "und" is the root order of ICU; `settings` are pairs of a key and its value."""

    language: str = "und"
    script: str = ""
    region: str = ""
    settings: tuple[tuple[str, Any], ...] = ()
    tag: str = "und"


ROOT = Collation()
"""The order of clause 4.23.1 where a request names none."""


@lru_cache(maxsize=256)
def parse_collation(text: str) -> Collation:
    """The collation that a tag names; BadRequestData if it is none, or has a setting that cannot be honoured."""
    match = _TAG.fullmatch(text.lower()) if len(text) <= _LONGEST else None
    if match is None:
        raise BadRequestData(
            f"collation is {text!r:.80}: expected an ICU collation as RFC 6067 writes it, such as und, sv or "
            "de-u-co-phonebk."
        )
    return Collation(
        match["language"],
        (match["script"] or "").title(),
        (match["region"] or "").upper(),
        _settings(text, match["settings"] or ""),
        text,
    )


def _settings(text: str, written: str) -> tuple[tuple[str, Any], ...]:
    found: dict[str, str] = {}
    key = ""
    for part in written.split("-")[1:]:
        if len(part) == 2:
            key = part
            if key in found:
                raise BadRequestData(f"collation is {text!r}, which sets {key!r} twice: expected each setting once.")
            found[key] = ""
        else:
            found[key] = f"{found.get(key, '')}-{part}".removeprefix("-")
    return tuple((key, _value(text, key, value or "true")) for key, value in found.items())


def _value(text: str, key: str, value: str) -> Any:
    known = _VALUES.get(key)
    if known is None:
        raise BadRequestData(
            f"collation is {text!r}, and its setting {key!r} cannot be honoured: expected {', '.join(_VALUES)}."
        )
    if value not in known:
        raise BadRequestData(
            f"collation is {text!r}, and the value {value!r} of its setting {key!r} cannot be honoured: expected one "
            f"of {', '.join(known)}."
        )
    return known[value]
