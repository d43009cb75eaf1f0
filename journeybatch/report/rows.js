"use strict";
// The rows that travel packed in the page, and the list of them. Texts become text nodes, never markup.

const HEIGHT = 52; // pixels of an option in the list, as in page.css

function make(tag, attributes = {}, ...children) {
  const element = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) element.setAttribute(name, value);
  element.append(...children);
  return element;
}

async function unpacked(text) {
  const bytes = Uint8Array.from(atob(text), (letter) => letter.charCodeAt(0));
  const stream = new Blob([bytes]).stream().pipeThrough(new DecompressionStream("deflate"));
  const data = await new Response(stream).json();
  const named = (shape, values) =>
    Object.fromEntries(data.shapes[shape].map((name, place) => [name, values[place]]));
  data.named = named;
  data.rows = data.rows.map((values) => {
    const row = named("row", values);
    row.replies = row.replies.map((reply) => named("reply", reply));
    for (const reply of row.replies) reply.scores = reply.scores.map((score) => named("score", score));
    return row;
  });
  return data;
}

const flat = (text) => text.slice(0, 300).replace(/\s+/g, " ").trim();
const TICKS = new Map([[true, "✓"], [false, "✗"], [null, "·"]]);

// What a row was asked; where variants ask in different words, what the first one asked.
function lastMessage(data, row) {
  const messages = row.messages.length ? row.messages : row.replies[0].messages;
  return messages.length ? data.texts[messages.at(-1)[1]] : "";
}

// How each reply fares by the scorer that decides: ✓ right, ✗ wrong, · neither.
const ticks = (row) => row.replies.map((reply) => TICKS.get(reply.scores[0]?.good ?? null)).join("");

// What all prompts begin with says nothing about a row.
function commonStart(data) {
  let start = null;
  for (const row of data.rows) {
    const text = lastMessage(data, row);
    if (start === null) start = text;
    let end = 0;
    while (end < start.length && start[end] === text[end]) end += 1;
    start = start.slice(0, end);
    if (!start) break;
  }
  return data.rows.length > 1 && start ? start.replace(/\S*$/, "").length : 0;
}

function hay(data, row) {
  if (row.hay === undefined) {
    const messages = [...row.messages, ...row.replies.flatMap((reply) => reply.messages)];
    const parts = [...row.cells, ...messages.map(([, place]) => data.texts[place]), row.target, row.group];
    for (const reply of row.replies) parts.push(reply.text, reply.error, reply.message, ...reply.fields);
    row.hay = parts.filter(Boolean).join("\n").toLowerCase();
  }
  return row.hay;
}

const most = (row, measure) => Math.max(...row.replies.map(measure));
const total = (row, measure) => row.replies.reduce((sum, reply) => sum + measure(reply), 0);

// How rows can be sorted, the greatest key first, and how that key is shown beside a row.
const ORDERS = {
  "row number": null,
  "slowest first": {
    key: (row) => most(row, (reply) => reply.latency_s ?? -1),
    shown: (key) => (key < 0 ? "" : `${key.toFixed(2)} s`),
  },
  "most credits first": {
    key: (row) => total(row, (reply) => Number(reply.credits)),
    shown: (key) => String(Number(key.toFixed(6))),
  },
  "most attempts first": { key: (row) => most(row, (reply) => reply.attempts.length), shown: String },
  "longest reply first": { key: (row) => most(row, (reply) => reply.text.length), shown: String },
  "shortest reply first": { key: (row) => most(row, (reply) => -reply.text.length), shown: (key) => String(-key) },
};

class List {
  constructor(data, chosen) {
    Object.assign(this, { data, chosen, at: -1, key: null, start: commonStart(data) });
    this.scored = data.rows[0].replies.length <= 8 && data.rows.some((row) => row.replies[0].scores.length);
    const ids = ["list", "tall", "search", "mark", "order", "found", "tools"];
    for (const id of ids) this[id] = document.getElementById(id);
    this.list.parentElement.style.setProperty("--rows", data.rows.length);
    this.fill();
    this.filter();
    this.tools.addEventListener("submit", (event) => event.preventDefault());
    for (const name of ["search", "mark", "order"]) this[name].addEventListener("input", () => this.filter());
    this.list.addEventListener("scroll", () => requestAnimationFrame(() => this.draw()));
    this.list.addEventListener("click", (event) => {
      const option = event.target.closest(".option");
      if (option) this.choose(Number(option.dataset.at), true);
    });
    new ResizeObserver(() => this.draw()).observe(this.list);
  }

