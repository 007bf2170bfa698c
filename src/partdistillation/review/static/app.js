// The page of a review: its keys and buttons.

import { answer, askUnmarked, change, goTo, load, markAll, open, openNext, setSame, toggle, undo } from "./answers.js";
import { byId, focusPart, tell } from "./dom.js";
import { drawList, drawPart } from "./drawing.js";
import { enlarge, isLarge, keyInLarge } from "./large.js";
import { outbox, state } from "./memory.js";
import { showStanding } from "./standing.js";
import { changeReviewer, start } from "./welcome.js";

const nameField = byId("name");

// ---------------------------------------------------------------------- keys

function pick(kind) {
  const { at } = state;
  if (at === 0) return tell("This is the first part of the class: there is none before it.");
  state.picking = kind;
  const which = at === 1 ? "1" : `1 to ${at}`;
  tell(`Same as which part? Press ${which}, 0 for a new part, or Esc.`);
}

function picked(digit) {
  const kind = state.picking;
  state.picking = null;
  if (digit > state.at) return tell(`Part ${digit} doesn’t come before this one.`);
  setSame(digit ? state.page.items[digit - 1].id : null, kind === "merge");
}

const KEYS = {
  a: () => markAll(true),
  n: () => markAll(false),
  d: () => pick("same"),
  m: () => pick("merge"),
  e: () => nameField.focus(),
  z: () => enlarge(placeOf(document.activeElement) ?? 0),
  ArrowLeft: () => goTo(state.at - 1),
  ArrowRight: () => goTo(state.at + 1),
  Escape: () => {
    state.picking = null;
    askUnmarked(false);
    tell("");
  },
  "?": () => byId("keys").showModal(),
};
// What isn't to happen again while a key is held down.
const ONCE = {
  Enter: () => answer("judged"),
  r: () => answer("rejected"),
  s: () => answer("skipped"),
  u: undo,
  PageUp: () => state.page.position > 1 && open({ go: "previous" }),
  PageDown: openNext,
};

document.addEventListener("keydown", (event) => {
  const { key, target } = event;
  if (event.ctrlKey || event.metaKey || event.altKey || event.isComposing) return;
  if (key === "Enter" && event.repeat) return event.preventDefault(); // nor press a button that has come meanwhile
  if (isLarge()) return keyInLarge(event);
  if (state.opening || document.body.dataset.view !== "review" || document.querySelector("dialog[open]")) return;
  if (target === nameField) {
    if (key === "Escape") focusPart();
    if (key !== "Enter") return;
  }
  if (key === "Enter" && target.closest?.("button")) return; // the button's own
  if (key.startsWith("Arrow") && target.type === "radio") return;
  const digit = /^[0-9]$/.test(key) ? Number(key) : null;
  const action = digit !== null ? () => digitPressed(digit) : (KEYS[key] ?? (event.repeat ? undefined : ONCE[key]));
  if (!action) return;
  event.preventDefault();
  action();
});

function digitPressed(digit) {
  if (state.picking) picked(digit);
  else if (digit) toggle(digit - 1);
}

// ---------------------------------------------------------------------- mouse and fingers

// After a click the focus goes back to the part, so that Enter saves; whoever moves by Tab keeps it.
function settle(event) {
  if (event.detail > 0) setTimeout(focusPart);
}

// The second click of a double click would answer for the next part.
function onClick(id, action) {
  byId(id).addEventListener("click", (event) => {
    if (event.detail < 2 && !state.opening) action();
    if (byId("unmarked").hidden) settle(event);
  });
}

onClick("mark-all", KEYS.a);
onClick("mark-none", KEYS.n);
onClick("save", ONCE.Enter);
onClick("save-unmarked", ONCE.Enter);
onClick("back", KEYS.Escape);
onClick("reject", ONCE.r);
onClick("skip", ONCE.s);
onClick("undo", undo);
onClick("previous-class", ONCE.PageUp);
onClick("next-class", openNext);
byId("show-keys").addEventListener("click", KEYS["?"]);
byId("progress-text").addEventListener("click", showStanding);
byId("look-again").addEventListener("click", () => open({ go: "previous" }));
byId("ask-again").addEventListener("click", () => open({}));
byId("who").addEventListener("click", changeReviewer);

// Which image an element belongs to, from 0.
function placeOf(element) {
  const cell = element?.closest("#tiles .cell");
  return cell ? [...byId("tiles").children].indexOf(cell) : null;
}

byId("tiles").addEventListener("click", (event) => {
  const place = placeOf(event.target);
  if (place === null) return;
  if (event.target.closest(".enlarge")) return enlarge(place);
  toggle(place);
  settle(event);
});

byId("part-list").addEventListener("click", (event) => {
  const entry = event.target.closest("li");
  if (entry) goTo([...byId("part-list").children].indexOf(entry));
});

byId("same-choices").addEventListener("change", (event) => setSame(event.target.value || null));
byId("same-choices").addEventListener("click", (event) => event.target.matches("input") && settle(event));
nameField.addEventListener("input", () => change({ name: nameField.value }));
byId("merge").addEventListener("change", () => change({ merge: byId("merge").checked }));

// ---------------------------------------------------------------------- coming and going

// Another window may have answered meanwhile.
document.addEventListener("visibilitychange", async () => {
  const before = state.page;
  if (document.hidden || !before || document.body.dataset.view !== "review" || outbox.length) return;
  await load({ page: before.id, go: "here" });
  if (state.page?.id !== before.id) return;
  if (state.page.items.some((item, index) => item.state.version !== before.items[index].state.version)) {
    drawPart();
    tell("This class was changed in another window; here is what is saved now.");
  }
  drawList();
});

addEventListener("beforeunload", (event) => {
  if (outbox.length) event.preventDefault();
});

start();
