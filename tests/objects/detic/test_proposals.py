"""CenterNet's decoding, by hand."""

import math

import torch
from torch import Tensor

from partdistillation.objects.detic.config import DeticConfig
from partdistillation.objects.detic.proposals import HeatMap, ProposalHead, decode_level

NOWHERE = -20.0


def logit(probability: float) -> float:
    return math.log(probability / (1 - probability))


def one_level(height: int, width: int, hot: dict[tuple[int, int], tuple[float, list[float]]]) -> HeatMap:
    """A level with a batch of one; `hot` has probability and distances by cell (row, column)."""
    logits, distances = torch.full((1, 1, height, width), NOWHERE), torch.zeros(1, 4, height, width)
    for (row, column), (probability, sides) in hot.items():
        logits[0, 0, row, column] = logit(probability)
        distances[0, :, row, column] = torch.tensor(sides)
    return HeatMap(logits, distances)


def decode(level: HeatMap, stride: int, top: int = 10) -> tuple[Tensor, Tensor]:
    boxes, scores = decode_level(level.logits[0], level.distances[0], stride, threshold=1e-4, top=top)
    best = scores.argsort(descending=True)
    return boxes[best], scores[best]


def test_a_cell_s_box_is_measured_from_its_middle() -> None:
    level = one_level(3, 5, {(1, 4): (0.64, [0.5, 1.0, 2.0, 0.25]), (2, 0): (0.25, [0.0, 0.0, 0.0, 0.0])})
    boxes, scores = decode(level, 16)
    # the middles are (72, 24) and (8, 40); without extent a box gets a hundredth of a pixel
    torch.testing.assert_close(boxes, torch.tensor([[64.0, 8.0, 104.0, 28.0], [8.0, 40.0, 8.01, 40.01]]))
    torch.testing.assert_close(scores, torch.tensor([0.8, 0.5]))


def test_the_best_cells_of_a_level_count() -> None:
    hot = {(0, column): (0.1 * column, [1.0, 1.0, 1.0, 1.0]) for column in range(1, 6)}
    boxes, scores = decode(one_level(2, 8, hot), 8, top=2)
    torch.testing.assert_close(scores, torch.tensor([0.5, 0.4]).sqrt())
    assert boxes[:, 0].tolist() == [36.0, 28.0]
    cold = one_level(2, 8, {(1, 1): (0.9e-4, [1.0, 1.0, 1.0, 1.0])})
    assert len(decode(cold, 8)[0]) == 0


def test_what_isn_t_finite_is_left_out() -> None:
    hot = {(0, 0): (0.5, [math.inf, 1.0, 1.0, 1.0]), (0, 1): (0.4, [1.0, 1.0, 1.0, 1.0])}
    assert len(decode(one_level(2, 2, hot), 8)[0]) == 1


def test_levels_come_together() -> None:
    """Two cells of different levels propose the same box: the better stays. Equals of the last one stay."""
    head = ProposalHead(DeticConfig(pyramid_channels=32, proposal_convs=0, proposals=2))
    fine = one_level(
        4,
        4,
        {
            (1, 1): (0.3, [1.0, 1.0, 1.0, 1.0]),
            (3, 3): (0.2, [1.0, 1.0, 0.0, 0.0]),
            (3, 0): (0.2, [0.0, 1.0, 1.0, 0.0]),
            (0, 3): (0.1, [1.0, 0.0, 0.0, 1.0]),
        },
    )
    coarse = one_level(2, 2, {(0, 0): (0.9, [0.25, 0.25, 0.75, 0.75])})
    empty = one_level(1, 1, {})
    (found,) = head.decode([fine, coarse, empty, empty, empty])
    torch.testing.assert_close(found.scores, torch.tensor([0.9, 0.2, 0.2]).sqrt())
    torch.testing.assert_close(found.boxes[0], torch.tensor([4.0, 4.0, 20.0, 20.0]))


def test_each_level_has_its_scale() -> None:
    with torch.random.fork_rng():
        torch.manual_seed(0)
        head = ProposalHead(DeticConfig(pyramid_channels=32, proposal_convs=1))
    for index, scale in enumerate(head.scales):
        torch.nn.init.constant_(scale, index + 1.0)
    level = torch.randn(1, 32, 4, 4, generator=torch.Generator().manual_seed(0))
    maps = head([level] * 5)
    assert (maps[0].distances >= 0).all()
    assert maps[0].distances.any()
    for index in range(1, 5):
        torch.testing.assert_close(maps[index].logits, maps[0].logits)
        torch.testing.assert_close(maps[index].distances, (index + 1) * maps[0].distances)
