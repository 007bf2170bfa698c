"""Whether a part class is one part, estimated without people and without labels.

For a part class of an object class, from (at most `SAMPLE` of) the masks that a run gave to it:

    score = sqrt(cosine x overlap), between 0 and 1

- cosine: mean cosine between the features of its proposals and their mean, 0 where it is negative;
- overlap: mean IoU of its masks, each stretched with its object's box to one frame, over all pairs, mirrored
  where that overlaps more (`functional.aligned_masks`). Small parts that move have little of it.

Beside them stands the silhouette: how much nearer the features are to their own part class than to the next
one of the object class. It says whether part classes are told apart, not whether each is one part, and so
isn't in the score.

What that is worth is a question for people, or for true parts where they are known: Spearman's correlation
with the share of images that reviewers marked, and with purity.
"""

from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import NamedTuple

import numpy as np
from jaxtyping import Bool, Float, Int
from sklearn.metrics import silhouette_samples

from partdistillation.data.coco import CocoDataset
from partdistillation.data.coco_parts import parts_of
from partdistillation.data.images import ImageInput
from partdistillation.errors import InputError, StoreError
from partdistillation.functional.aligned_masks import GRID, in_object_frame, mean_overlap
from partdistillation.functional.masks import box, decode
from partdistillation.runs.records import ObjectParts, ObjectProposals, ObjectRow, PartRow, ProposalRow
from partdistillation.runs.stage_reader import read_rows
from partdistillation.runs.verdicts import Verdict
from partdistillation.stages import candidates, objects, ranking
from partdistillation.stages.class_features import ClassFeatures, sorted_by_class

SAMPLE = 100
"""Masks of a part class that are compared; with more, so many are drawn."""

Key = tuple[str, int]
"""A part class: object class and part id."""


class PartConsistency(NamedTuple):
    """One part class; NaN where there is nothing to measure: a single mask, or a single part class."""

    category: str
    part: int
    masks: int
    """How many the run gave to it, of which at most `SAMPLE` were compared."""
    cosine: float
    silhouette: float
    overlap: float

    @property
    def key(self) -> Key:
        return self.category, self.part

    @property
    def score(self) -> float:
        return float(np.sqrt(max(self.cosine, 0.0) * self.overlap))


def measure(out: Path, scratch: Path, *, seed: int = 0) -> list[PartConsistency]:
    """Every part class of a run with at least one mask, most consistent first.

    Takes memory for one object class at a time; `scratch` is an empty folder's name, removed at the end.

    Raises:
        StoreError: the run hasn't got that far, or its stages aren't of one another.
    """
    random = np.random.default_rng(seed)
    left = part_counts(out / ranking.PARTS)
    counts, wanted = dict(left), {key: min(count, SAMPLE) for key, count in left.items()}
    with sorted_by_class(scratch) as samples:
        for instance in _objects(out):
            _collect(instance, samples, left, wanted, random)
        measured = [
            part for category in samples.categories() for part in _measured(category, samples, counts)
        ]
    return sorted(measured, key=lambda part: (np.isnan(part.score), -part.score, part.key))


def part_counts(parts_dir: Path) -> Counter[Key]:
    """How many masks a run gave to each part class."""
    return Counter(
        (instance.category, part.part)
        for row in read_rows(parts_dir, PartRow)
        for instance in row.objects
        for part in instance.parts
    )


class _Labelled(NamedTuple):
    """An object, its proposals and what they were labelled; the last two in the same order."""

    mask: tuple[bytes, int, int]
    proposals: ObjectProposals
    parts: ObjectParts


def _objects(out: Path) -> Iterator[_Labelled]:
    rows = zip(
        read_rows(out / objects.FOLDER, ObjectRow),
        read_rows(out / candidates.FEATURES, ProposalRow),
        read_rows(out / ranking.PARTS, PartRow),
        strict=True,
    )
    for row, proposed, ranked in rows:
        for instance, offered, labelled in zip(row.objects, proposed.objects, ranked.objects, strict=True):
            if labelled.parts:
                if [mask.rle for mask in offered.proposals] != [mask.rle for mask in labelled.parts]:
                    raise StoreError(
                        f"expected the parts of the same proposals in {out / ranking.PARTS} and "
                        f"{out / candidates.FEATURES}, found others in {row.image_id}: run stage 4 again"
                    )
                yield _Labelled((instance.rle, row.height, row.width), offered, labelled)


