"""The command: what it refuses, and what it leaves."""

import socket
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

from partdistillation.commands import main as cli
from partdistillation.errors import ConfigError, StoreError
from partdistillation.review import serve
from partdistillation.review.store import ReviewStore
from partdistillation.review.votes import Vote
from partdistillation.runs.atomic import locked
from partdistillation.runs.verdicts import FILE, read_verdicts

from .conftest import MakeRun, fill


@pytest.fixture
def taken() -> Iterator[int]:
    with closing(serve.listening("127.0.0.1", 0)) as listener:
        yield listener.getsockname()[1]


def error_of(capsys: pytest.CaptureFixture[str], *args: object) -> str:
    assert cli.main(["review", *map(str, args)]) == 2
    return capsys.readouterr().err


@pytest.mark.parametrize("host", ["0.0.0.0", "192.168.1.7", "::", "example.org"])
def test_others_need_a_token(host: str) -> None:
    with pytest.raises(ConfigError, match="--token"):
        serve.check_access(host, None)
    serve.check_access(host, "x" * serve.MIN_TOKEN)
    with pytest.raises(ConfigError, match="at least 16 characters, found 5"):
        serve.check_access(host, "short")


@pytest.mark.parametrize("host", ["127.0.0.1", "127.8.8.8", "::1", "localhost"])
def test_this_machine_needs_none(host: str) -> None:
    serve.check_access(host, None)


def test_the_suggested_token_is_long_enough() -> None:
    with pytest.raises(ConfigError) as caught:
        serve.check_access("0.0.0.0", None)
    serve.check_access("0.0.0.0", str(caught.value).rpartition("--token ")[2])


def test_listening_for_others_is_warned_of(capsys: pytest.CaptureFixture[str]) -> None:
    with closing(serve.listening("127.0.0.1", 0)) as listener:
        serve.announce(listener, "0.0.0.0", "secret")
        port = listener.getsockname()[1]
    shown = capsys.readouterr()
    assert "can be reached by others" in shown.err
    assert "secret" not in shown.err
    assert f"http://{socket.gethostname()}:{port}/#token=secret" in shown.out


def test_a_port_that_is_taken(make_run: MakeRun, taken: int, capsys: pytest.CaptureFixture[str]) -> None:
    out = make_run()
    assert "Choose another --port" in error_of(capsys, out, "--images", out / "photos", "--port", taken)


def test_one_server_a_review(make_run: MakeRun, capsys: pytest.CaptureFixture[str]) -> None:
    out = make_run()
    (out / serve.FOLDER).mkdir()
    with locked(out / serve.FOLDER):
        assert "is in use" in error_of(capsys, out, "--images", out / "photos", "--port", 0)


@pytest.mark.parametrize(
    ("args", "message"),
    [
        (("--verdicts", 0), "--verdicts: expected an integer at least 1"),
        (("--port", 65536), "--port: expected an integer from 0 to 65535"),
        (("--host", "0.0.0.0"), "reviewers need a token"),
        ((), "expected a stage's folder"),
        (("--export", "x.jsonl"), "expected the database of a review"),
    ],
)
def test_what_the_command_refuses(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], args: tuple[object, ...], message: str
) -> None:
    assert message in error_of(capsys, tmp_path, *args)


def test_export(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / serve.FOLDER).mkdir()
    with closing(ReviewStore(tmp_path / serve.FOLDER / serve.DATABASE)) as store:
        fill(store, "car")
        store.vote(store.reviewer("Anna"), 1, Vote("judged", (True,) * 3), request="request-1", base=0)
        assert cli.main(["review", str(tmp_path), "--export", str(tmp_path / "v.jsonl")]) == 0
    assert "1 verdicts" in capsys.readouterr().out
    (verdict,) = read_verdicts(tmp_path / "v.jsonl")
    assert (verdict.reviewer, verdict.run, verdict.part) == ("Anna", "run", 0)


def judge(out: Path, *votes: Vote) -> Path:
    """A review of three part classes in which Anna has said these; return its database."""
    (out / serve.FOLDER).mkdir(exist_ok=True)
    database = out / serve.FOLDER / serve.DATABASE
    with closing(ReviewStore(database)) as store:
        fill(store, "car", parts=3)
        for item, vote in enumerate(votes, start=1):
            store.vote(store.reviewer("Anna"), item, vote, request=f"request-{item}", base=0)
    return database


def test_verdicts_that_a_database_does_not_know_are_kept(tmp_path: Path) -> None:
    file = tmp_path / FILE
    database = judge(tmp_path, *[Vote("judged", (True,) * 3)] * 3)
    assert serve.export(tmp_path, file) == 3
    before = file.read_bytes()
    database.unlink()
    with pytest.raises(StoreError, match="expected the database of a review"):
        serve.export(tmp_path, file)
    with pytest.raises(StoreError, match="its 3 verdicts would be lost"):
        serve.opened(database, file)
    assert not database.exists()
    judge(tmp_path, Vote("rejected", ()))  # an older one, say
    with pytest.raises(StoreError, match=r"found 2 that it doesn't, such as \('Anna', 'car', 1\)"):
        serve.export(tmp_path, file)
    assert file.read_bytes() == before


def test_a_database_of_no_bytes_is_missing(tmp_path: Path) -> None:
    serve.export(tmp_path, judge(tmp_path, Vote("rejected", ())).parent.parent / FILE)
    (tmp_path / serve.FOLDER / serve.DATABASE).write_bytes(b"")
    with pytest.raises(StoreError, match="1 verdicts would be lost"):
        serve.opened(tmp_path / serve.FOLDER / serve.DATABASE, tmp_path / FILE)


def test_what_a_reviewer_took_back_is_kept_beside(tmp_path: Path) -> None:
    database = judge(tmp_path, Vote("rejected", ()))
    serve.export(tmp_path, tmp_path / FILE)
    with closing(ReviewStore(database)) as store:
        store.undo(store.reviewer("Anna"), 1, request="request-9", base=1)
    assert serve.export(tmp_path, tmp_path / FILE) == 0
    assert not (tmp_path / FILE).exists()
    assert len(read_verdicts(tmp_path / "review/verdicts.before.jsonl")) == 1


def test_no_empty_file_is_written(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    judge(tmp_path)
    assert cli.main(["review", str(tmp_path), "--export", str(tmp_path / FILE)]) == 0
    assert capsys.readouterr().out == f"nobody has answered yet: {tmp_path / FILE} isn't written\n"
    assert not (tmp_path / FILE).exists()


def test_a_damaged_database_is_said_so_when_it_is_opened(tmp_path: Path) -> None:
    database = judge(tmp_path, *[Vote("judged", (True,) * 3)] * 3)
    content = bytearray(database.read_bytes())
    content[4096 * 3 : 4096 * 12] = bytes(4096 * 9)
    database.write_bytes(content)
    with pytest.raises(StoreError, match="expected the database of a review, found"):
        serve.opened(database, tmp_path / FILE)


def test_a_machine_without_that_address() -> None:
    with pytest.raises(ConfigError, match="can't listen at"):
        serve.listening("203.0.113.1", 0)


def test_a_port_can_be_taken_again_at_once() -> None:
    with closing(serve.listening("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
        with closing(socket.create_connection(("127.0.0.1", port))):
            listener.accept()[0].close()
    serve.listening("127.0.0.1", port).close()
