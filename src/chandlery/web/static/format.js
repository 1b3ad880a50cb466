// Numbers and times as people read them. Times are UTC milliseconds.

const pad = (number) => String(number).padStart(2, "0");

export function day(time) {
  const at = new Date(time);
  return `${at.getUTCFullYear()}-${pad(at.getUTCMonth() + 1)}-${pad(at.getUTCDate())}`;
}

export function moment(time) {
  const at = new Date(time);
  return `${day(time)} ${pad(at.getUTCHours())}:${pad(at.getUTCMinutes())}`;
}

export function duration(seconds) {
  const units = [["d", 86400], ["h", 3600], ["min", 60], ["s", 1]];
  const parts = [];
  let left = Math.max(0, Math.round(seconds));
  for (const [unit, length] of units) {
    const count = Math.floor(left / length);
    left -= count * length;
    if (count) parts.push(`${count} ${unit}`);
  }
  return parts.slice(0, 2).join(" ") || "0 s";
}

export function count(number) {
  return Math.round(number).toLocaleString("en").replaceAll(",", "\u202f");
}

// so many decimals as these prices have, at most 12
export function decimals(prices) {
  let most = 0;
  for (const price of prices) {
    const text = price < 1e-6 ? price.toFixed(12).replace(/0+$/, "") : String(price);
    most = Math.max(most, (text.split(".")[1] || "").length);
  }
  return Math.min(most, 12);
}

export function amount(volume) {
  if (volume === 0) return "0";
  for (const [unit, size] of [["B", 1e9], ["M", 1e6], ["k", 1e4]]) {
    if (volume >= size) return `${(volume / (unit === "k" ? 1e3 : size)).toFixed(2)} ${unit}`;
  }
  return volume.toPrecision(5).replace(/\.?0+$/, "");
}

// rounded down, so that only what is complete reads as complete
export function share(part) {
  return `${(Math.floor(part * 10000) / 100).toFixed(part >= 1 ? 0 : 2)} %`;
}

// the open of the next bar: a fixed step, or the next month
export function nextOpen(time, step) {
  if (step !== null) return time + step;
  const at = new Date(time);
  return Date.UTC(at.getUTCFullYear(), at.getUTCMonth() + 1, 1);
}

// an element with text in it, and never markup: names come from the database
export function element(tag, text = "", kind = "") {
  const made = document.createElement(tag);
  if (text !== "") made.textContent = text;
  if (kind) made.className = kind;
  return made;
}
