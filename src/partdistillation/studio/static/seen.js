// What the model sees on a photograph, as a list that lights up with the picture: objects, each with its parts.

import { bdi, colorOf, counted, element, percent } from "./dom.js";

export class Seen {
  /**
   * `onactive(key)`: a line is pointed at, or left (null); `onpin(key)`: it is chosen. `onclass(object, name)`, `oncorrect(object)`
   * (null: a new one) and `onremove(object)`: what is to be done.
   */
  constructor({ onactive, onpin, onclass, oncorrect, onremove }) {
    Object.assign(this, { onactive, onpin, onclass, oncorrect, onremove, lines: new Map() });
    this.root = element("div", { class: "stack seen" });
    this.hidden = element("p", { class: "soft" });
  }

  draw(photograph, classes) {
    this.lines.clear();
    this.root.replaceChildren(
      ...photograph.objects.map((object) => this.#card(object, classes)),
      this.hidden,
      element("button", { onclick: () => this.oncorrect(null) }, "Mark another object"));
  }

  #card(object, classes) {
    return element("section", { class: "card object", "data-object": String(object.object) },
      this.#line(`${object.object}`, object, null),
      element("ul", {}, object.parts.map((part, place) => element("li", {}, this.#line(`${object.object}/${place}`, object, part)))),
      element("div", { class: "row acts" },
        this.#classes(object, classes),
        element("button", { onclick: () => this.oncorrect(object) }, "Correct"),
        element("button", { class: "quiet", onclick: () => this.onremove(object) }, "Remove")));
  }

  #line(key, object, part) {
    const { score, share } = part ?? object;
    const line = element("button", {
      class: `line ${part ? "" : "whole"}`,
      onpointerenter: () => this.onactive(key), onpointerleave: () => this.onactive(null),
      onfocus: () => this.onactive(key), onblur: () => this.onactive(null),
      onclick: () => this.onpin(key),
    }, part ? element("span", { class: `swatch ${colorOf(part.part)}` }) : null, bdi(part?.name ?? object.category),
    element("span", { class: "soft number" }, `${score.toFixed(2)} · ${percent(share)}`));
    this.lines.set(key, line);
    return line;
  }

  #classes(object, classes) {
    const choice = element("select", { "aria-label": "Object class", onchange: () => this.onclass(object, choice.value) },
      (classes.length ? classes : [object.category]).map((name) =>
        element("option", { value: name, selected: name === object.category }, name)));
    return choice;
  }

  /** Hide what the sliders leave out. */
  filter(keys) {
    for (const [key, line] of this.lines) (line.closest("li") ?? line.closest("section")).hidden = !keys.has(key);
    const hidden = this.lines.size - [...this.lines.keys()].filter((key) => keys.has(key)).length;
    this.hidden.textContent = !this.lines.size ? "The model sees no object here."
      : hidden ? `${counted(hidden, "outline")} below the sliders.` : "";
  }

  activate(key, pinned) {
    for (const [other, line] of this.lines) {
      line.classList.toggle("active", other === key);
      line.setAttribute("aria-pressed", String(other === pinned));
    }
  }

  /** Put the focus where an object is corrected. */
  focus(number) {
    this.root.querySelector(`[data-object="${number}"] .acts button`)?.focus();
  }
}
