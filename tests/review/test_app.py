"""The pages and answers of a review, and who is refused them."""

import json
import re
from collections.abc import Callable, Iterator, Mapping
from contextlib import closing
from io import BytesIO
from pathlib import Path
from typing import Any

import pytest
from fastapi import FastAPI
from PIL import Image
from starlette.testclient import TestClient

from partdistillation.review import export_verdicts, serve
from partdistillation.review.app import make_app
from partdistillation.review.assignment import Assignment
from partdistillation.review.guard import COOKIE, MAX_BODY, Access
from partdistillation.review.items import TILE_SIZE, Tiles, add_runs, find_runs
from partdistillation.review.store import ReviewStore

from .conftest import HOSTILE, MakeRun, fill

TOKEN = "a token that is long enough"
ORIGIN = "http://127.0.0.1:8765"


class Client(TestClient):
    """A browser with the page open."""

    database: Path

    def ask(self, path: str, answer: int = 200, /, **body: Any) -> dict[str, Any]:
        response = self.post(f"/api/{path}", json=body)
        assert response.status_code == answer, response.text
        return dict(response.json())

    def vote(self, item: dict[str, Any], answer: int = 200, /, **changes: Any) -> dict[str, Any]:
        body = {
            "reviewer": "Anna",
            "item": item["id"],
            "request": "request-1",
            "base": item["state"]["version"],
            "action": "judged",
            "marks": [True] * len(item["tiles"]),
            "duplicate_of": None,
            "merged_into": None,
            "name": "",
        }
        return self.ask("vote", answer, **body | changes)


Open = Callable[..., Client]


def opened(
    store: ReviewStore,
    images: Mapping[int, Path],
    *,
    host: str = "127.0.0.1",
    token: str | None = None,
    verdicts: int = 1,
) -> Client:
    guard = serve.make_application(store, images, host=host, token=token, verdicts=verdicts, seed=0)
    client = Client(guard, base_url=ORIGIN)
    client.database = store.path
    client.headers.update({"origin": ORIGIN, "x-review-page": "?"})
    if not token:
        client.headers["x-review-page"] = client.ask("session", token=None)["page"]
    return client


@pytest.fixture
def open_review(store: ReviewStore, tmp_path: Path) -> Open:
    """Opens the page of a review of runs with two classes of three parts."""

    def make(*runs: str, **settings: Any) -> Client:
        names = runs or ("out",)
        ids = {fill(store, "car", HOSTILE, parts=3, run=run): tmp_path for run in names}
        return opened(store, ids, **settings)

    return make


@pytest.fixture
def client(open_review: Open) -> Client:
    return open_review()


@pytest.fixture(scope="module")
def strict(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Client]:
    """One for all tests whose requests are refused."""
    folder = tmp_path_factory.mktemp("strict")
    with closing(ReviewStore(folder / "review.sqlite")) as store:
        yield opened(store, {fill(store, "car", parts=3): folder})


def page_of(client: Client, **asked: Any) -> dict[str, Any]:
    page = client.ask("page", **{"reviewer": "Anna", **asked})["page"]
    assert page is not None
    return dict(page)


# ---------------------------------------------------------------------- judging


def test_a_class_is_shown_with_its_parts(client: Client) -> None:
    answer = client.ask("page", reviewer="Anna")
    page = answer["page"]
    assert answer["progress"] == {"parts": 6, "finished": 0, "yours": 0, "reviewers": 0}
    assert page["category"] in ("car", HOSTILE)
    assert (page["position"], page["set"], page["sets"]) == (1, 1, 1)
    assert [len(item["tiles"]) for item in page["items"]] == [3, 3, 3]
    assert [item["available"] for item in page["items"]] == [3, 3, 3]
    assert {item["state"]["version"] for item in page["items"]} == {0}
    assert page_of(client) == page  # until it is answered


