"""The machine and the versions that a run was made with, in words."""

import os
import platform
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

_PACKAGES = ("vela", "aiohttp", "uvloop", "orjson", "pymongo")
_KIB_PER_GIB = 1024 * 1024


def describe(mongod_version: str | None) -> dict[str, str]:
    """Processor, memory, system and versions, by name; `mongod_version` is None where the run needed no database."""
    return {
        "processor": f"{_field('/proc/cpuinfo', 'model name') or platform.processor() or platform.machine()}",
        "cores": str(os.cpu_count()),
        "memory": _memory(),
        "system": f"{platform.system()} {platform.release()}",
        "Python": platform.python_version(),
        **({"MongoDB": mongod_version} if mongod_version else {}),
        **{package: found for package in _PACKAGES if (found := _version(package))},
    }


def _memory() -> str:
    kib = _field("/proc/meminfo", "MemTotal")
    return f"{int(kib.split()[0]) / _KIB_PER_GIB:.1f} GiB" if kib else "unknown"


def _field(file: str, name: str) -> str | None:
    try:
        lines = Path(file).read_text().splitlines()
    except OSError:
        return None
    return next((line.partition(":")[2].strip() for line in lines if line.startswith(name)), None)


def _version(package: str) -> str | None:
    try:
        return version(package)
    except PackageNotFoundError:
        return None
