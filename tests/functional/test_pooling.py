"""Features averaged inside masks, against sums by hand."""

import torch

from partdistillation.functional.pooling import pooled


def test_whole_cells_are_averaged() -> None:
    features = torch.arange(2 * 2 * 3, dtype=torch.float32).view(2, 2, 3)  # cells of 4 x 4 pixels
    masks = torch.zeros(2, 8, 12, dtype=torch.bool)
    masks[0, :4, :8] = True  # the two cells on the left above
    masks[1, 4:, 8:] = True
    found = pooled(features, masks, content=(8, 12), field=(8, 12))
    torch.testing.assert_close(found, torch.tensor([[0.5, 6.5], [5.0, 11.0]]))


def test_a_cell_counts_by_the_share_that_is_covered() -> None:
    features = torch.tensor([[[1.0, 5.0]]])
    masks = torch.zeros(1, 4, 8, dtype=torch.bool)
    masks[0, :, 3:8] = True  # a quarter of the left cell, the whole right one
    found = pooled(features, masks, content=(4, 8), field=(4, 8))
    torch.testing.assert_close(found, torch.tensor([[(0.25 * 1 + 5) / 1.25]]))


def test_masks_of_the_image_lie_in_the_corner_of_the_padded_field() -> None:
    features = torch.tensor([[[1.0, 2.0], [3.0, 4.0]]])  # of 8 x 8, the image in 6 x 4 of them
    masks = torch.ones(1, 12, 8, dtype=torch.bool)
    found = pooled(features, masks, content=(6, 4), field=(8, 8))
    torch.testing.assert_close(found, torch.tensor([[(1 + 0.5 * 3) / 1.5]]))


def test_a_single_pixel_is_not_lost() -> None:
    features = torch.tensor([[[1.0, 2.0], [3.0, 4.0]]])
    masks = torch.zeros(1, 64, 64, dtype=torch.bool)
    masks[0, 40, 60] = True
    found = pooled(features, masks, content=(8, 8), field=(8, 8))
    torch.testing.assert_close(found, torch.tensor([[4.0]]))