def test_pictures_are_drawn_when_asked_for(store: ReviewStore, make_run: MakeRun) -> None:
    out = make_run()
    client = opened(store, add_runs(store, find_runs([out], out / "photos"), seed=0))
    key = page_of(client)["items"][0]["tiles"][2]
    folder = client.database.parent / "tiles"
    assert list(folder.iterdir()) == []
    response = client.get(f"/tiles/{key}")
    assert response.headers["content-type"] == "image/webp"
    assert "immutable" in response.headers["cache-control"]
    picture = Image.open(BytesIO(response.content))
    assert (picture.format, picture.size) == ("WEBP", (TILE_SIZE, TILE_SIZE))
    assert len(list(folder.iterdir())) == 4  # of the whole part
    large = client.get(f"/tiles/{key}/large")
    assert large.headers["cache-control"] == response.headers["cache-control"]
    assert Image.open(BytesIO(large.content)).format == "WEBP"
    before = {path: path.stat().st_mtime_ns for path in folder.iterdir()}
    assert len(before) == 5  # it alone
    assert client.get(f"/tiles/{key}").content == response.content
    assert client.get(f"/tiles/{key}/large").content == large.content
    assert {path: path.stat().st_mtime_ns for path in folder.iterdir()} == before


def test_votes_undo_and_what_is_exported(client: Client) -> None:
    first, second, third = page_of(client)["items"]
    category = page_of(client)["category"]
    answer = client.vote(first, marks=[True, True, False], name=" the\twheel ")
    assert answer["replaced"] is None
    assert answer["state"]["vote"]["name"] == "the wheel"
    same = client.vote(second, duplicate_of=first["id"], merged_into=first["id"])
    assert same["state"]["vote"]["duplicate_of"] == first["id"]
    client.vote(third, action="rejected")
    state = page_of(client, page=page_of(client)["id"])
    undo = {"reviewer": "Anna", "item": third["id"], "request": "request-2", "base": 1}
    assert client.ask("undo", **undo)["state"]["vote"] is None
    assert client.ask("undo", **undo)["state"]["version"] == 2
    refused = client.ask("undo", 409, **undo | {"request": "request-3"})
    assert refused["state"]["version"] == 2
    found = [
        (v.part, v.marks, v.duplicate_of, v.merged_into, v.name) for v in export_verdicts(client.database)
    ]
    assert found == [
        (0, (True, True, False), None, None, "the wheel"),
        (1, (True,) * 3, 0, 0, ""),
    ]
    assert {(v.reviewer, v.run, v.category) for v in export_verdicts(client.database)} == {
        ("Anna", "out", category)
    }
    assert state["position"] == 2  # all three had answers then, so another class was opened
    assert client.ask("page", reviewer="Anna")["names"] == ["the wheel"]


def test_double_clicks_and_two_windows(client: Client) -> None:
    item = page_of(client)["items"][0]
    first = client.vote(item)
    assert client.vote(item) == first
    older = client.vote(item, request="request-2", action="skipped")
    assert older["replaced"] == first["state"]
    assert older["state"]["vote"]["action"] == "skipped"
    assert client.vote(item, request="request-3", base=2)["replaced"] is None


@pytest.mark.parametrize(
    "changes",
    [
        {"marks": [True]},
        {"marks": [True] * 10},
        {"marks": [1, 1, 1]},
        {"action": "approved"},
        {"action": "rejected", "duplicate_of": "FIRST"},
        {"duplicate_of": "LAST"},
        {"merged_into": "ITSELF"},
        {"duplicate_of": "0" * 24},
        {"name": "x" * 81},
        {"name": "\ud800"},
        {"request": "short"},
        {"base": -1},
        {"base": "0"},
        {"reviewer": ""},
        {"reviewer": " \n\0"},
        {"reviewer": "x" * 61},
        {"more": 1},
    ],
)
def test_votes_that_cannot_be(strict: Client, changes: dict[str, Any]) -> None:
    first, item, last = page_of(strict)["items"]
    keys = {"FIRST": first["id"], "ITSELF": item["id"], "LAST": last["id"]}
    given = {
        name: keys.get(value, value) if isinstance(value, str) else value for name, value in changes.items()
    }
    body = json.dumps(
        {
            "reviewer": "Anna", "item": item["id"], "request": "request-1", "base": 0, "action": "judged",
            "marks": [True] * 3, "duplicate_of": None, "merged_into": None, "name": "",
        } | given
    )  # fmt: skip
    response = strict.post("/api/vote", content=body, headers={"content-type": "application/json"})
    assert response.status_code == 422
    assert set(response.json()) == {"detail"}
    assert export_verdicts(strict.database) == []


