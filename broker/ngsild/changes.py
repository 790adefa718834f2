"""What happened to an entity: the value that matching, validation and history look at."""

from dataclasses import dataclass, field

from broker.ngsild.model import Attributes, Entity

_NO_ATTRIBUTES: Attributes = {}


@dataclass(slots=True)
class Change:
    """One change of one entity: `before` is None for a creation, `after` is None for a deletion.

    `before` and `after` share the parts that did not change: what is the same object did not change. `now` is the
    timestamp of the change. A change is not modified.
    """

    tenant: str
    entity_id: str
    before: Entity | None
    after: Entity | None
    now: str
    _attributes: tuple[str, ...] | None = field(default=None, init=False, repr=False, compare=False)

    @property
    def attributes(self) -> tuple[str, ...]:
        """The keys of the attributes that were created, updated or deleted."""
        if self._attributes is None:
            self._attributes = self._changed()
        return self._attributes

    def _changed(self) -> tuple[str, ...]:
        old = self.before["attributes"] if self.before is not None else _NO_ATTRIBUTES
        new = self.after["attributes"] if self.after is not None else _NO_ATTRIBUTES
        changed = [key for key, instances in new.items() if old.get(key) is not instances]
        if len(old) + len(changed) > len(new):
            changed += [key for key in old if key not in new]
        return tuple(changed)
