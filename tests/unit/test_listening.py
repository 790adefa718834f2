"""The sockets that workers are given."""

import socket
import stat
import sys
import tempfile
from pathlib import Path

import pytest

from broker.configuration import Launch
from broker.crew import Crew
from broker.listening import Doors, ListenError, Listeners, accept_waiting, door_of, refuse_further
from broker.settings import Settings


def waiting_at(listening: socket.socket) -> list[socket.socket]:
    listening.setblocking(False)
    return list(accept_waiting(listening))


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
        accepted = waiting_at(other)
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

    accepted = waiting_at(listening)

    assert {one.getpeername() for one in accepted} == {one.getsockname() for one in clients}
    assert waiting_at(listening) == []
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
        (accepted,) = waiting_at(listening)
        with accepted:
            early.sendall(b"still there")
            assert accepted.recv(100) == b"still there"


def folder_of(door: socket.socket) -> Path:
    return Path(door.getsockname()).parent


def test_doors_are_in_a_folder_that_only_this_user_may_enter_and_that_goes_with_them() -> None:
    doors = Doors()
    first, second = doors.open(0), doors.open(1)
    with first, second:
        folder = folder_of(first)
        assert folder_of(second) == folder
        assert stat.S_IMODE(folder.stat().st_mode) == 0o700
        assert (door_of(first, 1), door_of(second, 0)) == (second.getsockname(), first.getsockname())
        doors.close()
        assert not folder.exists()
        doors.close()


def test_a_door_is_for_all_who_take_its_place_one_after_the_other() -> None:
    doors = Doors()
    with doors.open(0) as kept, socket.socket(socket.AF_UNIX) as visitor:
        with kept.dup() as first:
            first.listen()
        visitor.connect(kept.getsockname())
        with kept.dup() as second:
            (accepted,) = waiting_at(second)
            accepted.close()
    doors.close()


def test_the_door_of_a_place_that_was_given_up_can_be_opened_again() -> None:
    doors = Doors()
    doors.open(0).close()
    with doors.open(0) as door, socket.socket(socket.AF_UNIX) as visitor:
        door.listen()
        visitor.connect(door.getsockname())
    doors.close()


def too_deep(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    deep = folder / ("d" * 120)
    deep.mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(deep))


def not_there(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tempfile, "tempdir", str(folder / "not-there"))


@pytest.mark.parametrize("obstacle", [too_deep, not_there])
def test_where_there_can_be_no_doors_workers_do_without_and_the_log_says_so(
    obstacle, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    obstacle(tmp_path, monkeypatch)
    launch = Launch(Settings(), {}, ())
    crew = Crew(launch, 2, Listeners("127.0.0.1", 0), lambda: launch)

    assert crew._open_door(0) is None
    assert "workers cannot reach each other" in "".join(capsys.readouterr())
    crew._doors.close()
    assert list(tmp_path.rglob("vela-*")) == []
