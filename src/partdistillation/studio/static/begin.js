// A new run: photographs are chosen or dropped, looked at, and it starts. What was chosen stays in the address.

import { attempt, bdi, counted, element, get, pageOf, post, repeat, say } from "./dom.js";
import { about, dropped, sendAll } from "./photographs.js";
import { choosePath } from "./folders.js";

const SOURCES = {
  salient: ["What stands out", "One object a photograph: the one that catches the eye. Its class is its folder’s name."],
  annotations: ["Masks in a COCO file", "A .json file with the outline of every object."],
  masks: ["A folder of masks", "For each photograph a .png of the same name, or a folder with a mask an object."],
  mask2former: ["Mask2Former", "Finds the classes that it was trained for."],
  detic: ["Detic", "Finds objects by the names of your folders."],
  sam3: ["SAM 3", "Finds objects by the names of your folders."],
  grounded_sam: ["Grounding DINO and SAM", "Finds objects by the names of your folders."],
};
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
  await attempt(() => page.estimated());
}

function read() {
  const kept = new URLSearchParams(location.hash.slice(1));
  return Object.fromEntries(KEPT.filter((key) => kept.get(key)).map((key) => [key, kept.get(key)]));
}

function write(plan) {
  const kept = new URLSearchParams(KEPT.filter((key) => plan[key]).map((key) => [key, plan[key]]));
  history.replaceState(null, "", `${location.pathname}#new&${kept}`);
}

const fill = (parent, ...children) => parent.replaceChildren(...children.filter((child) => child !== null));

class Page {
  constructor(main, plan, choices) {
    Object.assign(this, { main, plan, choices, asked: 0 });
    this.found = element("section", { class: "stack", "aria-live": "polite" });
    this.estimate = element("div", { class: "stack", "aria-live": "polite" });
    this.rest = element("div", { class: "stack later", hidden: true });
  }

  elements() {
    this.rest.append(this.objects(), this.recipe(), this.last());
    return [
      element("div", { class: "head" }, element("h1", {}, "New run"),
        element("button", { class: "quiet", onclick: () => this.cancel() }, "Cancel")),
      this.photographs(), this.found, this.rest,
    ];
  }

  keep(changes) {
    Object.assign(this.plan, changes);
    write(this.plan);
  }

  query(more = {}) {
    return new URLSearchParams({ draft: this.plan.draft, folder: this.plan.folder ?? "", ...more });
  }

  // ------------------------------------------------------------------ photographs

  photographs() {
    this.path = element("input", { id: "folder", type: "text", value: this.plan.folder ?? "", spellcheck: "false", autocomplete: "off", placeholder: "/home/…/photographs" });
    const form = element("form", { class: "row path" }, this.path, element("button", {}, "Show"));
    form.addEventListener("submit", (event) => { event.preventDefault(); this.choose(this.path.value.trim()); });
    const chosen = element("div", { class: "card stack" },
      element("h2", {}, "Choose a folder"),
      element("p", { class: "soft" }, "Best with a folder inside for each kind of thing: photos/car, photos/person. Nothing in it is changed."),
      element("p", {}, element("button", { class: "main", onclick: () => this.browse() }, "Browse folders")),
      element("label", { for: "folder" }, "or give its path"), form);
    return element("section", { class: "ways" }, this.choices.folders ? chosen : null, this.drop());
  }

  drop() {
    const files = element("input", { type: "file", multiple: true, accept: "image/*,.heic,.heif,.avif", hidden: true, id: "files" });
    const folder = element("input", { type: "file", webkitdirectory: true, hidden: true, id: "folders" });
    for (const input of [files, folder]) {
      input.addEventListener("change", () => {
        this.send([...input.files].map((file) => ({ file, path: file.webkitRelativePath || file.name })));
        input.value = "";
      });
    }
    this.single = element("input", { id: "single", type: "text", value: "things", maxlength: "60" });
    this.sending = element("div", { class: "stack", "aria-live": "polite" });
    const zone = element("div", { class: "card stack zone" },
      element("h2", {}, "Drop photographs here"),
      element("p", { class: "soft" }, "Files, or whole folders: a folder’s name is the class of what is in it. They are copied into the run."),
      element("div", { class: "row" },
        element("button", { onclick: () => files.click() }, "Choose files"),
        element("button", { onclick: () => folder.click() }, "Choose a folder")),
      element("div", { class: "row" }, element("label", { for: "single" }, "Files without a folder show"), this.single),
      files, folder, this.sending);
    for (const name of ["dragenter", "dragover"]) zone.addEventListener(name, (event) => { event.preventDefault(); zone.dataset.over = ""; });
    for (const name of ["dragleave", "drop"]) zone.addEventListener(name, (event) => { event.preventDefault(); delete zone.dataset.over; });
    // What is dropped beside it isn’t opened in place of the page.
    for (const name of ["dragover", "drop"]) addEventListener(name, (event) => event.preventDefault());
    zone.addEventListener("drop", async (event) => this.send(await dropped(event.dataTransfer)));
    return zone;
  }

