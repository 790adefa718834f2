"""The language filter (clause 4.15): a LanguageProperty becomes the Property in the language that the client prefers.

The preferences are written as in an Accept-Language header (RFC 3282):

    lang  = range *( "," range )
    range = ( tag | "*" ) [ ";q=" weight ]          weight 0 to 1, 1 where there is none; 0: not this language

A range stands for its tag and for all tags that begin with it: "fr" for "fr-CH". A tag has the weight of the longest
range that stands for it, of "*" if there is none. The tag with the highest weight is chosen; among equal ones that of
the range named first, and the exact tag before a longer one. Where no range stands for any tag the ranges are
shortened, "fr-CH" to "fr"; after that any language will do, as the clause demands.
"""

import re
from collections.abc import Collection, Sequence
from functools import lru_cache
from typing import NamedTuple

from broker.ngsild.errors import BadRequestData
from broker.ngsild.model import Instance

_RANGE = re.compile(
    r"\s*([A-Za-z]{1,8}(?:-[A-Za-z0-9]{1,8})*|\*|@none)\s*(?:;\s*[qQ]\s*=\s*(0(?:\.\d*)?|1(?:\.0*)?)\s*)?", re.ASCII
)


class LanguageRange(NamedTuple):
    """A language range in lower case, and its weight from 0 to 1."""

    tag: str
    weight: float


@lru_cache(maxsize=256)
def parse_language_ranges(text: str) -> tuple[LanguageRange, ...]:
    """The ranges of a language filter, as written. BadRequestData if it is none."""
    ranges = []
    for part in text.split(","):
        match = _RANGE.fullmatch(part)
        if match is None:
            raise BadRequestData(
                f"The language filter {text!r:.100} holds {part!r:.100}, which is no language range: expected ranges "
                'as in an Accept-Language header, such as "fr-CH,fr;q=0.9,*;q=0.5".'
            )
        ranges.append(LanguageRange(match[1].lower(), float(match[2] or 1)))
    return tuple(ranges)


def in_language(instance: Instance, ranges: Sequence[LanguageRange]) -> Instance:
    """The instance with every LanguageProperty, itself or among its sub-attributes, as a Property in one language.

    Such a Property has the member `lang`: the tag of the language. What holds no LanguageProperty is returned as it is.
    """
    if "attributes" in instance:
        children = {
            key: [in_language(child, ranges) for child in family] for key, family in instance["attributes"].items()
        }
        instance = {**instance, "attributes": children}
    if instance["type"] != "LanguageProperty":
        return instance
    texts = instance["languageMap"]
    tag = choose_language(texts, ranges)
    reduced = {name: value for name, value in instance.items() if name != "languageMap"}
    return {**reduced, "type": "Property", "value": texts[tag], "lang": tag}


def choose_language(tags: Collection[str], ranges: Sequence[LanguageRange]) -> str:
    """The one of `tags`, of which there must be one or more, that the ranges prefer."""
    ranked = [(*_rank(tag.lower(), ranges), index, tag) for index, tag in enumerate(tags)]
    wanted = [one for one in ranked if one[0] < 0]
    if wanted:
        return min(wanted)[-1]
    by_lower = {tag.lower(): tag for tag in tags}
    for language in sorted(ranges, key=lambda one: -one.weight):
        shortened = language.tag
        while "-" in shortened and language.weight:
            shortened = shortened.rpartition("-")[0]
            if shortened in by_lower:
                return by_lower[shortened]
    refused = {tag for weight, _, _, _, tag in ranked if weight == 0}
    return next((tag for tag in _default_first(tags) if tag not in refused), next(iter(_default_first(tags))))


def _rank(tag: str, ranges: Sequence[LanguageRange]) -> tuple[float, int, int]:
    """What sorts the tags: the weight, negated, the place of its range, and how much longer it is than the range.

    The weight is 0 for a tag that is not wanted, and 1 where nothing was said of it.
    """
    longest = -1
    rank: tuple[float, int, int] = (1, 0, 0)
    for place, language in enumerate(ranges):
        if language.tag == "*":
            length = 0
        elif tag == language.tag or tag.startswith(language.tag + "-"):
            length = len(language.tag)
        else:
            continue
        if length > longest:
            longest = length
            spare = len(tag) - length if length else int(tag != "@none")
            rank = (-language.weight, place, spare)
    return rank


def _default_first(tags: Collection[str]) -> list[str]:
    return sorted(tags, key=lambda tag: tag != "@none")
