// A run as it goes on: how far it is, what it has found, what went wrong.

import { apiOf, attempt, bdi, counted, element, get, pageOf, post, repeat, say } from "./dom.js";
import { downloadTool } from "./download.js";
import { about } from "./photographs.js";

const TITLES = { "going on": "Going on", stopping: "Stopping …", stopped: "Stopped", failed: "It went wrong", finished: "Finished" };
const DOING = {
  objects: "Finding the objects", segments: "Grouping the pixels of each object", proposals: "Learning to propose parts",
  ranking: "Sorting proposals into part classes", distillation: "Learning the parts",
};

export async function show(main, run) {
  const page = new Page(main, run);
  await page.refresh();
  main.replaceChildren(...page.elements());
  const again = async () => {
    try {
      await page.refresh();
      if (lost) say("");
      lost = false;
    } catch (error) {
      lost = true;
      say(`What is seen here is no longer new. ${capital(error.message)}`, { problem: true });
    }
  };
  let lost = false;
  repeat(again, 2000);
  document.addEventListener("visibilitychange", () => { if (!document.hidden) again(); });
}

class Page {
  constructor(main, run) {
    Object.assign(this, { main, run, known: "", drawn: 0 });
    this.title = element("h1", {});
    this.told = element("p", { class: "soft large", role: "status" });
    this.left = element("p", { class: "left number" });
    this.stop = element("button", { onclick: () => this.ask("stop") }, "Stop");
    this.now = element("button", { class: "danger", onclick: () => this.ask("stop") }, "Stop at once");
    this.resume = element("button", { class: "main", onclick: () => this.ask("resume") }, "Go on");
    this.report = element("a", { class: "button", href: pageOf(run, "report/index.html"), hidden: true }, "Read the report");
    this.next = element("nav", { class: "next", "aria-label": "What now", hidden: true },
      element("a", { class: "button main", href: pageOf(run, "look") }, "Look at the parts"),
      element("a", { class: "button", href: pageOf(run, "try") }, "Try it on a photograph"),
      element("a", { class: "button", href: pageOf(run, "judge/") }, "Judge the parts"),
      downloadTool(run), this.report);
    this.why = element("section", { class: "card stack why", hidden: true });
    this.stages = element("ol", { class: "stages" });
    this.rows = new Map();
    this.look = element("section", { class: "stack", hidden: true });
    this.layers = element("div", { class: "stack layers" });
    this.losses = element("section", { class: "stack", hidden: true });
    this.rejected = element("section", { class: "stack", hidden: true });
  }

  elements() {
    return [
      element("section", { class: "top" },
        element("div", { class: "stack" }, this.title, this.told, this.left,
          element("div", { class: "row" }, this.resume, this.stop, this.now), this.next),
        element("div", { class: "card" }, this.stages)),
      this.why, this.look, this.layers, this.losses, this.rejected,
    ];
  }

  async ask(what) {
    await attempt(() => post(`${apiOf(this.run)}/${what}`, {}));
    await attempt(() => this.refresh());
  }

  async refresh() {
    const seen = await get(`${apiOf(this.run)}/watch`);
    const current = seen.stages.find(({ state }) => state === "going on");
    set(this.title, seen.state === "going on" ? seen.now || DOING[current?.stage] || TITLES["going on"] : TITLES[seen.state]);
    set(this.told, this.said(seen));
    set(this.left, seen.state !== "going on" ? "" : seen.left === null
      ? "How long it will take isn’t known yet." : `${capital(about(seen.left))} left.`);
    const focused = document.activeElement;
    this.stop.hidden = !(seen.state === "going on" && seen.here);
    this.now.hidden = seen.state !== "stopping";
    this.resume.hidden = !["stopped", "failed"].includes(seen.state);
    if (focused?.hidden) [this.stop, this.now, this.resume].find((button) => !button.hidden)?.focus();
    this.next.hidden = seen.state !== "finished";
    this.report.hidden = !seen.report;
    this.explain(seen);
    for (const stage of seen.stages) this.stage(stage);
    this.reject(seen.rejected);
    await this.pictures(seen);
  }

  said(seen) {
    switch (seen.state) {
      case "going on": return seen.here ? "It goes on by itself: this page may be closed." : "It was started in a terminal; Ctrl-C there stops it.";
      case "stopping": return "It ends when it can. What is done is kept.";
      case "stopped": return "What is done is kept. It goes on where it was.";
      case "failed": return "What is done is kept. See to this, then let it go on.";
      default: return "The parts are found, and a model that finds them in new photographs.";
    }
  }

  explain({ why, said }) {
    this.why.hidden = !why;
    if (this.explained === why) return;
    this.explained = why;
    this.why.replaceChildren(element("h2", {}, "What went wrong"), element("p", { class: "lines" }, bdi(why)),
      element("details", {}, element("summary", {}, "The last it said"), element("pre", { tabIndex: 0 }, said.join("\n"))));
  }

