// The bars of a chart: candles in order of time, and where there are none, why.

import { nextOpen } from "./format.js";

const LONGEST_HOLE = 40; // bars; a longer one is drawn as so many, so that both its sides are seen

export class Bars {
  constructor() {
    this.clear(null);
  }

  clear(step) {
    this.step = step;
    this.candles = [];
    this.gaps = [];
    this.retired = [];
    this.empty = [];
  }

  get first() {
    return this.candles.length ? this.candles[0].at : null;
  }

  get last() {
    return this.candles.length ? this.candles[this.candles.length - 1].at : null;
  }

  // take over a window as the server gives it; what was there of the same time is replaced
  add(window) {
    const came = window.open_time.map((at, i) => ({
      at, time: at / 1000, open: window.open[i], high: window.high[i], low: window.low[i],
      close: window.close[i], volume: window.volume[i],
    }));
    if (came.length) {
      const start = came[0].at, end = came[came.length - 1].at;
      const before = this.candles.filter((candle) => candle.at < start);
      const after = this.candles.filter((candle) => candle.at > end);
      this.candles = before.concat(came, after);
    }
    this.gaps = joined(this.gaps.concat(window.gaps));
    this.retired = joined(this.retired.concat(window.retired));
    this.empty = joined(this.empty.concat(window.empty));
  }

  // every bar in order: candles, and places without one that say what kind of hole it is
  drawn() {
    const holes = [
      ...this.gaps.flatMap((span) => this.places(span, "gap")),
      ...this.retired.flatMap((span) => this.places(span, "retired")),
      ...this.empty.flatMap((span) => this.places(span, "empty")),
    ].sort((a, b) => a.at - b.at);
    const all = [];
    let next = 0;
    for (const candle of this.candles) {
      while (next < holes.length && holes[next].at < candle.at) all.push(holes[next++]);
      if (next < holes.length && holes[next].at === candle.at) next++; // healed meanwhile
      all.push(candle);
    }
    return all.concat(holes.slice(next));
  }

  places([start, end], hole) {
    const step = this.step ?? 30 * 86_400_000;
    const every = Math.max(1, Math.ceil((end - start) / step / LONGEST_HOLE));
    const places = [];
    for (let at = start; at < end; ) {
      places.push({ at, time: at / 1000, hole });
      for (let i = 0; i < every; i++) at = nextOpen(at, this.step);
    }
    return places;
  }
}

function joined(spans) {
  const result = [];
  for (const [start, end] of spans.map((span) => [...span]).sort((a, b) => a[0] - b[0])) {
    const last = result[result.length - 1];
    if (last && start <= last[1]) last[1] = Math.max(last[1], end);
    else result.push([start, end]);
  }
  return result;
}
