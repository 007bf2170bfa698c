"""Reviewers at work while the server is killed again and again: what it acknowledged is there, once."""

import http.client
import json
import os
import random
import signal
import subprocess
import sys
import threading
import time
from contextlib import closing, suppress
from pathlib import Path
from typing import Any

import pytest

from partdistillation.commands import main as cli
from partdistillation.review import export_verdicts, serve
from partdistillation.review.store import ReviewStore
from partdistillation.runs.verdicts import FILE, read_verdicts

from .conftest import MakeRun

pytestmark = pytest.mark.slow


class Server:
    """The command in a process of its own, at one port from start to start."""

    def __init__(self, out: Path) -> None:
        with serve.listening("127.0.0.1", 0) as listener:
            self.port = listener.getsockname()[1]
        command = [sys.executable, "-m", "partdistillation", "review", str(out)]
        self._command = [
            *command,
            "--images",
            str(out / "photos"),
            "--port",
            str(self.port),
            "--verdicts",
            "99",
        ]
        self.start()

    def start(self) -> None:
        self._process = subprocess.Popen(self._command, stdout=subprocess.PIPE, text=True)
        assert self._process.stdout is not None
        assert self._process.stdout.readline().startswith("Review at http://127.0.0.1:")

    def kill(self) -> None:
        os.kill(self._process.pid, signal.SIGKILL)
        self._end()

    def stop(self, ending: signal.Signals = signal.SIGINT) -> int:
        self._process.send_signal(ending)
        return self._end()

    def _end(self) -> int:
        assert self._process.stdout is not None
        self._process.stdout.close()
        return self._process.wait(timeout=60)


class Reviewer(threading.Thread):
    """Votes, again under the same request id until there is an answer; notes what was acknowledged."""

    def __init__(self, number: int, port: int, votes: int) -> None:
        super().__init__(daemon=True)
        self.name = f"reviewer {number}"
        self.acknowledged: dict[str, tuple[int, list[bool]]] = {}
        self.votes = self.replays = 0
        self._port, self._wanted = port, votes
        self._chance = random.Random(number)
        self._connection: http.client.HTTPConnection | None = None
        self._page = ""

    def run(self) -> None:
        try:
            self._judge()
        finally:
            self._hang_up()

    def _judge(self) -> None:
        items = self._until_answered("page", {"reviewer": self.name})["page"]["items"]
        while self.votes < self._wanted:
            item = self._chance.choice(items)
            marks = [self._chance.random() < 0.5 for _ in item["tiles"]]
            vote = {
                "reviewer": self.name, "item": item["id"], "request": f"request-{self.votes}",
                "action": "judged", "base": self.acknowledged.get(item["id"], (0, []))[0], "marks": marks,
                "duplicate_of": None, "merged_into": None, "name": f"{self.votes}",
            }  # fmt: skip
            answer = self._until_answered("vote", vote)
            assert answer["replaced"] is None
            assert answer["state"]["vote"]["name"] == vote["name"]
            self.acknowledged[item["id"]] = (answer["state"]["version"], marks)
            self.votes += 1
            if self._chance.random() < 0.1:  # a double click
                assert self._until_answered("vote", vote)["state"] == answer["state"]
                self.replays += 1

    def _until_answered(self, path: str, body: dict[str, Any]) -> dict[str, Any]:
        while True:
            try:
                if not self._page:
                    self._page = self._post("session", {})["page"]
                return self._post(path, body)
            except (OSError, http.client.HTTPException):
                self._hang_up()
                self.replays += path == "vote"
                time.sleep(0.02)

    def _hang_up(self) -> None:
        if self._connection is not None:
            self._connection.close()
            self._connection = None

    def _post(self, path: str, body: dict[str, Any]) -> dict[str, Any]:
        if self._connection is None:
            self._connection = http.client.HTTPConnection("127.0.0.1", self._port, timeout=30)
        headers = {
            "Origin": f"http://127.0.0.1:{self._port}",
            "Content-Type": "application/json",
            "X-Review-Page": self._page,
        }
        self._connection.request("POST", f"/api/{path}", json.dumps(body), headers)
        response = self._connection.getresponse()
        answer: dict[str, Any] = json.loads(response.read())
        assert response.status == 200, answer
        return answer


@pytest.mark.parametrize(
    ("reviewers", "votes", "kills"),
    [(6, 20, 2), pytest.param(32, 200, 20, marks=[pytest.mark.long, pytest.mark.timeout(900)])],
)
def test_a_vote_acknowledged_is_a_vote_stored(
    make_run: MakeRun, reviewers: int, votes: int, kills: int
) -> None:
    out = make_run(parts=8)
    server = Server(out)
    people = [Reviewer(number, server.port, votes) for number in range(reviewers)]
    for person in people:
        person.start()
    try:
        for kill in range(1, kills + 1):
            _wait_for(people, reviewers * votes * kill // (kills + 1))
            server.kill()
            server.start()
        for person in people:
            person.join(timeout=600)
        assert [person.votes for person in people] == [votes] * reviewers
        assert sum(person.replays for person in people) > 0
    finally:
        with suppress(ProcessLookupError):
            code = server.stop()
    assert code == 130
    _compare(out, people, reviewers * votes)


def _wait_for(people: list[Reviewer], votes: int) -> None:
    while sum(person.votes for person in people) < votes:
        assert all(person.is_alive() or person.votes == person._wanted for person in people)
        time.sleep(0.005)


def _compare(out: Path, people: list[Reviewer], votes: int) -> None:
    database = out / serve.FOLDER / serve.DATABASE
    store = ReviewStore(database)
    ((check,),) = store.query("PRAGMA integrity_check")
    ((versions,),) = store.query("SELECT count(*) FROM history")
    rows = store.query(
        "SELECT reviewers.name, items.key, version, marks FROM verdicts "
        "JOIN reviewers ON reviewers.id = reviewer JOIN items ON items.id = item"
    )
    store.close()
    stored = {(name, key): (version, [mark == "1" for mark in marks]) for name, key, version, marks in rows}
    assert check == "ok"
    assert len(stored) == len(rows)  # one row a reviewer and item
    assert versions == votes  # no vote twice
    assert stored == {
        (person.name, key): last for person in people for key, last in person.acknowledged.items()
    }
    assert len(export_verdicts(database)) == len(rows)
    assert len((out / FILE).read_text().splitlines()) == len(rows)


@pytest.mark.parametrize("ending", [signal.SIGINT, signal.SIGTERM])
def test_verdicts_are_written_however_the_server_is_ended(
    ending: signal.Signals, make_run: MakeRun, capsys: pytest.CaptureFixture[str]
) -> None:
    out = make_run(categories=("car",))
    server = Server(out)
    assert server.stop(ending) == 130
    assert not (out / FILE).exists()  # nobody has answered
    capsys.readouterr()
    assert cli.main(["review-scores", str(out)]) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert "expected verdicts" in line

    server.start()
    reviewer = Reviewer(0, server.port, votes=3)
    reviewer.start()
    reviewer.join(timeout=60)
    with closing(http.client.HTTPConnection("127.0.0.1", server.port, timeout=30)) as page_left_open:
        page_left_open.request("GET", "/")
        page_left_open.getresponse().read()
        assert server.stop(ending) == 130
    written = read_verdicts(out / FILE)
    assert len(written) == len(reviewer.acknowledged) > 0
    assert cli.main(["review-scores", str(out)]) == 0
