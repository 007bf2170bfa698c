"""AdamW for a table of which a step reads a few rows, at the cost of those rows.

A part head has K rows for each of up to 21,000 object classes. Dense AdamW moves all of them at every step:
by weight decay, and by the momentum of gradients long past. `LazyRows` does less, in one of two ways.

*Exactly*, the default (`distillation.exact_rows`), what a row has missed is replayed before it is read or
updated next, and at the end: the weights are dense AdamW's up to rounding. That takes time with the number of
steps missed, up to `REPLAYED` of them.

*Lazily*, a row is updated when, and only when, it has a gradient: it has a step count of its own (for the
bias correction), and weight decay and moments know nothing of the steps in between. A row that is touched at
every step is updated as by dense AdamW. One that is touched at every n-th step is decayed n times less and
coasts on its momentum n times shorter.
"""

import math

import torch
from jaxtyping import Float, Int
from torch import Tensor, distributed, nn

from partdistillation.errors import CheckpointError
from partdistillation.training.parallel import together, world

BETAS = (0.9, 0.999)
EPSILON = 1e-8

REPLAYED = math.ceil(24 * math.log(2) / -math.log(BETAS[0]))
"""Steps without a gradient after which momentum is below float32's rounding: only decay goes on."""

_CHUNK = 1024
"""Rows caught up together: bounds the memory that takes."""


