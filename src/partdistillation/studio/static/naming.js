// Naming, merging and rejecting part classes in place; undo; learning again with the names.

import { apiOf, bdi, colorOf, counted, element, get, post, say } from "./dom.js";
import { nameOf, pictureOf } from "./gallery.js";
import { retrainTool } from "./retraining.js";

/**
 * Send a change; whatever comes back is shown by `changed(state, { focus })`, also where somebody else was first.
 */
async function decide(run, state, changed, address, question, { done, focus } = {}) {
  try {
    const now = await post(`${apiOf(run)}/names${address}`, { version: state.version, category: state.category, ...question });
    changed(now, { focus });
    say(done ?? "Kept.");
    return true;
  } catch (error) {
    if (error.answer?.state) changed(error.answer.state, { focus });
    say(error.message, { problem: true });
    return false;
  }
}

const ofPart = (part, control) => `[data-part="${part.part}"] ${control}, .looking > .row ${control}`;

/** The name of a part class, to be written over; Enter or leaving it keeps it, Escape doesn't. */
export function nameField(run, state, part, changed) {
  const id = `name-${part.part}`;
  const input = element("input", {
    class: "name", id, list: "part-names", placeholder: nameOf({ ...part, name: null }), dir: "auto", autocomplete: "off", spellcheck: "false", maxlength: "80",
  });
  input.value = part.name ?? "";
  const keep = async (options) => {
    const name = input.value.trim();
    if (name === (part.name ?? "") || input.dataset.busy) return;
    input.dataset.busy = "true";
    const kept = await decide(run, state, changed, "", { kind: "name", part: part.part, name }, {
      done: name ? `Part ${part.part} is called “${name}”.` : `Part ${part.part} has no name now.`, ...options,
    });
    delete input.dataset.busy;
    if (!kept) input.focus();
  };
  input.addEventListener("keydown", (event) => {
    if (event.key === "Enter") { event.preventDefault(); keep({ focus: ofPart(part, ".name") }); }
    if (event.key === "Escape") input.value = part.name ?? "";
  });
  input.addEventListener("change", () => { if (document.activeElement !== input) keep(); });
  return element("div", { class: "name-field" },
    element("label", { class: "unseen", for: id }, `Name of part ${part.part}`), input, twin(run, state, part, changed));
}

/** Another part class of the same name: probably it is the same part. */
function twin(run, state, part, changed) {
  const other = part.name && state.parts.find((known) => known.part < part.part && known.name?.toLowerCase() === part.name.toLowerCase());
  if (!other) return null;
  return element("button", {
    class: "twin", type: "button",
    onclick: () => merge(run, state, part, other, changed),
  }, "Part ", String(other.part), " is called that too: merge them");
}

/** What can be done to a part class. */
export function partTools(run, state, part, changed) {
  if (state.rejected.includes(part)) {
    return element("div", { class: "row part-tools" }, element("button", {
      class: "quiet restore", type: "button", "aria-label": `Take ${nameOf(part)} back`,
      onclick: () => decide(run, state, changed, "", { kind: "restore", part: part.part }, { done: `Part ${part.part} is back.`, focus: ofPart(part, ".name") }),
    }, "Take back"));
  }
  return element("div", { class: "row part-tools" },
    part.members.filter((member) => member.part !== part.part).map((member) => element("button", {
      class: `quiet chip ${colorOf(member.part)}`, type: "button", title: `Separate part ${member.part} again`,
      onclick: () => decide(run, state, changed, "", { kind: "split", part: member.part }, { done: `Part ${member.part} stands by itself again.`, focus: ofPart(part, ".name") }),
    }, element("span", { class: "swatch" }), `with part ${member.part}`, element("span", { "aria-hidden": "true" }, "×"), element("span", { class: "unseen" }, ", separate"))),
    state.parts.length > 1 ? element("button", {
      class: "quiet merge", type: "button", "aria-haspopup": "dialog", "aria-label": `Merge ${nameOf(part)} with another part`,
      onclick: () => chooseOther(run, state, part, changed),
    }, "Merge…") : null,
    element("button", {
      class: "quiet danger reject", type: "button", "aria-label": `Reject ${nameOf(part)}`,
      onclick: () => decide(run, state, changed, "", { kind: "reject", part: part.part }, { done: `Part ${part.part} is rejected. Undo brings it back.`, focus: ".undo" }),
    }, "Reject"));
}

const merge = (run, state, part, other, changed) =>
  decide(run, state, changed, "", { kind: "merge", part: part.part, into: other.part }, {
    done: `Part ${part.part} counts as ${nameOf(other)} now.`, focus: ofPart(other, ".name"),
  });

/** Which part class is the same as this one: by pictures. */
function chooseOther(run, state, part, changed) {
  const picture = (of) => element("img", { src: pictureOf(run, state.of, "tile", of.first), alt: "" });
  const dialog = element("dialog", { class: "choice", "aria-labelledby": "choice-title" },
    element("div", { class: "row spread" },
      element("h2", { id: "choice-title" }, bdi(nameOf(part)), " is the same as …"),
      element("button", { class: "quiet", type: "button", onclick: () => dialog.close() }, "Cancel")),
    element("div", { class: "choices" }, state.parts.filter((other) => other !== part).map((other) => element("button", {
      class: `kin ${colorOf(other.part)}`, type: "button",
      onclick: () => { dialog.close(); merge(run, state, part, other, changed); },
    }, picture(other), element("span", { class: "under" }, element("span", { class: "swatch" }), bdi(nameOf(other)))))));
  dialog.addEventListener("close", () => dialog.remove());
  document.body.append(dialog);
  dialog.showModal();
}

/** What can be done to the whole table. */
export function tableTools(run, state, changed) {
  const names = element("datalist", { id: "part-names" }, state.names.map((name) => element("option", { value: name })));
  const undo = element("button", {
    class: "undo", type: "button", disabled: !state.undo, title: state.undo ? undone(state.undo) : "",
    onclick: () => decide(run, state, changed, "/undo", {}, { done: "Taken back.", focus: ".undo" }),
  }, "Undo", state.undo ? element("span", { class: "undo-what soft" }, bdi(undone(state.undo))) : null);
  const reviewed = element("button", { type: "button", hidden: true, onclick: () => decide(run, state, changed, "/reviewed", {}, { done: "Taken over." }) });
  askReviewed(run, reviewed);
  return [names, undo, reviewed, retrainTool(run, state.edited)];
}

/** Offer what reviewers agree on, where it says more than the table. */
async function askReviewed(run, button) {
  const answer = await get(`${apiOf(run)}/names/reviewed`).catch(() => ({ classes: 0 }));
  button.hidden = !answer.classes;
  button.textContent = `Take over what reviewers said of ${counted(answer.classes, "class", "classes")}`;
}

/** What undoing takes back, in words. */
function undone(action) {
  const of = action.category ? ` of ${action.category}` : "";
  switch (action.kind) {
    case "name": return `${action.name ? `“${action.name}” for` : "no name for"} part ${action.part}${of}`;
    case "merge": return `part ${action.part} with part ${action.into}${of}`;
    case "split": return `part ${action.part} by itself${of}`;
    case "reject": return `part ${action.part}${of} rejected`;
    case "restore": return `part ${action.part}${of} taken back`;
    case "reviewers": return "what reviewers said";
    default: return "a change of the file";
  }
}
