"""Annotations are checked while tests run, with shapes and without, but where a test wants them unchecked."""

from typing import Any

import numpy as np
import pytest
from beartype.roar import BeartypeCallHintViolation
from jaxtyping import TypeCheckError

from partdistillation.functional.masks import encode, pairwise_iou
from partdistillation.runs.shards import ImageRef, file_name, shard_size

TEXT: Any = "3"
NUMBER: Any = 3


def test_types_are_checked() -> None:
    with pytest.raises(BeartypeCallHintViolation):
        shard_size(TEXT)
    with pytest.raises(BeartypeCallHintViolation):
        ImageRef(NUMBER)
    with pytest.raises(BeartypeCallHintViolation):
        file_name(NUMBER)


def test_shapes_are_checked() -> None:
    with pytest.raises(TypeCheckError):
        encode(np.zeros((4, 4, 4), np.bool_))
    with pytest.raises(TypeCheckError):
        pairwise_iou(np.zeros((1, 4, 4), np.bool_), np.zeros((1, 4, 5), np.bool_))


@pytest.mark.usefixtures("unchecked")
def test_a_test_may_go_without() -> None:
    assert ImageRef(NUMBER).image_id == NUMBER