class LazyRows:
    """AdamW's state of one table. Moments are kept of rows that have ever had a gradient, of no others."""

    def __init__(self, parameter: nn.Parameter, *, weight_decay: float, exact: bool) -> None:
        self.parameter = parameter
        self._weight_decay = weight_decay
        self._exact = exact
        self._forget()

    def _forget(self) -> None:
        rows, device = len(self.parameter), self.parameter.device
        self._steps = torch.zeros(rows, dtype=torch.int64, device=device)  # those that a row has been through
        self._slots = torch.full((rows,), -1, dtype=torch.int64, device=device)  # where a row's moments are
        self._used = 0
        self._mean = self._square = self.parameter.detach()[:0].clone()
        # Of all steps, if they are replayed. Apple's GPUs lack float64.
        precise = torch.float32 if device.type == "mps" else torch.float64
        self._rates = torch.zeros(0, dtype=precise, device=device)

    def state(self) -> dict[str, Tensor]:
        """What a resumed run needs. Moments: a row for each that has any, in the table's order."""
        touched = torch.nonzero(self._slots >= 0)[:, 0]
        slots = self._slots[touched]
        state = {
            "exp_avg": self._mean[slots],
            "exp_avg_sq": self._square[slots],
            "steps": self._steps.clone(),
            "touched": touched,
        }
        return state | {"rates": self._rates} if self._exact else state

    def load(self, name: str, state: dict[str, Tensor]) -> None:
        """Inverse of `state`; `name` is for the error.

        Raises:
            CheckpointError: the shapes aren't those of this table.
        """
        self._forget()
        touched, steps = state["touched"], state["steps"]
        moments = (len(touched), self.parameter.shape[1])
        for kind, shape in {"exp_avg": moments, "exp_avg_sq": moments, "steps": self._steps.shape}.items():
            if state[kind].shape != shape:
                raise CheckpointError(
                    f"the optimizer's state of {name}:{kind} has shape {tuple(state[kind].shape)}, "
                    f"expected {tuple(shape)}."
                )
        device = self.parameter.device
        self._steps.copy_(steps)
        self._used = len(touched)
        self._slots[touched.to(device)] = torch.arange(self._used, device=device)
        self._mean, self._square = (
            state[kind].to(self.parameter, copy=True) for kind in ("exp_avg", "exp_avg_sq")
        )
        if self._exact:
            self._rates = state["rates"].to(self._rates, copy=True)

    def gradient(self) -> tuple[Int[Tensor, " touched"], Float[Tensor, "touched dim"]]:
        """The rows that have a gradient, and their gradients, averaged over the processes."""
        if self.parameter.grad is None:  # no row was read in this step
            rows = torch.zeros(0, dtype=torch.int64, device=self.parameter.device)
            values = self.parameter.detach()[:0]
        else:
            gradient = self.parameter.grad.coalesce()
            rows, values = gradient.indices()[0], gradient.values()
        if world() == 1:
            return rows, values
        with together():
            return _mean_over_processes(rows, values)

    @torch.no_grad()
    def update(
        self, rows: Int[Tensor, " touched"], gradients: Float[Tensor, "touched dim"], learning_rate: float
    ) -> None:
        """One step of AdamW for `rows`, each of them named once."""
        if self._exact:
            self.catch_up(rows)
            self._rates = torch.cat([self._rates, self._rates.new_tensor([learning_rate])])
        self._steps[rows] += 1
        steps, slots = self._steps[rows, None].to(self._rates), self._slots_of(rows)
        first, second = BETAS
        mean = self._mean[slots].lerp(gradients, 1 - first)
        square = self._square[slots].mul(second).addcmul(gradients, gradients, value=1 - second)
        self._mean[slots], self._square[slots] = mean, square
        root = (1 - second**steps).sqrt().to(square)
        update = mean / (square.sqrt() / root + EPSILON) * (learning_rate / (1 - first**steps)).to(mean)
        self.parameter[rows] = self.parameter[rows] * (1 - learning_rate * self._weight_decay) - update

    @torch.no_grad()
    def catch_up(self, rows: Int[Tensor, " row"] | None = None) -> None:
        """Make rows (by default all) what dense AdamW would have by now; nothing, where updates are lazy."""
        if not self._exact:
            return
        if rows is None:
            rows = torch.arange(len(self.parameter), device=self.parameter.device)
        behind = rows[self._steps[rows] < len(self._rates)]
        for some in torch.split(behind, _CHUNK):
            with_moments = self._slots[some] >= 0
            self._replay(some[with_moments])
            self._decay(some)

    def _replay(self, rows: Tensor) -> None:
        """Up to `REPLAYED` of the steps that `rows`, which have moments, have missed."""
        slots, start = self._slots[rows], self._steps[rows, None]
        missed = len(self._rates) - start
        mean, root, weights = self._mean[slots], self._square[slots].sqrt(), self.parameter[rows]
        for ago in range(1, min(int(missed.max()) if len(rows) else 0, REPLAYED) + 1):
            step = (start + ago).clamp(max=len(self._rates))
            rate = self._rates[step - 1] * (ago <= missed)  # a rate of 0 changes nothing
            momentum = rate * BETAS[0] ** ago / (1 - BETAS[0] ** step.to(rate))
            scale = BETAS[1] ** (ago / 2) / (1 - BETAS[1] ** step.to(rate)).sqrt()
            update = mean * momentum.to(mean) / (root * scale.to(root) + EPSILON)
            weights = weights * (1 - rate * self._weight_decay).to(weights) - update
        self.parameter[rows] = weights
        self._mean[slots] = mean * (BETAS[0] ** missed.to(self._rates)).to(mean)
        self._square[slots] *= (BETAS[1] ** missed.to(self._rates)).to(mean)
        self._steps[rows] += missed[:, 0].clamp(max=REPLAYED)

    def _decay(self, rows: Tensor) -> None:
        """What is left of the missed steps: weight decay."""
        logs = torch.log1p(-self._weight_decay * self._rates).cumsum(0)
        logs = torch.cat([logs.new_zeros(1), logs])
        factor = (logs[-1] - logs[self._steps[rows, None]]).exp()
        self.parameter[rows] = self.parameter[rows] * factor.to(self.parameter)
        self._steps[rows] = len(self._rates)

    def _slots_of(self, rows: Tensor) -> Tensor:
        """Where the moments of `rows` are; those that have none yet get zeros."""
        new = rows[self._slots[rows] < 0]
        used = self._used + len(new)
        if used > len(self._mean):
            size = 4 * used if 8 * used < len(self.parameter) else len(self.parameter)
            self._mean = _grown(self._mean, size)  # one after the other: the old one goes first
            self._square = _grown(self._square, size)
        self._slots[new] = torch.arange(self._used, used, device=new.device)
        self._used = used
        return self._slots[rows]


def _grown(table: Tensor, rows: int) -> Tensor:
    bigger = table.new_zeros(rows, table.shape[1])
    bigger[: len(table)] = table
    return bigger


def _mean_over_processes(rows: Tensor, values: Tensor) -> tuple[Tensor, Tensor]:
    """Mean of a gradient by rows; each process may have touched other rows, or none."""
    counts = [torch.zeros(1, dtype=torch.int64, device=rows.device) for _ in range(world())]
    distributed.all_gather(counts, torch.tensor([len(rows)], device=rows.device))
    longest = max(int(count) for count in counts)
    padded = rows.new_zeros(longest), values.new_zeros(longest, values.shape[1])
    padded[0][: len(rows)], padded[1][: len(rows)] = rows, values
    gathered = []
    for mine in padded:
        all_of_them = [torch.empty_like(mine) for _ in range(world())]
        distributed.all_gather(all_of_them, mine)
        # the padding must go: a row with a gradient of 0 would count as touched
        gathered.append(torch.cat([theirs[: int(n)] for theirs, n in zip(all_of_them, counts, strict=True)]))
    touched, place = torch.unique(gathered[0], return_inverse=True)
    summed = values.new_zeros(len(touched), values.shape[1]).index_add_(0, place, gathered[1])
    return touched, summed / world()
