"""From the value of an "@context" to the @context objects that it stands for, with all remote ones loaded.

The core @context is taken out wherever it stands: it has the last word in any case (clauses 4.4, 5.5.7).
"""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import urlsplit

from broker.jsonld.core import is_core_url
from broker.jsonld.documents import FOREVER, Document
from broker.jsonld.processing import Part
from broker.ngsild.errors import BadRequestData

MAX_DOCUMENTS = 32
MAX_DEPTH = 10
MAX_ELEMENTS = 1_000
MAX_TERMS = 20_000
"""Bounds of one combined @context: remote documents, documents inside documents, elements of arrays, definitions."""

_POINTER = "/@context"


@dataclass(slots=True)
class Combination:
    """The parts of an @context in their order, how many terms they define, and until when all of them are fresh.

    `records` names the documents they are from, as the store does; `owner` is the one tenant that may use it, "" where
    all may. `ends_with_core` tells that the last element is a document which itself ends with the core @context:
    whoever reads that document has the core, too.
    """

    parts: list[Part] = field(default_factory=list)
    terms: int = 0
    fresh_until: float = FOREVER
    records: set[str] = field(default_factory=set)
    owner: str = ""
    ends_with_core: bool = False


def client_elements(source: Any) -> list[Any]:
    """The URLs and objects in the value of an "@context", in their order: nested arrays opened, without the core.

    A null makes JSON-LD forget all that stands before it. Other values are left in place, for `combine` to refuse.
    """
    elements: list[Any] = []
    waiting = [source]
    seen = 0
    while waiting:
        element = waiting.pop()
        seen += 1
        if seen > MAX_ELEMENTS:
            raise BadRequestData(
                f"An array of @contexts has more than {MAX_ELEMENTS} elements. Put their terms into one object."
            )
        if element is None:
            elements.clear()
        elif isinstance(element, list):
            waiting.extend(reversed(element))
        elif isinstance(element, dict) and "@context" in element:
            waiting.append(element["@context"])
        elif not (isinstance(element, str) and is_core_url(element)):
            elements.append(element)
    return elements


async def combine(elements: list[Any], load: Callable[[str], Awaitable[Document]]) -> Combination:
    """The parts that `elements` (as `client_elements` lists them) stand for.

    Raises BadRequestData for anything that cannot be part of an @context, for documents that contain each other, and
    past the bounds of this module; and whatever `load` raises.
    """
    combination = Combination()
    await _Combiner(combination, load).add(elements, None, ())
    return combination


async def combine_document(url: str, context: Any, load: Callable[[str], Awaitable[Document]]) -> Combination:
    """As `combine`, for the "@context" of a document that is at `url`, or shall be called so in error texts."""
    combination = Combination()
    await _Combiner(combination, load).add(client_elements(context), url, (url,))
    return combination


class _Combiner:
    """One run of `combine`."""

    def __init__(self, combination: Combination, load: Callable[[str], Awaitable[Document]]) -> None:
        self._combination = combination
        self._load = load
        self._documents = 0

    async def add(self, elements: list[Any], url: str | None, within: tuple[str, ...]) -> None:
        """Add `elements` of the document at `url` (None: the request), which is within those of `within`."""
        for element in elements:
            if not isinstance(element, str | dict):
                raise BadRequestData(
                    f"The @context {url or 'of the request'} holds {element!r:.100}: expected a URL, an object, or an "
                    "array of these.",
                    pointer=_POINTER if url is None else None,
                )
        for element in elements:
            if isinstance(element, str):
                context = await self._remote(element, within)
                if not within:
                    self._combination.ends_with_core = _ends_with_core(context)
                await self.add(client_elements(context), element, (*within, element))
            else:
                if not within:
                    self._combination.ends_with_core = False
                await self._add_object(element, url, within)

    async def _add_object(self, content: dict[str, Any], url: str | None, within: tuple[str, ...]) -> None:
        if "@import" in content:
            content = await self._with_import(content, url, within)
        combination = self._combination
        combination.terms += len(content)
        if combination.terms > MAX_TERMS:
            raise BadRequestData(f"The @context defines more than {MAX_TERMS} terms. Use one with less of them.")
        combination.parts.append(Part(content, url))

    async def _with_import(self, content: dict[str, Any], url: str | None, within: tuple[str, ...]) -> dict[str, Any]:
        imported = content["@import"]
        if not isinstance(imported, str):
            raise BadRequestData(f'The "@import" in the @context {url or "of the request"} is no URL.')
        context = {} if is_core_url(imported) else await self._remote(imported, within)
        if not isinstance(context, dict) or "@import" in context:
            raise BadRequestData(
                f'The @context {imported} cannot be imported: expected a single object without "@import".'
            )
        return {key: value for key, value in (context | content).items() if key != "@import"}

    async def _remote(self, url: str, within: tuple[str, ...]) -> Any:
        if url in within:
            raise BadRequestData(f"The @context {url} contains itself, by way of {within[-1]}.")
        self._documents += 1
        if len(within) >= MAX_DEPTH or self._documents > MAX_DOCUMENTS:
            raise BadRequestData(
                f"The @context {url} is one too many: at most {MAX_DOCUMENTS} documents, {MAX_DEPTH} of them in each "
                "other, may make up an @context."
            )
        if not _is_absolute(url):
            raise BadRequestData(
                f"{url!r:.200} is no URL of an @context: expected an absolute http or https URL.",
                pointer=None if within else _POINTER,
            )
        document = await self._load(url)
        combination = self._combination
        combination.fresh_until = min(combination.fresh_until, document.fresh_until)
        combination.records.add(document.record)
        combination.owner = combination.owner or document.owner
        return document.context


def _ends_with_core(context: Any) -> bool:
    last = context[-1] if isinstance(context, list) and context else context
    return isinstance(last, str) and is_core_url(last)


def _is_absolute(url: str) -> bool:
    try:
        parts = urlsplit(url)
    except ValueError:
        return False
    return bool(parts.scheme and parts.netloc)
