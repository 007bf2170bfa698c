// How long a new run will take, tried on a few photographs, and what they look like then.

import { about, attempt, bdi, element, fill, firstLook, get, post, repeat } from "./dom.js";

const EVERY = 1500;

export class Estimate {
  constructor(page) {
    this.page = page;
    this.sight = element("figure", { class: "stack tight" });
    this.root = element("div", { class: "stack", "aria-live": "polite" }, this.askTime());
  }

  askTime() {
    return element("p", {}, element("button", { onclick: () => attempt(() => this.start()) }, "How long will it take?"));
  }

  /** It was of something else. */
  forget() {
    if (!this.root.querySelector("p.large, p.bad, progress")) return;
    this.endAsking?.();
    fill(this.sight);
    this.root.replaceChildren(this.askTime());
    attempt(() => post("/api/new/estimate/cancel", { draft: this.page.plan.draft }));
  }

  async start() {
    await post("/api/new/estimate", this.page.question());
    await this.show();
  }

  async show() {
    const state = await get(`/api/new/estimate?draft=${this.page.plan.draft}`);
    this.endAsking?.();
    fill(this.sight);
    if (state.state === "going on") {
      this.root.replaceChildren(
        element("p", { class: "soft" }, "Each stage is tried on a few photographs and steps. This takes a minute or two …"),
        element("progress", { "aria-label": "Trying each stage" }),
        element("p", {}, element("button", { class: "quiet", onclick: () => attempt(async () => {
          await post("/api/new/estimate/cancel", { draft: this.page.plan.draft });
          await this.show();
        }) }, "Never mind")));
      this.endAsking = repeat(async () => {
        if (!this.page.main.contains(this.root)) { this.endAsking(); return; }
        await attempt(() => this.show());
      }, EVERY);
    } else if (state.state === "failed") {
      this.root.replaceChildren(element("p", { class: "bad" }, bdi(state.why)), this.askTime());
    } else if (state.state === "finished") {
      fill(this.root,
        element("p", { class: "large" }, state.seconds === null ? "How long it will take isn’t known." : `It will take ${about(state.seconds)} on this machine.`),
        state.remark ? element("p", { class: "bad" }, bdi(state.remark)) : null,
        element("details", {}, element("summary", {}, "Stage by stage"), element("dl", { class: "pairs" }, state.stages.flatMap(({ label, seconds }) =>
          [element("dt", {}, label), element("dd", { class: "number" }, about(seconds))]))),
        this.askTime());
      if (state.firstLook) {
        fill(this.sight,
          element("figcaption", { class: "soft" }, "A first look: objects, and how they are cut into segments."),
          firstLook(`/api/new/first-look?draft=${this.page.plan.draft}&at=${Date.now()}`));
      }
    } else this.root.replaceChildren(this.askTime());
  }
}
