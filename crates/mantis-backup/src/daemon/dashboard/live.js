// Shows what runs while it does. Without it the pages show the same, as of when they were asked for.
"use strict";

const units = ["KiB", "MiB", "GiB", "TiB", "PiB"];

// As the pages write it.
function size(bytes) {
  if (bytes < 1024) return `${bytes} B`;
  let value = bytes / 1024;
  let unit = 0;
  while (value >= 1000 && unit + 1 < units.length) {
    value /= 1024;
    unit += 1;
  }
  return `${value.toFixed((value < 10 ? 1 : 0) + (value < 100 ? 1 : 0))} ${units[unit]}`;
}

function time(seconds) {
  if (seconds < 60) return `${seconds} s`;
  if (seconds < 3600) return `${Math.floor(seconds / 60)} min ${seconds % 60} s`;
  return `${Math.floor(seconds / 3600)} h ${Math.floor((seconds % 3600) / 60)} min`;
}

// Puts a text where it belongs, without touching what is the same: a screen reader would say it again.
function put(row, name, text) {
  const place = row.querySelector(`[data-show="${name}"]`);
  if (place && place.textContent !== text) place.textContent = text;
}

function show(row, work) {
  const bar = row.querySelector("progress");
  if (bar && work.bytes_total > 0) {
    bar.max = work.bytes_total;
    bar.value = work.bytes;
  }
  const part = work.bytes_total > 0 ? `${Math.floor((100 * work.bytes) / work.bytes_total)} %` : "";
  put(row, "part", part);
  put(row, "done", work.bytes_total > 0 ? `${size(work.bytes)} of ${size(work.bytes_total)}` : "");
  put(row, "rate", work.bytes_per_second > 0 ? `${size(work.bytes_per_second)}/s` : "");
  put(row, "eta", work.eta_seconds === null || work.bytes_total === 0 ? "" : time(work.eta_seconds));
  put(row, "for", time(work.seconds));
  const held = work.writers_held_ms;
  if (typeof held === "number") put(row, "held", held < 10000 ? `${held} ms` : time(Math.floor(held / 1000)));
}

// Asks for this page again and takes its content, unless somebody is typing in it.
async function renew() {
  const main = document.getElementById("main");
  const typing = document.activeElement && main.contains(document.activeElement)
    && document.activeElement.matches("input, select, textarea");
  if (typing) return;
  const answer = await fetch(location.href, { headers: { accept: "text/html" } });
  if (answer.redirected) {
    location.reload();
    return;
  }
  const page = new DOMParser().parseFromString(await answer.text(), "text/html");
  const fresh = page.getElementById("main");
  if (!answer.ok || !fresh) return;
  const focused = document.activeElement && document.activeElement.id;
  main.replaceChildren(...fresh.childNodes);
  const again = focused && document.getElementById(focused);
  if (again) again.focus();
}

// What is shown, by its key; what there is, by its key: where they differ, the page is asked for again.
function follow(now) {
  const rows = new Map();
  document.querySelectorAll("[data-work]").forEach((row) => rows.set(row.dataset.work, row));
  const watches = (kind) => document.querySelector(`[data-watch~="${kind}"]`) !== null;
  let differs = false;
  const each = (kind, list, key, state) => {
    if (!watches(kind)) return;
    const seen = new Set();
    for (const work of list) {
      const row = rows.get(key(work));
      seen.add(key(work));
      if (row) show(row, work);
      if (!row || (row.dataset.state || "") !== state(work)) differs = true;
    }
    rows.forEach((_, name) => {
      if (name.startsWith(`${kind}:`) && !seen.has(name)) differs = true;
    });
  };
  // A page may be of some runs alone.
  const some = document.querySelector("[data-only]");
  const running = now.running.filter((work) => !some || some.dataset.only.split(" ").includes(work.job));
  const only = document.querySelector("[data-restore]");
  const restores = now.restores.filter((work) => !only || only.dataset.restore === String(work.id));
  each("run", running, (work) => `run:${work.job}`, () => "");
  each("restore", restores, (work) => `restore:${work.id}`, (work) => work.state);
  if (differs) renew();
}

if (document.querySelector("[data-watch]")) {
  let events = null;
  const watch = () => {
    if (events) events.close();
    events = null;
    // A page that nobody looks at watches nothing.
    if (document.hidden) return;
    const mine = new EventSource("/api/v1/events");
    events = mine;
    mine.addEventListener("now", (event) => follow(JSON.parse(event.data)));
    // Refused, as too many watch or nobody is logged in any more: the page itself tells.
    mine.addEventListener("error", () => {
      if (mine.readyState !== EventSource.CLOSED || mine !== events) return;
      setTimeout(() => {
        renew();
        watch();
      }, 15000);
    });
  };
  watch();
  document.addEventListener("visibilitychange", watch);
}

// What a cron expression means, as it is typed.
const expression = document.querySelector("[data-cron]");
if (expression) {
  const words = document.getElementById("cron-words");
  const zone = document.querySelector("[data-timezone]");
  let last = 0;
  const explain = async () => {
    last += 1;
    const mine = last;
    const asked = new URLSearchParams({ cron: expression.value, timezone: zone ? zone.value : "" });
    const answer = await fetch(`/api/v1/cron?${asked}`);
    const told = await answer.json();
    // The answer to what was typed before comes too late.
    if (mine !== last) return;
    const lines = answer.ok ? [told.words, ...told.next.map((next) => next.replace("T", " "))] : [told.error];
    words.replaceChildren(...lines.filter((line) => line).map((line) => {
      const shown = document.createElement("div");
      shown.textContent = line;
      return shown;
    }));
  };
  let waiting;
  for (const field of [expression, zone]) {
    if (field) {
      field.addEventListener("input", () => {
        clearTimeout(waiting);
        waiting = setTimeout(explain, 200);
      });
    }
  }
  explain();
}
