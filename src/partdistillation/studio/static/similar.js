// More like this: the parts most similar to one, of its object class or of all.

import { apiOf, bdi, colorOf, counted, element, get } from "./dom.js";
import { Examples, gallery, nameOf, pictureOf, place } from "./gallery.js";
import { crumbs } from "./parts.js";

export async function showSimilar(within, run, number) {
  const asked = await get(`${apiOf(run)}/look/part?number=${number}`);
  const everywhere = place().has("everywhere");
  const query = new URLSearchParams({ number, ...(everywhere ? { everywhere: true } : {}) });
  const answer = await get(`${apiOf(run)}/look/similar?${query}`);
  const examples = new Examples(async () => ({ ...answer, total: answer.tiles.length }));
  await examples.more(answer.tiles.length);

  const label = (tile, index) => `${nameOf(tile)} of ${tile.category}, ${index + 1} of ${examples.total}, similarity ${percent(tile)}`;
  const caption = (tile) => element("p", { class: `under ${colorOf(tile.part ?? tile.color)}` },
    element("span", { class: "swatch" }),
    element("span", { class: "under-name" }, bdi(everywhere ? `${tile.category} · ${nameOf(tile)}` : nameOf(tile))),
    element("span", { class: "soft number" }, percent(tile)));
  const all = element("input", { type: "checkbox", id: "everywhere", checked: everywhere, onchange: () => place({ everywhere: all.checked ? 1 : null }) });
  const list = gallery(run, examples, { label, caption });
  const same = answer.tiles.filter((tile) => tile.part === asked.part && tile.category === asked.category).length;
  within.append(
    crumbs(element("a", { href: "#" }, "All classes"),
      element("a", { href: `#${new URLSearchParams({ class: asked.category })}` }, bdi(asked.category)),
      asked.part === null ? "" : element("a", { href: `#${new URLSearchParams({ class: asked.category, part: asked.part })}` }, bdi(nameOf(asked)))),
    element("div", { class: "asked" },
      element("img", { class: colorOf(asked.color), src: pictureOf(run, asked.of, "tile", asked), alt: nameOf(asked) }),
      element("div", { class: "stack" },
        element("h1", {}, "More like this"),
        element("p", {}, `${same} of these ${counted(answer.tiles.length, "part")} are `, bdi(nameOf(asked)), " themselves."),
        element("label", { class: "switch" }, all, "In all object classes"),
        element("a", { href: `#photograph=${asked.image}` }, "This photograph"))),
    list);
}

const percent = (tile) => `${Math.round(100 * tile.similarity)} %`;
