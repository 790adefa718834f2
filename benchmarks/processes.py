"""Processes of this machine: starting and stopping them, finding who listens, reading their CPU time and memory."""

import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from benchmarks.errors import BenchmarkError

PROJECT = Path(__file__).resolve().parent.parent
_TICKS = os.sysconf("SC_CLK_TCK")
_PAGE = os.sysconf("SC_PAGE_SIZE")
_START_TIMEOUT = 60.0  # with 100,000 subscriptions a Vela needs some 15 s
_STOP_TIMEOUT = 15.0
_LISTENING = "0A"


def python_environment() -> dict[str, str]:
    """The environment for Python processes of this project, whatever folder the run was started in."""
    paths = [str(PROJECT), *filter(None, [os.environ.get("PYTHONPATH")])]
    return {**os.environ, "PYTHONPATH": os.pathsep.join(paths)}


def free_port() -> int:
    """A TCP port of the loopback interface that nobody listens on."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


@contextmanager
def python_server(arguments: Sequence[str], port: int, log_file: Path) -> Iterator[int]:
    """Run `python -m <arguments>` until the block ends, from the moment it listens on `port`; its process id.

    What it prints goes to `log_file`. Raises BenchmarkError with the end of that file where it does not start.
    """
    command = [sys.executable, "-m", *arguments]
    with log_file.open("wb") as output:
        process = subprocess.Popen(
            command, stdin=subprocess.DEVNULL, stdout=output, stderr=subprocess.STDOUT, env=python_environment()
        )
        try:
            _wait_until_listening(process, port, " ".join(command), log_file)
            yield process.pid
        finally:
            _stop(process)


def _wait_until_listening(process: subprocess.Popen[bytes], port: int, command: str, log_file: Path) -> None:
    deadline = time.monotonic() + _START_TIMEOUT
    while time.monotonic() < deadline and process.poll() is None:
        try:
            socket.create_connection(("127.0.0.1", port), timeout=1).close()
        except OSError:
            time.sleep(0.05)
        else:
            return
    state = f"ended with code {process.returncode}" if process.poll() is not None else f"after {_START_TIMEOUT:.0f} s"
    tail = log_file.read_text(errors="replace")[-2000:]
    raise BenchmarkError(f"'{command}' does not listen on port {port}: {state}. Its output ends with:\n{tail}")


def _stop(process: subprocess.Popen[bytes]) -> None:
    if process.poll() is None:
        process.send_signal(signal.SIGTERM)
    try:
        process.wait(_STOP_TIMEOUT)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()


def family(pid: int) -> list[int]:
    """`pid` and all processes that descend from it, as far as they are alive."""
    children: dict[int, list[int]] = {}
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit() and (fields := _stat_fields(int(entry.name))):
            children.setdefault(int(fields[1]), []).append(int(entry.name))
    found = [pid]
    for member in found:
        found.extend(children.get(member, ()))
    return found


def cpu_seconds(pids: Sequence[int]) -> float:
    """The CPU time, user and system, that the processes have used since they started; 0 for those that are gone."""
    ticks = 0
    for pid in pids:
        if fields := _stat_fields(pid):
            ticks += int(fields[11]) + int(fields[12])
    return ticks / _TICKS


def resident_bytes(pids: Sequence[int]) -> int:
    """The resident memory of the processes together."""
    pages = 0
    for pid in pids:
        try:
            pages += int(Path(f"/proc/{pid}/statm").read_text().split()[1])
        except OSError:
            continue
    return pages * _PAGE


def machine_cpu_seconds() -> float:
    """The CPU time that all processes of the machine together have used since it started."""
    user, nice, system, _idle, _iowait, irq, softirq, *_ = Path("/proc/stat").read_text().split(maxsplit=10)[1:10]
    return sum(map(int, (user, nice, system, irq, softirq))) / _TICKS


def listener(port: int) -> int | None:
    """The process of this machine that listens on TCP `port`; None where it cannot be seen."""
    inodes = set()
    for table in ("/proc/net/tcp", "/proc/net/tcp6"):
        for line in Path(table).read_text().splitlines()[1:]:
            fields = line.split()
            if fields[3] == _LISTENING and int(fields[1].rpartition(":")[2], 16) == port:
                inodes.add(f"socket:[{fields[9]}]")
    for entry in sorted(Path("/proc").iterdir(), key=lambda path: (len(path.name), path.name)):
        if entry.name.isdigit() and inodes & _open_files(entry):
            return int(entry.name)
    return None


def _open_files(process: Path) -> set[str]:
    links = set()
    try:
        for descriptor in (process / "fd").iterdir():
            links.add(str(descriptor.readlink()))
    except OSError:
        return links
    return links


def _stat_fields(pid: int) -> list[str]:
    """The fields of /proc/<pid>/stat from the state on (the command name before it may hold anything)."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except OSError:
        return []
