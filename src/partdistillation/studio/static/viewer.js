// A part on its whole photograph, as large as the window: next and previous, enlarged by a press, in a dialog.

import { attempt, bdi, colorOf, element } from "./dom.js";
import { nameOf, pictureOf, place } from "./gallery.js";

/** Open a part of a list of examples; when the viewer is closed, `focus(index)` has the tile that it showed last. */
export function openViewer(run, examples, start, { label, update, focus }) {
  let at = start;
  const opener = document.activeElement;
  const name = element("h2", { id: "viewer-name" });
  const where = element("p", { class: "soft number", role: "status" });
  const picture = element("img", { alt: "", draggable: "false", fetchpriority: "high" });
  const zoom = element("button", { class: "zoom", type: "button", "aria-label": "Enlarge", "aria-pressed": "false" }, picture);
  const stage = element("div", { class: "view" }, zoom);
  const like = element("a", { class: "button" }, "More like this");
  const photograph = element("a", { class: "button" }, "Segments, proposals, parts");
  const previous = element("button", { type: "button", onclick: () => go(-1) }, "← Previous");
  const next = element("button", { type: "button", onclick: () => go(1) }, "Next →");
  const close = element("button", { class: "quiet", type: "button", onclick: () => dialog.close() }, "Close");
  const dialog = element("dialog", { class: "viewer", "aria-labelledby": "viewer-name" },
    element("div", { class: "row spread" }, element("div", { class: "viewer-title" }, name, where), close),
    stage,
    element("div", { class: "row viewer-buttons" }, previous, next, like, photograph));

  const show = () => {
    const tile = examples.tiles[at];
    name.replaceChildren(element("span", { class: `swatch ${colorOf(tile.color)}` }), " ", bdi(nameOf(tile)), element("span", { class: "soft" }, " · ", bdi(tile.category)));
    where.textContent = `${(at + 1).toLocaleString("en")} of ${Math.max(examples.total, examples.tiles.length).toLocaleString("en")}`;
    picture.src = pictureOf(run, examples.of, "whole", tile);
    picture.alt = label(tile, at);
    like.href = `#like=${tile.number}`;
    photograph.href = `#photograph=${tile.image}`;
    previous.disabled = at === 0;
    next.disabled = at + 1 >= examples.total;
    enlarge(false);
    place({ open: tile.number }, { replace: true });
    if (examples.tiles[at + 1]) new Image().src = pictureOf(run, examples.of, "whole", examples.tiles[at + 1]);
  };
  const go = async (step) => {
    if (at + step >= examples.tiles.length) {
      await attempt(() => examples.more(60));
      update();
    }
    if (!examples.tiles[at + step]) return;
    at += step;
    show();
  };
  const enlarge = (on, event) => {
    const box = picture.getBoundingClientRect();
    const x = event?.clientX ? (event.clientX - box.left) / box.width : 0.5;
    const y = event?.clientY ? (event.clientY - box.top) / box.height : 0.5;
    zoom.setAttribute("aria-pressed", String(on));
    if (on) stage.scrollTo(x * stage.scrollWidth - stage.clientWidth / 2, y * stage.scrollHeight - stage.clientHeight / 2);
  };
  const isEnlarged = () => zoom.getAttribute("aria-pressed") === "true";
  zoom.addEventListener("click", (event) => enlarge(!isEnlarged(), event));
  dialog.addEventListener("keydown", (event) => {
    if (event.ctrlKey || event.metaKey || event.altKey) return;
    if (isEnlarged() && event.target === zoom && event.key.startsWith("Arrow")) return; // it scrolls
    if (event.key === "ArrowRight") go(1);
    else if (event.key === "ArrowLeft") go(-1);
    else if (event.key === "+" || event.key === "=") enlarge(true);
    else if (event.key === "-") enlarge(false);
    else return;
    event.preventDefault();
  });
  dialog.addEventListener("click", (event) => { if (event.target === dialog) dialog.close(); });
  dialog.addEventListener("close", () => {
    dialog.remove();
    if (place().has("open")) place({ open: null }, { replace: true });
    if (opener?.isConnected) opener.focus();
    focus?.(at);
  });
  document.body.append(dialog);
  dialog.showModal();
  show();
  next.focus();
}
