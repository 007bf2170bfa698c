"""What the studio's server answers, and what it refuses."""

import shutil

import pytest
from starlette.testclient import TestClient

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
