"use strict";
(() => {
const data = JSON.parse(document.getElementById("data").textContent);
const rows = data.rows, total = rows.path.length, pageSize = 100;
const byId = (id) => document.getElementById(id);

// make is an element with attributes, and children that are elements or plain text: nothing here is ever read as markup.
function make(tag, attributes, ...children) {
  const space = tag === "svg" || tag === "rect" || tag === "title" ? "http://www.w3.org/2000/svg" : "http://www.w3.org/1999/xhtml";
  const e = document.createElementNS(space, tag);
  for (const [name, value] of Object.entries(attributes || {})) {
    if (name === "on") for (const [event, f] of Object.entries(value)) e.addEventListener(event, f);
    else if (value !== undefined && value !== false) e.setAttribute(name, value === true ? "" : value);
  }
  e.append(...children.filter((c) => c !== undefined && c !== null));
  return e;
}

const baseName = (path) => path.slice(path.lastIndexOf("/") + 1) || path || "?";
const seconds = (s) => s < 1 && s > 0 ? s.toFixed(3) + " s" : s.toFixed(1) + " s";
const number = new Intl.NumberFormat("en");
const exe = data.processes.map((p) => baseName(p.exe));
const packageOf = (i) => rows.package[i] < 0 ? "" : data.packages[rows.package[i]];
const programOf = (i) => rows.process[i] < 0 ? "" : exe[rows.process[i]];

// ---- what is shown

const filter = { words: [], verdicts: new Set(), op: -1, package: -2, from: -Infinity, to: Infinity, process: -1 };
let order = { column: "verdict", down: false }, shown = [], page = 0, opened = new Set();
let lowerPaths; // made at the first search

// wordTest is a test of rows for one word: in the path, the package or the program.
function wordTest(word) {
  lowerPaths = lowerPaths || rows.path.map((p) => p.toLowerCase());
  const packages = data.packages.map((p) => p.toLowerCase().includes(word));
  const programs = exe.map((p) => p.toLowerCase().includes(word));
  return (i) => lowerPaths[i].includes(word) || packages[rows.package[i]] || programs[rows.process[i]];
}

// below are the numbers of a process and of all that it started.
function below(root) {
  const set = new Set([root]);
  data.processes.forEach((p, i) => { if (set.has(p.parent)) set.add(i); }); // parents come first
  return set;
}

function select() {
  const words = filter.words.map(wordTest), tree = filter.process < 0 ? null : below(filter.process);
  shown = [];
  for (let i = 0; i < total; i++) {
    if (filter.verdicts.size && !filter.verdicts.has(rows.verdict[i])) continue;
    if (filter.op >= 0 && rows.op[i] !== filter.op) continue;
    if (filter.package > -2 && rows.package[i] !== filter.package) continue;
    if (rows.first[i] < filter.from || rows.first[i] > filter.to) continue;
    if (tree && !tree.has(rows.process[i])) continue;
    if (words.every((test) => test(i))) shown.push(i);
  }
  sort();
}

// columns: how a cell is made, and how rows are compared.
const columns = {
  verdict: { title: "Verdict", cell: (i) => verdictChip(rows.verdict[i]), key: (i) => rows.verdict[i] },
  op: { title: "Operation", cell: (i) => data.ops[rows.op[i]], key: (i) => data.ops[rows.op[i]] },
  path: { title: "Path", cell: openButton, key: (i) => rows.path[i] },
  outcome: { title: "Outcome", cell: (i) => data.outcomes[rows.outcome[i]], key: (i) => data.outcomes[rows.outcome[i]] },
  count: { title: "Count", cell: (i) => number.format(rows.count[i]), key: (i) => rows.count[i], number: true },
  package: { title: "Package", cell: packageOf, key: packageOf },
  process: { title: "Process", cell: (i) => rows.process[i] < 0 ? "" : `${programOf(i)} (${data.processes[rows.process[i]].pid})`, key: programOf },
  first: { title: "First", cell: (i) => seconds(rows.first[i]), key: (i) => rows.first[i], number: true },
};

function sort() {
  const key = columns[order.column].key, sign = order.down ? -1 : 1;
  const keys = new Map(shown.map((i) => [i, key(i)]));
  shown.sort((a, b) => {
    const x = keys.get(a), y = keys.get(b);
    return x < y ? -sign : x > y ? sign : rows.first[a] - rows.first[b] || a - b;
  });
  page = 0;
  opened.clear();
  drawTable();
}

function verdictChip(v) { return make("span", { class: "chip v-" + data.verdicts[v] }, data.verdicts[v]); }

function openButton(i) {
  return make("button", { type: "button", class: "open", "aria-expanded": String(opened.has(i)) }, rows.path[i] || "(no path)");
}

function drawTable() {
  const from = page * pageSize, to = Math.min(from + pageSize, shown.length), body = document.createDocumentFragment();
  for (const i of shown.slice(from, to)) {
    const row = make("tr", { class: "row", "data-row": i });
    for (const [name, c] of Object.entries(columns)) row.append(make("td", { class: c.number ? "n" : undefined, "data-column": name }, c.cell(i)));
    body.append(row);
    if (opened.has(i)) body.append(detail(i));
  }
  byId("table").tBodies[0].replaceChildren(body);
  byId("count").textContent = `${number.format(shown.length)} of ${number.format(total)} accesses`;
  const pages = Math.max(1, Math.ceil(shown.length / pageSize));
  byId("page").textContent = shown.length ? `${number.format(from + 1)}–${number.format(to)}, page ${page + 1} of ${number.format(pages)}` : "nothing to show";
  byId("first").disabled = byId("previous").disabled = page === 0;
  byId("next").disabled = byId("last").disabled = page >= pages - 1;
  for (const th of byId("table").tHead.rows[0].cells) {
    th.setAttribute("aria-sort", th.dataset.column === order.column ? (order.down ? "descending" : "ascending") : "none");
  }
}

function detail(i) {
  const list = make("dl"), add = (name, text) => { if (text) list.append(make("dt", {}, name), make("dd", {}, text)); };
  const text = (n) => n < 0 ? "" : data.texts[n];
  add("Why", text(rows.why[i]));
  add("Would be allowed by", text(rows.allow[i]) && make("code", {}, text(rows.allow[i])));
  add("Outcome", data.outcomes[rows.outcome[i]] + (rows.inferred[i] ? ", inferred by looking beside the call" : ", as the kernel answered"));
  add("Leads to", text(rows.leads[i]) && make("code", {}, text(rows.leads[i])));
  add("Calls", text(rows.calls[i]));
  add("First", `at ${rows.first[i]} s, ${number.format(rows.count[i])} in all`);
  let word = "By";
  for (let p = rows.process[i], n = 0; p >= 0 && n < 32; p = data.processes[p].parent, n++) {
    const process = data.processes[p];
    add(word, make("code", {}, `${process.exe} (pid ${process.pid}): ${process.argv}`));
    word = "Started by";
  }
  return make("tr", { class: "detail" }, make("td", { colspan: Object.keys(columns).length }, list));
}

function toggle(i) {
  opened.has(i) ? opened.delete(i) : opened.add(i);
  drawTable();
  document.querySelector(`tr[data-row="${i}"] .open`).focus();
}

// ---- filters

function readFilters() {
  filter.words = byId("search").value.toLowerCase().split(/\s+/).filter(Boolean);
  filter.op = byId("op").value === "" ? -1 : Number(byId("op").value);
  filter.package = byId("package").value === "" ? -2 : Number(byId("package").value);
  filter.from = byId("from").value === "" ? -Infinity : Number(byId("from").value);
  filter.to = byId("to").value === "" ? Infinity : Number(byId("to").value);
  for (const b of document.querySelectorAll("#verdicts button")) {
    b.setAttribute("aria-pressed", String(filter.verdicts.has(Number(b.dataset.number))));
  }
  const only = filter.process < 0 ? [] : [`only ${exe[filter.process]} (pid ${data.processes[filter.process].pid}) and what it started`,
    make("button", { type: "button", on: { click: () => { filter.process = -1; readFilters(); } } }, "show all processes")];
  byId("only").replaceChildren(...only);
  drawRange();
  select();
}

function setUpFilters() {
  const option = (value, text) => make("option", { value }, text);
  byId("op").append(...data.ops.map((name, i) => [name, i]).sort().map(([name, i]) => option(i, name)));
  byId("package").append(...data.packages.map((name, i) => [name, i]).sort().map(([name, i]) => option(i, name)), option(-1, "(none)"));
  data.verdicts.forEach((name, i) => byId("verdicts").append(make("button", { type: "button", class: "toggle v-" + name, "data-number": i,
    on: { click: () => { filter.verdicts.has(i) ? filter.verdicts.delete(i) : filter.verdicts.add(i); readFilters(); } } }, name)));
  const form = document.querySelector(".filters");
  let waiting;
  form.addEventListener("input", () => { clearTimeout(waiting); waiting = setTimeout(readFilters, total > 20000 ? 120 : 0); });
  form.addEventListener("submit", (e) => e.preventDefault());
  form.addEventListener("reset", () => { filter.verdicts.clear(); filter.process = -1; setTimeout(readFilters); });
  const go = (to) => { page = Math.max(0, Math.min(to, Math.ceil(shown.length / pageSize) - 1)); opened.clear(); drawTable(); };
  byId("first").onclick = () => go(0);
  byId("previous").onclick = () => go(page - 1);
  byId("next").onclick = () => go(page + 1);
  byId("last").onclick = () => go(Infinity);
  for (const [name, c] of Object.entries(columns)) {
    byId("table").tHead.rows[0].append(make("th", { scope: "col", "data-column": name, class: "c-" + name + (c.number ? " n" : "") },
      make("button", { type: "button", on: { click: () => { order = { column: name, down: order.column === name && !order.down }; sort(); } } }, c.title)));
  }
  byId("table").tBodies[0].addEventListener("click", (e) => {
    const row = e.target.closest("tr.row");
    if (row && !String(getSelection())) toggle(Number(row.dataset.row));
  });
}

// ---- timeline

const bins = 180, width = 1000, height = 34;
const span = Math.max(data.seconds, rows.first.reduce((a, b) => Math.max(a, b), 0), 1e-6);
let ranges = [];

function drawTimeline() {
  const counts = data.verdicts.map(() => new Uint32Array(bins));
  for (let i = 0; i < total; i++) counts[rows.verdict[i]][Math.min(bins - 1, Math.max(0, Math.floor(rows.first[i] / span * bins)))]++;
  counts.forEach((lane, v) => {
    const most = lane.reduce((a, b) => Math.max(a, b), 0);
    if (!most) return;
    const svg = make("svg", { viewBox: `0 0 ${width} ${height}`, preserveAspectRatio: "none", role: "img", "aria-label": `${data.verdicts[v]} over time` });
    lane.forEach((n, bin) => {
      if (!n) return;
      const tall = Math.max(3, n / most * (height - 4));
      svg.append(make("rect", { class: "bar", x: bin * width / bins, y: height - tall, width: width / bins - 0.8, height: tall },
        make("title", {}, `${number.format(n)} ${data.verdicts[v]}, ${seconds(bin * span / bins)} to ${seconds((bin + 1) * span / bins)}`)));
    });
    const range = make("rect", { class: "range", y: 0, height, x: 0, width: 0 });
    svg.append(range);
    ranges.push(range);
    choose(svg);
    byId("timeline").append(make("div", { class: "lane v-" + data.verdicts[v] }, make("span", { class: "label" }, data.verdicts[v]), svg,
      make("span", { class: "max" }, "max " + number.format(most))));
  });
  byId("timeline").append(make("div", { class: "axis" }, make("div", {}, ...[0, 0.25, 0.5, 0.75, 1].map((f) => make("span", {}, seconds(f * span))))));
}

// choose lets the pointer choose a range of time; a click is one bar.
function choose(svg) {
  let start = null;
  const at = (e) => { const box = svg.getBoundingClientRect(); return Math.min(1, Math.max(0, (e.clientX - box.left) / box.width)); };
  svg.addEventListener("pointerdown", (e) => { start = at(e); svg.setPointerCapture(e.pointerId); });
  svg.addEventListener("pointermove", (e) => { if (start !== null) showRange(start, at(e)); });
  svg.addEventListener("pointercancel", () => { start = null; drawRange(); });
  svg.addEventListener("pointerup", (e) => {
    if (start === null) return;
    const [a, b] = [Math.min(start, at(e)), Math.max(start, at(e))];
    start = null;
    byId("from").value = (Math.floor(a * bins) / bins * span).toFixed(6);
    byId("to").value = (Math.min(bins, Math.floor(b * bins) + 1) / bins * span).toFixed(6);
    readFilters();
  });
}

function showRange(a, b) {
  for (const r of ranges) {
    r.setAttribute("x", Math.min(a, b) * width);
    r.setAttribute("width", Math.abs(b - a) * width);
  }
}

function drawRange() {
  const all = filter.from === -Infinity && filter.to === Infinity;
  all ? showRange(0, 0) : showRange(Math.max(0, filter.from / span), Math.min(1, filter.to / span));
}

// ---- processes

const children = data.processes.map(() => []), roots = [], own = data.processes.map(() => [0, 0]), beneath = data.processes.map(() => [0, 0]);
const perStep = 100;

function countProcesses() {
  data.processes.forEach((p, i) => (p.parent < 0 ? roots : children[p.parent]).push(i));
  for (let i = 0; i < total; i++) {
    if (rows.process[i] < 0) continue;
    own[rows.process[i]][0]++;
    if (rows.verdict[i] < data.reported) own[rows.process[i]][1]++;
  }
  for (let p = data.processes.length - 1; p >= 0; p--) {
    for (const k of [0, 1]) {
      beneath[p][k] += own[p][k];
      if (data.processes[p].parent >= 0) beneath[data.processes[p].parent][k] += beneath[p][k];
    }
  }
}

function label(p) {
  const process = data.processes[p];
  return [make("span", { class: "exe", title: process.exe }, exe[p]), make("span", { class: "pid" }, "pid " + process.pid + (process.orphan ? ", orphan" : "")),
    make("span", { class: "argv" }, process.argv), make("span", { class: "at" }, "at " + seconds(process.start)),
    beneath[p][1] ? make("span", { class: "chip v-hidden" }, number.format(beneath[p][1]) + " to look at") : null,
    beneath[p][0] ? make("button", { type: "button", on: { click: (e) => {
      e.preventDefault();
      filter.process = p;
      readFilters();
      byId("accesses").scrollIntoView();
    } } }, `${number.format(beneath[p][0])} accesses`) : null];
}

// node makes a process; those that it started are made when it is opened.
function node(p, open) {
  if (!children[p].length) return make("div", { class: "node leaf" }, ...label(p));
  const inner = make("div", { class: "children" });
  const details = make("details", { class: "node", on: { toggle: () => { if (details.open && !inner.firstChild) more(inner, children[p]); } } },
    make("summary", {}, ...label(p)), inner);
  details.open = open > 0;
  if (open > 0) more(inner, children[p], open - 1);
  return details;
}

function more(into, list, open = 0, from = 0) {
  into.append(...list.slice(from, from + perStep).map((p) => node(p, open)));
  const left = list.length - from - perStep;
  if (left <= 0) return;
  const button = make("button", { type: "button", on: { click: () => { button.remove(); more(into, list, open, from + perStep); } } }, `show more of ${number.format(left)} others`);
  into.append(button);
}

// ---- all of it

setUpFilters();
drawTimeline();
countProcesses();
more(byId("tree"), roots, 1);
for (const section of document.querySelectorAll(".scripted")) section.hidden = false;
byId("timeline-section").hidden = total === 0;
byId("processes").hidden = data.processes.length === 0;
readFilters();
for (const tile of document.querySelectorAll(".tile")) {
  const v = data.verdicts.indexOf(tile.dataset.verdict);
  tile.addEventListener("click", () => { filter.verdicts = new Set([v]); readFilters(); byId("accesses").scrollIntoView(); });
}
document.documentElement.dataset.ready = String(total);
})();
