"""A run's status in words."""

from collections import Counter
from collections.abc import Iterator
from datetime import timedelta

from partdistillation.runs.claims import Claims
from partdistillation.status.look import Status
from partdistillation.status.progress import Progress
from partdistillation.status.workers import Worker

_NAMED = 8
"""Workers that give no sign of life, and tasks that workers died at."""


def lines(status: Status) -> Iterator[str]:
    """For people to read."""
    yield f"{status.place}: {_state(status)}"
    if status.state != "nothing there":
        yield ""
        for stage in status.stages:
            yield _stage(stage, status.losses.get(stage.stage.name))
        if status.left is not None:
            yield f"About {duration(status.left)} left in all."
    yield from _workers(status)
    yield from _deadly(status)
    yield from _rejected(status)
    for problem in status.problems:
        yield f"Damage: {problem}"


def duration(seconds: float) -> str:
    """0:12:30, or 2 days, 3:00:00."""
    return str(timedelta(seconds=round(seconds)))


def _state(status: Status) -> str:
    match status.state:
        case "nothing there":
            return "no stage of a run has begun in it"
        case "quiet":
            return (
                f"quiet. Nothing changed in {status.looked:.0f} s, and nobody gave a sign of life: it has "
                "stopped (the same command again goes on), or is slower than that (--watch looks longer)"
            )
        case "going on":
            return "going on" + (", by a command of this machine" if status.here else "")
        case "finished":
            return "finished"


def _stage(stage: Progress, loss: float | None) -> str:
    words = []
    if stage.total:
        count = f"{stage.total:,}" if stage.state == "done" else f"{stage.done:,} of {stage.total:,}"
        words.append(f"{count} {stage.stage.unit}")
    if loss is not None and stage.state != "waiting":
        words.append(f"loss {loss:.3f}")
    if stage.rate is not None:
        words.append(f"{stage.rate:.3g} a second")
    if stage.state == "done" and stage.seconds is not None:
        words.append(f"took {duration(stage.seconds)}")
    if stage.left is not None and stage.state != "done":
        words.append(f"about {duration(stage.left)} left")
    return f"{stage.stage.name:<14}{stage.state:<10}{', '.join(words)}".rstrip()


def _workers(status: Status) -> Iterator[str]:
    if not status.workers:
        return
    alive = [worker for worker in status.workers if worker.sign is not None]
    hosts = Counter(worker.name.partition(",")[0] for worker in alive)
    where = f" ({', '.join(f'{host} {count}' for host, count in sorted(hosts.items()))})" if hosts else ""
    yield ""
    yield (
        f"Workers at a task: {len(status.workers)}, of which {len(alive)} gave a sign of life in "
        f"{status.looked:.0f} s{where}"
    )
    silent = [worker for worker in status.workers if worker.sign is None]
    if silent:
        yield (
            f"Without one (it comes every {Claims.heartbeat:.0f} s; after {Claims.patience:.0f} s without, "
            "another takes over):"
        )
    yield from (_silent(worker) for worker in silent[:_NAMED])
    if len(silent) > _NAMED:
        yield f"  and {len(silent) - _NAMED} more"


def _silent(worker: Worker) -> str:
    more = f" and {len(worker.tasks) - 1} more" if len(worker.tasks) > 1 else ""
    return f"  {worker.name}, at {worker.tasks[0]}{more}"


def _deadly(status: Status) -> Iterator[str]:
    for task in status.deadly[:_NAMED]:
        yield (
            f"{task.task}: {task.deaths} workers died, or were stopped, at it"
            + ("; nobody tries it again" if task.left else "")
        )
    if len(status.deadly) > _NAMED:
        yield f"and {len(status.deadly) - _NAMED} more that workers died at"


def _rejected(status: Status) -> Iterator[str]:
    rejected = status.rejected
    if not rejected.photographs:
        return
    looked_at = "" if rejected.looked_at == rejected.done else f" that were looked at, of {rejected.done:,}"
    yield ""
    yield f"Rejected: {rejected.photographs:,} of {rejected.looked_at:,} photographs{looked_at}"
    yield from (f"{count:>9,}  {why}" for why, count in rejected.reasons)
