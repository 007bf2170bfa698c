"""Runs with features of the parts, as stage 4 leaves them."""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from partdistillation.functional.masks import encode
from partdistillation.runs.records import ObjectParts, ObjectProposals, Part, PartRow, Proposal, ProposalRow

WriteStage = Callable[[Path, Sequence[Any]], Path]
Features = NDArray[np.float16]
HEIGHT, WIDTH = 30, 40


def mask_of(place: int) -> bytes:
    """A row of pixels for each part of an object."""
    mask = np.zeros((HEIGHT, WIDTH), dtype=bool)
    mask[place, 2:5] = True
    return encode(mask)


def rows_of(
    image_id: str, objects: Sequence[tuple[str, Sequence[int], Features]]
) -> tuple[ProposalRow, PartRow]:
    """A photograph with objects: each a class, its parts' classes, and their features."""
    proposed, labelled = [], []
    for number, (category, parts, features) in enumerate(objects):
        masks = [mask_of(place) for place in range(len(features))]
        proposals = (Proposal(7, 0.5, 0.1, 3, mask, row) for mask, row in zip(masks, features, strict=True))
        proposed.append(ObjectProposals(number, category, tuple(proposals)))
        pairs = zip(parts, masks, strict=False)
        labelled.append(
            ObjectParts(number, category, tuple(Part(part, 0.9, 0.5, 3, mask) for part, mask in pairs))
        )
    row = ProposalRow(image_id, f"{image_id}.png", WIDTH, HEIGHT, "ok", "", tuple(proposed))
    return row, row.to(PartRow, labelled)


def write_run(write_stage: WriteStage, out: Path, photographs: Sequence[tuple[ProposalRow, PartRow]]) -> Path:
    """The folder of a run with these photographs."""
    write_stage(out / "features", [row for row, _ in photographs])
    write_stage(out / "parts", [row for _, row in photographs])
    return out


def random_run(write_stage: WriteStage, out: Path, *, seed: int = 0, images: int = 20, dim: int = 8) -> Path:
    """Photographs with up to three objects of three classes, with up to four parts."""
    random = np.random.default_rng(seed)
    photographs = []
    for image in range(images):
        objects = []
        for _ in range(random.integers(0, 4)):
            parts = random.integers(0, 3, size=random.integers(0, 5)).tolist()
            features = random.normal(size=(len(parts), dim)).astype(np.float16)
            objects.append((str(random.choice(["car", "é ß", "車"])), parts, features))
        photographs.append(rows_of(f"image/{image}", objects))
    return write_run(write_stage, out, photographs)
