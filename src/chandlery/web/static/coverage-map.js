// The coverage map: a row a series, time from left to right, a colour for what is known of each moment.

import { ask, names } from "./api.js";
import { day, duration, element, moment, share } from "./format.js";

const MEANING = {
  ".": ["outside", "not collected"], g: ["gap", "gap"], p: ["partly", "partly covered"],
  c: ["covered", "covered"], s: ["sealed", "covered, sealed"], r: ["retired", "dropped after its term"], q: ["quiet", "covered, no trades"],
};
const HEIGHT = 22;
const MOST_LISTED = 200;

export class CoverageMap {
  constructor(host, said, list, jump) {
    Object.assign(this, { host, said, list, jump, rows: [], active: 0, place: null, span: null, filter: "" });
    this.turn = 0;
    new ResizeObserver(() => this.resized()).observe(host);
  }

  // ask for the map again: all of the time, or the last so many milliseconds
  async load() {
    const turn = ++this.turn;
    const cells = Math.max(40, Math.min(800, Math.round(this.width() / 2)));
    const bounds = this.span ? { start: Date.now() - this.span, end: Date.now() } : {};
    const map = await ask("coverage", { cells, filter: this.filter, ...bounds });
    if (turn !== this.turn) return;
    this.map = map;
    this.build();
    this.lookForQuiet(turn);
  }

  width() {
    return this.host.querySelector("canvas")?.clientWidth || this.host.clientWidth * 0.7 || 600;
  }

  resized() {
    const now = this.host.clientWidth;
    if (this.map && now !== this.before) this.rows.forEach((row) => this.paint(row));
    this.before = now;
  }

  build() {
    const held = this.rows.findIndex((row) => row.canvas === document.activeElement);
    this.rows = this.map.rows.map((data, i) => this.row(data, i));
    this.active = Math.max(0, Math.min(this.active, this.rows.length - 1));
    const more = this.map.series - this.rows.length;
    const parts = [this.axis(), ...this.rows.map((row) => row.line)];
    if (more > 0) parts.push(element("p", `${more} more series: filter to see them.`, "note"));
    if (!this.rows.length) parts.push(element("p", "Nothing is stored under such a name.", "note"));
    this.host.replaceChildren(...parts);
    this.rows.forEach((row) => this.paint(row));
    this.rove();
    if (held >= 0) this.rows[this.active]?.canvas.focus();
    this.tell();
  }

  axis() {
    const line = element("div", "", "map-row map-axis");
    const strip = element("div", "", "ticks");
    const { start, end } = this.map;
    const ticks = this.host.clientWidth < 560 ? 2 : 5;
    for (let i = 0; i <= ticks; i++) {
      const at = start + ((end - start) * i) / ticks;
      const tick = element("span", end - start > 4 * 86_400_000 ? day(at) : moment(at));
      tick.style.left = `${(100 * i) / ticks}%`;
      tick.dataset.edge = i === 0 ? "first" : i === ticks ? "last" : "";
      strip.append(tick);
    }
    line.append(element("span"), strip, element("span"));
    line.setAttribute("aria-hidden", "true");
    return line;
  }

  row(data, i) {
    const line = element("div", "", "map-row"), canvas = element("canvas");
    const name = element("span", "", "map-name");
    name.append(element("span", data.symbol), element("b", data.timeframe));
    name.title = `${data.symbol} ${data.timeframe}, ${data.exchange}`;
    const row = { data, line, canvas, cells: data.cells };
    const gaps = data.gaps === 0 ? "no gap" : data.gaps === 1 ? "one gap" : `${data.gaps} gaps`;
    canvas.setAttribute("role", "slider");
    canvas.setAttribute("aria-label", `${data.symbol} ${data.timeframe}, ${share(data.coverage)} covered, ${gaps}`);
    canvas.setAttribute("aria-valuemin", "0");
    canvas.setAttribute("aria-valuemax", String(this.map.cells - 1));
    canvas.addEventListener("pointermove", (event) => this.point(i, this.cellAt(canvas, event)));
    canvas.addEventListener("click", (event) => this.go(i, this.cellAt(canvas, event)));
    canvas.addEventListener("focus", () => this.point(i, this.place ?? this.map.cells - 1));
    canvas.addEventListener("keydown", (event) => this.pressed(event));
    line.append(name, canvas, element("span", share(data.coverage), `map-share ${data.gaps ? "bad" : ""}`));
    return row;
  }

  // quiet runs are found by reading candles: a row at a time, where that is no great matter
  async lookForQuiet(turn) {
    const { start, end, cells } = this.map;
    for (const row of this.rows.slice(0, 40)) {
      if (turn !== this.turn) return;
      const known = row.data.known;
      if (!known || known[1] <= start || known[0] >= end) continue;
      const span = { start: Math.max(start, known[0]), end: Math.min(end, known[1]) };
      const runs = await ask("quiet", { ...names(row.data), ...span });
      if (!runs || !runs.length || turn !== this.turn) continue;
      const letters = [...row.cells];
      for (const [from, to] of runs) {
        const first = Math.floor(((from - start) / (end - start)) * cells);
        const last = Math.min(cells - 1, Math.floor(((to - 1 - start) / (end - start)) * cells));
        for (let i = Math.max(0, first); i <= last; i++) if ("cs".includes(letters[i])) letters[i] = "q";
      }
      row.cells = letters.join("");
      this.paint(row);
    }
  }

