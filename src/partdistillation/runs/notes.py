"""Notes on a run: small JSON files that nothing is computed from."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from partdistillation.runs import terminal
from partdistillation.runs.atomic import make_folder, replace_file

_log = terminal.logger(__name__)


def read_note(path: Path) -> dict[str, Any]:
    """What a note says; nothing, if it isn't there, or (which the log says) is damaged."""
    try:
        values = json.loads(path.read_bytes())
    except FileNotFoundError:
        return {}
    except (OSError, ValueError, RecursionError) as error:
        values = error
    if not isinstance(values, dict):
        _log.warning("%s: expected a JSON object, found %s; the note is begun anew", path, values)
        return {}
    return values


def write_note(path: Path, values: Mapping[str, object]) -> Path:
    """Write a note, whole or not at all.

    Raises:
        StoreError: the folder can't be written.
    """
    make_folder(path.parent)
    replace_file(path, (json.dumps(values, indent=1) + "\n").encode())
    return path
