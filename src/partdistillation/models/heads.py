"""Classification heads of `PartMask2Former`: what a query's mask is.

`ClassHead` has a row a class and is shared by all images: stage 0 (object classes) and stage 3 (one class,
"part"). `PartHead` is the paper's class-specific decoder head (stage 5): K rows an object class, of which
only those of the objects at hand are read, and so only they get a gradient.
"""

from collections.abc import Collection, Sequence

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

SILENT = -1e4
"""Bias of a part that an object class doesn't have: small enough that weight decay leaves a probability of 0,
and within float16's range.
"""


class ClassHead(nn.Linear):
    """One row a class and a last row for "no object", for every image alike."""

    def __init__(self, dim: int, num_classes: int) -> None:
        super().__init__(dim, num_classes + 1, dtype=torch.float32)
        self.num_classes = num_classes

    @classmethod
    def from_linear(cls, weight: Float[Tensor, "rows dim"], bias: Float[Tensor, " rows"]) -> "ClassHead":
        """A head with these rows; the last one is "no object"."""
        head = cls(weight.shape[1], weight.shape[0] - 1)
        head.load_state_dict({"weight": weight, "bias": bias})
        return head

    def to_linear(self) -> tuple[Float[Tensor, "rows dim"], Float[Tensor, " rows"]]:
        """The head as the weight and bias of one linear layer; inverse of `from_linear`."""
        return self.weight.detach(), self.bias.detach()


class PartHead(nn.Module):
    """K part rows for each of N object classes, and one shared "no object" row.

    A row is `dim` weights and a bias. The rows of an object class lie together in `rows[object_class]`, a
    table whose gradient is sparse: a step costs the same for 100 and for 21,000 object classes.
    """

    def __init__(self, dim: int, num_object_classes: int, num_parts: int) -> None:
        super().__init__()
        self.dim = dim
        self.num_object_classes = num_object_classes
        self.num_parts = num_parts
        bound = dim**-0.5  # as nn.Linear
        self.rows = nn.Parameter(
            torch.empty(num_object_classes, num_parts * (dim + 1), dtype=torch.float32).uniform_(
                -bound, bound
            )
        )
        self.no_object = nn.Parameter(torch.empty(dim + 1, dtype=torch.float32).uniform_(-bound, bound))

    def forward(
        self, queries: Float[Tensor, "*layers batch query dim"], object_classes: Int[Tensor, " batch"]
    ) -> Float[Tensor, "*layers batch query logits"]:
        """Logits of the K parts of each batch entry's own object class, and of "no object" (last).

        The values are the official ones (all N x K + 1 logits, then sliced) without computing the others.
        """
        rows = nn.functional.embedding(object_classes, self.rows, sparse=True)
        rows = rows.view(-1, self.num_parts, self.dim + 1)
        rows = torch.cat([rows, self.no_object.expand(len(rows), 1, -1)], dim=1)
        logits = torch.einsum("...bqd,bkd->...bqk", queries, rows[..., :-1])
        return logits + rows[:, None, :, -1]

    @torch.no_grad()
    def keep_only(self, parts: Sequence[Collection[int]]) -> None:
        """Give each object class these part ids alone; it may have fewer than K.

        The rows of the others get a probability of 0, with which they have no gradient: they are never
        predicted, however little the class is trained.
        """
        table = self.rows.view(self.num_object_classes, self.num_parts, self.dim + 1)
        for rows, kept in zip(table, parts, strict=True):
            absent = [part for part in range(self.num_parts) if part not in kept]
            rows[absent] = 0.0
            rows[absent, -1] = SILENT

    def extended(self, other: "PartHead") -> "PartHead":
        """A head, on the CPU, with the rows of another one's object classes after its own, bit for bit."""
        head = PartHead(self.dim, self.num_object_classes + other.num_object_classes, self.num_parts)
        rows = torch.cat([self.rows.detach().cpu(), other.rows.detach().cpu()])
        head.load_state_dict({"rows": rows, "no_object": self.no_object.detach().cpu()})
        return head

    @classmethod
    def from_linear(
        cls, weight: Float[Tensor, "rows dim"], bias: Float[Tensor, " rows"], num_parts: int
    ) -> "PartHead":
        """A head from the official layout: row `object_class * num_parts + part`, then one "no object"."""
        table = torch.cat([weight, bias[:, None]], dim=1)
        head = cls(weight.shape[1], (len(table) - 1) // num_parts, num_parts)
        head.load_state_dict({"rows": table[:-1].reshape(head.rows.shape), "no_object": table[-1]})
        return head

    def to_linear(self) -> tuple[Float[Tensor, "rows dim"], Float[Tensor, " rows"]]:
        """The head as the weight and bias of one linear layer; inverse of `from_linear`."""
        table = torch.cat([self.rows.detach().view(-1, self.dim + 1), self.no_object.detach()[None]])
        return table[:, :-1].contiguous(), table[:, -1].contiguous()


Head = ClassHead | PartHead
