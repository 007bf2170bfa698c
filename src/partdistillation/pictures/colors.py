"""The colours of parts: the same number has the same colour in every picture."""

import numpy as np
from jaxtyping import UInt8

_BASE = ("0072B2", "E69F00", "009E73", "D55E00", "56B4E9", "CC79A7", "F0E442", "882255")


def _palette() -> UInt8[np.ndarray, "color 3"]:
    base = np.array([tuple(bytes.fromhex(color)) for color in _BASE], dtype=np.float64)
    light, dark = base + 0.5 * (255 - base), 0.55 * base
    return np.concatenate([base, light, dark]).round().astype(np.uint8)


PALETTE: UInt8[np.ndarray, "color 3"] = _palette()
"""Okabe and Ito's eight colours (wine instead of black), which also colour-blind people can tell apart; then
the same eight lighter, then darker. Label i has `PALETTE[(i - 1) % 24]`."""


def color_of(number: int) -> UInt8[np.ndarray, " 3"]:
    """The colour of the part, object or proposal with this number, from 0."""
    color: UInt8[np.ndarray, " 3"] = PALETTE[number % len(PALETTE)]
    return color


def hex_of(number: int) -> str:
    """The same as `#rrggbb`."""
    return "#" + bytes(color_of(number).tolist()).hex()
