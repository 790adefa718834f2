import asyncio
import json
from datetime import UTC, datetime, timedelta
from io import StringIO
from pathlib import Path
from typing import Any

import aiohttp
import pytest
from aiohttp import web
from aiohttp.test_utils import TestServer
from rich.console import Console

from broker.bundled import bundled
from broker.demo import run
from broker.demo.display import display_on
from broker.demo.ledger import Ledger, is_owed
from broker.demo.payloads import update
from broker.demo.recording import CarPark, Reading, RecordingError, read_recording, shares
from broker.demo.summary import describe_violations, print_commands, print_summary

RECORDING = bundled("examples") / "german-parking"
START = datetime(2020, 9, 16, 8, tzinfo=UTC)


def car_park(capacity: int = 100, name: str = "a") -> CarPark:
    return CarPark(f"urn:ngsi-ld:OffStreetParking:{name}", name, "Bremen", capacity, 53.1, 8.8, "https://example.org")


def reading(free: int, capacity: int = 100, *, minutes: int = 0, name: str = "a") -> Reading:
    return Reading(car_park(capacity, name), START + timedelta(minutes=minutes), free)


def folder_with(tmp_path: Path, car_parks: str, readings: str) -> Path:
    (tmp_path / "car_parks.csv").write_text(f"place_id,name,city,capacity,latitude,longitude,source_url\n{car_parks}\n")
    (tmp_path / "free_spaces.csv").write_text(f"timestamp,place_id,free\n{readings}\n")
    return tmp_path


def test_the_recording_is_a_day_of_60_car_parks() -> None:
    recording = read_recording(RECORDING)
    assert len(recording.car_parks) == 60
    assert len(recording.readings) == 7780
    assert [one.at for one in recording.readings] == sorted(one.at for one in recording.readings)
    assert sum(one.exceeds_capacity for one in recording.readings) == 171
    assert sum(is_owed(one) for one in recording.readings) == 470


def test_the_recording_can_be_cut() -> None:
    assert read_recording(RECORDING, 10).readings == read_recording(RECORDING).readings[:10]


def test_an_id_is_a_uri_whatever_the_name_of_the_place(tmp_path: Path) -> None:
    folder = folder_with(tmp_path, "Haus 5/ü,Haus,Bremen,10,53.1,8.8,https://x", "2020-09-16T10:00:00+02:00,Haus 5/ü,3")
    (only,) = read_recording(folder).readings
    assert only.car_park.entity_id == "urn:ngsi-ld:OffStreetParking:Haus%205%2F%C3%BC"
    assert only.observed_at == "2020-09-16T08:00:00Z"


@pytest.mark.parametrize(
    ("car_parks", "readings", "message"),
    [
        ("a,A,B,ten,53.1,8.8,x", "", "car_parks.csv, line 2, capacity: 'ten' is no integer."),
        ("a,A,B,10,153.1,8.8,x", "", "car_parks.csv, line 2, latitude: '153.1' is no number from -90 to 90."),
        ("a,A,B,10,53.1,east,x", "", "car_parks.csv, line 2, longitude: 'east' is no number from -180 to 180."),
        ("a,A,B", "", "car_parks.csv, line 2 has too few columns."),
        ("a,A,B,10,53.1,8.8,x", "noon,a,3", "free_spaces.csv, line 2: 'noon' is no date and time with a zone."),
        (
            "a,A,B,10,53.1,8.8,x",
            "2020-09-16T10:00:00,a,3",
            "free_spaces.csv, line 2: '2020-09-16T10:00:00' is no date and time with a zone.",
        ),
        (
            "a,A,B,10,53.1,8.8,x",
            "2020-09-16T10:00:00Z,b,3",
            "free_spaces.csv, line 2: the car park 'b' does not exist in car_parks.csv.",
        ),
        ("a,A,B,10,53.1,8.8,x", "2020-09-16T10:00:00Z,a,", "free_spaces.csv, line 2, free: '' is no integer."),
    ],
)
def test_a_recording_that_makes_no_sense_is_refused_with_the_line(
    tmp_path: Path, car_parks: str, readings: str, message: str
) -> None:
    with pytest.raises(RecordingError) as caught:
        read_recording(folder_with(tmp_path, car_parks, readings))
    assert str(caught.value).endswith(message)


def test_a_folder_without_a_recording_is_refused(tmp_path: Path) -> None:
    with pytest.raises(RecordingError, match=r"car_parks\.csv cannot be read"):
        read_recording(tmp_path)


def test_a_file_without_a_column_is_refused(tmp_path: Path) -> None:
    (tmp_path / "car_parks.csv").write_text("place_id,name\n")
    with pytest.raises(RecordingError, match="has no column city, capacity"):
        read_recording(tmp_path)


