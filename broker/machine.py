"""What the machine, or the container, lets a broker have."""

import os
from pathlib import Path

from broker.setting import MIB

MOST_WORKERS = 256
MEMORY_PER_WORKER = 512 * MIB

_LEAST_CACHE = 256 * MIB
"""The least that MongoDB takes for a cache."""

_CGROUP = Path("/sys/fs/cgroup")


def default_workers() -> int:
    """Workers for this machine: one a core, as far as there is memory for them."""
    return max(1, min(cores(), memory_bytes() // MEMORY_PER_WORKER, MOST_WORKERS))


def default_cache_bytes() -> int:
    """Memory for the cache of a MongoDB that shares this machine with the broker."""
    return max(_LEAST_CACHE, memory_bytes() // 4)


def cores(cgroup: Path = _CGROUP) -> int:
    """The cores that this process may use: those that it may run on, less where a container has a share of them."""
    try:
        allowed = len(os.sched_getaffinity(0))
    except AttributeError:  # not Linux
        allowed = os.cpu_count() or 1
    quota, period = _numbers(cgroup / "cpu.max")[:2] or [0, 0]
    if not period:
        quota = next(iter(_numbers(cgroup / "cpu" / "cpu.cfs_quota_us")), 0)
        period = next(iter(_numbers(cgroup / "cpu" / "cpu.cfs_period_us")), 0)
    return max(1, min(allowed, quota // period)) if quota > 0 and period > 0 else allowed


def memory_bytes(cgroup: Path = _CGROUP) -> int:
    """The memory that this process may use."""
    limits = [os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")]
    for file in (cgroup / "memory.max", cgroup / "memory" / "memory.limit_in_bytes"):
        limits += _numbers(file)[:1]
    return min(limits)


def _numbers(file: Path) -> list[int]:
    """The numbers in a file of the kernel; none where it does not exist or says "max"."""
    try:
        return [int(word) for word in file.read_text(encoding="ascii").split()]
    except (OSError, ValueError):
        return []
