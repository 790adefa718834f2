"""The sockets that workers are given."""

import socket
import sys

import pytest

from broker.listening import ListenError, Listeners, accept_rest, refuse_further


def test_all_workers_listen_at_the_port_that_the_first_one_found() -> None:
    listeners = Listeners("127.0.0.1", 0)
    found = [*listeners.open(), *listeners.open(), *listeners.open()]

    assert {one.getsockname() for one in found} == {("127.0.0.1", listeners.port)}
    for one in found:
        one.listen()
        one.close()
    listeners.close()


def test_where_the_kernel_spreads_nothing_workers_share_one_socket() -> None:
    listeners = Listeners("127.0.0.1", 0, own_sockets=False)
    one, other = *listeners.open(), *listeners.open()
    one.listen()
    with socket.create_connection(("127.0.0.1", listeners.port)):
        accepted = accept_rest(other)
        assert len(accepted) == 1
    for open_ in (one, other, *accepted, listeners):
        open_.close()


def test_a_port_that_another_program_shares_is_refused() -> None:
    first = Listeners("127.0.0.1", 0)
    (taken,) = first.open()
    taken.listen()

    with taken, pytest.raises(ListenError, match=f"Port {first.port} of 127.0.0.1 is in use"):
        Listeners("127.0.0.1", first.port).probe()


def test_a_host_that_is_none_is_refused() -> None:
    with pytest.raises(ListenError, match=r"--host is '256\.1\.1\.1', which is no address here"):
        Listeners("256.1.1.1", 0).open()


def test_what_waits_in_a_queue_is_accepted() -> None:
    (listening,) = Listeners("127.0.0.1", 0).open()
    listening.listen()
    clients = [socket.create_connection(listening.getsockname()) for _ in range(3)]

    accepted = accept_rest(listening)

    assert {one.getpeername() for one in accepted} == {one.getsockname() for one in clients}
    assert accept_rest(listening) == []
    for one in (*clients, *accepted, listening):
        one.close()


@pytest.mark.skipif(sys.platform != "linux", reason="needs the packet filter of Linux")
def test_a_socket_that_refuses_keeps_what_it_has_and_lets_nobody_in() -> None:
    (listening,) = Listeners("127.0.0.1", 0).open()
    listening.listen()
    with listening, socket.create_connection(listening.getsockname()) as early:
        refuse_further([listening])
        with pytest.raises(TimeoutError):
            socket.create_connection(listening.getsockname(), timeout=0.2)
        (accepted,) = accept_rest(listening)
        with accepted:
            early.sendall(b"still there")
            assert accepted.recv(100) == b"still there"