  async send(files) {
    if (this.stop) { say("Wait for the photographs that are on their way, or stop them.", { problem: true }); return; }
    const stop = new AbortController();
    this.stop = stop;
    const bar = element("progress", { "aria-label": "Photographs sent", max: String(files.length), value: "0" });
    const text = element("p", { class: "number" });
    const refused = element("ul", { class: "reasons" });
    this.sending.replaceChildren(text, bar, element("p", {}, element("button", { class: "quiet", onclick: () => stop.abort() }, "Stop")), refused);
    const counts = await sendAll(files, { draft: this.plan.draft, single: this.single.value.trim() || "things", most: this.choices.mostFiles, signal: stop.signal },
      (sent, total) => { bar.value = sent; text.textContent = `${sent.toLocaleString("en")} of ${counted(total, "photograph")} sent`; },
      (file, why) => refused.append(element("li", {}, bdi(file), element("span", { class: "soft" }, why))));
    this.stop = null;
    bar.remove();
    text.textContent = `${counted(counts.kept, "photograph")} kept${counts.refused ? `, ${counts.refused.toLocaleString("en")} refused` : ""}${counts.others ? `, ${counted(counts.others, "other file")} passed over` : ""}`;
    this.sending.replaceChildren(text, element("p", {}, element("button", { class: "quiet", onclick: () => this.clear() }, "Remove them again")), refused);
    if (counts.kept) { this.path && (this.path.value = ""); this.keep({ folder: "" }); await attempt(() => this.preview()); }
  }

  async clear() {
    await attempt(() => post("/api/new/photographs/clear", { draft: this.plan.draft }));
    this.sending.replaceChildren();
    if (!this.plan.folder) { this.found.replaceChildren(); this.rest.hidden = true; }
  }

  async browse() {
    const folder = await choosePath({ title: "A folder of photographs", from: this.plan.folder });
    if (folder) await this.choose(folder);
  }

  async choose(folder) {
    if (!folder) return;
    if (this.path) this.path.value = folder;
    this.keep({ folder });
    await attempt(() => this.preview());
  }

  // ------------------------------------------------------------------ what was found

  async preview() {
    const asked = ++this.asked;
    this.found.replaceChildren(element("p", { class: "soft" }, "Looking …"));
    let seen;
    try {
      seen = await get(`/api/new/preview?${this.query()}`);
    } catch (error) {
      this.found.replaceChildren(element("p", { class: "bad", role: "alert" }, error.message));
      this.rest.hidden = true;
      return;
    }
    if (asked !== this.asked) return;
    const classes = [...seen.classes];
    const { count, examples, all } = seen.withoutClass;
    if (count) classes.push({ name: all ? null : "(in no folder)", count, examples });
    this.checks = element("div", { class: "stack" });
    fill(this.found,
      element("h2", { class: "number" }, counted(seen.count, "photograph"), seen.classes.length ? `, ${counted(seen.classes.length + seen.moreClasses, "class", "classes")}` : ", all of one class"),
      element("ul", { class: "classes" }, classes.map((one) => this.category(one))),
      seen.moreClasses ? element("p", { class: "soft" }, `and ${counted(seen.moreClasses, "more class", "more classes")}`) : null,
      seen.notes.length ? element("ul", { class: "soft" }, seen.notes.map((note) => element("li", {}, bdi(note)))) : null,
      this.checks);
    this.rest.hidden = false;
    if (!this.name.value) this.suggest(seen);
    await this.check(asked);
  }

