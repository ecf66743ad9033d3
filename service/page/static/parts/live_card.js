/* Typing a dialogue turn by turn: a provisional label at once, the final one with the next turn. */

import { h, put } from "../core/dom.js";
import { LiveDialogue } from "../core/live.js";
import { t } from "../core/words.js";
import { fillTurn } from "./transcript.js";

/** The card with the turns so far and the line to type in; `onEnd` asks for the structure. */
export function makeLiveCard(task, state, result, onEnd) {
  const list = h("ol", { class: "turns", "aria-live": "polite", "aria-label": t("dialogue.transcript") },
    state.structure ? [] : state.turns.map((turn, index) => fillTurn(h("li"), task, turn, index)));
  const note = h("p", { class: "note", role: "status" }, t("live.note"));
  const who = h("select", { id: "live-speaker", "aria-label": t("live.speaker") },
    ["teacher", "student"].map((role) => h("option", { value: role }, t(`speaker.${role}`))));
  const input = h("input", { type: "text", id: "live-text", lang: "zh-CN", autocomplete: "off", "aria-label": t("live.text"), placeholder: t("live.text") });
  const last = state.turns.at(-1);
  who.value = last?.speaker === "teacher" ? "student" : "teacher";

  const update = (index) => {
    if (list.children[index]) fillTurn(list.children[index], task, state.turns[index], index);
  };
  const connect = () => new LiveDialogue({
    task: task.task,
    prior: "uniform", // a dialogue that has just begun tells no mix
    onLabel: (index, prediction, final) => {
      Object.assign(state.turns[index], { prediction, final, error: null });
      state.live.update(index);
    },
    onError: (index) => {
      if (index === undefined) return;
      state.turns[index].error = t("dialogue.failed");
      state.live.update(index);
    },
    onState: (name) => state.live.tell(name),
  });
  const tell = (name) => {
    note.textContent = t(`live.${name}`);
    note.className = name === "lost" ? "notice warn" : "note";
    if (name === "ended") {
      state.live = null;
      put(list);
      onEnd();
    }
  };
  const say = () => {
    const text = input.value.trim();
    if (!text) return;
    if (state.structure) { // a dialogue that is over: the next turn begins another
      Object.assign(state, { turns: [], structure: null });
      put(result);
    }
    const turn = { speaker: who.value, text };
    state.turns.push({ ...turn });
    list.append(fillTurn(h("li"), task, state.turns.at(-1), state.turns.length - 1));
    state.live ??= connect();
    Object.assign(state.live, { update, tell });
    state.live.say(turn);
    input.value = "";
    who.value = who.value === "teacher" ? "student" : "teacher";
    input.focus();
  };
  if (state.live) Object.assign(state.live, { update, tell });

  return h("form", { class: "card", on: { submit: (event) => { event.preventDefault(); say(); } } },
    list, note,
    h("div", { class: "live-form" }, who, input, h("button", { type: "submit", class: "primary" }, t("live.say"))),
    h("div", { class: "actions" }, h("button", { type: "button", id: "live-end", on: { click: () => state.live?.end() } }, t("live.end"))));
}
