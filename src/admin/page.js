// Asks /api/stats once a second and draws it. No library, nothing from elsewhere. Text from weir goes
// into the page only as text, never as markup.
"use strict";

const SECONDS = 240, WINDOW = 10, COMMAND_ROWS = 24, SLOW_ROWS = 20;
let seq = 0, started = 0, history = [], bounds = [], latest = null;
let past = [];          // {at, stats} of the last WINDOW seconds, for rates
let lostSince = 0, slowTop = "", turns = 0;

const $ = id => document.getElementById(id);

// ---- words and numbers ---------------------------------------------------------------------------

function count(n) {
  if (n < 10000) return n < 10 && n % 1 ? n.toFixed(1) : Math.round(n).toLocaleString("en");
  const unit = n < 1e6 ? [1e3, "k"] : n < 1e9 ? [1e6, "M"] : [1e9, "G"], value = n / unit[0];
  return value.toFixed(value < 100 ? 1 : 0) + unit[1];
}
function whole(n) { return n.toLocaleString("en"); }
function duration(us) {
  if (!us) return "–";
  const [value, unit] = us < 1000 ? [us, "µs"] : us < 1e6 ? [us / 1e3, "ms"] : [us / 1e6, "s"];
  return value.toFixed(value < .995 ? 2 : value < 9.95 ? 1 : 0) + " " + unit;
}
function bytes(n) {
  const units = ["B", "KB", "MB", "GB", "TB"];
  let i = 0;
  while (n >= 1024 && i < 4) { n /= 1024; i++; }
  return (i === 0 || n >= 100 ? Math.round(n) : n.toFixed(1)) + " " + units[i];
}
function percent(share) { return (100 * share).toFixed(1) + " %"; }
function span(seconds) {
  const d = Math.floor(seconds / 86400), h = Math.floor(seconds / 3600) % 24;
  const m = Math.floor(seconds / 60) % 60, s = Math.floor(seconds) % 60;
  return d ? `${d} d ${h} h` : h ? `${h} h ${m} min` : m ? `${m} min ${s} s` : `${s} s`;
}
function clock(us) { return new Date(us / 1000).toTimeString().slice(0, 8); }
function plural(n, word) { return `${n === 0 ? "no" : whole(n)} ${word}${n === 1 ? "" : "s"}`; }
function sum(list, field) { return list.reduce((total, item) => total + item[field], 0); }

// ---- the page's elements -------------------------------------------------------------------------

function element(tag, className, text) {
  const made = document.createElement(tag);
  if (className) made.className = className;
  if (text !== undefined) made.textContent = text;
  return made;
}
function setText(node, text) { if (node.textContent !== text) node.textContent = text; }
function setClass(node, name) { if (node.className !== name) node.className = name; }

// Rows are changed in place, so that a selection or a scroll position survives the next second.
// row: {cls, cells: [[text, class] or {share, text}], vars: {"--part": …}}
function fillTable(table, rows) {
  const body = table.tBodies[0];
  while (body.rows.length > rows.length) body.deleteRow(-1);
  rows.forEach((row, r) => {
    const tr = body.rows[r] || body.insertRow();
    setClass(tr, row.cls || "");
    while (tr.cells.length > row.cells.length) tr.deleteCell(-1);
    row.cells.forEach((cell, c) => fillCell(tr.cells[c] || tr.insertCell(), cell));
    for (const name in row.vars || {}) tr.style.setProperty(name, row.vars[name]);
  });
}
function fillCell(td, cell) {
  if (Array.isArray(cell)) {
    setClass(td, cell[1] || "");
    td.colSpan = cell[2] || 1;
    setText(td, cell[0]);
    return;
  }
  if (!td.firstChild || !td.firstChild.classList) {
    const bar = element("div", "bar");
    bar.append(element("i"), element("em"));
    td.replaceChildren(bar);
  }
  setClass(td, cell.cls || "share");
  td.firstChild.style.setProperty("--share", Math.min(1, cell.share));
  setText(td.firstChild.lastChild, cell.text);
}

