"use strict";
// Tables of class `sortable` sort by a click on a heading and, where they are long, filter by what is typed.
// Nothing here makes markup: what came from data is only read, moved and hidden.
for (const table of document.querySelectorAll("table.sortable")) {
  const body = table.tBodies[0];
  const rows = [...body.rows];
  const key = (row, column) => {
    const cell = row.cells[column];
    const text = cell.dataset.v ?? cell.textContent.trim();
    return { text, number: text === "" || text === "-" ? NaN : Number(text.replace(/,/g, "")) };
  };

  [...table.tHead.rows[0].cells].forEach((heading, column) => {
    const button = document.createElement("button");
    button.type = "button";
    button.append(...heading.childNodes);
    heading.append(button);
    button.addEventListener("click", () => {
      const down = heading.getAttribute("aria-sort") === "ascending";
      for (const other of table.tHead.rows[0].cells) other.removeAttribute("aria-sort");
      heading.setAttribute("aria-sort", down ? "descending" : "ascending");
      const keys = new Map(rows.map((row) => [row, key(row, column)]));
      const numeric = rows.every((row) => !Number.isNaN(keys.get(row).number) || /^-?$/.test(keys.get(row).text));
      const known = rows.filter((row) => !/^-?$/.test(keys.get(row).text));
      known.sort((one, other) => {
        const [a, b] = [keys.get(one), keys.get(other)];
        const order = numeric ? a.number - b.number : a.text.localeCompare(b.text);
        return down ? -order : order;
      });
      // What has no value stands last, whichever way the others go.
      body.append(...known, ...rows.filter((row) => /^-?$/.test(keys.get(row).text)));
    });
  });

  if (rows.length < 8) continue;
  const bar = document.createElement("div");
  const input = document.createElement("input");
  const said = document.createElement("span");
  bar.className = "filter";
  input.type = "search";
  input.placeholder = "filter";
  input.setAttribute("aria-label", "show only rows with this text");
  said.setAttribute("role", "status");
  bar.append(input, said);
  (table.closest(".scroll") ?? table).before(bar);
  const texts = new Map();
  input.addEventListener("input", () => {
    const words = input.value.toLowerCase().split(/\s+/).filter(Boolean);
    let left = 0;
    for (const row of rows) {
      if (!texts.has(row)) texts.set(row, row.textContent.toLowerCase());
      row.hidden = !words.every((word) => texts.get(row).includes(word));
      left += row.hidden ? 0 : 1;
    }
    said.textContent = words.length ? `${left.toLocaleString("en")} of ${rows.length.toLocaleString("en")} rows` : "";
  });
}
