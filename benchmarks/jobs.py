"""What the run tells a load process to do, and the log that comes back.

A job goes to the process pickled on its standard input, the log comes back pickled on its standard output. The times in
a log are those of the monotonic clock, which all processes of a machine share.
"""

import asyncio
import pickle
import sys
from array import array
from dataclasses import dataclass, field
from time import process_time
from typing import Any

from benchmarks.errors import BenchmarkError
from benchmarks.population import Population
from benchmarks.processes import PROJECT, cpu_seconds, family, machine_cpu_seconds, python_environment, resident_bytes
from benchmarks.scenarios import Operation

_GRACE = 60.0


@dataclass(frozen=True)
class Timing:
    """How long a load runs. All in seconds; requests sent during `warm_up` count for correctness, not for figures."""

    warm_up: float
    seconds: float
    drain: float = 15.0


@dataclass(frozen=True)
class HttpJob:
    """Send the requests of one operation over `connections` keep-alive connections, one at a time on each."""

    host: str
    port: int
    operation: Operation
    population: Population
    connections: int
    timing: Timing
    first_sequence: int
    watched: dict[str, int]
    """Process ids, by the name under which their CPU time and memory are reported."""
    pages: tuple[str, ...] = ()
    """The pages that are asked for in turn, where the operation is about such."""
    rate: float = 0.0
    """Requests a second, evenly over time as long as a connection is free; 0 for as many as are answered."""


@dataclass(frozen=True)
class MongoJob:
    """Send pre-encoded `update` commands of `statements` statements, `in_flight` at a time."""

    mongo_uri: str
    database: str
    population: Population
    changes: tuple[str, ...]
    statements: int
    in_flight: int
    timing: Timing
    watched: dict[str, int]


Job = HttpJob | MongoJob


@dataclass
class Log:
    """What a load did, request by request; the n-th request carries the sequence number `first_sequence` + n."""

    first_sequence: int = 0
    sent: "array[float]" = field(default_factory=lambda: array("d"))
    answered: "array[float]" = field(default_factory=lambda: array("d"))
    """When the answer came; 0.0 where none did."""
    statuses: "array[int]" = field(default_factory=lambda: array("H"))
    """The HTTP status code; 0 where no answer came."""
    started: float = 0.0
    ended: float = 0.0
    cpu_seconds: dict[str, float] = field(default_factory=dict)
    """CPU time between `started` and `ended`: of "client" (the load process), the watched ones, and "others"."""
    memory: dict[str, int] = field(default_factory=dict)
    """Resident bytes at the end, of the watched processes."""
    problem: str = ""
    """What made an answer unreadable; empty where all were read."""


class CpuMeter:
    """The CPU time of this process ("client"), of watched process trees and of all "others" between two moments."""

    def __init__(self, watched: dict[str, int]) -> None:
        self._watched = {name: family(pid) for name, pid in watched.items()}
        self._before = self._read()

    def used(self) -> dict[str, float]:
        """Seconds of CPU by name since this meter was made."""
        used = {name: seconds - self._before[name] for name, seconds in self._read().items()}
        machine = used.pop("machine")
        return {**used, "others": max(0.0, machine - sum(used.values()))}

    def memory(self) -> dict[str, int]:
        """Resident bytes of the watched process trees now, by name."""
        return {name: resident_bytes(pids) for name, pids in self._watched.items()}

    def _read(self) -> dict[str, float]:
        watched = {name: cpu_seconds(pids) for name, pids in self._watched.items()}
        return {"client": process_time(), **watched, "machine": machine_cpu_seconds()}


def receive_job() -> Any:
    """In a load process: the job it was started for."""
    return pickle.load(sys.stdin.buffer)


def return_log(log: Log) -> None:
    """In a load process: hand the log back."""
    # Not sys.stdout.buffer: under PYTHONUNBUFFERED that is a raw file, whose write may keep a part of the bytes.
    with open(sys.stdout.fileno(), "wb", closefd=False) as output:
        pickle.dump(log, output, protocol=pickle.HIGHEST_PROTOCOL)


async def run_job(module: str, job: Job) -> Log:
    """Run `job` in a new process of the given `benchmarks` module.

    Raises BenchmarkError where the process fails or does not end.
    """
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        "-m",
        module,
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
        cwd=PROJECT,
        env=python_environment(),
    )
    limit = job.timing.warm_up + job.timing.seconds + job.timing.drain + _GRACE
    try:
        output, errors = await asyncio.wait_for(process.communicate(pickle.dumps(job)), limit)
    except TimeoutError:
        raise BenchmarkError(f"the load process {module} did not end within {limit:.0f} s") from None
    finally:
        if process.returncode is None:
            process.kill()
    if process.returncode != 0:
        raise BenchmarkError(f"the load process {module} failed:\n{errors.decode(errors='replace')}")
    log: Log = pickle.loads(output)
    if log.problem:
        raise BenchmarkError(f"the load process {module} could not read an answer: {log.problem}")
    return log
