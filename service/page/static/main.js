/* The frame of the page: bar, language, theme, and the view that the address names. */

import { explain, RequestError } from "./core/api.js";
import { applyTheme, findTheme, switchTheme } from "./core/choices.js";
import { h, put } from "./core/dom.js";
import { loadTasks } from "./core/labels.js";
import { applyLanguage, chooseLanguage, findLanguage, t } from "./core/words.js";
import * as dialogue from "./views/dialogue.js";
import * as file from "./views/file.js";
import * as model from "./views/model.js";
import * as problem from "./views/problem.js";

const VIEWS = { problem, dialogue, file, model };
const main = h("main", { id: "main", tabindex: "-1" });
const bar = h("header", { class: "bar" });
const footer = h("footer");
let drawn = 0;

function findView() {
  const name = location.hash.replace(/^#\/?/, "").split("/")[0];
  return name in VIEWS ? name : "problem";
}

function drawBar() {
  const current = findView();
  const links = Object.keys(VIEWS).map((name) =>
    h("a", { href: `#/${name}`, "aria-current": name === current && "page" }, t(`nav.${name}`)));
  const other = findLanguage() === "zh" ? "en" : "zh";
  const theme = findTheme() === "dark" ? "light" : "dark";
  put(bar, h("div", { class: "bar-inner" },
    h("a", { class: "brand", href: "#/problem" }, h("img", { src: "page/icon.svg", alt: "" }), "NCAL Serve"),
    h("nav", { "aria-label": t("nav.label") }, links),
    h("div", { class: "switches" },
      h("button", { type: "button", lang: other === "zh" ? "zh-CN" : "en", id: "language",
        on: { click: () => { chooseLanguage(other); redraw("language"); } } },
      other === "zh" ? "中文" : "English"),
      h("button", { type: "button", id: "theme",
        on: { click: () => { switchTheme(); redraw("theme"); } } }, t(`theme.${theme}`)))));
  put(footer, t("footer.private"), " ", h("a", { href: "docs" }, t("footer.api")));
}

/** Draw everything in the chosen language; the focus goes back to the switch it came from. */
function redraw(focused) {
  drawBar();
  drawView();
  document.getElementById(focused)?.focus();
}

async function drawView() {
  const name = findView();
  const turn = (drawn += 1);
  document.title = `${t(`nav.${name}`)} · NCAL Serve`;
  try {
    const tasks = await loadTasks(() => {
      if (turn === drawn) put(main, h("p", { class: "notice warn", role: "status" }, t("error.starting")));
    });
    if (turn === drawn) VIEWS[name].draw(main, tasks);
  } catch (error) {
    if (!(error instanceof RequestError)) throw error;
    put(main, h("div", { class: "notice bad", role: "alert" }, h("p", {}, explain(error)),
      h("button", { type: "button", on: { click: drawView } }, t("error.again"))));
  }
}

addEventListener("hashchange", async () => {
  drawBar();
  await drawView();
  main.querySelector("h1")?.focus();
  scrollTo(0, 0);
});

applyTheme();
applyLanguage();
const skip = h("a", { class: "skip", href: "#main", on: { click: (event) => {
  event.preventDefault();
  main.focus();
} } }, t("nav.skip"));
document.body.append(skip, bar, main, footer);
drawBar();
drawView();
