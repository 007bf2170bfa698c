// How far the review is, and at its end what came of it.

import { byId, make, plural, show } from "./dom.js";
import { drawProgress } from "./drawing.js";
import { state } from "./memory.js";
import { ask } from "./server.js";

export async function showStanding() {
  drawStanding("…");
  byId("standing").showModal();
  state.progress = (await ask("api/page", { reviewer: state.reviewer, page: state.page.id })).progress;
  const { alpha } = await ask("api/agreement", {});
  drawProgress();
  drawStanding(alpha === null ? "not known yet" : alpha.toFixed(2));
}

function drawStanding(alpha) {
  const { parts, finished, yours, reviewers } = state.progress;
  byId("standing-yours").textContent = yours;
  byId("standing-finished").textContent = `${finished} of ${parts}`;
  byId("standing-reviewers").textContent = reviewers;
  byId("standing-reviewers-noun").textContent = reviewers === 1 ? "reviewer" : "reviewers";
  byId("standing-alpha").textContent = alpha;
}

export function finished() {
  const { parts, finished, yours } = state.progress;
  const rest = parts - finished;
  state.page = null;
  const taken = rest && !yours;
  byId("finished-title").textContent = taken ? "Others are at it" : "All done. Thank you!";
  byId("finished-text").textContent = taken
    ? `Other reviewers have the ${plural(rest, "part")} of ${parts} that wait. Half an hour after their last answer others may have them.`
    : `You answered ${plural(yours, "part")}. ` +
      (rest ? `${plural(rest, "part")} of ${parts} still wait for other reviewers.` : "Every part has its verdicts.");
  byId("outcome").hidden = true;
  show("finished");
  byId("finished-title").focus();
  ask("api/outcome", {}).then(drawOutcome);
}

const COUNTS = ["parts", "consistent", "named", "merged", "rejected"];

function drawOutcome({ classes, of, all, alpha }) {
  const agreement =
    alpha === null
      ? "How far reviewers agree isn’t known: no part has answers of two."
      : `Reviewers agree to ${alpha.toFixed(2)} (Krippendorff’s alpha of the marks; 1: full, 0: chance).`;
  byId("outcome-text").textContent =
    `Of ${plural(all.parts, "part")}, ${all.judged} judged up to now, ${all.consistent} are consistent: most who ` +
    `judged them see the same part in three images or more. ${agreement}`;
  byId("outcome-rows").replaceChildren(...classes.map((one) => row(one.category, one)));
  const rest = of > classes.length ? `All ${of} classes` : "Together";
  byId("outcome-all").replaceChildren(...(of > 1 ? [row(rest, all)] : []));
  byId("outcome").hidden = false;
}

function row(name, counts) {
  const head = make("th", { scope: "row" }, make("bdi", {}, name));
  return make("tr", {}, head, ...COUNTS.map((count) => make("td", {}, `${counts[count]}`)));
}