  fill() {
    const { rows, marks } = this.data;
    this.mark.append(make("option", { value: "" }, `all ${rows.length.toLocaleString("en")}`));
    const counts = marks.map(() => 0);
    for (const row of rows) for (const mark of row.marks) counts[mark] += 1;
    const groups = new Map();
    marks.forEach((mark, place) => {
      if (!counts[place]) return;
      if (!groups.has(mark.group)) groups.set(mark.group, make("optgroup", { label: mark.group }));
      const label = `${mark.name} (${counts[place].toLocaleString("en")})`;
      groups.get(mark.group).append(make("option", { value: place }, label));
    });
    this.mark.append(...groups.values());
    this.order.append(...Object.keys(ORDERS).map((name) => make("option", { value: name }, name)));
  }

  filter() {
    const { data } = this;
    const wanted = this.search.value.toLowerCase();
    const mark = this.mark.value === "" ? null : Number(this.mark.value);
    const order = ORDERS[this.order.value];
    const current = this.row;
    const marked = (row) => mark === null || row.marks.includes(mark);
    this.shown = data.rows.filter((row) => marked(row) && (!wanted || hay(data, row).includes(wanted)));
    this.key = order && new Map(this.shown.map((row) => [row, order.key(row)]));
    if (order) this.shown.sort((one, other) => this.key.get(other) - this.key.get(one) || one.number - other.number);
    const [found, all] = [this.shown.length, data.rows.length].map((count) => count.toLocaleString("en"));
    this.found.textContent = found === all ? `${all} rows` : `${found} of ${all} rows`;
    this.tall.style.height = `${this.shown.length * HEIGHT}px`;
    this.at = current ? this.shown.indexOf(current) : -1;
    if (this.at < 0) this.list.scrollTop = 0;
    else this.reveal();
    this.draw();
  }

  get row() {
    return this.shown && this.shown[this.at];
  }

  choose(at, open) {
    if (!this.shown.length) return;
    this.at = Math.max(0, Math.min(at, this.shown.length - 1));
    this.reveal();
    this.draw();
    this.chosen(this.row, open);
  }

  // The row of that number, whatever the filters say now.
  find(number) {
    let at = this.shown.findIndex((row) => row.number === number);
    if (at < 0 && this.data.rows.some((row) => row.number === number)) {
      this.search.value = this.mark.value = "";
      this.filter();
      at = this.shown.findIndex((row) => row.number === number);
    }
    if (at >= 0) this.choose(at, true);
    return at >= 0;
  }

  reveal() {
    const top = this.at * HEIGHT;
    const { scrollTop, clientHeight } = this.list;
    const [above, below] = [scrollTop - top, top + HEIGHT - scrollTop - clientHeight];
    if (Math.max(above, below) > HEIGHT) this.list.scrollTop = top - (clientHeight - HEIGHT) / 2;
    else if (above > 0) this.list.scrollTop = top;
    else if (below > 0) this.list.scrollTop += below;
  }

  // Only what can be seen is in the document.
  draw() {
    const { list, shown } = this;
    const first = Math.max(0, Math.floor(list.scrollTop / HEIGHT) - 3);
    const last = Math.min(shown.length, first + Math.ceil(list.clientHeight / HEIGHT) + 6);
    const options = shown.slice(first, last).map((row, place) => this.option(row, first + place));
    this.tall.replaceChildren(...options);
    if (!shown.length) {
      const empty = { class: "empty", role: "option", "aria-disabled": "true" };
      this.tall.append(make("div", empty, "No row is like this."));
    }
    const active = this.at >= first && this.at < last;
    if (active) list.setAttribute("aria-activedescendant", `row-${this.row.number}`);
    else list.removeAttribute("aria-activedescendant");
  }

  option(row, at) {
    const asked = lastMessage(this.data, row);
    const bad = row.replies.find((reply) => reply.status !== "answered");
    const [first] = row.replies;
    const fields = first.fields.map((value) => value ?? "–").join(" · ");
    const said = bad ? [bad.status, bad.error].filter(Boolean).join(": ") : fields || first.text;
    const order = ORDERS[this.order.value];
    const attributes = {
      class: "option",
      role: "option",
      id: `row-${row.number}`,
      "data-at": at,
      "aria-selected": at === this.at,
      "aria-setsize": this.shown.length,
      "aria-posinset": at + 1,
    };
    const element = make(
      "div",
      attributes,
      make("span", {}, flat(asked.slice(this.start) || asked)),
      make("span", { class: "number" }, String(row.number)),
      make("span", { class: bad && bad.status === "failed" ? "failed" : "said" }, flat(said)),
      make("span", { class: "number" }, order ? order.shown(this.key.get(row)) : this.scored ? ticks(row) : ""),
    );
    element.style.top = `${at * HEIGHT}px`;
    return element;
  }
}
