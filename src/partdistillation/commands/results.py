"""What leaves a run: parts for other tools, and back; its model for the hub and for onnxruntime."""

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

from partdistillation.commands.arguments import Arguments, Command, Positional, Written
from partdistillation.config import Engine, Format, Inputs
from partdistillation.runs.mirror import original
from partdistillation.runs.terminal import say
from partdistillation.settings import PositiveInt, Share


@dataclass(frozen=True, kw_only=True)
class ExportArguments(Arguments):
    folder: Annotated[Path, Positional("FOLDER")]
    """Folder of a run, or of what `partdistill predict` wrote."""
    to: Format
    """Format: docs/exports.md says what each is for."""
    out: Path
    """New folder to write to."""
    images: Path | None = None
    """Folder of the photographs; without it the run's own."""
    min_score: Share = 0.0
    """Least score of a part."""
    parts_table: Path | None = None
    """Part table: which parts are joined, left out and what they are called."""
    copy_images: bool = False
    """Copy the photographs too, into OUT/images."""
    decode: bool = False
    """Of `datasets`: masks as images, a row a mask, instead of the run's rows as they are."""
    workers: PositiveInt = 1
    """Processes that write side by side; the files don't depend on it."""
    engine: Engine = "processes"
    """Who writes: this command's processes, (shared) all commands with this --out, or (ray) a Ray cluster."""
    ray_address: str = ""
    """With --engine ray: the cluster's head, HOST:PORT or auto; without it a Ray on this machine."""


def export(arguments: ExportArguments) -> None:
    """Write parts or predictions for other tools (COCO, YOLO, CVAT, ...)."""
    from partdistillation.inference import exports

    who = Inputs(engine=arguments.engine, ray_address=arguments.ray_address, device="cpu")
    written = exports.export(
        arguments.folder,
        arguments.to,
        arguments.out,
        images=arguments.images,
        min_score=arguments.min_score,
        part_table=arguments.parts_table,
        copy_images=arguments.copy_images,
        decode=arguments.decode,
        workers=arguments.workers,
        engine=who.driver,
    )
    say(original(f"Wrote {arguments.out}: {written}"))


@dataclass(frozen=True, kw_only=True)
class ImportArguments(Arguments):
    file: Annotated[Path, Positional("FILE")]
    """What the tool exported: COCO, Label Studio's JSON, or CVAT's export as Datumaro (.json or .zip)."""
    images: Path
    """Folder of the photographs."""
    out: Path
    """Folder to write objects.json and parts.json to."""


def import_corrected(arguments: ImportArguments) -> None:
    """Read masks that were corrected in another tool: COCO objects + parts."""
    from partdistillation.datasets.corrected import read_corrected

    say(f"Wrote {arguments.out}: {read_corrected(arguments.file, arguments.images, arguments.out)}")


@dataclass(frozen=True, kw_only=True)
class PushArguments(Arguments):
    model: Annotated[Path, Positional("PART_MODEL")]
    """Folder of a part model, as in OUT/part_model; the card is written from the run that it lies in."""
    repo: Annotated[str, Positional("OWNER/NAME")]
    """What it is to be called on the hub."""
    license: Annotated[str, Written("LICENSE")]
    """Licence of the model, as the hub lists them: apache-2.0, cc-by-nc-4.0, other, ..."""
    private: bool = False
    """Only you, or your organization, may see it."""
    examples: bool = False
    """Publish pictures of the parts too: they are crops of the run's photographs."""
    images: Path | None = None
    """Folder of those photographs, where the run doesn't remember it."""
    evaluations: Annotated[tuple[Path, ...], Written("FILE")] = ()
    """Scores for the card: what `evaluate --model` wrote; without it those in the run's folder."""
    dry_run: bool = False
    """Upload nothing: write all files into OUT and list them."""
    out: Path = Path("out/push")
    """With --dry-run: folder to write to, which isn't there yet."""


def push(arguments: PushArguments) -> None:
    """Publish a part model on the Hugging Face hub, with a card."""
    from partdistillation.publishing import push

    publication = push.Publication(
        arguments.model,
        arguments.repo,
        arguments.license,
        arguments.examples,
        arguments.images,
        arguments.evaluations,
    )
    if arguments.dry_run:
        names = push.write_publication(publication, arguments.out)
        say(push.listed(arguments.out, names))
        say(f"{len(names)} files in {arguments.out}; nothing was uploaded")
    else:
        say(f"Published {push.push(publication, private=arguments.private)}")


@dataclass(frozen=True, kw_only=True)
class ExportOnnxArguments(Arguments):
    part_model: Annotated[Path, Positional("PART_MODEL")]
    """Folder of a part model, as in OUT/part_model."""
    out: Path
    """Folder to write, which is the model: copy it as a whole."""
    verify: bool = False
    """Compare onnxruntime with PyTorch on a few drawings, and fail where the parts differ."""


def export_onnx(arguments: ExportOnnxArguments) -> None:
    """Write a part model in ONNX, which runs without PyTorch."""
    from partdistillation.inference import onnx_export

    onnx_export.export_onnx(arguments.part_model, arguments.out)
    say(f"Wrote {arguments.out}")
    if arguments.verify:
        say(str(onnx_export.verify(arguments.part_model, arguments.out)))


COMMANDS = (
    Command("export", ExportArguments, export),
    Command("import", ImportArguments, import_corrected),
    Command("export-onnx", ExportOnnxArguments, export_onnx),
    Command("push", PushArguments, push),
)
