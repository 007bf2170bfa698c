"""How long the studio takes to answer for a new photograph: seconds by the clock, and of the processor.

    python benchmarks/studio_try.py PART_MODEL PHOTOGRAPHS

Photographs are brought to a longer side of 512 pixels. What is timed is the worker's answer: decoding, the
objects, their parts, the outlines; then one click that makes another object. The first photograph comes after
the page has readied the model, as when somebody opens it.
"""

import argparse
import io
import os
import tempfile
import time
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from statistics import median

from PIL import Image

from partdistillation.studio.pieces import Click
from partdistillation.studio.questions import Correct, Know, Look, Question, Upload
from partdistillation.studio.worker import Worker

SIDE = 512


def photographs(folder: Path, count: int) -> Iterator[Upload]:
    """The first ones, as JPEG files of that size."""
    for number, path in enumerate(sorted(folder.rglob("*.[jp][pn]g"))[:count]):
        with Image.open(path) as image:
            scale = SIDE / max(image.size)
            size = (max(1, round(image.width * scale)), max(1, round(image.height * scale)))
            buffer = io.BytesIO()
            image.convert("RGB").resize(size).save(buffer, "JPEG", quality=92)
        yield Upload(f"photograph {number}", path.name, buffer.getvalue())


def seconds(worker: Worker, question: Question[object]) -> tuple[float, float]:
    """By the clock, and of the worker's processor time."""
    clock, before = time.perf_counter(), _processor(worker)
    worker.ask(question)
    return time.perf_counter() - clock, _processor(worker) - before


def _processor(worker: Worker) -> float:
    if worker.pid is None:
        return 0.0
    fields = Path(f"/proc/{worker.pid}/stat").read_text(encoding="utf-8").rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def _told(label: str, times: list[tuple[float, float]]) -> str:
    numbers = (f"{of(column):.2f}" for column in zip(*times, strict=True) for of in (median, max))
    return f"| {label} | {' | '.join(numbers)} |"


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("model", type=Path)
    parser.add_argument("photographs", type=Path)
    parser.add_argument("--count", type=int, default=10)
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as place, closing(Worker(Path(place) / "uploads")) as worker:
        ready = seconds(worker, Know(arguments.model))
        looks, clicks = [], []
        for upload in photographs(arguments.photographs, arguments.count):
            looks.append(seconds(worker, Look(arguments.model, upload)))
            click = Click(SIDE // 3, SIDE // 3, inside=True)
            clicks.append(seconds(worker, Correct(arguments.model, upload, None, None, (click,))))
    load = os.getloadavg()[0]
    print(f"{len(looks)} photographs, {os.cpu_count()} cores, load {load:.0f}\n")
    print("| | s, median | most | CPU s, median | most |\n|---|---|---|---|---|")
    print(_told("the model is readied", [ready]))
    print(_told("the first photograph", looks[:1]))
    print(_told("the others", looks[1:]))
    print(_told("a click", clicks))


if __name__ == "__main__":
    main()
