// What the page knows: what it looks at, and what isn't on the server yet.

// That survives a reload, for each tab on its own; several reviews may be at addresses of one server.
const kept = (key) => `${location.pathname}${key}`;
export const remembered = (key, value) => JSON.parse(sessionStorage.getItem(kept(key)) ?? "null") ?? value;
export const remember = (key, value) => sessionStorage.setItem(kept(key), JSON.stringify(value));

export const drafts = remembered("drafts", {}); // by item: an answer that isn't saved
export const outbox = remembered("outbox", []); // answers that the server hasn't acknowledged
export const trail = remembered("trail", []); // [page, item] of every answer given in this tab, for undo

export const state = {
  reviewer: localStorage.getItem("reviewer") ?? "",
  page: null, // as the server describes it
  at: 0, // index of the part that is looked at
  progress: { parts: 0, finished: 0, yours: 0, reviewers: 0 },
  picking: null, // "same" or "merge", while a digit names another part
  opening: false, // while a class is on its way
};

export const current = () => state.page.items[state.at];
export const itemOf = (id) => state.page?.items.find((item) => item.id === id);
export const isChanged = (item) => Boolean(drafts[item.id]);

// What is on the screen: the draft, or else what was saved, or else nothing.
export function answerOf(item) {
  if (drafts[item.id]) return drafts[item.id];
  const vote = item.state.vote;
  return {
    marks: vote?.marks ?? item.tiles.map(() => false),
    same: vote?.duplicate_of ?? vote?.merged_into ?? null,
    merge: Boolean(vote?.merged_into),
    name: vote?.name ?? "",
  };
}

// crypto.randomUUID is only there on https and on loopback.
export function requestId() {
  if (crypto.randomUUID) return crypto.randomUUID();
  return Array.from(crypto.getRandomValues(new Uint8Array(16)), (byte) => byte.toString(16).padStart(2, "0")).join("");
}
