"use strict";
(() => {
  const table = document.getElementById("canaries");
  if (!table) return;
  const body = table.tBodies[0];
  const said = document.getElementById("sorted");
  const WORDS = 3; // the columns before the first number
  const key = ({ cells }, column) => (column < WORDS ? cells[column].textContent : cells[column].dataset.sort ?? "");
  const compare = (a, b) => {
    if (a === "" || b === "") return a === b ? 0 : null;
    const [x, y] = [Number(a), Number(b)];
    return Number.isNaN(x) || Number.isNaN(y) ? String(a).localeCompare(String(b)) : x - y;
  };
  table.tHead.querySelectorAll("th").forEach((head, column) => {
    const label = head.textContent.trim();
    const button = document.createElement("button");
    button.type = "button";
    button.append(...head.childNodes);
    head.append(button);
    button.addEventListener("click", () => {
      const sign = head.getAttribute("aria-sort") === "ascending" ? -1 : 1;
      table.tHead.querySelectorAll("th").forEach((other) => other.removeAttribute("aria-sort"));
      head.setAttribute("aria-sort", sign > 0 ? "ascending" : "descending");
      const rows = [...body.rows];
      rows.sort((one, other) => {
        const [a, b] = [key(one, column), key(other, column)];
        const order = compare(a, b);
        return order === null ? (a === "" ? 1 : -1) : sign * order;
      });
      body.append(...rows);
      said.textContent = `sorted by ${label}, ${sign > 0 ? "lowest" : "highest"} first; unknown last`;
    });
  });
})();
