/* A dialogue over the live socket: turns out, labels in, and on again after a lost connection. */

import { makeProtocols } from "./key.js";

const PING_EVERY_MS = 60_000;

/** Talks to the service; `onLabel(index, prediction, isFinal)`, `onError(index, error)`,
    `onState("open" | "lost" | "ended")`. An index is that of `say`. */
export class LiveDialogue {
  constructor({ task, prior, onLabel, onError, onState }) {
    Object.assign(this, { task, prior, onLabel, onError, onState });
    this.said = 0;
    this.turns = []; // those that the service has not refused, each with its index
    this.finals = new Set();
    this.isEnding = false;
    this.tries = 0;
    this.open();
  }

  /** Say a turn; returns its index. */
  say(turn) {
    this.turns.push({ turn, index: this.said });
    this.post({ type: "turn", ...turn });
    this.said += 1;
    return this.said - 1;
  }

  /** The dialogue is over: the last labels become final. */
  end() {
    this.isEnding = true;
    this.post({ type: "end" });
  }

  /** Leave without waiting for anything. */
  leave() {
    this.isGone = true;
    clearTimeout(this.retry);
    this.socket.close();
  }

  open() {
    const address = new URL(`v1/classify/dialogue/live?task=${this.task}&prior=${this.prior}`, document.baseURI);
    address.protocol = address.protocol.replace("http", "ws");
    this.socket = new WebSocket(address, makeProtocols());
    this.socket.addEventListener("message", (event) => this.hear(JSON.parse(event.data)));
    this.socket.addEventListener("close", () => this.lose());
    this.ping ??= setInterval(() => this.post({ type: "ping" }), PING_EVERY_MS);
  }

  post(message) {
    if (this.socket.readyState === WebSocket.OPEN) this.socket.send(JSON.stringify(message));
  }

  hear(message) {
    if (message.type === "ready") {
      this.tries = 0;
      this.resume();
      this.onState("open");
    } else if (message.type === "label") {
      if (message.final) this.finals.add(message.index);
      this.onLabel(this.turns[message.index].index, message.prediction, message.final);
    } else if (message.type === "error") {
      if (message.final) this.finals.add(message.index);
      this.onError(this.turns[message.index]?.index, message.error);
      if (message.taken === false) this.turns.splice(message.index, 1); // the next one has its index
    } else if (message.type === "end" && message.reason === "end") {
      this.isGone = true;
      this.onState("ended");
    }
  }

  /** Say again, with what came before, whatever has no final label. */
  resume() {
    let first = 0;
    while (this.finals.has(first)) first += 1;
    if (first > 0) {
      const previous = this.turns.slice(Math.max(0, first - 16), first).map(({ turn }) => turn);
      this.post({ type: "resume", index: first, previous });
    }
    for (const { turn } of this.turns.slice(first)) this.post({ type: "turn", ...turn });
    if (this.isEnding) this.post({ type: "end" });
  }

  lose() {
    if (this.isGone) {
      clearInterval(this.ping);
      return;
    }
    this.tries += 1;
    this.onState("lost");
    this.retry = setTimeout(() => this.open(), Math.min(5000, 500 * this.tries));
  }
}
