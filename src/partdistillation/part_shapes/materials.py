"""The materials of PartShapes: a texture and shading family each, without a colour of its own."""

from enum import IntEnum


class Material(IntEnum):
    """What a part is made of. A part's material belongs to its class and variety; its colours don't."""

    PAINT = 0
    METAL = 1
    GLASS = 2
    SPOKES = 3
    DISC = 4
    FUR = 5
    SPOTTED_FUR = 6
    STRIPED_FUR = 7
    HAIR = 8
    FEATHERS = 9
    BARBS = 10
    LEAVES = 11
    NEEDLES = 12
    BARK = 13
    BIRCH = 14
    WOOD = 15
    PLANKS = 16
    KNIT = 17
    PLAID = 18
    HOOPS = 19
    TWILL = 20
    SKIN = 21
    LEATHER = 22
    WICKER = 23
    ROPE = 24
    BRICK = 25
    STONE = 26
    CORRUGATED = 27
    PEEL = 28
    EYE = 29
    GRASS = 30
    WATER = 31
    CLOUDS = 32
    SAND = 33
    TILES = 34
    STRIPES = 35


def named(names: str) -> tuple[Material, ...]:
    """Materials by their names in lower case, between spaces."""
    return tuple(Material[name.upper()] for name in names.split())
