// Choosing a series: a box to search symbols in, and the timeframes that the symbol has.

import { element, share } from "./format.js";

const ORDER = ["1m", "3m", "5m", "15m", "30m", "1h", "2h", "4h", "6h", "12h", "1d", "1w", "1M"];
const MOST = 100;

export class Picker {
  constructor(input, list, timeframes, chosen) {
    Object.assign(this, { input, list, timeframes, chosen, series: [], current: null, active: -1 });
    input.addEventListener("focus", () => input.select());
    input.addEventListener("click", () => this.open(""));
    input.addEventListener("input", () => this.open(input.value));
    input.addEventListener("keydown", (event) => this.pressed(event));
    input.addEventListener("blur", () => this.close());
    list.addEventListener("pointerdown", (event) => event.preventDefault()); // keeps the focus
  }

  fill(series) {
    this.series = series;
    if (this.current) this.show(this.current);
  }

  // what is shown now, chosen here or elsewhere
  show(series) {
    this.current = series;
    this.input.value = series.symbol;
    const own = this.series.filter((one) => one.symbol === series.symbol && one.exchange === series.exchange);
    own.sort((a, b) => ORDER.indexOf(a.timeframe) - ORDER.indexOf(b.timeframe));
    const held = this.timeframes.contains(document.activeElement);
    this.timeframes.replaceChildren(...own.map((one) => this.segment(one)));
    if (held) this.timeframes.querySelector("[aria-checked=true]")?.focus();
  }

  segment(series) {
    const here = series.timeframe === this.current.timeframe;
    const made = element("button", series.timeframe);
    made.type = "button";
    made.setAttribute("role", "radio");
    made.setAttribute("aria-checked", String(here));
    made.tabIndex = here ? 0 : -1;
    made.addEventListener("click", () => this.chosen(series));
    made.addEventListener("keydown", (event) => {
      const by = { ArrowRight: 1, ArrowDown: 1, ArrowLeft: -1, ArrowUp: -1 }[event.key];
      if (!by) return;
      event.preventDefault();
      const all = [...this.timeframes.children];
      all[(all.indexOf(made) + by + all.length) % all.length].click();
    });
    return made;
  }

  // the symbols that match, each once with the exchange that has it
  matches(text) {
    const wanted = text.trim().toUpperCase();
    const found = new Map();
    for (const one of this.series) {
      const key = JSON.stringify([one.exchange, one.symbol]);
      if (one.symbol.toUpperCase().includes(wanted) && !found.has(key)) found.set(key, []);
      found.get(key)?.push(one);
    }
    return [...found.values()].slice(0, MOST);
  }

  open(text) {
    this.found = this.matches(text);
    const options = this.found.map((all, i) => {
      const option = element("li");
      option.id = `symbol-${i}`;
      option.setAttribute("role", "option");
      option.setAttribute("aria-selected", "false");
      const least = Math.min(...all.map((one) => one.coverage));
      option.append(element("span", all[0].symbol), element("small", `${all[0].exchange} · ${share(least)}`));
      option.addEventListener("click", () => this.take(i));
      return option;
    });
    this.list.replaceChildren(...(options.length ? options : [element("li", "No such symbol", "none")]));
    this.list.hidden = false;
    this.input.setAttribute("aria-expanded", "true");
    this.move(options.length && text ? 0 : -1);
  }

  close() {
    this.list.hidden = true;
    this.input.setAttribute("aria-expanded", "false");
    this.input.removeAttribute("aria-activedescendant");
    if (this.current) this.input.value = this.current.symbol;
  }

  move(to) {
    this.active = to;
    [...this.list.children].forEach((option, i) => option.setAttribute("aria-selected", String(i === to)));
    if (to < 0) return this.input.removeAttribute("aria-activedescendant");
    this.input.setAttribute("aria-activedescendant", `symbol-${to}`);
    this.list.children[to].scrollIntoView({ block: "nearest" });
  }

  take(i) {
    const all = this.found[i];
    const timeframe = this.current?.timeframe;
    this.close();
    this.chosen(all.find((one) => one.timeframe === timeframe) ?? all[0]);
  }

  pressed(event) {
    if (event.key === "Escape") return this.close();
    if (event.key === "Enter" && !this.list.hidden && this.active >= 0) return this.take(this.active);
    const by = { ArrowDown: 1, ArrowUp: -1 }[event.key];
    if (!by) return;
    event.preventDefault();
    if (this.list.hidden) return this.open("");
    if (this.found.length) this.move((this.active + by + this.found.length) % this.found.length);
  }
}
