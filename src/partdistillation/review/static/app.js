// The page of a review. What comes from outside (names of classes, parts, reviewers) is only ever set as text.

const byId = (id) => document.getElementById(id);
const [review, partTitle, tileGroup, hint, nameField, merge, saved] = [
  "review", "part-title", "tiles", "hint", "name", "merge", "saved",
].map(byId);

let pageToken = "";
let reviewer = localStorage.getItem("reviewer") ?? "";
let page = null; // as the server describes it
let at = 0; // index of the part that is looked at
let progress = { parts: 0, finished: 0, yours: 0, reviewers: 0 };
let picking = null; // "same" or "merge", while a digit names another part

// What isn't on the server yet survives a reload, for each tab on its own.
const remembered = (key, value) => JSON.parse(sessionStorage.getItem(key) ?? "null") ?? value;
const remember = (key, value) => sessionStorage.setItem(key, JSON.stringify(value));
const drafts = remembered("drafts", {}); // by item: an answer that isn't saved
const outbox = remembered("outbox", []); // answers that the server hasn't acknowledged
const trail = remembered("trail", []); // [page, item] of every answer given in this tab, for undo

function make(tag, properties = {}, ...children) {
  const { dataset, aria, ...plain } = properties;
  const element = Object.assign(document.createElement(tag), plain);
  Object.assign(element.dataset, dataset);
  for (const [name, value] of Object.entries(aria ?? {})) element.setAttribute(`aria-${name}`, value);
  element.append(...children);
  return element;
}

function show(view) {
  document.body.dataset.view = view;
  for (const main of document.querySelectorAll("main")) main.hidden = main.id !== view;
  byId("who").textContent = reviewer;
  byId("who").setAttribute("aria-label", `Reviewer: ${reviewer}`);
}

// ---------------------------------------------------------------------- talking to the server

class Refused extends Error {
  constructor(status, answer) {
    super(answer.detail ?? `The server answered ${status}.`);
    Object.assign(this, { status, answer });
  }
}

async function post(path, body) {
  const response = await fetch(path, {
    method: "POST",
    headers: { "Content-Type": "application/json", "X-Review-Page": pageToken },
    body: JSON.stringify(body),
    signal: AbortSignal.timeout(20_000),
  });
  const answer = await response.json();
  if (!response.ok) throw new Refused(response.status, answer);
  return answer;
}

async function startSession(token = null) {
  pageToken = (await post("/api/session", { token })).page;
}

// Asks until there is an answer: a server that restarts is only a pause.
async function ask(path, body) {
  for (let pause = 250; ; pause = Math.min(2 * pause, 4000)) {
    try {
      return await post(path, body);
    } catch (problem) {
      if (problem.status === 401) {
        await tokenGiven();
        continue;
      }
      if (problem.status === 403) await startSession().catch(() => {});
      else if (problem.status < 500) throw problem;
      const waiting = outbox.length;
      const answers = waiting === 1 ? "1 answer waits" : `${waiting} answers wait`;
      say(waiting ? `No connection: ${answers} here and will be sent` : "No connection: trying again", "problem");
      await new Promise((resolve) => setTimeout(resolve, pause));
    }
  }
}

let waitingForToken = [];
function tokenGiven() {
  byId("token-field").hidden = false;
  byId("reviewer").value = reviewer;
  show("welcome");
  byId("token").focus();
  return new Promise((resolve) => waitingForToken.push(resolve));
}

function say(text, state = "") {
  if (saved.textContent !== text) saved.textContent = text;
  saved.dataset.state = state;
}

// Answers leave one after the other, each with an id of its own: sent twice, it counts once.
let sending = null;
function send() {
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
      acknowledge(first.item, await ask("/api/vote", body));
    } catch (problem) {
      tell(`An answer wasn’t accepted: ${problem.message}`);
    }
    outbox.shift();
    remember("outbox", outbox);
  }
  say("Saved", "good");
}

function acknowledge(id, { state, replaced }) {
  const item = itemOf(id);
  const again = outbox.slice(1).some((later) => later.item === id);
  if (item) item.state = again ? { ...state, vote: item.state.vote } : state;
  if (replaced) {
    const which = item ? `Part ${page.items.indexOf(item) + 1}` : "A part";
    tell(`${which} had got another answer in another window. Yours replaced it; undo brings it back.`);
  }
  if (item) drawList();
}

