"""What an object class is to the generator."""

from collections.abc import Callable
from dataclasses import dataclass

from partdistillation.part_shapes.draw import Draw
from partdistillation.part_shapes.materials import Material, named
from partdistillation.part_shapes.shapes import Piece


@dataclass(frozen=True, slots=True)
class Variety:
    """A breed or model: a material for each part; `a` and `b`, two proportions in 0..1 (see `build`)."""

    materials: tuple[Material, ...]
    a: float
    b: float

    @classmethod
    def of(cls, materials: str, a: float, b: float) -> "Variety":
        return cls(named(materials), a, b)


@dataclass(frozen=True, slots=True)
class Kind:
    """An object class. `build` puts one object together; `tilt` is the largest rotation in degrees."""

    name: str
    parts: tuple[str, ...]
    varieties: tuple[Variety, ...]
    build: Callable[[Draw, Variety], list[Piece]]
    tilt: float
