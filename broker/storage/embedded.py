"""The private MongoDB of a broker that was given none: a single-node replica set in the data folder.

The data folder holds `db/` (MongoDB's files), `port` (the port of the last start, used again when it is free; written
once the database is ready),
`mongod.log`, and `lock` (held while a broker uses the folder).
"""

import fcntl
import os
import signal
import socket
import subprocess
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import structlog
from pymongo import MongoClient
from pymongo.errors import OperationFailure, PyMongoError

from broker.storage.mongod import EmbeddedMongoError, command_line, find_mongod, launch, why_it_ended

LOOPBACK = "127.0.0.1"
REPLICA_SET = "vela"
GIB = 1024**3
START_SECONDS = 60.0  # recovery after a crash replays the journal, which may take a while
STOP_SECONDS = 30.0
LOG_BYTES = 16 * 1024**2
OPLOG_MB = 1024
MINIMUM_WIRE_VERSION = 13  # MongoDB 5.0
NOT_YET_INITIALISED = 94

log = structlog.get_logger("vela.embedded")


class EmbeddedMongo:
    """A mongod that belongs to this process: `start` it, use `uri`, `stop` it.

    It ends when this process ends, however that happens (on Linux at once, elsewhere at the next start in the same
    folder), and is started again when it dies before `stop`. Each object is started once. Call `start` from a thread
    that lives as long as the database is needed, such as the main thread: mongod ends with the thread that started it.
    """

    def __init__(self, data_dir: Path, *, mongod: Path | None = None, cache_bytes: int = GIB // 2) -> None:
        self.data_dir = data_dir.absolute()
        self._mongod = mongod
        self._cache_bytes = cache_bytes
        self._database_dir = self.data_dir / "db"
        self._log_file = self.data_dir / "mongod.log"
        self._port_file = self.data_dir / "port"
        self._port = 0
        self._process: subprocess.Popen[bytes] | None = None
        self._lock: int | None = None
        self._stopping = threading.Event()
        self._launching = threading.Lock()

    @property
    def uri(self) -> str:
        """The connection string of the started database."""
        return f"mongodb://{LOOPBACK}:{self._port}/?replicaSet={REPLICA_SET}"

    @property
    def pid(self) -> int | None:
        """The process id of mongod, None when it is not started."""
        return self._process.pid if self._process is not None else None

    def start(self) -> str:
        """Start the database, wait until it takes writes, and return its connection string.

        Blocks: about a second on existing data, longer for recovery after a crash. Raises EmbeddedMongoError with a
        text for the operator when it cannot be had; nothing is left running then.
        """
        program = find_mongod(self._mongod)
        self._take_folder()
        try:
            self._end_orphan()
            unfinished = any(self._database_dir.iterdir()) and not self._port_file.exists()
            try:
                self._launch(program, self._kept_port())
            except EmbeddedMongoError:
                if not unfinished or self._runs():
                    raise
                self._set_aside()
                self._launch(program, self._kept_port())
        except BaseException:
            self.stop()
            raise
        threading.Thread(target=self._watch, args=(program,), name="mongod watch", daemon=True).start()
        return self.uri

    def stop(self) -> None:
        """End the database, by force after 30 s, and give the data folder free. Does nothing when it is not started."""
        with self._launching:
            self._stopping.set()
        if self._process is not None:
            _end(self._process)
            self._process = None
        if self._lock is not None:
            os.close(self._lock)
            self._lock = None

    def _take_folder(self) -> None:
        try:
            self._database_dir.mkdir(parents=True, exist_ok=True)
            lock = os.open(self.data_dir / "lock", os.O_RDWR | os.O_CREAT, 0o644)
        except OSError as error:
            raise EmbeddedMongoError(
                f"The data folder {self.data_dir} cannot be written ({error.strerror}); give another with --data-dir."
            ) from error
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            holder = os.read(lock, 32).decode(errors="replace").strip() or "unknown"
            os.close(lock)
            raise EmbeddedMongoError(
                f"The data folder {self.data_dir} is in use by another broker (process {holder}); "
                "stop that one, or give another folder with --data-dir."
            ) from None
        os.ftruncate(lock, 0)
        os.write(lock, f"{os.getpid()}\n".encode())
        self._lock = lock

    def _end_orphan(self) -> None:
        """End the mongod that a killed broker left behind on this folder. mongod keeps its own pid in its lock file."""
        try:
            pid = int((self._database_dir / "mongod.lock").read_text())
        except (OSError, ValueError):
            return
        if not self._is_ours(pid):
            return
        log.warning("ending the mongod that an earlier broker left behind", pid=pid)
        for number, seconds in ((signal.SIGTERM, STOP_SECONDS), (signal.SIGKILL, 5.0)):
            try:
                os.kill(pid, number)
            except ProcessLookupError:
                return
            if _wait(lambda: not self._is_ours(pid), seconds):
                return
        raise EmbeddedMongoError(
            f"The mongod of an earlier broker (process {pid}) does not end; end it, then try again."
        )

    def _set_aside(self) -> None:
        """Begin with an empty folder: a database whose making was interrupted never starts, and holds nothing."""
        aside = self.data_dir / f"db-unfinished-{time.time_ns()}"
        self._database_dir.rename(aside)
        self._database_dir.mkdir()
        log.warning("a database that was never ready does not start: making a new one", set_aside=str(aside))

    def _runs(self) -> bool:
        return self._process is not None and self._process.poll() is None

    def _is_ours(self, pid: int) -> bool:
        return str(self._database_dir) in command_line(pid)

    def _kept_port(self) -> int:
        try:
            port = int(self._port_file.read_text())
        except (OSError, ValueError):
            return _free_port()
        return port if _is_free(port) else _free_port()

    def _launch(self, program: Path, port: int) -> None:
        if self._log_file.exists() and self._log_file.stat().st_size > LOG_BYTES:
            self._log_file.replace(self._log_file.with_suffix(".log.old"))
        logged = self._log_file.stat().st_size if self._log_file.exists() else 0
        self._port = port
        with self._launching:
            if self._stopping.is_set():
                raise EmbeddedMongoError("The private MongoDB was stopped.")
            self._process = launch(program, self._arguments(port), self._log_file)
        deadline = time.monotonic() + START_SECONDS
        while not _accepts(port):
            status = self._process.poll()
            if status is not None:
                raise EmbeddedMongoError(why_it_ended(program, status, self._written(logged)))
            if time.monotonic() > deadline:
                raise EmbeddedMongoError(
                    f"{program} does not answer {START_SECONDS:.0f} s after its start; see {self._log_file}."
                )
            time.sleep(0.01)
        try:
            self._become_primary(deadline)
        except PyMongoError as error:
            raise EmbeddedMongoError(f"{program} runs but takes no writes ({error}); see {self._log_file}.") from error
        self._port_file.write_text(f"{port}\n")

    def _arguments(self, port: int) -> list[str]:
        return [
            *("--dbpath", str(self._database_dir), "--bind_ip", LOOPBACK, "--port", str(port), "--nounixsocket"),
            *("--replSet", REPLICA_SET, "--oplogSize", str(OPLOG_MB)),
            *("--wiredTigerCacheSizeGB", f"{self._cache_bytes / GIB:.2f}"),
            # Small updates spend more time on compressing their journal records than on writing them.
            *("--wiredTigerJournalCompressor", "none"),
            # Nothing reads the past: else every version of a document is kept for five minutes (docs/adr/0013).
            *("--setParameter", "minSnapshotHistoryWindowInSeconds=0"),
            # What has to read the past, such as the making of a snapshot, does so in a transaction.
            *("--setParameter", "transactionLifetimeLimitSeconds=600"),
            *("--logpath", str(self._log_file), "--logappend", "--quiet"),
            *("--setParameter", "diagnosticDataCollectionEnabled=false"),
            *("--setParameter", "shutdownTimeoutMillisForSignaledShutdown=0"),
        ]

    def _written(self, since: int) -> str:
        with self._log_file.open("rb") as file:
            file.seek(since)
            return file.read(LOG_BYTES).decode(errors="replace")

    def _become_primary(self, deadline: float) -> None:
        client: MongoClient[dict[str, Any]]
        with MongoClient(LOOPBACK, self._port, directConnection=True, serverSelectionTimeoutMS=10_000) as client:
            hello = client.admin.command("hello")
            if hello["maxWireVersion"] < MINIMUM_WIRE_VERSION:
                version = client.server_info()["version"]
                raise EmbeddedMongoError(
                    f"The mongod found is MongoDB {version}; expected 5.0 or later. Name another with --mongod, "
                    "or give a MongoDB replica set with --mongo-uri."
                )
            self._configure(client, deadline)
            while not client.admin.command("hello").get("isWritablePrimary"):
                if time.monotonic() > deadline:
                    raise EmbeddedMongoError(f"The private MongoDB takes no writes; see {self._log_file}.")
                time.sleep(0.01)

    def _configure(self, client: MongoClient[dict[str, Any]], deadline: float) -> None:
        """Make the node the only member of its replica set, under the port of this start."""
        address = f"{LOOPBACK}:{self._port}"
        config = client.local["system.replset"].find_one()
        if config is None:
            members = [{"_id": 0, "host": address}]
            client.admin.command("replSetInitiate", {"_id": REPLICA_SET, "members": members})
        elif config["members"][0]["host"] != address:
            config["members"][0]["host"] = address
            config["version"] += 1
            _reconfigure(client, config, deadline)

    def _watch(self, program: Path) -> None:
        """Start mongod again whenever it ends before `stop`, ever more slowly while it keeps ending."""
        pause = 0.1
        while (process := self._process) is not None:
            status = process.wait()
            if self._stopping.wait(pause):
                return
            pause = min(pause * 2, 30.0)
            log.error("the private MongoDB ended and is started again", status=status, log=str(self._log_file))
            try:
                self._launch(program, self._port)
                pause = 0.1
            except EmbeddedMongoError as error:
                if not self._stopping.is_set():
                    log.error("the private MongoDB does not start", reason=str(error))


def _reconfigure(client: MongoClient[dict[str, Any]], config: dict[str, Any], deadline: float) -> None:
    """Force `config` upon a node that has just started: it refuses until it knows that the old address is another's.

    That takes a moment, or half a minute when a program that never answers listens there.
    """
    while True:
        try:
            client.admin.command("replSetReconfig", config, force=True)
        except OperationFailure as error:
            if error.code != NOT_YET_INITIALISED or time.monotonic() > deadline:
                raise
            time.sleep(0.02)
        else:
            return


def _end(process: "subprocess.Popen[bytes]") -> None:
    process.terminate()
    try:
        process.wait(STOP_SECONDS)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()


def _accepts(port: int) -> bool:
    with socket.socket() as probe:
        probe.settimeout(1)
        return probe.connect_ex((LOOPBACK, port)) == 0


def _is_free(port: int) -> bool:
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((LOOPBACK, port))
        except OSError:
            return False
        return True


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind((LOOPBACK, 0))
        return int(probe.getsockname()[1])


def _wait(condition: Callable[[], bool], seconds: float) -> bool:
    deadline = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > deadline:
            return False
        time.sleep(0.02)
    return True
