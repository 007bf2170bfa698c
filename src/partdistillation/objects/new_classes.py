"""Objects of classes that a part model doesn't have yet: what it can be grown by."""

from collections.abc import Sequence
from dataclasses import dataclass, replace

from partdistillation.data.images import ImageInput
from partdistillation.objects import ObjectSource
from partdistillation.runs.records import ObjectRow


@dataclass(frozen=True)
class NewClasses:
    """The ObjectSource that leaves out the objects of another one whose classes are known."""

    source: ObjectSource
    known: frozenset[str]

    def __call__(self, images: Sequence[ImageInput]) -> list[ObjectRow]:
        return [without(row, self.known) for row in self.source(images)]


def without(row: ObjectRow, known: frozenset[str]) -> ObjectRow:
    """The row without objects of known classes, numbered anew; rejected where there are no others."""
    kept = [instance for instance in row.objects if instance.category not in known]
    if len(kept) == len(row.objects):
        return row
    classes = ", ".join(sorted({instance.category for instance in row.objects} & known))
    reasons = [row.reason, f"left out: objects of classes that the model has ({classes})"]
    return replace(
        row,
        status="ok" if kept else "rejected",
        reason="; ".join(filter(None, reasons)),
        objects=tuple(replace(instance, object_id=number) for number, instance in enumerate(kept)),
    )
