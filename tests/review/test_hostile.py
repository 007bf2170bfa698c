"""What mustn't happen in a real browser: that names are run as scripts, or that they tell the method."""

from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from .browser import Visits, Watch, on_part, press, saved
from .conftest import MakeRun

pytestmark = pytest.mark.slow

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Response

HOSTILE = (
    "<script>hacked=1</script>",
    '"><script>hacked=1</script>',
    "'><img src=x onerror=hacked=1>",
    '<img src=x onerror="hacked=1">',
    "<img src=x onerror=alert(1)>",
    "<svg onload=hacked=1>",
    "<svg><script>hacked=1</script></svg>",
    "<svg><animate onbegin=hacked=1 attributeName=x dur=1s>",
    "<body onload=hacked=1>",
    '<iframe src="javascript:top.hacked=1"></iframe>',
    '<iframe srcdoc="<script>top.hacked=1</script>"></iframe>',
    "<iframe onload=hacked=1></iframe>",
    "<input autofocus onfocus=hacked=1>",
    "<details open ontoggle=hacked=1>x</details>",
    "<video><source onerror=hacked=1></video>",
    "<audio src=x onerror=hacked=1>",
    '<a href="javascript:hacked=1">x</a>',
    "</title><script>hacked=1</script>",
    "</textarea><img src=x onerror=hacked=1>",
    '<!--<img src="--><img src=x onerror=hacked=1>//">',
    "<style>@import 'x'</style><link onerror=hacked=1 href=x>",
    "javascript:hacked=1//",
    "';hacked=1;//${hacked=1}",
    "{{constructor.constructor('hacked=1')()}}",
    "&lt;img src=x onerror=hacked=1&gt;\\u003cscript>",
)
assert len(set(HOSTILE)) == 25


def test_hostile_classes(make_run: MakeRun, visit: Visits) -> None:
    page = visit(make_run(categories=HOSTILE, parts=2, images=1)).begin()
    category, place = page.locator("#category"), page.locator("#place")
    seen = set()
    for number in range(1, 26):
        place.get_by_text(f"class {number}", exact=True).wait_for()
        seen.add(category.text_content())
        assert page.title() == f"\u2068{category.text_content()}\u2069 \N{EN DASH} Part review"
        press(page, "PageDown")
    assert seen == set(HOSTILE)
    assert page.locator(":is(#category, title) *").count() == 0
    assert page.evaluate("window.hacked") is None


def test_hostile_reviewers_and_parts(make_run: MakeRun, visit: Visits) -> None:
    here = visit(make_run(categories=("car", "tree"), parts=2, images=1), verdicts=99)
    page = here.page
    page.goto(here.address)
    for reviewer, part in zip(HOSTILE, (*HOSTILE[7:], *HOSTILE[:7]), strict=True):
        page.get_by_label("Your name").fill(reviewer)
        press(page, "Enter")
        on_part(page, 1)
        press(page, "1")
        page.get_by_label("What is it?").fill(part)
        press(page, "Enter")
        on_part(page, 2)
        assert page.locator("#same-choices bdi").text_content() == part
        assert part in (page.locator("#part-1").get_attribute("aria-label") or "")
        assert page.locator("#who").text_content() == reviewer
        saved(page)
        page.locator("#who").click()
    page.reload()  # now the reviewer's name comes from the profile, the part's from the server
    on_part(page, 2)
    assert page.locator("#who").text_content() == HOSTILE[24]
    assert page.locator("#same-choices bdi").text_content() == HOSTILE[6]
    assert page.locator("#names option").get_attribute("value") == HOSTILE[6]
    assert page.locator("main :is(script, iframe, svg, video, audio, style, link, details, a)").count() == 0
    assert page.evaluate("window.hacked") is None
    stored = here.verdicts()
    assert {verdict.reviewer for verdict in stored} == {verdict.name for verdict in stored} == set(HOSTILE)


def test_hostile_addresses(make_run: MakeRun, visit: Visits) -> None:
    here = visit(make_run(categories=("car",)))
    for rest in ("<img src=x onerror=alert(1)>", "token=<svg onload=alert(1)>", "token=%00&token=%FF"):
        here.page.goto(f"{here.address}/?{rest}#{rest}")
        here.page.get_by_role("heading", name="Which of these").wait_for()
        assert "token" not in here.page.evaluate("location.hash")
        assert here.page.evaluate("window.hacked") is None


def test_the_names_would_do_harm(browser: "Browser") -> None:
    """Where a page takes them for HTML and has no policy, most of the names are run, which is seen here."""
    context = browser.new_context(offline=True)
    watch, page = Watch(context, ""), context.new_page()
    run = set()
    for name in HOSTILE:
        page.goto("about:blank")
        page.set_content(f"<title>x</title><p>{name}</p>")
        if page.evaluate("window.hacked") or any("dialog" in problem for problem in watch.problems):
            run.add(name)
        watch.problems.clear()
    context.close()
    assert len(run) >= 15, set(HOSTILE) - run


def test_the_policy_stops_what_got_through(make_run: MakeRun, visit: Visits) -> None:
    from playwright.sync_api import Error

    here = visit(make_run(categories=("car",)))
    page, watch = here.begin(), here.watch
    for attempt in (
        "document.body.innerHTML = '<img src=x onerror=hacked=1>'",
        "document.body.setAttribute('onclick', 'hacked = 1')",
        "document.createElement('script').text = 'hacked = 1'",
        "setTimeout('hacked = 1')",
    ):
        with pytest.raises(Error, match="Trusted"):
            page.evaluate(attempt)
        watch.expect(page, "[Tt]rusted")
    page.evaluate("fetch('http://127.0.0.2:9/').catch(() => {})")
    watch.expect(page, "127.0.0.2.*connect-src|127.0.0.2.*Content Security Policy")
    assert page.evaluate("window.hacked") is None


def test_which_run_is_judged_is_not_told(make_run: MakeRun, visit: Visits, tmp_path: Path) -> None:
    runs = [
        make_run("secret-one", categories=("car",), parts=2),
        make_run("secret-two", categories=("car",), parts=2, images=5),
    ]
    here = visit(*runs)
    said: list[str] = []
    responses: list[Response] = []
    here.page.context.on("response", lambda response: responses.append(response))
    page = here.begin()
    for place in ("set 1 of 2", "set 2 of 2"):
        page.locator("#place", has_text=place).wait_for()
        for number in (1, 2):
            on_part(page, number)
            said.append(page.content())
            press(page, "a Enter")
    page.get_by_role("heading", name="All done").wait_for()
    said += [page.content(), page.evaluate("JSON.stringify([localStorage, sessionStorage, document.cookie])")]
    for response in responses:
        said += [response.url, str(response.request.all_headers()), str(response.all_headers())]
        said += [response.request.post_data or "", response.body().decode("latin-1")]
    assert len(responses) > 20
    for secret in ("secret", str(tmp_path)):
        assert not [text for text in said if secret in text]
    assert {verdict.run for verdict in here.verdicts()} == {"secret-one", "secret-two"}
