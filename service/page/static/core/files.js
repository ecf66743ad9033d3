/* Files to rows and rows to files, by the service; and what a person takes away. */

import { patiently, send } from "./api.js";

/** What the service reads in a file: columns, rows as texts, and which column is what. */
export async function readFile(file, sheet) {
  const form = new FormData();
  form.append("file", file, file.name);
  if (sheet) form.append("sheet", sheet);
  return (await patiently(() => send("files/read", { method: "POST", form }), { mostTries: 5 })).json();
}

/** The file with columns added beside its rows, in the format that it came in. */
export async function writeLabelled(file, { format, sheet }, names, rows) {
  const form = new FormData();
  form.append("file", file, file.name);
  if (sheet) form.append("sheet", sheet);
  return write(form, format, names, rows);
}

/** A file of its own from rows. */
export async function writeRows(format, base, names, rows) {
  const form = new FormData();
  form.append("base", JSON.stringify(base));
  return write(form, format, names, rows);
}

async function write(form, format, names, rows) {
  form.append("format", format);
  form.append("columns", JSON.stringify({ names, rows }));
  return (await patiently(() => send("files/write", { method: "POST", form }), { mostTries: 5 })).blob();
}

/** `lesson.xlsx` → `lesson.labelled.xlsx` */
export function renameFile(name, what) {
  const place = name.lastIndexOf(".");
  return place > 0 ? `${name.slice(0, place)}.${what}${name.slice(place)}` : `${name}.${what}`;
}

/** Have the browser save a blob. */
export function save(blob, name) {
  const link = document.createElement("a");
  link.href = URL.createObjectURL(blob);
  link.download = name;
  document.body.append(link);
  link.click();
  link.remove();
  setTimeout(() => URL.revokeObjectURL(link.href), 60_000);
}
