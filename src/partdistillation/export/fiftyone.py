"""FiftyOne: COCO, and the lines that load it."""

from dataclasses import dataclass
from pathlib import Path

from partdistillation.export import coco
from partdistillation.export.categories import CategoryIds
from partdistillation.export.labels import ImageLabels
from partdistillation.export.pieces import Entries, Piece
from partdistillation.runs.atomic import replace_file

LABELS, SCRIPT = "labels.json", "load.py"


@dataclass(frozen=True)
class Writer:
    """`labels.json` and `load.py`. The entries of an image are COCO's."""

    ids: CategoryIds
    origin: str
    images_dir: Path | None
    """Where `load.py` is to find the photographs; None for `images` beside it."""

    def piece(self, image: ImageLabels) -> Piece:
        """COCO's entries of an image."""
        return self._coco.piece(image)

    def join(self, folder: Path, entries: Entries) -> str:
        """Write both files; return a line on them."""
        self._coco.join(folder, entries)
        replace_file(folder / SCRIPT, _script(self.images_dir).encode())
        return f"{len(entries)} images; `python {SCRIPT}` there opens them in FiftyOne"

    @property
    def _coco(self) -> coco.Writer:
        return coco.Writer(self.ids, self.origin, LABELS)


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