def _collect(
    labelled: _Labelled,
    samples: ClassFeatures,
    left: Counter[Key],
    wanted: dict[Key, int],
    random: np.random.Generator,
) -> None:
    """Add those of an object's parts that the samples take.

    Of `left` masks to come of a part class, each is drawn so that exactly `wanted` will have been in the end.
    """
    category, (_, height, width) = labelled.parts.category, labelled.mask
    chosen = []
    for part, proposal in zip(labelled.parts.parts, labelled.proposals.proposals, strict=True):
        key = (category, part.part)
        if random.random() * left[key] < wanted[key]:
            chosen.append((part.part, part.rle, proposal.feature))
            wanted[key] -= 1
        left[key] -= 1
    if chosen:
        around, shape = box(decode(*labelled.mask)), chosen[0][2].shape
        records = [
            (number, feature, np.packbits(in_object_frame(decode(rle, height, width), around)))
            for number, rle, feature in chosen
        ]
        kind = [("part", "<i4"), ("feature", "<f2", shape), ("mask", "u1", (GRID * GRID // 8,))]
        samples.add(category, np.array(records, dtype=kind))


def _measured(category: str, samples: ClassFeatures, counts: Mapping[Key, int]) -> Iterator[PartConsistency]:
    records = samples.read(category)
    parts, features = records["part"], records["feature"].astype(np.float32)
    masks = np.unpackbits(records["mask"], axis=1).view(np.bool_).reshape(-1, GRID, GRID)
    silhouettes = _silhouettes(features, parts)
    for part in np.unique(parts):
        own = parts == part
        yield PartConsistency(
            category,
            int(part),
            counts[category, int(part)],
            cosine=_cosine(features[own]),
            silhouette=float(silhouettes[own].mean()),
            overlap=mean_overlap(masks[own]),
        )


def _cosine(features: Float[np.ndarray, "n dim"]) -> float:
    """Mean cosine to the mean; a single feature says nothing."""
    if len(features) < 2:
        return float("nan")
    lengths = np.linalg.norm(features, axis=1)
    mean = features.mean(axis=0)
    scale = np.maximum(lengths * np.linalg.norm(mean), np.finfo(np.float32).tiny)
    return float(((features @ mean) / scale).mean())


def _silhouettes(
    features: Float[np.ndarray, "n dim"], parts: Int[np.ndarray, " n"]
) -> Float[np.ndarray, " n"]:
    if not 2 <= len(np.unique(parts)) < len(parts):
        return np.full(len(parts), np.nan)
    values: Float[np.ndarray, " n"] = silhouette_samples(features, parts, metric="cosine")
    return values


# ---------------------------------------------------------------------- what it is compared with


def human_scores(verdicts: Iterable[Verdict]) -> dict[Key, float]:
    """Share of the images shown that a part class's reviewers marked, mean over them; 0 where rejected.

    Part classes that all skipped, or of which no image was shown, are left out.
    """
    marked: defaultdict[Key, list[float]] = defaultdict(list)
    for verdict in verdicts:
        if verdict.action == "rejected":
            marked[verdict.category, verdict.part].append(0.0)
        elif verdict.action == "judged" and verdict.marks:
            marked[verdict.category, verdict.part].append(sum(verdict.marks) / len(verdict.marks))
    return {key: sum(shares) / len(shares) for key, shares in marked.items()}


def purities(parts_dir: Path, truth: CocoDataset) -> dict[Key, float]:
    """Share of a part class's masks that lie mostly on the true part on which most of them do.

    A mask counts for the true part of its object class that has most of its pixels. One that touches none
    counts for none. Images that the ground truth lacks are left out.

    Raises:
        InputError: the ground truth is of other images, or can't be used.
    """
    votes: defaultdict[Key, Counter[str]] = defaultdict(Counter)
    for row in read_rows(parts_dir, PartRow):
        image = truth.find(ImageInput(row.image_id, row.file_name, Path(row.file_name)))
        if image is None or row.status == "rejected":
            continue
        if (image.height, image.width) != (row.height, row.width):
            raise InputError(
                f"expected {row.file_name} to be {row.width} x {row.height} pixels, as in {parts_dir}; "
                f"found {image.width} x {image.height} in {truth.path}"
            )
        true: defaultdict[str, list[tuple[str, Bool[np.ndarray, "h w"]]]] = defaultdict(list)
        for part in parts_of(truth, image):
            true[part.category].append((part.name, part.mask))
        for instance in row.objects:
            for labelled in instance.parts:
                mask = decode(labelled.rle, row.height, row.width)
                votes[instance.category, labelled.part][_true_part(mask, true[instance.category])] += 1
    if not votes:
        raise InputError(f"expected parts in images of {truth.path}, found none: ids and names don't agree")
    return {
        key: max((count for name, count in names.items() if name), default=0) / names.total()
        for key, names in votes.items()
    }


def _true_part(mask: Bool[np.ndarray, "h w"], true: Iterable[tuple[str, Bool[np.ndarray, "h w"]]]) -> str:
    """The name of the true part with most pixels of the mask; empty: none has any."""
    pixels: Counter[str] = Counter()
    for name, region in true:
        pixels[name] += int(np.count_nonzero(mask & region))
    (name, count), *_ = pixels.most_common(1) or [("", 0)]
    return name if count else ""
