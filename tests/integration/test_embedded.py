"""The private MongoDB: what it keeps, what it survives, and what it says when it cannot be had."""

import os
import signal
import socketserver
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from importlib.metadata import PackageNotFoundError
from pathlib import Path
from typing import Any

import pytest
from pymongo import MongoClient, WriteConcern

from broker.storage import mongod as programs
from broker.storage.embedded import EmbeddedMongo
from broker.storage.mongod import EmbeddedMongoError, find_mongod, why_it_ended

CACHE_BYTES = 256 * 1024**2
DURABLE = WriteConcern("majority", j=True)

BROKER = """
import sys, time
from pathlib import Path
from broker.storage.embedded import EmbeddedMongo
mongo = EmbeddedMongo(Path(sys.argv[1]), cache_bytes=256 * 1024**2)
print(mongo.start(), mongo.pid, flush=True)
time.sleep(600)
"""


@contextmanager
def started(folder: Path, **options: Any) -> Iterator[EmbeddedMongo]:
    mongo = EmbeddedMongo(folder, cache_bytes=CACHE_BYTES, **options)
    mongo.start()
    try:
        yield mongo
    finally:
        mongo.stop()


@contextmanager
def other_process(folder: Path) -> Iterator[tuple["subprocess.Popen[str]", str, int]]:
    """A process with a private MongoDB of its own: the process, the database's URI and its pid."""
    with subprocess.Popen([sys.executable, "-c", BROKER, str(folder)], stdout=subprocess.PIPE, text=True) as process:
        try:
            assert process.stdout is not None
            uri, pid = process.stdout.readline().split()
            yield process, uri, int(pid)
        finally:
            process.kill()


def write(uri: str, name: str) -> None:
    client: MongoClient[dict[str, Any]]
    with MongoClient(uri) as client:
        client.get_database("test", write_concern=DURABLE).things.insert_one({"_id": name})


def read(uri: str) -> list[str]:
    client: MongoClient[dict[str, Any]]
    with MongoClient(uri) as client:
        return sorted(document["_id"] for document in client.test.things.find())


def eventually(condition: Callable[[], bool], seconds: float = 20) -> bool:
    deadline = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > deadline:
            return False
        time.sleep(0.05)
    return True


def runs(pid: int) -> bool:
    line = programs.command_line(pid)
    return bool(line) and "mongod" in line[0]


def test_it_is_a_replica_set_that_takes_durable_writes(tmp_path):
    with started(tmp_path) as mongo:
        write(mongo.uri, "a")

        assert read(mongo.uri) == ["a"]
        assert "replicaSet=vela" in mongo.uri


def test_a_restart_finds_the_data_at_the_same_port(tmp_path):
    with started(tmp_path) as mongo:
        uri = mongo.uri
        write(uri, "a")

    with started(tmp_path) as again:
        assert again.uri == uri
        assert read(again.uri) == ["a"]


def test_stopping_leaves_no_process_behind(tmp_path):
    with started(tmp_path) as mongo:
        pid = mongo.pid

    assert pid is not None
    assert not runs(pid)
    assert mongo.pid is None


@contextmanager
def another_program_at(port: int) -> Iterator[None]:
    """A program that listens at `port` and closes every connection, as one does that expects another protocol."""

    class Close(socketserver.BaseRequestHandler):
        def handle(self) -> None:
            self.request.close()

    with socketserver.TCPServer(("127.0.0.1", port), Close) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield
        server.shutdown()


def test_it_moves_to_another_port_when_its_own_is_taken(tmp_path):
    with started(tmp_path) as mongo:
        write(mongo.uri, "a")
    port = int((tmp_path / "port").read_text())

    with another_program_at(port), started(tmp_path) as moved:
        assert moved.uri != mongo.uri
        assert read(moved.uri) == ["a"]
        write(moved.uri, "b")


def test_a_second_broker_is_kept_out_of_the_folder_with_one_line(tmp_path):
    with started(tmp_path), pytest.raises(EmbeddedMongoError) as refusal:
        EmbeddedMongo(tmp_path).start()

    assert str(refusal.value) == (
        f"The data folder {tmp_path} is in use by another broker (process {os.getpid()}); "
        "stop that one, or give another folder with --data-dir."
    )


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux ends a child with its parent")
def test_it_ends_with_a_broker_that_is_killed_and_the_next_start_finds_the_data(tmp_path):
    with other_process(tmp_path) as (process, uri, pid):
        write(uri, "a")
        process.kill()
        process.wait()

        with started(tmp_path) as mongo:
            assert not runs(pid)
            assert read(mongo.uri) == ["a"]


def test_an_acknowledged_write_survives_the_kill_of_broker_and_database(tmp_path):
    with other_process(tmp_path) as (process, uri, pid):
        write(uri, "a")
        os.kill(pid, signal.SIGKILL)
        process.kill()
        process.wait()

        with started(tmp_path) as mongo:
            assert read(mongo.uri) == ["a"]


def test_an_orphan_of_the_same_folder_is_ended_and_no_other(tmp_path):
    database = tmp_path / "db"
    database.mkdir()
    arguments = [str(find_mongod()), "--dbpath", str(database), "--port", "0", "--bind_ip", "127.0.0.1", "--quiet"]
    with (
        subprocess.Popen(arguments, stdout=subprocess.DEVNULL) as orphan,
        started(tmp_path.parent / f"{tmp_path.name}-other") as other,
    ):
        assert eventually(lambda: (database / "mongod.lock").exists() and (database / "mongod.lock").stat().st_size > 0)

        with started(tmp_path) as mongo:
            assert orphan.wait(5) is not None
            write(mongo.uri, "a")
        assert other.pid is not None
        assert runs(other.pid)


