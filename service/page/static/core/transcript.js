/* A pasted transcript → turns, each with the name as it stands there. */

const LINE = /^\s*(?:[[(（【]?\d{1,2}(?::\d{2}){1,2}(?:[.,]\d+)?[\])）】]?\s*)?([^:：\s][^:：]{0,23}?)\s*[:：]\s*(.*)$/u;
const TEACHERS = new Set(["t", "teacher", "tutor", "师", "老师", "教师"]);
const STUDENTS = new Set(["s", "ss", "student", "students", "pupil", "生", "学生", "同学"]);

/** Turns with `name` and `text`; a line without a name goes on with the turn before. */
export function readTranscript(text) {
  const turns = [];
  for (const line of text.split(/\r?\n/)) {
    if (!line.trim()) continue;
    const found = LINE.exec(line);
    if (found) turns.push({ name: found[1].trim(), text: found[2].trim() });
    else if (turns.length) turns.at(-1).text = `${turns.at(-1).text} ${line.trim()}`.trim();
    else turns.push({ name: "", text: line.trim() });
  }
  return turns.filter((turn) => turn.text);
}

/** The turns as a file, for the view of files. */
export function makeFile(turns) {
  const quote = (text) => `"${text.replaceAll('"', '""')}"`;
  const lines = turns.map(({ name, speaker, text }) => `${quote(name || speaker)},${quote(text)}`);
  return new File([`speaker,text\r\n${lines.join("\r\n")}\r\n`], "dialogue.csv", { type: "text/csv" });
}

/** Who is who: known names, else the one who speaks first is taken for the teacher. */
export function guessSpeakers(names) {
  const known = new Map();
  for (const name of names) {
    const plain = name.toLowerCase();
    if (TEACHERS.has(plain) || /老师|teacher|tutor/i.test(name)) known.set(name, "teacher");
    else if (STUDENTS.has(plain) || /^(学生|student|pupil)/i.test(name)) known.set(name, "student");
  }
  const hasTeacher = [...known.values()].includes("teacher");
  const hasStudent = [...known.values()].includes("student");
  return Object.fromEntries([...names].map((name, index) => {
    const guess = hasTeacher ? "student" : hasStudent || index === 0 ? "teacher" : "student";
    return [name, known.get(name) ?? guess];
  }));
}
