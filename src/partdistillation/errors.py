"""The exceptions of the project. Each message says what was expected, what was found and what to do."""


class PartDistillationError(Exception):
    """Base class: everything that the command line reports without a traceback."""


class ConfigError(PartDistillationError):
    """A setting out of range, unknown, or in contradiction with another."""


class InputError(PartDistillationError):
    """An image, mask or annotation file that can't be used."""


class SettingsChanged(PartDistillationError):
    """A stage was resumed with settings other than those it was started with."""


class StoreError(PartDistillationError):
    """A stage's files are missing, damaged, or not what the manifest says."""


class CheckpointError(PartDistillationError):
    """A model directory or checkpoint that can't be loaded."""


def to_install(extra: str) -> str:
    """The command that installs an optional part: in a clone, since no package index has the software yet.

    >>> to_install("review")
    "pip install '.[review]'"
    """
    return pip_install(f"'.[{extra}]'")


def pip_install(packages: str) -> str:
    """The command that installs packages.

    >>> pip_install("tensorboard")
    'pip install tensorboard'
    """
    return f"pip install {packages}"
