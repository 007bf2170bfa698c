"""What a run is to be made with, as the first page has it, and its start."""

import os
import re
import threading
from pathlib import Path
from typing import Annotated, Literal

from fastapi import HTTPException
from pydantic import StringConstraints

from partdistillation.data.image_folder import EXTENSIONS, FolderScan
from partdistillation.objects import saliency_weights
from partdistillation.recipes import DEFAULT
from partdistillation.review.web import Body
from partdistillation.runs.atomic import locked, remove_folder
from partdistillation.runs.run_folder import STUDIO
from partdistillation.studio.drafts import PHOTOGRAPHS
from partdistillation.studio.places import Places
from partdistillation.studio.preview import photographs_of
from partdistillation.studio.processes import Command
from partdistillation.studio.workspace import Workspace

Source = Literal["salient", "annotations", "masks", "mask2former", "detic", "sam3", "grounded_sam"]
Recipe = Literal["small", "one_gpu", "paper", "released_1k", "released_21k", "demo"]
RECIPES: dict[Recipe, str] = {
    "small": "Photographs, on a laptop; nothing is fetched",
    "demo": "Small drawings, on a laptop",
    "one_gpu": "A published model as encoder; a night on one GPU of 24 GB",
    "paper": "The paper's settings, for many GPUs",
    "released_1k": "The authors' released settings for ImageNet's 1,000 classes",
    "released_21k": "The authors' released settings for 21,000 classes",
}
"""What each is for."""

_LOCK = ".new.lock"
_FOR_LAPTOPS = ("small", "demo")
_MOST_WORKERS = 8
_HUB_NAME = re.compile(r"[A-Za-z0-9][\w.-]*/[A-Za-z0-9][\w.-]*(@[\w.-]+)?")

_Key = Annotated[str, StringConstraints(pattern=r"^[0-9a-f]{16}$")]
_Path = Annotated[str, StringConstraints(max_length=4000)]


class Draft(Body):
    """Which run that is to begin."""

    draft: _Key


class Plan(Draft):
    """What a run is to be made with."""

    folder: _Path = ""
    """Of photographs; empty: those that were dropped."""
    source: Source = "salient"
    objects: _Path = ""
    """File or folder of masks."""
    model: Annotated[str, StringConstraints(max_length=400)] = ""
    """That finds the objects; empty: the source's own."""
    recipe: Recipe = DEFAULT  # type: ignore[assignment]  # `recipes` says what it is
    settings: _Path = ""
    """YAML file whose settings go over the recipe's."""


class Start(Plan):
    """And what it is called."""

    name: Annotated[str, StringConstraints(max_length=200)]


class Starting:
    """From what was chosen to a process."""

    def __init__(self, workspace: Workspace, places: Places) -> None:
        self._workspace, self._places = workspace, places
        self._lock = threading.Lock()
        self._scanned: tuple[Path, FolderScan] | None = None

    def images(self, out: Path, folder: str) -> Path:
        """The folder of photographs: the chosen one, or that of dropped ones."""
        return self._places.folder(folder) if folder else out / PHOTOGRAPHS

    def photographs(self, images: Path, *, again: bool = True) -> FolderScan:
        """Those of a folder; unless `again`, as they were when it was looked at last."""
        scanned = self._scanned
        if again or scanned is None or scanned[0] != images:
            scanned = self._scanned = images, photographs_of(images, self._holds)
        return scanned[1]

    def photograph(self, images: Path, file: str) -> Path:
        """One of a folder.

        Raises:
            HTTPException: the name leads out of what may be looked at, or is no photograph's.
        """
        name, path = Path(file), images / file
        inside = not name.is_absolute() and ".." not in name.parts and self._holds(path)
        if not inside or name.suffix.lower() not in EXTENSIONS:
            raise HTTPException(404, "no such photograph")
        return path

    def arguments(self, out: Path, plan: Plan) -> list[str]:
        """Those of `partdistill` for a run in a folder, `--out` left out.

        Raises:
            HTTPException: something that was chosen can't be used.
        """
        images = self.images(out, plan.folder)
        self.photographs(images)
        workers = min(os.cpu_count() or 1, _MOST_WORKERS) if plan.recipe in _FOR_LAPTOPS else 1
        arguments = ["run", "--images", str(images), "--recipe", plan.recipe, "--workers", str(workers)]
        if plan.settings:
            arguments += ["--config", str(self._places.file(plan.settings))]
        arguments += ["--objects.source", plan.source]
        match plan.source:
            case "salient" if not saliency_weights.is_there():
                raise HTTPException(
                    409, "the network that finds what stands out isn't on this machine yet: get it first"
                )
            case "annotations":
                arguments += ["--objects", str(self._places.file(plan.objects))]
            case "masks":
                arguments += ["--objects", str(self._places.folder(plan.objects))]
            case _ if plan.model:
                arguments += ["--objects.model", self._model(plan.model)]
        return arguments

    def start(self, draft: Path, plan: Start) -> Path:
        """Make a draft a run's folder, and start its process; the folder.

        Raises:
            HTTPException: something can't be used, or the name is taken.
        """
        with self._lock, locked(self._workspace.folder, name=_LOCK, wait=True):
            out = self._workspace.new(plan.name)
            if not draft.is_dir():
                raise HTTPException(409, "this run has begun")
            self.arguments(draft, plan)  # or what can't be used is found out after the folder has moved
            remove_folder(draft / STUDIO)
            if plan.folder:  # what was dropped before isn't used
                remove_folder(draft / PHOTOGRAPHS)
            draft.rename(out)
            try:
                Command(out / STUDIO).start([*self.arguments(out, plan), "--out", str(out)])
            except BaseException:
                out.rename(draft)
                raise
        return out

    def _holds(self, path: Path) -> bool:
        """Whether it is what may be chosen, or a photograph that was dropped; whatever links there are."""
        try:
            folder, resolved = self._workspace.folder, path.resolve()
        except (OSError, ValueError, RuntimeError):  # as `Places.holds`
            return False
        dropped = resolved.is_relative_to(folder) and resolved.relative_to(folder).parts[1:2] == (
            PHOTOGRAPHS,
        )
        return dropped or self._places.holds(path)

    def _model(self, text: str) -> str:
        if _HUB_NAME.fullmatch(text):
            return text
        return str(self._places.folder(text))
