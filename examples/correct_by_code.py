"""Correct discovered parts by code, in the form that Label Studio exports what people correct there.

    python examples/correct_by_code.py tasks.json parts.json corrected.json

`tasks.json` is what `partdistill export RUN --to label-studio` wrote. In its first ten tasks the parts are
replaced by those of `parts.json` (COCO), which here stands for somebody who draws and names them; the objects
stay. `partdistill import corrected.json --images PHOTOGRAPHS --out own` reads the result.
"""

import json
import sys
from pathlib import Path
from typing import Any
from urllib.parse import unquote

import numpy as np

from partdistillation.data.coco import CocoImage, read_parts
from partdistillation.data.coco_parts import parts_of, tie_parts
from partdistillation.export.categories import full_name
from partdistillation.export.label_studio import LOCAL, brush, brush_mask


def corrected(result: list[Any], image: CocoImage, truth: Any) -> list[Any]:
    """A task's regions with the true parts, each below the object that it belongs to."""
    objects = [region for region in result if "parentID" not in region]
    names = [region["value"]["brushlabels"][0] for region in objects]
    rles = [np.array(region["value"]["rle"], np.uint8) for region in objects]
    masks = np.stack([brush_mask(rle, image.height, image.width) for rle in rles])
    parts = parts_of(truth, image)
    regions = []
    for number, (part, place) in enumerate(zip(parts, tie_parts(parts, names, masks), strict=True)):
        if place >= 0:
            label = full_name(part.category, part.name)
            value = {"format": "rle", "rle": brush(part.mask).tolist(), "brushlabels": [label]}
            own = {"id": f"true-{number}", "parentID": objects[place]["id"], "value": value}
            regions.append(objects[place] | own)
    return objects + regions


def main(tasks: Path, parts: Path, out: Path, *, count: int = 10) -> None:
    """Write the first tasks as annotated."""
    truth = read_parts(parts)
    images = {image.file_name: image for image in truth.images}
    annotated = []
    for task in json.loads(tasks.read_text(encoding="utf-8"))[:count]:
        image = images[unquote(task["data"]["image"].removeprefix(LOCAL))]
        result = corrected(task["predictions"][0]["result"], image, truth)
        annotated.append({"data": task["data"], "annotations": [{"result": result}]})
    out.write_text(json.dumps(annotated), encoding="utf-8")
    print(f"{len(annotated)} tasks with corrected parts in {out}")


if __name__ == "__main__":
    main(*map(Path, sys.argv[1:]))
