// Photographs on their way from the visitor's disk, and times in words.

import { send } from "./dom.js";

const PHOTOGRAPH = /\.(jpe?g?|jfif|jif|pjpe?g?|png|webp|bmp|dib|tiff?|gif|avif|heic|heif|hif)$/i;
const AT_ONCE = 3;

/** "about 12 min": never more certain than it is. */
export function about(seconds) {
  if (seconds < 50) return "less than a minute";
  if (seconds < 5400) return `about ${Math.round(seconds / 60)} min`;
  if (seconds < 172800) return `about ${(seconds / 3600).toFixed(1).replace(/\.0$/, "")} hours`;
  return `about ${Math.round(seconds / 86400)} days`;
}

/** What was dropped, folders gone through: [{ file, path }]. */
export async function dropped(transfer) {
  const entries = [...transfer.items].map((item) => item.webkitGetAsEntry?.()).filter(Boolean);
  if (!entries.length) return [...transfer.files].map((file) => ({ file, path: file.name }));
  const files = [];
  for (const entry of entries) await walk(entry, "", files);
  return files;
}

async function walk(entry, above, files) {
  const path = above + entry.name;
  if (entry.isFile) {
    const file = await new Promise((resolve) => { entry.file(resolve, () => resolve(null)); });
    if (file) files.push({ file, path });
    return;
  }
  const reader = entry.createReader();
  for (;;) {
    const entries = await new Promise((resolve) => { reader.readEntries(resolve, () => resolve([])); });
    if (!entries.length) return;
    for (const child of entries) await walk(child, `${path}/`, files);
  }
}

/** The class and the name of a file by its path: photos/car/a/1.jpg is a car, a-1.jpg. */
export function placed(path, single) {
  const folders = path.split("/");
  const name = folders.pop();
  if (!folders.length) return { category: single, name };
  const [category, ...rest] = folders.length > 1 ? folders.slice(1) : folders;
  return { category, name: [...rest, name].join("-") };
}

/** Send files, a few at once, until a signal ends it. */
export async function sendAll(files, { draft, single, most, signal }, progress, refuse) {
  const photographs = files.filter(({ path }) => PHOTOGRAPH.test(path) && !path.split("/").some((part) => part.startsWith(".")));
  const counts = { kept: 0, refused: 0, others: files.length - photographs.length };
  const queue = photographs.slice(0, most);
  if (photographs.length > most) refuse(`${photographs.length - most} more`, `at most ${most.toLocaleString("en")} at once: choose a folder of this machine for more`);
  let sent = 0;
  progress(sent, queue.length);
  const one = async ({ file, path }) => {
    const { category, name } = placed(path, single);
    try {
      await send("/api/new/photographs/upload", file, { draft, category, name });
      counts.kept += 1;
    } catch (error) {
      counts.refused += 1;
      refuse(path, error.message);
      if (error.status === 404 || error.status === undefined) queue.length = 0;
    }
    progress(++sent, sent + queue.length);
  };
  await Promise.all(Array.from({ length: AT_ONCE }, async () => {
    while (queue.length && !signal.aborted) await one(queue.shift());
  }));
  return counts;
}
