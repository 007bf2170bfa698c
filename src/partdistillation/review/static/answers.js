// Going from part to part, and answering.

import { byId, focusPart, make, say, show, tell, tile } from "./dom.js";
import { drawAnswer, drawList, drawPage, drawPart, drawProgress } from "./drawing.js";
import { answerOf, current, drafts, isChanged, itemOf, outbox, remember, requestId, state, trail } from "./memory.js";
import { ask, post } from "./server.js";
import { finished } from "./standing.js";

// ---------------------------------------------------------------------- pages

export async function load(request) {
  await send();
  const answer = await ask("api/page", { reviewer: state.reviewer, ...request });
  state.progress = answer.progress;
  byId("names").replaceChildren(...answer.names.map((value) => make("option", { value })));
  drawProgress();
  if (!answer.page) return finished();
  const same = state.page?.id === answer.page.id;
  state.page = answer.page;
  show("review");
  return same;
}

// What is pressed while a class is on its way isn't meant for the one before it.
export async function open(request, item = null) {
  if (state.opening) return;
  state.opening = true;
  byId("review").setAttribute("aria-busy", "true");
  try {
    await opened({ ...(state.page && request.go && { page: state.page.id }), ...request }, item);
  } finally {
    state.opening = false;
    byId("review").setAttribute("aria-busy", "false");
  }
}

async function opened(request, item) {
  const same = await load(request);
  if (document.body.dataset.view !== "review") return;
  if (same && request.go === "next") tell("No other class waits for you. Some parts here have no answer yet.");
  const wanted = state.page.items.findIndex((one) => one.id === item);
  const unanswered = state.page.items.findIndex((one) => !one.state.vote);
  drawPage();
  goTo(wanted >= 0 ? wanted : Math.max(0, unanswered), same);
}

export const openNext = () => open({ go: "next" });

export function goTo(index, quiet = false) {
  const { items, id } = state.page;
  state.at = Math.min(Math.max(0, index), items.length - 1);
  remember("place", [id, current().id]);
  state.picking = null;
  askUnmarked(false);
  if (!quiet) tell("");
  drawPart();
  drawList();
  byId(`part-${state.at + 1}`).scrollIntoView({ block: "nearest", inline: "center" });
  focusPart();
  if (innerWidth <= 900) scrollTo({ top: 0 });
  if (state.at >= items.length - 2) preload();
}

// The next class is drawn while this one is being finished.
let preloaded = null;
async function preload() {
  const { id } = state.page;
  if (preloaded === id) return;
  preloaded = id;
  const answer = await post("api/page", { reviewer: state.reviewer, page: id, go: "next" }).catch(() => null);
  for (const key of answer?.page?.items.flatMap((item) => item.tiles) ?? []) tile(key, "low");
}

// ---------------------------------------------------------------------- what is on the screen

export function change(changes) {
  const item = current();
  const draft = { ...answerOf(item), ...changes };
  delete drafts[item.id];
  if (JSON.stringify(draft) !== JSON.stringify(answerOf(item))) drafts[item.id] = draft;
  remember("drafts", drafts);
  askUnmarked(false);
  tell("");
  drawAnswer();
  drawList();
}

export function toggle(index) {
  const { marks } = answerOf(current());
  if (index < marks.length) change({ marks: marks.map((mark, place) => (place === index ? !mark : mark)) });
}

export function markAll(mark) {
  change({ marks: current().tiles.map(() => mark) });
}

export function setSame(id, merged = false) {
  const own = answerOf(current()).name;
  const other = id && answerOf(itemOf(id)).name;
  change({ same: id, merge: id !== null && merged, name: own || other || "" });
}

// Whether it was meant that nothing is marked: the question takes the place of the buttons.
const isAsking = () => !byId("unmarked").hidden;
export function askUnmarked(asking) {
  if (asking === isAsking()) return;
  if (byId("unmarked").contains(document.activeElement)) focusPart();
  byId("unmarked").hidden = !asking;
  byId("actions").hidden = asking;
  if (asking) byId("save-unmarked").focus();
}

// ---------------------------------------------------------------------- answers

