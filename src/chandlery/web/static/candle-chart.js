// The candle chart: loads as it is scrolled, marks gaps, and can be read with the keyboard.

import { ask, names } from "./api.js";
import { Bars } from "./bars.js";
import { amount, count, decimals, duration, element, moment, nextOpen } from "./format.js";

const FIRST_LOAD = 1000;
const LOAD = 4000;
const MOST_LOAD = 20000;
const NEAR = 200; // bars from an end at which more is loaded
const HOLES = {
  gap: "gap: not collected",
  retired: "no candle here: dropped after its term",
  empty: "no candle: the exchange has none",
};
const ROOM = 3; // empty bars at the right

const L = window.LightweightCharts;

export class CandleChart {
  constructor(host, legend, spoken, holes) {
    this.host = host;
    this.legend = legend;
    this.spoken = spoken;
    this.holes = holes;
    this.bars = new Bars();
    this.all = [];
    this.wished = this.usual = host.clientWidth < 560 ? 60 : 150;
    this.turn = 0; // grows with each series that is shown, so that late answers are recognised
    this.chart = L.createChart(host, {
      autoSize: true,
      layout: { attributionLogo: false, panes: { enableResize: false } },
      timeScale: { timeVisible: true, minBarSpacing: 0.01, rightOffset: ROOM, enableConflation: true },
      localization: { locale: "en", timeFormatter: (time) => `${moment(time * 1000)} UTC` },
      crosshair: { mode: L.CrosshairMode.Normal },
      rightPriceScale: { borderVisible: false, scaleMargins: { top: 0.08, bottom: 0.24 } },
    });
    this.marks = this.chart.addSeries(L.HistogramSeries, {
      priceScaleId: "marks", priceLineVisible: false, lastValueVisible: false,
      autoscaleInfoProvider: () => ({ priceRange: { minValue: 0, maxValue: 1 } }),
    });
    this.volume = this.chart.addSeries(L.HistogramSeries, {
      priceScaleId: "volume", priceFormat: { type: "volume" }, priceLineVisible: false, lastValueVisible: false,
    });
    this.candles = this.chart.addSeries(L.CandlestickSeries, { borderVisible: false });
    this.chart.priceScale("marks").applyOptions({ scaleMargins: { top: 0, bottom: 0 } });
    this.chart.priceScale("volume").applyOptions({ scaleMargins: { top: 0.8, bottom: 0 } });
    this.paint();
    this.chart.timeScale().subscribeVisibleLogicalRangeChange((range) => this.scrolled(range));
    this.chart.subscribeCrosshairMove((event) => this.pointed(event));
    host.addEventListener("keydown", (event) => this.pressed(event));
  }

  // take the colours from the style sheet
  paint() {
    const style = getComputedStyle(document.documentElement);
    const colour = (name) => style.getPropertyValue(`--${name}`).trim();
    this.colours = { up: colour("up-volume"), down: colour("down-volume"), gap: colour("gap-mark"), empty: colour("empty-mark") };
    this.chart.applyOptions({
      layout: { background: { color: colour("surface") }, textColor: colour("muted"), fontFamily: style.fontFamily },
      grid: { vertLines: { color: colour("grid") }, horzLines: { color: colour("grid") } },
      timeScale: { borderColor: colour("line") },
    });
    const [up, down] = [colour("up"), colour("down")];
    this.candles.applyOptions({ upColor: up, downColor: down, wickUpColor: up, wickDownColor: down });
    this.draw();
  }

  // show a series at its newest candles, or around the time `at`
  async show(series, at = null) {
    const turn = ++this.turn;
    performance.mark("asked");
    const wanted = Math.max(FIRST_LOAD, Math.ceil(this.wished * 1.2));
    const asked = at === null
      ? [this.load(series, { count: wanted })]
      : [this.load(series, { count: wanted, end: at }), this.load(series, { count: wanted, start: at })];
    const windows = await Promise.all(asked);
    if (turn !== this.turn) return;
    this.series = series;
    this.busy = false;
    this.bars.clear(windows[0].step_ms);
    windows.forEach((window) => this.bars.add(window));
    this.atStart = windows[0].open_time.length < wanted;
    this.atEnd = at === null || windows[1].open_time.length < wanted;
    this.format();
    this.draw();
    this.chart.priceScale("right").applyOptions({ autoScale: true });
    this.read(null);
    if (at === null) this.toEnd();
    else this.centre(at);
    performance.mark("drawn");
  }

