"""The model card of a published part model: its README.md."""

import html
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from huggingface_hub import EvalResult, ModelCardData

from partdistillation.export.labels import Catalog
from partdistillation.models.pretrained import ModelInfo
from partdistillation.publishing.facts import ZOO, Facts

MOST_CLASSES = 50
"""Object classes whose parts a card lists."""


@dataclass(frozen=True)
class Card:
    """All that a card is written from."""

    repo: str
    """owner/name."""
    license: str
    """An identifier of the hub's, such as apache-2.0."""
    info: ModelInfo
    catalog: Catalog
    """What the part classes are called, by object class; None where one is joined or left out."""
    facts: Facts
    finds_objects: bool
    """Whether the model comes with one that finds objects."""
    examples: Mapping[str, str]
    """Pictures of parts by object class, as files beside the card."""

    def text(self) -> str:
        """The card, its metadata first."""
        sections = [
            f"---\n{self._metadata()}\n---",
            f"# {_escaped(self.repo.partition('/')[2])}",
            self._summary(),
            f"```python\n{self._snippet()}\n```",
            *self._what_it_came_from(),
            *self._scores(),
            *self._parts(),
            *self._limits(),
        ]
        return "\n\n".join(sections) + "\n"

    def _metadata(self) -> str:
        results = [
            EvalResult(
                task_type="image-segmentation",
                task_name="Part segmentation",
                dataset_type="own",
                dataset_name=f"{measured.images} images, {measured.data}",
                metric_type=name,
                metric_name=f"{name} ({measured.protocol})",
                metric_value=round(value, 6),
            )
            for measured in self.facts.measured
            for name, value in measured.scores.items()
        ]
        published = dict.fromkeys(base.name for base in self.facts.bases if base.published)
        values = ModelCardData(
            license=self.license,
            library_name="partdistillation",
            pipeline_tag="image-segmentation",
            tags=["part-segmentation", "mask2former"],
            base_model=list(published) or None,
            model_name=self.repo.partition("/")[2],
            eval_results=results or None,
        )
        return values.to_yaml()

    def _summary(self) -> str:
        classes = self.info.class_names
        named = ", ".join(classes[:10]) + (f" and {len(classes) - 10} more" if len(classes) > 10 else "")
        return (
            f"Segments the parts of objects in photographs: up to {self.info.num_parts} part classes for "
            f"each of {len(classes)} object classes ({_escaped(named)}). The parts were discovered by "
            "PartDistillation, without part labels."
        )

    def _snippet(self) -> str:
        category = json.dumps(self.info.class_names[0], ensure_ascii=False)
        objects = "" if self.finds_objects else f", [(mask, {category})]"
        return (
            "from partdistillation import PartSegmenter\n"
            f'segmenter = PartSegmenter.from_pretrained("{self.repo}")\n'
            f'segmenter("photo.jpg"{objects}).save("parts.png")'
        )

    def _what_it_came_from(self) -> list[str]:
        rows = [(base.role, base.name, base.license) for base in self.facts.bases]
        sections = ["## What it was made from"]
        if rows:
            sections.append(_table(("", "model", "its licence"), rows))
        else:
            sections.append("Not known: the model's folder wasn't in that of its run.")
        if any(base.license == ZOO for base in self.facts.bases):
            sections.append(
                "It began from weights of Mask2Former's model zoo, which are for non-commercial use "
                f"(CC BY-NC 4.0); the licence of this model, {self.license}, can't allow more than that."
            )
        if self.facts.data:
            data = self.facts.data
            learned = f"It learned from {data.photographs:,} photographs ({_escaped(data.name)})."
            if self.facts.grown:
                learned += " From them it has the object classes that it was grown by; others it had before."
            sections.append(learned)
        return sections

    def _scores(self) -> list[str]:
        if not self.facts.measured:
            return ["## Scores", "None: no evaluation of this model was found."]
        rows = [
            (measured.protocol, f"{measured.images} images, {measured.data}", name, f"{100 * value:.1f}")
            for measured in self.facts.measured
            for name, value in measured.scores.items()
        ]
        note = (
            "Part classes are mapped to the true parts by a majority vote on the very images that are "
            "scored, as the paper does."
        )
        return ["## Scores", _table(("protocol", "measured on", "score", "percent"), rows), note]

    def _parts(self) -> list[str]:
        shown = list(self.catalog)[:MOST_CLASSES]
        rows = [(name, ", ".join(part for part in self.catalog[name] if part)) for name in shown]
        sections = ["## Parts", _table(("object class", "parts"), rows)]
        if len(self.catalog) > len(shown):
            sections.append(f"And {len(self.catalog) - len(shown)} more object classes.")
        if self.examples:
            sections.append("Parts as they were discovered in the photographs that it learned from:")
            sections += [f"![Parts of {_escaped(name)}]({file})" for name, file in self.examples.items()]
        return sections

    def _limits(self) -> list[str]:
        limits = [
            "Part classes come from clustering. One that nobody has named is called by its number; a name is "
            "what somebody saw in examples, and no promise.",
            "It knows these object classes alone, and was trained at "
            f"{self.info.image_size} pixels along the longest side: small parts are lost.",
        ]
        if self.facts.salient:
            limits.append("One object a photograph is found: the one that stands out.")
        elif not self.finds_objects:
            limits.append("It finds no objects: their masks and classes must be given.")
        limits.append(
            'transformers loads this folder too (`pipeline("image-segmentation", subtask="instance")`), as a '
            "plain Mask2Former whose classes are the parts of all object classes (car/0, car/1, ...). That "
            "knows no objects, part names or merges: parts compete over the whole image, and it isn't what "
            "the scores are of."
        )
        return ["## Limits", "\n".join(f"- {limit}" for limit in limits)]


def _table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    lines = [head, ["---"] * len(head), *([_escaped(text) for text in row] for row in rows)]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def _escaped(text: str) -> str:
    """A name as it stands in a line of Markdown, whatever is in it."""
    marks = str.maketrans({mark: f"\\{mark}" for mark in "\\`*_[]|"})
    return html.escape(" ".join(text.split()), quote=False).translate(marks)