  category({ name, count, examples }) {
    return element("li", { class: "category" },
      element("p", {}, name === null ? element("b", {}, "all") : element("b", {}, bdi(name)), " ", element("span", { class: "soft number" }, counted(count, "photograph"))),
      element("div", { class: "strip" }, examples.map((file) =>
        element("img", { src: `/api/new/thumbnail?${this.query({ file })}`, alt: file, loading: "lazy" }))));
  }

  async check(asked) {
    const listed = element("ul", { class: "reasons" });
    const text = element("p", { class: "soft number" });
    const more = element("details", { hidden: true }, element("summary", {}, "Which, and why"), listed);
    this.checks.replaceChildren(text, more);
    let count = 0;
    for (let start = 0; start !== null;) {
      const part = await get(`/api/new/checks?${this.query({ start, source: this.plan.source })}`);
      if (asked !== this.asked) return;
      count += part.problems.length;
      for (const { file, why } of part.problems) if (listed.children.length < 200) listed.append(element("li", {}, bdi(file), element("span", { class: "soft" }, why)));
      const seen = part.next ?? part.of;
      text.textContent = part.next === null
        ? count ? `${counted(count, "photograph")} can’t be used and will be left out.` : "All of them can be read."
        : `Looking for damaged files: ${seen.toLocaleString("en")} of ${part.of.toLocaleString("en")} …`;
      text.className = count ? "bad number" : "soft number";
      more.hidden = !count;
      start = part.next;
    }
  }

