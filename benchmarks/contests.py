"""The contests: brokers that bear different burdens, or one broker under different loads, in turns. Data only.

A new row here is a new contest; no code elsewhere knows one by name.
"""

import os
from dataclasses import dataclass, replace

from benchmarks.results import Size
from benchmarks.scenarios import HOT, PATCH1, PATCH2, Operation

SIZES = (1_000, 10_000, 100_000, 1_000_000)
CROWDS = (0, 100, 1_000, 10_000, 100_000)
_FEW = 1_000


@dataclass(frozen=True)
class Server:
    """A broker and its burden. `entities`: how many there are; 0: as many as the run says.

    `subscriptions`: how many there are of which none matches; `notified`: whether one more is fired by every update.
    Only a Vela can have `options` of `vela serve`, or a data model (`modelled`) that is enforced.
    """

    name: str
    entities: int = 0
    subscriptions: int = 0
    notified: bool = False
    options: tuple[str, ...] = ()
    modelled: bool = False


@dataclass(frozen=True)
class Entrant:
    """One who takes turns: a load on a server; `size` where the contest is about such."""

    name: str
    server: Server
    operation: Operation = PATCH2
    size: Size | None = None


@dataclass(frozen=True)
class Contest:
    """One contest. The first entrant is the one that the others are measured by.

    `unit`: what the sizes of the entrants count; empty where they have none. On one broker that was given by its URL
    the burdens follow each other as the entrants do, and each only adds to what is there.
    """

    name: str
    title: str
    about: str
    entrants: tuple[Entrant, ...]
    connections: int = 64
    unit: str = ""

    @property
    def servers(self) -> list[Server]:
        """The servers of the entrants, each once."""
        return list(dict.fromkeys(entrant.server for entrant in self.entrants))

    @property
    def only_vela(self) -> bool:
        """Whether it needs what other brokers do not have."""
        return any(server.options or server.modelled for server in self.servers)

    def up_to(self, most: int) -> "Contest":
        """The contest without the entrants that are larger than `most`."""
        kept = (one for one in self.entrants if one.size is None or one.size.number <= most)
        return replace(self, entrants=tuple(kept))


def _hot() -> Contest:
    plain = Server("plain")
    return Contest(
        "hot",
        "Updates of one entity by all clients, beside updates of entities at random",
        "One broker, the same requests: either each names a random entity, or all name the same one.",
        (Entrant("spread", plain), Entrant("hot", plain, HOT)),
    )


def _subscriptions() -> Contest:
    crowds = [Server(f"{number:,} subscriptions", subscriptions=number) for number in CROWDS]
    return Contest(
        "subscriptions",
        "Updates of two attributes beside subscriptions that do not match",
        "Half of the subscriptions watch other attributes of the same entity type, half other types.",
        tuple(Entrant(one.name, one, size=Size("updates", one.subscriptions)) for one in crowds),
        unit="subscriptions",
    )


def _entities() -> Contest:
    entrants = []
    for number in SIZES:
        server = Server(f"{number:,} entities", entities=number)
        few = replace(PATCH2, among=_FEW)
        entrants.append(Entrant(f"any of {number:,}", server, size=Size("any of them", number)))
        entrants.append(Entrant(f"{_FEW:,} of {number:,}", server, few, Size(f"always the same {_FEW:,}", number)))
    return Contest(
        "entities",
        "Updates of two attributes, as more and more entities are stored",
        f"Updates of any of the entities that are stored, or always of the same {_FEW:,} of them. Each load names "
        "20,000 others at random, so that of many entities few are in the broker's cache when an update comes.",
        tuple(entrants),
        unit="entities",
    )


def _validation() -> Contest:
    unchecked = Server("unchecked", options=("--validation-default", "off"))
    checked = Server("checked", options=("--validation-default", "warn"), modelled=True)
    return Contest(
        "validation",
        "Updates of one attribute, with and without a data model that is enforced",
        "The data model has forty attributes, six of which the entities have.",
        (Entrant("unchecked", unchecked, PATCH1), Entrant("checked", checked, PATCH1)),
    )


def _workers() -> Contest:
    cores = os.cpu_count() or 1
    numbers = sorted({1, 2, *(number for number in (4, 8, 16) if number < cores), cores})
    servers = [Server(_workers_name(number), options=("--workers", str(number))) for number in numbers]
    return Contest(
        "workers",
        "Updates of two attributes, with one worker and with more",
        "Client, workers and MongoDB share the cores of the machine: where they add up to all of them, or MongoDB's "
        "share grows no more, further workers have nothing to work with.",
        tuple(Entrant(one.name, one) for one in servers),
        connections=256,
    )


def _workers_name(number: int) -> str:
    return "1 worker" if number == 1 else f"{number} workers"


def _notifying() -> Contest:
    return Contest(
        "notifying",
        "Updates of two attributes, with and without a notification for each",
        "A receiver on the same machine notes every notification. After the rounds, updates come at half of the rate "
        "that was reached: the time is that from the acknowledgement of an update to the receipt of its notification. "
        "It may be negative, as the broker sends both at once.",
        (Entrant("silent", Server("silent")), Entrant("notifying", Server("notifying", notified=True))),
    )


CONTESTS = (_hot(), _subscriptions(), _entities(), _validation(), _workers(), _notifying())


def contest_names() -> tuple[str, ...]:
    """The names of all contests, in the order in which they run."""
    return tuple(contest.name for contest in CONTESTS)
