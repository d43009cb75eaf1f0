// What happens in the page: unpacking, choosing a row, keys, links to a row, and printing.

async function start() {
  const packed = document.getElementById("data");
  if (!packed) return;
  const browser = document.getElementById("browser");
  browser.hidden = false;
  if (!("DecompressionStream" in window)) {
    browser.replaceChildren(make("p", { class: "warning" }, "This browser is too old to unpack the rows."));
    return;
  }
  document.getElementById("found").textContent = "unpacking …";
  const data = await unpacked(packed.textContent);
  packed.remove();
  const close = () => {
    detail.element.classList.remove("open");
    list.list.focus();
  };
  const detail = new Detail(data, close);
  const list = new List(data, (row, open) => {
    detail.show(row);
    history.replaceState(null, "", `#row=${row.number}`);
    if (!open) return;
    detail.element.classList.add("open");
    if (getComputedStyle(detail.element).position === "fixed") detail.element.focus();
  });
  follow(list);
  window.addEventListener("hashchange", () => follow(list));
  document.addEventListener("keydown", (event) => pressed(event, list, detail, close));
  document.documentElement.dataset.ready = "";
}

function follow(list) {
  const wanted = /^#row=(\d+)$/.exec(location.hash);
  if (wanted && list.find(Number(wanted[1]))) document.getElementById("rows").scrollIntoView();
}

function pressed(event, list, detail, close) {
  if (event.ctrlKey || event.metaKey || event.altKey) return;
  const { key, target } = event;
  const typing = target.closest("input, select, textarea");
  const page = Math.max(1, Math.floor(list.list.clientHeight / HEIGHT) - 1);
  const steps = { j: 1, k: -1 };
  const arrows = { ArrowDown: 1, ArrowUp: -1, PageDown: page, PageUp: -page, Home: -Infinity, End: Infinity };
  if (target === list.list) Object.assign(steps, arrows);
  if (key === "Escape") {
    if (target === list.search && list.search.value) {
      list.search.value = "";
      list.filter();
    } else if (target.closest("#browser")) close();
    else return;
  } else if (target === list.search && (key === "Enter" || key === "ArrowDown")) {
    list.list.focus();
    list.choose(Math.max(list.at, 0), false);
  } else if (typing) return;
  else if (key === "/") {
    list.search.focus();
    list.search.select();
  } else if (key in steps) list.choose(list.at + steps[key], detail.element.classList.contains("open"));
  else if (key === "Enter" && target === list.list) {
    list.choose(Math.max(list.at, 0), true);
    detail.element.focus();
  } else return;
  event.preventDefault();
}

let opened = [];
window.addEventListener("beforeprint", () => {
  opened = [...document.querySelectorAll("details:not([open])")];
  for (const element of opened) element.open = true;
});
window.addEventListener("afterprint", () => {
  for (const element of opened) element.open = false;
});

start();
