"""AdamW as Mask2Former is trained with, made lazy for the rows of a part head.

A part head has K rows for each of up to 21,000 object classes, of which a step reads a few. Dense AdamW moves
all of them at every step: by weight decay, and by the momentum of gradients long past. Here a row is updated
when, and only when, it has a gradient: it has a step count of its own (for the bias correction) and its
weight decay is applied on touch. Rows that are touched at every step are updated as by dense AdamW.
"""

import math
from collections.abc import Iterator, Mapping
from typing import Literal

import torch
from jaxtyping import Float, Int
from torch import Tensor, distributed, nn

from partdistillation.errors import CheckpointError, PartDistillationError

BETAS = (0.9, 0.999)
EPSILON = 1e-8

LAZY_PARAMETERS = ("class_predictor.rows",)
"""Names that DistributedDataParallel is to ignore: `Optimizer.step` averages their sparse gradients."""

_BACKBONE = "model.pixel_level_module.encoder."
_WITHOUT_DECAY = (nn.LayerNorm, nn.GroupNorm, nn.modules.batchnorm._BatchNorm, nn.Embedding)
_WITHOUT_DECAY_NAMES = ("relative_position_bias_table", "position_embeddings")


def learning_rate_factor(
    schedule: Literal["step", "cosine", "constant"], step: int, *, steps: int, warmup_steps: int
) -> float:
    """What the learning rate is multiplied with at `step` (0 ... steps - 1).

    Linear warm-up first; `step` then divides the rate by 10 at 90 % and again at 95 % of the steps, `cosine`
    lowers it to 0 at the end.
    """
    warmup = min(1.0, (step + 1) / warmup_steps) if warmup_steps else 1.0
    match schedule:
        case "step":
            # in integers: 0.95 * steps may round to either side of a whole number
            decay = 0.1 ** ((10 * step >= 9 * steps) + (20 * step >= 19 * steps))
        case "cosine":
            decay = (1 + math.cos(math.pi * step / steps)) / 2
        case "constant":
            decay = 1.0
    return warmup * decay


class Optimizer:
    """AdamW over what a network trains, with full-model gradient clipping.

    As in Mask2Former: no weight decay for norm layers, embeddings and position tables; a lower learning rate
    for the backbone. Freeze modules first: only parameters that require a gradient are taken.
    """

    def __init__(
        self,
        model: nn.Module,
        *,
        learning_rate: float,
        weight_decay: float = 0.05,
        backbone_multiplier: float = 0.1,
        clip_norm: float = 0.01,
    ) -> None:
        self.clip_norm = clip_norm
        self._learning_rate = learning_rate
        self._weight_decay = weight_decay
        self._dense: dict[str, nn.Parameter] = {}
        self._lazy: dict[str, _LazyRows] = {}
        groups: dict[tuple[float, float], list[nn.Parameter]] = {}
        for name, parameter, decays in _trained_parameters(model):
            if name in LAZY_PARAMETERS:
                self._lazy[name] = _LazyRows(parameter)
                continue
            self._dense[name] = parameter
            multiplier = backbone_multiplier if name.startswith(_BACKBONE) else 1.0
            groups.setdefault((multiplier, weight_decay if decays else 0.0), []).append(parameter)
        settings = [
            {"params": parameters, "multiplier": multiplier, "weight_decay": decay}
            for (multiplier, decay), parameters in groups.items()
        ]
        self._adamw = torch.optim.AdamW(settings, lr=learning_rate, betas=BETAS, eps=EPSILON, fused=True)

    def zero_grad(self) -> None:
        """Forget the gradients of all trained parameters."""
        for parameter in self._dense.values():
            parameter.grad = None
        for rows in self._lazy.values():
            rows.parameter.grad = None

    def step(self, factor: float = 1.0) -> Float[Tensor, ""]:
        """Clip the gradients and update; `factor` multiplies the learning rates (see `learning_rate_factor`).

        Returns the gradients' norm before clipping. Raises PartDistillationError, before anything is
        updated, where it isn't finite.
        """
        touched = {name: rows.gradient() for name, rows in self._lazy.items()}
        gradients = [p.grad for p in self._dense.values() if p.grad is not None]
        norm = torch.nn.utils.get_total_norm([*gradients, *(values for _, values in touched.values())])
        if not torch.isfinite(norm):
            raise PartDistillationError(
                "expected finite gradients, found NaN or infinity: training has diverged. Lower the learning"
                " rate."
            )
        scale = (self.clip_norm / (norm + 1e-6)).clamp(max=1.0)
        torch._foreach_mul_(gradients, scale)
        for group in self._adamw.param_groups:
            group["lr"] = self._learning_rate * group["multiplier"] * factor
        self._adamw.step()
        for name, (rows, values) in touched.items():
            self._lazy[name].update(rows, values * scale, self._learning_rate * factor, self._weight_decay)
        return norm

    def state_tensors(self) -> dict[str, Tensor]:
        """Everything that a resumed run needs, as tensors by "parameter name:kind" (for safetensors)."""
        state = {
            f"{name}:{kind}": value.contiguous()
            for name, parameter in self._dense.items()
            for kind, value in self._adamw.state[parameter].items()
        }
        for name, rows in self._lazy.items():
            state |= {f"{name}:{kind}": value for kind, value in rows.state().items()}
        return state

    def load_state_tensors(self, state: Mapping[str, Tensor]) -> None:
        """Inverse of `state_tensors`: the next step is bit for bit that of the run that was saved.

        Raises CheckpointError where the state is of other parameters or shapes.
        """
        dense = {
            f"{name}:{kind}"
            for name in self._dense
            for kind in ("step", "exp_avg", "exp_avg_sq")
            if f"{name}:step" in state  # absent before the first step, or for what never got a gradient
        }
        expected = dense | {f"{name}:{kind}" for name, rows in self._lazy.items() for kind in rows.state()}
        if expected != set(state):
            missing, unexpected = sorted(expected - set(state)), sorted(set(state) - expected)
            raise CheckpointError(
                f"the optimizer's state isn't of this network: missing {missing[:4]}, unexpected"
                f" {unexpected[:4]}. Was it saved with another `freeze` or head?"
            )
        self._adamw.state.clear()
        for name, parameter in self._dense.items():
            if f"{name}:step" in state:
                self._adamw.state[parameter] = {
                    "step": state[f"{name}:step"].to(parameter.device, copy=True),
                    "exp_avg": _like(name, parameter, state[f"{name}:exp_avg"]),
                    "exp_avg_sq": _like(name, parameter, state[f"{name}:exp_avg_sq"]),
                }
        for name, rows in self._lazy.items():
            for kind, value in rows.state().items():
                value.copy_(_like(f"{name}:{kind}", value, state[f"{name}:{kind}"]))


