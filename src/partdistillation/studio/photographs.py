"""Pictures, as the browser gets them."""

from pathlib import Path

import numpy as np
from fastapi import HTTPException
from fastapi.responses import FileResponse, Response
from jaxtyping import UInt8

from partdistillation.pictures.webp import webp
from partdistillation.runs.run_folder import FIRST_LOOK

_QUALITY = 86
_EFFORT = 2
"""Half the time of the usual 4, for files that are a little larger."""


def encoded(pixels: UInt8[np.ndarray, "height width 3"]) -> bytes:
    """The file of a picture."""
    return webp(pixels, quality=_QUALITY, effort=_EFFORT)


def first_look(out: Path) -> Response:
    """What was seen first of a run in this folder, estimated or begun.

    Raises:
        HTTPException: nothing yet.
    """
    path = out / FIRST_LOOK
    if not path.is_file():
        raise HTTPException(404, "there is none yet")
    return FileResponse(path, media_type="image/png")


def picture(file: bytes) -> Response:
    """A picture that may be another one in an hour."""
    return _response(file, "private, max-age=3600")


def unchanging(file: bytes) -> Response:
    """A picture at an address that will never show another: the browser needn't ask again."""
    return _response(file, "private, max-age=31536000, immutable")


def _response(file: bytes, kept: str) -> Response:
    return Response(file, media_type="image/webp", headers={"cache-control": kept})
