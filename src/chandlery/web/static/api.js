// What the server is asked, and what it tells by itself.

const trouble = document.getElementById("trouble");

export async function ask(path, parameters = {}) {
  const given = Object.entries(parameters).filter(([, value]) => value !== undefined && value !== null);
  let answer;
  try {
    answer = await fetch(`/api/${path}?${new URLSearchParams(given)}`);
  } catch {
    say("The server does not answer. Is chandlery serve still running?");
    throw new Error("no answer");
  }
  if (answer.status === 401) location.assign("/login");
  if (!answer.ok) {
    const text = (await answer.text()).trim();
    say(text);
    throw new Error(text);
  }
  say("");
  return answer.json();
}

function say(text) {
  trouble.hidden = text === "";
  if (trouble.textContent !== text) trouble.textContent = text;
}

// told({exchange, symbol, timeframe, start, end}) for what is stored; turned(whether it is heard of at all)
export function listen(told, turned) {
  const events = new EventSource("/api/events");
  events.addEventListener("stored", (event) => told(JSON.parse(event.data)));
  events.addEventListener("listening", (event) => turned(JSON.parse(event.data)));
  events.onerror = () => turned(false);
}

export const same = (a, b) =>
  a.exchange === b.exchange && a.symbol === b.symbol && a.timeframe === b.timeframe;

export const names = ({ exchange, symbol, timeframe }) => ({ exchange, symbol, timeframe });
