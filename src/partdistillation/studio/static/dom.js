// What the pages have in common: elements, questions to the server, what is said to the visitor.

let pageToken = "";

/** An element: `element("p", { class: "soft", onclick: go }, "text", child, …)`. Text is never read as HTML. */
export function element(tag, attributes = {}, ...children) {
  const made = tag === "svg" || SVG.has(tag)
    ? document.createElementNS("http://www.w3.org/2000/svg", tag)
    : document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) {
    if (value === undefined || value === null || value === false) continue;
    if (name.startsWith("on")) made.addEventListener(name.slice(2), value);
    else if (name in made && typeof value !== "string" && !(made instanceof SVGElement)) made[name] = value;
    else made.setAttribute(name, value === true ? "" : value);
  }
  made.append(...children.flat().filter((child) => child !== null && child !== undefined));
  return made;
}
const SVG = new Set(["path", "g", "circle", "rect", "line", "polyline"]);

/** A name of any script, kept from turning its surroundings around. */
export const bdi = (text) => element("bdi", { dir: "auto" }, text);

/** Tell the server the token in the address, if there is one; what comes back proves that a question is this page's. */
export async function begin() {
  const token = new URLSearchParams(location.hash.slice(1)).get("token") ?? undefined;
  if (token) history.replaceState(null, "", location.pathname);
  pageToken = (await post("/api/session", token ? { token } : {})).page;
}

/** The answer to a question that changes nothing. */
export const get = (path) => answered(fetch(path));

/** The answer to one that may change something. */
export const post = (path, question) =>
  answered(fetch(path, {
    method: "POST",
    headers: { "content-type": "application/json", "x-review-page": pageToken },
    body: JSON.stringify(question),
  }));

/** Send a file as it is; its name, or what else there is to say of it, goes with the address. */
export const send = (path, file, said = {}) =>
  answered(fetch(`${path}?${new URLSearchParams({ name: file.name, ...said })}`, {
    method: "POST",
    headers: { "content-type": "application/octet-stream", "x-review-page": pageToken },
    body: file,
  }));

async function answered(asked) {
  let response;
  try {
    response = await asked;
  } catch {
    throw new Error("The studio doesn’t answer. Is it still running?");
  }
  const answer = await response.json().catch(() => ({}));
  if (!response.ok) throw Object.assign(new Error(answer.detail ?? `error ${response.status}`), { status: response.status, answer });
  return answer;
}

/** Say something at the lower edge; problems stay until something else is said. */
export function say(text, { problem = false } = {}) {
  const notice = document.getElementById("notice");
  notice.hidden = !text;
  notice.textContent = text;
  notice.dataset.state = problem ? "problem" : "good";
  clearTimeout(say.timer);
  if (text && !problem) say.timer = setTimeout(() => { notice.hidden = true; }, 4000);
}

/** Run what may fail, and say how it failed. */
export async function attempt(work) {
  try {
    return await work();
  } catch (error) {
    say(error.message, { problem: true });
    return undefined;
  }
}

/** Ask every so often while the page is seen; the function that is returned ends it. */
export function repeat(work, milliseconds) {
  const timer = setInterval(() => { if (!document.hidden) work(); }, milliseconds);
  return () => clearInterval(timer);
}

/** "3 parts", "1 part". */
export const counted = (count, noun, plural = `${noun}s`) => `${count.toLocaleString("en")} ${count === 1 ? noun : plural}`;

/** The address of a run's page. */
export const pageOf = (run, page) => `/runs/${encodeURIComponent(run)}/${page}`;

/** The address that a run's questions begin with. */
export const apiOf = (run) => `/api/runs/${encodeURIComponent(run)}`;

/** The class of a part class's colour, `--part`: the same everywhere, pictures among them (`pictures/colors.py`). */
export const colorOf = (part) => `part-${part % 24}`;
