// Shown where a review can't be opened: why, and where to go on.

import { bdi, element, pageOf, post } from "./dom.js";

export async function show(main, run) {
  let why = "It can be opened again.";
  try {
    await post(pageOf(run, "judge/api/session"), {});
  } catch (error) {
    why = error.message;
  }
  main.replaceChildren(element("section", { class: "card narrow" },
    element("h1", {}, "Nothing to judge yet in ", bdi(run)),
    element("p", {}, why),
    element("p", { class: "row" },
      element("a", { class: "button main", href: pageOf(run, "watch") }, "Watch the run"),
      element("a", { class: "button", href: pageOf(run, "judge/") }, "Try again"))));
}
