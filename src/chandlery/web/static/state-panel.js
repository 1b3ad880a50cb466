// The state of collection: how fresh the series are, what the last runs did, what failed.

import { ask } from "./api.js";
import { count, duration, element, moment } from "./format.js";

export class StatePanel {
  constructor(figures, late, runs) {
    Object.assign(this, { figures, late, runs });
  }

  async load() {
    const state = await ask("state");
    const rate = state.runs.find((run) => run.rate !== null)?.rate;
    this.figures.replaceChildren(
      ...figure("live candles in the last minute", count(state.heard_in_last_minute)),
      ...figure("new candles a second, last run", rate === undefined ? "–" : count(rate)),
      ...figure("furthest behind", state.late.length ? duration(Math.max(...state.late.map((one) => one.lag_s))) : "–"),
      ...figure("series with an error", count(state.failed), state.failed ? "bad" : ""),
    );
    table(this.late, "Furthest behind", ["series", "lag", "bars", "last error"], state.late.map((one) => [
      `${one.symbol} ${one.timeframe}`, duration(one.lag_s), count(Math.floor(one.bars)), one.last_error ?? "none",
    ]));
    table(this.runs, "Last runs", ["began", "took", "new", "outcome"], state.runs.map((run) => [
      moment(run.started_at),
      run.finished_at === null ? "…" : duration((run.finished_at - run.started_at) / 1000),
      count(run.inserted), run.outcome ?? "still running, or killed",
    ]));
  }
}

function figure(name, value, kind = "") {
  const group = element("div", "", kind);
  group.append(element("dt", name), element("dd", value));
  return [group];
}

function table(host, title, columns, rows) {
  const head = element("tr");
  head.append(...columns.map((name) => {
    const cell = element("th", name);
    cell.scope = "col";
    return cell;
  }));
  const lines = rows.map((cells) => {
    const line = element("tr");
    line.append(...cells.map((text) => element("td", text)));
    return line;
  });
  if (!rows.length) lines.push(element("tr", "none yet"));
  host.replaceChildren(element("caption", title), head, ...lines);
}
