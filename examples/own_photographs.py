"""From a folder of photographs to a part model, and the parts of one photograph.

    python examples/own_photographs.py photos out/mine [objects.json]

`photos` holds a folder for each object class. Without `objects.json` (masks as COCO instances) one object a
photograph is found, the one that stands out: `partdistill weights` fetches the network for it.
"""

import sys
from pathlib import Path

from partdistillation import PartSegmenter, pipeline
from partdistillation.config import Inputs, Recipe
from partdistillation.recipes import SMALL


def main(images: Path, out: Path, objects: Path | None = None, *, recipe: Recipe = SMALL) -> None:
    """Discover and learn the parts, then find them again in the first photograph."""
    pipeline.run(Inputs(images=images, objects=objects, out=out), recipe)
    segmenter = PartSegmenter.from_pretrained(out / "part_model")
    photograph = next(path for path in sorted(images.rglob("*")) if path.is_file())
    result = segmenter(photograph)
    for instance in result.objects:
        print(instance.category, [(part.name, int(part.mask.sum())) for part in instance.parts])
    result.save(out / "parts.png")
    result.save(out / "parts.json")


if __name__ == "__main__":
    main(*map(Path, sys.argv[1:]))
