// A class and the part that is looked at, as elements.

import { byId, make, plural, tile } from "./dom.js";
import { answerOf, current, isChanged, state } from "./memory.js";

export function drawPage() {
  const { page } = state;
  byId("category").textContent = page.category;
  const set = page.sets > 1 ? `, set ${page.set} of ${page.sets}` : "";
  byId("place").textContent = `class ${page.position}${set}`;
  byId("previous-class").disabled = page.position === 1;
  document.title = `\u2068${page.category}\u2069 – Part review`;
  byId("part-list").replaceChildren(
    ...page.items.map((item, index) => {
      const number = make("span", { className: "number" }, `${index + 1}`);
      const badge = make("span", { className: "badge", aria: { hidden: "true" } });
      return make("li", {}, make("button", { type: "button", id: `part-${index + 1}` }, collage(item), number, badge));
    }),
  );
  drawList();
}

// Four images stand for a part, best those that were marked as the same.
function collage(item) {
  const { marks } = answerOf(item);
  const places = item.tiles.map((_, index) => index).sort((one, other) => marks[other] - marks[one]);
  const pictures = places.slice(0, 4).map((place) => tile(item.tiles[place], "low"));
  return make("span", { className: "mini" }, ...pictures);
}

export function drawList() {
  state.page.items.forEach((item, index) => {
    const button = byId(`part-${index + 1}`);
    const { vote } = item.state;
    const changed = isChanged(item);
    button.dataset.state = changed ? "changed" : (vote?.action ?? "open");
    button.setAttribute("aria-current", index === state.at ? "step" : "false");
    const name = vote?.name ? `, ${vote.name}` : "";
    button.setAttribute("aria-label", `Part ${index + 1}: ${changed ? "not saved yet" : words(vote)}${name}`);
    button.title = vote?.name ?? "";
  });
}

function words(vote) {
  if (!vote) return "no answer yet";
  if (vote.action === "rejected") return "rejected";
  if (vote.action === "skipped") return "skipped";
  return `saved, ${vote.marks.filter(Boolean).length} of ${vote.marks.length} marked`;
}

export function drawProgress() {
  const { parts, yours } = state.progress;
  byId("progress").max = Math.max(1, parts);
  byId("progress").value = yours;
  byId("progress-text").textContent = `${yours} of ${parts} done by you`;
}

export function drawPart() {
  const { page, at } = state;
  const item = current();
  const few = item.available < 9 ? ` · only ${plural(item.available, "image")}` : "";
  byId("part-title").textContent = `Part ${at + 1} of ${page.items.length}${few}`;
  byId("tiles").replaceChildren(...item.tiles.map(cell));
  byId("same").hidden = at === 0;
  byId("same-choices").replaceChildren(
    choice("new", "A new part", null),
    ...page.items.slice(0, at).map((one, index) => choice(`same-${index + 1}`, `Part ${index + 1}`, one)),
  );
  drawAnswer();
}

// An image to mark, and in its corner, for fingers and the mouse, what the key z does.
function cell(key, index) {
  const number = `${index + 1}`;
  const picture = tile(key, "high");
  const mark = make("button", { type: "button", id: `tile-${number}`, className: "tile", aria: { keyshortcuts: number } });
  mark.append(picture, make("kbd", {}, number));
  const label = `Enlarge image ${number}`;
  const enlarge = make("button", { type: "button", className: "enlarge", tabIndex: -1, title: label, aria: { label } });
  return make("div", { className: "cell" }, mark, enlarge);
}

function choice(id, text, item) {
  const radio = make("input", { type: "radio", name: "same", id, value: item?.id ?? "" });
  const named = item && answerOf(item).name;
  const label = make("label", { htmlFor: id }, ...(item ? [collage(item)] : []), make("span", {}, text));
  if (named) label.append(make("bdi", { className: "soft" }, named));
  return make("span", { className: "choice" }, radio, label);
}

export function drawAnswer() {
  const item = current();
  const answer = answerOf(item);
  item.tiles.forEach((_, index) => {
    const button = byId(`tile-${index + 1}`);
    button.setAttribute("aria-pressed", `${answer.marks[index]}`);
    button.setAttribute("aria-label", `Image ${index + 1}`);
  });
  byId("count").textContent = `${answer.marks.filter(Boolean).length} of ${answer.marks.length} marked`;
  for (const radio of document.getElementsByName("same")) radio.checked = radio.value === (answer.same ?? "");
  byId("merge-field").hidden = answer.same === null;
  byId("merge").checked = answer.merge;
  if (byId("name").value !== answer.name) byId("name").value = answer.name;
  const action = isChanged(item) ? null : item.state.vote?.action;
  for (const [id, its] of [["save", "judged"], ["reject", "rejected"], ["skip", "skipped"]]) {
    byId(id).dataset.chosen = `${action === its}`;
  }
}