  load(series, parameters) {
    return ask("candles", { ...names(series), ...parameters });
  }

  format() {
    const prices = this.bars.candles.slice(-300).flatMap((candle) => [candle.open, candle.close]);
    this.precision = prices.length ? decimals(prices) : 2;
    this.candles.applyOptions({
      priceFormat: { type: "price", precision: this.precision, minMove: 10 ** -this.precision },
    });
  }

  draw() {
    this.all = this.bars.drawn();
    const { up, down, gap, empty } = this.colours;
    this.candles.setData(this.all);
    this.volume.setData(this.all.map((bar) => bar.volume === undefined
      ? { time: bar.time } : { time: bar.time, value: bar.volume, color: bar.close >= bar.open ? up : down }));
    this.marks.setData(this.all.filter((bar) => bar.hole !== undefined)
      .map((bar) => ({ time: bar.time, value: 1, color: bar.hole === "gap" ? gap : empty })));
  }

  // draw again after bars came, with the same ones on the screen
  redraw() {
    const scale = this.chart.timeScale();
    const range = scale.getVisibleLogicalRange();
    const follows = range !== null && range.to >= this.all.length - 1;
    const anchor = range && this.all[Math.max(0, Math.min(this.all.length - 1, Math.round(range.from)))];
    const before = anchor ? this.place(anchor.at) : 0;
    const length = this.all.length;
    this.draw();
    if (!range) return;
    const moved = follows && this.atEnd && this.place(anchor.at) === before
      ? this.all.length - length : this.place(anchor.at) - before;
    scale.setVisibleLogicalRange({ from: range.from + moved, to: range.to + moved });
  }

  // where the bar that opens at a time stands, or the first one after it
  place(at) {
    let low = 0, high = this.all.length;
    while (low < high) {
      const middle = (low + high) >> 1;
      if (this.all[middle].at < at) low = middle + 1;
      else high = middle;
    }
    return low;
  }

  async scrolled(range) {
    if (!range || this.busy || !this.series || !this.all.length) return;
    const visible = range.to - range.from;
    const many = Math.min(MOST_LOAD, Math.max(LOAD, Math.round(visible / 4)));
    if (range.from < NEAR && !this.atStart) await this.more({ count: many, end: this.bars.first }, "atStart");
    else if (range.to > this.all.length - NEAR && !this.atEnd) {
      await this.more({ count: many, start: nextOpen(this.bars.last, this.bars.step) }, "atEnd");
    }
  }

  async more(parameters, end) {
    const turn = this.turn;
    this.busy = true;
    try {
      const window = await this.load(this.series, parameters);
      if (turn !== this.turn) return;
      this[end] = window.open_time.length < parameters.count;
      this.bars.add(window);
      this.redraw();
      this.read(this.reading && this.all[this.place(this.reading.at)]);
    } finally {
      if (turn === this.turn) this.busy = false;
    }
  }

  // candles were stored: take over what is new at the end
  async refresh() {
    if (!this.series || this.busy || !this.atEnd || this.bars.last === null) return;
    const length = this.bars.candles.length, last = this.bars.candles[length - 1];
    await this.more({ count: MOST_LOAD, start: this.bars.last }, "atEnd");
    const now = this.bars.candles[this.bars.candles.length - 1];
    if (now.at !== last.at || now.close !== last.close) this.host.dataset.updated = String(now.at);
  }

  // bars of the past came or changed: show the same place again
  again() {
    if (!this.series) return Promise.resolve();
    const range = this.chart.timeScale().getVisibleLogicalRange();
    const middle = range && this.all[Math.max(0, Math.min(this.all.length - 1, Math.round((range.from + range.to) / 2)))];
    return this.show(this.series, this.atEnd && range && range.to >= this.all.length - 1 ? null : middle?.at ?? null);
  }

  toEnd() {
    const shown = Math.min(this.wished, Math.max(this.usual, this.all.length));
    this.range(this.all.length - shown, this.all.length + ROOM);
  }

  centre(at) {
    const place = this.place(at), half = this.usual / 2;
    this.range(place - half, place + half);
    this.read(this.all[Math.min(place, this.all.length - 1)]);
  }

  range(from, to) {
    this.chart.timeScale().setVisibleLogicalRange({ from, to });
  }

