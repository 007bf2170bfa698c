// What the photographs of a new run are: their classes, and which can’t be used.

import { bdi, counted, element, fill, get } from "./dom.js";

const LISTED = 200;

export class Preview {
  constructor(page) {
    Object.assign(this, { page, asked: 0 });
    this.root = element("section", { class: "stack", "aria-live": "polite" });
  }

  forget() {
    this.asked += 1;
    this.root.replaceChildren();
  }

  /** What was chosen; null where it can’t be used, undefined where something else has been chosen meanwhile. */
  async look() {
    const asked = ++this.asked;
    this.root.replaceChildren(element("p", { class: "soft" }, "Looking …"));
    let seen;
    try {
      seen = await get(`/api/new/preview?${this.page.query()}`);
    } catch (error) {
      this.root.replaceChildren(element("p", { class: "bad", role: "alert" }, error.message));
      return null;
    }
    if (asked !== this.asked) return undefined;
    const classes = [...seen.classes];
    const { count, examples, all } = seen.withoutClass;
    if (count) classes.push({ name: all ? null : "(in no folder)", count, examples });
    this.checks = element("div", { class: "stack" });
    fill(this.root,
      element("h2", { class: "number" }, counted(seen.count, "photograph"), seen.classes.length ? `, ${counted(seen.classes.length + seen.moreClasses, "class", "classes")}` : ", all of one class"),
      element("ul", { class: "classes" }, classes.map((entry) => this.category(entry))),
      seen.moreClasses ? element("p", { class: "soft" }, `and ${counted(seen.moreClasses, "more class", "more classes")}`) : null,
      seen.notes.length ? element("ul", { class: "soft" }, seen.notes.map((note) => element("li", {}, bdi(note)))) : null,
      this.checks);
    return seen;
  }

  category({ name, count, examples }) {
    return element("li", { class: "category" },
      element("p", {}, name === null ? element("b", {}, "all") : element("b", {}, bdi(name)), " ", element("span", { class: "soft number" }, counted(count, "photograph"))),
      element("div", { class: "strip", role: "group", tabIndex: 0, "aria-label": `Some photographs of ${name ?? "all"}` }, examples.map((file) =>
        element("img", { src: `/api/new/thumbnail?${this.page.query({ file })}`, alt: file, loading: "lazy" }))));
  }

  /** Look for files that can’t be used, until something else is chosen. */
  async check() {
    const { asked, checks } = this;
    const turn = (this.turn = {});
    const listed = element("ul", { class: "reasons" });
    const text = element("p", { class: "soft number" });
    const more = element("details", { hidden: true }, element("summary", {}, "Which, and why"), listed);
    checks.replaceChildren(text, more);
    let count = 0;
    for (let start = 0; start !== null;) {
      const part = await get(`/api/new/checks?${this.page.query({ start, source: this.page.plan.source })}`);
      if (asked !== this.asked || turn !== this.turn) return;
      count += part.problems.length;
      for (const { file, why } of part.problems) if (listed.children.length < LISTED) listed.append(element("li", {}, bdi(file), element("span", { class: "soft" }, why)));
      const seen = part.next ?? part.of;
      text.textContent = part.next === null
        ? count ? `${counted(count, "photograph")} can’t be used and will be left out.` : "All of them can be read."
        : `Looking for damaged files: ${seen.toLocaleString("en")} of ${part.of.toLocaleString("en")} …`;
      text.className = count ? "bad number" : "soft number";
      more.hidden = !count;
      start = part.next;
    }
  }
}
