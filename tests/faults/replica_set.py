"""A replica set of three mongods on this machine, whose members can be killed and come back."""

import subprocess
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from pymongo import MongoClient
from pymongo.errors import PyMongoError

from broker.local import free_port
from broker.storage.mongod import find_mongod

NAME = "faults"
MEMBERS = 3
SECONDS = 60.0


class ReplicaSet:
    """Three mongods in `folder`. A dead primary is replaced within seconds."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._ports = [free_port() for _ in range(MEMBERS)]
        self._processes: list[subprocess.Popen[bytes] | None] = [None] * MEMBERS

    @property
    def uri(self) -> str:
        """The connection string, with all members."""
        return f"mongodb://{','.join(f'127.0.0.1:{port}' for port in self._ports)}/?replicaSet={NAME}"

    def start(self) -> None:
        """Start the members, and wait until one takes writes."""
        for member in range(MEMBERS):
            self._launch(member)
        members = [{"_id": member, "host": f"127.0.0.1:{port}"} for member, port in enumerate(self._ports)]
        settings = {"electionTimeoutMillis": 2_000, "heartbeatIntervalMillis": 500}
        config = {"_id": NAME, "members": members, "settings": settings}
        for member in reversed(range(MEMBERS)):  # each waits until its member answers
            with self._client(member) as client:
                client.admin.command("ping")
                if member == 0:
                    client.admin.command("replSetInitiate", config)
        self.wait_until_whole()

    def stop(self) -> None:
        """End all members at once: nobody reads their files again."""
        for process in self._processes:
            if process is not None:
                process.kill()
                process.wait()

    def kill_primary(self) -> None:
        """End the primary as `kill -9` does, wait for another one, and bring the dead member back."""
        primaries: list[int] = []

        def one_leads() -> bool:  # a busy machine may hold an election of its own
            primaries[:] = self._members("PRIMARY")
            return len(primaries) == 1

        self._wait(one_leads, "one primary")
        [member] = primaries
        process = self._processes[member]
        assert process is not None
        process.kill()
        process.wait()
        self._wait(lambda: bool(set(self._members("PRIMARY")) - {member}), "another member became primary")
        self._launch(member)

    def wait_until_whole(self) -> None:
        """Wait until there is a primary, and all others follow it: the next one may be killed."""
        self._wait(
            lambda: len(self._members("PRIMARY")) == 1 and len(self._members("SECONDARY")) == MEMBERS - 1,
            "one primary and two secondaries",
        )

    def _launch(self, member: int) -> None:
        folder = self._folder / f"member{member}"
        folder.mkdir(parents=True, exist_ok=True)
        with (self._folder / f"member{member}.log").open("ab") as log:
            self._processes[member] = subprocess.Popen(
                [
                    *(str(find_mongod()), "--dbpath", str(folder), "--replSet", NAME, "--oplogSize", "64", "--quiet"),
                    *("--bind_ip", "127.0.0.1", "--port", str(self._ports[member]), "--nounixsocket"),
                    *("--wiredTigerCacheSizeGB", "0.25", "--setParameter", "diagnosticDataCollectionEnabled=false"),
                ],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
            )

    def _client(self, member: int) -> MongoClient[dict[str, Any]]:
        return MongoClient("127.0.0.1", self._ports[member], directConnection=True, serverSelectionTimeoutMS=20_000)

    def _members(self, state: str) -> list[int]:
        """The members that say of themselves to be in a state; dead ones are in none."""
        found = []
        for member, port in enumerate(self._ports):
            client: MongoClient[dict[str, Any]]
            with MongoClient("127.0.0.1", port, directConnection=True, serverSelectionTimeoutMS=500) as client:
                try:
                    hello = client.admin.command("hello")
                except PyMongoError:
                    continue
            own = "PRIMARY" if hello.get("isWritablePrimary") else "SECONDARY" if hello.get("secondary") else ""
            if own == state:
                found.append(member)
        return found

    def _wait(self, condition: Callable[[], bool], what: str) -> None:
        deadline = time.monotonic() + SECONDS
        while not condition():
            assert time.monotonic() < deadline, f"after {SECONDS:g} s still not: {what}"
            time.sleep(0.05)
