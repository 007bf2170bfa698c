"""Names of models, as settings have them."""

from collections.abc import Callable
from pathlib import Path

import pytest

from partdistillation.errors import CheckpointError, ConfigError
from partdistillation.models import sources
from partdistillation.models.part_mask2former import PartMask2Former
from partdistillation.models.sources import Source, folder_of, pinned, resolve


@pytest.fixture
def weights(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A package with one model in it."""
    folder = tmp_path / "weights"
    (folder / "part_shapes").mkdir(parents=True)
    (folder / "part_shapes/config.json").write_text("{}")
    (folder / "__pycache__").mkdir()
    monkeypatch.setattr(sources, "_WEIGHTS", folder)
    return folder


def test_built_in(weights: Path) -> None:
    assert resolve("builtin:part-shapes") == Source(weights / "part_shapes", (weights / "part_shapes",))


@pytest.mark.parametrize("name", ["builtin:", "builtin:none", "builtin:..", "builtin:__pycache__"])
def test_built_in_models_are_listed(name: str, weights: Path) -> None:
    with pytest.raises(CheckpointError, match=f"expected one of builtin:part-shapes, found {name}"):
        resolve(name)


def test_no_built_in_models(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sources, "_WEIGHTS", tmp_path / "none")
    with pytest.raises(CheckpointError, match="expected one of no built-in models, found builtin:any"):
        resolve("builtin:any")


def test_directory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "owner/model").mkdir(parents=True)
    assert resolve(str(tmp_path)) == Source(tmp_path, (tmp_path,))
    monkeypatch.setenv("HOME", str(tmp_path))
    assert resolve("~/owner").path == tmp_path / "owner"
    monkeypatch.chdir(tmp_path)
    assert resolve("owner/model") == Source(Path("owner/model"), (Path("owner/model"),))


def test_a_file_is_no_model(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "checkpoints").mkdir()
    (tmp_path / "checkpoints/model.pth").touch()
    monkeypatch.chdir(tmp_path)
    with pytest.raises(CheckpointError, match="found a file; `partdistill convert` makes a directory of"):
        resolve("checkpoints/model.pth")


def test_published_model() -> None:
    name = "facebook/mask2former-swin-large-coco-instance"
    assert resolve(name) == Source(name, ())


@pytest.mark.parametrize("name", ["/nowhere/model", "./nowhere", "../a/b", "~/nowhere", "model", "a/b/c"])
def test_what_is_meant_as_a_path_must_be_there(name: str) -> None:
    with pytest.raises(CheckpointError, match="found neither"):
        resolve(name)


def test_a_published_model_is_pinned_by_its_commit(
    published: Callable[[Path, str], str],
    small_network: PartMask2Former,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    small_network.save_pretrained(tmp_path / "model")
    first = published(tmp_path / "model", "owner/name")
    assert pinned("owner/name") == f"owner/name@{first}"
    assert pinned("owner/name@main") == f"owner/name@{first}"
    (tmp_path / "model/notes.json").write_text("{}")
    second = published(tmp_path / "model", "owner/name")
    assert pinned("owner/name") == f"owner/name@{second}"
    assert pinned(f"owner/name@{first}") == f"owner/name@{first}"
    source = resolve(f"owner/name@{first}")
    assert (Path(source.path).name, source.files) == (first, ())
    assert PartMask2Former.from_pretrained(source.path).info == small_network.info
    monkeypatch.chdir(tmp_path)
    assert pinned("./model") == "./model"


def test_the_folder_of_a_model(
    published: Callable[[Path, str], str], small_network: PartMask2Former, tmp_path: Path
) -> None:
    small_network.save_pretrained(tmp_path / "model")
    commit = published(tmp_path / "model", "owner/name")
    assert folder_of(tmp_path / "model") == tmp_path / "model"
    assert folder_of("owner/name").name == folder_of("owner/name", "main").name == commit
    for name in (str(tmp_path / "model"), "owner/name@main"):
        with pytest.raises(ConfigError, match="revision: expected none"):
            folder_of(name, "main")
