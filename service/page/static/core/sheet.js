/* The rows of a file as what the service labels: problems, or turns with their neighbours. */

import { guessSpeakers } from "./transcript.js";

/** The place of a column by its name; -1 without one. */
export function findColumn(read, name) {
  return name === null ? -1 : read.columns.indexOf(name);
}

/** Who is a teacher and who a student, by the names in the column. */
export function findRoles(read, mapping) {
  const column = findColumn(read, mapping.speaker);
  if (column < 0) return {};
  const names = [...new Set(read.rows.map((row) => (row[column] ?? "").trim()).filter(Boolean))];
  const guesses = guessSpeakers(names);
  return Object.fromEntries(names.map((name) => [name, mapping.speakers?.[name] ?? guesses[name]]));
}

/** For each row what is sent, or null where it holds no text. */
export function makeItems(read, mapping, roles, window) {
  const text = findColumn(read, mapping.text);
  const texts = read.rows.map((row) => (row[text] ?? "").trim());
  if (mapping.kind === "problems") return texts.map((each) => (each ? { text: each } : null));
  const [speaker, dialogue] = [findColumn(read, mapping.speaker), findColumn(read, mapping.dialogue)];
  const turns = read.rows.map((row, index) => texts[index] && {
    speaker: roles[(row[speaker] ?? "").trim()] ?? "student",
    text: texts[index],
    dialogue: dialogue < 0 ? "" : row[dialogue],
  });
  return turns.map((turn, index) => turn ? {
    speaker: turn.speaker,
    text: turn.text,
    previous: findNeighbours(turns, index, -1, window.previous).reverse(),
    following: findNeighbours(turns, index, 1, window.following),
  } : null);
}

function findNeighbours(turns, index, step, most) {
  const found = [];
  for (let place = index + step; turns[place] !== undefined && found.length < most; place += step) {
    const turn = turns[place];
    if (!turn) continue; // a row without text is no turn
    if (turn.dialogue !== turns[index].dialogue) break;
    found.push({ speaker: turn.speaker, text: turn.text });
  }
  return found;
}
