// One row, whole: what was asked, what each variant replied, and what it cost.

function tableOf(heads, rows, label) {
  const table = make("table", {});
  const titles = (heads || []).map((head) => make("th", { scope: "col" }, head));
  if (heads) table.append(make("thead", {}, make("tr", {}, ...titles)));
  const cell = (value, place) => {
    if (!heads && place === 0) return make("th", { scope: "row", class: "quiet" }, value);
    const kind = typeof value === "number" ? "n" : !heads || String(value).length > 24 ? "text" : "";
    return make("td", { class: kind }, value === null ? "–" : String(value));
  };
  table.append(make("tbody", {}, ...rows.map((row) => make("tr", {}, ...row.map(cell)))));
  return make("div", { class: "scroll", tabindex: "0", role: "region", "aria-label": label }, table);
}

const folded = (title, ...children) => make("details", {}, make("summary", {}, title), ...children);

// The shortest edit from one text to another, in words, as pairs of a tag and a text. Texts that are too long for it
// are shown as one taken away and one put in its place.
function difference(before, after) {
  const words = (text) => text.match(/[\p{L}\p{N}_]+|\s+|[^\p{L}\p{N}_\s]/gu) || [];
  const [a, b] = [words(before), words(after)];
  let head = 0;
  while (head < a.length && head < b.length && a[head] === b[head]) head += 1;
  let tail = 0;
  const most = Math.min(a.length, b.length) - head;
  while (tail < most && a[a.length - 1 - tail] === b[b.length - 1 - tail]) tail += 1;
  const [x, y] = [a.slice(head, a.length - tail), b.slice(head, b.length - tail)];
  const parts = [["span", a.slice(0, head).join("")], ...edits(x, y), ["span", a.slice(a.length - tail).join("")]];
  return parts.filter(([, text]) => text);
}

function edits(x, y) {
  const width = y.length + 1;
  if ((x.length + 1) * width > 4e6) return [["del", x.join("")], ["ins", y.join("")]];
  const common = new Uint32Array((x.length + 1) * width); // words that x from i on and y from j on have in common
  const at = (i, j) => i * width + j;
  for (let i = x.length - 1; i >= 0; i -= 1) {
    for (let j = y.length - 1; j >= 0; j -= 1) {
      const skipped = Math.max(common[at(i + 1, j)], common[at(i, j + 1)]);
      common[at(i, j)] = x[i] === y[j] ? common[at(i + 1, j + 1)] + 1 : skipped;
    }
  }
  const parts = [];
  const add = (tag, word) => {
    if (parts.at(-1)?.[0] === tag) parts.at(-1)[1] += word;
    else parts.push([tag, word]);
  };
  let [i, j] = [0, 0];
  while (i < x.length || j < y.length) {
    if (i < x.length && j < y.length && x[i] === y[j]) {
      add("span", x[i]);
      i += 1;
      j += 1;
    } else if (j >= y.length || (i < x.length && common[at(i + 1, j)] >= common[at(i, j + 1)])) {
      add("del", x[i]);
      i += 1;
    } else {
      add("ins", y[j]);
      j += 1;
    }
  }
  return parts;
}

class Detail {
  constructor(data, closed) {
    Object.assign(this, { data, closed, against: -1, element: document.getElementById("detail") });
    this.element.replaceChildren(make("p", { class: "quiet" }, "Choose a row."));
  }

  show(row) {
    const { data } = this;
    this.row = row;
    const close = make("button", { class: "close", type: "button" }, "Back to the list");
    close.addEventListener("click", this.closed);
    const parts = [make("div", { class: "bar" }, make("h3", {}, `Row ${row.number}`), close)];
    const cells = data.columns.map((name, place) => [name, row.cells[place]]);
    if (row.messages.length) parts.push(...this.asked(row.messages));
    else if (cells.length) parts.push(tableOf(null, cells, "The row in the input"));
    if (row.target !== null) parts.push(make("h4", {}, "Target"), make("p", { class: "text" }, row.target));
    if (row.group !== null) parts.push(make("h4", {}, "Group"), make("p", { class: "text" }, row.group));
    if (row.replies.length > 1) parts.push(this.comparison());
    parts.push(make("div", { class: "variants" }, ...row.replies.map((reply, place) => this.variant(reply, place))));
    if (cells.length && row.messages.length) parts.push(folded("The row in the input", tableOf(null, cells, "The row in the input")));
    this.element.replaceChildren(...parts);
    this.element.scrollTop = 0;
    document.getElementById("rows").classList.add("chosen");
  }

