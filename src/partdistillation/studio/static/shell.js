// Which page is open. Each is a module of its name that exports `show(main, run)`.

import { attempt, begin, bdi, element, pageOf, say } from "./dom.js";

const PAGES = { watch: "Watch", look: "Look", try: "Try", "judge/": "Judge" };
/** Beside style.css; no page has another's, whose words may be the same. */
const STYLES = { start: ["start"], watch: ["start", "watch"], look: ["look"], try: ["try"] };

const [, , encoded, page = "start"] = location.pathname.split("/");
const run = encoded === undefined ? null : decodeURIComponent(encoded);
const main = document.getElementById("main");

if (run !== null) {
  document.getElementById("nav").append(
    element("span", { class: "run-name" }, bdi(run)),
    ...Object.entries(PAGES).map(([name, label]) =>
      element("a", { href: pageOf(run, name), "aria-current": name === page ? "page" : undefined }, label)),
  );
  document.title = `${PAGES[page] ?? "Studio"} · ${run}`;
}

try {
  await Promise.all([begin(), ...(STYLES[page] ?? []).map(styled)]);
  const { show } = await import(`./${page}.js`);
  await show(main, run);
} catch (error) {
  if (error.status === 401) askForToken();
  else if (main.childElementCount) say(error.message, { problem: true });
  else cannotShow(error.message);
}

/** Done once the page has a stylesheet, so that nothing is seen without. */
function styled(name) {
  const link = element("link", { rel: "stylesheet", href: `/static/${name}.css` });
  const done = new Promise((resolve) => { link.onload = link.onerror = resolve; });
  document.head.append(link);
  return done;
}

function cannotShow(why) {
  main.replaceChildren(element("section", { class: "message stack" },
    element("h1", {}, "Nothing to show here"),
    element("p", { role: "alert" }, `${why[0].toUpperCase()}${why.slice(1)}`),
    element("p", {}, element("a", { class: "button main", href: "/" }, "All runs"))));
}

function askForToken() {
  const token = element("input", { type: "password", id: "token", autocomplete: "off", required: true });
  const form = element("form", { class: "card narrow" },
    element("h1", {}, "The token, please"),
    element("label", { for: "token" }, "Whoever started the studio has it."), token,
    element("button", { class: "main" }, "Go on"));
  form.addEventListener("submit", (event) => {
    event.preventDefault();
    location.hash = `token=${encodeURIComponent(token.value)}`;
    attempt(async () => { await begin(); location.reload(); });
  });
  main.replaceChildren(form);
  token.focus();
}
