"""A broker as a child process on this machine, for `vela demo` and the tests."""

import http.client
import os
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

from broker.settings import Settings

START_SECONDS = 30.0
STOP_SECONDS = 40.0  # the drain of the broker, and then the end of its private MongoDB


class LocalBrokerError(Exception):
    """The broker did not start; the text carries the end of what it logged."""


class LocalBroker:
    """`vela serve` with `settings` (whose port must not be 0) in a process of its own, logging to `log_file`."""

    def __init__(self, settings: Settings, log_file: Path) -> None:
        self.settings = settings
        self.log_file = log_file
        self.process: subprocess.Popen[bytes] | None = None

    @property
    def url(self) -> str:
        """Where the broker answers, without a slash at the end."""
        return f"http://127.0.0.1:{self.settings.port}"

    def start(self) -> None:
        """Start the broker and wait until it is ready. Raises LocalBrokerError when it ends or takes over 30 s."""
        self.log_file.parent.mkdir(parents=True, exist_ok=True)
        logged = self.log_file.stat().st_size if self.log_file.exists() else 0
        with self.log_file.open("ab") as log:
            self.process = subprocess.Popen(
                [sys.executable, "-m", "broker", "serve"],
                env={**os.environ, **self.settings.environment()},
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
            )
        deadline = time.monotonic() + START_SECONDS
        while not is_ready("127.0.0.1", self.settings.port):
            if self.process.poll() is not None or time.monotonic() > deadline:
                self.stop()
                with self.log_file.open("rb") as log:
                    log.seek(logged)
                    raise LocalBrokerError(log.read().decode(errors="replace").strip() or "The broker logged nothing.")
            time.sleep(0.02)

    def stop(self) -> int:
        """Stop the broker as SIGTERM does, by force when it takes longer than 40 s. Returns its exit status."""
        if self.process is None:
            return 0
        if self.process.poll() is None:
            self.process.terminate()
        try:
            return self.process.wait(STOP_SECONDS)
        except subprocess.TimeoutExpired:
            self.kill()
            return self.process.wait()

    def kill(self) -> None:
        """End the broker as `kill -9` does, with its workers."""
        if self.process is not None:
            if self.process.poll() is None:
                os.killpg(self.process.pid, signal.SIGKILL)
            self.process.wait()


def is_ready(host: str, port: int) -> bool:
    """Whether a broker answers at `host`:`port` and says that it is ready."""
    connection = http.client.HTTPConnection(host, port, timeout=5)
    try:
        connection.request("GET", "/health/ready")
        return connection.getresponse().status == 200
    except (OSError, http.client.HTTPException):
        return False
    finally:
        connection.close()


def free_port() -> int:
    """A TCP port that nothing listens on at this moment."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])