  asked(messages) {
    const text = (place) => make("p", { class: "text" }, this.data.texts[place]);
    const message = ([role, place]) => make("div", { class: "message" }, make("h4", {}, role), text(place));
    const parts = messages.map(message);
    if (parts.length < 2) return parts;
    const before = parts.slice(0, -1);
    const title = before.length === 1 ? "1 message before" : `${before.length} messages before`;
    return [folded(title, ...before), parts.at(-1)];
  }

  comparison() {
    const options = this.data.variants.map((name, place) => make("option", { value: place }, name));
    const select = make("select", {}, make("option", { value: -1 }, "none"), ...options);
    select.value = this.against;
    select.addEventListener("input", () => {
      this.against = Number(select.value);
      this.show(this.row);
      this.element.querySelector("select").focus();
    });
    return make("p", {}, make("label", { class: "quiet" }, "Show differences from ", select));
  }

  variant(reply, place) {
    const { data } = this;
    const label = data.variants[place] || "Reply";
    const answered = reply.status === "answered";
    const parts = [make("h4", {}, answered ? label : `${label}: ${reply.status}`)];
    if (reply.scores.length) parts.push(this.scores(reply, label));
    const wrong = [reply.error, reply.message].filter(Boolean).join(": ");
    if (wrong) parts.push(make("p", { class: "text failed" }, wrong));
    const structured = answered && data.fields.length;
    const fields = data.fields.map((name, at) => [name, reply.fields[at] ?? null]);
    if (structured) parts.push(tableOf(null, fields, `${label}: fields`));
    const said = this.said(reply, place);
    if (reply.text) parts.push(structured && this.against < 0 ? folded("The reply's text", said) : said);
    if (reply.messages.length) parts.push(folded("What was asked", ...this.asked(reply.messages)));
    const facts = tableOf(null, reply.facts, `${label}: facts`);
    parts.push(this.row.replies.length > 1 ? folded("Model, credits, time", facts) : facts);
    if (reply.attempts.length) parts.push(this.attempts(reply, label));
    return make("div", { class: "variant" }, ...parts);
  }

  said(reply, place) {
    const other = this.row.replies[this.against];
    if (!other || this.against === place) return make("p", { class: "text" }, reply.text);
    return make("p", { class: "text" }, ...difference(other.text, reply.text).map(([tag, text]) => make(tag, {}, text)));
  }

  scores(reply, label) {
    const said = reply.text.trim();
    const rows = reply.scores.map(({ scorer, score, good, why, answer }) => {
      const reasons = [answer && !said.startsWith(answer.replace(/…$/, "")) ? `read as ${answer}` : "", why];
      const told = [good === null ? "" : `${TICKS.get(good)} `, score, reasons.some(Boolean) ? ": " : ""].join("");
      return [scorer, told + reasons.filter(Boolean).join("; ")];
    });
    return tableOf(null, rows, `${label}: scores`);
  }

  attempts(reply, label) {
    const heads = ["request", "attempt", "model", "rows", "came to", "credits", "status", "what happened", "at", "s"];
    const rows = reply.attempts.map((values) => {
      const { request, attempt, model, rows, outcome, credits, status, error, message, at, latency_s } =
        this.data.named("attempt", values);
      const happened = [error, message].filter(Boolean).join(": ") || "reply";
      return [request, attempt, model, rows, outcome, credits, status, happened, at, latency_s];
    });
    const title = rows.length === 1 ? "1 attempt" : `${rows.length} attempts`;
    return folded(title, tableOf(heads, rows, `${label}: attempts`));
  }
}
