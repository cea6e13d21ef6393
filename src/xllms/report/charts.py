"""Line charts and dot strips as inline SVG, in the page's own colours: dark mode needs no second chart."""

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from markupsafe import Markup

from xllms.report.curves import Curve

WIDTH, HEIGHT = 460, 260
_LEFT, _RIGHT, _TOP, _BOTTOM = 52, 14, 14, 44
_COLOURS = 6
# Validation is logged a few times only: a line of so few points shows them as dots too.
_DOTTED_BELOW = 25


@dataclass(frozen=True)
class Axis:
    """A linear scale from data to pixels, with ticks at round numbers."""

    low: float
    high: float
    ticks: tuple[float, ...]
    start: float
    end: float

    def place(self, value: float) -> float:
        """Pixel of a value."""
        return self.start + (value - self.low) / (self.high - self.low) * (self.end - self.start)

    def label(self, tick: float) -> str:
        """A tick's text, with the decimals that the step between ticks needs."""
        step = self.ticks[1] - self.ticks[0] if len(self.ticks) > 1 else 1.0
        decimals = max(0, -math.floor(math.log10(step) + 1e-9))
        return f"{tick:,.{decimals}f}".replace("-", "−")


def axis(values: Sequence[float], start: float, end: float, *, steps: bool = False) -> Axis:
    """A scale that ends on ticks; one of `steps` ends with the data and has whole ticks."""
    low, high = min(values), max(values)
    if low == high:
        low, high = low - 0.5, high + 0.5
    step = _round_step((high - low) / 4)
    if steps:
        step = max(1.0, step)
        inside = range(math.ceil(low / step), math.floor(high / step) + 1)
        return Axis(low, high, tuple(i * step for i in inside), start, end)
    first, last = math.floor(low / step + 1e-9), math.ceil(high / step - 1e-9)
    return Axis(first * step, last * step, tuple(i * step for i in range(first, last + 1)), start, end)


def _round_step(raw: float) -> float:
    power = 10.0 ** math.floor(math.log10(raw))
    return next(factor * power for factor in (1, 2, 5, 10) if factor * power >= raw * 0.999)


def line_chart(title: str, x_label: str, y_label: str, curves: Sequence[Curve]) -> Markup:
    """Lines over a shared x axis; points that are not finite must have been dropped before."""
    points = [point for curve in curves for point in curve.points]
    x = axis([p[0] for p in points], _LEFT, WIDTH - _RIGHT, steps=True)
    y = axis([p[1] for p in points], HEIGHT - _BOTTOM, _TOP)
    parts = [_grid(x, y, x_label, y_label)]
    parts += [_line(curve, number, x, y) for number, curve in enumerate(curves)]
    ends = [f"{c.label}: {c.points[0][1]:.4g} at first, {c.points[-1][1]:.4g} at last" for c in curves]
    return _figure(title, _svg(HEIGHT, f"{title}. {'; '.join(ends)}", parts), [c.label for c in curves])


def _line(curve: Curve, number: int, x: Axis, y: Axis) -> Markup:
    places = [(x.place(a), y.place(b)) for a, b in curve.points]
    path = " ".join(f"{a:.1f},{b:.1f}" for a, b in places)
    line = Markup('<polyline class="line c{}" points="{}"/>').format(number % _COLOURS, path)
    if len(places) >= _DOTTED_BELOW:
        return line
    dot = Markup('<circle class="dot c{}" cx="{:.1f}" cy="{:.1f}" r="3"><title>{} at {:g}: {:.4g}</title></circle>')
    return line + _join(
        dot.format(number % _COLOURS, *place, curve.label, *point)
        for place, point in zip(places, curve.points, strict=True)
    )


def dot_strip(title: str, x_label: str, groups: Mapping[str, Sequence[tuple[str, float]]]) -> Markup:
    """One row of dots per group; each dot is (name, value) and names itself when pointed at."""
    values = [value for dots in groups.values() for _, value in dots]
    height = _TOP + 34 * len(groups) + _BOTTOM
    x = axis(values, 110, WIDTH - _RIGHT)
    parts = [_x_axis(x, x_label, height)]
    name = Markup('<text x="100" y="{}" text-anchor="end">{} ({})</text>')
    for row, (group, dots) in enumerate(groups.items()):
        middle = _TOP + 34 * row + 17
        parts.append(name.format(middle + 4, group, len(dots)))
        # Dots of near-equal values step aside by turns, or forty languages would look like ten.
        parts += [
            _strip_dot(x.place(dot[1]), middle + (index % 5 - 2) * 4.5, dot)
            for index, dot in enumerate(sorted(dots, key=lambda dot: dot[1]))
        ]
    return _figure(title, _svg(height, title, parts), [])


def _strip_dot(x: float, y: float, dot: tuple[str, float]) -> Markup:
    circle = Markup('<circle class="strip" cx="{:.1f}" cy="{:.1f}" r="3.5"><title>{}: {:.3f}</title></circle>')
    return circle.format(x, y, *dot)


def _grid(x: Axis, y: Axis, x_label: str, y_label: str) -> Markup:
    row = Markup(
        '<line class="grid" x1="{0}" x2="{1}" y1="{2:.1f}" y2="{2:.1f}"/>'
        '<text x="{3}" y="{4:.1f}" text-anchor="end">{5}</text>'
    )
    rows = _join(
        row.format(_LEFT, WIDTH - _RIGHT, y.place(tick), _LEFT - 7, y.place(tick) + 4, y.label(tick))
        for tick in y.ticks
    )
    middle = (y.start + y.end) / 2
    name = Markup('<text transform="translate(12 {}) rotate(-90)" text-anchor="middle">{}</text>')
    return rows + _x_axis(x, x_label, HEIGHT) + name.format(middle, y_label)


def _x_axis(x: Axis, label: str, height: int) -> Markup:
    bottom = height - _BOTTOM
    ticks = _join(
        Markup(
            '<line class="grid" x1="{0:.1f}" x2="{0:.1f}" y1="{1}" y2="{2}"/>'
            '<text x="{0:.1f}" y="{3}" text-anchor="middle">{4}</text>'
        ).format(x.place(tick), bottom, bottom + 5, bottom + 18, x.label(tick))
        for tick in x.ticks
    )
    name = Markup('<text x="{}" y="{}" text-anchor="middle">{}</text>')
    return ticks + name.format((x.start + x.end) / 2, bottom + 36, label)


def _svg(height: int, label: str, parts: Sequence[Markup]) -> Markup:
    opening = Markup('<svg viewBox="0 0 {} {}" role="img" aria-label="{}">').format(WIDTH, height, label)
    return opening + _join(parts) + Markup("</svg>")


def _figure(title: str, svg: Markup, legend: Sequence[str]) -> Markup:
    key = Markup('<span class="key c{}">{}</span>')
    keys = _join(key.format(number % _COLOURS, name) for number, name in enumerate(legend))
    caption = Markup("<figcaption><strong>{}</strong> {}</figcaption>").format(title, keys)
    return Markup('<figure class="chart">') + caption + svg + Markup("</figure>")


def _join(parts: Iterable[Markup]) -> Markup:
    return Markup("").join(parts)
