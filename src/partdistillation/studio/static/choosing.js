// Which photographs a new run is of: a folder of this machine, or files that are dropped, chosen and sent.

import { attempt, bdi, counted, element, post, say } from "./dom.js";
import { choosePath } from "./folders.js";
import { dropped, sendAll } from "./photographs.js";

export class Choosing {
  constructor(page) {
    this.page = page;
    this.path = element("input", { id: "folder", type: "text", value: this.page.plan.folder ?? "", spellcheck: "false", autocomplete: "off", placeholder: "/home/…/photographs" });
    const form = element("form", { class: "row path" }, this.path, element("button", {}, "Show"));
    form.addEventListener("submit", (event) => { event.preventDefault(); this.choose(this.path.value.trim()); });
    const chosen = element("div", { class: "card stack" },
      element("h2", {}, "Choose a folder"),
      element("p", { class: "soft" }, "Best with a folder inside for each kind of thing: photos/car, photos/person. Nothing in it is changed."),
      element("p", {}, element("button", { class: "main", onclick: () => this.browse() }, "Browse folders")),
      element("label", { for: "folder" }, "or give its path"), form);
    this.root = element("section", { class: "ways" }, page.choices.folders ? chosen : null, this.drop());
  }

  drop() {
    const files = element("input", { type: "file", multiple: true, accept: "image/*,.heic,.heif,.avif", hidden: true, id: "files" });
    const folder = element("input", { type: "file", webkitdirectory: true, hidden: true, id: "folders" });
    for (const input of [files, folder]) {
      input.addEventListener("change", () => {
        this.send([...input.files].map((file) => ({ file, path: file.webkitRelativePath || file.name })));
        input.value = "";
      });
    }
    this.single = element("input", { id: "single", type: "text", value: "things", maxlength: "60" });
    this.sending = element("div", { class: "stack", "aria-live": "polite" });
    const zone = element("div", { class: "card stack zone" },
      element("h2", {}, "Drop photographs here"),
      element("p", { class: "soft" }, "Files, or whole folders: a folder’s name is the class of what is in it. They are copied into the run."),
      element("div", { class: "row" },
        element("button", { onclick: () => files.click() }, "Choose files"),
        element("button", { onclick: () => folder.click() }, "Choose a folder")),
      element("div", { class: "row" }, element("label", { for: "single" }, "Files without a folder show"), this.single),
      files, folder, this.sending);
    for (const name of ["dragenter", "dragover"]) zone.addEventListener(name, (event) => { event.preventDefault(); zone.dataset.over = ""; });
    for (const name of ["dragleave", "drop"]) zone.addEventListener(name, (event) => { event.preventDefault(); delete zone.dataset.over; });
    // What is dropped beside it isn’t opened in place of the page.
    for (const name of ["dragover", "drop"]) addEventListener(name, (event) => event.preventDefault());
    zone.addEventListener("drop", async (event) => this.send(await dropped(event.dataTransfer)));
    return zone;
  }

  async send(files) {
    if (this.stop) { say("Wait for the photographs that are on their way, or stop them.", { problem: true }); return; }
    const stop = new AbortController();
    this.stop = stop;
    const bar = element("progress", { "aria-label": "Photographs sent", max: String(files.length), value: "0" });
    const text = element("p", { class: "number" });
    const refused = element("ul", { class: "reasons" });
    this.sending.replaceChildren(text, bar, element("p", {}, element("button", { class: "quiet", onclick: () => stop.abort() }, "Stop")), refused);
    const counts = await sendAll(files, { draft: this.page.plan.draft, single: this.single.value.trim() || "things", most: this.page.choices.mostFiles, signal: stop.signal },
      (sent, total) => { bar.value = sent; text.textContent = `${sent.toLocaleString("en")} of ${counted(total, "photograph")} sent`; },
      (file, why) => refused.append(element("li", {}, bdi(file), element("span", { class: "soft" }, why))));
    this.stop = null;
    bar.remove();
    text.textContent = `${counted(counts.kept, "photograph")} kept${counts.refused ? `, ${counts.refused.toLocaleString("en")} refused` : ""}${counts.others ? `, ${counted(counts.others, "other file")} passed over` : ""}`;
    this.sending.replaceChildren(text, element("p", {}, element("button", { class: "quiet", onclick: () => this.clear() }, "Remove them again")), refused);
    if (counts.kept) { this.path && (this.path.value = ""); this.page.keep({ folder: "" }); await attempt(() => this.page.preview()); }
  }

  async clear() {
    await attempt(() => post("/api/new/photographs/clear", { draft: this.page.plan.draft }));
    this.sending.replaceChildren();
    if (!this.page.plan.folder) this.page.forget();
  }

  async browse() {
    const folder = await choosePath({ title: "A folder of photographs", from: this.page.plan.folder });
    if (folder) await this.choose(folder);
  }

  async choose(folder) {
    if (!folder) return;
    if (this.path) this.path.value = folder;
    this.page.keep({ folder });
    await attempt(() => this.page.preview());
  }
}
