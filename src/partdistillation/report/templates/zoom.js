"use strict";
// Pictures in a dialog, with arrow keys. Without this script each is a link to itself.
const dialog = document.body.appendChild(document.createElement("dialog"));
dialog.className = "large";
const picture = dialog.appendChild(new Image());
const bar = dialog.appendChild(document.createElement("div"));
const button = (text, name, action) => {
  const made = bar.appendChild(document.createElement("button"));
  made.type = "button";
  made.textContent = text;
  made.setAttribute("aria-label", name);
  made.addEventListener("click", action);
};
let links = [];
let place = 0;

function show(wanted) {
  place = (wanted + links.length) % links.length;
  const small = links[place].querySelector("img");
  picture.src = links[place].href;
  picture.alt = small.alt;
  picture.width = small.getAttribute("width");
  picture.height = small.getAttribute("height");
  caption.textContent = `${small.alt} (${place + 1} of ${links.length})`;
}

button("\u2190", "Previous picture", () => show(place - 1));
const caption = bar.appendChild(document.createElement("p"));
caption.dir = "auto";
caption.id = "large-caption";
caption.setAttribute("aria-live", "polite");
dialog.setAttribute("aria-labelledby", caption.id);
button("\u2192", "Next picture", () => show(place + 1));
button("\u00d7", "Close", () => dialog.close());

document.addEventListener("click", (event) => {
  const link = event.target.closest("a.zoom");
  if (!link || event.ctrlKey || event.metaKey || event.shiftKey) return;
  event.preventDefault();
  links = [...link.closest(".zooms").querySelectorAll("a.zoom")];
  show(links.indexOf(link));
  dialog.showModal();
});
dialog.addEventListener("click", (event) => {
  if (event.target === dialog) dialog.close();
});
dialog.addEventListener("keydown", (event) => {
  const step = { ArrowLeft: -1, ArrowRight: 1 }[event.key];
  if (step && !event.altKey && !event.ctrlKey && !event.metaKey) show(place + step);
});
dialog.addEventListener("close", () => links[place].focus());
