"""Figures of the fault tests: collected while they run, shown in one table at the end of the run, and the seed.

Where pytest-xdist runs the tests in several processes, these hand their figures to the one that shows them. That one
knows no conftest.py but the first: it is tests/conftest.py that takes these hooks over.
"""

import os
import random
from typing import Any

import pytest

FIGURES = pytest.StashKey[list[tuple[str, dict[str, Any]]]]()
SEED = pytest.StashKey[int]()


def pytest_configure(config: pytest.Config) -> None:
    config.stash[FIGURES] = []
    config.stash[SEED] = int(os.environ.get("VELA_FAULT_SEED") or random.SystemRandom().randrange(1_000_000))


def pytest_sessionfinish(session: pytest.Session) -> None:
    output: dict[str, Any] | None = getattr(session.config, "workeroutput", None)
    if output is not None:
        output["faults"] = session.config.stash[FIGURES]


@pytest.hookimpl(optionalhook=True)
def pytest_testnodedown(node: Any, error: object) -> None:
    node.config.stash[FIGURES] += getattr(node, "workeroutput", {}).get("faults", [])


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter, config: pytest.Config) -> None:
    figures = config.stash.get(FIGURES, [])
    if not figures:
        return
    terminalreporter.section("faults")
    for scenario, values in figures:
        terminalreporter.write_line(f"{scenario}: " + ", ".join(f"{name} {value}" for name, value in values.items()))
