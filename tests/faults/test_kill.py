"""kill -9 of the broker and of its private MongoDB in the middle of the demo: nothing that was acknowledged is lost.

A round replays a window of the recorded day with `vela demo --resilient` and kills three times, at random moments. The
client's record is what counts: what is owed is computed from it here, not taken from the demo's own summary.
VELA_FAULT_ROUNDS is the number of rounds (`make faults` does 20), VELA_FAULT_SEED repeats the moments of a run.
"""

import asyncio
import csv
import json
import os
import random
import signal
import subprocess
import sys
import time
from collections import Counter
from dataclasses import dataclass
from datetime import datetime
from functools import partial
from pathlib import Path
from typing import Any
from urllib.parse import quote
from urllib.request import urlopen

import pytest

from broker.bundled import bundled
from broker.demo.ledger import NEARLY_FULL
from broker.demo.payloads import member
from broker.demo.recording import CAR_PARKS_FILE, READINGS_FILE
from broker.local import LocalBroker, free_port
from broker.settings import Settings
from tests.faults.harness import (
    API,
    Note,
    client_of,
    create,
    eventually,
    metric,
    mongod_pid,
    patch,
    pid_of,
    soon,
    subscribe,
    subscriber,
)

ROUNDS = int(os.environ.get("VELA_FAULT_ROUNDS") or 1)
READINGS = 2_400
RECOVERY_SECONDS = 30.0
OFF_STREET_PARKING = "https://smartdatamodels.org/dataModel.Parking/OffStreetParking"
RECORDING = bundled("examples") / "german-parking"

pytestmark = [
    pytest.mark.skipif(sys.platform != "linux", reason="only Linux ends mongod with a broker that is killed"),
    pytest.mark.slow,
]


def private_broker(folder: Path, **settings: Any) -> LocalBroker:
    """A broker with a private MongoDB in `folder`, not started yet."""
    given: dict[str, Any] = {
        "host": "127.0.0.1", "port": free_port(), "data_dir": folder / "var", "mongo_uri": None, "log_format": "json",
        "mongod_cache_bytes": 256 * 1024**2, "drain_timeout": 3.0, "workers": 1,
    }  # fmt: skip
    return LocalBroker(Settings(**{**given, **settings}), folder / "broker.log")


def kill_broker(local: LocalBroker) -> None:
    local.kill()
    local.start()


def kill_mongod(local: LocalBroker) -> None:
    """The broker lives on, and has to bring its database back."""
    pid = mongod_pid(local.settings.data_dir)
    assert pid is not None
    os.kill(pid, signal.SIGKILL)
    eventually(lambda: mongod_pid(local.settings.data_dir) not in (pid, None), 20, "mongod was started again")
    assert local.process is not None
    assert local.process.poll() is None, "the broker ended with its database"


def kill_both(local: LocalBroker) -> None:
    pid = mongod_pid(local.settings.data_dir)
    assert pid is not None
    os.killpg(pid_of(local), signal.SIGKILL)
    os.kill(pid, signal.SIGKILL)
    local.kill()
    local.start()


KILLS = {"broker": kill_broker, "mongod": kill_mongod, "both": kill_both}


class Record:
    """The record that the demo writes while it runs: a line for each acknowledged update and each notification."""

    def __init__(self, file: Path) -> None:
        self._file = file
        self._read = 0
        self.acknowledged = 0
        self.last: dict[str, dict[str, Any]] = {}
        self.owed: set[tuple[str, datetime]] = set()
        self.told: Counter[tuple[str, datetime]] = Counter()

    def follow(self) -> int:
        """Take in what was written since; how many updates are acknowledged by now."""
        if self._file.exists():
            with self._file.open("rb") as file:
                file.seek(self._read)
                text = file.read()
            complete = text[: text.rfind(b"\n") + 1]
            self._read += len(complete)
            for line in complete.splitlines():
                self._take(json.loads(line))
        return self.acknowledged

    def reaches(self, count: int) -> bool:
        """Whether so many updates are acknowledged by now."""
        return self.follow() >= count

    def _take(self, event: dict[str, Any]) -> None:
        key = event["entity"], datetime.fromisoformat(event["observedAt"])
        if event["event"] == "notified":
            self.told[key] += 1
            return
        self.acknowledged += 1
        self.last[event["entity"]] = event
        if event["occupancy"] is not None and event["occupancy"] > NEARLY_FULL:
            self.owed.add(key)

    @property
    def missing(self) -> set[tuple[str, datetime]]:
        return self.owed - self.told.keys()

    @property
    def duplicates(self) -> int:
        return self.told.total() - len(self.told)


def write_window(folder: Path, chance: random.Random) -> None:
    """A recording of READINGS readings in a row of the real one, from a random hour of its busy part."""
    folder.mkdir()
    (folder / CAR_PARKS_FILE).write_bytes((RECORDING / CAR_PARKS_FILE).read_bytes())
    with (RECORDING / READINGS_FILE).open(newline="", encoding="utf-8") as file:
        head, *rows = csv.reader(file)
    rows.sort(key=lambda row: row[head.index("timestamp")])
    first = chance.randrange(1_000, len(rows) - READINGS - 300)
    with (folder / READINGS_FILE).open("w", newline="", encoding="utf-8") as file:
        csv.writer(file).writerows([head, *rows[first : first + READINGS]])


def car_parks(local: LocalBroker) -> dict[str, dict[str, Any]]:
    """The car parks as the broker has them now, normalised, with IRIs for names."""
    url = f"{local.url}{API}/entities?type={quote(OFF_STREET_PARKING, safe='')}&limit=1000"
    with urlopen(url, timeout=30) as answer:
        return {entity["id"]: entity for entity in json.load(answer)}


