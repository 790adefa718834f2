"""How much random input the tests against a running broker try.

HYPOTHESIS_PROFILE=thorough tries forty times as much as the default run.
"""

import os

THOROUGH = os.environ.get("HYPOTHESIS_PROFILE") == "thorough"
EXAMPLES = 1_000 if THOROUGH else 24
"""Random cases per test."""