  suggest(seen) {
    const parts = (this.plan.folder ?? "").split("/").filter(Boolean);
    this.name.value = (parts.at(-1) ?? seen.classes[0]?.name ?? "photographs").replace(/[/\\:*?"<>|]/g, " ").slice(0, 60).trim();
    this.keep({ name: this.name.value });
  }

  // ------------------------------------------------------------------ objects, recipe, name

  objects() {
    const more = element("div", { class: "stack" });
    const show = () => { more.replaceChildren(...this.more()); };
    const options = Object.entries(SOURCES).filter(([name]) => this.choices.folders || !["annotations", "masks"].includes(name));
    const select = element("select", { id: "source" }, options.map(([name, [label]]) =>
      element("option", { value: name, selected: name === this.plan.source }, label)));
    const text = element("p", { class: "soft" });
    const told = () => { text.textContent = SOURCES[this.plan.source][1]; };
    select.addEventListener("change", () => {
      this.keep({ source: select.value, objects: "", model: "" });
      told();
      show();
      attempt(() => this.check(this.asked));
    });
    told();
    show();
    return element("section", { class: "card stack" }, element("h2", {}, "Where the objects come from"),
      element("div", { class: "row" }, element("label", { for: "source", class: "away" }, "Where the objects come from"), select), text, more);
  }

  more() {
    if (this.plan.source === "salient") return this.choices.saliency ? [] : [this.getNetwork()];
    if (this.plan.source === "annotations") return [this.pathField("objects", "The file", { title: "A file of object masks", files: "json" })];
    if (this.plan.source === "masks") return [this.pathField("objects", "The folder", { title: "A folder of masks" })];
    const model = element("input", { id: "model", type: "text", value: this.plan.model ?? "", placeholder: "the published one", spellcheck: "false" });
    model.addEventListener("change", () => this.keep({ model: model.value.trim() }));
    return [element("label", { for: "model" }, "Model, by its name on the hub or its folder"), model];
  }

  getNetwork() {
    const button = element("button", { onclick: async () => {
      button.disabled = true;
      if (await attempt(() => post("/api/new/weights", {}))) { this.choices.saliency = true; all.remove(); say("It is here."); }
      button.disabled = false;
    } }, "Get it with pip");
    const all = element("div", { class: "stack tight" },
      element("p", { class: "bad" }, "The network that finds what stands out isn’t on this machine yet (4 MB, once)."), element("p", {}, button));
    return all;
  }

  pathField(key, label, question) {
    const input = element("input", { id: key, type: "text", value: this.plan[key] ?? "", spellcheck: "false" });
    input.addEventListener("change", () => this.keep({ [key]: input.value.trim() }));
    const browse = element("button", { onclick: async () => {
      const path = await choosePath({ from: this.plan.folder, ...question });
      if (path) { input.value = path; this.keep({ [key]: path }); }
    } }, "Browse");
    return element("div", { class: "stack tight" }, element("label", { for: key }, label), element("div", { class: "row path" }, input, browse));
  }

  recipe() {
    const select = element("select", { id: "recipe" }, this.choices.recipes.map(({ name }) =>
      element("option", { value: name, selected: name === this.plan.recipe }, name)));
    const text = element("p", { class: "soft" });
    const told = () => { text.textContent = this.choices.recipes.find(({ name }) => name === this.plan.recipe).text; };
    select.addEventListener("change", () => { this.keep({ recipe: select.value }); told(); this.estimate.replaceChildren(this.askTime()); });
    told();
    this.estimate.replaceChildren(this.askTime());
    return element("section", { class: "card stack" }, element("h2", {}, "The recipe"),
      element("div", { class: "row" }, element("label", { for: "recipe", class: "away" }, "The recipe"), select), text,
      this.choices.folders ? element("details", { open: Boolean(this.plan.settings) }, element("summary", {}, "Settings of a file"),
        this.pathField("settings", "A .yaml file, whose settings go over the recipe’s", { title: "A file of settings", files: "yaml" })) : null,
      this.estimate);
  }

  askTime() {
    return element("p", {}, element("button", { onclick: () => attempt(() => this.startEstimate()) }, "How long will it take?"));
  }

  async startEstimate() {
    await post("/api/new/estimate", this.question());
    await this.estimated();
  }

  async estimated() {
    const state = await get(`/api/new/estimate?draft=${this.plan.draft}`);
    this.endAsking?.();
    if (state.state === "going on") {
      this.estimate.replaceChildren(
        element("p", { class: "soft" }, "Each stage is tried on a few photographs and steps. This takes a minute or two …"),
        element("progress", { "aria-label": "Trying each stage" }),
        element("p", {}, element("button", { class: "quiet", onclick: () => attempt(async () => {
          await post("/api/new/estimate/cancel", { draft: this.plan.draft });
          await this.estimated();
        }) }, "Never mind")));
      this.endAsking = repeat(async () => {
        if (!this.main.contains(this.estimate)) { this.endAsking(); return; }
        await attempt(() => this.estimated());
      }, 1500);
    } else if (state.state === "failed") {
      this.estimate.replaceChildren(element("p", { class: "bad" }, bdi(state.why)), this.askTime());
    } else if (state.state === "finished") {
      fill(this.estimate,
        element("p", { class: "large" }, state.seconds === null ? "How long it will take isn’t known." : `It will take ${about(state.seconds)} on this machine.`),
        state.remark ? element("p", { class: "bad" }, bdi(state.remark)) : null,
        element("details", {}, element("summary", {}, "Stage by stage"), element("dl", { class: "pairs" }, state.stages.flatMap(({ label, seconds }) =>
          [element("dt", {}, label), element("dd", { class: "number" }, about(seconds))]))),
        state.firstLook ? element("figure", {}, element("img", { class: "look", src: `/api/new/first-look?draft=${this.plan.draft}&at=${Date.now()}`, alt: "A few photographs, each with the object that was found and, beside it, its segments" }),
          element("figcaption", { class: "soft" }, "A first look: objects, and how they are cut into segments.")) : null,
        this.askTime());
    } else this.estimate.replaceChildren(this.askTime());
  }

  last() {
    this.name = element("input", { id: "name", type: "text", value: this.plan.name ?? "", maxlength: "60", required: true });
    this.name.addEventListener("change", () => this.keep({ name: this.name.value.trim() }));
    const start = element("button", { class: "main large" }, "Start");
    const form = element("form", { class: "card stack" }, element("label", { for: "name" }, "What this run is called"), this.name,
      element("p", { class: "soft" }, "It goes on by itself: this page may be closed, and the studio too."), element("p", {}, start));
    form.addEventListener("submit", async (event) => {
      event.preventDefault();
      if (this.stop) { say("Wait for the photographs that are on their way, or stop them.", { problem: true }); return; }
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
    this.stop?.abort();
    this.endAsking?.();
    await attempt(() => post("/api/new/cancel", { draft: this.plan.draft }));
    location.hash = "";
  }
}
