// A photograph as the stages see it, side by side: objects, segments, proposals, parts, as outlines that answer.

import { apiOf, bdi, colorOf, counted, element, get } from "./dom.js";
import { pictureOf, place } from "./gallery.js";
import { crumbs } from "./parts.js";

const TITLES = { objects: "Objects", segments: "Segments", proposals: "Proposals", parts: "Parts" };

export async function showPhotograph(within, run, image) {
  const photograph = await get(`${apiOf(run)}/look/photograph?image=${image}`);
  const names = Object.keys(TITLES).filter((name) => photograph.layers[name]);
  const chosen = new Set((place().get("layers")?.split(",") ?? ["segments", "proposals", "parts"]).filter((name) => names.includes(name)));
  const panels = element("div", { class: "layers" });
  const draw = () => panels.replaceChildren(...names.filter((name) => chosen.has(name)).map((name) => panel(run, photograph, name)));
  const toggles = names.map((name) => element("button", {
    type: "button", class: "toggle", "aria-pressed": String(chosen.has(name)),
    onclick: ({ currentTarget }) => {
      if (!chosen.delete(name)) chosen.add(name);
      currentTarget.setAttribute("aria-pressed", String(chosen.has(name)));
      place({ layers: [...chosen].join(",") }, { replace: true });
      draw();
    },
  }, TITLES[name]));
  const to = (number) => (event) => { event.preventDefault(); place({ photograph: number }); };
  const classes = [...new Set(photograph.layers.parts.map((region) => region.category))];
  within.append(
    crumbs(element("a", { href: "#" }, "All classes"),
      ...classes.map((category) => element("a", { href: `#${new URLSearchParams({ class: category })}` }, bdi(category)))),
    element("div", { class: "row spread" },
      element("h1", {}, bdi(photograph.file)),
      element("div", { class: "row" },
        image > 0 ? element("a", { class: "button", href: `#photograph=${image - 1}`, onclick: to(image - 1) }, "← Previous") : null,
        image + 1 < photograph.images ? element("a", { class: "button", href: `#photograph=${image + 1}`, onclick: to(image + 1) }, "Next →") : null)),
    photograph.reason ? element("p", { class: "soft" }, photograph.reason) : "",
    element("div", { class: "row", role: "group", "aria-label": "Layers" }, toggles),
    panels);
  draw();
}

function panel(run, photograph, name) {
  const regions = photograph.layers[name];
  const said = element("p", { class: "soft said", role: "status" }, regions.length ? "Point at one, or use the arrow keys." : "None.");
  const shapes = regions.map((region, index) => element("path", {
    d: region.path, class: `region ${colorOf(region.color)}`, role: "img", tabindex: index ? "-1" : "0", "aria-label": words(name, region, index),
  }));
  const show = (index) => {
    for (const [i, shape] of shapes.entries()) shape.classList.toggle("lit", i === index);
    said.replaceChildren(element("span", { class: `swatch ${colorOf(regions[index].color)}` }), " ", bdi(words(name, regions[index], index)));
  };
  shapes.forEach((shape, index) => {
    shape.addEventListener("pointerenter", () => show(index));
    shape.addEventListener("focus", () => show(index));
    shape.addEventListener("click", () => open(name, regions[index]));
    shape.addEventListener("keydown", (event) => {
      if (event.key === "Enter") open(name, regions[index]);
      const step = { ArrowRight: 1, ArrowDown: 1, ArrowLeft: -1, ArrowUp: -1 }[event.key];
      const next = step && shapes[index + step];
      if (!next) return;
      event.preventDefault();
      shape.setAttribute("tabindex", "-1");
      next.setAttribute("tabindex", "0");
      next.focus();
    });
  });
  const size = `0 0 ${photograph.width} ${photograph.height}`;
  return element("figure", { class: "layer" },
    element("figcaption", { class: "row spread" }, element("h2", {}, TITLES[name]), element("span", { class: "soft number" }, String(regions.length))),
    element("div", { class: "layered" },
      element("img", { src: pictureOf(run, photograph.of, "photograph", { number: photograph.image, color: 0 }), alt: photograph.file, width: photograph.width, height: photograph.height }),
      element("svg", { viewBox: size, role: "group", "aria-label": counted(regions.length, TITLES[name].toLowerCase(), TITLES[name].toLowerCase()) }, shapes)),
    said);
}

function words(name, region, index) {
  const percent = (share) => `${Math.round(100 * share)} %`;
  const what = {
    objects: region.category,
    segments: `segment ${index + 1} of ${region.category}`,
    proposals: `proposal ${index + 1} of ${region.category}`,
    parts: `${region.name ?? `part ${region.part}`} of ${region.category}`,
  }[name];
  const score = region.score === null ? "" : `, score ${percent(region.score)}`;
  return `${what}${score}${region.share === null ? "" : `, ${percent(region.share)} of its object`}`;
}

/** From a part to the others of its part class. */
function open(name, region) {
  if (name === "parts") place({ photograph: null, layers: null, class: region.category, part: region.part });
  else if (name === "objects") place({ photograph: null, layers: null, class: region.category });
}
