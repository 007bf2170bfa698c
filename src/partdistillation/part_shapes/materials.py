"""The materials of PartShapes: a texture and shading family each, without a colour of its own."""

from enum import IntEnum

Material = IntEnum(
    "Material",
    "PAINT METAL GLASS SPOKES DISC FUR SPOTTED_FUR STRIPED_FUR HAIR "
    "FEATHERS BARBS LEAVES NEEDLES BARK BIRCH WOOD PLANKS KNIT "
    "PLAID HOOPS TWILL SKIN LEATHER WICKER ROPE BRICK STONE "
    "CORRUGATED PEEL EYE GRASS WATER CLOUDS SAND TILES STRIPES",
    start=0,
)
"""What a part is made of. A part's material belongs to its class and variety; its colours don't."""


def named(names: str) -> tuple[Material, ...]:
    """Materials by their names in lower case, between spaces."""
    return tuple(Material[name.upper()] for name in names.split())
