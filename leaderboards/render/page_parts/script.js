"use strict";
// Sorting, filtering, and the first rows of each table until one asks for all. Without this script the page is the same tables, best row first.
(() => {
  const boards = [...document.querySelectorAll(".board")];
  const filter = document.getElementById("filter");
  const status = document.getElementById("status");

  const few = matchMedia("(max-width: 46rem)").matches ? 4 : 8;

  const compare = (a, b) => {
    if (a === "" || b === "") return (a === "") - (b === ""); // nothing to compare sorts last, both ways
    const numbers = [Number(a), Number(b)];
    return numbers.some(Number.isNaN) ? (a < b ? -1 : Number(a > b)) : numbers[0] - numbers[1];
  };

  const sort = (table, column, header) => {
    const descending = header.ariaSort !== "descending";
    const value = (body) => body.rows[0].cells[column].dataset.sort;
    const sign = (a, b) => (descending && a !== "" && b !== "" ? -1 : 1);
    [...table.tBodies]
      .map((body) => [value(body), body])
      .sort(([a], [b]) => sign(a, b) * compare(a, b))
      .forEach(([, body]) => table.append(body));
    for (const other of table.tHead.rows[0].cells) other.removeAttribute("aria-sort");
    header.setAttribute("aria-sort", descending ? "descending" : "ascending");
    update();
  };

  for (const table of document.querySelectorAll(".board table")) {
    [...table.tHead.rows[0].cells].forEach((header, column) => {
      const button = document.createElement("button");
      button.type = "button";
      button.append(...header.childNodes);
      button.addEventListener("click", () => sort(table, column, header));
      header.append(button);
    });
  }

  const update = () => {
    const words = filter.value.toLowerCase().split(/\s+/).filter(Boolean);
    const matches = (element) => words.every((word) => element.dataset.name.includes(word));
    let shown = 0;
    let total = 0;
    for (const board of boards) {
      const whole = board.querySelector(".whole");
      const folded = whole && !whole.hidden && !words.length && !status.value;
      let here = 0;
      for (const body of board.querySelectorAll("tbody")) {
        const own = body.dataset.status ?? board.dataset.status;
        const keep = matches(body) && (!status.value || own === status.value);
        body.hidden = !keep || (folded && here >= few);
        here += keep;
        total += 1;
      }
      board.hidden = here === 0;
      shown += here;
    }
    for (const point of document.querySelectorAll(".point")) point.classList.toggle("off", !matches(point));
    document.getElementById("shown").textContent = `${shown} of ${total} rows`;
  };

  for (const board of boards) {
    const rows = board.querySelectorAll("tbody").length;
    if (rows <= few) continue;
    const whole = document.createElement("button");
    whole.type = "button";
    whole.className = "whole";
    whole.textContent = `all ${rows} rows`;
    whole.addEventListener("click", () => { whole.hidden = true; update(); });
    board.querySelector(".scroll").after(whole);
  }
  filter.addEventListener("input", update);
  status.addEventListener("change", update);
  const controls = document.querySelector(".controls");
  controls.addEventListener("submit", (event) => event.preventDefault());
  controls.hidden = false;
  update();
})();
