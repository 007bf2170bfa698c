// A new run: photographs are chosen or dropped, looked at, and it starts. What was chosen stays in the address.

import { attempt, element, get, pageOf, post, say } from "./dom.js";
import { Choosing } from "./choosing.js";
import { Estimate } from "./estimate.js";
import { Preview } from "./preview.js";
import { Settings } from "./settings.js";

const KEPT = ["draft", "folder", "source", "objects", "model", "recipe", "settings", "name"];

export async function show(main) {
  document.title = "New run";
  const plan = read();
  let choices = plan.draft ? await get(`/api/new/choices?draft=${plan.draft}`).catch(() => null) : null;
  if (!choices) {
    plan.draft = (await post("/api/new/begin", {})).draft;
    choices = await get(`/api/new/choices?draft=${plan.draft}`);
  }
  plan.source ??= "salient";
  plan.recipe ??= choices.recipe;
  write(plan);
  const page = new Page(main, plan, choices);
  main.replaceChildren(...page.elements());
  if (plan.folder || choices.dropped) await attempt(() => page.preview());
  await attempt(() => page.estimate.show());
}

function read() {
  const kept = new URLSearchParams(location.hash.slice(1));
  return Object.fromEntries(KEPT.filter((key) => kept.get(key)).map((key) => [key, kept.get(key)]));
}

function write(plan) {
  const kept = new URLSearchParams(KEPT.filter((key) => plan[key]).map((key) => [key, plan[key]]));
  history.replaceState(null, "", `${location.pathname}#new&${kept}`);
}

class Page {
  constructor(main, plan, choices) {
    Object.assign(this, { main, plan, choices });
    this.estimate = new Estimate(this);
    this.seen = new Preview(this);
    this.choosing = new Choosing(this);
    this.rest = element("div", { class: "stack later", hidden: true });
  }

  elements() {
    const settings = new Settings(this);
    this.rest.append(settings.objects(), settings.recipe(), this.last(), this.estimate.sight);
    return [
      element("div", { class: "head" }, element("h1", {}, "New run"),
        element("button", { class: "quiet", onclick: () => this.cancel() }, "Cancel")),
      this.choosing.root, this.seen.root, this.rest,
    ];
  }

  keep(changes) {
    const before = JSON.stringify(this.question());
    Object.assign(this.plan, changes);
    write(this.plan);
    if (JSON.stringify(this.question()) !== before) this.estimate.forget();
  }

  query(more = {}) {
    return new URLSearchParams({ draft: this.plan.draft, folder: this.plan.folder ?? "", ...more });
  }

  /** Show what was chosen, and what comes next where it can be used. */
  async preview() {
    const seen = await this.seen.look();
    if (seen === undefined) return;
    this.rest.hidden = !seen;
    if (!seen) return;
    if (!this.name.value) this.suggest(seen);
    await this.seen.check();
  }

  /** Nothing is chosen any more. */
  forget() {
    this.seen.forget();
    this.rest.hidden = true;
  }

  suggest(seen) {
    const parts = (this.plan.folder ?? "").split("/").filter(Boolean);
    this.name.value = (parts.at(-1) ?? seen.classes[0]?.name ?? "photographs").replace(/[/\\:*?"<>|]/g, " ").slice(0, 60).trim();
    this.keep({ name: this.name.value });
  }

  last() {
    this.name = element("input", { id: "name", type: "text", value: this.plan.name ?? "", maxlength: "60", required: true });
    this.name.addEventListener("change", () => this.keep({ name: this.name.value.trim() }));
    const start = element("button", { class: "main large" }, "Start");
    const form = element("form", { class: "card stack" }, element("label", { for: "name" }, "What this run is called"), this.name,
      element("p", { class: "soft" }, "It goes on by itself: this page may be closed, and the studio too."), element("p", {}, start));
    form.addEventListener("submit", async (event) => {
      event.preventDefault();
      if (this.choosing.stop) { say("Wait for the photographs that are on their way, or stop them.", { problem: true }); return; }
      start.disabled = true;
      const started = await attempt(() => post("/api/new/start", { ...this.question(), name: this.name.value.trim() }));
      if (started) location.assign(pageOf(started.name, "watch"));
      else start.disabled = false;
    });
    return form;
  }

  question() {
    const { draft, folder = "", source, objects = "", model = "", recipe, settings = "" } = this.plan;
    return { draft, folder, source, objects, model, recipe, settings };
  }

  async cancel() {
    this.choosing.stop?.abort();
    this.estimate.endAsking?.();
    await attempt(() => post("/api/new/cancel", { draft: this.plan.draft }));
    location.hash = "";
  }
}
