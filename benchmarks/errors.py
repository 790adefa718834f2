"""What ends a run, and the exit codes that all benchmarks share."""

import sys
from collections.abc import Callable

FAILED, CANNOT_RUN, INTERRUPTED = 1, 2, 130


class BenchmarkError(Exception):
    """The run cannot go on; the text says what was found and what is needed."""


def exit_code(run: Callable[[], bool]) -> int:
    """Run a benchmark that tells whether all went right; the exit code of its process."""
    try:
        return 0 if run() else FAILED
    except BenchmarkError as error:
        print(f"benchmarks: {error}", file=sys.stderr)
        return CANNOT_RUN
    except KeyboardInterrupt:
        return INTERRUPTED
