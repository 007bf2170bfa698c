"""What the process that looks at photographs does: the studio runs networks and decodes uploads only here."""

from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from jaxtyping import Bool, Float32, UInt8

from partdistillation.errors import CheckpointError, ConfigError, InputError
from partdistillation.functional.masks import box, decode, decoded, encoded
from partdistillation.inference.inputs import ObjectMask, photograph
from partdistillation.inference.result import FoundObject
from partdistillation.inference.segmenter import PartSegmenter
from partdistillation.models.devices import choose_device
from partdistillation.objects.grounded_sam.box_segmenters import BoxSegmenter, ImageView
from partdistillation.objects.mask2former import Mask2FormerObjects
from partdistillation.objects.salient import SalientObjects
from partdistillation.objects.salient_classes import NamedSalientObjects
from partdistillation.pictures.sizes import shrink
from partdistillation.studio.downloads import packed
from partdistillation.studio.outlines import outline
from partdistillation.studio.photographs import encoded as picture_file
from partdistillation.studio.pieces import corrected
from partdistillation.studio.questions import (
    LEAST_SCORE,
    LEAST_SHARE,
    Correct,
    Know,
    Known,
    Look,
    Pack,
    Seen,
    SeenObject,
    SeenPart,
    Upload,
)

MOST_GUESSED = 64
"""Classes that are tried where it isn't said which one an object is of."""
_LONGEST = 1600
"""Of the picture that the page shows, in pixels."""
_MODEL_FILES = ("config.json", "model.safetensors", "part_table.json", "sha256.json")

_Pixels = UInt8[np.ndarray, "height width 3"]
_Mask = Bool[np.ndarray, "height width"]


class _Model(NamedTuple):
    segmenter: PartSegmenter
    finder: Mask2FormerObjects | NamedSalientObjects | SalientObjects | None


