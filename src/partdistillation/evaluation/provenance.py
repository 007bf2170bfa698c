"""What scores were measured on and made from."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from partdistillation.config import Recipe
from partdistillation.runs.manifest import Json, canonical_hash
from partdistillation.runs.stage_reader import contents_hash

_HASH = 12


@dataclass(frozen=True)
class Provenance:
    """What was compared; SHA-256 of contents, paths don't count."""

    truth: str
    made_from: Mapping[str, str]
    """What the predictions were made from, by name: models, objects."""
    predictions: str = ""
    """Of the rows or the file; empty where a model was evaluated."""
    config: str = ""
    """Of the settings, or of a run's `config.yaml` where its files are scored; empty where there is none."""
    unknown_classes: tuple[str, ...] = ()
    """Object classes with true parts that the model doesn't know: its own part ids aren't scored on them."""

    @classmethod
    def of_files(
        cls, truth: Path, made_from: Mapping[str, Path], recipe: Recipe, unknown_classes: tuple[str, ...] = ()
    ) -> "Provenance":
        """What models made with a recipe's settings: of the contents of files and folders, by name."""
        hashes = {name: contents_hash(path) for name, path in made_from.items()}
        config = canonical_hash(recipe.to_dict())
        return cls(contents_hash(truth), hashes, config=config, unknown_classes=unknown_classes)

    def to_dict(self) -> dict[str, Json]:
        """Plain values for JSON."""
        return {
            "predictions": self.predictions or None,
            "truth": self.truth,
            "made_from": dict(self.made_from),
            "config": self.config or None,
            "unknown_classes": list(self.unknown_classes),
        }

    def hashes(self) -> dict[str, str]:
        """The beginnings of all hashes, by name."""
        hashes = {
            "predictions": self.predictions,
            "truth": self.truth,
            **self.made_from,
            "config": self.config,
        }
        return {name: value[:_HASH] for name, value in hashes.items() if value}

    def columns(self) -> dict[str, str]:
        """The same as columns of a CSV."""
        return {f"sha256 of {name}": value for name, value in self.hashes().items()}

    def __str__(self) -> str:
        hashes = ", ".join(f"{name} {value}" for name, value in self.hashes().items())
        unknown = ", ".join(self.unknown_classes)
        note = f"The model doesn't know: {unknown}; only clustered scores count them.\n\n" if unknown else ""
        return f"{note}SHA-256: {hashes}"
