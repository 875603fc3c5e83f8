// The page is complete without this script, which adds filters, sorting, keys and cell details. It stores nothing.
"use strict";
(() => {
  const $ = (id) => document.getElementById(id);

  const theme = $("theme");
  theme.parentElement.hidden = false;
  theme.addEventListener("change", () => { document.documentElement.dataset.theme = theme.value; });

  // Paper shows what is folded. The style sheet does so, too, but not in every browser.
  let unfolded = [];
  addEventListener("beforeprint", () => {
    unfolded = [...document.querySelectorAll("details:not([open])")];
    for (const part of unfolded) part.open = true;
  });
  addEventListener("afterprint", () => { for (const part of unfolded) part.open = false; });

  const matrix = $("matrix");
  if (!matrix) return;
  const LEAD = 3; // The columns before the models: subject, role and verdict.
  const heads = [...matrix.tHead.rows[1].cells].slice(LEAD);
  const models = heads.map((head) => ({
    label: head.querySelector("i").textContent, ids: head.title.toLowerCase(), family: head.dataset.family,
  }));
  const reasons = [...$("reasons").children].map((item) => item.textContent);
  const groups = [...matrix.tBodies].map((body) => {
    const [domain, ...rows] = body.rows;
    const name = domain.cells[0].firstElementChild.textContent;
    return { body, domain, name, rows: rows.map((row, place) => described(row, place, name)) };
  });
  const all = groups.flatMap((group) => group.rows);

  function described(row, place, domain) {
    const [subject, role, verdict] = [0, 1, 2].map((n) => row.cells[n].textContent);
    return { row, place, subject, role, verdict, text: `${domain} ${subject} ${role}`.toLowerCase() };
  }

  const allowed = (entry) => (entry.allowed ??= entry.row.getElementsByClassName("a").length);
  const ORDER = matrix.dataset.verdicts.split(" ");
  const orders = {
    subject: (a, b) => a.place - b.place,
    role: (a, b) => (a.role < b.role ? -1 : a.role > b.role ? 1 : a.place - b.place),
    verdict: (a, b) => ORDER.indexOf(a.verdict) - ORDER.indexOf(b.verdict) || a.place - b.place,
    allowed: (a, b) => allowed(b) - allowed(a) || a.place - b.place,
  };

  // One CSS rule hides a whole column, which is faster than one rule for each cell.
  const hidden = new CSSStyleSheet();
  document.adoptedStyleSheets = [hidden];
  let shownModels = models.map((_, n) => n);

  function filter() {
    const words = $("filter-row").value.toLowerCase().split(/\s+/).filter(Boolean);
    const model = $("filter-model").value.toLowerCase();
    const family = $("filter-family").value;
    const verdict = $("filter-verdict").value;
    shownModels = [];
    const rules = [];
    models.forEach(({ ids, family: its }, n) => {
      if (ids.includes(model) && (!family || its === family)) shownModels.push(n);
      else rules.push(`#matrix tr:not(.domain) > :nth-child(${n + LEAD + 1}), #matrix colgroup + colgroup > :nth-child(${n + 1})`);
    });
    const width = `#matrix { --columns: ${shownModels.length} !important }`;
    const spans = [...matrix.tHead.querySelectorAll(".family")].map((head, place) => {
      const number = shownModels.filter((n) => models[n].family === head.dataset.family).length;
      return `#matrix .of-${place} { ${number ? `grid-column: span ${number} !important` : "display: none"} }`;
    });
    hidden.replaceSync(rules.length ? `${rules.join(",")} { display: none } ${width} ${spans.join(" ")}` : "");
    let rows = 0;
    for (const group of groups) {
      let here = 0;
      for (const entry of group.rows) {
        const fits = words.every((word) => entry.text.includes(word)) && (!verdict || entry.verdict === verdict);
        entry.row.hidden = !fits;
        here += fits;
      }
      group.body.hidden = !here;
      rows += here;
    }
    $("shown").value = `${rows} of ${all.length} rows, ${shownModels.length} of ${models.length} columns`;
  }

  function sort() {
    for (const group of groups) group.body.append(...[...group.rows].sort(orders[$("sort").value]).map((e) => e.row));
  }

  let waiting;
  const filters = $("filters");
  filters.hidden = $("keys").hidden = false;
  filters.addEventListener("input", (event) => {
    if (event.target.id === "sort") return sort();
    clearTimeout(waiting);
    waiting = setTimeout(filter, event.target.type === "search" ? 120 : 0);
  });
  filters.addEventListener("submit", (event) => event.preventDefault());
  filters.addEventListener("reset", () => setTimeout(() => { filter(); sort(); }));
  $("shown").value = `${all.length} of ${all.length} rows, ${models.length} of ${models.length} columns`;

  // The tab order has one cell of the table. The arrow keys choose the cell.
  const detail = $("cell");
  let current;

  const decided = (cell) => cell && cell.cellIndex >= LEAD && cell.parentElement.parentElement.tagName === "TBODY"
    && !cell.parentElement.classList.contains("domain");

  function describe(cell) {
    const row = cell.parentElement;
    const [subject, role, verdict] = [0, 1, 2].map((n) => row.cells[n].textContent);
    const domain = row.parentElement.rows[0].cells[0].firstElementChild.textContent;
    const by = cell.dataset.by ? ` ${reasons[cell.dataset.by - 1]}` : "";
    const { label } = models[cell.cellIndex - LEAD], ids = heads[cell.cellIndex - LEAD].title;
    const model = label === ids ? label : `${label} (${ids})`;
    detail.textContent = `${model}: ${cell.textContent}${by}. ${domain}, ${subject}, role ${role} (${verdict})`;
    detail.hidden = false;
  }

  function go(cell) {
    if (current) current.tabIndex = -1;
    current = cell;
    cell.tabIndex = 0;
    cell.focus();
  }

  const first = matrix.querySelector("tbody tr:not(.domain) > td:nth-child(4)");
  if (first) { current = first; first.tabIndex = 0; }

  matrix.addEventListener("focusin", (event) => { if (decided(event.target)) describe(event.target); });
  matrix.addEventListener("click", (event) => {
    const cell = event.target.closest("td, th.model");
    if (decided(cell)) go(cell);
    // A finger has no tooltip, so touching the head of a column shows its whole name.
    if (cell && cell.tagName === "TH") {
      detail.textContent = `Column ${cell.cellIndex - LEAD + 1}: ${cell.title}`;
      detail.hidden = false;
    }
  });
  matrix.addEventListener("keydown", (event) => {
    const cell = event.target;
    if (!decided(cell) || event.ctrlKey || event.metaKey || event.altKey) return;
    const rows = groups.filter((g) => !g.body.hidden).flatMap((g) => [...g.body.rows].slice(1)).filter((row) => !row.hidden);
    const y = rows.indexOf(cell.parentElement);
    const x = shownModels.indexOf(cell.cellIndex - LEAD);
    const steps = {
      ArrowUp: [0, -1], ArrowDown: [0, 1], ArrowLeft: [-1, 0], ArrowRight: [1, 0], PageUp: [0, -20], PageDown: [0, 20],
      Home: [-x, 0], End: [shownModels.length - 1 - x, 0],
    };
    const step = steps[event.key];
    if (!step) return;
    event.preventDefault();
    const within = (value, length) => Math.min(Math.max(value, 0), length - 1);
    const row = rows[within(y + step[1], rows.length)];
    const column = shownModels[within(x + step[0], shownModels.length)];
    if (row && column !== undefined) go(row.cells[column + LEAD]);
  });
})();
