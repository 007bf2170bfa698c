// An object class: its parts, each with its colour, name, count and examples; and the examples of one part.

import { apiOf, bdi, colorOf, counted, element, get } from "./dom.js";
import { Examples, gallery, nameOf, place } from "./gallery.js";
import { partTools, nameField, tableTools } from "./naming.js";

const IN_STRIP = 12;
const A_PAGE = 60;
const AGAIN = 3000;

const kept = new Map(); // the examples of part classes that were looked at, so that a change redraws nothing else

/** The examples of a part class, kept as long as the same part classes count as it. */
function examplesOf(run, state, part) {
  const key = JSON.stringify([run, state.of, state.category, part.part, part.members]);
  if (!kept.has(key)) {
    kept.set(key, new Examples((offset, count, first) => get(`${apiOf(run)}/look/examples?${new URLSearchParams({
      category: state.category, part: part.part, offset, count, ...(first ? { order: first.order } : {}),
    })}`)));
  }
  const examples = kept.get(key);
  examples.rename(part.name); // it may have been named since
  return examples;
}

const forget = () => kept.clear();

const addressOf = (state, part) => `#${new URLSearchParams({ class: state.category, part: part.part })}`;

const labelOf = (part, total) => (tile, index) =>
  `${nameOf(part)}, ${index + 1} of ${Number.isFinite(total()) ? total().toLocaleString("en") : "many"}`;

/** All parts of a class. */
export async function showClass(within, run, category) {
  const state = await get(`${apiOf(run)}/look/class?${new URLSearchParams({ category })}`);
  const body = element("div", { class: "stack sections" });
  const changed = (now, { focus } = {}) => {
    Object.assign(state, now);
    const scrolled = scrollY;
    body.replaceChildren(...sections(run, state, changed));
    tools.replaceChildren(...tableTools(run, state, changed));
    legend.replaceChildren(...legendOf(state));
    scrollTo(0, scrolled);
    if (focus) within.querySelector(focus)?.focus({ preventScroll: true });
  };
  const tools = element("div", { class: "row tools" });
  const legend = element("ul", { class: "chips", "aria-label": "Parts" });
  within.append(
    crumbs(element("a", { href: "#" }, "All classes")),
    element("div", { class: "row spread" }, element("h1", {}, bdi(category)), tools),
    legend, body);
  changed(state);
}

function sections(run, state, changed) {
  const rejected = state.rejected.length
    ? element("details", { class: "rejected" },
      element("summary", {}, counted(state.rejected.length, "rejected part")),
      element("div", { class: "stack sections" }, state.rejected.map((part) => section(run, state, part, changed))))
    : null;
  return [...state.parts.map((part) => section(run, state, part, changed)), rejected].filter(Boolean);
}

function section(run, state, part, changed) {
  const rejected = state.rejected.includes(part);
  const strip = element("div", { class: "reel-place" });
  const made = element("section", { class: `part-class ${colorOf(part.part)}`, "data-part": part.part, "aria-label": nameOf(part) },
    element("div", { class: "part-head" },
      element("span", { class: "swatch large" }),
      rejected ? element("h2", {}, bdi(nameOf(part))) : nameField(run, state, part, changed),
      element("a", { class: "number", href: addressOf(state, part) }, counted(part.count, "example")),
      partTools(run, state, part, changed)),
    strip);
  whenSeen(made, () => fill(run, state, part, strip));
  return made;
}

/** Fetch what is in a part's strip; until the most typical are known, ask again. */
async function fill(run, state, part, strip) {
  const examples = examplesOf(run, state, part);
  try {
    if (!examples.tiles.length) await examples.more(IN_STRIP);
  } catch (error) {
    strip.replaceChildren(element("p", { class: "bad" }, error.message));
    return;
  }
  if (strip.contains(document.activeElement)) return; // somebody is at what is there
  const label = labelOf(part, () => examples.total);
  const last = element("a", { class: "all", href: addressOf(state, part) }, `All ${examples.total.toLocaleString("en")} →`);
  strip.replaceChildren(gallery(run, examples, { label, strip: true, last }));
  if (examples.first.preparing) {
    setTimeout(() => {
      if (!strip.isConnected || document.querySelector("dialog[open]") || strip.contains(document.activeElement)) return;
      forget();
      fill(run, state, part, strip);
    }, AGAIN);
  }
}

