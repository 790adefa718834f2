"""What can stop a benchmark run."""


class BenchmarkError(Exception):
    """The run cannot go on; the text says what was found and what to do about it."""
