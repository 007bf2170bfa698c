"""The published checkpoint of Detic, `Detic_LCOCOI21k_CLIP_SwinB_896b32_4x_ft4x_max-size.pth`.

The architecture is read off the shapes. What these don't tell (thresholds, image sizes) is the published
checkpoint's, and stands in the converted model's config.json, where it can be changed. The class embeddings
in the file (`roi_heads.box_predictor.K.cls_score.zs_weight`, of the 22,047 names of its training, once a
cascade stage) are left out, whatever their number: classes are named when the model runs.
"""

from pathlib import Path

from partdistillation.convert.checkpoint_file import read_checkpoint
from partdistillation.convert.detic_official import load_official_state_dict
from partdistillation.errors import CheckpointError


def convert_checkpoint(path: str | Path, out: str | Path) -> None:
    """Convert a `.pth` or `.pkl` file of Detic with a Swin backbone to a model directory.

    Nothing in the file is executed (see `read_checkpoint`).

    Raises:
        CheckpointError: it holds anything but arrays, or another model's; keys and shapes are named.
    """
    try:
        network = load_official_state_dict(read_checkpoint(Path(path)))
    except CheckpointError as error:
        raise CheckpointError(f"{path}: {str(error).removeprefix(f'{path}: ')}") from error
    network.save_pretrained(out)
