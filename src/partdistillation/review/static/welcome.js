// Who comes, and with which token.

import { open, send } from "./answers.js";
import { byId, plural, show } from "./dom.js";
import { drafts, remember, remembered, state, trail } from "./memory.js";
import { goOnWithToken, Refused, startSession } from "./server.js";

const GUESS = 10; // seconds a part

export async function start() {
  const token = new URLSearchParams(location.hash.slice(1)).get("token");
  if (token) history.replaceState(null, "", location.pathname);
  byId("reviewer").value = state.reviewer;
  try {
    foretell(await startSession(token));
  } catch (problem) {
    show("welcome");
    if (problem.status !== 401) throw problem;
    byId("token-field").hidden = false;
    byId("token").focus();
    return;
  }
  if (!state.reviewer) {
    show("welcome");
    return byId("reviewer").focus({ preventScroll: true });
  }
  const [lastPage, lastItem] = remembered("place", []);
  try {
    if (lastPage) return await open({ page: lastPage, go: "here" }, lastItem);
  } catch {
    // of another review, or another reviewer's
  }
  await open({});
}

function foretell({ parts, seconds, home }) {
  byId("home").href = home;
  byId("home").hidden = byId("next-at-home").hidden = !home;
  byId("next-alone").hidden = Boolean(home);
  const time = duration(parts * (seconds ?? GUESS));
  byId("duration").textContent =
    `There are ${plural(parts, "part")} to judge. ` +
    (seconds === null
      ? `At ten seconds a part, which is a guess, all of them take ${time}.`
      : `Up to now an answer took ${plural(Math.max(1, Math.round(seconds)), "second")} (the median), so all of them take ${time}.`) +
    " Stop whenever you like: what is saved is kept.";
}

function duration(seconds) {
  const minutes = Math.max(1, Math.round(seconds / 60));
  return minutes < 90 ? `about ${plural(minutes, "minute")}` : `about ${plural(Math.round(minutes / 60), "hour")}`;
}

export function changeReviewer() {
  byId("reviewer").value = state.reviewer;
  show("welcome");
  byId("reviewer").select();
}

byId("welcome-form").addEventListener("submit", async (event) => {
  event.preventDefault();
  const problem = byId("welcome-problem");
  try {
    foretell(await startSession(byId("token").value || null));
    problem.textContent = "";
    goOnWithToken();
    await send();
    introduce(byId("reviewer").value.trim());
    await open({});
  } catch (reason) {
    problem.textContent = reason instanceof Refused ? reason.message : "The server doesn’t answer.";
  }
});

function introduce(name) {
  if (name !== state.reviewer) {
    for (const id of Object.keys(drafts)) delete drafts[id];
    trail.length = 0;
    remember("drafts", drafts);
    remember("trail", trail);
  }
  state.reviewer = name;
  localStorage.setItem("reviewer", name);
  state.page = null;
}
