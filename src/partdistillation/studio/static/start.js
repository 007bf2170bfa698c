// The runs of this folder, and the way to a new one.

import { apiOf, attempt, bdi, counted, element, get, pageOf, repeat } from "./dom.js";

export async function show(main) {
  const begun = async () => {
    if (/^#new\b/.test(location.hash)) {
      const begin = await import("./begin.js");
      await begin.show(main);
    } else await showRuns(main);
  };
  addEventListener("hashchange", () => attempt(begun));
  await begun();
}

async function showRuns(main) {
  const { runs, single } = await get("/api/runs");
  document.title = "PartDistillation studio";
  const begin = single ? null : element("a", { class: "button main", href: "#new" }, "New run");
  const cards = new Map(runs.map((run) => [run, card(run)]));
  const end = repeat(() => attempt(async () => {
    if (!main.contains(begin ?? cards.get(runs[0])?.item)) { end(); return; }
    const now = (await get("/api/runs")).runs;
    if (now.length !== runs.length || now.some((run) => !cards.has(run))) { end(); await showRuns(main); return; }
    for (const { item } of cards.values()) if (item.dataset.state === "going on" || item.dataset.state === "stopping") item.refresh();
  }), 5000);
  if (!runs.length) {
    main.replaceChildren(element("section", { class: "welcome stack" },
      element("h1", {}, "Parts of things, from photographs"),
      element("p", { class: "soft" },
        "Give it a folder of photographs for each kind of thing. It finds the parts of each kind, ",
        "without a single label, and learns to find them in new photographs."),
      element("p", {}, begin)));
    return;
  }
  main.replaceChildren(
    element("div", { class: "head" }, element("h1", {}, "Runs"), begin),
    element("ul", { class: "cards runs" }, [...cards.values()].map(({ item }) => item)),
  );
  const seen = new IntersectionObserver((entries) => {
    for (const entry of entries) if (entry.isIntersecting) { seen.unobserve(entry.target); entry.target.refresh(); }
  }, { rootMargin: "600px" });
  for (const { item } of cards.values()) seen.observe(item);
}

function card(run) {
  const picture = element("div", { class: "cover" });
  const state = element("span", { class: "state" });
  const counts = element("span", { class: "soft number" });
  const link = element("a", { class: "card run", href: pageOf(run, "watch") },
    picture, element("span", { class: "name" }, bdi(run)), element("span", { class: "row" }, state, counts));
  const item = element("li", {}, link);
  let shown = "";
  item.refresh = async () => {
    const card = await get(`${apiOf(run)}/card`).catch(() => null);
    if (!card) return;
    item.dataset.state = state.dataset.state = card.state;
    state.textContent = card.state;
    counts.textContent = card.classes ? `${counted(card.classes, "class", "classes")} · ${counted(card.parts, "part")}` : "";
    link.href = pageOf(run, card.state === "finished" ? "look" : "watch");
    if (card.cover && card.cover !== shown) {
      shown = card.cover;
      picture.replaceChildren(element("img", { src: apiOf(run) + card.cover, alt: "", loading: "lazy" }));
    }
  };
  return { item };
}
