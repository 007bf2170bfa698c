"""The models that find objects: their names, what rows depend on, and how they are loaded, when needed."""

from partdistillation.config import Device, ObjectsConfig
from partdistillation.errors import ConfigError
from partdistillation.models.pretrained import read_config
from partdistillation.models.sources import pinned, resolve
from partdistillation.objects import ObjectSegmenter
from partdistillation.objects.labelling import PEOPLE_SCORE
from partdistillation.runs.manifest import Json
from partdistillation.runs.stage_reader import contents_hash

SAM3 = "facebook/sam3"


def load_segmenter(config: ObjectsConfig, encoder: str, device: Device) -> ObjectSegmenter:
    """The model of the settings' source, ready to be asked.

    Raises:
        CheckpointError: it can't be loaded, or is of another kind.
        ConfigError: no model is named, and none is published under a name.
    """
    if config.source == "salient":
        from partdistillation.objects.salient import SalientObjects

        return SalientObjects.from_pretrained(config.model, device)
    first, *second = model_names(config, encoder)
    min_score = min(config.min_score, PEOPLE_SCORE) if config.people else config.min_score
    match config.source:
        case "mask2former":
            from partdistillation.objects.mask2former import Mask2FormerObjects

            return Mask2FormerObjects.from_pretrained(first, min_score=min_score, device=device)
        case "detic":
            from partdistillation.objects.detic import DeticObjects

            return DeticObjects.from_pretrained(
                first, text_model=second[0], min_score=min_score, device=device
            )
        case "sam3":
            from partdistillation.objects.sam3 import Sam3Objects

            return Sam3Objects.from_pretrained(first, min_score=min_score, device=device)
        case "grounded_sam":
            from partdistillation.objects.grounded_sam import GroundedSamObjects

            return GroundedSamObjects.from_pretrained(first, second[0], min_score=min_score, device=device)
    raise AssertionError(f"{config.source} isn't a model")


def model_names(config: ObjectsConfig, encoder: str) -> tuple[str, ...]:
    """The hub names or directories of the models that the settings' source needs.

    Raises:
        ConfigError: no model is named, and none is published under a name.
    """
    match config.source:
        case "mask2former":
            return (config.model or encoder,)
        case "detic":
            from partdistillation.objects.detic.text import CLIP

            if not config.model:
                raise ConfigError(
                    "objects.model: expected the folder that `partdistill convert detic` wrote, found none; "
                    "Detic has no published model that can be loaded by name"
                )
            return config.model, config.text_model or CLIP
        case "sam3":
            return (config.model or SAM3,)
        case "grounded_sam":
            from partdistillation.objects.grounded_sam import DETECTOR, SEGMENTER

            return config.model or DETECTOR, config.segmenter or SEGMENTER
    raise AssertionError(f"{config.source} isn't a model")


def fingerprints(config: ObjectsConfig, encoder: str) -> list[Json]:
    """What rows depend on: the contents of a directory or file, and of a published model its commit.

    Raises:
        CheckpointError: a directory or file isn't there, or isn't a model's.
        ConfigError: no model is named, and none is published under a name.
    """
    if config.source == "salient":
        from partdistillation.objects.saliency_weights import weights_file

        return [{"contents": [contents_hash(weights_file(config.model))]}]
    return [_fingerprint(name) for name in model_names(config, encoder)]


def _fingerprint(name: str) -> Json:
    source = resolve(name)
    if not source.files:
        return pinned(name)
    read_config(source.path)
    return {"contents": [contents_hash(file) for file in source.files]}