/** Do something once, when an element is about to be seen. */
function whenSeen(seen, work) {
  const observer = new IntersectionObserver(([entry]) => {
    if (!entry.isIntersecting) return;
    observer.disconnect();
    work();
  }, { rootMargin: "300px" });
  observer.observe(seen);
}

/** The colours of the parts, each a way to its examples. */
const legendOf = (state) => state.parts.map((part) =>
  element("li", {}, element("a", { class: `chip ${colorOf(part.part)}`, href: addressOf(state, part) },
    element("span", { class: "swatch" }), bdi(nameOf(part)), element("span", { class: "soft number" }, part.count.toLocaleString("en")))));

/** The examples of one part class, from the most to the least typical. */
export async function showPart(within, run, category, number) {
  const state = await get(`${apiOf(run)}/look/class?${new URLSearchParams({ category })}`);
  const wanted = [...state.parts, ...state.rejected].find((part) => part.members.some((member) => member.part === number));
  if (!wanted) throw Object.assign(new Error("This object class has no such part."), { status: 404 });
  const examples = examplesOf(run, state, wanted);
  const shown = Number(place().get("shown")) || 0;
  if (examples.tiles.length < Math.max(A_PAGE, shown)) await examples.more(A_PAGE);
  while (examples.tiles.length < shown && examples.tiles.length < examples.total) await examples.more(200);

  const head = element("div", { class: "part-head" });
  const tools = element("div", { class: "row tools" });
  const neighbours = element("ul", { class: "chips", "aria-label": "Parts of this class" });
  const changed = (now, { focus } = {}) => {
    Object.assign(state, now);
    const part = [...state.parts, ...state.rejected].find((other) => other.members.some((member) => member.part === number));
    if (JSON.stringify(part.members) !== JSON.stringify(wanted.members)) {
      dispatchEvent(new HashChangeEvent("hashchange")); // other examples than before
      return;
    }
    const rejected = state.rejected.includes(part);
    head.className = `part-head ${colorOf(part.part)}`;
    head.replaceChildren(
      element("span", { class: "swatch large" }),
      rejected ? element("h2", {}, bdi(nameOf(part))) : nameField(run, state, part, changed),
      partTools(run, state, part, changed));
    tools.replaceChildren(...tableTools(run, state, changed));
    neighbours.replaceChildren(...legendOf(state));
    neighbours.querySelector(`[href="${CSS.escape(addressOf(state, part))}"]`)?.setAttribute("aria-current", "true");
    if (focus) within.querySelector(focus)?.focus({ preventScroll: true });
  };
  const label = labelOf(wanted, () => examples.total);
  const list = gallery(run, examples, { label, page: A_PAGE });
  const order = examples.first.order === "typical"
    ? "most typical first"
    : `surest first${examples.first.preparing ? " (the most typical are being found)" : ""}`;
  within.append(
    crumbs(element("a", { href: "#" }, "All classes"), element("a", { href: `#${new URLSearchParams({ class: category })}` }, bdi(category))),
    element("div", { class: "row spread" },
      element("h1", { class: "unseen" }, bdi(`${nameOf(wanted)} of ${category}`)), head, tools),
    neighbours,
    element("p", { class: "soft" }, `${counted(examples.total, "example")}, ${order}`),
    list);
  changed(state);
}

/** The way back. */
export const crumbs = (...links) => element("nav", { class: "crumbs", "aria-label": "Way back" }, links);
