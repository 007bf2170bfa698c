"""Naming, merging and rejecting through the server; two at once; reviewers' words; learning again."""

from collections.abc import Sequence
from typing import Any

import pytest
from starlette.testclient import TestClient

from partdistillation.errors import StoreError
from partdistillation.runs.part_table import read_part_table
from partdistillation.runs.verdicts import FILE, Verdict, write_verdicts
from partdistillation.studio.decisions import TABLE
from partdistillation.studio.processes import Command

from .conftest import MakeRun

NAMES = "/api/runs/cars/names"


def decide(client: TestClient, version: int, **change: Any) -> Any:
    """Change something of the class car."""
    return client.post(NAMES, json={"version": version, "category": "car", **change})


def test_named_merged_rejected_and_undone(make_run: MakeRun, client: TestClient) -> None:
    out = make_run()
    named = decide(client, 0, kind="name", part=0, name="  wheel ").json()
    assert (named["version"], named["parts"][0]["name"], named["names"]) == (1, "wheel", ["wheel"])
    assert named["undo"] == {"category": "car", "kind": "name", "part": 0, "name": "  wheel "}
    merged = decide(client, 1, kind="merge", part=2, into=0).json()
    assert [(part["part"], part["count"]) for part in merged["parts"]] == [(0, 8), (1, 4)]
    shown = client.get("/api/runs/cars/look/examples?category=car&part=0").json()
    assert shown["total"] == len({tile["number"] for tile in shown["tiles"]}) == 8
    rejected = decide(client, 2, kind="reject", part=1).json()
    assert [part["part"] for part in rejected["rejected"]] == [1]
    assert rejected["edited"]
    layers = client.get("/api/runs/cars/look/photograph?image=0").json()["layers"]
    assert [(part["part"], part["name"]) for part in layers["parts"] if part["category"] == "car"] == [
        (0, "wheel")
    ]
    for version in (3, 4, 5):
        undone = client.post(f"{NAMES}/undo", json={"version": version, "category": "car"}).json()
    assert (undone["undo"], undone["edited"], len(undone["parts"])) == (None, False, 3)
    assert read_part_table(out / TABLE).classes == {}


def test_who_comes_too_late_sees_what_is_there(make_run: MakeRun, client: TestClient) -> None:
    out = make_run()
    decide(client, 0, kind="name", part=0, name="wheel")
    late = decide(client, 0, kind="name", part=0, name="tyre")
    assert late.status_code == 409
    assert late.json()["state"]["parts"][0]["name"] == "wheel"
    assert (
        decide(client, late.json()["state"]["version"], kind="name", part=0, name="tyre").status_code == 200
    )
    assert read_part_table(out / TABLE).name("car", 0) == "tyre"


@pytest.mark.parametrize(
    ("change", "status"),
    [
        ({"kind": "name", "part": 0, "name": "part 2"}, 409),
        ({"kind": "name", "part": 0, "name": "\u202eleehw"}, 409),
        ({"kind": "name", "part": 0, "name": "x" * 81}, 422),
        ({"kind": "name", "part": 7, "name": "wheel"}, 404),
        ({"kind": "merge", "part": 0, "into": 7}, 404),
        ({"kind": "merge", "part": 0}, 409),
        ({"kind": "merge", "part": 0, "into": 0}, 409),
        ({"kind": "split", "part": 0}, 409),
        ({"kind": "restore", "part": 0}, 409),
        ({"kind": "name", "part": True, "name": "wheel"}, 422),
        ({"kind": "other", "part": 0}, 422),
        ({"kind": "name", "part": 0, "name": "wheel", "extra": 1}, 422),
        ({"kind": "name", "part": 0, "category": "none"}, 404),
    ],
)
def test_what_cannot_be_is_refused(
    make_run: MakeRun, client: TestClient, change: dict[str, Any], status: int
) -> None:
    out = make_run()
    answer = decide(client, 0, **change)
    assert answer.status_code == status
    assert answer.json()["detail"]
    assert not (out / TABLE).exists()


def test_what_reviewers_agree_on_is_taken_over_at_once(make_run: MakeRun, client: TestClient) -> None:
    out = make_run()
    assert client.get(f"{NAMES}/reviewed").json() == {"classes": 0}

    def verdict(part: int, name: str, into: int | None = None, action: Any = "judged") -> Verdict:
        return Verdict("Anna", "cars", "car", part, (True,) * 4, None, into, name, action)

    verdicts = [verdict(0, "wheel"), verdict(1, "", into=0), verdict(2, "", action="rejected")]
    (out / FILE).parent.mkdir()
    write_verdicts(out / FILE, verdicts)
    assert client.get(f"{NAMES}/reviewed").json() == {"classes": 1}
    state = client.post(f"{NAMES}/reviewed", json={"version": 0, "category": "car"}).json()
    assert [(part["part"], part["name"], len(part["members"])) for part in state["parts"]] == [
        (0, "wheel", 2)
    ]
    assert [part["part"] for part in state["rejected"]] == [2]
    assert client.get(f"{NAMES}/reviewed").json() == {"classes": 0}


def test_learning_again_is_one_command(
    make_run: MakeRun, client: TestClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    out = make_run()
    started: list[Sequence[str]] = []
    monkeypatch.setattr(Command, "start", lambda _, arguments: started.append(arguments))
    decide(client, 0, kind="name", part=0, name="wheel")
    assert client.post(f"{NAMES}/retraining", json={}).status_code == 409  # names alone
    decide(client, 1, kind="reject", part=1)
    assert client.post(f"{NAMES}/retraining", json={}).json()["state"] == "never"  # as nothing was started
    assert started == [["distill", "--out", str(out), "--parts-table", str(out / TABLE)]]


def test_learning_again_twice_is_refused(
    make_run: MakeRun, client: TestClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    make_run()
    decide(client, 0, kind="reject", part=1)

    def running(*_: object) -> None:
        raise StoreError("it is going on already")

    monkeypatch.setattr(Command, "start", running)
    assert client.post(f"{NAMES}/retraining", json={}).status_code == 409
