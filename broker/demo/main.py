"""The demo from beginning to end."""

import asyncio
import uuid
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from datetime import UTC, datetime, timedelta
from pathlib import Path

from rich.console import Console

from broker.demo import payloads
from broker.demo.client import BrokerClient, BrokerError
from broker.demo.display import display_on
from broker.demo.ledger import Ledger
from broker.demo.receiver import Receive, Receiver, address_for
from broker.demo.record import Record
from broker.demo.recording import Recording, RecordingError, read_recording
from broker.demo.replay import Replay
from broker.demo.summary import describe_violations, print_commands, print_summary

_COUNTED = 1.5
"""Seconds after which all violations are counted: every worker adds those that it has found each second."""

PATIENCE = 30.0
"""Seconds without any notification after which those that are still owed count as missing."""
RESILIENT_PATIENCE = 120.0
"""Seconds that a resilient replay goes on trying a request, and waits for notifications."""

DONE, INCOMPLETE, IMPOSSIBLE = 0, 1, 2


async def run(
    broker_url: str,
    *,
    data: Path,
    speed: float,
    agents: int,
    limit: int | None,
    record: Path | None = None,
    resilient: bool = False,
) -> int:
    """Replay the recording in the folder `data` to the broker at `broker_url`, and print a summary.

    `speed` is a multiple of real time, 0 for as fast as it goes; `agents` send at once; `limit` cuts the recording
    after so many readings. `record` is a file that gets a JSON line for each acknowledged update and each notification.
    A `resilient` replay goes on through lost connections and 503 answers, for up to two minutes each.

    The exit status: 0 if every update was acknowledged and every owed notification arrived, 1 if not, 2 if the replay
    could not begin.
    """
    console = Console()
    try:
        recording = read_recording(data, limit)
        client = BrokerClient(broker_url, connections=agents + 2, patience=RESILIENT_PATIENCE if resilient else 0.0)
        try:
            with Record(record) as events:
                return await _replay(
                    console, client, recording, events, speed=speed, agents=agents, resilient=resilient
                )
        finally:
            await client.close()
    except (RecordingError, BrokerError) as error:
        console.print(f"The demo cannot run: {error}", soft_wrap=True, highlight=False, markup=False)
        return IMPOSSIBLE


async def _replay(
    console: Console,
    client: BrokerClient,
    recording: Recording,
    events: Record,
    *,
    speed: float,
    agents: int,
    resilient: bool,
) -> int:
    ledger = Ledger()
    readings = recording.readings
    await client.begin_anew([payloads.entity(car_park) for car_park in recording.car_parks])
    before = await client.violations()
    display = display_on(console, len(readings))
    replay = Replay(client, recording.car_parks, ledger=ledger, record=events, display=display)
    async with _subscribed(client, replay.receive, _lasts_for(recording, speed)):
        console.print(
            f"{len(recording.car_parks)} car parks at {client.url}; {len(readings):,} readings from {agents} agents.",
            soft_wrap=True,
            highlight=False,
        )
        with display:
            seconds = await replay.send(readings, agents=agents, speed=speed)
            await replay.settle(RESILIENT_PATIENCE if resilient else PATIENCE)
        await asyncio.sleep(_COUNTED)
        after = await client.violations()
    print_summary(
        console,
        ledger=ledger,
        updates=len(readings),
        failures=replay.failures,
        seconds=seconds,
        violations=describe_violations(before, after, ledger.over_capacity),
    )
    print_commands(console, client.url, recording.car_parks[0].entity_id, is_vela=after is not None)
    return INCOMPLETE if replay.failed or ledger.missing else DONE


@asynccontextmanager
async def _subscribed(client: BrokerClient, receive: Receive, duration: timedelta) -> AsyncIterator[None]:
    """Listen for notifications while a subscription exists; it expires by itself if the demo is killed."""
    try:
        receiver = Receiver(await address_for(client.url), receive)
    except OSError as error:
        raise BrokerError(f"{client.url} has no address: {error}") from error
    await receiver.start()
    subscription_id = f"urn:ngsi-ld:Subscription:vela-demo-{uuid.uuid4()}"
    expires_at = (datetime.now(UTC) + duration).isoformat(timespec="seconds").replace("+00:00", "Z")
    try:
        await client.subscribe(payloads.subscription(subscription_id, receiver.url, expires_at))
        try:
            yield
        finally:
            with suppress(BrokerError):  # it expires by itself
                await client.unsubscribe(subscription_id)
    finally:
        await receiver.stop()


def _lasts_for(recording: Recording, speed: float) -> timedelta:
    margin = timedelta(hours=1)
    if speed <= 0 or not recording.readings:
        return margin
    return (recording.readings[-1].at - recording.readings[0].at) / speed + margin
