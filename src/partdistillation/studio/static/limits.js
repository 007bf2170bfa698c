// What the page of new photographs shows and takes away: sliders, and files to download.

import { attempt, element } from "./dom.js";

const FORMATS = { coco: "COCO", yolo: "YOLO", masks: "Label map", picture: "Picture", json: "JSON" };

/** A slider over `limits[name]`; `told(value)` is shown beside it. */
export function slider(limits, name, label, [min, max, step], told, onchange) {
  const output = element("output", { class: "soft number" }, told(limits[name]));
  const input = element("input", {
    type: "range", id: `least-${name}`, min: `${min}`, max: `${max}`, step: `${step}`,
    oninput: () => {
      limits[name] = Number(input.value);
      output.textContent = told(limits[name]);
      onchange();
    },
  });
  input.value = `${limits[name]}`;
  return element("div", {},
    element("div", { class: "row between" }, element("label", { for: input.id }, label), output), input);
}

/** Buttons of all formats, for the photograph or for all `count` of them; `addressOf(kind, all)` is asked. */
export class Downloads {
  constructor(addressOf) {
    this.addressOf = addressOf;
    this.all = false;
    this.scope = element("div", { class: "row", role: "radiogroup", "aria-label": "What to download" });
    this.root = element("div", { class: "stack" }, element("h2", {}, "Download"), this.scope,
      element("div", { class: "row" }, Object.entries(FORMATS).map(([kind, label]) =>
        element("button", { onclick: () => this.#download(kind) }, label))));
  }

  draw(count) {
    this.scope.hidden = count < 2;
    if (count < 2) this.all = false;
    this.scope.replaceChildren(...[false, true].map((all) => element("label", { class: "row" },
      element("input", { type: "radio", name: "scope", checked: this.all === all, onchange: () => { this.all = all; } }),
      all ? `all ${count}` : "this photograph")));
  }

  async #download(kind) {
    await attempt(async () => {
      const response = await fetch(this.addressOf(kind, this.all));
      if (!response.ok) throw new Error((await response.json()).detail);
      const name = decodeURIComponent(response.headers.get("content-disposition").split("utf-8''")[1]);
      const link = element("a", { href: URL.createObjectURL(await response.blob()), download: name });
      link.click();
      URL.revokeObjectURL(link.href);
    });
  }
}
