"""A part model's folder as it is published: gathered whole, checked, then uploaded as one commit."""

import json
import re
import shutil
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from io import BytesIO
from itertools import groupby
from pathlib import Path
from typing import Any

from partdistillation.config import CONFIG_FILE
from partdistillation.data.paths import is_folder
from partdistillation.errors import CheckpointError, ConfigError, InputError
from partdistillation.inference.segmenter import PartSegmenter
from partdistillation.models import folders, hub
from partdistillation.models.pretrained import PREPROCESSOR, preprocessor, read_info
from partdistillation.objects import OBJECTS_MODEL
from partdistillation.publishing.card import MOST_CLASSES, Card
from partdistillation.publishing.facts import read_facts
from partdistillation.review.collages.drawing import draw_sheet, draw_tiles
from partdistillation.review.collages.sampling import sample_parts
from partdistillation.runs.atomic import make_folder, replace_file
from partdistillation.runs.digests import file_digest, model_files, recorded_versions, write_digests
from partdistillation.runs.part_table import FILE as TABLE
from partdistillation.runs.part_table import PartTable
from partdistillation.runs.run_folder import OBJECTS, images_of, run_of
from partdistillation.runs.shards import file_name
from partdistillation.stages.ranking import PARTS

EXAMPLES = "examples"
"""Folder of the pictures of parts."""
CARD = "README.md"
_QUALITY = 84
_JSON = (folders.CONFIG, folders.INDEX, PREPROCESSOR, TABLE)
_LICENSE = re.compile(r"[a-z0-9][a-z0-9.-]*")
_STALE = [*hub.FILES, f"{EXAMPLES}/*"]
"""What a push removes of an earlier one, unless it is in this one too."""


@dataclass(frozen=True)
class Publication:
    """What is published, and how."""

    model: Path
    """The part model's folder."""
    repo: str
    """owner/name on the hub."""
    license: str
    """An identifier of the hub's, such as apache-2.0 or cc-by-nc-4.0."""
    examples: bool = False
    """Whether pictures of parts, which are crops of the run's photographs, are published."""
    images: Path | None = None
    """Folder of those photographs, where the run doesn't remember it."""
    evaluations: tuple[Path, ...] = ()
    """See `facts.read_facts`."""

    def __post_init__(self) -> None:
        if problem := hub.misnamed(self.repo):
            raise ConfigError(f"{self.repo}: expected owner/name as the hub allows it; {problem}")
        if not _LICENSE.fullmatch(self.license):
            raise ConfigError(
                "--license: expected an identifier as the hub lists them, such as apache-2.0, mit, "
                f"cc-by-nc-4.0 or other, found {self.license!r}"
            )


def write_publication(publication: Publication, out: Path) -> list[str]:
    """Write all files that would be uploaded into a folder that isn't there, or is empty; return their names.

    Raises:
        CheckpointError: the folder isn't that of a finished part model.
        ConfigError, InputError, StoreError: a file that the card is made from can't be used, or `out` holds
            something.
    """
    if out.exists() and (not out.is_dir() or any(out.iterdir())):
        raise InputError(f"{out}: expected a folder to write to that isn't there yet, found one with files")
    parent = make_folder(out.absolute().parent)
    with tempfile.TemporaryDirectory(prefix=f".{out.name}.", dir=parent) as temporary:
        new = Path(temporary) / "new"
        _gather(publication, make_folder(new))
        new.rename(out)  # in place of an empty folder too
    return _names(out)


def push(publication: Publication, *, private: bool = False) -> str:
    """Upload a part model to the hub, as one commit; return the commit's address.

    Raises:
        CheckpointError: as `write_publication`; or the hub doesn't take it.
        ConfigError, InputError, StoreError: as `write_publication`; or a public model was to be private.
    """
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary) / "new"
        write_publication(publication, folder)
        return _upload(folder, publication.repo, private=private)


def _upload(folder: Path, repo: str, *, private: bool) -> str:
    from huggingface_hub import HfApi

    api = HfApi()
    with _explained(repo):
        api.create_repo(repo, private=private, exist_ok=True)
        public = private and not api.model_info(repo).private
    if public:
        raise ConfigError(
            f"{repo}: expected a private model, as --private says, found that it is there already and "
            "public: nothing was uploaded. Change it on the hub, or choose another name"
        )
    with _explained(repo):
        commit = api.upload_folder(
            repo_id=repo,
            folder_path=folder,
            commit_message="Publish a part model",
            delete_patterns=_STALE,
        )
    return str(commit.commit_url)


