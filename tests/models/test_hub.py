"""Published models without a network: one short try, and what works without."""

import os
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from huggingface_hub import constants
from huggingface_hub.utils import filter_repo_objects  # type: ignore[attr-defined]

from partdistillation.errors import CheckpointError
from partdistillation.models import hub
from partdistillation.models.backbones import backbone_config
from partdistillation.models.part_mask2former import PartMask2Former
from partdistillation.models.pretrained import read_config


class Session:
    """Refuses every request, and counts them."""

    def __init__(self) -> None:
        self.requests = 0

    def head(self, _: str, *, timeout: float) -> None:
        assert timeout <= 10
        self.requests += 1
        raise ConnectionError


@pytest.fixture
def session(monkeypatch: pytest.MonkeyPatch) -> Iterator[Session]:
    refusing = Session()
    monkeypatch.setattr(hub, "get_session", lambda: refusing)
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", False)
    monkeypatch.setenv("HF_HUB_OFFLINE", "0")
    hub.try_once.cache_clear()
    yield refusing
    hub.try_once.cache_clear()


@pytest.mark.parametrize("read", [read_config, backbone_config])
def test_a_hub_that_does_not_answer_is_asked_once(read: object, session: Session) -> None:
    assert callable(read)
    for _ in range(2):
        with pytest.raises(CheckpointError) as caught:
            read("out/mine")
        message = str(caught.value)
        assert message.startswith("out/mine: expected a model directory or the name of a published model")
        assert f"no folder {os.getcwd()}/out/mine" in message  # noqa: PTH109
        assert "the hub can't be reached" in message
        assert "builtin:part-shapes" in message
    assert session.requests == 1
    assert os.environ["HF_HUB_OFFLINE"] == "1"  # for processes that are started


def test_a_name_that_the_hub_cannot_have_is_called_so() -> None:
    for name in ("photos/my model", "a/b--c", "a/b.git"):
        with pytest.raises(CheckpointError, match="it can't be a published model's name") as caught:
            hub.snapshot(name)
        assert "no folder" in str(caught.value)


def test_a_snapshot_by_branch_or_commit(
    published: Callable[[Path, str], str], small_network: PartMask2Former, tmp_path: Path
) -> None:
    small_network.save_pretrained(tmp_path / "model")
    first = published(tmp_path / "model", "owner/name")
    (tmp_path / "model/notes.json").write_text("{}")
    second = published(tmp_path / "model", "owner/name")
    assert hub.snapshot("owner/name").name == hub.commit("owner/name") == second
    assert hub.snapshot("owner/name", "main").name == second
    assert hub.snapshot("owner/name", first).name == first
    with pytest.raises(CheckpointError, match=r"owner/name@v2: expected a model directory or the name"):
        hub.snapshot("owner/name", "v2")


def test_links_out_of_a_snapshot_are_not_followed(
    published: Callable[[Path, str], str], small_network: PartMask2Former, tmp_path: Path
) -> None:
    small_network.save_pretrained(tmp_path / "model")
    published(tmp_path / "model", "owner/name")
    folder = hub.snapshot("owner/name")
    (folder / "part_table.json").symlink_to("/etc/hostname")
    with pytest.raises(CheckpointError, match=r"part_table\.json: expected a file, found a link to /"):
        hub.snapshot("owner/name")
    (folder / "part_table.json").unlink()
    (folder / "objects_model").symlink_to(tmp_path, target_is_directory=True)
    with pytest.raises(CheckpointError, match="objects_model: expected a file, found a link"):
        hub.snapshot("owner/name")


def test_nothing_but_data_is_downloaded(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    files = ["config.json", "objects_model/u2netp.onnx", "model.safetensors", "model.bin", "run.py", "a.pkl"]
    asked: list[str] = []

    def download(name: str, *, revision: str | None, allow_patterns: list[str]) -> str:
        assert (name, revision) == ("owner/name", "v1")
        asked.extend(filter_repo_objects(files, allow_patterns=allow_patterns))
        return str(tmp_path)

    monkeypatch.setattr(hub, "snapshot_download", download)
    hub.snapshot("owner/name", "v1")
    assert asked == files[:3]
