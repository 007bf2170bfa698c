"""What is exported fits its image."""

import numpy as np
import pytest

from partdistillation.data.coco import CocoImage
from partdistillation.errors import InputError
from partdistillation.export.labels import ImageLabels, ObjectLabel, PartLabel
from partdistillation.functional.masks import encoded

IMAGE = CocoImage(5, "a.png", width=8, height=6)
MASK = np.ones((6, 8), bool)


@pytest.mark.parametrize(
    "label",
    [
        ObjectLabel("Car", MASK.T),
        ObjectLabel("Car", encoded(MASK.T)),
        ObjectLabel("Car", MASK, (PartLabel("Wheel", MASK), PartLabel("Door", MASK.T))),
    ],
)
def test_masks_of_another_size_are_refused(label: ObjectLabel) -> None:
    with pytest.raises(InputError, match=r"image 5, \(6, 8\), found \(8, 6\) in an object of class 'Car'"):
        ImageLabels(IMAGE, (label,))


def test_masks_may_be_encoded() -> None:
    label = ObjectLabel("Car", encoded(MASK), (PartLabel("Wheel", MASK),))
    assert ImageLabels(IMAGE, (label,)).objects == (label,)
