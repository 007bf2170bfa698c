// An image enlarged, drawn from the photograph anew.

import { toggle } from "./answers.js";
import { byId } from "./dom.js";
import { answerOf, current } from "./memory.js";

const dialog = byId("large");
let at = 0;

export const isLarge = () => dialog.open;

export function enlarge(index = 0) {
  dialog.showModal();
  byId("large-mark").focus();
  look(index);
}

function look(index) {
  const { tiles } = current();
  at = Math.min(Math.max(0, index), tiles.length - 1);
  const picture = byId("large-picture");
  const src = `tiles/${tiles[at]}`;
  picture.src = src; // which is there already, until the large one is
  const large = new Image();
  large.addEventListener("load", () => picture.getAttribute("src") === src && (picture.src = large.src));
  large.src = `${src}/large`;
  byId("large-previous").disabled = at === 0;
  byId("large-next").disabled = at === tiles.length - 1;
  draw();
}

function draw() {
  const { marks } = answerOf(current());
  byId("large-title").textContent = `Image ${at + 1} of ${marks.length}`;
  byId("large-mark").setAttribute("aria-pressed", `${marks[at]}`);
  byId("large-word").textContent = marks[at] ? "Marked" : "Mark";
  byId("large-digit").textContent = `${at + 1}`;
}

function mark(index) {
  toggle(index);
  draw();
}

export function keyInLarge(event) {
  const { key } = event;
  const digit = /^[1-9]$/.test(key) ? Number(key) : null;
  if (key === "ArrowLeft") look(at - 1);
  else if (key === "ArrowRight") look(at + 1);
  else if (key === "z") dialog.close();
  else if (digit && digit <= current().tiles.length) {
    look(digit - 1);
    mark(digit - 1);
  } else return;
  event.preventDefault();
}

byId("large-previous").addEventListener("click", () => look(at - 1));
byId("large-next").addEventListener("click", () => look(at + 1));
byId("large-mark").addEventListener("click", () => mark(at));
byId("close-large").addEventListener("click", () => dialog.close());
dialog.addEventListener("click", (event) => event.target === dialog && dialog.close()); // beside it