  paint({ canvas, cells }) {
    const style = getComputedStyle(document.documentElement);
    const scale = window.devicePixelRatio || 1, width = canvas.clientWidth;
    canvas.width = Math.round(width * scale);
    canvas.height = Math.round(HEIGHT * scale);
    const ink = canvas.getContext("2d"), each = canvas.width / cells.length;
    for (let i = 0; i < cells.length; ) {
      let end = i;
      while (end < cells.length && cells[end] === cells[i]) end++;
      const [kind] = MEANING[cells[i]];
      const left = Math.round(i * each), wide = Math.max(1, Math.round(end * each) - left);
      ink.fillStyle = style.getPropertyValue(`--map-${kind}`);
      ink.fillRect(left, 0, wide, canvas.height);
      if (kind === "gap" || kind === "partly") hatch(ink, left, wide, canvas.height, scale, style.getPropertyValue("--surface"));
      if (kind === "sealed") {
        ink.fillStyle = style.getPropertyValue("--map-sealed-edge");
        ink.fillRect(left, canvas.height - 4 * scale, wide, 4 * scale);
      }
      i = end;
    }
    const row = this.rows[this.active];
    if (row && row.canvas === canvas && this.place !== null) {
      ink.fillStyle = style.getPropertyValue("--text");
      ink.fillRect(Math.round((this.place + 0.5) * each - scale), 0, 2 * scale, canvas.height);
    }
  }

  cellAt(canvas, event) {
    const box = canvas.getBoundingClientRect();
    return Math.max(0, Math.min(this.map.cells - 1, Math.floor(((event.clientX - box.left) / box.width) * this.map.cells)));
  }

  times(cell) {
    const { start, end, cells } = this.map;
    return [start + ((end - start) * cell) / cells, start + ((end - start) * (cell + 1)) / cells];
  }

  point(i, cell) {
    const before = this.rows[this.active];
    this.active = i;
    this.place = cell;
    if (before && before !== this.rows[i]) this.paint(before);
    const row = this.rows[i], [from, to] = this.times(cell);
    this.paint(row);
    this.rove();
    const said = `${row.data.symbol} ${row.data.timeframe}, ${moment(from)} to ${moment(to)}: ${MEANING[row.cells[cell]][1]}`;
    row.canvas.setAttribute("aria-valuenow", String(cell));
    row.canvas.setAttribute("aria-valuetext", said);
    this.said.textContent = said;
  }

  rove() {
    this.rows.forEach((row, i) => (row.canvas.tabIndex = i === this.active ? 0 : -1));
  }

  pressed(event) {
    const far = Math.max(1, Math.round(this.map.cells / 20));
    const sideways = { ArrowLeft: -1, ArrowRight: 1, PageUp: -far, PageDown: far, Home: -Infinity, End: Infinity }[event.key];
    const down = { ArrowUp: -1, ArrowDown: 1 }[event.key];
    if (event.key === "Enter" || event.key === " ") this.go(this.active, this.place);
    else if (sideways) this.point(this.active, Math.max(0, Math.min(this.map.cells - 1, this.place + sideways)));
    else if (down) this.rows[Math.max(0, Math.min(this.rows.length - 1, this.active + down))].canvas.focus();
    else return;
    event.preventDefault();
  }

  go(i, cell) {
    this.point(i, cell);
    const { data } = this.rows[i], [from, to] = this.times(cell);
    const gap = data.gap_spans.find(([start, end]) => start < to && end > from);
    this.jump(names(data), Math.round(gap ? Math.max(gap[0], from) : (from + to) / 2));
  }

  // the same in words
  tell() {
    const head = element("tr");
    ["series", "from", "to", "length"].forEach((name) => {
      const cell = element("th", name);
      cell.scope = "col";
      head.append(cell);
    });
    const lines = this.rows.flatMap(({ data }) => data.gap_spans.map(([start, end]) => {
      const line = element("tr"), link = element("button", `${data.symbol} ${data.timeframe}`, "link"), first = element("td");
      link.type = "button";
      link.addEventListener("click", () => this.jump(names(data), start));
      first.append(link);
      line.append(first, ...[moment(start), moment(end), duration((end - start) / 1000)].map((text) => element("td", text)));
      return line;
    })).slice(0, MOST_LISTED);
    if (lines.length) this.list.replaceChildren(head, ...lines);
    else {
      const line = element("tr");
      line.append(element("td", "There is no gap in what is shown."));
      this.list.replaceChildren(line);
    }
  }
}

function hatch(ink, left, wide, height, scale, colour) {
  ink.save();
  ink.beginPath();
  ink.rect(left, 0, wide, height);
  ink.clip();
  ink.strokeStyle = colour;
  ink.globalAlpha = 0.45;
  ink.lineWidth = 1.5 * scale;
  ink.beginPath();
  const step = 6 * scale;
  for (let x = Math.floor((left - height) / step) * step; x < left + wide; x += step) {
    ink.moveTo(x, height);
    ink.lineTo(x + height, 0);
  }
  ink.stroke();
  ink.restore();
}

