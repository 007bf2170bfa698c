"""The processes of one training run, which torchrun starts: who is who, and what they say to each other."""

import os
from collections.abc import Collection, Iterator, Mapping
from contextlib import contextmanager

import torch
from torch import Tensor, distributed, nn

from partdistillation.errors import PartDistillationError


def world() -> int:
    """How many processes train together."""
    return distributed.get_world_size() if _joined() else 1


def rank() -> int:
    """Which of them this is, from 0; process 0 is the one that writes."""
    return distributed.get_rank() if _joined() else 0


def _joined() -> bool:
    return distributed.is_available() and distributed.is_initialized()


@contextmanager
def processes(device: torch.device) -> Iterator[None]:
    """Join the other processes, where torchrun has started several; does nothing where there is but one."""
    if int(os.environ.get("WORLD_SIZE", "1")) == 1 or _joined():
        yield
        return
    if device.type == "cuda":
        torch.cuda.set_device(device)
    distributed.init_process_group("nccl" if device.type == "cuda" else "gloo")
    yield
    # Not where an error is on its way: the others may be waiting for an answer, and this would wait for
    # them. torchrun ends them when this process has ended.
    distributed.destroy_process_group()


@contextmanager
def together() -> Iterator[None]:
    """Around what processes say to each other: an error there is the end of one of them.

    Raises:
        PartDistillationError: in place of what the library says of the connection.
    """
    try:
        yield
    except RuntimeError as error:
        raise PartDistillationError(
            f"process {rank()} of {world()}: another process of this training has ended; its message says "
            "why, or the system stopped it (memory?). Start them again to go on from the last checkpoint "
            f"[{str(error).splitlines()[0]}]"
        ) from error


def agree(number: int, device: torch.device) -> int:
    """Process 0's number, in every process, once all of them are here."""
    if not _joined():
        return number
    message = torch.tensor(number, device=device)
    with together():
        distributed.broadcast(message, src=0)
        return int(message)


def wait_for_all() -> None:
    """Return when every process has come here."""
    if _joined():
        with together():
            distributed.barrier()


def gather_batch(rows: Tensor) -> Tensor:
    """A row for each image of the whole batch, in its order, of a row for each image of this process's share.

    Image i of process r is the batch's image number i * processes + r.
    """
    if not _joined():
        return rows
    shares = [torch.empty_like(rows) for _ in range(world())]
    with together():
        distributed.all_gather(shares, rows)
    return torch.stack(shares, dim=1).flatten(0, 1)


def average_numbers(numbers: Mapping[str, float], device: torch.device) -> dict[str, float]:
    """Mean of each number over the processes."""
    if not _joined():
        return dict(numbers)
    message = torch.tensor(list(numbers.values()), device=device)
    with together():
        distributed.all_reduce(message)
    return dict(zip(numbers, (message / world()).tolist(), strict=True))


def average_gradients(model: nn.Module, sparse: Collection[str]) -> None:
    """Mean of the dense gradients over the processes, in one message; `Optimizer` sees to the `sparse` ones.

    A gradient that is missing here (a part of the network that these images didn't use) counts as zero. One
    that is missing everywhere stays missing, so that the optimizer leaves the parameter alone, as it does in
    a single process.
    """
    if not _joined():
        return
    parameters = [p for name, p in model.named_parameters() if p.requires_grad and name not in sparse]
    flat = [p.new_zeros(p.numel()) if p.grad is None else p.grad.reshape(-1) for p in parameters]
    present = flat[0].new_tensor([p.grad is not None for p in parameters])
    message = torch.cat([*flat, present])
    with together():
        distributed.all_reduce(message)
    *sums, present = torch.split(message, [*(p.numel() for p in parameters), len(parameters)])
    for parameter, summed, count in zip(parameters, sums, present.tolist(), strict=True):
        if count:
            mean = summed.view_as(parameter) / world()
            parameter.grad = mean if parameter.grad is None else parameter.grad.copy_(mean)