class _LazyRows:
    """AdamW's state of a table whose rows are updated when they have a gradient."""

    def __init__(self, parameter: nn.Parameter) -> None:
        self.parameter = parameter
        self.exp_avg = torch.zeros_like(parameter)
        self.exp_avg_sq = torch.zeros_like(parameter)
        self.steps = torch.zeros(len(parameter), dtype=torch.int64, device=parameter.device)

    def state(self) -> dict[str, Tensor]:
        return {"exp_avg": self.exp_avg, "exp_avg_sq": self.exp_avg_sq, "steps": self.steps}

    def gradient(self) -> tuple[Int[Tensor, " touched"], Float[Tensor, "touched dim"]]:
        """The rows that have a gradient, and their gradients, averaged over the processes."""
        if self.parameter.grad is None:  # no row was read in this step
            rows = torch.zeros(0, dtype=torch.int64, device=self.parameter.device)
            values = self.parameter.detach()[:0]
        else:
            gradient = self.parameter.grad.coalesce()
            rows, values = gradient.indices()[0], gradient.values()
        if distributed.is_available() and distributed.is_initialized():
            return _mean_over_processes(rows, values)
        return rows, values

    @torch.no_grad()
    def update(self, rows: Tensor, gradients: Tensor, learning_rate: float, weight_decay: float) -> None:
        first, second = BETAS
        self.steps[rows] += 1
        steps = self.steps[rows, None].double()
        mean = self.exp_avg[rows].lerp(gradients, 1 - first)
        square = self.exp_avg_sq[rows].mul(second).addcmul(gradients, gradients, value=1 - second)
        self.exp_avg[rows], self.exp_avg_sq[rows] = mean, square
        root = (1 - second**steps).sqrt().to(square)
        update = mean / (square.sqrt() / root + EPSILON) * (learning_rate / (1 - first**steps)).to(mean)
        self.parameter[rows] = self.parameter[rows] * (1 - learning_rate * weight_decay) - update


def _mean_over_processes(rows: Tensor, values: Tensor) -> tuple[Tensor, Tensor]:
    """Mean of a gradient by rows; each process may have touched other rows, or none."""
    world = distributed.get_world_size()
    counts = [torch.zeros(1, dtype=torch.int64, device=rows.device) for _ in range(world)]
    distributed.all_gather(counts, torch.tensor([len(rows)], device=rows.device))
    longest = max(int(count) for count in counts)
    padded = rows.new_zeros(longest), values.new_zeros(longest, values.shape[1])
    padded[0][: len(rows)], padded[1][: len(rows)] = rows, values
    gathered = []
    for mine in padded:
        all_of_them = [torch.empty_like(mine) for _ in range(world)]
        distributed.all_gather(all_of_them, mine)
        # the padding must go: a row with a gradient of 0 would count as touched
        gathered.append(torch.cat([one[: int(n)] for one, n in zip(all_of_them, counts, strict=True)]))
    touched, place = torch.unique(gathered[0], return_inverse=True)
    summed = values.new_zeros(len(touched), values.shape[1]).index_add_(0, place, gathered[1])
    return touched, summed / world


def _trained_parameters(model: nn.Module) -> Iterator[tuple[str, nn.Parameter, bool]]:
    """Name, parameter, and whether weight decay applies to it; what is shared comes once."""
    seen = set()
    for prefix, module in model.named_modules():
        for name, parameter in module.named_parameters(prefix, recurse=False):
            if parameter.requires_grad and id(parameter) not in seen:
                seen.add(id(parameter))
                exempt = isinstance(module, _WITHOUT_DECAY) or name.endswith(_WITHOUT_DECAY_NAMES)
                yield name, parameter, not exempt


def _like(name: str, wanted: Tensor, value: Tensor) -> Tensor:
    """A copy of `value` with the memory layout and device of `wanted`."""
    if value.shape != wanted.shape:
        raise CheckpointError(
            f"the optimizer's state of {name} has shape {tuple(value.shape)}, expected {tuple(wanted.shape)}."
        )
    return torch.empty_like(wanted, requires_grad=False).copy_(value)
