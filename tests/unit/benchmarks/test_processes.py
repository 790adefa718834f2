import os
import socket
import sys
from time import process_time

import pytest

from benchmarks.processes import cpu_seconds, family, free_port, listener, machine_cpu_seconds, resident_bytes

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="reads /proc, which only Linux has")


def test_the_cpu_time_of_a_process_is_what_it_says_itself() -> None:
    assert cpu_seconds([os.getpid()]) == pytest.approx(process_time(), abs=0.1)
    assert machine_cpu_seconds() >= cpu_seconds([os.getpid()])


def test_a_process_belongs_to_the_family_of_its_parent() -> None:
    assert os.getpid() in family(os.getppid())
    assert family(os.getpid())[0] == os.getpid()


def test_memory_is_given_in_bytes() -> None:
    assert 1_000_000 < resident_bytes([os.getpid()]) < 10**11


def test_a_process_that_is_gone_used_nothing() -> None:
    assert cpu_seconds([2**22 + 1]) == 0.0
    assert resident_bytes([2**22 + 1]) == 0


def test_the_process_that_listens_on_a_port_is_found() -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        assert listener(server.getsockname()[1]) == os.getpid()
    assert listener(free_port()) is None