def test_unknown_things(strict: Client) -> None:
    item = page_of(strict)["items"][0]
    strict.vote(item | {"id": "0" * 24}, 404)
    strict.ask("page", 404, reviewer="Anna", page="0" * 24, go="here")
    for path in (
        "tiles/" + "0" * 24,
        "tiles/x",
        "tiles/x/large",
        "tiles/" + "0" * 24 + "/large",
        "static/app.py",
        "static/index.html",
        "docs",
        "openapi.json",
    ):
        assert strict.get(f"/{path}").status_code == 404
    assert (
        strict.post("/api/vote", content=b"{", headers={"content-type": "application/json"}).status_code
        == 422
    )


@pytest.mark.parametrize(
    "path",
    ["../review.sqlite", "..%2freview.sqlite", "%2e%2e/review.sqlite", "..%5creview.sqlite",
     "%2fetc%2fpasswd", "....//review.sqlite", "tiles%00", "../../photos/0.png"],
)  # fmt: skip
def test_paths_lead_nowhere(strict: Client, path: str) -> None:
    for place in ("tiles", "static"):
        assert strict.get(f"/{place}/{path}").status_code == 404


def test_going_back_and_forth(client: Client) -> None:
    first = page_of(client)
    second = page_of(client, page=first["id"], go="next")
    assert second["category"] != first["category"]
    assert page_of(client, page=second["id"], go="previous") == first
    assert page_of(client, page=first["id"], go="previous") == first
    assert page_of(client, page=first["id"], go="next") == second
    assert page_of(client, page=second["id"], go="next") == first  # nothing new: what is still open
    for item in [*first["items"], *second["items"]]:
        client.vote(item)
    last = client.ask("page", reviewer="Anna", page=second["id"], go="next")
    assert last["page"] is None
    assert last["progress"] == {"parts": 6, "finished": 6, "yours": 6, "reviewers": 1}
    assert client.ask("page", reviewer="Ben")["page"] is None
    assert page_of(client, go="previous")["id"] == second["id"]


def test_agreement(open_review: Open) -> None:
    client = open_review(verdicts=2)
    assert client.ask("agreement") == {"alpha": None}
    item = page_of(client)["items"][0]
    client.vote(item, marks=[True, True, False])
    client.vote(item, marks=[True, True, False], reviewer="Ben")
    assert client.ask("agreement") == {"alpha": 1.0}
    client.vote(item, marks=[True, False, False], reviewer="Cem")
    # By hand: one of the second image's 3 marks differs: 2 * 2 / (3 - 1) = 2; of all 9 marks 5 are yes.
    assert client.ask("agreement")["alpha"] == pytest.approx(1 - 2 * 8 / (2 * 5 * 4))
    client.vote(item, action="skipped", reviewer="Dan")
    assert client.ask("agreement")["alpha"] == pytest.approx(1 - 2 * 8 / (2 * 5 * 4))


