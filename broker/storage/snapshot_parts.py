"""Copying parts of entities in MongoDB: the stages that reduce an entity to a part, and add a part to what is there."""

from dataclasses import dataclass
from typing import Any

from broker.ngsild.model import LOCATION

Stage = dict[str, Any]

_OLD, _NEW = {"$first": "$state"}, {"$first": "$$new.state"}


@dataclass(frozen=True, slots=True)
class Part:
    """What is copied of each entity: of the attributes those with the keys `keep` (None: all) but for those of `drop`.

    Of these, if `datasets` is not None, the instances with one of these datasetIds, of which "@none" is that of default
    instances; `scope` tells whether the scope is copied. Id and types always are.
    """

    keep: frozenset[str] | None = None
    drop: frozenset[str] = frozenset()
    datasets: frozenset[str] | None = None
    scope: bool = True

    @property
    def everything(self) -> bool:
        """Whether entities are copied as a whole."""
        return self == EVERYTHING


EVERYTHING = Part()


def reducing(part: Part) -> Stage:
    """The stage that reduces the document of an entity to a part. Its writers are those of another content: none."""
    state: Any = {"$mergeObjects": [_OLD, {"writers": {}, "attributes": _attributes(part)}]}
    gone = [] if part.scope else ["scopes"]
    if LOCATION in part.drop or (part.keep is not None and LOCATION not in part.keep):
        gone.append("location")
    for name in gone:
        state = {"$unsetField": {"field": name, "input": state}}
    return {"$set": {"state": [state]}}


def _attributes(part: Part) -> Any:
    attributes = {"$first": "$state.attributes"}
    if part.keep is None and not part.drop and part.datasets is None:
        return attributes
    pairs: Any = {"$objectToArray": attributes}
    if part.keep is not None:
        pairs = _filtered(pairs, {"$in": ["$$this.k", {"$literal": sorted(part.keep)}]})
    if part.drop:
        pairs = _filtered(pairs, {"$not": {"$in": ["$$this.k", {"$literal": sorted(part.drop)}]}})
    if part.datasets is not None:
        chosen = {"$in": [{"$ifNull": ["$$instance.datasetId", "@none"]}, {"$literal": sorted(part.datasets)}]}
        instances = {"$filter": {"input": "$$pair.v", "as": "instance", "cond": chosen}}
        pairs = {"$map": {"input": pairs, "as": "pair", "in": {"k": "$$pair.k", "v": instances}}}
        pairs = _filtered(pairs, {"$ne": ["$$this.v", []]})
    return {"$arrayToObject": pairs}


def combining() -> list[Stage]:
    """What $merge does with a part of an entity of which another part is there: the attributes of both stay.

    Of an attribute that both have, the instances of both stay.
    """
    same = {"$first": _filtered("$$old", {"$eq": ["$$this.k", "$$pair.k"]})}
    datasets = {"$map": {"input": "$$pair.v", "in": {"$ifNull": ["$$this.datasetId", None]}}}
    others = {
        "$filter": {
            "input": {"$ifNull": ["$$same.v", []]},
            "as": "instance",
            "cond": {"$not": {"$in": [{"$ifNull": ["$$instance.datasetId", None]}, "$$datasets"]}},
        }
    }
    instances = {"$let": {"vars": {"same": same, "datasets": datasets}, "in": {"$concatArrays": ["$$pair.v", others]}}}
    both = {
        "$concatArrays": [
            _filtered("$$old", {"$not": {"$in": ["$$this.k", "$$added.k"]}}),
            {"$map": {"input": "$$added", "as": "pair", "in": {"k": "$$pair.k", "v": instances}}},
        ]
    }
    attributes = {
        "$let": {
            "vars": {
                "old": {"$objectToArray": {"$first": "$state.attributes"}},
                "added": {"$objectToArray": {"$first": "$$new.state.attributes"}},
            },
            "in": {"$arrayToObject": both},
        }
    }
    return [{"$set": {"state": [{"$mergeObjects": [_NEW, _OLD, {"attributes": attributes}]}]}}]


def _filtered(pairs: Any, condition: Any) -> Any:
    return {"$filter": {"input": pairs, "cond": condition}}
