"""The formats by name."""

from collections.abc import Sequence
from pathlib import Path
from typing import Literal

from partdistillation.export import coco
from partdistillation.export.labels import Catalog, ImageLabels

Format = Literal["coco"]


def write(images: Sequence[ImageLabels], out: Path, name: Format, catalog: Catalog | None = None) -> None:
    """Write what was found in images into a folder. Raises InputError for a mask that is damaged."""
    match name:
        case "coco":
            coco.write_objects(out / "objects.json", images, catalog)
            coco.write_parts(out / "predictions.json", images, catalog)
