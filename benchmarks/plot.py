"""A picture of lines over axes that are linear or logarithmic, as SVG."""

import math
from collections.abc import Mapping, Sequence
from html import escape
from typing import Literal, Protocol

Line = Sequence[tuple[float, float]]
"""Points (x, y) by x; none of them is below zero."""

Scale = Literal["linear", "logarithmic"]

_WIDTH, _HEIGHT = 860, 480
_LEFT, _RIGHT, _TOP, _BOTTOM = 70, 190, 40, 60
_COLORS = ("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9", "#6a3d9a", "#444444", "#b15928")


class _Axis(Protocol):
    """Maps values to pixels."""

    def at(self, value: float) -> float: ...

    @property
    def ticks(self) -> dict[float, str]:
        """Where the lines of the grid are: their labels by their pixels, in the order of the values."""


class _Logarithmic:
    """The powers of ten around the values lie at `start` and `end`. Zero, where it is among them, takes one's place
    below the smallest.
    """

    def __init__(self, values: Sequence[float], start: float, end: float) -> None:
        positive = [value for value in values if value > 0] or [1.0]
        self._zero = len(positive) < len(values)
        self._low = math.floor(math.log10(min(positive)) + 1e-9) - self._zero
        self._high = max(self._low + 1, math.ceil(math.log10(max(positive)) - 1e-9))
        self._start, self._end = start, end

    def at(self, value: float) -> float:
        power = math.log10(value) if value > 0 else self._low
        return self._start + (power - self._low) / (self._high - self._low) * (self._end - self._start)

    @property
    def ticks(self) -> dict[float, str]:
        values = [0.0 if self._zero and power == self._low else 10.0**power
                  for power in range(self._low, self._high + 1)]  # fmt: skip
        return {self.at(value): _shown(value) for value in values}


class _Linear:
    """Zero lies at `start`, and a round number that no value exceeds at `end`."""

    def __init__(self, values: Sequence[float], start: float, end: float) -> None:
        highest = max(values) or 1.0
        power = 10.0 ** math.floor(math.log10(highest / 4))
        self._step = next(one * power for one in (1, 2, 2.5, 5, 10, 20) if one * power * 5 >= highest)
        self._steps = max(1, math.ceil(highest / self._step - 1e-9))
        self._start, self._end = start, end

    def at(self, value: float) -> float:
        return self._start + value / (self._step * self._steps) * (self._end - self._start)

    @property
    def ticks(self) -> dict[float, str]:
        values = [number * self._step for number in range(self._steps + 1)]
        return {self.at(value): _shown(value) for value in values}


def _axis(scale: Scale, values: Sequence[float], start: float, end: float) -> _Axis:
    return (_Linear if scale == "linear" else _Logarithmic)(values, start, end)


def as_svg(
    title: str,
    x_name: str,
    y_name: str,
    lines: Mapping[str, Line],
    scales: tuple[Scale, Scale] = ("logarithmic", "logarithmic"),
    *,
    dots: bool = True,
) -> str:
    """The picture: one line for each name, with a legend. There is at least one point.

    `scales` are those of x and y; `dots`: whether the points are marked.
    """
    points = [point for line in lines.values() for point in line]
    across = _axis(scales[0], [x for x, _ in points], _LEFT, _WIDTH - _RIGHT)
    up = _axis(scales[1], [y for _, y in points], _HEIGHT - _BOTTOM, _TOP)
    middle = (_LEFT + _WIDTH - _RIGHT) / 2
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {_WIDTH} {_HEIGHT}" font-family="sans-serif">',
        "<style>text { font-size: 13px }</style>",
        f'<rect width="{_WIDTH}" height="{_HEIGHT}" fill="#ffffff"/>',
        f'<text x="{_LEFT}" y="22" font-weight="bold">{escape(title)}</text>',
        *(_grid_line(x, label) for x, label in across.ticks.items()),
        *(_level(y, label) for y, label in up.ticks.items()),
        f'<text x="{middle:.0f}" y="{_HEIGHT - 14}" text-anchor="middle">{escape(x_name)}</text>',
        f'<text transform="translate(18 {_HEIGHT / 2:.0f}) rotate(-90)" text-anchor="middle">{escape(y_name)}</text>',
    ]
    for number, (name, line) in enumerate(lines.items()):
        color = _COLORS[number % len(_COLORS)]
        placed = [(across.at(x), up.at(y)) for x, y in line]
        path = " ".join(f"{x:.1f},{y:.1f}" for x, y in placed)
        parts.append(f'<polyline points="{path}" fill="none" stroke="{color}" stroke-width="2"/>')
        if dots:
            parts += [f'<circle cx="{x:.1f}" cy="{y:.1f}" r="3.5" fill="{color}"/>' for x, y in placed]
        legend = _TOP + 20 * number + 8
        parts.append(f'<rect x="{_WIDTH - _RIGHT + 20}" y="{legend - 9}" width="14" height="10" fill="{color}"/>')
        parts.append(f'<text x="{_WIDTH - _RIGHT + 42}" y="{legend}">{escape(name)}</text>')
    return "\n".join([*parts, "</svg>\n"])


def _grid_line(x: float, label: str) -> str:
    top, bottom = _TOP, _HEIGHT - _BOTTOM
    line = f'<line x1="{x:.1f}" y1="{top}" x2="{x:.1f}" y2="{bottom}" stroke="#dddddd"/>'
    return f'{line}<text x="{x:.1f}" y="{bottom + 20}" text-anchor="middle">{label}</text>'


def _level(y: float, label: str) -> str:
    line = f'<line x1="{_LEFT}" y1="{y:.1f}" x2="{_WIDTH - _RIGHT}" y2="{y:.1f}" stroke="#dddddd"/>'
    return f'{line}<text x="{_LEFT - 8}" y="{y + 4:.1f}" text-anchor="end">{label}</text>'


def _shown(value: float) -> str:
    return f"{value:,.0f}" if value >= 10 else f"{value:g}"
