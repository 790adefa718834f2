"""What happened to an entity: the value that matching, validation and history look at."""

from dataclasses import dataclass

from broker.ngsild.model import Attributes, Entity

_NO_ATTRIBUTES: Attributes = {}


@dataclass(slots=True)
class Change:
    """One change of one entity: `before` is None for a creation, `after` is None for a deletion.

    `before` and `after` share the parts that did not change: what is the same object did not change. `now` is the
    timestamp of the change; `touched` is what `changed_attributes` tells of the two, where that is known already. A
    change is not modified.
    """

    tenant: str
    entity_id: str
    before: Entity | None
    after: Entity | None
    now: str
    touched: tuple[str, ...] | None = None

    @property
    def attributes(self) -> tuple[str, ...]:
        """The keys of the attributes that were created, updated or deleted."""
        if self.touched is None:
            self.touched = changed_attributes(self.before, self.after)
        return self.touched


def changed_attributes(before: Entity | None, after: Entity | None) -> tuple[str, ...]:
    """The keys of the attributes in which two states of an entity differ, those that are gone at the end."""
    old = before["attributes"] if before is not None else _NO_ATTRIBUTES
    new = after["attributes"] if after is not None else _NO_ATTRIBUTES
    changed = [key for key, instances in new.items() if old.get(key) is not instances]
    if not old.keys() <= new.keys():
        changed += [key for key in old if key not in new]
    return tuple(changed)
