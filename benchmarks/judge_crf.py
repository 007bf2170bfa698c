"""pydensecrf, set to the paper's dense CRF: what ours is measured against. It's nowhere else needed."""

from importlib import import_module
from typing import Any

import numpy as np

from partdistillation.config import CrfConfig

HINT = "`pip install pydensecrf2` (it compiles C++; the Python package is `pydensecrf`)"


def find() -> Any:
    """The package with its modules, or None."""
    try:
        for module in ("densecrf", "utils"):
            import_module(f"pydensecrf.{module}")
    except ImportError:
        return None
    return import_module("pydensecrf")


def model(pydensecrf: Any, image: np.ndarray, labels: np.ndarray, num_labels: int, crf: CrfConfig) -> Any:
    """As its examples do it: the helpers for images, which take x before y."""
    height, width = labels.shape
    made = pydensecrf.densecrf.DenseCRF2D(width, height, num_labels)
    made.setUnaryEnergy(unary(pydensecrf, labels, num_labels, crf))
    made.addPairwiseGaussian(sxy=crf.gaussian_sxy, compat=crf.gaussian_weight)
    made.addPairwiseBilateral(
        sxy=crf.bilateral_sxy, srgb=crf.bilateral_srgb, rgbim=image, compat=crf.bilateral_weight
    )
    return made


def model_y_first(
    pydensecrf: Any, image: np.ndarray, labels: np.ndarray, num_labels: int, crf: CrfConfig
) -> Any:
    """As the paper's code does it: features written out, y before x."""
    utils, shape = pydensecrf.utils, labels.shape
    made = pydensecrf.densecrf.DenseCRF(labels.size, num_labels)
    made.setUnaryEnergy(unary(pydensecrf, labels, num_labels, crf))
    near = utils.create_pairwise_gaussian(sdims=(crf.gaussian_sxy,) * 2, shape=shape)
    made.addPairwiseEnergy(near, compat=crf.gaussian_weight)
    alike = utils.create_pairwise_bilateral(
        sdims=(crf.bilateral_sxy,) * 2, schan=crf.bilateral_srgb, img=image, chdim=2
    )
    made.addPairwiseEnergy(alike, compat=crf.bilateral_weight)
    return made


def unary(pydensecrf: Any, labels: np.ndarray, num_labels: int, crf: CrfConfig) -> Any:
    """Energies of the given labels."""
    return pydensecrf.utils.unary_from_labels(labels, num_labels, gt_prob=crf.gt_prob, zero_unsure=False)


def marginals(made: Any, labels: np.ndarray, crf: CrfConfig) -> np.ndarray:
    """Each pixel's probability of each label: "labels height width"."""
    return np.array(made.inference(crf.iterations)).reshape(-1, *labels.shape)
