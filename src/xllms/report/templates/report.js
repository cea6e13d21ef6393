"use strict";
(() => {
  const $ = (selector, root = document) => root.querySelector(selector);
  const $$ = (selector, root = document) => [...root.querySelectorAll(selector)];
  const collator = new Intl.Collator("en", { numeric: true });

  // Controls do nothing without this script, so they are hidden until it runs.
  $$(".controls").forEach((controls) => { controls.hidden = false; });
  $$("form").forEach((form) => form.addEventListener("submit", (event) => event.preventDefault()));

  heatMap();
  $$("table.sortable").forEach(sortable);
  $$("[data-filter]").forEach(filterable);
  $$("[data-picker]").forEach(picker);
  window.addEventListener("hashchange", followHash);
  followHash();

  function heatMap() {
    const form = $("[data-map]");
    const map = $(".map");
    const entries = JSON.parse($("#switch").textContent);
    const tiles = $$(".tiles li");

    function paint(entry) {
      const ramp = entry.higher ? "good" : "bad";
      map.className = "map " + ramp;
      $("[data-ramp]").className = "ramp " + ramp;
      $(".legend-title").textContent = entry.label;
      $("[data-low]").textContent = entry.low;
      $("[data-high]").textContent = entry.high;
      $("[data-direction]").textContent = entry.higher ? "higher is better" : "lower is better";
      for (const tile of tiles) {
        const cells = entry.cells[tile.dataset.code];
        tile.hidden = !cells;
        if (!cells) continue;
        $$(".cell", tile).forEach((cell, i) => {
          cell.className = "cell h" + (cells[i][1] === null ? "x" : cells[i][1]);
          $("b", cell).textContent = cells[i][0];
        });
      }
    }

    function rank(entry, order, tile) {
      const cells = entry.cells[tile.dataset.code];
      if (!cells) return Infinity;
      const last = cells[cells.length - 1][2];
      const value = order === "gain" ? (last === null || cells[0][2] === null ? null : last - cells[0][2]) : last;
      return value === null ? Infinity : entry.higher ? -value : value;
    }

    function arrange() {
      const entry = entries[form.elements.metric.value];
      const key = form.elements.group.value;
      const order = form.elements.order.value;
      paint(entry);
      const byName = (a, b) => collator.compare(a.dataset.name, b.dataset.name);
      const sorted = [...tiles].sort(order === "name" ? byName : (a, b) => {
        const x = rank(entry, order, a), y = rank(entry, order, b);
        return x === y ? byName(a, b) : x - y;
      });
      const groups = new Map();
      for (const tile of sorted) {
        const name = key ? tile.dataset[key] : "All languages";
        if (!groups.has(name)) groups.set(name, []);
        groups.get(name).push(tile);
      }
      map.replaceChildren(...groupOrder(key, groups).map(([name, members]) => section(name, members)));
    }

    function groupOrder(key, groups) {
      const classes = ["high", "medium", "low", "very-low", "unknown"];
      const place = (name) => { const i = classes.indexOf(name); return i < 0 ? classes.length : i; };
      return [...groups].sort((a, b) =>
        (key === "resource" ? place(a[0]) - place(b[0]) : shown(b[1]) - shown(a[1])) || collator.compare(a[0], b[0]));
    }

    function shown(members) {
      return members.filter((tile) => !tile.hidden).length;
    }

    function section(name, members) {
      const group = document.createElement("section");
      const title = document.createElement("h3");
      const label = document.createElement("span");
      const count = document.createElement("span");
      const list = document.createElement("ul");
      group.className = "group";
      group.hidden = shown(members) === 0;
      group.setAttribute("aria-label", name);
      count.className = "muted";
      count.textContent = shown(members);
      label.append(name + " ", count);
      title.append(label, ...entries[0].models.map((model) => {
        const small = document.createElement("small");
        small.setAttribute("aria-hidden", "true");
        small.textContent = model;
        return small;
      }));
      list.className = "tiles";
      list.append(...members);
      group.append(title, list);
      return group;
    }

    form.addEventListener("change", arrange);
    // A browser may restore a select's old choice when the page is loaded again.
    arrange();
  }

  function sortable(table) {
    const headers = $$("thead tr:last-child th", table);
    headers.forEach((header, column) => {
      const button = document.createElement("button");
      button.type = "button";
      button.append(...header.childNodes);
      header.append(button);
      button.addEventListener("click", () => {
        const numeric = header.classList.contains("number");
        const before = header.getAttribute("aria-sort");
        const direction = before ? (before === "ascending" ? "descending" : "ascending")
          : numeric ? "descending" : "ascending";
        headers.forEach((other) => other.removeAttribute("aria-sort"));
        header.setAttribute("aria-sort", direction);
        sortRows(table.tBodies[0], column, numeric, direction === "ascending" ? 1 : -1);
      });
    });
  }

  function sortRows(body, column, numeric, sign) {
    const value = (row) => {
      const cell = row.cells[column];
      return cell.dataset.v ?? cell.textContent;
    };
    const compare = (a, b) => {
      const x = value(a), y = value(b);
      if (!numeric) return sign * collator.compare(x, y);
      // What was not measured stays at the end, whichever way the column is sorted.
      if (x === "" || y === "") return (x === "") - (y === "");
      return sign * (x - y);
    };
    body.append(...[...body.rows].sort(compare));
  }

  function filterable(form) {
    const rows = [...document.getElementById(form.dataset.filter).tBodies[0].rows];
    const haystack = new Map(rows.map((row) => [row, fold(row.cells[0].textContent + " " + row.cells[1].textContent)]));
    const apply = () => {
      const text = fold(form.elements.text.value.trim());
      const script = form.elements.script.value, resource = form.elements.resource.value;
      let shown = 0;
      for (const row of rows) {
        row.hidden = !(haystack.get(row).includes(text) && (!script || row.dataset.script === script)
          && (!resource || row.dataset.resource === resource));
        shown += !row.hidden;
      }
      $("output", form).textContent = shown + (shown === 1 ? " language" : " languages");
    };
    form.addEventListener("input", apply);
    apply();
  }

  function fold(text) {
    return text.normalize("NFD").replace(/\p{M}/gu, "").toLowerCase();
  }

  function picker(controls) {
    const select = $("select", controls);
    const all = $$("details[id^='" + controls.dataset.picker + "-']");
    const show = () => {
      for (const one of all) {
        one.hidden = select.value !== "" && one.id !== select.value;
        one.open = one.id === select.value;
      }
    };
    select.addEventListener("change", show);
    $$("[data-move]", controls).forEach((button) => button.addEventListener("click", () => {
      const languages = all.length;
      const now = select.value === "" ? -1 : select.selectedIndex;
      const next = now < 0 && button.dataset.move < 0 ? languages - 1 : now + Number(button.dataset.move);
      select.selectedIndex = (next + languages) % languages;
      show();
    }));
    controls.addEventListener("pick", (event) => { select.value = event.detail; show(); });
    show();
  }

  // A row may be called anything: 50% is no address.
  function named(address) {
    try { return document.getElementById(decodeURIComponent(address)); } catch { return document.getElementById(address); }
  }

  function followHash() {
    const target = named(location.hash.slice(1));
    if (!target) return;
    for (let fold = target.closest("details"); fold; fold = fold.parentElement.closest("details")) fold.open = true;
    const controls = target.matches("details.samples") && $$("[data-picker]").find(
      (one) => target.id.startsWith(one.dataset.picker + "-"));
    if (controls) controls.dispatchEvent(new CustomEvent("pick", { detail: target.id }));
    if (target.hidden) {
      const form = $("[data-filter='" + target.closest("table")?.id + "']");
      if (form) { form.reset(); form.dispatchEvent(new Event("input")); }
    }
    target.scrollIntoView();
  }
})();
