"""`vela serve` as an operator sees it: starting, stopping, surviving, and what it says when it cannot serve."""

import http.client
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from broker.local import LocalBroker, free_port, is_ready
from broker.settings import Settings
from broker.storage.embedded import EmbeddedMongo
from broker.storage.mongod import command_line, find_mongod

linux_only = pytest.mark.skipif(
    sys.platform != "linux", reason="reads /proc, and only Linux ends a child with its parent"
)


def eventually(condition: Callable[[], bool], seconds: float = 20) -> bool:
    deadline = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > deadline:
            return False
        time.sleep(0.05)
    return True


def children(pid: int) -> list[int]:
    return [int(child) for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]


def pid_of(local: LocalBroker) -> int:
    assert local.process is not None
    return local.process.pid


def vela(*arguments: str, **variables: str) -> "subprocess.CompletedProcess[str]":
    return subprocess.run(
        [sys.executable, "-m", "broker", *arguments],
        env={**os.environ, "VELA_PORT": str(free_port()), "VELA_HOST": "127.0.0.1", **variables},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


def status(local: LocalBroker, method: str, path: str, body: str | None = None) -> int:
    connection = http.client.HTTPConnection("127.0.0.1", local.settings.port, timeout=10)
    try:
        connection.request(method, path, body, {"Content-Type": "application/json"} if body else {})
        return connection.getresponse().status
    finally:
        connection.close()


@contextmanager
def private(folder: Path, **settings: Any) -> Iterator[LocalBroker]:
    """A broker with a private MongoDB in `folder`."""
    given: dict[str, Any] = {
        "host": "127.0.0.1",
        "port": free_port(),
        "data_dir": folder / "var",
        "workers": 1,
        **settings,
    }
    local = LocalBroker(Settings(**given), folder / "broker.log")
    local.start()
    try:
        yield local
    finally:
        local.stop()


def test_a_broker_without_a_database_brings_its_own_and_a_second_start_finds_the_data(tmp_path):
    entity = '{"id": "urn:ngsi-ld:Lamp:1", "type": "Lamp"}'
    with private(tmp_path) as local:
        assert status(local, "POST", "/ngsi-ld/v1/entities", entity) == 201
        assert local.stop() == 0

    with private(tmp_path) as local:
        assert status(local, "GET", "/ngsi-ld/v1/entities/urn:ngsi-ld:Lamp:1") == 200


@linux_only
def test_stopping_ends_all_that_was_started(tmp_path):
    with private(tmp_path) as local:
        started = children(pid_of(local))
        os.kill(pid_of(local), signal.SIGINT)
        assert local.process is not None

        assert local.process.wait(20) == 0
        assert started
        assert [pid for pid in started if command_line(pid)] == []


@linux_only
def test_a_broker_that_is_killed_takes_its_database_with_it(tmp_path):
    with private(tmp_path) as local:
        started = children(pid_of(local))
        local.kill()

        assert eventually(lambda: not [pid for pid in started if command_line(pid)])


@linux_only
def test_a_worker_that_dies_is_started_again(start_broker):
    local = start_broker(workers=2)
    assert eventually(lambda: len(children(pid_of(local))) == 2)
    victim = children(pid_of(local))[0]

    os.kill(victim, signal.SIGKILL)

    assert eventually(lambda: len(children(pid_of(local))) == 2 and victim not in children(pid_of(local)))
    assert eventually(lambda: is_ready("127.0.0.1", local.settings.port))
    assert local.stop() == 0


@linux_only
def test_workers_end_with_their_supervisor_even_when_it_is_killed(start_broker):
    local = start_broker(workers=2)
    assert eventually(lambda: len(children(pid_of(local))) == 2)
    workers = children(pid_of(local))

    os.kill(pid_of(local), signal.SIGKILL)

    assert eventually(lambda: not [pid for pid in workers if command_line(pid)])


@pytest.mark.parametrize("workers", ["1", "2"])
def test_a_port_in_use_is_said_in_one_line(mongo_uri, workers):
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]

        ended = vela("serve", VELA_PORT=str(port), VELA_MONGO_URI=mongo_uri, VELA_WORKERS=workers)

    assert ended.returncode == 2
    assert ended.stderr.splitlines()[-1] == (
        f"vela: Port {port} of 127.0.0.1 is in use; stop the program that listens there, "
        "or give another port with --port."
    )
    assert "Traceback" not in ended.stderr