const itemOf = (id) => page?.items.find((item) => item.id === id);

// ---------------------------------------------------------------------- pages

async function load(request) {
  await send();
  const answer = await ask("/api/page", { reviewer, ...request });
  progress = answer.progress;
  byId("names").replaceChildren(...answer.names.map((value) => make("option", { value })));
  drawProgress();
  if (!answer.page) return finished();
  const same = page?.id === answer.page.id;
  page = answer.page;
  show("review");
  return same;
}

// What is pressed while a class is on its way isn't meant for the one before it.
let opening = false;
async function open(request, item = null) {
  if (opening) return;
  opening = true;
  review.setAttribute("aria-busy", "true");
  try {
    await opened({ ...(page && request.go && { page: page.id }), ...request }, item);
  } finally {
    opening = false;
    review.setAttribute("aria-busy", "false");
  }
}

async function opened(request, item) {
  const same = await load(request);
  if (document.body.dataset.view !== "review") return;
  if (same && request.go === "next") tell("No other class waits for you. Some parts here have no answer yet.");
  const wanted = page.items.findIndex((one) => one.id === item);
  const unanswered = page.items.findIndex((one) => !one.state.vote);
  drawPage();
  goTo(wanted >= 0 ? wanted : Math.max(0, unanswered), same);
}

function finished() {
  page = null;
  const rest = progress.parts - progress.finished;
  byId("finished-text").textContent =
    `You answered ${plural(progress.yours, "part")}. ` +
    (rest ? `${plural(rest, "part")} of ${progress.parts} still wait for other reviewers.` : "Every part has its verdicts.");
  show("finished");
  byId("finished-title").focus();
}

const plural = (count, noun) => `${count} ${noun}${count === 1 ? "" : "s"}`;

// The next class is drawn while this one is being finished.
let preloaded = null;
async function preload() {
  if (preloaded === page.id) return;
  preloaded = page.id;
  const answer = await post("/api/page", { reviewer, page: page.id, go: "next" }).catch(() => null);
  for (const key of answer?.page?.items.flatMap((item) => item.tiles) ?? []) tile(key, "low");
}

// ---------------------------------------------------------------------- drawing

// A picture that didn't come is asked for again, as long as it is on the page.
function tile(key, fetchPriority) {
  const src = `/tiles/${key}`;
  const picture = make("img", { fetchPriority, alt: "", draggable: false, src });
  let pause = 1000;
  picture.addEventListener("load", () => delete picture.dataset.state);
  picture.addEventListener("error", () => {
    picture.dataset.state = "broken";
    setTimeout(() => picture.isConnected && (picture.src = src), (pause *= 2));
  });
  return picture;
}

// Four images stand for a part, best those that were marked as the same.
function collage(item) {
  const { marks } = answerOf(item);
  const places = item.tiles.map((_, index) => index).sort((one, other) => marks[other] - marks[one]);
  const pictures = places.slice(0, 4).map((place) => tile(item.tiles[place], "low"));
  return make("span", { className: "mini" }, ...pictures);
}

function drawPage() {
  byId("category").textContent = page.category;
  const set = page.sets > 1 ? `, set ${page.set} of ${page.sets}` : "";
  byId("place").textContent = `class ${page.position}${set}`;
  byId("previous-class").disabled = page.position === 1;
  document.title = `${page.category} – Part review`;
  byId("part-list").replaceChildren(
    ...page.items.map((item, index) => {
      const number = make("span", { className: "number" }, `${index + 1}`);
      const badge = make("span", { className: "badge", aria: { hidden: "true" } });
      const button = make("button", { type: "button", id: `part-${index + 1}` }, collage(item), number, badge);
      button.addEventListener("click", () => goTo(index));
      return make("li", {}, button);
    }),
  );
  drawList();
}

