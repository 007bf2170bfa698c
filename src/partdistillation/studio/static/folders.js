// A dialog that goes through folders of the machine that the studio runs on.

import { attempt, bdi, counted, element, get, modal } from "./dom.js";

/** The path that is chosen: a folder, or with `files` ("json", "yaml") a file; null where none is. */
export function choosePath({ title, from, files = "" }) {
  return new Promise((resolve) => {
    const places = element("div", { class: "row" });
    const here = element("p", { class: "here", "aria-live": "polite" });
    const contents = element("div", { class: "stack" });
    const list = element("ul", { class: "folders" });
    const use = element("button", { class: "main", hidden: Boolean(files) }, "Use this folder");
    let chosen = null;
    const dialog = modal({ class: "chooser", "aria-labelledby": "choosing" }, [
      element("div", { class: "head" }, element("h2", { id: "choosing" }, title),
        element("button", { class: "quiet", onclick: () => dialog.close() }, "Close")),
      places, here, contents, list, element("p", { class: "row end" }, use),
    ], () => resolve(chosen));
    const choose = (path) => { chosen = path; dialog.close(); };

    async function go(folder) {
      const listing = await get(`/api/new/folders?${new URLSearchParams({ folder, files })}`);
      const open = (path, ...what) => element("button", { class: "folder", onclick: () => attempt(() => go(path)) }, ...what);
      places.replaceChildren(...listing.roots.map((root, place) =>
        element("button", { class: "quiet", onclick: () => attempt(() => go(root)) }, place ? "Studio’s folder" : "Home")));
      here.replaceChildren(bdi(listing.folder));
      const { count, all, examples } = listing.contents;
      contents.replaceChildren(
        files ? "" : element("p", { class: count ? "number" : "soft" }, count ? `${all ? "" : "more than "}${counted(count, "photograph")} in it` : all ? "No photographs in it" : "No photographs seen yet: it is large"),
        files || !examples.length ? "" : element("div", { class: "strip", role: "group", tabIndex: 0, "aria-label": "Some of them" }, examples.map((file) =>
          element("img", { src: `/api/new/thumbnail?${new URLSearchParams({ folder: listing.folder, file })}`, alt: file, loading: "lazy" }))));
      list.replaceChildren(
        ...(listing.above ? [element("li", {}, open(listing.above, "↑ ", "the folder above"))] : []),
        ...listing.folders.map(({ name, path, contents: inside }) => element("li", {}, open(path, bdi(name),
          inside?.count ? element("span", { class: "soft number" }, `${inside.all ? "" : "> "}${inside.count.toLocaleString("en")}`) : null))),
        ...listing.files.map(({ name, path }) => element("li", {}, element("button", { class: "folder file", onclick: () => choose(path) }, bdi(name)))));
      use.disabled = !files && !count && all && !listing.folders.length;
      use.onclick = () => choose(listing.folder);
      list.scrollTop = 0;
      (list.querySelector("button") ?? use).focus();
    }

    attempt(async () => {
      try { await go(from ?? ""); } catch { await go(""); }
    });
  });
}
