// Looking at a run's parts. What is looked at stands in the address: `#class=`, `&part=`, `#like=` or `#photograph=`.

import { apiOf, attempt, bdi, counted, element, get, pageOf, say } from "./dom.js";
import { downloadTool } from "./download.js";
import { pictureOf, place } from "./gallery.js";
import { showClass, showPart } from "./parts.js";
import { showPhotograph } from "./photograph.js";
import { showSimilar } from "./similar.js";

const MANY = 12;
const A_PAGE = 60;

export async function show(main, run) {
  let rendering = 0;
  const render = async () => {
    const turn = (rendering += 1);
    document.querySelector("dialog[open]")?.close();
    const within = element("div", { class: "looking" });
    try {
      await showPlace(within, run);
    } catch (error) {
      if (error.message === "no such run") throw error;
      if (error.status === 404 && !place().size) within.replaceChildren(nothingYet(run, error.message));
      else within.replaceChildren(element("p", { class: "message" }, error.message, " ", element("a", { href: "#" }, "All classes")));
    }
    if (turn !== rendering) return;
    main.replaceChildren(within);
    const heading = within.querySelector("h1");
    if (turn > 1 && heading && !place().has("open")) {
      heading.tabIndex = -1;
      heading.focus({ preventScroll: true });
      scrollTo(0, 0);
    }
    document.title = `${heading?.textContent ?? "Look"} · ${run}`;
  };
  addEventListener("hashchange", () => attempt(render));
  await render();
}

async function showPlace(within, run) {
  const at = place();
  if (at.has("photograph")) return showPhotograph(within, run, Number(at.get("photograph")));
  if (at.has("like")) return showSimilar(within, run, Number(at.get("like")));
  if (at.has("part")) return showPart(within, run, at.get("class"), Number(at.get("part")));
  if (at.has("class")) return showClass(within, run, at.get("class"));
  return showClasses(within, run);
}

function nothingYet(run, why) {
  return element("div", { class: "message stack" },
    element("h1", {}, "Nothing to look at"),
    element("p", {}, `${why[0].toUpperCase()}${why.slice(1)}.`),
    element("p", {}, element("a", { class: "button main", href: pageOf(run, "watch") }, "Watch the run")));
}

/** All object classes, with a search field where there are many. */
async function showClasses(within, run) {
  const at = place();
  const list = element("ul", { class: "cards class-cards" });
  const more = element("button", { hidden: true, onclick: () => load() }, "More classes");
  const count = element("p", { class: "soft", role: "status" });
  let offset = 0;
  let turn = 0;

  const load = async (fresh = false) => {
    const asked = (turn += 1);
    if (fresh) offset = 0;
    const search = place().get("search") ?? "";
    const answer = await get(`${apiOf(run)}/look?${new URLSearchParams({ search, offset, count: A_PAGE })}`);
    if (asked !== turn) return answer;
    const cards = answer.classes.map((entry) => card(run, answer.of, entry));
    if (fresh) list.replaceChildren(...cards);
    else list.append(...cards);
    offset += cards.length;
    more.hidden = offset >= answer.matching;
    count.textContent = search ? `${counted(answer.matching, "class", "classes")} of ${answer.all.toLocaleString("en")}` : "";
    return answer;
  };

  const first = await load(true);
  const search = element("input", {
    type: "search", id: "search", placeholder: "Search classes", autocomplete: "off", spellcheck: "false",
    oninput: () => { place({ search: search.value || null }, { replace: true }); load(true).catch((error) => say(error.message, { problem: true })); },
  });
  search.value = at.get("search") ?? "";
  within.append(
    element("div", { class: "row spread" },
      element("h1", {}, counted(first.all, "object class", "object classes")),
      element("div", { class: "row" }, first.all > MANY || search.value ? element("div", {}, element("label", { class: "unseen", for: "search" }, "Search classes"), search) : null, downloadTool(run))),
    first.photographs ? "" : element("p", { class: "soft" },
      "This folder doesn’t say where its photographs are: start the studio with ", element("code", {}, "--images FOLDER"), " to see them."),
    count, list, more);
}

function card(run, of, entry) {
  const named = entry.named ? `, ${entry.named} named` : "";
  return element("li", {},
    element("a", { class: "card class-card", href: `#${new URLSearchParams({ class: entry.category })}` },
      element("span", { class: "mosaic" }, entry.tiles.map((tile) =>
        element("img", { src: pictureOf(run, of, "tile", tile), alt: "", loading: "lazy" }))),
      element("strong", {}, bdi(entry.category)),
      element("span", { class: "soft" }, `${counted(entry.parts, "part")}${named} · ${counted(entry.examples, "example")}`)));
}
