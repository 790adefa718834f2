"""The URL parameters of linked entity retrieval: join, joinLevel, containedBy (clauses 4.5.23, 6.4.3.2, 6.5.3.1)."""

from broker.ngsild.errors import BadRequestData, TooComplexQuery
from broker.ngsild.linking import MAX_LEVEL, JoinForm, Joining
from broker.ngsild.names import check_uri

_JOINS = {"@none": None, **{form.value: form for form in JoinForm}}


def make_joining(join: str | None, level: int | None, contained_by: list[str]) -> Joining | None:
    """What the three ask for; None where no linked entities are to be retrieved: joinLevel then has nothing to limit.

    BadRequestData for a value that makes no sense, TooComplexQuery for a joinLevel that is too high.
    """
    if join is not None and join not in _JOINS:
        raise BadRequestData(f"join is {join!r:.80}: expected one of {', '.join(_JOINS)}.")
    if level == 0:
        raise BadRequestData("joinLevel is 0: expected a whole number, 1 or more. To retrieve none, leave join out.")
    if level is not None and level > MAX_LEVEL:
        raise TooComplexQuery(f"joinLevel is {level}: expected at most {MAX_LEVEL}.")
    for entity_id in contained_by:
        check_uri(entity_id, "entity id in containedBy")
    form = _JOINS[join or "@none"]
    return None if form is None else Joining(form, level or 1, frozenset(contained_by))
