"""Lines between workers: messages in packets, however the packets arrive; who ends what, and when."""

import asyncio
import pickle
from typing import Any

import pytest

from broker.commit.lines import Line


class Wire:
    """A transport that keeps what was written to it; `events` is what else was done."""

    def __init__(self) -> None:
        self.written = b""
        self.writes = 0
        self.events: list[str] = []

    def write(self, data: bytes) -> None:
        self.writes += 1
        self.written += data

    def write_eof(self) -> None:
        self.events.append("eof")

    def close(self) -> None:
        self.events.append("close")

    def abort(self) -> None:
        self.events.append("abort")

    def is_closing(self) -> bool:
        return "close" in self.events or "abort" in self.events


class Heard(Line):
    """A line that keeps what it hears."""

    def __init__(self) -> None:
        super().__init__()
        self.messages: list[Any] = []
        self.ends = 0

    def received(self, message: Any) -> None:
        self.messages.append(message)

    def finished(self) -> None:
        self.ends += 1


def connected() -> tuple[Heard, Wire]:
    line, wire = Heard(), Wire()
    line.connection_made(wire)  # type: ignore[arg-type]
    return line, wire


async def packet(*messages: Any) -> bytes:
    """The packet in which these messages travel."""
    line, wire = connected()
    for message in messages:
        line.send(message)
    await asyncio.sleep(0)
    return wire.written


MESSAGES = ["ready", (1, "Größe", {"a": [2**62, None]}), (2, "x" * 300, b"\0" * 70_000)]


async def test_messages_of_one_turn_travel_in_one_packet() -> None:
    line, wire = connected()
    for message in MESSAGES:
        line.send(message)
    await asyncio.sleep(0)
    line.send("later")
    await asyncio.sleep(0)

    assert wire.writes == 2
    first = int.from_bytes(wire.written[:4], "big")
    assert pickle.loads(wire.written[4 : 4 + first]) == MESSAGES


@pytest.mark.parametrize("step", [1, 3, 4, 5, 1000])
async def test_a_packet_may_come_in_pieces_of_any_size(step: int) -> None:
    data = await packet("ready") + await packet((1, "Größe"), (2, "x" * 300)) + await packet("leaving")
    line, _ = connected()
    for start in range(0, len(data), step):
        line.data_received(data[start : start + step])
    assert line.messages == ["ready", (1, "Größe"), (2, "x" * 300), "leaving"]


async def test_several_packets_may_come_at_once_the_last_one_in_part() -> None:
    whole, last = await packet(*MESSAGES) + await packet("next"), await packet("last")
    line, _ = connected()
    line.data_received(whole + last[:2])
    assert line.messages == [*MESSAGES, "next"]
    line.data_received(last[2:])
    assert line.messages == [*MESSAGES, "next", "last"]


async def test_one_that_ends_still_hears_and_closes_when_the_other_has_ended() -> None:
    line, wire = connected()
    line.send("last")
    line.end()
    line.end()
    await asyncio.sleep(0)
    assert wire.written == await packet("last")
    assert wire.events == ["eof"]

    line.data_received(await packet("answer"))
    assert line.eof_received(), "the line stays open"
    await asyncio.sleep(0)
    assert line.messages == ["answer"]
    assert wire.events == ["eof", "close"]


async def test_one_whose_other_end_has_ended_still_sends() -> None:
    line, wire = connected()
    line.eof_received()
    line.send("answer")
    await asyncio.sleep(0)
    assert wire.written == await packet("answer")
    assert wire.events == []
    line.end()
    await asyncio.sleep(0)
    assert wire.events == ["close"]


async def test_the_end_is_told_once_and_what_is_sent_after_it_goes_to_nobody() -> None:
    line, wire = connected()
    line.eof_received()
    line.connection_lost(None)
    line.send("nobody")
    line.end()
    line.abort()
    await asyncio.sleep(0)
    assert line.ends == 1
    assert (wire.written, wire.events) == (b"", [])