  stage({ stage, label, state, done, total, unit, seconds, left }) {
    if (!this.rows.has(stage)) {
      const row = {
        item: element("li", {}), text: element("span", { class: "soft number" }),
        bar: element("progress", { max: "1", value: "0", "aria-label": label }),
      };
      row.item.append(element("span", { class: "mark", "aria-hidden": "true" }), element("span", { class: "label" }, label), row.text, row.bar);
      this.rows.set(stage, row);
      this.stages.append(row.item);
    }
    const row = this.rows.get(stage);
    row.item.dataset.state = state;
    if (state === "going on") row.item.setAttribute("aria-current", "step");
    else row.item.removeAttribute("aria-current");
    row.bar.hidden = state === "waiting";
    if (total) row.bar.value = state === "done" ? 1 : done / total;
    else if (state === "going on") row.bar.removeAttribute("value");
    const counts = total && state !== "done" ? `${done.toLocaleString("en")} of ${counted(total, unit.replace(/s$/, ""))}` : "";
    set(row.text, {
      done: seconds === null ? `done${total ? `, ${counted(total, unit.replace(/s$/, ""))}` : ""}` : `done in ${about(seconds).replace("about ", "")}`,
      waiting: left === null ? "" : about(left),
      begun: counts,
      "going on": [counts, left === null ? "" : about(left)].filter(Boolean).join(" · "),
    }[state]);
  }

  reject({ count, reasons }) {
    this.rejected.hidden = !count;
    if (!count) return;
    this.rejected.replaceChildren(
      element("h2", { class: "number" }, counted(count, "photograph"), " left out"),
      element("ul", { class: "reasons counts" }, reasons.map(({ why, count: of }) =>
        element("li", {}, element("b", { class: "number" }, of.toLocaleString("en")), element("span", {}, bdi(why))))));
  }

  async pictures(seen) {
    const now = JSON.stringify(seen.stages.map(({ done, state }) => [done, state]));
    const soon = Date.now() - this.drawn < 6000 && !["finished", "stopped", "failed"].includes(seen.state);
    if (now === this.known || (soon && this.known)) return;
    this.known = now;
    this.drawn = Date.now();
    const [{ layers }, { charts }] = await Promise.all([get(`${apiOf(this.run)}/newest`), get(`${apiOf(this.run)}/losses`)]);
    this.first(seen, layers);
    this.show(layers);
    this.losses.hidden = !charts.length;
    this.losses.replaceChildren(element("h2", {}, "Losses"), element("div", { class: "charts" }, charts.map(chart)));
  }

  /** Before anything is found: what the run tried itself on. */
  first(seen, layers) {
    this.look.hidden = !seen.firstLook || layers.length > 0;
    if (this.look.hidden || this.look.childElementCount) return;
    this.look.append(element("h2", {}, "A first look"),
      element("img", { class: "look", src: `${apiOf(this.run)}/first-look`, alt: "A few photographs, each with the object that was found and, beside it, its segments" }));
  }

  show(layers) {
    const kept = new Map([...this.layers.querySelectorAll("button[data-address]")].map((tile) => [tile.dataset.address, tile]));
    this.layers.replaceChildren(...layers.map(({ layer, label, pictures }, place) =>
      element("section", { class: "stack tight", "aria-labelledby": `layer-${layer}` },
        element("h2", { id: `layer-${layer}` }, label, " ", element("span", { class: "soft" }, place ? "" : "the newest")),
        element("div", { class: place ? "newest small" : "newest" }, pictures.map((picture) => kept.get(picture.address) ?? this.tile(picture, label))))));
  }

  tile({ address, file }, label) {
    const image = element("img", { src: apiOf(this.run) + address, alt: "", loading: "lazy" });
    const tile = element("button", { class: "tile", "data-address": address, "aria-label": `${label} of ${file}, larger`, title: file }, image);
    tile.addEventListener("click", () => {
      const dialog = element("dialog", { class: "larger", "aria-label": file },
        element("img", { src: image.src, alt: `${label} of ${file}` }),
        element("form", { method: "dialog", class: "row" }, element("span", { class: "soft" }, bdi(file)), element("button", { autofocus: true }, "Close")));
      dialog.addEventListener("click", (event) => { if (event.target === dialog) dialog.close(); });
      dialog.addEventListener("close", () => dialog.remove());
      document.body.append(dialog);
      dialog.showModal();
    });
    return tile;
  }
}

const capital = (text) => text[0].toUpperCase() + text.slice(1);

/** Change a text only where it is another: what is read aloud isn’t read again. */
function set(element_, text) {
  if (element_.textContent !== text) element_.textContent = text;
  element_.hidden = !text;
}

/** A drawing of `pictures/curves.py`: 640 x 300 units, curves in the colours of parts 0, 1, 2. */
function chart({ title, x_ticks: across, y_ticks: up, lines }) {
  const drawing = element("svg", { viewBox: "0 0 640 300", role: "img", "aria-label": `${title}: ${lines.map(([label, , , last]) => `${label} ${last}`).join(", ")}` });
  for (const [at, text] of up) drawing.append(element("line", { class: "grid", x1: 48, x2: 628, y1: at, y2: at }), words({ x: 40, y: at + 4, "text-anchor": "end" }, text));
  for (const [at, text] of across) drawing.append(words({ x: at, y: 282, "text-anchor": "middle" }, text));
  lines.forEach(([, path, raw], place) => {
    if (raw) drawing.append(element("path", { class: `curve raw part-${place}`, d: raw }));
    drawing.append(element("path", { class: `curve part-${place}`, d: path }));
  });
  return element("figure", { class: "card stack tight" }, element("figcaption", {}, element("b", {}, title), " ", element("span", { class: "soft" }, "by step")), drawing,
    element("ul", { class: "row legend" }, lines.map(([label, , , last], place) =>
      element("li", { class: "row" }, element("span", { class: `swatch part-${place}` }), label, element("span", { class: "soft number" }, last)))));
}

function words(attributes, text) {
  const made = document.createElementNS("http://www.w3.org/2000/svg", "text");
  for (const [name, value] of Object.entries(attributes)) made.setAttribute(name, value);
  made.textContent = text;
  return made;
}
