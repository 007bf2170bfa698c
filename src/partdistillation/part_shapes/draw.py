"""The generator's random numbers: a short stream that is a function of (seed, index)."""

import math
from collections.abc import Sequence
from typing import TypeVar

import numpy as np

T = TypeVar("T")
BLOCK = 512


class Draw:
    """Random numbers from Philox keyed by (seed, index): any scene can be drawn without its predecessors."""

    def __init__(self, seed: int, index: int) -> None:
        self._generator = np.random.Generator(np.random.Philox(key=np.array([seed, index], np.uint64)))
        self._numbers: list[float] = []

    def unit(self) -> float:
        """Uniform in [0, 1). Only doubles are drawn, in blocks: fast, and the same in every numpy version."""
        if not self._numbers:
            self._numbers = self._generator.random(BLOCK).tolist()
        return self._numbers.pop()

    def uniform(self, low: float, high: float) -> float:
        return low + (high - low) * self.unit()

    def angle(self, degrees: float) -> float:
        """An angle within plus or minus `degrees`, in radians."""
        return math.radians(self.uniform(-degrees, degrees))

    def chance(self, probability: float) -> bool:
        return self.unit() < probability

    def integer(self, count: int) -> int:
        """Uniform in 0..count-1."""
        return int(self.unit() * count)

    def choice(self, options: Sequence[T]) -> T:
        return options[self.integer(len(options))]

    def near(self, value: float, jitter: float = 0.12) -> float:
        """`value`, give or take a share of it."""
        return value * self.uniform(1.0 - jitter, 1.0 + jitter)
