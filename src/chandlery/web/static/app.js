// The page: what is shown stands in the address, and everything follows from it.

import { ask, listen, names, same } from "./api.js";
import { CandleChart } from "./candle-chart.js";
import { CoverageMap } from "./coverage-map.js";
import { element } from "./format.js";
import { Picker } from "./picker.js";
import { StatePanel } from "./state-panel.js";

const POLL_MS = 10_000;
const DAY = 86_400_000;
const byId = (id) => document.getElementById(id);

const chart = new CandleChart(byId("chart"), byId("legend"), byId("spoken"), byId("holes"));
const map = new CoverageMap(byId("map"), byId("map-said"), byId("gap-list"), (series, at) => go(series, at, true));
const state = new StatePanel(byId("figures"), byId("late"), byId("runs"));
const picker = new Picker(byId("symbol"), byId("symbols"), byId("timeframes"), (series) => go(series));

function go(series, at = null, look = false) {
  const parts = [series.exchange, series.symbol, series.timeframe].map(encodeURIComponent);
  const address = `#/${parts.join("/")}${at === null ? "" : `?at=${at}`}`;
  if (location.hash === address) show();
  else location.hash = address;
  if (look) byId("chart").scrollIntoView({ block: "nearest" });
}

function asked() {
  const found = /^#\/([^/]+)\/([^/]+)\/([^/?]+)(?:\?at=(\d+))?$/.exec(location.hash);
  if (!found) return null;
  const [exchange, symbol, timeframe] = found.slice(1, 4).map(decodeURIComponent);
  return { series: { exchange, symbol, timeframe }, at: found[4] ? Number(found[4]) : null };
}

async function show() {
  const wanted = asked();
  if (!wanted) return;
  const { series, at } = wanted;
  picker.show(series);
  byId("chart-title").textContent = `${series.symbol} ${series.timeframe}`;
  byId("chart").setAttribute("aria-label", `Candle chart of ${series.symbol} ${series.timeframe}`);
  document.title = `${series.symbol} ${series.timeframe} · chandlery`;
  await chart.show(series, at);
}

async function loadSeries() {
  const series = await ask("series");
  picker.fill(series);
  return series;
}

function segments(host, choices, chosen, pick) {
  const buttons = choices.map(([text, value, label]) => {
    const made = element("button", text);
    made.type = "button";
    made.setAttribute("aria-label", label);
    made.setAttribute("aria-pressed", String(value === chosen));
    made.addEventListener("click", () => {
      buttons.forEach((one) => one.setAttribute("aria-pressed", String(one === made)));
      pick(value);
    });
    return made;
  });
  host.replaceChildren(...buttons);
}

segments(byId("zoom"), [
  [String(chart.usual), chart.usual, `${chart.usual} candles`], ["1k", 1000, "1000 candles"], ["5k", 5000, "5000 candles"], ["20k", 20000, "20,000 candles"],
], chart.usual, (wished) => chart.zoom(wished));

segments(byId("map-range"), [
  ["All", null, "All of the time"], ["1y", 365 * DAY, "The last year"], ["90d", 90 * DAY, "The last 90 days"],
  ["7d", 7 * DAY, "The last 7 days"], ["1d", DAY, "The last day"],
], null, (span) => { map.span = span; map.load(); });

let typing;
byId("map-filter").addEventListener("input", (event) => {
  clearTimeout(typing);
  typing = setTimeout(() => { map.filter = event.target.value; map.load(); }, 200);
});

// themes: the system's, or the other one
const dark = matchMedia("(prefers-color-scheme: dark)");
const isDark = () => (document.documentElement.dataset.theme ?? (dark.matches ? "dark" : "light")) === "dark";
function repaint() {
  byId("theme").textContent = isDark() ? "Light" : "Dark";
  byId("theme").setAttribute("aria-label", isDark() ? "Use light colours" : "Use dark colours");
  chart.paint();
  map.rows.forEach((row) => map.paint(row));
}
byId("theme").addEventListener("click", () => {
  const theme = isDark() ? "light" : "dark";
  document.documentElement.dataset.theme = theme;
  try { localStorage.setItem("theme", theme); } catch { /* it holds until the page is left */ }
  repaint();
});
dark.addEventListener("change", repaint);

// what is stored while the page is open
let waiting = new Map();
let due = null;
function stored(told) {
  const shown = chart.series && same(told, chart.series);
  const old = shown && told.end <= (chart.bars.last ?? 0);
  waiting.set(shown ? (old ? "past" : "newest") : "others", true);
  due ??= setTimeout(update, 250);
}

async function update() {
  const what = waiting;
  waiting = new Map();
  due = null;
  if (what.has("past")) await chart.again();
  else if (what.has("newest")) await chart.refresh();
}

function turned(listening) {
  const live = byId("live");
  live.textContent = listening ? "live" : "every 10 s";
  live.classList.toggle("on", listening);
  live.title = listening ? "New candles appear as they are stored" : "Not told of new candles, so it asks every 10 s";
}

let rounds = 0;
async function poll() {
  if (!document.hidden) {
    const several = ++rounds % 3 === 0 ? [map.load(), loadSeries()] : [];
    await Promise.allSettled([chart.refresh(), state.load(), ...several]);
  }
  setTimeout(poll, POLL_MS);
}

async function start() {
  repaint();
  addEventListener("hashchange", show);
  listen(stored, turned);
  const series = await loadSeries();
  const first = series.find((one) => one.timeframe === "1h") ?? series[0];
  if (!asked() && first) history.replaceState(null, "", `#/${Object.values(names(first)).map(encodeURIComponent).join("/")}`);
  if (!series.length) byId("legend").textContent = "Nothing is stored yet. Collect something: chandlery collect BTC-USDT";
  await Promise.allSettled([show(), map.load(), state.load()]);
  setTimeout(poll, POLL_MS);
}

start();
