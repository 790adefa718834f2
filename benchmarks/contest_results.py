"""What follows from the figures of a contest, in sentences."""

from benchmarks.results import ContestResult, Told

_FLAT = 1.2
"""A cost that is higher by less than a fifth, however large the largest, counts as flat."""


def lines(result: ContestResult) -> dict[str, list[tuple[int, float]]]:
    """By line of the plot: the sizes, and the cost of an update there, as a multiple of the reference's.

    The cost is the time that an update takes of a broker under full load. Sizes without a conclusion are left out.
    """
    found: dict[str, list[tuple[int, float]]] = {}
    for measured in result.comparison.all:
        ratio = result.comparison.ratio(measured)
        size = result.sizes.get(measured.name)
        if ratio is not None and size is not None:
            found.setdefault(size.line, []).append((size.number, 1 / ratio))
    return {line: sorted(points) for line, points in found.items()}


def verdicts(result: ContestResult) -> list[str]:
    """How each contestant fares against the first one; by line, where the contest is about sizes."""
    if result.sizes:
        return [_growth(result.unit, line, points) for line, points in lines(result).items() if len(points) > 1]
    comparison = result.comparison
    return [
        f"{target.name}: {ratio:.2f} times the rate of {comparison.reference.name}."
        for target in comparison.targets
        if (ratio := comparison.ratio(target)) is not None
    ]


def _growth(unit: str, line: str, points: list[tuple[int, float]]) -> str:
    (fewest, first), *_, (most, last) = points
    highest = max(cost for _, cost in points) / first
    word = "flat" if highest < _FLAT else "NOT FLAT"
    return (
        f"{line}: {last / first:.2f} times the cost at {most:,} {unit} that it is at {fewest:,}, at most "
        f"{highest:.2f} times in between: {word}."
    )


def told_lines(result: ContestResult) -> list[str]:
    """What became of the notifications, load by load."""
    return [_told(number, told) for number, told in enumerate(result.told, 1)]


def _told(number: int, told: Told) -> str:
    counts = f"{told.owed:,} owed, {told.missing:,} missing, {told.duplicates:,} duplicates"
    if told.rate is None:
        return f"round {number}: {counts}; the last came {told.drained:.1f} s after the load."
    delays = f"p50 {1000 * told.delay_p50:.1f} ms, p99 {1000 * told.delay_p99:.1f} ms"
    return f"at {told.rate:,.0f} updates/s: {counts}; from acknowledgement to receipt {delays}."
