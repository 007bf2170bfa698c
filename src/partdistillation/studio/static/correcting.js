// An object corrected by clicks, or made by them: they are asked one question at a time, and taken back one by one.

import { bdi, element, say } from "./dom.js";

export class Correcting {
  /**
   * `page` has the `photograph` that is seen and all `photographs`, the model's `classes`, and `ask(id, number, clicks,
   * category)` and `remove(id, object)`, which change one; `page.corrected()` is called where another object is corrected, or none.
   */
  constructor(page, stage) {
    Object.assign(this, { page, stage });
    this.now = null; // { number or null while it is new, clicks, inside, category, busy }
    this.bar = element("div", { class: "bar row", role: "group", "aria-label": "Correct the object", hidden: true });
  }

  /** Begin with an object, or a new one (null). */
  begin(object) {
    say("");
    this.now = { number: object?.object ?? null, clicks: object?.clicks ?? [], inside: true, category: null };
    this.page.corrected();
    this.stage.cross.focus({ preventScroll: false });
  }

  end() {
    say("");
    const { number } = this.now;
    this.now = null;
    this.page.corrected();
    this.page.seen.focus(number);
  }

  draw() {
    const { now } = this;
    this.bar.hidden = !now;
    this.stage.correct(now ? now.number ?? "new" : null, now?.clicks);
    if (!now) return;
    const object = this.page.photograph.objects.find(({ object: number }) => number === now.number);
    const kinds = [[true, "+ belongs to it"], [false, "− doesn’t"]].map(([inside, label]) =>
      element("label", { class: "kind" }, element("input", { type: "radio", name: "kind", checked: now.inside === inside,
        onchange: () => { now.inside = inside; } }), label));
    const wanted = element("select", { "aria-label": "Class of the new object", onchange: () => { now.category = wanted.value || null; } },
      element("option", { value: "" }, "Class that fits best"),
      this.page.classes.map((name) => element("option", { value: name, selected: name === now.category }, name)));
    this.bar.replaceChildren(
      element("span", {}, object ? ["Correcting ", bdi(object.category), ": click on the photograph"] : "Click on an object"),
      ...(object ? [] : [wanted]),
      ...kinds,
      element("button", { disabled: !now.clicks.length, onclick: () => this.undo() }, "Undo"),
      element("button", { class: "main", onclick: () => this.end() }, "Done"));
  }

  /** Whether a key is one of a correction's. */
  key(event) {
    const radio = { "+": 0, "=": 0, "-": 1 }[event.key];
    if (radio !== undefined) this.bar.querySelectorAll("input")[radio].click();
    else if (event.key === "Escape") this.end();
    else if (event.key === "z" && (event.ctrlKey || event.metaKey)) this.undo();
    else return false;
    return true;
  }

  point(x, y, kind) {
    const inside = kind === "chosen" ? this.now.inside : !this.now.inside;
    this.#send([...this.now.clicks, [x, y, inside]]);
  }

  undo() {
    if (this.now.clicks.length) this.#send(this.now.clicks.slice(0, -1));
  }

  /** Show the points at once; ask one question at a time, the last points last. */
  async #send(clicks) {
    const { now, page } = this;
    const { id } = page.photograph;
    now.clicks = clicks;
    this.draw();
    if (now.busy) return;
    now.busy = true;
    let asked;
    while (asked !== now.clicks) {
      asked = now.clicks;
      const object = page.photographs.find((other) => other.id === id)?.objects.find((entry) => entry.object === now.number);
      if (!asked.length && (!object || object.made)) {
        if (object) await page.remove(id, object);
        now.number = null;
        this.draw();
        continue;
      }
      const answer = await page.ask(id, now.number, asked, object?.category ?? now.category);
      if (!answer) now.clicks = asked = asked.slice(0, -1);
      else if (now.number === null) now.number = Math.max(...answer.objects.map((entry) => entry.object));
      page.corrected();
    }
    now.busy = false;
  }
}
