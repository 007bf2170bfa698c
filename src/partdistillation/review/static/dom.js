// The document. What comes from outside (names of classes, parts, reviewers) is only ever set as text.

import { state } from "./memory.js";

export const byId = (id) => document.getElementById(id);
export const plural = (count, noun) => `${count} ${noun}${count === 1 ? "" : "s"}`;

export function make(tag, properties = {}, ...children) {
  const { dataset, aria, ...plain } = properties;
  const element = Object.assign(document.createElement(tag), plain);
  Object.assign(element.dataset, dataset);
  for (const [name, value] of Object.entries(aria ?? {})) element.setAttribute(`aria-${name}`, value);
  element.append(...children);
  return element;
}

export function show(view) {
  document.body.dataset.view = view;
  for (const main of document.querySelectorAll("main")) main.hidden = main.id !== view;
  byId("who").textContent = state.reviewer;
  byId("who").setAttribute("aria-label", `Reviewer: ${state.reviewer}`);
}

export const focusPart = () => byId("part-title").focus({ preventScroll: true });

// Whether answers are saved.
export function say(text, kind = "") {
  const saved = byId("saved");
  if (saved.textContent !== text) saved.textContent = text;
  saved.dataset.state = kind;
}

// A hint about what was done last.
export function tell(text) {
  byId("hint").textContent = text;
}

// A picture that didn't come is asked for again, as long as it is on the page.
export function tile(key, fetchPriority) {
  const src = `tiles/${key}`;
  const picture = make("img", { fetchPriority, alt: "", draggable: false, src });
  let pause = 1000;
  picture.addEventListener("load", () => delete picture.dataset.state);
  picture.addEventListener("error", () => {
    picture.dataset.state = "broken";
    setTimeout(() => picture.isConnected && (picture.src = src), (pause *= 2));
  });
  return picture;
}
