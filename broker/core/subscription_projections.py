"""What a notification shows of an entity: attributes, pick and omit (clauses 4.21, 5.2.14.1).

In the stored form each of the three is a list of members: an attribute's IRI, "id", "type" or "scope"; or, where the
projection goes on into linked entities, {"name": IRI, "members": [ … ]}.
"""

from collections.abc import Mapping, Sequence
from typing import Any

from broker.core.subscription_values import expand_name, read_list, read_text
from broker.ngsild.errors import BadRequestData, NgsiLdError
from broker.ngsild.linking import ENTITY_MEMBERS
from broker.ngsild.projections import Projection, combined, parse_projection

PROJECTIONS = ("attributes", "pick", "omit")


def read_projections(members: Mapping[str, Any], context: Any, pointer: str, depth: int) -> dict[str, list[Any]]:
    """Those of attributes, pick and omit that there are, with names expanded. BadRequestData.

    `depth` is how many Relationships in a row are followed (joinLevel), 0 without join.
    """
    read: dict[str, list[Any]] = {}
    for name in PROJECTIONS:
        if name not in members:
            continue
        at = f"{pointer}/{name}"
        if name == "attributes":
            read[name] = _read_attributes(members[name], context, at)
        else:
            read[name] = _read_projection(members[name], context, at, depth)
    _check(read, pointer)
    return read


def render_projection(members: Sequence[Any], context: Any) -> list[str]:
    """A stored projection as a client sees it."""
    return [_render(one, context) for one in members]


def _read_attributes(value: Any, context: Any, pointer: str) -> list[str]:
    names = []
    for index, one in enumerate(read_list(value, pointer, "attribute names")):
        at = f"{pointer}/{index}"
        text = read_text(one, context, at)
        if text in ENTITY_MEMBERS:
            raise BadRequestData(f"{text!r} is no attribute: use pick instead of attributes.", pointer=at)
        if "{" in text:
            raise BadRequestData(f"{text!r:.80} goes into linked entities: use pick instead of attributes.", pointer=at)
        names.append(expand_name(text, context, at))
    return list(dict.fromkeys(names))


def _read_projection(value: Any, context: Any, pointer: str, depth: int) -> list[Any]:
    name = pointer.rpartition("/")[2]
    parts: list[Projection] = []
    for index, one in enumerate(read_list(value, pointer, "entity member names")):
        at = f"{pointer}/{index}"
        text = read_text(one, context, at)
        try:
            parts.append(parse_projection(text, name))
            parts[-1].check_depth(depth, name)
        except NgsiLdError as error:
            error.pointer = at
            raise
    return _expanded(combined(parts), context, pointer)


def _expanded(projection: Projection, context: Any, pointer: str) -> list[Any]:
    expanded: list[Any] = []
    for name, inner in projection.members.items():
        iri = name if name in ENTITY_MEMBERS else expand_name(name, context, pointer)
        expanded.append(iri if inner is None else {"name": iri, "members": _expanded(inner, context, pointer)})
    return expanded


def _check(read: Mapping[str, list[Any]], pointer: str) -> None:
    for other in ("pick", "omit"):
        if "attributes" in read and other in read:
            raise BadRequestData(
                f"attributes and {other} exclude each other: attributes is deprecated, use pick and omit.",
                pointer=f"{pointer}/attributes",
            )
    picked = {_name(one) for one in read.get("pick", ())}
    both = [one for one in read.get("omit", ()) if isinstance(one, str) and one in picked]
    if both:
        raise BadRequestData(f"{both[0]!r} is both picked and omitted: decide on one.", pointer=f"{pointer}/omit")


def _render(member: Any, context: Any) -> str:
    name = _name(member)
    shown: str = name if name in ENTITY_MEMBERS else context.compact(name)
    if isinstance(member, str):
        return shown
    return f"{shown}{{{','.join(render_projection(member['members'], context))}}}"


def _name(member: Any) -> str:
    name: str = member if isinstance(member, str) else member["name"]
    return name
