"""What workers are started with, at first and after a change of the file of variables."""

from pathlib import Path

import pytest

from broker.configuration import Configuration
from broker.env_file import read_env_file
from broker.machine import MEMORY_PER_WORKER, cores, default_workers, memory_bytes
from broker.setting import SettingsError
from broker.settings import Settings


@pytest.fixture
def file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("VELA_LOG_LEVEL", "error")
    monkeypatch.setenv("VELA_MONGO_URI", "mongodb://one/")
    file = tmp_path / "vela.env"
    file.write_text("VELA_LOG_LEVEL=info\nVELA_PORT=2000\n")
    return file


def test_a_file_is_lines_of_names_and_values(tmp_path: Path) -> None:
    file = tmp_path / "vela.env"
    file.write_text("# settings\n\nVELA_PORT=2000\nexport VELA_HOST = '::1'\nVELA_DATABASE=\"a=b\"\nEMPTY=\n")

    assert read_env_file(file) == {"VELA_PORT": "2000", "VELA_HOST": "::1", "VELA_DATABASE": "a=b", "EMPTY": ""}


@pytest.mark.parametrize("content", [b"VELA_PORT=1\nVELA PORT\n", b"\xff\xfe"])
def test_a_file_of_no_use_is_refused(tmp_path: Path, content: bytes) -> None:
    file = tmp_path / "vela.env"
    file.write_bytes(content)

    with pytest.raises(SettingsError, match=r"Line 2 of .* expected NAME=value|cannot be read"):
        read_env_file(file)
    with pytest.raises(SettingsError, match="cannot be read"):
        read_env_file(tmp_path / "absent")


def test_a_flag_beats_the_file_and_the_file_beats_the_environment(file: Path) -> None:
    settings = Settings.load(flags={"env_file": str(file), "port": "3000"})

    assert (settings.port, settings.log_level, settings.mongo_uri) == (3000, "info", "mongodb://one/")


def test_a_worker_is_given_what_was_given_and_none_of_the_defaults(file: Path) -> None:
    launch = Configuration({"env_file": str(file), "port": "3000", "host": None}).read()

    assert launch.flags == ("--port=3000",)
    assert launch.environment["VELA_LOG_LEVEL"] == "info"
    assert "VELA_WORKERS" not in launch.environment
    assert Settings.load(launch.environment, {"port": "3000"}).log_level == "info"


def test_the_file_is_read_again(file: Path) -> None:
    configuration = Configuration({"env_file": str(file)})
    configuration.read()
    file.write_text("VELA_LOG_LEVEL=debug\nVELA_PORT=4000\n")

    launch, too_late = configuration.read_again()

    assert launch.settings.log_level == "debug"
    assert launch.environment["VELA_LOG_LEVEL"] == "debug"
    assert too_late == ["port"]


def test_workers_stay_with_the_private_database(file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("VELA_MONGO_URI")
    configuration = Configuration({"env_file": str(file), "mongo_uri": ""})
    configuration.read()
    configuration.use("mongodb://private/")

    launch, _ = configuration.read_again()

    assert Settings.load(launch.environment).mongo_uri == "mongodb://private/"
    assert launch.flags == ()
    monkeypatch.setenv("VELA_MONGO_URI", "mongodb://two/")
    elsewhere = Configuration({"env_file": str(file)})
    elsewhere.read()
    elsewhere.use("mongodb://private/")
    with pytest.raises(SettingsError, match="private MongoDB, which takes a restart"):
        elsewhere.read_again()


def test_a_container_has_the_cores_and_the_memory_that_it_was_given(tmp_path: Path) -> None:
    (tmp_path / "cpu.max").write_text("100000 100000\n")
    (tmp_path / "memory.max").write_text("1000000\n")

    assert cores(tmp_path) == 1
    assert memory_bytes(tmp_path) == 1_000_000


def test_half_a_core_is_one_and_no_limit_is_none(tmp_path: Path) -> None:
    (tmp_path / "cpu.max").write_text("50000 100000\n")
    assert cores(tmp_path) == 1

    (tmp_path / "cpu.max").write_text("max 100000\n")
    (tmp_path / "memory.max").write_text("max\n")
    assert cores(tmp_path) == cores(tmp_path / "absent")
    assert memory_bytes(tmp_path) == memory_bytes(tmp_path / "absent")


def test_little_memory_means_few_workers(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("broker.machine.cores", lambda: 64)
    for memory, workers in ((MEMORY_PER_WORKER // 2, 1), (3 * MEMORY_PER_WORKER, 3), (10**13, 64)):
        monkeypatch.setattr("broker.machine.memory_bytes", lambda memory=memory: memory)
        assert default_workers() == workers