@contextmanager
def _explained(repo: str) -> Iterator[None]:
    try:
        yield
    except Exception as error:  # the hub client has many, and its library of requests has others
        said = str(error).partition("\n")[0].rstrip(".") or type(error).__name__
        raise CheckpointError(
            f"{repo}: expected that the hub takes the model; it said: {said}. Nothing of it was published, "
            "but an empty model may be there. Is the hub reached, and is this machine logged in (`hf auth "
            "login`) with a token that may write?"
        ) from error


# ---------------------------------------------------------------------- the files


def _gather(publication: Publication, out: Path) -> None:
    model = publication.model
    segmenter = _checked(model)
    run = run_of(model)
    facts = read_facts(model, run, publication.evaluations)
    for folder in (model, model / OBJECTS_MODEL):
        _copy(folder, out / folder.relative_to(model))
    info = segmenter.network.info
    replace_file(out / PREPROCESSOR, preprocessor(info).encode())
    examples: dict[str, str] = {}
    if publication.examples:
        if run is None:
            raise InputError(
                f"{model}: expected it in the folder of its run, where pictures of its parts come from, "
                "found no run there: leave --examples out"
            )
        examples = _examples(model.absolute().parent, run, publication.images, segmenter.part_table, out)
    card = Card(
        publication.repo,
        publication.license,
        info,
        segmenter.catalog,
        facts,
        (out / OBJECTS_MODEL).is_dir(),
        examples,
    )
    replace_file(out / CARD, card.text().encode())
    _write_digests(out, recorded_versions(model))


def _checked(model: Path) -> PartSegmenter:
    """The part model, loaded whole: what can't be loaded isn't published."""
    if not is_folder(model):
        begun = (model.absolute().parent / CONFIG_FILE).is_file()
        hint = "its run isn't finished: run the same command again until it is" if begun else "check the path"
        raise CheckpointError(f"{model}: expected the folder of a part model, found none; {hint}")
    if read_info(model).head != "parts":
        raise CheckpointError(
            f"{model}: expected a part model, as in OUT/part_model, found a model of "
            f"{len(read_info(model).class_names)} classes without parts"
        )
    return PartSegmenter.from_pretrained(model, device="cpu")


def _copy(folder: Path, out: Path) -> None:
    """Copy what is loaded of a model's folder: not what it was trained from, or what lies beside it."""
    for path in model_files(folder):
        if path.suffix != ".json" or path.name in _JSON:
            make_folder(out)
            shutil.copyfile(path, out / path.name)
    if (out / folders.CONFIG).is_file():
        config = _without_paths(folders.read_json(out / folders.CONFIG))
        replace_file(out / folders.CONFIG, (json.dumps(config, indent=2, sort_keys=True) + "\n").encode())


def _without_paths(values: Any) -> Any:
    """A configuration without the folders that transformers notes down in it."""
    if isinstance(values, list):
        return [_without_paths(value) for value in values]
    if not isinstance(values, dict):
        return values
    return {name: _without_paths(value) for name, value in values.items() if name != "_name_or_path"}


def _examples(trained: Path, run: Path, images: Path | None, table: PartTable, out: Path) -> dict[str, str]:
    """Write a picture of part classes for each object class; their files by object class."""
    folder = images_of(run, images)
    samples = (
        sample
        for sample in sample_parts(run / OBJECTS, trained / PARTS, per_part=3)
        if table.of(sample.category).becomes(sample.part) == sample.part
    )
    files: dict[str, str] = {}
    for category, group in groupby(samples, key=lambda sample: sample.category):
        if len(files) == MOST_CLASSES:
            break
        rows = [(sample, [tile.picture for tile in draw_tiles(folder, sample.tiles)]) for sample in group]
        files[category] = f"{EXAMPLES}/{file_name(category)}.webp"
        picture = BytesIO()
        draw_sheet(category, rows).save(picture, "WEBP", quality=_QUALITY)
        replace_file(make_folder(out / EXAMPLES) / Path(files[category]).name, picture.getvalue())
    return files


def _write_digests(out: Path, made_with: Mapping[str, str]) -> None:
    """Of all that is loaded, that of the model that finds objects too: a part of it is then noticed."""
    inner = out / OBJECTS_MODEL
    if inner.is_dir():
        write_digests(inner, made_with=made_with)
    paths = [*model_files(out), *model_files(inner)]
    write_digests(out, {str(path.relative_to(out)): file_digest(path) for path in paths}, made_with=made_with)


def _names(folder: Path) -> list[str]:
    return sorted(str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file())


def listed(folder: Path, names: Sequence[str]) -> str:
    """The files with their sizes, a line each."""
    return "\n".join(f"{(folder / name).stat().st_size:>13,}  {name}" for name in names)
