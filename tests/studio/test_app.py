"""What the studio's server answers, and what it refuses."""

import shutil
from contextlib import closing
from pathlib import Path

import pytest
from starlette.testclient import TestClient

from partdistillation.studio.app import make_application
from partdistillation.studio.judging import Judging
from partdistillation.studio.workspace import Workspace

from ..review.browser import Watch
from .conftest import HOSTILE, MakeRun, Open


def test_runs_are_listed_and_have_their_pages(make_run: MakeRun, client: TestClient) -> None:
    make_run("cars")
    assert client.get("/api/runs").json()["runs"] == ["cars"]
    assert client.get("/").status_code == client.get("/runs/cars/look").status_code == 200


@pytest.mark.parametrize(
    "path",
    ["/runs/none/look", "/runs/cars/other", "/runs/..%2Fphotos/look", "/static/..%2Fapp.py", "/static/a.js"],
)
def test_what_is_not_there_is_not_found(make_run: MakeRun, client: TestClient, path: str) -> None:
    make_run("cars")
    assert client.get(path).status_code == 404


@pytest.mark.parametrize(
    ("change", "status"),
    [
        ({"origin": "http://evil.example"}, 403),
        ({"host": "evil.example:8764"}, 421),
        ({"x-review-page": "guessed"}, 403),
        ({"content-type": "text/plain"}, 415),
        ({"sec-fetch-site": "cross-site"}, 403),
    ],
)
def test_other_sites_are_refused(client: TestClient, change: dict[str, str], status: int) -> None:
    assert client.post("/api/anything", json={}, headers=change).status_code == status


def test_colours_are_those_of_the_pictures(client: TestClient) -> None:
    assert client.get("/static/colors.css").text.startswith(".part-0 { --part: #0072b2; }")


def test_a_review_of_a_run_is_below_it(make_run: MakeRun, client: TestClient) -> None:
    make_run("cars")
    assert "Part review" in client.get("/runs/cars/judge/").text
    answer = client.post("/runs/cars/judge/api/page", json={"reviewer": "Anna"})
    assert answer.json()["page"]["category"] in ("car", HOSTILE)


@pytest.mark.slow
def test_a_review_leads_back_to_its_run(make_run: MakeRun, open_page: Open) -> None:
    make_run("cars", categories=("car",))
    page = open_page("/runs/cars/judge/")
    page.get_by_label("Your name").fill("Anna")
    page.get_by_role("button", name="Start").click()
    page.get_by_role("heading", name="car").wait_for()
    other = open_page("/runs/cars/judge/")
    other.get_by_label("Your name").fill("Ben")
    other.get_by_role("button", name="Start").click()
    other.get_by_role("heading", name="Others are at it").wait_for()
    other.get_by_text("Other reviewers have the 3 parts of 3 that wait.").wait_for()
    assert not other.get_by_text("partdistill part-table").is_visible()
    other.get_by_role("link", name="Back to the run").click()
    other.wait_for_url("**/runs/cars/look")
    page.get_by_role("link", name="Back to the run").click()
    page.wait_for_url("**/runs/cars/look")


def test_a_review_that_cannot_be_opened_says_why(make_run: MakeRun, open_page: Open) -> None:
    shutil.rmtree(make_run("cars") / "parts")
    page = open_page("/runs/cars/judge/", problem="409")
    page.get_by_text("expected a stage's folder").wait_for()
    page.get_by_role("link", name="Watch the run").wait_for()


def test_the_first_page_names_the_runs(make_run: MakeRun, open_page: Open) -> None:
    make_run("cars")
    page = open_page("/")
    page.get_by_role("link", name="cars").wait_for()