function drawList() {
  page.items.forEach((item, index) => {
    const button = byId(`part-${index + 1}`);
    const { vote } = item.state;
    const changed = isChanged(item);
    button.dataset.state = changed ? "changed" : (vote?.action ?? "open");
    button.setAttribute("aria-current", index === at ? "step" : "false");
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

function drawProgress() {
  byId("progress").max = Math.max(1, progress.parts);
  byId("progress").value = progress.finished;
  byId("progress-text").textContent = `you ${progress.yours} · done ${progress.finished} of ${progress.parts}`;
}

async function showStanding() {
  drawStanding("…");
  byId("standing").showModal();
  progress = (await ask("/api/page", { reviewer, page: page.id })).progress;
  const { alpha } = await ask("/api/agreement", {});
  drawProgress();
  drawStanding(alpha === null ? "not known yet" : alpha.toFixed(2));
}

function drawStanding(alpha) {
  byId("standing-yours").textContent = progress.yours;
  byId("standing-finished").textContent = `${progress.finished} of ${progress.parts}`;
  byId("standing-reviewers").textContent = progress.reviewers;
  byId("standing-reviewers-noun").textContent = progress.reviewers === 1 ? "reviewer" : "reviewers";
  byId("standing-alpha").textContent = alpha;
}

function goTo(index, quiet = false) {
  at = Math.min(Math.max(0, index), page.items.length - 1);
  remember("place", [page.id, page.items[at].id]);
  picking = null;
  if (!quiet) tell("");
  drawPart();
  drawList();
  byId(`part-${at + 1}`).scrollIntoView({ block: "nearest", inline: "center" });
  partTitle.focus({ preventScroll: true });
  if (innerWidth <= 900) scrollTo({ top: 0 });
  if (at >= page.items.length - 2) preload();
}

function drawPart() {
  const item = page.items[at];
  const few = item.available < 9 ? ` · only ${plural(item.available, "image")}` : "";
  partTitle.textContent = `Part ${at + 1} of ${page.items.length}${few}`;
  tileGroup.replaceChildren(
    ...item.tiles.map((key, index) => {
      const picture = tile(key, "high");
      const digit = make("kbd", {}, `${index + 1}`);
      const button = make("button", { type: "button", id: `tile-${index + 1}`, className: "tile" }, picture, digit);
      button.setAttribute("aria-keyshortcuts", `${index + 1}`);
      button.addEventListener("click", (event) => {
        toggle(index);
        settle(event);
      });
      return button;
    }),
  );
  byId("same").hidden = at === 0;
  byId("same-choices").replaceChildren(
    choice("new", "A new part", null),
    ...page.items.slice(0, at).map((one, index) => choice(`same-${index + 1}`, `Part ${index + 1}`, one)),
  );
  drawAnswer();
}

function choice(id, text, item) {
  const radio = make("input", { type: "radio", name: "same", id, value: item?.id ?? "" });
  radio.addEventListener("change", () => setSame(item?.id ?? null));
  radio.addEventListener("click", settle);
  const named = item && answerOf(item).name;
  const label = make("label", { htmlFor: id }, ...(item ? [collage(item)] : []), make("span", {}, text));
  if (named) label.append(make("bdi", { className: "soft" }, named));
  return make("span", { className: "choice" }, radio, label);
}

function drawAnswer() {
  const item = page.items[at];
  const answer = answerOf(item);
  item.tiles.forEach((_, index) => {
    const button = byId(`tile-${index + 1}`);
    button.setAttribute("aria-pressed", `${answer.marks[index]}`);
    button.setAttribute("aria-label", `Image ${index + 1}`);
  });
  byId("count").textContent = `${answer.marks.filter(Boolean).length} of ${answer.marks.length} marked`;
  for (const radio of document.getElementsByName("same")) radio.checked = radio.value === (answer.same ?? "");
  byId("merge-field").hidden = answer.same === null;
  merge.checked = answer.merge;
  if (nameField.value !== answer.name) nameField.value = answer.name;
  const action = isChanged(item) ? null : item.state.vote?.action;
  for (const [id, its] of [["save", "judged"], ["reject", "rejected"], ["skip", "skipped"]]) {
    byId(id).dataset.chosen = `${action === its}`;
  }
}

// ---------------------------------------------------------------------- answers

// What is on the screen: the draft, or else what was saved, or else nothing.
function answerOf(item) {
  if (drafts[item.id]) return drafts[item.id];
  const vote = item.state.vote;
  return {
    marks: vote?.marks ?? item.tiles.map(() => false),
    same: vote?.duplicate_of ?? vote?.merged_into ?? null,
    merge: Boolean(vote?.merged_into),
    name: vote?.name ?? "",
  };
}

function isChanged(item) {
  return Boolean(drafts[item.id]);
}

function change(changes) {
  const item = page.items[at];
  const draft = { ...answerOf(item), ...changes };
  delete drafts[item.id];
  if (JSON.stringify(draft) !== JSON.stringify(answerOf(item))) drafts[item.id] = draft;
  remember("drafts", drafts);
  tell("");
  drawAnswer();
  drawList();
}

function toggle(index) {
  const { marks } = answerOf(page.items[at]);
  if (index < marks.length) change({ marks: marks.map((mark, place) => (place === index ? !mark : mark)) });
}

function markAll(mark) {
  change({ marks: page.items[at].tiles.map(() => mark) });
}

function setSame(id, merged = false) {
  const own = answerOf(page.items[at]).name;
  const other = id && answerOf(itemOf(id)).name;
  change({ same: id, merge: id !== null && merged, name: own || other || "" });
}

function answer(action) {
  const item = page.items[at];
  const complete = page.items.every((one) => one.state.vote);
  const { marks, same, merge: merged, name } = answerOf(item);
  const other = action === "judged" ? same : null;
  const vote = { action, marks, duplicate_of: other, merged_into: merged ? other : null, name: name.trim() };
  outbox.push({ reviewer, item: item.id, request: crypto.randomUUID?.() ?? randomId(), known: item.state.version, ...vote });
  remember("outbox", outbox);
  trail.push([page.id, item.id]);
  remember("trail", trail.slice(-500));
  if (!item.state.vote) progress.yours += 1;
  item.state.vote = vote;
  delete drafts[item.id];
  remember("drafts", drafts);
  drawProgress();
  send();
  goOn(complete);
}

// crypto.randomUUID is only there on https and on loopback.
function randomId() {
  return Array.from(crypto.getRandomValues(new Uint8Array(16)), (byte) => byte.toString(16).padStart(2, "0")).join("");
}

// To the next part without an answer; in a class that had them all, to the next part.
function goOn(complete) {
  const open = (one) => !one.state.vote;
  const after = complete ? at + 1 : page.items.findIndex((one, index) => index > at && open(one));
  const next = after >= 0 ? after : page.items.findIndex(open);
  if (next < 0 || next >= page.items.length) openNext();
  else goTo(next);
}

const openNext = () => open({ go: "next" });

async function undo() {
  if (isChanged(page.items[at])) {
    delete drafts[page.items[at].id];
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
  const request = { reviewer, item: item.id, request: crypto.randomUUID?.() ?? randomId(), base: item.state.version };
  let done = "Undone.";
  try {
    item.state = (await ask("/api/undo", request)).state;
  } catch (problem) {
    done = problem.message;
    if (problem.answer?.state) item.state = problem.answer.state;
  }
  if (!item.state.vote) {
    progress.yours = Math.max(0, progress.yours - 1);
    drafts[item.id] = before; // as it was before it was saved
  }
  remember("drafts", drafts);
  drawProgress();
  say("Saved", "good");
  goTo(page.items.indexOf(item));
  tell(done);
}

function tell(text) {
  hint.textContent = text;
}

// ---------------------------------------------------------------------- keys, fingers

// After a click the focus goes back to the part, so that Enter saves; whoever moves by Tab keeps it.
function settle(event) {
  if (event.detail > 0) setTimeout(() => partTitle.focus({ preventScroll: true }));
}

function pick(kind) {
  if (at === 0) return tell("This is the first part of the class: there is none before it.");
  picking = kind;
  const which = at === 1 ? "1" : `1 to ${at}`;
  tell(`Same as which part? Press ${which}, 0 for a new part, or Esc.`);
}

function picked(digit) {
  const kind = picking;
  picking = null;
  if (digit > at) return tell(`Part ${digit} doesn’t come before this one.`);
  setSame(digit ? page.items[digit - 1].id : null, kind === "merge");
}

const KEYS = {
  a: () => markAll(true),
  n: () => markAll(false),
  d: () => pick("same"),
  m: () => pick("merge"),
  e: () => nameField.focus(),
  ArrowLeft: () => goTo(at - 1),
  ArrowRight: () => goTo(at + 1),
  Escape: () => {
    picking = null;
    tell("");
  },
  "?": () => byId("keys").showModal(),
};
// What isn't to happen again while a key is held down.
const ONCE = {
  Enter: () => answer("judged"),
  r: () => answer("rejected"),
  s: () => answer("skipped"),
  u: undo,
  PageUp: () => page.position > 1 && open({ go: "previous" }),
  PageDown: openNext,
};

document.addEventListener("keydown", (event) => {
  const { key, target } = event;
  if (opening || document.body.dataset.view !== "review" || document.querySelector("dialog[open]")) return;
  if (event.ctrlKey || event.metaKey || event.altKey || event.isComposing) return;
  if (target === nameField) {
    if (key === "Escape") partTitle.focus();
    if (key !== "Enter") return;
  }
  if (key === "Enter" && target.closest?.("button")) return; // the button's own
  if (key.startsWith("Arrow") && target.type === "radio") return;
  const digit = /^[0-9]$/.test(key) ? Number(key) : null;
  const action = digit !== null ? () => digitPressed(digit) : (KEYS[key] ?? (event.repeat ? undefined : ONCE[key]));
  if (!action) return;
  event.preventDefault();
  action();
});

function digitPressed(digit) {
  if (picking) picked(digit);
  else if (digit) toggle(digit - 1);
}

// The second click of a double click would answer for the next part.
function onClick(id, action) {
  byId(id).addEventListener("click", (event) => {
    if (event.detail < 2 && !opening) action();
    settle(event);
  });
}

onClick("mark-all", KEYS.a);
onClick("mark-none", KEYS.n);
onClick("save", ONCE.Enter);
onClick("reject", ONCE.r);
onClick("skip", ONCE.s);
onClick("undo", undo);
onClick("previous-class", ONCE.PageUp);
onClick("next-class", openNext);
byId("show-keys").addEventListener("click", KEYS["?"]);
byId("progress-text").addEventListener("click", showStanding);
byId("look-again").addEventListener("click", () => open({ go: "previous" }));
byId("ask-again").addEventListener("click", () => open({}));
byId("who").addEventListener("click", () => {
  byId("reviewer").value = reviewer;
  show("welcome");
  byId("reviewer").select();
});
nameField.addEventListener("input", () => change({ name: nameField.value }));
merge.addEventListener("change", () => change({ merge: merge.checked }));

byId("welcome-form").addEventListener("submit", async (event) => {
  event.preventDefault();
  const problem = byId("welcome-problem");
  try {
    await startSession(byId("token").value || null);
    problem.textContent = "";
    waitingForToken.splice(0).forEach((resolve) => resolve());
    await send();
    introduce(byId("reviewer").value.trim());
    await open({});
  } catch (reason) {
    problem.textContent = reason instanceof Refused ? reason.message : "The server doesn’t answer.";
  }
});

function introduce(name) {
  if (name !== reviewer) {
    for (const id of Object.keys(drafts)) delete drafts[id];
    trail.length = 0;
    remember("drafts", drafts);
    remember("trail", trail);
  }
  reviewer = name;
  localStorage.setItem("reviewer", name);
  page = null;
}

// Another window may have answered meanwhile.
document.addEventListener("visibilitychange", async () => {
  if (document.hidden || !page || document.body.dataset.view !== "review" || outbox.length) return;
  const before = page;
  await load({ page: page.id, go: "here" });
  if (page?.id !== before.id) return;
  if (page.items.some((item, index) => item.state.version !== before.items[index].state.version)) {
    drawPart();
    tell("This class was changed in another window; here is what is saved now.");
  }
  drawList();
});

addEventListener("beforeunload", (event) => {
  if (outbox.length) event.preventDefault();
});

async function start() {
  const token = new URLSearchParams(location.hash.slice(1)).get("token");
  if (token) history.replaceState(null, "", location.pathname);
  byId("reviewer").value = reviewer;
  try {
    await startSession(token);
  } catch (problem) {
    show("welcome");
    if (problem.status !== 401) throw problem;
    byId("token-field").hidden = false;
    byId("token").focus();
    return;
  }
  if (!reviewer) {
    show("welcome");
    return byId("reviewer").focus();
  }
  const [lastPage, lastItem] = remembered("place", []);
  try {
    if (lastPage) return await open({ page: lastPage, go: "here" }, lastItem);
  } catch {
    // of another review, or another reviewer's
  }
  await open({});
}

start();
