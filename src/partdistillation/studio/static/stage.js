// The photograph with its objects and parts as outlines, and the clicks that correct an object.

import { bdi, colorOf, element } from "./dom.js";

export const percent = (share) => `${(100 * share).toFixed(share < 0.0995 ? 1 : 0)} %`;
const POINT_STEP = 0.02;

/** An outline's key: `3` is an object, `3/1` its second part. */
const keyOf = (object, place) => (place === undefined ? `${object.object}` : `${object.object}/${place}`);

/** What is shown of a photograph: `[key, object, part or null]`, after the sliders. */
export function shown(photograph, { score, share }) {
  return photograph.objects.filter((object) => object.score >= score).flatMap((object) => [
    [keyOf(object), object, null],
    ...object.parts.map((part, place) => [keyOf(object, place), object, part])
      .filter(([, , part]) => part.score >= score && part.share >= share),
  ]);
}

/** What a screen reader says of an outline, and the label beside it shows. */
export const spoken = (object, part) => part
  ? `${part.name} of ${object.category}, score ${part.score.toFixed(2)}, ${percent(part.share)} of it`
  : `${object.category}, score ${object.score.toFixed(2)}, ${percent(object.share)} of the photograph`;

/**
 * The picture, its outlines and the cross that clicks without a pointer.
 * `onactive(key)` where an outline is pointed at, `onpin(key)` where it is chosen, `onclick(x, y)` for a point.
 */
