/* What a dialogue is like as a whole: exchanges, transitions, shares, and its course. */

import { h } from "../core/dom.js";
import { findHue, findLabel, nameGroup } from "../core/labels.js";
import { percent, t } from "../core/words.js";
import { makeShares } from "./bars.js";
import { makeHeatMap, makeStrip } from "./figures.js";

/** The card with the course of the dialogue. */
export function makeCourse(task, turns) {
  const told = turns.map((turn) => ({
    ...turn, hue: turn.prediction && findHue(task, findLabel(task, turn.prediction.label).group),
  }));
  const groups = task.groups.map((group) => {
    const part = turns.filter((turn) => turn.prediction?.group === group).length;
    return t("dialogue.course.part", { move: nameGroup(group), turns: part });
  });
  return h("section", { class: "card" },
    h("h2", {}, t("dialogue.course")),
    makeStrip({ turns: told, title: t("dialogue.course"), description: groups.join(" ") }),
    h("ul", { class: "legend" }, task.groups.map((group) =>
      h("li", { class: "tag", "data-hue": findHue(task, group) }, nameGroup(group)))));
}

/** The cards beside the transcript; `structure` as the service computes it. */
export function makeStructure(structure, onShow) {
  return [makeExchanges(structure, onShow), makeTransitions(structure), makeTalk(structure)];
}

function makeExchanges({ exchanges, complete_exchange_share: share }, onShow) {
  return h("section", { class: "card" },
    h("h2", {}, t("dialogue.exchanges")),
    h("p", { class: "quiet" }, t("dialogue.exchanges.note", { number: exchanges.length, share: percent(share) })),
    h("ol", { class: "exchanges", tabindex: "0", "aria-label": t("dialogue.exchanges") }, exchanges.map((each) => h("li", {},
      h("a", { href: `#turn-${each.first + 1}`, on: { click: (event) => {
        event.preventDefault();
        onShow(each.first);
      } } },
      h("span", { class: "pattern" }, each.pattern),
      h("span", {}, t("dialogue.turns", { first: each.first + 1, last: each.last + 1 })),
      each.complete && h("span", { class: "quiet" }, t("dialogue.complete")))))));
}

function makeTransitions({ transitions }) {
  const names = transitions.moves.map(nameGroup);
  const told = transitions.counts.flatMap((row, i) => row.map((number, j) =>
    number ? t("dialogue.transition", { from: names[i], to: names[j], number }) : null)).filter(Boolean);
  return h("section", { class: "card" },
    h("h2", {}, t("dialogue.transitions")),
    h("p", { class: "note" }, t("dialogue.transitions.note")),
    makeHeatMap({ rows: names, columns: names, counts: transitions.counts, title: t("dialogue.transitions"), description: told.join(" "), cell: 78 }));
}

function makeTalk({ speakers }) {
  const rows = (field) => ["teacher", "student"].map((who) => ({
    name: t(`speaker.${who}`), share: speakers[who][field], hue: who === "teacher" ? "blue" : "green",
  }));
  return h("section", { class: "card" },
    h("h2", {}, t("dialogue.talk")),
    h("h3", {}, t("dialogue.talk.turns")), makeShares(rows("turn_share")),
    h("h3", {}, t("dialogue.talk.characters")), makeShares(rows("character_share")),
    speakers.teacher.question_share !== null && [h("h3", {}, t("dialogue.talk.questions")), makeShares(rows("question_share"))]);
}