class Answering:
    """Answers questions, one after the other; the last model and the last photograph stay in memory."""

    def __init__(self) -> None:
        self._model: tuple[object, _Model] | None = None
        self._pixels: tuple[str, _Pixels] | None = None
        self._saliency: tuple[object, Float32[np.ndarray, "height width"]] | None = None
        self._clicks_model: BoxSegmenter | None = None
        self._clicks_view: tuple[str, ImageView] | None = None

    def __call__(self, question: object) -> object:
        """The answer.

        Raises:
            InputError: the photograph can't be used, or the clicks leave nothing of the object.
            CheckpointError: the model can't be loaded.
        """
        match question:
            case Know():
                return self._know(question)
            case Look():
                return self._look(question)
            case Correct():
                return self._correct(question)
            case Pack():
                return packed(question, self._image)
        raise TypeError(f"no question: {question!r:.60}")

    def _know(self, question: Know) -> Known:
        model = self._loaded(question.model)
        return Known(model.segmenter.catalog, model.finder is not None)

    def _look(self, question: Look) -> Seen:
        model, pixels = self._loaded(question.model), self._image(question.upload)
        height, width, _ = pixels.shape
        picture = picture_file(shrink(pixels, _LONGEST))
        if model.finder is None:
            return Seen(width, height, picture, ())
        if isinstance(model.finder, SalientObjects):
            standing_out = model.finder([pixels], ["object"])[0]
            masks = [decode(salient.rle, height, width) for salient in standing_out]
            objects = [self._best(model, pixels, mask) for mask in masks]
        else:
            result = model.segmenter(
                pixels, min_ratio=LEAST_SHARE, min_score=LEAST_SCORE, min_object_score=LEAST_SCORE
            )
            objects = list(result.objects)
        return Seen(width, height, picture, tuple(map(_seen, objects)))

    def _correct(self, question: Correct) -> SeenObject:
        model, pixels = self._loaded(question.model), self._image(question.upload)
        before = None if question.mask is None else decoded(question.mask)
        if question.clicks and question.clicks_model:
            mask = self._clicked(question, pixels, before)
        else:
            saliency = self._salient(question, model, pixels) if question.clicks else None
            mask = corrected(pixels, saliency, before, question.clicks)
        if not mask.any():
            raise InputError(
                "that would leave nothing of the object: take the click back, or remove the object"
            )
        if question.category is None:
            return _seen(self._best(model, pixels, mask))
        return _seen(_labelled(model, pixels, mask, [question.category])[0])

    def _clicked(self, question: Correct, pixels: _Pixels, before: _Mask | None) -> _Mask:
        """What SAM makes of all clicks together, within the box of what was there before."""
        if self._clicks_model is None:
            self._clicks_model = BoxSegmenter.from_pretrained(question.clicks_model, choose_device("auto"))
        if self._clicks_view is None or self._clicks_view[0] != question.upload.id:
            self._clicks_view = question.upload.id, self._clicks_model.view(pixels)
        return self._clicks_model.at_clicks(
            self._clicks_view[1],
            torch.tensor([(click.x + 0.5, click.y + 0.5) for click in question.clicks]),
            torch.tensor([click.inside for click in question.clicks]),
            None if before is None else torch.tensor(box(before)),
        )

    def _best(self, model: _Model, pixels: _Pixels, mask: _Mask) -> FoundObject:
        """The object as one of the class whose parts are surest, over all of its pixels."""
        classes = model.segmenter.class_names
        if len(classes) > MOST_GUESSED:
            raise InputError(f"the model knows {len(classes)} classes: choose the object's first")
        return max(_labelled(model, pixels, mask, classes), key=_sureness)

    def _loaded(self, folder: Path) -> _Model:
        files = [path for name in _MODEL_FILES if (path := folder / name).is_file()]
        key = folder, [(path.name, path.stat().st_mtime_ns) for path in files]
        if self._model is None or self._model[0] != key:
            self._model = None  # before the next takes memory
            segmenter = PartSegmenter.from_pretrained(folder)
            self._model = key, _Model(segmenter, _finder_of(segmenter))
            blank = np.zeros((64, 64, 3), np.uint8)
            _labelled(self._model[1], blank, np.ones((64, 64), np.bool_), segmenter.class_names[:1])
        return self._model[1]

    def _image(self, upload: Upload) -> _Pixels:
        if self._pixels is None or self._pixels[0] != upload.id:
            self._pixels = self._saliency = None
            self._pixels = upload.id, _decoded(upload)
        return self._pixels[1]

    def _salient(
        self, question: Correct, model: _Model, pixels: _Pixels
    ) -> Float32[np.ndarray, "height width"] | None:
        if model.finder is None:
            return None
        key = question.model, question.upload.id
        if self._saliency is None or self._saliency[0] != key:
            self._saliency = key, model.finder.saliency([pixels])[0]
        return self._saliency[1]


def _finder_of(
    segmenter: PartSegmenter,
) -> Mask2FormerObjects | NamedSalientObjects | SalientObjects | None:
    """What finds objects: the model's own, or what stands out, if that network is installed."""
    try:
        finder = segmenter.objects_finder
    except ConfigError:
        try:
            return SalientObjects.from_pretrained()
        except CheckpointError:
            return None
    assert isinstance(finder, Mask2FormerObjects | NamedSalientObjects)
    return finder


def _decoded(upload: Upload) -> _Pixels:
    """By way of a file, as every photograph is read."""
    try:
        return photograph(upload.data)[0]
    except InputError as error:
        words = str(error).replace("an image's bytes: ", "").replace("an image's bytes", upload.name)
        raise InputError(words) from None


def _labelled(model: _Model, pixels: _Pixels, mask: _Mask, classes: Sequence[str]) -> list[FoundObject]:
    """The object as one of each class; the network runs once."""
    objects = [ObjectMask(mask, category) for category in classes]
    result = model.segmenter(pixels, objects, min_ratio=LEAST_SHARE, min_score=LEAST_SCORE)
    return list(result.objects)


def _sureness(instance: FoundObject) -> float:
    return sum(part.score * float(part.mask.sum()) for part in instance.parts)


def _seen(instance: FoundObject) -> SeenObject:
    parts = tuple(
        SeenPart(
            part.part,
            part.name,
            float(part.score),
            encoded(part.mask),
            int(part.mask.sum()),
            outline(part.mask),
        )
        for part in instance.parts
    )
    mask = instance.mask
    return SeenObject(
        instance.category, float(instance.score), encoded(mask), int(mask.sum()), outline(mask), parts
    )
