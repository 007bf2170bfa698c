"""Versions of the software: kept in manifests, and named in the log where they change."""

import json
import logging
from pathlib import Path

import pytest

from partdistillation.runs import manifest, versions
from partdistillation.runs.manifest import MANIFEST
from partdistillation.runs.records import ObjectRow
from partdistillation.runs.shards import ImageRef, Shard
from partdistillation.runs.store import encode_shard, open_stage

SHARDS = [Shard(name, (ImageRef(name),)) for name in "ab"]


def begin(folder: Path, *finished: int) -> dict[str, str]:
    """Commit these shards, and tell the versions in the manifest."""
    with open_stage(folder, row=ObjectRow, shards=SHARDS, settings={}) as stage:
        for index in finished:
            row = ObjectRow("ab"[index], "a.png", 1, 1, "rejected", "no objects", ())
            stage.commit(index, encode_shard(SHARDS[index], [row], ObjectRow))
        stage.finish()
    made_with: dict[str, str] = json.loads((folder / MANIFEST).read_bytes())["versions"]
    return made_with


def test_a_manifest_names_them(tmp_path: Path) -> None:
    assert begin(tmp_path, 0).keys() == {"partdistillation", "torch", "transformers", "numpy"}


def test_others_are_named_where_a_stage_goes_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    before = begin(tmp_path, 0)
    fingerprints = [entry.fingerprint for entry in manifest.load(tmp_path).shards]
    monkeypatch.setattr(versions, "versions", lambda: before | {"torch": "99.0"})
    with caplog.at_level(logging.WARNING):
        assert begin(tmp_path, 1)["torch"] == f"{before['torch']}, 99.0"
    assert f"was begun with torch {before['torch']} (now 99.0)" in caplog.text
    assert [entry.fingerprint for entry in manifest.load(tmp_path).shards] == fingerprints
    caplog.clear()
    monkeypatch.setattr(versions, "versions", lambda: before | {"torch": "100.0"})
    assert begin(tmp_path)["torch"] == f"{before['torch']}, 99.0"  # finished: nothing is computed
    assert not caplog.text


def test_a_manifest_of_older_software_has_none(tmp_path: Path) -> None:
    begin(tmp_path, 0)
    fields = json.loads((tmp_path / MANIFEST).read_bytes())
    del fields["versions"]
    (tmp_path / MANIFEST).write_text(json.dumps(fields))
    assert begin(tmp_path, 1) == versions.versions()