def test_the_report_is_read_as_it_was_written(make_run: MakeRun, client: TestClient) -> None:
    folder = make_run("cars") / "report"
    (folder / "images").mkdir(parents=True)
    (folder / "index.html").write_text("<title>Report</title>")
    (folder / "images" / "00001.webp").write_bytes(b"picture")
    (folder / "images" / "other.txt").write_text("secret")
    page = client.get("/runs/cars/report/index.html")
    assert page.text == "<title>Report</title>"
    assert page.headers["content-security-policy"] == "frame-ancestors 'none'"  # and what it says itself
    assert client.get("/runs/cars/report/images/00001.webp").content == b"picture"
    for path in ("images/other.txt", "..%2Fconfig.yaml", "images/..%2F..%2Fconfig.yaml", ""):
        assert client.get(f"/runs/cars/report/{path}").status_code == 404
    assert "script-src 'self'" in client.get("/").headers["content-security-policy"]


@pytest.mark.parametrize("page", ["watch", "look", "try"])
def test_a_run_that_is_gone_is_told_to_people(
    make_run: MakeRun, open_page: Open, watches: list[Watch], page: str
) -> None:
    make_run("cars")
    shown = open_page(f"/runs/gone/{page}", problem="404")
    shown.get_by_text("No such run").wait_for()
    shown.get_by_role("link", name="All runs", exact=True).click()
    shown.get_by_role("link", name="cars").wait_for()
    watches[-1].problems = [problem for problem in watches[-1].problems if "404" not in problem]


def test_a_review_whose_run_was_moved_takes_no_more_answers(make_run: MakeRun, client: TestClient) -> None:
    out = make_run("cars")
    asked = {"reviewer": "Anna"}
    item = client.post("/runs/cars/judge/api/page", json=asked).json()["page"]["items"][0]
    vote = {
        **asked, "item": item["id"], "request": "a" * 20, "base": 0, "action": "judged",
        "marks": [True] * len(item["tiles"]), "duplicate_of": None, "merged_into": None, "name": "",
    }  # fmt: skip
    assert client.post("/runs/cars/judge/api/vote", json=vote).status_code == 200
    out.rename(out.with_name("vans"))
    assert client.post("/runs/cars/judge/api/vote", json={**vote, "request": "b" * 20}).status_code == 404
    again = client.post("/runs/vans/judge/api/page", json=asked).json()["page"]["items"][0]
    assert again["state"]["vote"]["action"] == "judged"


def test_a_run_that_was_removed_keeps_no_other_from_its_verdicts(make_run: MakeRun, tmp_path: Path) -> None:
    make_run("cars")
    workspace = Workspace(tmp_path / "runs")
    with closing(Judging(workspace)) as judging:
        application = make_application(workspace, judging, host="127.0.0.1", token=None)
        client = TestClient(application, base_url="http://127.0.0.1:8764")
        assert client.get("/runs/cars/judge/").status_code == 200
        shutil.rmtree(tmp_path / "runs" / "cars")
    assert not (tmp_path / "runs" / "cars").exists()


@pytest.mark.slow
def test_the_first_page_sees_runs_come(make_run: MakeRun, open_page: Open, tmp_path: Path) -> None:
    make_run("cars").rename(tmp_path / "later")
    page = open_page("/")
    page.get_by_role("heading", name="Parts of things").wait_for()
    (tmp_path / "later").rename(tmp_path / "runs" / "cars")
    page.get_by_role("link", name="cars").wait_for()


def test_a_stranger_opens_no_review_and_learns_no_names(make_run: MakeRun, tmp_path: Path) -> None:
    out = make_run("cars")
    workspace, token = Workspace(tmp_path / "runs"), "a token of sixteen letters"
    with closing(Judging(workspace)) as judging:
        application = make_application(workspace, judging, host="0.0.0.0", token=token)
        client = TestClient(application, base_url="http://127.0.0.1:8764")
        for page in ("watch", "judge/"):
            there, not_there = (client.get(f"/runs/{name}/{page}") for name in ("cars", "gone"))
            assert (there.status_code, there.text) == (not_there.status_code, not_there.text)
        assert client.get("/runs/cars/judge/static/app.js").status_code == 401
        assert not (out / "review").exists()
        client.headers["authorization"] = f"Bearer {token}"
        assert client.get("/runs/gone/watch").status_code == 404
        assert "Part review" in client.get("/runs/cars/judge/").text
