import time

from broker.notify.owed import Owed
from broker.notify.takeover import Takeover
from tests.unit.notify.samples import MemoryOutbox, owed, until


class Processes:
    """Who is alive, and who inherits from whom."""

    def __init__(self, *alive: str) -> None:
        self.living = set(alive)
        self.heirs: dict[str, str] = {}

    async def alive(self) -> set[str]:
        return set(self.living)

    async def inherit(self, dead: str, heir: str, alive: set[str]) -> bool:
        if self.heirs.get(dead) in alive - {heir}:
            return False
        self.heirs[dead] = heir
        return True


class Scene:
    """A takeover by the process "heir", with everything around it."""

    def __init__(self, *alive: str, grace: float = 0.05) -> None:
        self.outbox = MemoryOutbox()
        self.processes = Processes("heir", *alive)
        self.landed: set[int] = set()
        self.offered: list[Owed] = []
        self.takeover = Takeover(
            heir="heir",
            processes=self.processes,
            outbox=self.outbox,
            landed=self._landed,
            offer=self.offered.append,
            grace=grace,
        )

    async def _landed(self, tenant: str, entity_id: str, process: str, commit: int) -> bool:
        return commit in self.landed

    async def look_twice(self) -> None:
        await self.takeover.look()
        await self.takeover.look()


def old(commit: int, process: str = "dead") -> Owed:
    return owed(process=process, commit=commit, created_at=time.time() - 100)


async def test_what_a_dead_process_owed_is_delivered_in_the_order_of_its_commits() -> None:
    scene = Scene()
    scene.landed = {1, 2, 3}
    entries = [old(3), old(1), old(2)]
    await scene.outbox.insert(entries)
    await scene.look_twice()
    await until(lambda: len(scene.offered) == 3)
    assert [one.commit for one in scene.offered] == [1, 2, 3]
    assert await scene.outbox.owners() == {"heir"}


async def test_what_never_landed_is_dropped_when_it_is_old_enough() -> None:
    scene = Scene()
    scene.landed = {2}
    await scene.outbox.insert([old(1), old(2)])
    await scene.look_twice()
    await until(lambda: len(scene.outbox.kept) == 1)
    assert [one.commit for one in scene.offered] == [2]


async def test_what_may_still_land_is_looked_at_again() -> None:
    scene = Scene(grace=0.5)
    fresh = owed(process="dead", commit=1, created_at=time.time())
    await scene.outbox.insert([fresh])
    await scene.look_twice()
    await until(lambda: scene.outbox.claims)
    assert scene.offered == []
    scene.landed = {1}
    await until(lambda: scene.offered == [fresh])


async def test_one_look_is_not_enough_to_declare_a_process_dead() -> None:
    scene = Scene()
    scene.landed = {1}
    await scene.outbox.insert([old(1)])
    await scene.takeover.look()
    assert scene.outbox.claims == {}
    scene.processes.living.add("dead")
    await scene.takeover.look()
    scene.processes.living.remove("dead")
    await scene.takeover.look()
    assert scene.outbox.claims == {}


async def test_a_living_process_keeps_what_it_owes() -> None:
    scene = Scene("other")
    scene.landed = {1}
    await scene.outbox.insert([old(1, process="other")])
    await scene.look_twice()
    assert scene.outbox.claims == {}


async def test_only_one_living_process_inherits() -> None:
    scene = Scene("other")
    scene.landed = {1}
    scene.processes.heirs["dead"] = "other"
    await scene.outbox.insert([old(1)])
    await scene.look_twice()
    assert scene.outbox.claims == {}
    scene.processes.living.remove("other")
    await scene.takeover.look()
    await until(lambda: len(scene.offered) == 1)


async def test_nobody_is_judged_while_the_own_signs_of_life_are_missing() -> None:
    scene = Scene()
    scene.landed = {1}
    await scene.outbox.insert([old(1)])
    await scene.takeover.look()
    scene.processes.living.clear()
    await scene.takeover.look()
    scene.processes.living.add("heir")
    await scene.takeover.look()
    assert scene.outbox.claims == {}
