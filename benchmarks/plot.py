"""A picture of lines over logarithmic axes, as SVG."""

import math
from collections.abc import Mapping, Sequence
from html import escape

Line = Sequence[tuple[float, float]]
"""Points (x, y), both above zero, by x."""

_WIDTH, _HEIGHT = 860, 480
_LEFT, _RIGHT, _TOP, _BOTTOM = 70, 190, 40, 60
_COLORS = ("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9", "#6a3d9a", "#444444", "#b15928")


class _Axis:
    """Maps values to pixels, so that the powers of ten around them lie at `start` and `end`."""

    def __init__(self, values: Sequence[float], start: float, end: float) -> None:
        self._low = math.floor(math.log10(min(values)) + 1e-9)
        self._high = max(self._low + 1, math.ceil(math.log10(max(values)) - 1e-9))
        self._start, self._end = start, end

    def at(self, value: float) -> float:
        share = (math.log10(value) - self._low) / (self._high - self._low)
        return self._start + share * (self._end - self._start)

    @property
    def ticks(self) -> list[float]:
        return [10.0**power for power in range(self._low, self._high + 1)]


def as_svg(title: str, x_name: str, y_name: str, lines: Mapping[str, Line]) -> str:
    """The picture: one line for each name, with a legend. There is at least one point."""
    points = [point for line in lines.values() for point in line]
    across = _Axis([x for x, _ in points], _LEFT, _WIDTH - _RIGHT)
    up = _Axis([y for _, y in points], _HEIGHT - _BOTTOM, _TOP)
    middle = (_LEFT + _WIDTH - _RIGHT) / 2
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {_WIDTH} {_HEIGHT}" font-family="sans-serif">',
        "<style>text { font-size: 13px }</style>",
        f'<rect width="{_WIDTH}" height="{_HEIGHT}" fill="#ffffff"/>',
        f'<text x="{_LEFT}" y="22" font-weight="bold">{escape(title)}</text>',
        *(_grid_line(across.at(tick), up, _shown(tick)) for tick in across.ticks),
        *(_level(up.at(tick), _shown(tick)) for tick in up.ticks),
        f'<text x="{middle:.0f}" y="{_HEIGHT - 14}" text-anchor="middle">{escape(x_name)}</text>',
        f'<text transform="translate(18 {_HEIGHT / 2:.0f}) rotate(-90)" text-anchor="middle">{escape(y_name)}</text>',
    ]
    for number, (name, line) in enumerate(lines.items()):
        color = _COLORS[number % len(_COLORS)]
        placed = [(across.at(x), up.at(y)) for x, y in line]
        path = " ".join(f"{x:.1f},{y:.1f}" for x, y in placed)
        parts.append(f'<polyline points="{path}" fill="none" stroke="{color}" stroke-width="2"/>')
        parts += [f'<circle cx="{x:.1f}" cy="{y:.1f}" r="3.5" fill="{color}"/>' for x, y in placed]
        legend = _TOP + 20 * number + 8
        parts.append(f'<rect x="{_WIDTH - _RIGHT + 20}" y="{legend - 9}" width="14" height="10" fill="{color}"/>')
        parts.append(f'<text x="{_WIDTH - _RIGHT + 42}" y="{legend}">{escape(name)}</text>')
    return "\n".join([*parts, "</svg>\n"])


def _grid_line(x: float, up: _Axis, label: str) -> str:
    top, bottom = up.at(up.ticks[-1]), up.at(up.ticks[0])
    line = f'<line x1="{x:.1f}" y1="{top:.1f}" x2="{x:.1f}" y2="{bottom:.1f}" stroke="#dddddd"/>'
    return f'{line}<text x="{x:.1f}" y="{bottom + 20:.1f}" text-anchor="middle">{label}</text>'


def _level(y: float, label: str) -> str:
    line = f'<line x1="{_LEFT}" y1="{y:.1f}" x2="{_WIDTH - _RIGHT}" y2="{y:.1f}" stroke="#dddddd"/>'
    return f'{line}<text x="{_LEFT - 8}" y="{y + 4:.1f}" text-anchor="end">{label}</text>'


def _shown(value: float) -> str:
    return f"{value:,.0f}" if value >= 1 else f"{value:g}"