def test_what_came_of_it(open_review: Open) -> None:
    client = open_review()
    nothing = {"parts": 3, "judged": 0, "consistent": 0, "named": 0, "merged": 0, "rejected": 0}
    answer = client.ask("outcome")
    assert answer["classes"] == [{"category": name, **nothing} for name in (HOSTILE, "car")]
    assert (answer["of"], answer["all"]["parts"], answer["alpha"]) == (2, 6, None)
    first, second, third = page_of(client)["items"]
    category = page_of(client)["category"]
    client.vote(first, name="wheel")
    client.vote(second, merged_into=first["id"], marks=[True, True, False])
    client.vote(third, action="rejected")
    answer = client.ask("outcome")
    found = {"parts": 3, "judged": 3, "consistent": 1, "named": 1, "merged": 1, "rejected": 1}
    assert {"category": category, **found} in answer["classes"]
    assert answer["all"] == {**found, "parts": 6}


def test_examples_are_drawn(strict: Client) -> None:
    right, wrong = (strict.get(f"/static/{name}.webp") for name in ("right", "wrong"))
    assert right.content != wrong.content
    for answer in (right, wrong):
        picture = Image.open(BytesIO(answer.content))
        assert (picture.format, picture.size) == ("WEBP", (736, 240))


# ---------------------------------------------------------------------- blind


def test_two_runs_are_compared_blindly(open_review: Open) -> None:
    client = open_review("ours", "theirs")
    told = []
    seen: list[str] = []
    asked: dict[str, Any] = {}
    for _ in range(4):
        page = page_of(client, **asked)
        asked = {"page": page["id"], "go": "next"}
        told.append(page)
        seen.append(page["category"])
    assert seen[0] == seen[1] != seen[2] == seen[3]
    assert [(page["set"], page["sets"]) for page in told] == [(1, 2), (2, 2)] * 2
    assert "ours" not in str(told)
    assert "theirs" not in str(told)
    for page in told:
        client.vote(page["items"][0])
    assert sorted((v.run, v.category) for v in export_verdicts(client.database)) == sorted(
        (run, name) for run in ("ours", "theirs") for name in ("car", HOSTILE)
    )


# ---------------------------------------------------------------------- refused


def test_headers_of_every_answer(strict: Client) -> None:
    answers = [
        strict.get("/"), strict.get("/static/app.js"), strict.get("/nothing"),
        strict.get("/", headers={"host": "x"}), strict.post("/api/page", json={}), strict.options("/"),
    ]  # fmt: skip
    assert [answer.status_code for answer in answers] == [200, 200, 404, 421, 422, 405]
    for answer in answers:
        policy = answer.headers["content-security-policy"]
        assert policy.startswith("default-src 'none'; script-src 'self'; style-src 'self';")
        assert "frame-ancestors 'none'" in policy
        assert "unsafe" not in policy
        assert answer.headers["x-content-type-options"] == "nosniff"
        assert answer.headers["referrer-policy"] == "no-referrer"
        assert not [name for name in answer.headers if name.startswith("access-control")]


def scripts_of(client: TestClient, prefix: str = "") -> dict[str, str]:
    """The page's modules by name, as they import each other."""
    scripts: dict[str, str] = {}
    wanted = ["app.js"]
    while wanted:
        name = wanted.pop()
        scripts[name] = client.get(f"{prefix}/static/{name}").raise_for_status().text
        wanted += set(re.findall(r'from "\./(.*?)"', scripts[name])) - set(scripts)
    return scripts


def test_the_page_has_nothing_inline(strict: Client) -> None:
    page, scripts = strict.get("/").text, scripts_of(strict)
    assert '<script type="module" src="static/app.js"></script>' in page
    assert page.count("<script") == 1
    for forbidden in (" style=", "<style", " onclick", " onerror", "javascript:", "http://", "https://"):
        assert forbidden not in page
    assert len(scripts) > 5
    for script in scripts.values():
        for forbidden in ("innerHTML", "outerHTML", "insertAdjacent", "document.write", "eval(", ".style"):
            assert forbidden not in script
        assert not re.search(r"http(?!s and on loopback)", script)


