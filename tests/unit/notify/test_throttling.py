from broker.notify.throttling import Throttle
from broker.storage.subscriptions import Turn


class Cluster:
    """What MongoDB decides, on a clock that the test moves."""

    def __init__(self) -> None:
        self.now = 100.0
        self.holder = ""
        self.at = -1e9
        self.asked = 0

    async def take_turn(self, _tenant: str, _subscription_id: str, notification_id: str, seconds: float) -> Turn:
        self.asked += 1
        if notification_id == self.holder or self.at + seconds <= self.now:
            self.holder, self.at = notification_id, self.now
        return Turn(self.holder, self.at + seconds - self.now)


def throttles(cluster: Cluster, processes: int) -> list[Throttle]:
    return [Throttle(10.0, clock=lambda: cluster.now) for _ in range(processes)]


async def admits(throttle: Throttle, cluster: Cluster, notification_id: str) -> bool:
    return await throttle.admits(cluster, "", "urn:s:1", notification_id)


async def test_one_notification_in_a_period_is_admitted_whichever_process_asks() -> None:
    cluster = Cluster()
    here, there = throttles(cluster, 2)
    assert await admits(here, cluster, "first")
    cluster.now += 9.9
    assert not await admits(there, cluster, "second")
    cluster.now += 0.1
    assert await admits(there, cluster, "third")
    assert not await admits(here, cluster, "fourth")


async def test_who_was_refused_rests_as_long_as_the_others_and_asks_no_more() -> None:
    cluster = Cluster()
    here, there = throttles(cluster, 2)
    await admits(here, cluster, "first")
    cluster.now += 4
    await admits(there, cluster, "second")
    assert [one.resting for one in (here, there)] == [True, True]
    asked = cluster.asked
    assert not await admits(there, cluster, "third")
    assert cluster.asked == asked
    cluster.now += 6
    assert [one.resting for one in (here, there)] == [False, False]


async def test_a_notification_that_has_the_turn_keeps_it_even_in_another_process() -> None:
    cluster = Cluster()
    dead, heir = throttles(cluster, 2)
    assert await admits(dead, cluster, "first")
    assert not await admits(heir, cluster, "second")
    assert await admits(heir, cluster, "first"), "the heir rests, but for others only"


async def test_the_period_begins_anew_when_a_notification_is_sent_again() -> None:
    cluster = Cluster()
    [here] = throttles(cluster, 1)
    await admits(here, cluster, "first")
    cluster.now += 9
    await admits(here, cluster, "first")
    cluster.now += 9
    assert here.resting
    assert not await admits(here, cluster, "second")