def lost(record: Record, local: LocalBroker, *, final: bool) -> list[str]:
    """The car parks whose last acknowledged reading is not there: that one or, unless `final`, a later one."""
    acknowledged = dict(record.last)
    found = car_parks(local)
    gone = []
    for entity_id, event in acknowledged.items():
        spots = member(found.get(entity_id, {}), "availableSpotNumber")
        occupancy = member(found.get(entity_id, {}), "occupancy")
        if spots is None:
            gone.append(f"{entity_id}: {event} was acknowledged, there is no reading")
            continue
        have, want = datetime.fromisoformat(spots["observedAt"]), datetime.fromisoformat(event["observedAt"])
        same = spots["value"] == event["availableSpotNumber"] and (
            event["occupancy"] is None
            or (
                occupancy is not None
                and occupancy["value"] == event["occupancy"]
                and datetime.fromisoformat(occupancy["observedAt"]) == want
            )
        )
        if have < want or (have == want and not same) or (final and have != want):
            gone.append(f"{entity_id}: {event} was acknowledged, {spots} and {occupancy} is there")
    return gone


@dataclass
class Round:
    """What a round ends with."""

    record: Record
    recoveries: dict[str, float]
    settled: float


def play(local: LocalBroker, folder: Path, chance: random.Random) -> Round:
    """Replay with kills of each kind, in random order at random moments."""
    record = Record(folder / "record.jsonl")
    moments = sorted(chance.sample(range(READINGS // 12, READINGS - READINGS // 12), len(KILLS)))
    kinds = chance.sample(sorted(KILLS), len(KILLS))
    recoveries: dict[str, float] = {}
    with (
        (folder / "demo.log").open("wb") as output,
        subprocess.Popen(
            [
                *(sys.executable, "-m", "broker", "demo", "--broker", local.url, "--data", str(folder / "recording")),
                *("--agents", "16", "--resilient", "--record", str(folder / "record.jsonl")),
            ],
            stdout=output,
            stderr=output,
        ) as demo,
    ):
        try:
            for moment, kind in zip(moments, kinds, strict=True):
                eventually(partial(record.reaches, moment), 60, f"{moment} updates acknowledged", every=0.002)
                time.sleep(chance.uniform(0, 0.02))  # not always right after an acknowledgement
                began = time.monotonic()
                KILLS[kind](local)
                before = record.follow()
                assert lost(record, local, final=False) == [], f"after the kill of {kind} at {moment}"
                following = partial(record.reaches, min(before + 1, READINGS))
                eventually(following, RECOVERY_SECONDS, f"updates go on after the kill of {kind}")
                recoveries[kind] = time.monotonic() - began
            eventually(lambda: record.follow() == READINGS, 60, "all updates acknowledged")
            settled = eventually(lambda: demo.poll() is not None, 90, "the demo ended")
            record.follow()
        finally:
            demo.kill()
    return Round(record, recoveries, settled)


@pytest.mark.parametrize("number", range(1, ROUNDS + 1))
def test_kill_9_during_the_demo_loses_no_acknowledged_reading_and_no_owed_notification(
    number: int, fault_seed: int, tmp_path: Path, note: Note
) -> None:
    chance = random.Random(f"{fault_seed}/{number}")
    write_window(tmp_path / "recording", chance)
    local = private_broker(tmp_path)
    local.start()
    try:
        played = play(local, tmp_path, chance)
        gone = lost(played.record, local, final=True)
    finally:
        local.stop()

    record = played.record
    note(
        f"round {number}",
        acknowledged=record.acknowledged,
        lost=len(gone),
        owed=len(record.owed),
        missing=len(record.missing),
        duplicates=record.duplicates,
        recovery="/".join(f"{kind} {seconds:.1f} s" for kind, seconds in played.recoveries.items()),
        settled=f"{played.settled:.1f} s",
    )
    assert record.acknowledged == READINGS, (tmp_path / "demo.log").read_text()
    assert gone == []
    assert record.owed, "this window of the recording owes nothing: the round proves nothing"
    assert record.missing == set()


@pytest.mark.parametrize("kind", sorted(KILLS))
async def test_a_kill_9_with_a_full_backlog_delays_its_notifications_and_loses_none(
    kind: str, tmp_path: Path, note: Note
) -> None:
    changes = 400
    entity_ids = [f"urn:ngsi-ld:T:{number}" for number in range(100)]
    local = private_broker(tmp_path, notification_queue=60)  # most of the backlog has no room in memory
    await asyncio.to_thread(local.start)
    try:
        async with subscriber() as endpoint, client_of(local) as client:
            await create(client, entity_ids, n={"type": "Property", "value": -1})
            await subscribe(client, endpoint.url)
            endpoint.delay = 0.05
            owed = [(entity_ids[number % len(entity_ids)], number) for number in range(changes)]
            for start in range(0, changes, len(entity_ids)):  # in the end every entity has had its last value
                batch = owed[start : start + len(entity_ids)]
                assert set(await asyncio.gather(*(patch(client, name, n=number) for name, number in batch))) == {204}
            await soon(lambda: len(endpoint.told) >= 20, 20, "some notifications arrived")
            backlog = await metric(client, "vela_notification_backlog")
            assert backlog >= changes / 2

            began = time.monotonic()
            await asyncio.to_thread(KILLS[kind], local)
            endpoint.delay = 0.0

            await soon(lambda: set(owed) <= endpoint.told.keys(), 60, "every owed notification arrived")
            seconds = time.monotonic() - began
    finally:
        await asyncio.to_thread(local.stop)
    note(
        f"full backlog, kill of {kind}",
        owed=changes,
        backlog=int(backlog),
        missing=len(set(owed) - endpoint.told.keys()),
        duplicates=endpoint.duplicates,
        delivered=f"{seconds:.1f} s after the kill",
    )