def test_a_second_broker_with_workers_does_not_share_the_port_of_the_first(start_broker, mongo_uri):
    first = start_broker(workers=2)

    ended = vela("serve", VELA_PORT=str(first.settings.port), VELA_MONGO_URI=mongo_uri, VELA_WORKERS="2")

    assert ended.returncode == 2
    assert f"Port {first.settings.port} of 127.0.0.1 is in use" in ended.stderr


@pytest.mark.parametrize("workers", ["1", "2"])
def test_a_database_that_does_not_answer_stops_the_start_with_one_line(workers):
    uri = f"mongodb://ada:s3cret@127.0.0.1:{free_port()}/?replicaSet=rs0"

    ended = vela("serve", VELA_MONGO_URI=uri, VELA_WORKERS=workers)

    assert ended.returncode == 2
    assert "Traceback" not in ended.stderr
    assert "s3cret" not in ended.stderr
    assert any(line.startswith("vela: ") for line in ended.stderr.splitlines())


def test_a_standalone_database_is_refused_with_the_fix(tmp_path):
    port = free_port()
    arguments = [
        str(find_mongod()),
        "--dbpath",
        str(tmp_path),
        "--port",
        str(port),
        "--bind_ip",
        "127.0.0.1",
        "--quiet",
    ]
    with subprocess.Popen(arguments, stdout=subprocess.DEVNULL) as standalone:
        ended = vela("serve", VELA_MONGO_URI=f"mongodb://127.0.0.1:{port}/?directConnection=true")
        standalone.terminate()

    assert ended.returncode == 2
    assert "--replSet" in ended.stderr.splitlines()[-1]
    assert "Traceback" not in ended.stderr


def test_a_data_folder_in_use_is_said_in_one_line(tmp_path):
    mongo = EmbeddedMongo(tmp_path)
    mongo.start()
    try:
        ended = vela("serve", VELA_DATA_DIR=str(tmp_path), VELA_MONGO_URI="")
    finally:
        mongo.stop()

    assert ended.returncode == 2
    assert ended.stderr.splitlines()[-1].startswith(f"vela: The data folder {tmp_path} is in use by another broker")
    assert "Traceback" not in ended.stderr


def test_a_setting_of_no_use_is_said_in_one_line():
    ended = vela("serve", "--workers", "many")

    assert (ended.returncode, ended.stderr) == (
        2,
        "vela: --workers is 'many'; expected a whole number, from 1 to 256.\n",
    )


@pytest.mark.parametrize(
    ("workers", "variable", "value", "said"),
    [
        ("2", "VELA_DATABASE", "smart city", "vela: --database is 'smart city', which cannot be a database of MongoDB"),
        ("1", "VELA_MONGO_URI", "mongodb://ada:s3cret@db:99999999/", "vela: --mongo-uri cannot be used (Port must be"),
        ("1", "VELA_MONGO_URI", "", "vela: The MongoDB of --mongo-uri cannot be used (Authentication failed)"),
        ("1", "VELA_HOST", "256.1.1.1", "vela: --host is '256.1.1.1', which is no address here"),
    ],
)
def test_a_setting_that_turns_out_wrong_at_the_start_is_said_in_one_line(
    mongo_uri, database_name, workers, variable, value, said
):
    variables = {"VELA_MONGO_URI": mongo_uri, "VELA_DATABASE": database_name, "VELA_WORKERS": workers}
    stranger = mongo_uri.replace("mongodb://", "mongodb://ada:s3cret@")

    ended = vela("serve", **{**variables, variable: value or stranger})

    assert ended.returncode == 2
    assert [line for line in ended.stderr.splitlines() if not line.startswith(("{", said))] == []
    assert said in ended.stderr
    assert "s3cret" not in ended.stderr


def test_the_settings_command_masks_the_password():
    shown = vela("settings", VELA_MONGO_URI="mongodb://ada:s3cret@db/?replicaSet=rs0")

    assert shown.returncode == 0
    assert "s3cret" not in shown.stdout
    assert "mongodb://***@db/?replicaSet=rs0" in shown.stdout


def test_help_names_the_commands():
    shown = vela("--help")

    assert all(command in shown.stdout for command in ("serve", "demo", "settings", "version", "VELA_MONGO_URI"))