@pytest.mark.parametrize("prefix", ["", "/runs/mine/judge"])
def test_the_page_may_be_mounted_anywhere(store: ReviewStore, make_run: MakeRun, prefix: str) -> None:
    out = make_run()
    images = add_runs(store, find_runs([out], out / "photos"), seed=0)
    review = make_app(
        store,
        Assignment(store, tuple(images), 1, 0),
        Tiles(store, images),
        page_token="of the whole",
        access=Access(TOKEN, b"secret"),
    )
    whole = FastAPI()
    whole.mount(prefix, review)
    client = Client(whole)
    if prefix:
        assert client.get(prefix, follow_redirects=False).headers["location"].endswith(f"{prefix}/")
    page, style = (client.get(f"{prefix}/{path}").text for path in ("", "static/style.css"))
    addresses = re.findall(r' (?:src|href)="(.*?)"', page)
    addresses += [f"static/{name}" for name in re.findall(r"url\((.*?)\)", style)]
    assert len(addresses) >= 6
    for address in addresses:
        assert client.get(f"{prefix}/{address}").status_code == 200
    assert {client.get(f"{prefix}/{address}x").status_code for address in addresses} == {404}
    asked = {
        path for script in scripts_of(client, prefix).values() for path in re.findall(r"api/\w+", script)
    }
    routes = {getattr(route, "path", "") for route in review.routes}
    assert {f"/{path}" for path in asked} == {path for path in routes if path.startswith("/api/")}
    response = client.post(f"{prefix}/api/session", json={"token": TOKEN})
    assert "Path=/;" in response.headers["set-cookie"]
    assert response.json() == {"page": "of the whole", "parts": 6, "seconds": None, "home": ""}
    answer = client.post(f"{prefix}/api/page", json={"reviewer": "Anna"}).json()
    tile = answer["page"]["items"][0]["tiles"][0]
    for path in (f"tiles/{tile}", f"tiles/{tile}/large"):
        assert client.get(f"{prefix}/{path}").headers["content-type"] == "image/webp"


@pytest.mark.parametrize(
    ("host", "status"),
    [
        ("127.0.0.1:8765", 200), ("localhost:8765", 200), ("LOCALHOST", 200), ("[::1]:8765", 200),
        ("localhost:9000", 200), ("evil.example", 421), ("evil.example:8765", 421), ("10.0.0.1:8765", 421),
        ("127.0.0.1.evil.example", 421), ("localhost.evil:1", 421), ("", 421), ("localhost:x", 421),
        ("a@localhost", 421), ("[::1", 421),
    ],
)  # fmt: skip
def test_hosts(strict: Client, host: str, status: int) -> None:
    assert strict.get("/", headers={"host": host, "origin": f"http://{host}"}).status_code == status


@pytest.mark.parametrize(
    "origin",
    [
        "http://localhost:3000",
        "http://127.0.0.1:8766",
        "https://127.0.0.1:8765",
        "http://evil.example",
        "null",
        "",
    ],
)
def test_other_origins(strict: Client, origin: str) -> None:
    for answer in (
        strict.post("/api/page", json={"reviewer": "Anna"}, headers={"origin": origin}),
        strict.get("/tiles/" + "0" * 24, headers={"origin": origin}),
    ):
        assert answer.status_code == 403


def test_posts_are_the_pages_alone(strict: Client) -> None:
    body = {"reviewer": "Anna"}
    assert strict.post("/api/page", json=body).status_code == 200
    for header, value in (("x-review-page", "0" * 24), ("x-review-page", "é")):
        assert (
            strict.post("/api/page", json=body, headers=[(header.encode(), value.encode())]).status_code
            == 403
        )
    for header in ("origin", "x-review-page"):
        kept = strict.headers.pop(header)
        assert strict.post("/api/page", json=body).status_code == 403
        assert strict.post("/api/session", json={}).status_code == 403
        strict.headers[header] = kept
    for kind in ("text/plain", "application/x-www-form-urlencoded", "multipart/form-data", ""):
        answer = strict.post("/api/page", content=b'{"reviewer": "Anna"}', headers={"content-type": kind})
        assert answer.status_code == 415


