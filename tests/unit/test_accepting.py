"""Taking connections from sockets."""

import asyncio
import contextlib
import os
import resource
import socket
from collections.abc import Callable, Iterator

import pytest

from broker.accepting import Acceptor


class Greeter(asyncio.Protocol):
    """Greets who is connected, and ends the connection; `greeted` counts them."""

    greeted = 0

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        type(self).greeted += 1
        transport.write(b"hello")
        transport.close()


@pytest.fixture
def greeter() -> type[Greeter]:
    return type("OwnGreeter", (Greeter,), {})


@pytest.fixture
def bound() -> Iterator[socket.socket]:
    with socket.socket() as listening:
        listening.bind(("127.0.0.1", 0))
        yield listening


@pytest.fixture
def connect(bound: socket.socket) -> Iterator[Callable[[int], list[socket.socket]]]:
    """A function that opens so many connections, which wait in the queue of the socket."""
    with contextlib.ExitStack() as stack:

        def opened(number: int) -> list[socket.socket]:
            return [stack.enter_context(socket.create_connection(bound.getsockname(), 5)) for _ in range(number)]

        yield opened


async def test_many_who_come_at_once_wait_for_few_turns_of_the_event_loop(
    bound: socket.socket, connect: Callable[[int], list[socket.socket]], greeter: type[Greeter]
) -> None:
    acceptor = Acceptor([bound], greeter)
    connect(250)
    turns = 0
    while greeter.greeted < 250:
        await asyncio.sleep(0)
        turns += 1
        assert turns < 25
    await acceptor.finish()


async def test_who_waits_at_the_end_is_served_and_nobody_after(
    bound: socket.socket, connect: Callable[[int], list[socket.socket]], greeter: type[Greeter]
) -> None:
    acceptor = Acceptor([bound], greeter)
    address = bound.getsockname()
    clients = connect(250)
    await acceptor.finish()
    assert greeter.greeted == 250
    assert [await asyncio.to_thread(one.recv, 10) for one in clients] == [b"hello"] * 250
    with pytest.raises(ConnectionRefusedError):
        socket.create_connection(address, 5)


async def test_without_room_for_a_connection_it_keeps_its_place_until_there_is(
    bound: socket.socket,
    connect: Callable[[int], list[socket.socket]],
    greeter: type[Greeter],
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setattr("broker.accepting._PAUSE", 0.1)
    acceptor = Acceptor([bound], greeter)
    clients = connect(3)
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    probe = os.dup(0)
    resource.setrlimit(resource.RLIMIT_NOFILE, (probe, hard))
    try:
        await asyncio.sleep(0.3)
        assert greeter.greeted == 0
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
        os.close(probe)
    said = "".join(capsys.readouterr())
    assert "no further connection can be accepted" in said
    assert "Too many open files" in said
    assert [await asyncio.to_thread(one.recv, 10) for one in clients] == [b"hello"] * 3
    await acceptor.finish()


async def test_a_connection_that_is_gone_already_harms_nobody(
    bound: socket.socket, connect: Callable[[int], list[socket.socket]], greeter: type[Greeter]
) -> None:
    acceptor = Acceptor([bound], greeter)
    for one in connect(20):
        one.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")  # resets instead of a farewell
        one.close()
    (client,) = connect(1)
    assert await asyncio.to_thread(client.recv, 10) == b"hello"
    await acceptor.finish()