@pytest.mark.parametrize(
    ("free", "capacity", "occupancy", "owed"),
    [
        (0, 100, 1.0, True),
        (9, 100, 0.91, True),
        (10, 100, 0.9, False),
        (12, 120, 0.9, False),
        (100, 100, 0.0, False),
        (120, 100, 0.0, False),
        (0, 0, None, False),
        (5, 0, None, False),
    ],
)
def test_a_notification_is_owed_when_fewer_than_a_tenth_of_the_spaces_are_free(
    free: int, capacity: int, occupancy: float | None, owed: bool
) -> None:
    assert reading(free, capacity).occupancy == occupancy
    assert is_owed(reading(free, capacity)) == owed


def test_an_update_without_a_known_capacity_brings_no_occupancy() -> None:
    assert "occupancy" in json.loads(update(reading(5)))
    assert json.loads(update(reading(5, capacity=0))).keys() == {"availableSpotNumber", "@context"}


def test_all_readings_of_a_car_park_go_to_one_agent_in_their_order() -> None:
    recording = read_recording(RECORDING)
    dealt = shares(recording.readings, 16)
    assert len(dealt) == 16
    agents: dict[str, int] = {}
    for number, share in enumerate(dealt):
        assert [one.at for one in share] == sorted(one.at for one in share)
        for one in share:
            assert agents.setdefault(one.car_park.entity_id, number) == number
    assert sum(map(len, dealt)) == 7780
    assert max(map(len, dealt)) < 2 * min(map(len, dealt))


def test_there_are_no_more_agents_than_car_parks() -> None:
    assert len(shares([reading(1), reading(2, name="b")], 16)) == 2


def test_the_ledger_owes_only_what_was_acknowledged() -> None:
    ledger = Ledger()
    full, empty = reading(1), reading(90, minutes=5)
    unanswered = reading(2, minutes=10)
    ledger.acknowledge(full, 0.001)
    ledger.acknowledge(empty, 0.002)
    assert ledger.missing == {(full.car_park.entity_id, full.at)}
    for arrived in (full, full, unanswered):
        ledger.receive(arrived.car_park.entity_id, arrived.at)
    assert (len(ledger.owed), ledger.delivered, ledger.duplicates, ledger.unexpected) == (1, 1, 1, 1)
    assert not ledger.missing


def test_percentiles_are_those_of_the_nearest_rank() -> None:
    ledger = Ledger(latencies=[number / 1000 for number in range(100, 0, -1)])
    assert ledger.percentiles() == (0.05, 0.095, 0.099, 0.1)
    assert Ledger(latencies=[0.5]).percentiles() == (0.5, 0.5, 0.5, 0.5)
    assert Ledger().percentiles() == (0, 0, 0, 0)


def entry(count: int, attribute: str = "availableSpotNumber") -> dict[str, Any]:
    sample = {"entity": "urn:x:1", "detail": "It is 5.", "schema": "s.json#/a"}
    return {"tenant": "", "type": "T", "attribute": attribute, "rule": "maximum", "count": count, "sample": sample}


def test_only_the_violations_of_this_run_are_shown() -> None:
    text = describe_violations([entry(10), entry(3, "name")], [entry(15), entry(3, "name")], 5)
    assert text == (
        "5 schema violations (5 readings report more free spaces than the car park has)\n"
        "T.availableSpotNumber: 5 times, for example in urn:x:1:\n"
        "    It is 5.\n"
        "    s.json#/a"
    )


def test_a_broker_that_reports_no_violations_is_named_as_such() -> None:
    assert describe_violations(None, None, 5).endswith("this broker does not report violations of data models")
    assert describe_violations([], [], 5).endswith("this broker counted no violation of a data model")


def test_the_summary_and_the_commands_survive_a_narrow_pipe() -> None:
    console = Console(file=StringIO(), width=40)
    print_summary(console, ledger=Ledger(), updates=3, failures=["[x]"], seconds=0.0, violations="none")
    print_commands(console, "http://localhost:1026", "urn:x:1", is_vela=True)
    assert isinstance(console.file, StringIO)
    lines = console.file.getvalue().splitlines()
    assert "Refused: [x]" in lines
    assert [line.split()[0] for line in lines if "curl" in line] == ["curl"] * 3


