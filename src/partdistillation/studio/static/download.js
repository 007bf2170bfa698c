// The parts of a whole run as files for other tools: chosen in a dialog, written by a process, then downloaded.

import { apiOf, attempt, element, get, post, repeat } from "./dom.js";

const FORMATS = {
  coco: ["COCO", "Objects and parts in one file, which most tools read."],
  yolo: ["YOLO", "Outlines to train a segmentation model of Ultralytics, with the photographs."],
  "label-studio": ["Label Studio", "Tasks with predictions, to correct masks."],
  cvat: ["CVAT", "A file that CVAT imports as Datumaro 1.0, to correct masks."],
  fiftyone: ["FiftyOne", "COCO, and the lines that load it."],
  datasets: ["Hugging Face datasets", "Parquet files that datasets loads."],
  masks: ["Masks as pictures", "A PNG label map for each photograph, and a legend."],
};
const EVERY = 1000;

/** The button that opens the choice. */
export function downloadTool(run) {
  return element("button", { type: "button", "aria-haspopup": "dialog", onclick: () => choose(run) }, "Download …");
}

function choose(run) {
  const ends = [];
  const dialog = element("dialog", { class: "downloads", "aria-labelledby": "downloads-title" },
    element("div", { class: "row spread" },
      element("h2", { id: "downloads-title" }, "The parts as files"),
      element("button", { class: "quiet", type: "button", onclick: () => dialog.close() }, "Close")),
    element("p", { class: "soft" }, "With the names that they have now; joined and rejected parts as you left them."),
    element("ul", { class: "stack" }, Object.keys(FORMATS).map((format) => row(run, format, ends))));
  dialog.addEventListener("close", () => { ends.forEach((end) => end()); dialog.remove(); });
  document.body.append(dialog);
  dialog.showModal();
}

function row(run, format, ends) {
  const [label, text] = FORMATS[format];
  const address = `${apiOf(run)}/export/${format}`;
  const place = element("div", { class: "action", role: "status" });
  const show = ({ state, why }) => {
    const write = (words) => element("button", { type: "button", "aria-label": `${words} ${label}`, onclick: ask }, words);
    place.replaceChildren(...{
      never: () => [write("Prepare")],
      "going on": () => [element("progress", { "aria-label": `Writing ${label}` })],
      failed: () => [element("p", { class: "bad" }, why), write("Try again")],
      finished: () => [element("a", { class: "button main", href: `${address}/file`, download: "", "aria-label": `Download ${label}` }, "Download")],
    }[state]());
    if (state === "finished" && place.dataset.asked) place.firstChild.focus();
  };
  const ask = () => attempt(async () => {
    place.dataset.asked = "true";
    show(await post(address, {}));
    const end = repeat(async () => {
      const now = await get(address).catch(() => null);
      if (!now || now.state === "going on") return;
      end();
      show(now);
    }, EVERY);
    ends.push(end);
  });
  get(address).then(show, (error) => place.replaceChildren(element("span", { class: "soft" }, error.message)));
  return element("li", { class: "row spread" },
    element("div", {}, element("strong", {}, label), element("p", { class: "soft" }, text)), place);
}
