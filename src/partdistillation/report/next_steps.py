"""What to do with a run: commands that can be copied, from within its folder."""

from partdistillation.report.data import Step

_GO_ON = Step(
    "Let it finish",
    "partdistill run --out .",
    "It goes on where it stopped; meanwhile the report shows what is there.",
)
_OWN = Step(
    "Find the parts in photographs of your own",
    "partdistill predict part_model --images new-photos --out new",
    "new-photos is a folder of photographs. It leaves pictures, COCO JSON and Parquet in new.",
)
_REVIEW = Step(
    "Say which parts are real, and name them",
    "partdistill review .\npartdistill part-table .",
    "The first opens in the browser; the second writes down what was decided.",
)
_NAMED = Step(
    "Use the names",
    "partdistill predict part_model --images new-photos --out named \\\n"
    "    --parts-table review/part_table.json",
    "Parts have their names, those that were merged are one, those that were rejected are gone.",
)
_EXPORT = Step(
    "Take the parts to other tools",
    "partdistill export . --to coco --out coco",
    "Or yolo, label-studio, cvat, fiftyone, datasets, masks.",
)


def steps(has_parts: bool, has_model: bool) -> tuple[Step, ...]:
    """What can be done now: with a part model, with parts alone, or with a run that has neither yet."""
    if has_model:
        return _OWN, _REVIEW, _NAMED, _EXPORT
    return (_GO_ON, _REVIEW, _EXPORT) if has_parts else (_GO_ON,)
