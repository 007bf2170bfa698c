"""The terms of the loss of stages 0, 3 and 5, each by its definition.

**To add a term of masks**, write it here, list it in `MASK_TERMS` and give it a weight in `LossWeights`: the
matcher's costs, the loss and the training log follow. To change a term that is `FUSED`, take it out there.
"""

from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass

from jaxtyping import Float
from torch import Tensor, broadcast_tensors
from torch.nn.functional import binary_cross_entropy_with_logits

from partdistillation.kernels import mask_losses
from partdistillation.kernels.tracing import traced

Term = Callable[[Tensor, Tensor], Tensor]
"""Of logits and targets at points, the last axis. Other axes broadcast: the matcher compares all pairs."""


@dataclass(frozen=True)
class LossWeights:
    """Weights of the loss terms, used for the matcher's costs too (lambda 2/5/5)."""

    classification: float = 2.0
    mask: float = 5.0
    dice: float = 5.0
    no_object: float = 0.1
    """Weight of the "no object" class within the classification loss."""

    def of(self, term: str) -> float:
        """The weight of one of `MASK_TERMS`."""
        weight: float = getattr(self, term)
        return weight


PAPER_WEIGHTS = LossWeights()


def cross_entropy(
    logits: Float[Tensor, "*#pair point"], targets: Float[Tensor, "*#pair point"]
) -> Float[Tensor, "*#pair"]:
    """Binary cross-entropy, the mean over the points."""
    logits, targets = broadcast_tensors(logits, targets)  # type: ignore[no-untyped-call]
    return binary_cross_entropy_with_logits(logits, targets, reduction="none").mean(dim=-1)


def dice(
    logits: Float[Tensor, "*#pair point"], targets: Float[Tensor, "*#pair point"]
) -> Float[Tensor, "*#pair"]:
    """One minus the Dice coefficient of probabilities and targets, with one added above and below."""
    probabilities = logits.sigmoid()
    overlap = 2 * (probabilities * targets).sum(dim=-1) + 1
    return 1 - overlap / (probabilities.sum(dim=-1) + targets.sum(dim=-1) + 1)


MASK_TERMS: Mapping[str, Term] = {"mask": cross_entropy, "dice": dice}
"""By their names in `LossWeights` and in the training log."""

FUSED: Collection[str] = ("mask", "dice")
"""Those that `kernels.mask_losses` computes, together and faster. Take out one whose definition changes."""


def pair_losses(
    logits: Float[Tensor, "*pair point"], targets: Float[Tensor, "*pair point"]
) -> dict[str, Float[Tensor, "*pair"]]:
    """Every term of `MASK_TERMS`, of each prediction with its target."""
    return _terms(logits, targets, lambda: mask_losses.of_pairs(logits, targets))


def pairwise_losses(
    logits: Float[Tensor, "point prediction"], targets: Float[Tensor, "target point"]
) -> dict[str, Float[Tensor, "target prediction"]]:
    """Every term of `MASK_TERMS`, of each target with each prediction, without gradients.

    May overwrite `logits`.
    """
    return _terms(logits.T, targets[:, None], lambda: mask_losses.of_all_pairs(logits, targets))


def _terms(logits: Tensor, targets: Tensor, kernel: Callable[[], mask_losses.Values]) -> dict[str, Tensor]:
    """By definition, but for those that the kernel computes; all by definition while a graph is traced."""
    fused = () if traced() else FUSED
    values = {name: term(logits, targets) for name, term in MASK_TERMS.items() if name not in fused}
    if fused:  # last: it may overwrite the logits
        computed = kernel()._asdict()
        values |= {name: computed[name] for name in fused}
    return {name: values[name] for name in MASK_TERMS}
