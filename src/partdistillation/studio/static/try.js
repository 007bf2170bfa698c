// New photographs: what the run's model sees on them, corrected by clicks, to take away.

import { apiOf, attempt, bdi, colorOf, counted, element, get, post, say, send } from "./dom.js";
import { Downloads, slider } from "./limits.js";
import { Stage, percent, shown } from "./stage.js";

const MOST_BYTES = 64 * 2 ** 20;
const TYPES = "image/jpeg,image/png,image/webp,image/bmp,image/tiff,image/gif,image/avif,image/heic,.heic,.heif";
const MODELS = { part_model: "The part model", retrained: "The retrained one" };

export async function show(main, run) {
  await new Trying(main, `${apiOf(run)}/try`).begin();
}

class Trying {
  constructor(main, api) {
    Object.assign(this, { main, api, photographs: [], waiting: [], at: 0, active: null, pinned: null });
    this.correcting = null; // {number or null while it is new, clicks, inside}
    const query = new URLSearchParams(location.hash.slice(1));
    this.limits = { score: Number(query.get("score") ?? 0.3), share: Number(query.get("size") ?? 0.05) };
    this.model = query.get("model") ?? "part_model";
    this.at = Number(query.get("at") ?? 0);
    this.ids = (query.get("p") ?? "").split(".").filter(Boolean);
  }

  async begin() {
    const { models, most } = await get(this.api);
    Object.assign(this, { models, most });
    if (!models.includes(this.model)) this.model = models[0] ?? "part_model";
    this.#build();
    if (!models.length) {
      this.drop.replaceChildren(element("h1", {}, "No part model yet"),
        element("p", { class: "soft" }, "The last stage of the run makes it. Come back when it is done."));
      this.tools.hidden = true;
      return;
    }
    this.#receive();
    await this.#restore();
    await this.#warm();
  }

