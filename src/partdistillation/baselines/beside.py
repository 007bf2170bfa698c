"""The baselines that share stage 5's settings, trained after the method or, on a CPU, beside it."""

import sys
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import Future
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from threading import Thread

import torch

from partdistillation.baselines import FOLDER, one_stage, supervised
from partdistillation.config import Inputs, Recipe
from partdistillation.errors import PartDistillationError
from partdistillation.models.devices import choose_device
from partdistillation.runs import profiling
from partdistillation.runs.atomic import explained, make_folder
from partdistillation.runs.workers import TaskFailedError, WorkerDiedError, map_on_processes

BASELINES: Mapping[str, Callable[[Inputs, Recipe], Path]] = {
    one_stage.NAME: one_stage.run,
    supervised.NAME: supervised.run,
}
"""Each trains the same network for as many steps as stage 5, with other labels, and returns its folder."""
PROGRESS = "progress.log"
"""In the folder of the baselines: what their training says where it runs beside the method."""


@contextmanager
def learned(inputs: Inputs, recipe: Recipe, *, beside: bool) -> Iterator[dict[str, Callable[[], Path]]]:
    """The baselines, each to be called for its model's folder.

    With `beside`, on a CPU, they are trained meanwhile, in a process and on a thread of their own: small
    networks use two cores better side by side than one after the other. This process then computes on one
    thread less, by which sums round differently.
    """
    if not beside or choose_device(inputs.device).type != "cpu":
        yield {name: partial(learn, inputs, recipe) for name, learn in BASELINES.items()}
        return
    models: dict[str, Future[Path]] = {name: Future() for name in BASELINES}
    Thread(target=_learn_beside, args=(inputs, recipe, models), daemon=True).start()
    threads = torch.get_num_threads()
    torch.set_num_threads(max(threads - 1, 1))
    try:
        yield {name: model.result for name, model in models.items()}
    finally:
        torch.set_num_threads(threads)


def _learn_beside(inputs: Inputs, recipe: Recipe, models: Mapping[str, Future[Path]]) -> None:
    """Train all baselines in one other process; it ends when this one does."""
    make = partial(_learner, inputs, recipe, profiling.owner())
    try:
        for key, (folder, costs) in map_on_processes(make, enumerate(models), workers=1):
            profiling.merge(costs)
            list(models.values())[key].set_result(folder)
    except (TaskFailedError, WorkerDiedError) as error:
        cause = error.__cause__ or PartDistillationError(
            "the baselines' process died; mostly that is the system running out of memory: run the same "
            "command again, with --workers 1"
        )
        for model in models.values():
            if not model.done():
                model.set_exception(cause)


def _learner(
    inputs: Inputs, recipe: Recipe, profile_owner: int | None
) -> Callable[[str], tuple[Path, profiling.Costs]]:
    """What a process of its own does: train the baseline of a name, and leave the terminal alone."""
    log = inputs.out / FOLDER / PROGRESS
    with explained(log):
        sys.stderr = (make_folder(log.parent) / PROGRESS).open("a", encoding="utf-8")
    profiling.help_with(profile_owner)
    return lambda name: (BASELINES[name](inputs, recipe), profiling.hand_over())
