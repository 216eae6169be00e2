// Tables of class "sortable" sort by a click, or Enter, on a heading. Without this they just stand.
for (const table of document.querySelectorAll("table.sortable")) {
  const body = table.tBodies[0];
  const heads = [...table.tHead.rows[0].cells];
  const text = (row, column) => row.cells[column].textContent.trim();
  heads.forEach((head, column) => {
    const button = document.createElement("button");
    button.type = "button";
    button.append(...head.childNodes);
    head.append(button);
    button.addEventListener("click", () => {
      const up = head.getAttribute("aria-sort") !== "ascending";
      heads.forEach((other) => other.removeAttribute("aria-sort"));
      head.setAttribute("aria-sort", up ? "ascending" : "descending");
      const sorted = [...body.rows].sort((a, b) => {
        const [one, other] = [text(a, column), text(b, column)];
        const apart = one - other; // not a number where one of them is none
        const order = isNaN(apart) ? one.localeCompare(other, "en", { numeric: true }) : apart;
        return up ? order : -order;
      });
      body.append(...sorted);
    });
  });
}