  // so many bars on the screen, ending where it ends now
  async zoom(wished) {
    this.wished = wished;
    if (!this.series) return;
    if (wished > this.all.length && !this.atStart) {
      performance.mark("asked");
      await this.more({ count: Math.min(MOST_LOAD, wished - this.bars.candles.length), end: this.bars.first }, "atStart");
    }
    const range = this.chart.timeScale().getVisibleLogicalRange();
    const shown = Math.min(wished, Math.max(this.usual, this.all.length));
    const end = Math.max(shown + ROOM, Math.min(range ? range.to : Infinity, this.all.length + ROOM));
    this.range(end - shown - ROOM, end);
    performance.mark("drawn");
  }

  pointed(event) {
    if (event.time === undefined) this.read(null);
    else this.read(this.all[this.place(event.time * 1000)]);
  }

  pressed(event) {
    const scale = this.chart.timeScale(), range = scale.getVisibleLogicalRange();
    if (!range || event.ctrlKey || event.metaKey || event.altKey) return;
    const width = range.to - range.from;
    const actions = {
      ArrowLeft: () => this.step(-1), ArrowRight: () => this.step(1),
      PageUp: () => this.range(range.from - width * 0.8, range.to - width * 0.8),
      PageDown: () => this.range(range.from + width * 0.8, range.to + width * 0.8),
      Home: () => this.range(0, width), End: () => (this.atEnd ? this.toEnd() : this.show(this.series)),
      "+": () => this.range(range.to - width / 1.5, range.to), "=": () => this.range(range.to - width / 1.5, range.to),
      "-": () => this.range(range.to - width * 1.5, range.to),
      Escape: () => { this.chart.clearCrosshairPosition(); this.read(null); },
    };
    if (!actions[event.key]) return;
    event.preventDefault();
    actions[event.key]();
  }

  // move the crosshair by a bar and say what it points at
  step(by) {
    const range = this.chart.timeScale().getVisibleLogicalRange();
    const from = this.reading ? this.place(this.reading.at) + by : Math.min(this.all.length - 1, Math.floor(range.to));
    const place = Math.max(0, Math.min(this.all.length - 1, from));
    const bar = this.all[place];
    if (!bar) return;
    if (place < range.from) this.range(range.from - 1, range.to - 1);
    if (place > range.to) this.range(range.from + 1, range.to + 1);
    const price = bar.close ?? this.bars.candles[0]?.close;
    if (price !== undefined) this.chart.setCrosshairPosition(price, bar.time, this.candles);
    this.read(bar);
    this.spoken.textContent = this.legend.textContent;
  }

  // the legend: one bar, or the newest candle
  read(bar) {
    this.reading = bar;
    const shown = bar ?? this.bars.candles[this.bars.candles.length - 1];
    const lines = [];
    if (!shown) lines.push(element("span", "No candles."));
    else if (shown.close === undefined) {
      lines.push(element("span", `${moment(shown.at)} UTC`, "when"));
      lines.push(element("span", HOLES[shown.hole], shown.hole === "gap" ? "bad" : ""));
    } else {
      const price = (value) => value.toFixed(this.precision);
      const change = shown.close / shown.open - 1;
      lines.push(element("span", `${moment(shown.at)} UTC`, "when"));
      for (const [name, value] of [["O", shown.open], ["H", shown.high], ["L", shown.low], ["C", shown.close]]) {
        lines.push(pair(name, price(value)));
      }
      lines.push(element("span", `${change >= 0 ? "+" : "−"}${Math.abs(change * 100).toFixed(2)} %`, change >= 0 ? "up" : "down"));
      lines.push(pair("V", amount(shown.volume)));
    }
    this.legend.replaceChildren(...lines);
    this.tellHoles();
  }

  tellHoles() {
    const missing = this.bars.gaps.reduce((sum, [start, end]) => sum + end - start, 0);
    const many = this.bars.gaps.length;
    const loaded = `${count(this.bars.candles.length)} candles loaded`;
    this.holes.textContent = many
      ? `${loaded}; ${many} ${many === 1 ? "gap" : "gaps"} among them, ${duration(missing / 1000)} in all, marked in the chart.`
      : `${loaded}, no gap among them.`;
  }
}

function pair(name, value) {
  const made = element("span", "", "pair");
  made.append(element("b", name), ` ${value}`);
  return made;
}
