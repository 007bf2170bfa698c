"""The dense CRF against the authors' code, which runs pydensecrf (photographs with noisy labels)."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from partdistillation.functional.dense_crf import dense_crf, dense_crf_marginals

Arrays = Mapping[str, NDArray[Any]]


def settings(**changed: float) -> dict[str, Any]:
    """The paper's settings (supplement, section 2), with changes."""
    return {
        "gt_prob": 0.7,
        "gaussian_sxy": 3.0,
        "gaussian_weight": 3.0,
        "bilateral_sxy": 20.0,
        "bilateral_srgb": 13.0,
        "bilateral_weight": 10.0,
        "iterations": 10,
        **changed,
    }


@pytest.fixture(scope="module")
def cases(fixtures: Path) -> Arrays:
    with np.load(fixtures / "a_dense_crf.npz") as file:
        return dict(file)


def compact(labels: NDArray[Any], present: NDArray[Any]) -> NDArray[Any]:
    """The labels' positions among those present in the input, as the authors' code returns them."""
    return np.searchsorted(present, labels)


@pytest.mark.parametrize("case", range(6))
def test_labels_equal_wherever_the_decision_is_not_a_tie(cases: Arrays, case: int) -> None:
    labels = cases[f"label_in{case}"]
    found = dense_crf(cases[f"image{case}"], labels, int(cases[f"n_labels{case}"]), **settings())
    present = np.unique(labels)
    assert np.isin(found, present).all()
    clear = cases[f"margin{case}"] > 0.02
    assert clear.mean() > 0.9
    np.testing.assert_array_equal(compact(found, present)[clear], cases[f"label_out{case}"][clear])


@pytest.mark.parametrize("case", [0, 4])
def test_marginals_equal(cases: Arrays, case: int) -> None:
    found = dense_crf_marginals(
        cases[f"image{case}"], cases[f"label_in{case}"], int(cases[f"n_labels{case}"]), **settings()
    )
    np.testing.assert_allclose(found, cases[f"Q{case}"], atol=1e-3)
    assert np.abs(found - cases[f"Q{case}"]).mean() < 1e-5


@pytest.mark.parametrize("case", [0, 4])
def test_other_settings(cases: Arrays, case: int) -> None:
    """The authors' second copy takes 5 steps and a bilateral standard deviation of 5 pixels."""
    found = dense_crf(
        cases[f"image{case}"],
        cases[f"label_in{case}"],
        int(cases[f"n_labels{case}"]),
        **settings(iterations=5, bilateral_sxy=5.0),
    )
    assert (found == cases[f"label_out_utils{case}"]).mean() > 0.9999