@pytest.mark.parametrize("delay", [0.0, 0.03, 0.1])
def test_a_database_whose_making_was_interrupted_is_made_anew(tmp_path, delay):
    database = tmp_path / "db"
    database.mkdir()
    arguments = [str(find_mongod()), "--dbpath", str(database), "--port", "0", "--bind_ip", "127.0.0.1", "--quiet"]
    with subprocess.Popen(arguments, stdout=subprocess.DEVNULL) as interrupted:
        assert eventually(lambda: (database / "mongod.lock").exists() and (database / "mongod.lock").stat().st_size > 0)
        time.sleep(delay)  # the moments at which it can be interrupted
        interrupted.kill()

    with started(tmp_path) as mongo:
        write(mongo.uri, "a")


def test_a_lock_file_that_names_a_stranger_ends_nobody(tmp_path):
    with subprocess.Popen(["sleep", "60"]) as stranger:
        (tmp_path / "db").mkdir()
        (tmp_path / "db" / "mongod.lock").write_text(f"{stranger.pid}\n")

        with started(tmp_path):
            assert stranger.poll() is None
        stranger.kill()


def test_it_is_started_again_when_it_dies(tmp_path):
    with started(tmp_path) as mongo:
        write(mongo.uri, "a")
        first = mongo.pid
        assert first is not None

        os.kill(first, signal.SIGKILL)

        assert eventually(lambda: mongo.pid != first)
        assert read(mongo.uri) == ["a"]


def test_without_any_mongod_it_says_what_to_install_or_give(monkeypatch, tmp_path):
    def absent(name: str) -> None:
        raise PackageNotFoundError(name)

    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setattr(programs, "distribution", absent)
    monkeypatch.setattr("platform.system", lambda: "Linux")
    monkeypatch.setattr("platform.machine", lambda: "x86_64")

    with pytest.raises(EmbeddedMongoError) as refusal:
        EmbeddedMongo(tmp_path / "data").start()

    said = str(refusal.value)
    assert said.startswith(
        "There is no mongod on PATH and none in this Python environment. Install one with `pip install "
    )
    assert "'vela[embedded]'`, install MongoDB so that mongod is on PATH, or give a MongoDB replica set with" in said
    assert said.endswith("--mongo-uri mongodb://HOST/?replicaSet=NAME.")
    assert not (tmp_path / "data").exists()


def test_on_a_platform_without_a_packaged_mongod_it_does_not_advise_the_package(monkeypatch, tmp_path):
    def absent(name: str) -> None:
        raise PackageNotFoundError(name)

    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setattr(programs, "distribution", absent)
    monkeypatch.setattr("platform.system", lambda: "FreeBSD")

    with pytest.raises(EmbeddedMongoError, match="None is packaged for FreeBSD") as refusal:
        find_mongod()

    assert "pip install" not in str(refusal.value)


def test_a_mongod_on_the_path_comes_before_the_packaged_one(monkeypatch, tmp_path):
    program = tmp_path / "mongod"
    program.write_text("#!/bin/sh\n")
    program.chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path))

    assert find_mongod() == program


def test_a_given_mongod_that_is_no_program_is_named(tmp_path):
    with pytest.raises(EmbeddedMongoError, match=r"--mongod is .*/nothing, which is no program"):
        find_mongod(tmp_path / "nothing")


def failing(folder: Path, script: str) -> Path:
    program = folder / "mongod"
    program.write_text(f"#!/bin/sh\n{script}\n")
    program.chmod(0o755)
    return program


@pytest.mark.parametrize(
    ("library", "package"), [("libcurl.so.4", "libcurl4"), ("libcrypto.so.3", "libssl3"), ("libssl.so.3", "libssl3")]
)
def test_a_missing_library_is_named_with_its_package(tmp_path, library, package):
    program = failing(
        tmp_path,
        f"echo 'mongod: error while loading shared libraries: {library}: cannot open shared object file' >&2; exit 127",
    )

    with pytest.raises(EmbeddedMongoError) as refusal:
        EmbeddedMongo(tmp_path / "data", mongod=program).start()

    assert f"needs the library {library}, which this machine lacks" in str(refusal.value)
    assert f"apt-get install {package}" in str(refusal.value)


def test_a_program_built_for_another_system_is_explained(tmp_path):
    program = tmp_path / "mongod"
    program.write_text("#!/lib/ld-of-another-system.so\n")
    program.chmod(0o755)

    with pytest.raises(EmbeddedMongoError, match="does not run on this system"):
        EmbeddedMongo(tmp_path / "data", mongod=program).start()


def test_the_last_severe_line_of_the_log_is_the_reason():
    written = """{"s": "I", "msg": "hello"}
        {"s": "E", "msg": "Wrong featureCompatibilityVersion", "attr": {"error": "upgrade"}}
        {"s": "I"}"""

    assert why_it_ended(Path("mongod"), 62, written) == (
        "mongod ended with status 62: Wrong featureCompatibilityVersion upgrade"
    )


def test_a_failed_start_gives_the_folder_free(tmp_path):
    program = failing(tmp_path, "exit 3")
    with pytest.raises(EmbeddedMongoError, match="ended with status 3"):
        EmbeddedMongo(tmp_path / "data", mongod=program).start()

    with started(tmp_path / "data") as mongo:
        assert read(mongo.uri) == []