// ---- the sentence --------------------------------------------------------------------------------

function storesInWords(nodes) {
  const up = nodes.filter(node => node.state === "up");
  if (nodes.length === 1) return `store ${nodes[0].name} is ${nodes[0].state}`;
  return up.length === nodes.length ? `all ${nodes.length} stores are up`
    : `${up.length} of ${nodes.length} stores are up`;
}
function recentRatio() {
  const minute = history.slice(-60), reads = sum(minute, "reads");
  return reads ? sum(minute, "hits") / reads : NaN;
}
function cacheInWords(stats) {
  if (stats.cache.state.startsWith("off")) return "the near cache is " + stats.cache.state;
  const ratio = recentRatio();
  return isNaN(ratio) ? "no cacheable reads in the last minute"
    : `${percent(ratio)} of reads answered from memory`;
}
function drawSentence(stats) {
  const clients = stats.metrics.clients, stores = storesInWords(stats.nodes);
  const off = stats.cache.state.startsWith("off");
  const facts = off ? [stores, cacheInWords(stats)] : [cacheInWords(stats), stores];
  let kind = "good", text = `Serving ${plural(clients, "client")}; ${facts.join("; ")}.`;
  if (stats.draining) {
    kind = "warn";
    text = `Draining: ${plural(clients, "client")} still connected; ${stores}.`;
  } else if (!stats.ready) {
    kind = "bad";
    text = `Not ready: ${stats.not_ready_because}; ${plural(clients, "client")} connected.`;
  } else if (off || stats.nodes.some(node => node.state !== "up")) {
    kind = "warn";
  } else if (clients === 0) {
    text = `Ready for clients on ${stats.listen}; ${stores}.`;
  }
  setText($("sentence"), text);
  setClass($("sentence"), kind);
  setText($("identity"), `weir ${stats.version} on ${stats.listen}, up ${span(stats.uptime_s)}`);
  const now = history.length ? history[history.length - 1] : null;
  document.title = !stats.ready ? "weir: not ready" : now ? `weir: ${count(now.requests)} ops/s` : "weir";
}

// ---- tiles ---------------------------------------------------------------------------------------

const TILES = [
  { name: "requests/s", of: s => s.requests, show: count },
  { name: "p50", of: s => s.p50_us, show: duration, log: true },
  { name: "p99", of: s => s.p99_us, show: duration, log: true },
  { name: "p99.9", of: s => s.p999_us, show: duration, log: true },
  { name: "hit ratio", of: s => s.reads ? s.hits / s.reads : NaN, show: v => isNaN(v) ? "–" : percent(v), top: 1 },
  { name: "errors/s", of: s => s.errors, show: count, alarm: true },
  { name: "clients", of: s => s.clients, show: count },
];

function makeTiles() {
  for (const tile of TILES) {
    const box = element("div", "tile"), space = "http://www.w3.org/2000/svg";
    const svg = document.createElementNS(space, "svg");
    svg.setAttribute("viewBox", `0 0 ${SECONDS - 1} 26`);
    svg.setAttribute("preserveAspectRatio", "none");
    tile.area = document.createElementNS(space, "path");
    tile.area.setAttribute("class", "fill");
    tile.line = document.createElementNS(space, "path");
    svg.append(tile.area, tile.line);
    tile.value = element("span", "", "–");
    box.append(element("b", "", tile.name), tile.value, svg);
    tile.box = box;
    $("tiles").append(box);
  }
}
function sparkline(tile, values) {
  const scale = tile.log ? v => Math.log10(Math.max(v, .1)) : v => v;
  const missing = v => isNaN(v) || (tile.log && v <= 0);
  const known = values.filter(v => !missing(v)).map(scale);
  const low = tile.log ? Math.min(...known) - .3 : 0;
  const high = tile.top || Math.max(...known, low + (tile.log ? 1 : 1e-9));
  let line = "", pen = "M";
  const left = SECONDS - values.length;
  values.forEach((value, i) => {
    if (missing(value)) { pen = "M"; return; }
    const y = 25 - 24 * Math.max(0, Math.min(1, (scale(value) - low) / (high - low)));
    line += `${pen}${left + i} ${y.toFixed(1)}`;
    pen = "L";
  });
  tile.line.setAttribute("d", line);
  tile.area.setAttribute("d", known.length === values.length && line ? `${line}L${SECONDS - 1} 26L${left} 26Z` : "");
}
function drawTiles() {
  if (!history.length) return;
  for (const tile of TILES) {
    const values = history.map(tile.of), now = values[values.length - 1];
    setText(tile.value, tile.show(now));
    if (tile.alarm) setClass(tile.box, values.slice(-60).some(v => v > 0) ? "tile bad" : "tile");
    sparkline(tile, values);
  }
}

