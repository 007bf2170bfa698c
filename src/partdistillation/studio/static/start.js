// The runs of this folder.

import { apiOf, bdi, element, get, pageOf } from "./dom.js";

export async function show(main) {
  const { runs } = await get("/api/runs");
  main.replaceChildren(
    element("h1", {}, "Runs"),
    element("ul", { class: "cards" }, runs.map((run) =>
      element("li", {}, element("a", { class: "card", href: pageOf(run, "look") }, bdi(run))))),
  );
}