@pytest.mark.parametrize("method", ["HEAD", "OPTIONS", "PUT", "DELETE", "PATCH", "TRACE"])
def test_other_methods(strict: Client, method: str) -> None:
    for path in ("/", "/api/vote"):
        answer = strict.request(method, path)
        assert (answer.status_code, answer.headers["allow"]) == (405, "GET, POST")


def test_pictures_for_other_sites(client: Client) -> None:
    key = page_of(client)["items"][0]["tiles"][0]
    for site, status in (("same-origin", 200), ("none", 200), ("same-site", 403), ("cross-site", 403)):
        assert client.get(f"/tiles/{key}", headers={"sec-fetch-site": site}).status_code == status
    assert client.get("/", headers={"sec-fetch-site": "cross-site"}).status_code == 200  # a link to it


def test_large_bodies(strict: Client) -> None:
    answer = strict.post("/api/page", json={"reviewer": "x" * MAX_BODY})
    assert (answer.status_code, answer.headers["connection"]) == (413, "close")

    def chunks() -> Iterator[bytes]:
        for _ in range(100):
            yield b" " * 1000

    answer = strict.post("/api/page", content=chunks(), headers={"content-type": "application/json"})
    assert answer.status_code == 413
    deep = b"[" * (MAX_BODY - 1)
    answer = strict.post("/api/page", content=deep, headers={"content-type": "application/json"})
    assert answer.status_code in (400, 422)


def test_doubled_headers(strict: Client) -> None:
    answer = strict.get("/", headers=[("host", "127.0.0.1:8765"), ("host", "evil.example")])
    assert answer.status_code == 400


# ---------------------------------------------------------------------- the token


def test_the_token_opens_the_review(open_review: Open) -> None:
    client = open_review(host="0.0.0.0", token=TOKEN)
    for path in ("/", "/static/app.js", "/static/answers.js", "/static/style.css", "/static/right.webp"):
        assert client.get(path).status_code == 200  # the empty page, to enter it
    assert client.get("/tiles/" + "0" * 24).status_code == 401
    for wrong in (None, "", TOKEN[:-1], TOKEN + "x", "é"):
        client.ask("session", 401, token=wrong)
    assert COOKIE not in client.cookies
    response = client.post("/api/session", json={"token": TOKEN})
    cookie = response.headers["set-cookie"]
    assert all(word in cookie for word in ("HttpOnly", "SameSite=strict", "Path=/"))
    assert TOKEN not in cookie
    client.headers["x-review-page"] = response.json()["page"]
    assert page_of(client)["items"]
    assert client.ask("session", token=None)["page"] == response.json()["page"]


def test_the_token_as_a_header(open_review: Open) -> None:
    client = open_review(host="0.0.0.0", token=TOKEN)
    key = "/tiles/" + "0" * 24
    assert client.get(key, headers={"authorization": f"Bearer {TOKEN}"}).status_code == 404
    for wrong in (f"Bearer {TOKEN}x", f"Basic {TOKEN}", TOKEN, "Bearer"):
        assert client.get(key, headers={"authorization": wrong}).status_code == 401
    for cookie in (f"{COOKIE}=wrong", f"{COOKIE}={TOKEN}", "=;;;", f"other={TOKEN}"):
        assert client.get(key, headers={"cookie": cookie}).status_code == 401


def test_who_listens_for_others_is_called_by_address(open_review: Open) -> None:
    client = open_review(host="0.0.0.0", token=TOKEN)
    for host, status in (("192.168.1.5:8765", 200), ("[fe80::1]:8765", 200), ("evil.example:8765", 421)):
        assert client.get("/", headers={"host": host, "origin": f"http://{host}"}).status_code == status
