"""FiftyOne: COCO, and the lines that load it."""

from pathlib import Path

from partdistillation.export import coco
from partdistillation.export.labels import Labels
from partdistillation.runs.atomic import replace_file

LABELS, SCRIPT = "labels.json", "load.py"


def write(folder: Path, labels: Labels, images_dir: Path | None) -> str:
    """Write `labels.json` and `load.py`; return a line on them.

    `load.py` names the photographs' folder, None for `images` beside it.

    Raises:
        InputError: a mask is damaged.
    """
    coco.write(folder / LABELS, labels)
    replace_file(folder / SCRIPT, _script(images_dir).encode())
    return f"{len(labels.images)} images; `python {SCRIPT}` there opens them in FiftyOne"


def _script(images_dir: Path | None) -> str:
    """`extra_attrs` keeps what a part is part of."""
    data_path = 'Path(__file__).with_name("images")' if images_dir is None else repr(str(images_dir))
    return f'''from pathlib import Path

import fiftyone as fo

dataset = fo.Dataset.from_dir(
    dataset_type=fo.types.COCODetectionDataset,
    data_path={data_path},
    labels_path=str(Path(__file__).with_name("{LABELS}")),
    label_types="segmentations",
    extra_attrs=True,
)
fo.launch_app(dataset).wait()
'''