export class Stage {
  constructor({ onactive, onpin, onpoint }) {
    Object.assign(this, { onactive, onpin, onpoint, pointing: false });
    this.image = element("img", { alt: "" });
    this.svg = element("svg", { preserveAspectRatio: "none", class: "outlines" });
    this.tip = element("p", { class: "tip", hidden: true });
    this.cross = element("div", {
      class: "cross", tabindex: "0", role: "application", hidden: true,
      "aria-label": "Cross over the photograph. Arrow keys move it, Enter sets a point, plus and minus say which kind.",
    });
    this.frame = element("div", { class: "frame" }, this.image, this.svg, this.tip, this.cross);
    this.root = element("figure", { class: "stage" }, this.frame);
    this.at = [0.5, 0.5];
    this.frame.addEventListener("click", (event) => this.#clicked(event));
    this.cross.addEventListener("keydown", (event) => this.#moved(event));
    this.svg.addEventListener("keydown", (event) => this.#walked(event));
    this.svg.addEventListener("pointerleave", () => this.onactive(null));
  }

  /** Another photograph, or the same as it is now. */
  draw(photograph, address) {
    this.photograph = photograph;
    if (this.image.getAttribute("src") !== address) this.image.src = address;
    this.image.alt = photograph.name;
    this.frame.style.setProperty("--width", photograph.width);
    this.frame.style.setProperty("--height", photograph.height);
    this.svg.setAttribute("viewBox", `0 0 ${photograph.width} ${photograph.height}`);
    this.paths = new Map();
    const outlines = photograph.objects.flatMap((object) => [
      this.#outline(keyOf(object), object, null),
      ...object.parts.map((part, place) => this.#outline(keyOf(object, place), object, part)),
    ]);
    this.svg.replaceChildren(...outlines);
  }

  #outline(key, object, part) {
    const path = element("path", {
      d: (part ?? object).path, class: part ? `part ${colorOf(part.part)}` : "object", "fill-rule": "evenodd",
      tabindex: "-1", role: "button", "aria-label": spoken(object, part),
      onpointerenter: () => { if (!this.pointing) this.onactive(key); },
      onfocus: () => this.onactive(key),
      onclick: () => { if (!this.pointing) this.onpin(key); },
    });
    this.paths.set(key, path);
    return element("g", { class: part ? "of-part" : "of-object" },
      element("path", { d: (part ?? object).path, class: "halo", "aria-hidden": "true" }), path);
  }

  /** Hide what the sliders leave out. */
  filter(keys) {
    for (const [key, path] of this.paths) path.parentNode.toggleAttribute("hidden", !keys.has(key));
    const first = [...this.paths].find(([key]) => keys.has(key));
    for (const [, path] of this.paths) path.setAttribute("tabindex", path === first?.[1] && !this.pointing ? "0" : "-1");
  }

  /** Light one outline, dim the others, and say what it is. */
  activate(key, object, part) {
    const path = key === null ? undefined : this.paths.get(key);
    this.svg.classList.toggle("lit", Boolean(path));
    for (const other of this.paths.values()) other.parentNode.classList.toggle("active", other === path);
    this.tip.hidden = !path || this.pointing;
    if (!path) return;
    this.tip.replaceChildren(bdi(part?.name ?? object.category), ` ${(part ?? object).score.toFixed(2)} · ${percent((part ?? object).share)}`);
    const { x, y, width } = path.getBBox();
    this.tip.style.setProperty("--x", Math.min(0.9, Math.max(0.1, (x + width / 2) / this.photograph.width)));
    this.tip.style.setProperty("--y", y / this.photograph.height);
    this.tip.classList.toggle("below", y / this.photograph.height < 0.12);
  }

  /** Correct an object (or make one): its outline and points alone; null ends it. */
  correct(number, clicks = []) {
    this.pointing = number !== null;
    this.frame.classList.toggle("pointing", this.pointing);
    this.cross.hidden = !this.pointing;
    for (const [key, path] of this.paths) {
      const own = this.pointing && key.split("/")[0] === `${number}`;
      path.parentNode.classList.toggle("away", this.pointing && !own);
    }
    this.#place();
    this.svg.querySelector(".points")?.remove();
    const radius = 0.011 * Math.max(this.photograph.width, this.photograph.height);
    this.svg.append(element("g", { class: "points", "aria-hidden": "true" }, clicks.map(([x, y, inside]) =>
      element("g", { class: inside ? "inside" : "outside", transform: `translate(${x + 0.5} ${y + 0.5}) scale(${radius})` },
        element("circle", { r: "1" }), element("path", { d: inside ? "M-.5,0h1M0-.5v1" : "M-.5,0h1" })))));
  }

  #clicked(event) {
    if (!this.pointing || event.target === this.cross) return;
    const { left, top, width, height } = this.svg.getBoundingClientRect();
    this.at = [(event.clientX - left) / width, (event.clientY - top) / height];
    this.#place();
    this.#point(event.shiftKey ? "other" : "chosen");
  }

  #moved(event) {
    const step = (event.shiftKey ? 5 : 1) * POINT_STEP;
    const moves = { ArrowLeft: [-step, 0], ArrowRight: [step, 0], ArrowUp: [0, -step], ArrowDown: [0, step] };
    if (moves[event.key]) {
      this.at = this.at.map((value, axis) => Math.min(1, Math.max(0, value + moves[event.key][axis])));
      this.#place();
    } else if (event.key === "Enter" || event.key === " ") this.#point("chosen");
    else return;
    event.preventDefault();
    event.stopPropagation();
  }

  #place() {
    this.cross.style.setProperty("--x", this.at[0]);
    this.cross.style.setProperty("--y", this.at[1]);
  }

  #point(kind) {
    const sides = [this.photograph.width, this.photograph.height];
    const [x, y] = this.at.map((value, axis) => Math.min(sides[axis] - 1, Math.floor(value * sides[axis])));
    this.onpoint(x, y, kind);
  }

  /** Left and right go from outline to outline. */
  #walked(event) {
    const step = { ArrowLeft: -1, ArrowRight: 1 }[event.key];
    const visible = [...this.paths.values()].filter((path) => !path.parentNode.hasAttribute("hidden"));
    const place = visible.indexOf(document.activeElement);
    if (place < 0) return;
    if (step) visible[(place + step + visible.length) % visible.length].focus();
    else if (event.key === "Enter" || event.key === " ") document.activeElement.dispatchEvent(new MouseEvent("click"));
    else return;
    event.preventDefault();
    event.stopPropagation();
  }
}