  async #warm() {
    this.#tell("Getting the model ready …");
    const known = await attempt(() => post(`${this.api}/warm`, { model: this.model }));
    this.classes = known?.classes ?? [];
    this.#tell(known && !known.finds ? "Nothing here finds objects by itself: mark them by clicks." : "");
    this.#render();
  }

  #tell(text) {
    this.ready.textContent = text;
    this.ready.hidden = !text;
  }

  async #restore() {
    if (!this.ids.length) return;
    const { photographs } = await get(`${this.api}/photographs?ids=${this.ids.join(".")}`);
    this.photographs = photographs;
    if (photographs.length < this.ids.length) say("Some photographs were forgotten meanwhile.");
    this.#render();
  }

  // ---- what is on the page

  #build() {
    const choose = (attributes, ...label) => {
      const input = element("input", { type: "file", class: "unseen", accept: TYPES, ...attributes,
        onchange: () => { this.take([...input.files]); input.value = ""; } });
      return element("label", { class: "button pick" }, input, ...label);
    };
    const pickers = () => [choose({ multiple: true }, "Choose photographs"),
      element("span", { class: "camera" }, choose({ capture: "environment", accept: "image/*" }, "Take one"))];
    this.ready = element("p", { class: "soft", role: "status" });
    const model = element("select", { "aria-label": "Model", onchange: () => this.#switch(model.value) },
      this.models.map((name) => element("option", { value: name, selected: name === this.model }, MODELS[name])));
    model.hidden = this.models.length < 2;
    this.tools = element("div", { class: "row" }, model, element("span", { class: "row" }, pickers()),
      element("button", { class: "quiet", onclick: () => this.#forget(this.photographs.map(({ id }) => id)) }, "Forget all"));
    this.drop = element("section", { class: "drop card" },
      element("h1", {}, "Try new photographs"),
      element("p", { class: "soft" }, "Drop them here, paste one, or choose. What the model sees comes in seconds."),
      element("p", { class: "row" }, pickers()),
      element("p", { class: "soft small" }, "They stay in the memory of the studio, and nowhere else, until you forget them or it ends."));
    this.strip = element("ul", { class: "strip", "aria-label": "Photographs" });
    this.stage = new Stage({
      onactive: (key) => this.#activate(key ?? this.pinned),
      onpin: (key) => { this.pinned = this.pinned === key ? null : key; this.#activate(key); },
      onpoint: (x, y, kind) => this.#point(x, y, kind),
    });
    this.bar = element("div", { class: "bar row", role: "group", "aria-label": "Correct the object", hidden: true });
    this.list = element("div", { class: "stack seen" });
    const moved = () => { this.#filter(); this.#remember(); };
    this.sliders = element("div", { class: "sliders" },
      slider(this.limits, "score", "Score at least", [0.05, 0.95, 0.01], (value) => value.toFixed(2), moved),
      slider(this.limits, "share", "Size at least", [0.005, 0.4, 0.005], (value) => `${percent(value)} of the object`, moved));
    this.downloads = new Downloads((kind, all) => this.#addressOf(kind, all));
    this.panel = element("aside", { class: "stack panel", "aria-label": "What was seen" },
      this.sliders, this.list, this.downloads.root);
    this.previous = element("button", { class: "turn", "aria-label": "Previous photograph", onclick: () => this.#turn(-1) }, "‹");
    this.following = element("button", { class: "turn", "aria-label": "Next photograph", onclick: () => this.#turn(1) }, "›");
    this.caption = element("p", { class: "row caption" });
    this.work = element("div", { class: "work" },
      element("section", { class: "stack", "aria-label": "Photograph" },
        element("div", { class: "turning" }, this.previous, this.stage.root, this.following), this.bar, this.caption, this.strip),
      this.panel);
    this.head = element("div", { class: "row head" }, element("h1", {}, "Try"), this.tools);
    this.main.replaceChildren(this.head, this.ready, this.drop, this.work);
    this.#render();
  }

  get photograph() {
    return this.photographs[this.at];
  }

  #render() {
    this.at = Math.min(Math.max(this.at, 0), Math.max(0, this.photographs.length - 1));
    const any = this.photographs.length > 0 || this.waiting.length > 0;
    this.drop.hidden = any;
    this.head.hidden = !any;
    this.work.hidden = !any;
    this.main.classList.toggle("trying", any);
    this.#renderStrip();
    this.stage.root.hidden = this.panel.hidden = !this.photograph;
    this.previous.hidden = this.following.hidden = this.photographs.length < 2;
    if (this.photograph) {
      this.stage.draw(this.photograph, `${this.api}/photographs/${this.photograph.id}/picture`);
      this.caption.replaceChildren(bdi(this.photograph.name),
        element("span", { class: "soft number" }, `${this.photograph.width} × ${this.photograph.height}`),
        element("button", { class: "quiet", onclick: () => this.#forget([this.photograph.id]) }, "Forget"));
      this.#renderList();
      this.downloads.draw(this.photographs.length);
      this.#filter();
      this.#renderBar();
    }
    this.#remember();
  }

  #renderStrip() {
    this.strip.replaceChildren(
      ...this.photographs.map(({ id, name }, place) => element("li", {}, element("button", {
        class: "tile", "aria-label": `Photograph ${place + 1}: ${name}`, "aria-current": place === this.at ? "true" : undefined,
        onclick: () => this.#turn(place - this.at),
      }, element("img", { src: `${this.api}/photographs/${id}/picture`, alt: "" })))),
      ...this.waiting.map((name) => element("li", { class: "tile waits", "aria-label": `${name} is being looked at` }, element("span", {}, "…"))));
    this.strip.hidden = this.photographs.length + this.waiting.length < 2 && this.photographs.length > 0;
  }

  #renderList() {
    this.rows = new Map();
    const row = (key, object, part) => {
      const made = element("button", {
        class: `line ${part ? "" : "whole"}`,
        onpointerenter: () => this.#activate(key), onpointerleave: () => this.#activate(this.pinned),
        onfocus: () => this.#activate(key), onblur: () => this.#activate(this.pinned),
        onclick: () => { this.pinned = this.pinned === key ? null : key; this.#activate(key); },
      }, part ? element("span", { class: `swatch ${colorOf(part.part)}` }) : null, bdi(part?.name ?? object.category),
      element("span", { class: "soft number" }, `${(part ?? object).score.toFixed(2)} · ${percent((part ?? object).share)}`));
      this.rows.set(key, made);
      return part ? element("li", {}, made) : made;
    };
    this.list.replaceChildren(
      ...this.photograph.objects.map((object) => element("section", { class: "card object", "data-object": String(object.object) },
        row(`${object.object}`, object, null),
        element("ul", {}, object.parts.map((part, place) => row(`${object.object}/${place}`, object, part))),
        element("div", { class: "row acts" },
          this.#classes(object),
          element("button", { onclick: () => this.#correct(object) }, "Correct"),
          element("button", { class: "quiet", onclick: () => this.#remove(object) }, "Remove")))),
      this.hiddenNote = element("p", { class: "soft" }),
      element("button", { onclick: () => this.#correct(null) }, "Mark another object"));
  }

  #classes(object) {
    const choice = element("select", { "aria-label": "Object class", onchange: () => this.#ask(object.object, object.clicks, choice.value) },
      (this.classes?.length ? this.classes : [object.category]).map((name) =>
        element("option", { value: name, selected: name === object.category }, name)));
    return choice;
  }

  #renderBar() {
    const { correcting } = this;
    this.bar.hidden = !correcting;
    this.stage.correct(correcting ? correcting.number ?? "new" : null, correcting?.clicks);
    if (!correcting) return;
    const object = this.photograph.objects.find(({ object: number }) => number === correcting.number);
    const kinds = [[true, "+ belongs to it"], [false, "− doesn’t"]].map(([inside, label]) =>
      element("label", { class: "kind" }, element("input", { type: "radio", name: "kind", checked: correcting.inside === inside,
        onchange: () => { correcting.inside = inside; } }), label));
    const wanted = element("select", { "aria-label": "Class of the new object", onchange: () => { correcting.category = wanted.value || null; } },
      element("option", { value: "" }, "Class that fits best"),
      (this.classes ?? []).map((name) => element("option", { value: name, selected: name === correcting.category }, name)));
    this.bar.replaceChildren(
      element("span", {}, object ? ["Correcting ", bdi(object.category), ": click on the photograph"] : "Click on an object"),
      ...(object ? [] : [wanted]),
      ...kinds,
      element("button", { disabled: !correcting.clicks.length, onclick: () => this.#undo() }, "Undo"),
      element("button", { class: "main", onclick: () => this.#correct(undefined) }, "Done"));
  }

  #filter() {
    if (!this.photograph) return;
    const visible = shown(this.photograph, this.limits);
    const keys = new Set(visible.map(([key]) => key));
    if (this.correcting) keys.add(`${this.correcting.number}`);
    this.stage.filter(keys);
    for (const [key, line] of this.rows) (line.closest("li") ?? line.closest("section")).hidden = !keys.has(key);
    const hidden = this.rows.size - keys.size;
    this.hiddenNote.textContent = !this.rows.size ? "The model sees no object here."
      : hidden > 0 ? `${counted(hidden, "outline")} below the sliders.` : "";
    this.#activate(keys.has(this.pinned) ? this.pinned : null);
  }

  #activate(key) {
    this.active = key;
    const [number, place] = (key ?? "").split("/");
    const object = this.photograph?.objects.find((entry) => `${entry.object}` === number);
    this.stage.activate(object ? key : null, object, place === undefined ? null : object?.parts[place]);
    for (const [other, line] of this.rows ?? []) {
      line.classList.toggle("active", other === key);
      line.setAttribute("aria-pressed", String(other === this.pinned));
    }
  }

  #remember() {
    const query = new URLSearchParams({ score: this.limits.score, size: this.limits.share });
    if (this.photographs.length) query.set("p", this.photographs.map(({ id }) => id).join("."));
    if (this.at) query.set("at", this.at);
    if (this.model !== "part_model") query.set("model", this.model);
    history.replaceState(null, "", `#${query}`);
  }

  // ---- what is done

  #receive() {
    document.addEventListener("dragover", (event) => { event.preventDefault(); this.main.classList.add("over"); });
    document.addEventListener("dragleave", (event) => { if (!event.relatedTarget) this.main.classList.remove("over"); });
    document.addEventListener("drop", (event) => {
      event.preventDefault();
      this.main.classList.remove("over");
      this.take([...event.dataTransfer.files]);
    });
    document.addEventListener("paste", (event) => {
      if (event.clipboardData.files.length) this.take([...event.clipboardData.files]);
    });
    document.addEventListener("keydown", (event) => this.#key(event));
  }

  #key(event) {
    if (event.target.matches("select, textarea") || event.altKey) return;
    if (this.correcting) {
      const radio = { "+": 0, "=": 0, "-": 1 }[event.key];
      if (radio !== undefined) this.bar.querySelectorAll("input")[radio].click();
      else if (event.key === "Escape") this.#correct(undefined);
      else if (event.key === "z" && (event.ctrlKey || event.metaKey)) this.#undo();
      else return;
      event.preventDefault();
    } else if (!event.target.matches("input") && !event.ctrlKey && !event.metaKey) {
      const step = { ArrowLeft: -1, ArrowRight: 1 }[event.key];
      if (step) this.#turn(step);
    }
  }

  async take(files) {
    const fit = files.slice(0, this.most);
    const problems = files.length > fit.length ? [`Expected at most ${this.most} photographs, found ${files.length}: the first are taken.`] : [];
    this.waiting.push(...fit.map(({ name }) => name));
    this.#render();
    for (const file of fit) {
      try {
        if (file.size > MOST_BYTES) throw new Error(`expected at most ${MOST_BYTES >> 20} MB, found ${Math.ceil(file.size / 2 ** 20)} MB`);
        const seen = await send(`${this.api}/upload`, file, { model: this.model });
        this.photographs = [...this.photographs, seen].slice(-this.most);
        if (!this.correcting) this.at = this.photographs.length - 1;
      } catch (error) {
        problems.push(`${file.name}: ${error.message}`);
      }
      this.waiting.splice(this.waiting.indexOf(file.name), 1);
      this.#render();
    }
    if (problems.length) say(problems.join("\n"), { problem: true });
    else say(`${counted(fit.length, "photograph")} looked at.`);
  }

  #turn(step) {
    if (!this.photographs.length) return;
    say("");
    this.correcting = null;
    this.pinned = null;
    this.at = (this.at + step + this.photographs.length) % this.photographs.length;
    this.#render();
  }

  async #forget(ids) {
    for (const id of ids) await attempt(() => post(`${this.api}/photographs/${id}/forget`, {}));
    this.photographs = this.photographs.filter(({ id }) => !ids.includes(id));
    this.correcting = null;
    this.#render();
    say(`${counted(ids.length, "photograph")} forgotten.`);
  }

  async #switch(model) {
    this.model = model;
    this.correcting = null;
    await this.#warm();
    for (const { id } of this.photographs) await this.#changed(() => post(`${this.api}/photographs/${id}/look`, { model }));
  }

  /** Ask for a change of a photograph, and show what comes back. */
  async #changed(question) {
    const answer = await attempt(question);
    if (!answer) return undefined;
    this.photographs = this.photographs.map((other) => (other.id === answer.id ? answer : other));
    this.#render();
    return answer;
  }

  #remove(object) {
    this.correcting = null;
    return this.#changed(() => post(`${this.api}/photographs/${this.photograph.id}/remove`, { object: object.object }));
  }

  /** Begin with an object, or a new one (null); undefined ends it. */
  #correct(object) {
    say("");
    const number = this.correcting?.number;
    this.correcting = object === undefined ? null
      : { number: object?.object ?? null, clicks: object?.clicks ?? [], inside: true, category: null };
    this.pinned = null;
    this.#filter();
    this.#renderBar();
    if (this.correcting) this.stage.cross.focus({ preventScroll: false });
    else this.list.querySelector(`[data-object="${number}"] .acts button`)?.focus();
  }

  #point(x, y, kind) {
    const { correcting } = this;
    const inside = kind === "chosen" ? correcting.inside : !correcting.inside;
    this.#send([...correcting.clicks, [x, y, inside]]);
  }

  #undo() {
    if (this.correcting.clicks.length) this.#send(this.correcting.clicks.slice(0, -1));
  }

  /** Show the points at once; ask one question at a time, the last points last. */
  async #send(clicks) {
    const { correcting, photograph } = this;
    correcting.clicks = clicks;
    this.#renderBar();
    if (correcting.busy) return;
    correcting.busy = true;
    let asked;
    while (asked !== correcting.clicks) {
      asked = correcting.clicks;
      const object = this.photographs.find(({ id }) => id === photograph.id)?.objects.find((entry) => entry.object === correcting.number);
      if (!asked.length && (!object || object.made)) {
        if (object) await this.#remove(object);
        correcting.number = null;
        if (this.correcting === null) this.correcting = correcting;
        this.#renderBar();
        continue;
      }
      const answer = await this.#ask(correcting.number, asked, object?.category ?? correcting.category);
      if (!answer) correcting.clicks = asked = asked.slice(0, -1);
      else if (correcting.number === null) correcting.number = Math.max(...answer.objects.map((entry) => entry.object));
      this.#filter();
      this.#renderBar();
    }
    correcting.busy = false;
  }

  async #ask(object, clicks, category) {
    this.stage.frame.classList.add("busy");
    const points = clicks.map((click) => (Array.isArray(click) ? { x: click[0], y: click[1], inside: click[2] } : click));
    const answer = await this.#changed(() =>
      post(`${this.api}/photographs/${this.photograph.id}/correct`, { object, category, clicks: points }));
    this.stage.frame.classList.remove("busy");
    return answer;
  }

  #addressOf(kind, all) {
    const ids = (all ? this.photographs : [this.photograph]).map(({ id }) => id);
    const query = new URLSearchParams({ photographs: ids.join("."), score: this.limits.score, share: this.limits.share });
    return `${this.api}/download/${kind}?${query}`;
  }
}