// ---- heat map ------------------------------------------------------------------------------------

// Rows in view: those in use in the last minutes, at least 1 µs to 10 ms.
function heatRange() {
  const at = us => bounds.findIndex(bound => bound >= us);
  let low = at(1), high = at(10000);
  for (const second of history)
    for (let i = 0; i < second.heat.length; i += 2) {
      low = Math.min(low, second.heat[i]);
      high = Math.max(high, second.heat[i]);
    }
  return { low, rows: high + 1 - low };
}
function palette() {
  const style = getComputedStyle(document.documentElement);
  const rgb = name => style.getPropertyValue(name).trim().split(" ").map(Number);
  const [from, to] = [rgb("--heat-0"), rgb("--heat-1")];
  return {
    color: t => `rgb(${from.map((c, i) => Math.round(c + (to[i] - c) * t)).join(" ")})`,
    line: style.getPropertyValue("--p99"), grid: style.getPropertyValue("--line"),
  };
}
function rowOf(us) { // fractional, from the bounds' fixed half powers of two
  const i = bounds.findIndex(bound => bound >= us);
  if (i <= 0) return 0;
  return i + (us - bounds[i - 1]) / (bounds[i] - bounds[i - 1]);
}
function drawHeat() {
  if (!bounds.length) return;
  const canvas = $("heat"), ratio = window.devicePixelRatio || 1;
  const width = Math.round(canvas.clientWidth * ratio), height = Math.round(canvas.clientHeight * ratio);
  if (canvas.width !== width || canvas.height !== height) { canvas.width = width; canvas.height = height; }
  const pen = canvas.getContext("2d"), look = palette(), range = heatRange();
  const x = i => Math.round((SECONDS - history.length + i) * width / SECONDS);
  const y = row => Math.round(height - (row - range.low) * height / range.rows);
  pen.clearRect(0, 0, width, height);
  $("heat-none").hidden = history.some(second => second.heat.length);
  const most = Math.log1p(Math.max(1, ...history.map(s => Math.max(0, ...s.heat.filter((_, i) => i % 2)))));
  history.forEach((second, i) => {
    for (let k = 0; k < second.heat.length; k += 2) {
      const row = second.heat[k];
      pen.fillStyle = look.color(Math.log1p(second.heat[k + 1]) / most);
      pen.fillRect(x(i), y(row + 1), x(i + 1) - x(i), y(row) - y(row + 1));
    }
  });
  pen.strokeStyle = look.line;
  pen.lineWidth = 1.4 * ratio;
  pen.lineJoin = "round";
  pen.beginPath();
  let down = false;
  history.forEach((second, i) => {
    if (!second.p99_us) { down = false; return; }
    const px = (x(i) + x(i + 1)) / 2, py = y(rowOf(second.p99_us));
    if (down) pen.lineTo(px, py); else pen.moveTo(px, py);
    down = true;
  });
  pen.stroke();
  drawScale(range);
}
function drawScale(range) {
  const labels = [];
  for (let us = 1; us <= 1e7; us *= 10) {
    const row = rowOf(us);
    if (row >= range.low && row <= range.low + range.rows - 1)
      labels.push([us < 1000 ? us + " µs" : us < 1e6 ? us / 1e3 + " ms" : us / 1e6 + " s", 1 - (row - range.low) / range.rows]);
  }
  const scale = $("heat-scale");
  while (scale.children.length > labels.length) scale.lastChild.remove();
  labels.forEach(([text, share], i) => {
    const label = scale.children[i] || scale.appendChild(element("span"));
    setText(label, text);
    label.style.top = 100 * share + "%";
  });
}
function makeTimeScale() {
  for (const [share, text] of [[0, "4 min ago"], [.25, "3"], [.5, "2"], [.75, "1"], [1, "now"]]) {
    const label = element("span", "", text);
    label.style.left = 100 * share + "%";
    $("heat-time").append(label);
  }
}
const HEAT_NOTE = $("heat-note").textContent;
function pointAtHeat(event) {
  const box = $("heat").getBoundingClientRect(), range = bounds.length ? heatRange() : null;
  const i = Math.floor((event.clientX - box.left) / box.width * SECONDS) - (SECONDS - history.length);
  if (!range || !history[i]) { setText($("heat-note"), HEAT_NOTE); return; }
  const row = range.low + Math.floor((1 - (event.clientY - box.top) / box.height) * range.rows);
  const at = history[i].heat.findIndex((value, k) => k % 2 === 0 && value === row);
  const found = at < 0 ? 0 : history[i].heat[at + 1];
  setText($("heat-note"), `${clock(history[i].wall_us)}: ${whole(found)} requests took ` +
    `${duration(row ? bounds[row - 1] : .01)} to ${duration(bounds[row])}; p50 ${duration(history[i].p50_us)}, ` +
    `p99 ${duration(history[i].p99_us)}, p99.9 ${duration(history[i].p999_us)}`);
}

