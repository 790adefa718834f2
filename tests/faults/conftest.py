"""Fixtures of the fault tests: what they note for the end of the run (`figures.py`), and the seed."""

from typing import Any

import pytest

from tests.faults.figures import FIGURES, SEED
from tests.faults.harness import Note


@pytest.fixture(scope="session")
def fault_seed(request: pytest.FixtureRequest) -> int:
    """What all random moments of this run derive from; VELA_FAULT_SEED repeats a run."""
    seed = request.config.stash[SEED]
    request.config.stash[FIGURES].insert(0, ("random moments", {"VELA_FAULT_SEED": seed}))
    return seed


@pytest.fixture
def note(request: pytest.FixtureRequest) -> Note:
    def add(scenario: str, **values: Any) -> None:
        request.config.stash[FIGURES].append((scenario, values))

    return add