class FakeBroker:
    """An NGSI-LD broker that knows just what the demo needs; `drop_every` loses each n-th notification."""

    def __init__(self, drop_every: int = 0, unavailable_every: int = 0) -> None:
        self.updates: list[tuple[str, dict[str, Any]]] = []
        self.subscriptions: dict[str, dict[str, Any]] = {}
        self.requests = 0
        self.notifications = 0
        self._drop_every = drop_every
        self._unavailable_every = unavailable_every

    def app(self) -> web.Application:
        app = web.Application()
        app.router.add_post("/ngsi-ld/v1/entityOperations/upsert", self.upsert)
        app.router.add_post("/ngsi-ld/v1/subscriptions", self.subscribe)
        app.router.add_delete("/ngsi-ld/v1/subscriptions/{id}", self.unsubscribe)
        app.router.add_patch("/ngsi-ld/v1/entities/{id}/attrs", self.patch)
        return app

    async def upsert(self, request: web.Request) -> web.Response:
        assert len(await request.json()) == 60
        return web.Response(status=201)

    async def subscribe(self, request: web.Request) -> web.Response:
        body = await request.json()
        self.subscriptions[body["id"]] = body
        return web.Response(status=201)

    async def unsubscribe(self, request: web.Request) -> web.Response:
        del self.subscriptions[request.match_info["id"]]
        return web.Response(status=204)

    async def patch(self, request: web.Request) -> web.Response:
        self.requests += 1
        if self._unavailable_every and self.requests % self._unavailable_every == 0:
            return web.json_response({"detail": "The queue is full."}, status=503)
        entity_id, body = request.match_info["id"], await request.json()
        self.updates.append((entity_id, body))
        if body["occupancy"]["value"] > 0.9:
            self.notifications += 1
            if not self._drop_every or self.notifications % self._drop_every:
                (subscription,) = self.subscriptions.values()
                del body["@context"]
                async with aiohttp.ClientSession() as session:
                    endpoint = subscription["notification"]["endpoint"]["uri"]
                    await session.post(endpoint, json={"data": [{"id": entity_id, **body}]})
        return web.Response(status=204)


async def replayed(broker: FakeBroker, **options: Any) -> int:
    async with TestServer(broker.app()) as server:
        settings = {"data": RECORDING, "speed": 0.0, "agents": 8, "limit": 400, **options}
        return await run(str(server.make_url("")), **settings)


async def test_a_replay_sends_every_reading_and_receives_what_is_owed(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    broker = FakeBroker()
    record = tmp_path / "record.jsonl"
    assert await replayed(broker, record=record) == 0
    readings = read_recording(RECORDING, 400).readings
    owed = sum(map(is_owed, readings))
    assert owed > 0
    events = [json.loads(line) for line in record.read_text().splitlines()]
    assert sum(one["event"] == "acknowledged" for one in events) == 400
    assert sum(one["event"] == "notified" for one in events) == owed
    last = {one.car_park.entity_id: one.free for one in readings}
    assert {entity_id: body["availableSpotNumber"]["value"] for entity_id, body in broker.updates} == last
    assert not broker.subscriptions
    assert f"{owed} owed, {owed} received, 0 duplicates" in capsys.readouterr().out


async def test_a_lost_notification_makes_the_replay_incomplete(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("broker.demo.main.PATIENCE", 0.2)
    assert await replayed(FakeBroker(drop_every=1)) == 1
    assert "missing" in capsys.readouterr().out


async def test_a_refused_update_makes_the_replay_incomplete(capsys: pytest.CaptureFixture[str]) -> None:
    assert await replayed(FakeBroker(unavailable_every=50)) == 1
    output = capsys.readouterr().out
    assert "392 of 400 acknowledged" in output
    assert "503 The queue is full." in output


async def test_a_resilient_replay_goes_on_through_unavailability() -> None:
    broker = FakeBroker(unavailable_every=50)
    assert await replayed(broker, resilient=True) == 0
    assert len(broker.updates) == 400


async def test_a_replay_keeps_the_pace_that_it_was_given() -> None:
    began = asyncio.get_running_loop().time()
    readings = read_recording(RECORDING, 400).readings
    duration = (readings[-1].at - readings[0].at).total_seconds()
    assert await replayed(FakeBroker(), speed=duration / 0.5) == 0
    assert asyncio.get_running_loop().time() - began >= 0.5


async def test_a_broker_that_does_not_answer_ends_the_demo_with_one_line(capsys: pytest.CaptureFixture[str]) -> None:
    status = await run("http://127.0.0.1:9", data=RECORDING, speed=0, agents=1, limit=1)
    assert status == 2
    assert capsys.readouterr().out.startswith(
        "The demo cannot run: POST http://127.0.0.1:9/ngsi-ld/v1/entityOperations"
    )


@pytest.mark.parametrize("terminal", [True, False])
def test_progress_and_notifications_are_shown_on_a_terminal_and_elsewhere(terminal: bool) -> None:
    console = Console(file=StringIO(), width=80, force_terminal=terminal)
    with display_on(console, 20) as display:
        for _ in range(20):
            display.advance()
        display.notified("08:00 Bremen, a: 3 of 100 spaces free")
    assert isinstance(console.file, StringIO)
    output = console.file.getvalue()
    assert "3 of 100 spaces free" in output
    assert ("20/20" if terminal else "20 of 20 updates acknowledged") in output
