"""The scale of the heat map, as people see it who cannot tell some colours apart."""

import itertools
import re
from pathlib import Path

import pytest

import xllms.report
from xllms.report.heatmap import STEPS

CSS = (Path(xllms.report.__file__).parent / "templates" / "report.css").read_text(encoding="utf-8")
LIGHT, _, DARK = CSS.partition("@media (prefers-color-scheme: dark)")
Colour = tuple[float, float, float]

# Machado, Oliveira and Fernandes 2009, at full severity; on linear RGB.
VISIONS: dict[str, tuple[Colour, Colour, Colour]] = {
    "usual": ((1, 0, 0), (0, 1, 0), (0, 0, 1)),
    "protanopia": ((0.152286, 1.052583, -0.204868), (0.114503, 0.786281, 0.099216), (-0.003882, -0.048116, 1.051998)),
    "deuteranopia": ((0.367322, 0.860646, -0.227968), (0.280085, 0.672501, 0.047413), (-0.011820, 0.042940, 0.968881)),
    "tritanopia": ((1.255528, -0.076749, -0.178779), (-0.078411, 0.930809, 0.147602), (0.004733, 0.691367, 0.303900)),
}  # fmt: skip


def colour(sheet: str, name: str) -> Colour:
    """Linear RGB of a variable of the style sheet."""
    found = re.search(rf"--{name}: #([0-9a-f]{{3,6}});", sheet)
    assert found is not None, name
    digits = found[1] if len(found[1]) == 6 else "".join(2 * digit for digit in found[1])
    red, green, blue = (int(digits[i : i + 2], 16) / 255 for i in (0, 2, 4))
    return linear(red), linear(green), linear(blue)


def linear(value: float) -> float:
    return value / 12.92 if value <= 0.04045 else ((value + 0.055) / 1.055) ** 2.4


def luminance(rgb: Colour) -> float:
    return 0.2126 * rgb[0] + 0.7152 * rgb[1] + 0.0722 * rgb[2]


def lightness(rgb: Colour) -> float:
    """CIE L*, 0 to 100."""
    y = luminance(rgb)
    return 116 * y ** (1 / 3) - 16 if y > 0.008856 else 903.3 * y


def seen(rgb: Colour, vision: str) -> Colour:
    red, green, blue = (
        min(1.0, max(0.0, sum(weight * part for weight, part in zip(row, rgb, strict=True)))) for row in VISIONS[vision]
    )
    return red, green, blue


@pytest.mark.parametrize("vision", VISIONS)
@pytest.mark.parametrize("ramp", ["g", "b"])
@pytest.mark.parametrize(("sheet", "sign"), [(LIGHT, -1), (DARK, 1)], ids=["light", "dark"])
def test_each_colour_is_further_on_in_lightness_than_the_one_before(
    sheet: str, sign: int, ramp: str, vision: str
) -> None:
    ladder = [lightness(seen(colour(sheet, f"{ramp}{number}"), vision)) for number in range(STEPS)]
    steps = [sign * (b - a) for a, b in itertools.pairwise(ladder)]
    assert min(steps) > 3, "two neighbours look alike"
    assert sum(steps) > 50


@pytest.mark.parametrize("ramp", ["g", "b"])
@pytest.mark.parametrize(("sheet", "high_from"), [(LIGHT, 6), (DARK, 4)], ids=["light", "dark"])
def test_a_cell_s_number_can_be_read_on_its_colour(sheet: str, high_from: int, ramp: str) -> None:
    for number in range(STEPS):
        ink = luminance(colour(sheet, "high-ink" if number >= high_from else "low-ink"))
        ground = luminance(colour(sheet, f"{ramp}{number}"))
        contrast = (max(ink, ground) + 0.05) / (min(ink, ground) + 0.05)
        assert contrast >= 4.5, f"{ramp}{number}: {contrast:.2f}"
