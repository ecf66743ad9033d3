/* A tutoring dialogue: pasted as a transcript, or typed turn by turn over the live socket. */

import { explain, patiently, postJson, RequestError } from "../core/api.js";
import { h, put } from "../core/dom.js";
import { percent, t } from "../core/words.js";
import { guessSpeakers, makeFile, readTranscript } from "../core/transcript.js";
import { makeLiveCard } from "../parts/live_card.js";
import { makePriorSwitch } from "../parts/prior.js";
import { makeCourse, makeStructure } from "../parts/structure.js";
import { makeTaskChoice } from "../parts/task_choice.js";
import { makeTranscript } from "../parts/transcript.js";
import { openFile } from "./file.js";

const EXAMPLE = `师：八分之六怎么约分？
生：同时除以二，等于四分之三。
师：没错，很好。那十二分之八呢？
生：嗯……不会。
师：想一想，八和十二都能被几整除？
生：四。
师：对，所以上下都除以四，就得到三分之二。
生：明白了。
师：今天网络有点卡，听得清吗？
生：听得清。`;
const state = { task: "", way: "paste", text: "", roles: {}, prior: "estimate", turns: [], structure: null, message: null };

export function draw(main, tasks) {
  const served = tasks.filter((each) => each.kind === "dialogue-turn");
  if (!served.length) {
    put(main, h("h1", { tabindex: "-1" }, t("dialogue.title")), h("p", { class: "notice" }, t("dialogue.none")));
    return;
  }
  const task = served.find((each) => each.task === state.task) ?? served[0];
  const redraw = () => draw(main, tasks);
  const result = h("div", { class: "result" });
  put(main,
    h("h1", { tabindex: "-1" }, t("dialogue.title")),
    h("p", { class: "lead" }, t("dialogue.lead")),
    makeTaskChoice("dialogue-task", served, task, (name) => {
      state.task = name;
      startAnew();
      redraw();
    }),
    makeWays(redraw),
    state.way === "paste" ? makePasteCard(task, result) : makeLiveCard(task, state, result, (way) => label(task, result, way)),
    result);
  drawResult(task, result);
}

function makeWays(redraw) {
  return h("div", { class: "actions ways", role: "group", "aria-label": t("dialogue.way") },
    ["paste", "live"].map((way) => h("button", {
      type: "button", id: `way-${way}`, "aria-pressed": String(state.way === way), class: state.way === way && "primary",
      on: { click: () => {
        if (state.way === way) return;
        state.way = way;
        startAnew();
        redraw();
        document.getElementById(`way-${way}`).focus();
      } },
    }, t(`dialogue.way.${way}`))));
}

function startAnew() {
  state.live?.leave();
  Object.assign(state, { live: null, turns: [], structure: null, message: null });
}

function makePasteCard(task, result) {
  const names = h("div");
  const input = h("textarea", { id: "transcript", rows: "8", lang: "zh-CN", value: state.text, placeholder: t("dialogue.placeholder"),
    on: { input: () => { state.text = input.value; drawNames(names); } } });
  drawNames(names);
  return h("form", { class: "card", on: { submit: (event) => { event.preventDefault(); labelPasted(task, result); } } },
    h("div", { class: "field" }, h("label", { for: "transcript" }, t("dialogue.text")), input,
      h("p", { class: "note" }, t("dialogue.text.note"))),
    names,
    makePriorSwitch(["estimate", "uniform", "training"], state.prior, (prior) => {
      state.prior = prior;
      if (state.turns.length) labelPasted(task, result);
    }),
    h("div", { class: "actions" },
      h("button", { type: "submit", class: "primary" }, t("dialogue.ask")),
      h("button", { type: "button", on: { click: () => {
        input.value = state.text = EXAMPLE;
        drawNames(names);
        labelPasted(task, result);
      } } }, t("dialogue.example"))));
}

/** The small mapping: a choice for each name that stands in the transcript. */
function drawNames(place) {
  const found = [...new Set(readTranscript(state.text).map((turn) => turn.name))].filter(Boolean);
  const guesses = guessSpeakers(found);
  state.roles = Object.fromEntries(found.map((name) => [name, state.roles[name] ?? guesses[name]]));
  if (!found.length) return put(place);
  return put(place, h("fieldset", {}, h("legend", {}, t("dialogue.names")), h("div", { class: "names" },
    found.slice(0, 20).map((name) => h("label", {}, name, h("select", { on: { change: (event) => { state.roles[name] = event.target.value; } } },
      ["teacher", "student"].map((role) => h("option", { value: role, selected: state.roles[name] === role }, t(`speaker.${role}`)))))))));
}

function labelPasted(task, result) {
  const read = readTranscript(state.text);
  state.turns = read.map(({ name, text }) => ({ name, text, speaker: state.roles[name] ?? "teacher" }));
  return label(task, result);
}

/** Ask for the labels and the structure of all turns. */
async function label(task, result) {
  if (!state.turns.length) {
    state.message = t("dialogue.empty");
    return drawResult(task, result);
  }
  const { turns } = state;
  Object.assign(state, { message: null, structure: null });
  result.setAttribute("aria-busy", "true");
  try {
    const body = { turns: turns.map(({ speaker, text }) => ({ speaker, text })) };
    const answer = await patiently(() => postJson(`v1/classify/dialogue?task=${task.task}&prior=${state.prior}`, body), {
      mostTries: 8,
      onWait: (error) => put(result, h("p", { class: "notice warn", role: "status" }, explain(error), " ", t("error.waiting"))),
    });
    answer.turns.forEach((each, index) => Object.assign(turns[index], {
      prediction: each.prediction, final: true, error: each.error && t("dialogue.failed"),
    }));
    state.structure = answer.structure;
  } catch (error) {
    if (!(error instanceof RequestError)) throw error;
    state.message = explain(error);
  }
  result.removeAttribute("aria-busy");
  if (turns === state.turns) drawResult(task, result);
}

function drawResult(task, result) {
  if (state.message) return put(result, h("p", { class: "notice bad", role: "alert" }, state.message));
  const { turns } = state;
  if (!turns.some((turn) => turn.prediction)) return put(result);
  const doubtful = turns.map((turn, index) => (turn.prediction?.needs_review ? index : -1)).filter((index) => index >= 0);
  const list = makeTranscript(task, turns);
  const show = (index) => {
    list.querySelector(".shown")?.classList.remove("shown");
    const item = list.children[index];
    item.classList.add("shown");
    item.scrollIntoView({ block: "center" });
  };
  let next = 0;
  return put(result,
    makeCourse(task, turns),
    h("div", { class: "columns wide-left" },
      h("section", { class: "card" },
        h("h2", {}, t("dialogue.transcript")),
        h("p", { class: "quiet", role: "status" }, t("dialogue.summary", { turns: turns.length, doubtful: doubtful.length, share: percent(doubtful.length / turns.length) })),
        h("p", { class: "options" },
          doubtful.length > 0 && h("button", { type: "button", class: "small", id: "next-doubtful", on: { click: () => {
            show(doubtful[next % doubtful.length]);
            next += 1;
          } } }, t("dialogue.next")),
          h("button", { type: "button", class: "small", id: "to-file", on: { click: () => {
            addEventListener("hashchange", () => openFile(makeFile(turns)), { once: true });
            location.hash = "#/file";
          } } }, t("dialogue.file"))),
        list),
      h("div", {}, state.structure ? makeStructure(state.structure, show) : null)));
}
