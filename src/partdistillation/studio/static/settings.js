// How a new run is made: where its objects come from, and by which recipe.

import { attempt, element, post, say } from "./dom.js";
import { choosePath } from "./folders.js";

const SOURCES = {
  salient: ["What stands out", "One object a photograph: the one that catches the eye. Its class is its folder’s name."],
  annotations: ["Masks in a COCO file", "A .json file with the outline of every object."],
  masks: ["A folder of masks", "For each photograph a .png of the same name, or a folder with a mask an object."],
  mask2former: ["Mask2Former", "Finds the classes that it was trained for."],
  detic: ["Detic", "Finds objects by the names of your folders."],
  sam3: ["SAM 3", "Finds objects by the names of your folders."],
  grounded_sam: ["Grounding DINO and SAM", "Finds objects by the names of your folders."],
};

export class Settings {
  constructor(page) {
    this.page = page;
  }

  objects() {
    const more = element("div", { class: "stack" });
    const show = () => { more.replaceChildren(...this.more()); };
    const options = Object.entries(SOURCES).filter(([name]) => this.page.choices.folders || !["annotations", "masks"].includes(name));
    const select = element("select", { id: "source" }, options.map(([name, [label]]) =>
      element("option", { value: name, selected: name === this.page.plan.source }, label)));
    const text = element("p", { class: "soft" });
    const told = () => { text.textContent = SOURCES[this.page.plan.source][1]; };
    select.addEventListener("change", () => {
      this.page.keep({ source: select.value, objects: "", model: "" });
      told();
      show();
      attempt(() => this.page.seen.check());
    });
    told();
    show();
    return element("section", { class: "card stack" }, element("h2", {}, "Where the objects come from"),
      element("div", { class: "row" }, element("label", { for: "source", class: "unseen" }, "Where the objects come from"), select), text, more);
  }

  more() {
    if (this.page.plan.source === "salient") return this.page.choices.saliency ? [] : [this.getNetwork()];
    if (this.page.plan.source === "annotations") return [this.pathField("objects", "The file", { title: "A file of object masks", files: "json" })];
    if (this.page.plan.source === "masks") return [this.pathField("objects", "The folder", { title: "A folder of masks" })];
    const model = element("input", { id: "model", type: "text", value: this.page.plan.model ?? "", placeholder: "the published one", spellcheck: "false" });
    model.addEventListener("change", () => this.page.keep({ model: model.value.trim() }));
    return [element("label", { for: "model" }, "Model, by its name on the hub or its folder"), model];
  }

  getNetwork() {
    const button = element("button", { onclick: async () => {
      button.disabled = true;
      if (await attempt(() => post("/api/new/weights", {}))) { this.page.choices.saliency = true; all.remove(); say("It is here."); }
      button.disabled = false;
    } }, "Get it with pip");
    const all = element("div", { class: "stack tight" },
      element("p", { class: "bad" }, "The network that finds what stands out isn’t on this machine yet (4 MB, once)."), element("p", {}, button));
    return all;
  }

  pathField(key, label, question) {
    const input = element("input", { id: key, type: "text", value: this.page.plan[key] ?? "", spellcheck: "false" });
    input.addEventListener("change", () => this.page.keep({ [key]: input.value.trim() }));
    const browse = element("button", { onclick: async () => {
      const path = await choosePath({ from: this.page.plan.folder, ...question });
      if (path) { input.value = path; this.page.keep({ [key]: path }); }
    } }, "Browse");
    return element("div", { class: "stack tight" }, element("label", { for: key }, label), element("div", { class: "row path" }, input, browse));
  }

  recipe() {
    const select = element("select", { id: "recipe" }, this.page.choices.recipes.map(({ name }) =>
      element("option", { value: name, selected: name === this.page.plan.recipe }, name)));
    const text = element("p", { class: "soft" });
    const told = () => { text.textContent = this.page.choices.recipes.find(({ name }) => name === this.page.plan.recipe).text; };
    select.addEventListener("change", () => { this.page.keep({ recipe: select.value }); told(); });
    told();
    return element("section", { class: "card stack" }, element("h2", {}, "The recipe"),
      element("div", { class: "row" }, element("label", { for: "recipe", class: "unseen" }, "The recipe"), select), text,
      this.page.choices.folders ? element("details", { open: Boolean(this.page.plan.settings) }, element("summary", {}, "Settings of a file"),
        this.pathField("settings", "A .yaml file, whose settings go over the recipe’s", { title: "A file of settings", files: "yaml" })) : null,
      this.page.estimate.root);
  }
}
