// Tiles: a grid or a strip of examples, by arrow keys too; more of them come as they are scrolled to.

import { apiOf, attempt, colorOf, element } from "./dom.js";
import { openViewer } from "./viewer.js";

/** What the address says is looked at; with `changes`, say so there (null takes a word away). */
export function place(changes, { replace = false } = {}) {
  const at = new URLSearchParams(location.hash.slice(1));
  if (!changes) return at;
  for (const [name, value] of Object.entries(changes)) {
    if (value === null || value === false) at.delete(name);
    else at.set(name, value);
  }
  if (replace) history.replaceState(null, "", `#${at}`);
  else location.hash = at;
  return at;
}

/** The address of a part's picture: a "tile", or the "whole" photograph; `part` has its `number` and its `color`. */
export const pictureOf = (run, of, kind, part) => `${apiOf(run)}/look/pictures/${of}/${kind}/${part.number}?color=${part.color}`;

/** What a part class is called. */
export const nameOf = (part) => part.name ?? (part.part === null ? "rejected" : `part ${part.part}`);

/**
 * Examples that are fetched a page at a time.
 *
 * `ask(offset, count, before)` answers with `{ of, total, tiles }`; `before` is the answer that came first.
 */
export class Examples {
  constructor(ask) {
    this.ask = ask;
    this.tiles = [];
    this.total = Infinity;
  }

  /** Fetch as many, if there are, from where it was left off. */
  more(count) {
    this.coming ??= this.fetch(count).finally(() => { this.coming = undefined; });
    return this.coming;
  }

  async fetch(count) {
    if (this.tiles.length >= this.total) return;
    const answer = await this.ask(this.tiles.length, count, this.first);
    this.first ??= answer;
    this.of = answer.of;
    this.total = answer.tiles.length ? answer.total : this.tiles.length;
    this.tiles.push(...answer.tiles);
    if (this.name !== undefined) this.rename(this.name); // the answer may be older than the name
  }

  /** Call all of them so, those yet to be fetched too. */
  rename(name) {
    this.name = name;
    for (const tile of this.tiles) tile.name = name;
  }
}

/**
 * A list of tiles; a press opens the viewer.
 *
 * `label(tile, index)` names a tile; `caption(tile)` may be shown below it; `strip` is a row that is scrolled sideways,
 * followed by `last`.
 */
export function gallery(run, examples, { label, caption, strip = false, last, page = 60 }) {
  const list = element("ul", { class: strip ? "reel" : "tiles" });
  const end = element("li", { class: "rest", "aria-hidden": "true" });
  const behind = element("li", { class: "last" }, last ?? "");
  const open = (index) => openViewer(run, examples, index, {
    label, update,
    focus: (at) => list.querySelectorAll("button.tile")[at]?.focus(),
  });
  const update = () => {
    const from = list.querySelectorAll("button.tile").length;
    const added = examples.tiles.slice(from).map((tile, i) => item(run, examples, tile, from + i, { label, caption, open }));
    list.append(...added);
    if (last) list.append(behind); // it moves behind the new ones
    if (!from) list.querySelector("button.tile")?.setAttribute("tabindex", "0");
    if (!strip && examples.tiles.length < examples.total) list.append(end);
    else end.remove();
  };
  if (!strip) {
    const observer = new IntersectionObserver(async ([entry]) => {
      if (!entry.isIntersecting) return;
      await attempt(() => examples.more(page));
      if (!list.isConnected) return observer.disconnect();
      update();
      place({ shown: examples.tiles.length }, { replace: true });
      observer.unobserve(end);
      if (end.isConnected) observer.observe(end);
    }, { rootMargin: "800px" });
    observer.observe(end);
  }
  list.addEventListener("keydown", (event) => move(event, list));
  list.addEventListener("focusin", (event) => {
    if (!event.target.matches("button.tile")) return;
    list.querySelector('button.tile[tabindex="0"]')?.setAttribute("tabindex", "-1");
    event.target.setAttribute("tabindex", "0");
  });
  update();
  const opened = examples.tiles.findIndex((tile) => String(tile.number) === place().get("open"));
  if (opened >= 0) setTimeout(() => { if (list.isConnected && !document.querySelector("dialog[open]")) open(opened); });
  return list;
}

function item(run, examples, tile, index, { label, caption, open }) {
  const button = element("button", {
    class: `tile ${colorOf(tile.color)}`, type: "button", tabindex: "-1", "aria-label": label(tile, index), "data-number": tile.number,
    onclick: () => open(index),
  }, element("img", { src: pictureOf(run, examples.of, "tile", tile), alt: "", loading: "lazy", decoding: "async" }));
  return element("li", {}, button,
    element("a", { class: "like", href: `#like=${tile.number}`, tabindex: "-1", title: "More like this", "aria-label": "More like this" }, "≈"),
    caption?.(tile));
}

const KEYS = ["ArrowLeft", "ArrowRight", "ArrowUp", "ArrowDown", "Home", "End"];

/** From tile to tile by arrow keys; up and down go to the tile nearest there, of whichever list. */
function move(event, list) {
  if (!KEYS.includes(event.key) || event.ctrlKey || event.metaKey || event.altKey) return;
  if (!event.target.matches("button.tile")) return;
  const own = [...list.querySelectorAll("button.tile")];
  const at = own.indexOf(event.target);
  let to;
  if (event.key === "ArrowLeft") to = own[at - 1];
  if (event.key === "ArrowRight") to = own[at + 1];
  if (event.key === "Home") to = own[0];
  if (event.key === "End") to = own.at(-1);
  if (event.key === "ArrowUp" || event.key === "ArrowDown") to = nearest(event.target, event.key === "ArrowUp" ? -1 : 1);
  event.preventDefault();
  to?.focus();
}

function nearest(tile, direction) {
  const here = tile.getBoundingClientRect();
  const distance = (other) => {
    const there = other.getBoundingClientRect();
    const down = direction * (there.top - here.top);
    return down > here.height / 2 ? down * 10 + Math.abs(there.left - here.left) : Infinity;
  };
  const others = [...document.querySelectorAll("main button.tile")].filter((other) => other.checkVisibility());
  const best = others.reduce((nearer, other) => (distance(other) < distance(nearer) ? other : nearer), tile);
  return best === tile ? undefined : best;
}
