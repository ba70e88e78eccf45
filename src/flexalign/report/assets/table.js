/* The table of all movies: sorted, filtered, and selected together with the plots. */
"use strict";

const table = (() => {
  const element = document.getElementById("table");
  if (!element) return null;
  const { data, make, number, value } = flexalign;
  /* Columns of which no movie has a value are left out. */
  const shown = data.columns.filter(
    ({ name, inTable }) =>
      inTable && name !== "flags" && data.values[name].some((found) => found !== null),
  );
  const isNumber = (column) =>
    data.values[column.name].every((one) => one === null || typeof one === "number");
  const byId = (id) => document.getElementById(id);
  const escape = (text) => DataTable.util.escapeHtml(String(text));
  /* What DataTables asks of a cell with text. It reads text to filter by as markup too. */
  const cell = (text, type, markup = escape(text)) =>
    ({ display: markup, filter: escape(text) })[type] ?? text;

  /* Sorted by this, problems come before warnings before notes, and many flags before few. */
  const severities = ["problem", "warning", "note"];
  const worstFirst = (row, flags) => {
    const rank = flags.length ? severities.indexOf(value("severity", row)) : severities.length;
    return `${rank}${String(99 - flags.length).padStart(2, "0")}${flags.join(" ")}`;
  };

  const columns = [
    {
      title: '<span class="unseen">More</span>',
      ariaTitle: "More",
      data: null,
      defaultContent: "",
      className: "dtr-control",
      orderable: false,
      searchable: false,
      responsivePriority: 1,
    },
    {
      title: '<span class="unseen">Selected</span>',
      ariaTitle: "Selected",
      data: null,
      orderable: false,
      searchable: false,
      responsivePriority: 1,
      render: (row) =>
        `<input type="checkbox" data-row="${row}" aria-label="Select ${escape(data.names[row])}"${flexalign.selected.has(row) ? " checked" : ""}>`,
    },
    {
      title: "No.",
      data: null,
      type: "num",
      responsivePriority: 30,
      searchable: false,
      render: (row) => row + 1,
    },
    {
      title: "Movie",
      data: null,
      className: "name",
      responsivePriority: 2,
      render: (row, type) => {
        const name = escape(data.names[row]);
        const button = `<button type="button" class="link" data-movie="${name}">${name}</button>`;
        return cell(data.names[row], type, button);
      },
    },
    {
      title: "Flags",
      data: null,
      responsivePriority: 3,
      render: (row, type) => {
        const flags = flexalign.flagsOf(row);
        if (type === "sort" || type === "type") return worstFirst(row, flags);
        const chips = flags.map(
          (flag) =>
            `<span class="chip ${escape(flexalign.severityOf(flag))}">${escape(flag)}</span>`,
        );
        return cell(flags.join(" "), type, chips.join(" "));
      },
    },
    ...shown.map((column) => ({
      title: `<span title="${escape(column.about)}">${escape(column.heading)}</span>`,
      ariaTitle: column.heading,
      data: null,
      searchable: !isNumber(column),
      type: isNumber(column) ? "num" : "string",
      responsivePriority: 3 + column.priority,
      className: isNumber(column) ? "dt-right" : "",
      render: (row, type) => {
        const found = value(column.name, row);
        const isText = !isNumber(column);
        if (isText || type === "display") return cell(type === "display" ? number(found) : (found ?? ""), type);
        return found ?? -Infinity;
      },
    })),
  ];

  const grid = new DataTable(element, {
    data: data.names.map((_, row) => row),
    columns,
    responsive: { details: { type: "column", target: 0 } },
    order: [[2, "asc"]],
    orderMulti: true,
    pageLength: 25,
    lengthMenu: [10, 25, 50, 100, 250],
    autoWidth: false,
    deferRender: true,
    layout: { topStart: "search", topEnd: "pageLength", bottomStart: "info", bottomEnd: "paging" },
    language: {
      search: "Search",
      lengthMenu: "_MENU_ rows",
      info: "_START_ to _END_ of _TOTAL_ movies",
      infoEmpty: "no movies",
      infoFiltered: "(of _MAX_)",
      zeroRecords: "No movie fits the filters.",
    },
    drawCallback: () => markRows(),
  });

  /* Show in the rows of this page which are selected. */
  function markRows() {
    element.querySelectorAll("input[data-row]").forEach((box) => {
      const isChosen = flexalign.selected.has(Number(box.dataset.row));
      box.checked = isChosen;
      box.closest("tr").classList.toggle("chosen", isChosen);
      box.closest("tr").setAttribute("aria-selected", String(isChosen));
    });
  }

  function fits(row) {
    const flag = byId("filter-flag").value;
    const flags = flexalign.flagsOf(row);
    if (flag === "*" ? !flags.length : flag === "-" ? flags.length : flag && !flags.includes(flag))
      return false;
    if (byId("filter-selected").checked && !flexalign.selected.has(row)) return false;
    const [low, high] = [byId("filter-low").value, byId("filter-high").value];
    if (low === "" && high === "") return true;
    const found = value(byId("filter-column").value, row);
    return (
      found !== null &&
      (low === "" || found >= Number(low)) &&
      (high === "" || found <= Number(high))
    );
  }

  shown
    .filter(isNumber)
    .forEach((column) =>
      byId("filter-column").append(make("option", { value: column.name }, column.heading)),
    );
  grid.search.fixed("filters", (text, row) => fits(row));
  byId("filters").addEventListener("input", () => grid.draw());
  byId("filters").addEventListener("submit", (event) => event.preventDefault());

  element.addEventListener("change", ({ target }) => {
    if (target.matches("input[data-row]")) flexalign.toggle(Number(target.dataset.row));
  });

  const shownRows = () => grid.rows({ search: "applied", order: "applied" }).data().toArray();
  byId("select-shown").addEventListener("click", () => flexalign.select(shownRows()));
  byId("select-none").addEventListener("click", () => {
    flexalign.select([]);
    showSelected(false);
  });
  byId("save-names").addEventListener("click", () => {
    const paths = [...flexalign.selected]
      .sort((a, b) => a - b)
      .map((row) => value("movie", row) ?? data.names[row]);
    flexalign.save("selected_movies.txt", `${paths.join("\n")}\n`);
  });

  /* Whether the table shows only what is selected. */
  function showSelected(isOn) {
    byId("filter-selected").checked = isOn;
    grid.draw();
  }

  flexalign.onSelect((selected) => {
    byId("selection-count").textContent = selected.size
      ? `${flexalign.movies(selected.size)} selected.`
      : "No movie is selected.";
    byId("select-none").disabled = byId("save-names").disabled = selected.size === 0;
    if (byId("filter-selected").checked) grid.draw(false);
    else markRows();
  });

  return { grid, shownRows, showSelected };
})();
