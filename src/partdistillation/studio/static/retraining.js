// Learning again with the part table, by one button; how that goes on.

import { apiOf, attempt, element, get, post, repeat } from "./dom.js";

const EVERY = 3000;

/** The button, and beside it what is going on; `edited`: whether parts were merged or rejected. */
export function retrainTool(run, edited) {
  const address = `${apiOf(run)}/names/retraining`;
  const place = element("div", { class: "row retraining" });
  let end = () => {};
  const show = (answer) => {
    end();
    const running = answer.state === "going on" || answer.state === "stopping";
    place.replaceChildren(...(running ? going(answer) : still(answer)));
    if (running) {
      end = repeat(async () => {
        if (!place.isConnected) return end();
        const now = await get(address).catch(() => null);
        if (now) show(now);
      }, EVERY);
    }
  };
  const ask = (path) => attempt(async () => show(await post(address + path, {})));
  const going = (answer) => [
    element("span", { class: "soft", role: "status" }, answer.state === "stopping" ? "Stopping …" : `Learning again … ${answer.said}`),
    element("button", { type: "button", disabled: answer.state === "stopping", onclick: () => ask("/stop") }, "Stop"),
  ];
  const still = (answer) => [
    { finished: element("span", { class: "good" }, "Learned again: ", element("code", {}, answer.model)), stopped: element("span", { class: "soft" }, "Stopped."),
      failed: element("span", { class: "bad" }, answer.why) }[answer.state] ?? "",
    element("button", {
      type: "button", disabled: !edited, title: edited ? "" : "Merge or reject a part first: names alone need no training",
      onclick: () => ask(""),
    }, answer.state === "stopped" ? "Go on learning" : "Retrain with these names"),
  ];
  get(address).then(show, () => {});
  return place;
}
