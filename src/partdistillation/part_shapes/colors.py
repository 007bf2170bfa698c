"""Colours: drawn in OKLCH, where equal steps look equal; used as linear RGB, where light adds up."""

import math

from partdistillation.part_shapes.draw import Draw

Color = tuple[float, float, float]
Pair = tuple[Color, Color]


def oklch(lightness: float, chroma: float, hue: float) -> Color:
    """Linear sRGB of an OKLCH colour (hue in turns), clipped to the gamut (Ottosson 2020)."""
    a, b = chroma * math.cos(2 * math.pi * hue), chroma * math.sin(2 * math.pi * hue)
    long = (lightness + 0.3963377774 * a + 0.2158037573 * b) ** 3
    medium = (lightness - 0.1055613458 * a - 0.0638541728 * b) ** 3
    short = (lightness - 0.0894841775 * a - 1.2914855480 * b) ** 3
    return (
        min(max(4.0767416621 * long - 3.3077115913 * medium + 0.2309699292 * short, 0.0), 1.0),
        min(max(-1.2684380046 * long + 2.6097574011 * medium - 0.3413193965 * short, 0.0), 1.0),
        min(max(-0.0041960863 * long - 0.7034186147 * medium + 1.7076147010 * short, 0.0), 1.0),
    )


def object_pair(draw: Draw) -> Pair:
    """A light and a dark colour of any hue, well apart in lightness, so that a texture has contrast."""
    hue = draw.unit()
    turn = draw.choice((0.0, 0.0, 0.07, -0.07, 0.14, -0.14, 0.4, 0.5))
    light = oklch(draw.uniform(0.72, 0.96), draw.choice((0.03, 0.08, 0.13, 0.17)), hue)
    dark = oklch(draw.uniform(0.28, 0.5), draw.choice((0.03, 0.08, 0.12, 0.15)), hue + turn)
    return light, dark


def ground_pair(draw: Draw, hue: float) -> Pair:
    """Like `object_pair`, but calmer and about `hue`."""
    middle, spread = draw.uniform(0.42, 0.82), draw.uniform(0.05, 0.16)
    turn, chroma = draw.uniform(-0.06, 0.06), draw.uniform(0.02, 0.11)
    return oklch(min(middle + spread, 0.98), chroma, hue), oklch(
        max(middle - spread, 0.15), chroma, hue + turn
    )