// `sure`: the reviewer was asked already, where nothing is marked.
export function answer(action, sure = isAsking()) {
  const item = current();
  const { marks, same, merge: merged, name } = answerOf(item);
  const said = item.state.vote?.action === "judged" && !isChanged(item);
  if (action === "judged" && !marks.includes(true) && !sure && !said) return askUnmarked(true);
  const complete = state.page.items.every((one) => one.state.vote);
  const other = action === "judged" ? same : null;
  const vote = { action, marks, duplicate_of: other, merged_into: merged ? other : null, name: name.trim() };
  outbox.push({ reviewer: state.reviewer, item: item.id, request: requestId(), known: item.state.version, ...vote });
  remember("outbox", outbox);
  trail.push([state.page.id, item.id]);
  remember("trail", trail.slice(-500));
  if (!item.state.vote) state.progress.yours += 1;
  item.state.vote = vote;
  delete drafts[item.id];
  remember("drafts", drafts);
  drawProgress();
  send();
  goOn(complete);
}

// To the next part without an answer; in a class that had them all, to the next part.
function goOn(complete) {
  const { items } = state.page;
  const open = (one) => !one.state.vote;
  const after = complete ? state.at + 1 : items.findIndex((one, index) => index > state.at && open(one));
  const next = after >= 0 ? after : items.findIndex(open);
  if (next < 0 || next >= items.length) openNext();
  else goTo(next);
}

// Answers leave one after the other, each with an id of its own: sent twice, it counts once.
let sending = null;
export function send() {
  sending ??= sendAll().finally(() => (sending = null));
  return sending;
}

async function sendAll() {
  while (outbox.length) {
    say("Saving …");
    const [first] = outbox;
    first.base ??= itemOf(first.item)?.state.version ?? first.known;
    remember("outbox", outbox);
    const { known, ...body } = first;
    try {
      acknowledge(first.item, await ask("api/vote", body));
    } catch (problem) {
      tell(`An answer wasn’t accepted: ${problem.message}`);
    }
    outbox.shift();
    remember("outbox", outbox);
  }
  say("Saved", "good");
}

function acknowledge(id, { state: stored, replaced }) {
  const item = itemOf(id);
  const again = outbox.slice(1).some((later) => later.item === id);
  if (item) item.state = again ? { ...stored, vote: item.state.vote } : stored;
  if (replaced) {
    const which = item ? `Part ${state.page.items.indexOf(item) + 1}` : "A part";
    tell(`${which} had got another answer in another window. Yours replaced it; undo brings it back.`);
  }
  if (item) drawList();
}

export async function undo() {
  const { page } = state;
  askUnmarked(false);
  if (isChanged(current())) {
    delete drafts[current().id];
    remember("drafts", drafts);
    drawAnswer();
    drawList();
    return tell("Back to what was saved.");
  }
  await send();
  const answered = page.items.filter((item) => item.state.vote);
  const latest = answered.sort((one, other) => other.state.changed - one.state.changed)[0];
  const [wantedPage, wanted] = trail.pop() ?? [page.id, latest?.id];
  remember("trail", trail);
  if (!wanted) return tell("Nothing to undo here.");
  if (wantedPage !== page.id) await open({ page: wantedPage, go: "here" }, wanted);
  const item = itemOf(wanted);
  if (!item?.state.vote) return tell("Nothing to undo here.");
  await takeBack(item);
}

async function takeBack(item) {
  const before = answerOf(item);
  const request = { reviewer: state.reviewer, item: item.id, request: requestId(), base: item.state.version };
  let done = "Undone.";
  try {
    item.state = (await ask("api/undo", request)).state;
  } catch (problem) {
    done = problem.message;
    if (problem.answer?.state) item.state = problem.answer.state;
  }
  if (!item.state.vote) {
    state.progress.yours = Math.max(0, state.progress.yours - 1);
    drafts[item.id] = before; // as it was before it was saved
  }
  remember("drafts", drafts);
  drawProgress();
  say("Saved", "good");
  goTo(state.page.items.indexOf(item));
  tell(done);
}
