"""AdamW as Mask2Former is trained with; the rows of a part head are updated lazily (see `lazy_rows`)."""

import math
from collections.abc import Iterator, Mapping
from functools import partial
from typing import Literal

import torch
from jaxtyping import Float
from torch import Tensor, nn

from partdistillation.errors import CheckpointError, PartDistillationError
from partdistillation.training.lazy_rows import BETAS, EPSILON, LazyRows

LAZY_PARAMETERS = ("class_predictor.rows",)
"""Tables with sparse gradients. `Optimizer.step` averages these over the processes, row by row."""

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
        exact_rows: bool = False,
    ) -> None:
        """`exact_rows` makes a part head's rows what dense AdamW makes them, instead of updating them lazily:
        they are caught up whenever the head reads them, and by `finish`.
        """
        self.clip_norm = clip_norm
        self._learning_rate = learning_rate
        self._dense: dict[str, nn.Parameter] = {}
        self._lazy: dict[str, LazyRows] = {}
        groups: dict[tuple[float, float], list[nn.Parameter]] = {}
        for name, parameter, decays in _trained_parameters(model):
            if name in LAZY_PARAMETERS:
                rows = LazyRows(parameter, weight_decay=weight_decay, exact=exact_rows)
                self._lazy[name] = rows
                if exact_rows:
                    head = model.get_submodule(name.rpartition(".")[0])
                    head.register_forward_pre_hook(partial(_catch_up, rows))
                continue
            self._dense[name] = parameter
            multiplier = backbone_multiplier if name.startswith(_BACKBONE) else 1.0
            groups.setdefault((multiplier, weight_decay if decays else 0.0), []).append(parameter)
        settings = [
            {"params": parameters, "multiplier": multiplier, "weight_decay": decay}
            for (multiplier, decay), parameters in groups.items()
        ]
        settings = settings or [{"params": [], "multiplier": 1.0}]  # where rows alone learn
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
        if gradients:
            torch._foreach_mul_(gradients, scale)
        for group in self._adamw.param_groups:
            group["lr"] = self._learning_rate * group["multiplier"] * factor
        self._adamw.step()
        for name, (rows, values) in touched.items():
            self._lazy[name].update(rows, values * scale, self._learning_rate * factor)
        return norm

    def finish(self) -> None:
        """Bring rows that are updated exactly up to date: after the last step, before the model is used."""
        for rows in self._lazy.values():
            rows.catch_up()

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
            rows.load(name, {kind: state[f"{name}:{kind}"] for kind in rows.state()})


def _catch_up(rows: LazyRows, _head: nn.Module, read: tuple[Tensor, Tensor]) -> None:
    """Before a part head reads rows: `read` is what its `forward` is called with."""
    rows.catch_up(torch.unique(read[1]))


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
