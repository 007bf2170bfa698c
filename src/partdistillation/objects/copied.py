"""Objects that another run has found."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from partdistillation.data.images import ImageInput
from partdistillation.errors import InputError
from partdistillation.objects import reject, to_row
from partdistillation.objects.annotations import checked_size, said
from partdistillation.objects.labelling import best
from partdistillation.runs.records import ObjectRow
from partdistillation.runs.stage_reader import StageReader


@dataclass(frozen=True, eq=False)
class CopiedObjects:
    """The ObjectSource that copies another run's rows. Images are found by their file names."""

    reader: StageReader[ObjectRow]
    shards: Mapping[str, str]
    """The shard that an image's row is in, by file name."""
    max_objects: int | None
    min_area: float

    @classmethod
    def of(cls, folder: Path, *, max_objects: int | None, min_area: float) -> "CopiedObjects":
        """Look through the other run's objects, which are read twice: they needn't fit into memory.

        Raises:
            StoreError: they aren't there, aren't finished, or are damaged.
        """
        reader = StageReader(folder, ObjectRow)
        shards = {row.file_name: shard.name for shard in reader.shards for row in reader.read(shard.name)}
        return cls(reader, shards, max_objects, min_area)

    def __call__(self, images: Sequence[ImageInput]) -> list[ObjectRow]:
        wanted = {image.file_name for image in images}
        names = sorted({self.shards[name] for name in wanted if name in self.shards})
        rows = {
            row.file_name: row for name in names for row in self.reader.read(name) if row.file_name in wanted
        }
        return [self._copy(image, rows.get(image.file_name)) for image in images]

    def _copy(self, image: ImageInput, row: ObjectRow | None) -> ObjectRow:
        if row is None:
            return reject(image, "the other run has no image of this file name")
        try:
            height, width = checked_size(image)
        except InputError as error:
            return reject(image, said(error, image.path))
        if row.status == "rejected":
            return reject(image, row.reason, height=height, width=width)
        if (row.height, row.width) != (height, width):
            reason = f"expected an image of {row.width} x {row.height} as in the other run, "
            return reject(image, f"{reason}found {width} x {height}", height=height, width=width)
        kept, left_out = best(
            row.objects, pixels=height * width, max_objects=self.max_objects, min_area=self.min_area
        )
        remarks = [row.reason] if row.reason else []
        return to_row(image, height=height, width=width, objects=kept, remarks=remarks, left_out=left_out)
