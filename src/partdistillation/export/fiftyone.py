"""FiftyOne: COCO, and the lines that load it."""

from pathlib import Path

from partdistillation.export import coco
from partdistillation.export.labels import Labels
from partdistillation.runs.atomic import replace_file

LABELS, SCRIPT = "labels.json", "load.py"


def write(folder: Path, labels: Labels, images_dir: Path) -> str:
    """Write `labels.json` and `load.py`, which names the photographs' folder; return a line on them.

    Raises:
        InputError: a mask is damaged.
    """
    coco.write(folder / LABELS, labels)
    replace_file(folder / SCRIPT, _script(images_dir).encode())
    return f"{len(labels.images)} images; `python {SCRIPT}` there opens them in FiftyOne"


def _script(images_dir: Path) -> str:
    """`extra_attrs` keeps what a part is part of."""
    return f'''from pathlib import Path

import fiftyone as fo

dataset = fo.Dataset.from_dir(
    dataset_type=fo.types.COCODetectionDataset,
    data_path={str(images_dir)!r},
    labels_path=str(Path(__file__).with_name("{LABELS}")),
    label_types="segmentations",
    extra_attrs=True,
)
fo.launch_app(dataset).wait()
'''
