"""The processes that a run needs: the broker under test, the bare server beside it, the database below."""

import secrets
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from pymongo import MongoClient
from pymongo.errors import PyMongoError

from benchmarks.errors import BenchmarkError
from benchmarks.processes import free_port, listener, python_server
from broker.machine import default_cache_bytes
from broker.storage.embedded import EmbeddedMongo
from broker.storage.mongod import EmbeddedMongoError


@dataclass(frozen=True)
class Target:
    """A server that answers NGSI-LD requests. `watched`: the processes whose CPU and memory are reported, by name."""

    name: str
    url: str
    watched: Mapping[str, int]

    @property
    def host(self) -> str:
        """The host to connect to."""
        return urlsplit(self.url).hostname or ""

    @property
    def port(self) -> int:
        """The port to connect to."""
        return urlsplit(self.url).port or 80


@dataclass(frozen=True)
class Database:
    """A MongoDB. `pid` is its process where that runs on this machine."""

    uri: str
    version: str
    pid: int | None

    @property
    def watched(self) -> dict[str, int]:
        """Its process under the name by which it is reported."""
        return {} if self.pid is None else {"mongod": self.pid}


@contextmanager
def database(mongo_uri: str | None, folder: Path) -> Iterator[Database]:
    """The MongoDB at `mongo_uri`, or without one a private replica set that lives in `folder` until the block ends.

    That one is what `vela serve` starts on such a machine. Raises BenchmarkError where there is none to be had.
    """
    if mongo_uri is not None:
        yield _described(mongo_uri)
        return
    mongo = EmbeddedMongo(folder / "mongodb", cache_bytes=default_cache_bytes())
    try:
        uri = mongo.start()
    except EmbeddedMongoError as error:
        raise BenchmarkError(str(error)) from error
    try:
        yield _described(uri)
    finally:
        mongo.stop()


@contextmanager
def vela_database(mongo: Database) -> Iterator[str]:
    """A name for a database of a Vela that no other run uses. When the block ends, what has that name is dropped."""
    name = f"benchmark_vela_{secrets.token_hex(3)}"
    try:
        yield name
    finally:
        _drop(mongo.uri, name)


def _described(mongo_uri: str) -> Database:
    client: MongoClient[dict[str, Any]]
    try:
        with MongoClient(mongo_uri, serverSelectionTimeoutMS=10_000) as client:
            status = client.admin.command("serverStatus")
    except PyMongoError as error:
        raise BenchmarkError(f"the MongoDB at {mongo_uri} does not answer: {error}") from error
    pid = int(status["pid"])
    return Database(mongo_uri, status["version"], pid if _is_mongod(pid) else None)


def _is_mongod(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/comm").read_text().strip() == "mongod"
    except OSError:
        return False


@contextmanager
def vela(mongo: Database, folder: Path, name: str, options: Sequence[str] = ()) -> Iterator[Target]:
    """One Vela worker that keeps its entities in the database `name` of `mongo`, until the block ends.

    VELA_* variables of the environment apply, then `options`. It logs into `folder`.
    """
    port = free_port()
    arguments = ["broker", "serve", "--host", "127.0.0.1", "--port", str(port), "--mongo-uri", mongo.uri]
    arguments += ["--database", name, "--workers", "1", *options]
    with python_server(arguments, port, folder / f"{name}.log") as pid:
        yield Target("vela", f"http://127.0.0.1:{port}", {"server": pid, **mongo.watched})


def _drop(mongo_uri: str, prefix: str) -> None:
    client: MongoClient[dict[str, Any]]
    with MongoClient(mongo_uri) as client:
        for name in client.list_database_names():
            if name.startswith(prefix):
                client.drop_database(name)


@contextmanager
def bare_aiohttp(entity_bytes: int, list_bytes: int, folder: Path) -> Iterator[Target]:
    """The bare aiohttp server, until the block ends; its answers to reads have the given sizes."""
    port = free_port()
    sizes = ["--entity-bytes", str(entity_bytes), "--list-bytes", str(list_bytes)]
    with python_server(["benchmarks.bare_aiohttp", "--port", str(port), *sizes], port, folder / "bare.log") as pid:
        yield Target("bare aiohttp", f"http://127.0.0.1:{port}", {"server": pid})


def given_target(text: str) -> Target:
    """The target written as NAME=URL; its process is watched where it listens on this machine.

    Raises ValueError where the text is nothing of the kind.
    """
    name, separator, url = text.partition("=")
    parts = urlsplit(url)
    if not name or not separator or parts.scheme != "http" or not parts.hostname:
        raise ValueError(f"'{text}' is no target: expected NAME=http://HOST:PORT")
    target = Target(name, url.rstrip("/"), {})
    local = target.host in ("localhost", "127.0.0.1", "::1")
    pid = listener(target.port) if local else None
    return target if pid is None else Target(name, target.url, {"server": pid})