// ---- tables --------------------------------------------------------------------------------------

// What happened within the window: [seconds, stats then]. Null when there is nothing to compare.
function earlier() {
  if (past.length < 2) return null;
  const first = past[0], seconds = (past[past.length - 1].at - first.at) / 1e6;
  return seconds > 0 ? { seconds, stats: first.stats } : null;
}
function drawNodes(stats) {
  const then = earlier();
  fillTable($("nodes"), stats.nodes.map(node => {
    const before = then && then.stats.nodes.find(other => other.name === node.name);
    const rate = before ? Math.max(0, node.requests_total - before.requests_total) / then.seconds : 0;
    const off = node.cache_state.startsWith("off");
    return {
      cls: node.state === "down" ? "bad" : node.state !== "up" || off ? "warn" : "good",
      cells: [[node.name], [node.state, "state " + (node.state === "up" ? "good" : node.state === "down" ? "bad" : "warn")],
        [node.cache_state, off ? "text state warn" : "text"], [node.role, "wide"],
        [node.version, "wide"], [count(rate), "n"], [whole(node.in_flight), "n wide"], [whole(node.lanes), "n wide"],
        [whole(node.reconnects), "n wide"],
        [node.vouched_age_ms < 10000 ? `${node.vouched_age_ms} ms ago` : span(node.vouched_age_ms / 1000) + " ago", "n wide"]],
    };
  }));
}
function drawCommands(stats) {
  const then = earlier(), before = new Map();
  for (const row of then ? then.stats.commands : []) before.set(row.command + " " + row.node, row);
  const rows = stats.commands.map(row => {
    const old = before.get(row.command + " " + row.node) || { count: 0, sum_us: 0 };
    const calls = then ? row.count - old.count : 0, time = then ? row.sum_us - old.sum_us : 0;
    return { row, calls, time, rate: then ? calls / then.seconds : 0 };
  });
  const total = sum(rows, "time");
  rows.sort((a, b) => b.time - a.time || b.row.sum_us - a.row.sum_us);
  fillTable($("commands"), rows.length ? rows.slice(0, COMMAND_ROWS).map(({ row, calls, time, rate }) => ({
    cells: [[row.command, "code"], [row.node, row.node === "cache" ? "node" : "node soft"],
      { share: total ? time / total : 0, text: total ? percent(time / total) : "–" },
      [count(rate), "n"], [duration(calls ? time / calls : 0), "n wide"], [duration(row.p50_us), "n"],
      [duration(row.p99_us), "n"], [duration(row.p999_us), "n wide"], [duration(row.p9999_us), "n wide"],
      [count(row.count), "n wide"]],
  })) : [{ cells: [["No commands yet.", "empty", 10]] }]);
}
function drawMemory(stats) {
  const memory = stats.memory, limit = memory.limit_bytes || 1, bar = $("memory-bar");
  setText($("memory-note"), `resident ${bytes(memory.rss_bytes)}, at most ${bytes(memory.rss_peak_bytes)} so far, ` +
    `limit ${bytes(memory.limit_bytes)}`);
  const kept = memory.parts.length;
  if (bar.dataset.parts !== String(kept)) {
    bar.replaceChildren(...memory.parts.map(() => element("div")), element("u", "peak"), element("u"));
    bar.lastChild.append(element("span"));
    bar.dataset.parts = String(kept);
  }
  memory.parts.forEach((part, i) => {
    const piece = bar.children[i];
    piece.style.width = 100 * part.total_bytes / limit + "%";
    piece.style.setProperty("--used", part.total_bytes ? Math.min(1, part.used_bytes / part.total_bytes) : 0);
    piece.style.setProperty("--part", `var(--part-${i % 6})`);
    piece.title = `${part.name}: ${bytes(part.used_bytes)} of ${bytes(part.total_bytes)}`;
  });
  const place = value => `min(calc(100% - 2px), ${100 * value / limit}%)`;
  bar.children[kept].style.left = place(memory.rss_peak_bytes);
  bar.children[kept + 1].style.left = place(memory.rss_bytes);
  setText(bar.lastChild.firstChild, `resident ${percent(memory.rss_bytes / limit)}`);
  fillTable($("memory"), memory.parts.map((part, i) => ({
    vars: { "--part": `var(--part-${i % 6})` },
    cells: [[part.name, "swatch"], [bytes(part.used_bytes), "n"], [bytes(part.total_bytes), "n"],
      [percent(part.total_bytes / limit), "n"]],
  })));
}
function drawCache(stats) {
  const then = earlier(), cache = stats.cache, m = stats.metrics;
  const rate = name => then ? count(Math.max(0, m[name] - then.stats.metrics[name]) / then.seconds) + "/s" : "–";
  const evictions = then ? count(Math.max(0, cache.evictions - then.stats.cache.evictions) / then.seconds) + "/s" : "–";
  fillTable($("cache"), [
    ["state", cache.state], ["entries", `${whole(cache.items)}, ${bytes(cache.item_bytes)}`],
    ["hits, misses, joined", `${rate("cache_hits_total")}, ${rate("cache_misses_total")}, ${rate("cache_joined_total")}`],
    ["filled, killed, refused", `${rate("cache_fills_total")}, ${rate("cache_kills_total")}, ${rate("cache_refused_total")}`],
    ["invalidations", rate("cache_invalidations_total")], ["evictions", evictions],
    ["dead bytes", bytes(cache.dead_bytes)],
    ["reads that waited for proof", rate("cache_stale_waits_total")],
  ].map(([name, value]) => ({ cells: [[name], [value, "text"]] })));
}
function drawThreads(stats) {
  fillTable($("threads"), stats.thread_busy.map((busy, i) =>
    ({ cells: [["worker " + i], { share: busy, text: percent(busy), cls: "busy" }] })));
}
function drawCounters(stats) {
  if (!$("counters").open) return;
  const then = earlier();
  fillTable($("counters").querySelector("table"), Object.entries(stats.metrics).map(([name, value]) => {
    const rate = then && name.endsWith("_total") ? count((value - then.stats.metrics[name]) / then.seconds) : "";
    return { cells: [[name, "code"], [whole(value), "n"], [rate, "n"]] };
  }));
}
function quoted(args) {
  return args.map(arg => /^[\x21-\x7e]+$/.test(arg) && !/["']/.test(arg) ? arg : JSON.stringify(arg).replace(/\\\\/g, "\\")).join(" ");
}
function drawSlow(entries) {
  const top = entries.length + ":" + (entries.length ? entries[0].id : "");
  if (top === slowTop) return;
  slowTop = top;
  setText($("slow-note"), entries.length ? `newest first, ${Math.min(entries.length, SLOW_ROWS)} of ${entries.length} kept` : "");
  fillTable($("slow"), entries.length ? entries.slice(0, SLOW_ROWS).map(entry => {
    const request = quoted(entry.args) + (entry.argc > entry.args.length ? " …" : "");
    return { cells: [[clock(entry.wall_us), "soft"], [duration(entry.duration_us), "n"], [request, "code request"],
      [entry.where], [entry.name ? `${entry.client} (${entry.name})` : entry.client, "soft wide"]] };
  }) : [{ cells: [["Nothing was slower than the threshold (directive slowlog-log-slower-than).", "empty", 5]] }]);
}
function drawConfig(config) {
  fillTable($("config").querySelector("table"), config.directives.map(directive =>
    ({ cells: [[directive.name, "code"], [directive.value, "code text"], [directive.doc, "wide text soft"]] })));
}

// ---- the loop ------------------------------------------------------------------------------------

async function ask(path) {
  const answer = await fetch(path, { signal: AbortSignal.timeout(4000), cache: "no-store" });
  if (!answer.ok) throw new Error(`answered with status ${answer.status}`);
  return answer.json();
}
function take(stats) {
  if (stats.started_wall_us !== started) { // the first answer, or weir was restarted
    started = stats.started_wall_us;
    history = [];
    past = [];
    slowTop = "";
  }
  if (stats.heat_bounds_us) bounds = stats.heat_bounds_us;
  for (const second of stats.history)
    if (!history.length || second.seq > history[history.length - 1].seq) history.push(second);
  history = history.slice(-SECONDS);
  seq = stats.seq;
  past.push({ at: stats.now_wall_us, stats });
  past = past.slice(-WINDOW - 1);
  latest = stats;
}
function draw() {
  if (!latest) return;
  for (const part of [drawSentence, drawTiles, drawHeat, drawNodes, drawCommands, drawMemory, drawCache, drawThreads, drawCounters])
    part(latest);
}
function found() {
  lostSince = 0;
  $("lost").hidden = true;
  setClass(document.body, "");
}
function lost(error) {
  lostSince = lostSince || Date.now();
  const seconds = Math.round((Date.now() - lostSince) / 1000);
  const why = /^answered/.test(error.message) ? error.message : "";
  setText($("lost"), `weir at ${location.host} has ${why || "not answered"} for ${span(seconds)}. ` +
    (latest ? "What stands below is from before. " : "") + "Trying again each second.");
  $("lost").hidden = false;
  setClass(document.body, "stale");
  document.title = "weir: no answer";
}
async function turn() {
  const begun = Date.now();
  try {
    const stats = await ask("/api/stats?since=" + (lostSince ? 0 : seq));
    take(stats);
    found();
    draw();
    if (turns++ % 3 === 0) drawSlow((await ask("/api/slowlog")).entries);
  } catch (error) {
    lost(error);
  }
  setTimeout(turn, Math.max(200, 1000 - (Date.now() - begun)));
}

function showConfig() {
  if ($("config").open) ask("/api/config").then(drawConfig).catch(lost);
}

makeTiles();
makeTimeScale();
$("heat").addEventListener("pointermove", pointAtHeat);
$("heat").addEventListener("pointerleave", () => setText($("heat-note"), HEAT_NOTE));
$("counters").addEventListener("toggle", draw);
$("config").addEventListener("toggle", showConfig);
window.addEventListener("resize", draw);
matchMedia("(prefers-color-scheme: dark)").addEventListener("change", draw);
showConfig();
turn();
