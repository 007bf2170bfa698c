// Talking to the server. Addresses are relative: the page may be mounted anywhere.

import { byId, say, show } from "./dom.js";
import { outbox, state } from "./memory.js";

let pageToken = "";

export class Refused extends Error {
  constructor(status, answer) {
    super(answer.detail ?? `The server answered ${status}.`);
    Object.assign(this, { status, answer });
  }
}

export async function post(path, body) {
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

// What the server tells of the review: how many parts there are, and how long one takes.
export async function startSession(token = null) {
  const { page, home, ...about } = await post("api/session", { token });
  pageToken = page;
  if (home) Object.assign(byId("home"), { href: home, hidden: false });
  return about;
}

// Asks until there is an answer: a server that restarts is only a pause.
export async function ask(path, body) {
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

const waitingForToken = [];
function tokenGiven() {
  byId("token-field").hidden = false;
  byId("reviewer").value = state.reviewer;
  show("welcome");
  byId("token").focus();
  return new Promise((resolve) => waitingForToken.push(resolve));
}

export function goOnWithToken() {
  waitingForToken.splice(0).forEach((resolve) => resolve());
}
