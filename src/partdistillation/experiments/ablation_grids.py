"""The paper's ablations as grids over recipes, with its numbers."""

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from typing import Literal, NamedTuple

from partdistillation.config import Recipe
from partdistillation.errors import CheckpointError

Change = Callable[[Recipe], Recipe]
Measure = Literal["segments", "proposals", "clustered", "parts"]


@dataclass(frozen=True)
class Variant:
    """One row: what is changed, and what the paper has for it (in percent)."""

    label: str
    change: Change
    """Raises CheckpointError where what it needs has no name."""
    paper: Mapping[str, float] = field(default_factory=dict)
    classes: int | None = None
    """Train on the objects of so many classes only."""


class Ablation(NamedTuple):
    """A grid of one dimension."""

    title: str
    source: str
    """Where the paper has it."""
    measure: Measure
    columns: tuple[str, ...]
    variants: Callable[[int], Iterable[Variant]]
    """Given how many object classes there are."""


def _set(section: str, **changes: object) -> Change:
    """Other values of a section's settings."""
    return lambda recipe: recipe.updated({section: changes})


def _filters(*, per_pixel: bool, area: bool, score: bool) -> Change:
    def change(recipe: Recipe) -> Recipe:
        ratio = recipe.ranking.min_ratio if area else 0.0
        least = recipe.ranking.min_score if score else 0.0
        ratios = {"min_ratio": ratio, "label_min_ratio": ratio}
        return _set("ranking", per_pixel=per_pixel, min_score=least, label_min_score=least, **ratios)(recipe)

    return change


def _levels(_: int) -> Iterator[Variant]:
    """Supplement, table 1."""
    for levels, recall in (
        ((3,), 10.8), ((4,), 23.4), ((5,), 20.6), ((3, 4), 27.6), ((4, 5), 26.1), ((3, 4, 5), 25.3),
    ):  # fmt: skip
        label = " + ".join(f"res{level}" for level in levels)
        yield Variant(label, _set("segments", levels=levels), {"AR@10": recall})


def _published(name: str) -> Change:
    return lambda recipe: replace(recipe, encoder=f"facebook/mask2former-{name}")


def _converted(command: str) -> Change:
    """An encoder that can't be loaded by name, but can be the recipe's own."""

    def change(_: Recipe) -> Recipe:
        raise CheckpointError(
            f"not published under a name: `partdistill {command}` makes a folder of the authors' checkpoint, "
            "to be given as --encoder with an --out of its own"
        )

    return change


def _encoders(_: int) -> Iterator[Variant]:
    """Supplement, table 4, and controls that learned nothing."""
    yield Variant("the recipe's encoder", lambda recipe: recipe)
    yield Variant("the same, random weights", _set("segments", features="random"))
    yield Variant("colour and position", _set("segments", features="rgb_xy", metric="l2"))
    for label, change, first, tenth in (
        ("Swin-B, LVIS + COCO, Detic", _converted("convert detic"), 2.7, 10.8),
        ("Swin-B, COCO instances", _published("swin-base-coco-instance"), 6.6, 27.0),
        ("Swin-L, COCO instances", _published("swin-large-coco-instance"), 6.6, 27.6),
        ("Swin-L, COCO panoptic", _published("swin-large-coco-panoptic"), 6.6, 27.1),
        ("Swin-L, Cityscapes instances", _published("swin-large-cityscapes-instance"), 5.1, 21.7),
        ("Swin-L, Cityscapes semantic", _published("swin-large-cityscapes-semantic"), 5.5, 22.5),
        ("Swin-L, Cityscapes panoptic", _published("swin-large-cityscapes-panoptic"), 5.3, 21.9),
        ("Swin-L, ADE20K instances", _converted("convert mask2former"), 5.8, 24.5),
        ("Swin-L, ADE20K semantic", _published("swin-large-ade-semantic"), 6.0, 24.8),
        ("Swin-L, ADE20K panoptic", _published("swin-large-ade-panoptic"), 5.9, 24.8),
    ):
        yield Variant(label, change, {"AR@1": first, "AR@10": tenth})


def _post_processing(_: int) -> Iterator[Variant]:
    """Supplement, table 5."""
    for per_pixel, area, score, miou in (
        (False, False, False, 18.5),
        (True, False, False, 40.2),
        (False, True, False, 21.3),
        (False, False, True, 40.8),
        (False, True, True, 41.5),
        (True, True, True, 48.0),
    ):
        names = [name for name, on in (("per pixel", per_pixel), ("area", area), ("score", score)) if on]
        change = _filters(per_pixel=per_pixel, area=area, score=score)
        yield Variant(" + ".join(names) or "none", change, {"c_miou": miou})


def _class_counts(classes: int) -> Iterator[Variant]:
    count = 1
    while count < classes:
        yield Variant(f"{count} classes" if count > 1 else "1 class", lambda recipe: recipe, classes=count)
        count *= 2
    yield Variant(f"all {classes} classes", lambda recipe: recipe, classes=classes)


Name = Literal["levels", "encoders", "k", "crf", "post-processing", "sampling", "parts", "classes"]
ABLATIONS: Mapping[Name, Ablation] = {
    "levels": Ablation(
        "Feature levels of pixel grouping", "supplement, table 1", "segments", ("AR@1", "AR@10"),
        _levels,
    ),
    "encoders": Ablation(
        "Encoder, pretraining and framework", "supplement, table 4", "segments", ("AR@1", "AR@10"),
        _encoders,
    ),
    "k": Ablation(
        "Segments an object", "figure 6 left, which chooses k = 4", "segments", ("AR@1", "AR@10"),
        lambda _: [Variant(f"k = {k}", _set("segments", k=k)) for k in (2, 3, 4, 5, 6, 8)],
    ),
    "crf": Ablation(
        "Dense CRF", "supplement, section 2; no numbers there", "segments", ("AR@1", "AR@10"),
        lambda _: [
            Variant("with CRF", lambda recipe: recipe),
            Variant("without", _set("segments", crf={"enabled": False})),
        ],
    ),
    "post-processing": Ablation(
        "Post-processing of proposals", "supplement, table 5", "clustered", ("c_miou", "a_miou"),
        _post_processing,
    ),
    "sampling": Ablation(
        "Points of the mask losses", "supplement, section 2; no numbers there", "proposals",
        ("AR@1", "AR@10", "AR@200"),
        lambda _: [
            Variant("at random (the paper)", _set("proposals", importance_sampling=False)),
            Variant("by importance (Mask2Former)", _set("proposals", importance_sampling=True)),
        ],
    ),
    "parts": Ablation(
        "Part classes an object class", "it chooses K = 8; no numbers there", "parts",
        ("c_miou", "a_miou", "nmi_foreground", "ari_foreground"),
        lambda _: [Variant(f"K = {count}", _set("ranking", num_parts=count)) for count in (2, 4, 8, 16)],
    ),
    "classes": Ablation(
        "Object classes that are learned from", "no table there", "proposals",
        ("AR@1", "AR@10", "AR@200"), _class_counts,
    ),
}  # fmt: skip
