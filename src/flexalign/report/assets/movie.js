/* One movie: what it looks like, where it went, what its spectrum gained, and what to do about it. */
"use strict";

const movie = (() => {
  const place = document.getElementById("movie");
  const dialog = document.getElementById("dialog");
  const { data, make, number, value } = flexalign;
  const MARK = "#movie=";
  let order = [];
  let shown = -1;

  function list(heads, rows) {
    return make(
      "table",
      { class: "plain" },
      make("thead", {}, make("tr", {}, ...heads.map((head) => make("th", { scope: "col" }, head)))),
      make(
        "tbody",
        {},
        ...rows.map(([first, ...rest]) =>
          make(
            "tr",
            {},
            make("th", { scope: "row" }, first),
            ...rest.map((cell) => make("td", {}, cell)),
          ),
        ),
      ),
    );
  }

  const folded = (title, ...content) => make("details", {}, make("summary", {}, title), ...content);

  function advice(details) {
    const flags = details.quality.flags ?? [];
    if (!flags.length && !details.warnings.length)
      return make("p", { class: "quiet" }, "Nothing is flagged.");
    return make(
      "ul",
      { class: "advice-list" },
      ...flags.map((flag) => {
        const known = data.flags[flag.name] ?? {};
        return make(
          "li",
          {},
          make("span", { class: `chip ${flag.severity}` }, flag.name),
          ` ${flag.message || known.meaning || ""}`,
          known.cause ? make("p", {}, make("strong", {}, "Likely cause. "), known.cause) : null,
          flag.remedy || known.remedy
            ? make("p", {}, make("strong", {}, "What to do. "), flag.remedy || known.remedy)
            : null,
        );
      }),
      ...details.warnings.map((warning) => make("li", { class: "warned" }, warning)),
    );
  }

  function numbers(row) {
    const shownColumns = data.columns.filter(
      (column) => column.inTable && column.name !== "flags" && value(column.name, row) !== null,
    );
    const groups = [...new Set(shownColumns.map(({ group }) => group))];
    return make(
      "div",
      { class: "number-groups" },
      ...groups.map((group) => {
        const inGroup = shownColumns.filter((column) => column.group === group);
        return make("div", {}, make("h3", {}, group), numbersOf(row, inGroup));
      }),
    );
  }

  function numbersOf(row, columns) {
    return make(
      "dl",
      { class: "numbers" },
      ...columns.map(({ name, title, unit, about }) =>
        make(
          "div",
          {},
          make("dt", { title: about }, title),
          make("dd", {}, `${number(value(name, row))}${unit ? ` ${unit}` : ""}`),
        ),
      ),
    );
  }

  const inWords = (found) =>
    found === null || found === undefined
      ? "–"
      : typeof found === "object"
        ? JSON.stringify(found)
        : number(found, 6);

  function origin(details) {
    const inputs = Object.entries(details.inputs).map(([role, file]) => [
      role,
      file.path,
      `SHA-256 ${file.sha256} of the ${file.sha256_of}`,
    ]);
    const outputs = Object.entries(details.outputs).map(([kind, name]) => [
      kind,
      make("a", { href: name.split("/").map(encodeURIComponent).join("/") }, name),
    ]);
    return make(
      "div",
      {},
      folded(
        "Parameters",
        list(
          ["Parameter", "Value"],
          Object.entries(details.parameters).map(([name, found]) => [name, inWords(found)]),
        ),
      ),
      folded(
        "Decisions",
        list(
          ["What", "Value"],
          Object.entries(details.decisions).map(([name, found]) => [name, inWords(found)]),
        ),
      ),
      folded("Inputs", list(["What", "File", "Content"], inputs)),
      folded("Files that were written", list(["What", "File"], outputs)),
      folded(
        "Time and memory",
        list(
          ["Stage", "Seconds"],
          Object.entries(details.timings_s).map(([stage, found]) => [stage, inWords(found)]),
        ),
        make(
          "p",
          { class: "quiet" },
          `At most ${number(details.peak_memory_bytes / 1e9)} GB of memory; flexalign ${details.version}.`,
        ),
      ),
    );
  }

  function head(row) {
    const name = data.names[row];
    const here = order.indexOf(row);
    const step = (by, words) =>
      make(
        "button",
        {
          type: "button",
          onclick: () => show(order[here + by]),
          "data-step": by,
          disabled: order[here + by] === undefined ? "" : null,
        },
        words,
      );
    const chosen = make("input", {
      type: "checkbox",
      onchange: () => flexalign.toggle(row),
      checked: flexalign.selected.has(row) ? "" : null,
    });
    return make(
      "header",
      { class: "movie-head" },
      make("h2", { id: "movie-name", tabindex: -1 }, name),
      ...(dialog
        ? [
            make("label", { class: "tick" }, chosen, " selected"),
            step(-1, "Previous"),
            step(1, "Next"),
            make("button", { type: "button", onclick: () => dialog.close() }, "Close"),
          ]
        : []),
    );
  }

  /* Fill the place of the movie; details come when they are there. */
  async function show(row) {
    shown = row;
    if (dialog) history.replaceState(null, "", `${MARK}${encodeURIComponent(data.names[row])}`);
    charts.remove(place);
    const body = make(
      "div",
      { class: "movie-body" },
      make("p", { class: "quiet", role: "status" }, "Loading…"),
    );
    place.replaceChildren(head(row), body);
    if (dialog) place.querySelector("h2").focus();
    const details = await flexalign.load(data.names[row]).catch(() => null);
    if (shown !== row) return; // another movie was opened meanwhile
    if (details) fill(body, row, details);
    else body.replaceChildren(numbers(row), make("p", { class: "note" }, withoutDetails()));
  }

  const withoutDetails = () =>
    `The details of this movie are in the folder ${data.folder}, which is not beside this page. ` +
    "Open the page where it was made.";

  function fill(body, row, details) {
    const { motion } = details;
    const grid = make("div", { class: "movie-grid" });
    body.replaceChildren(advice(details), numbers(row), grid, origin(details));
    const parts = [
      micrographFigure(details),
      motion && motion.frame.length > 1 ? motionFigures.drift(motion) : null,
      signalFigures.bands(details),
      signalFigures.counts(details),
      motion ? motionFigures.trajectory(motion) : null,
      signalFigures.spectra(details),
      motionFigures.scores(details),
    ];
    grid.append(...parts.filter(Boolean));
    figures.drawWaiting();
  }

  function open(row) {
    order = orderAround(row);
    if (!dialog.open) dialog.showModal();
    show(row);
  }

  /* The address of the page names the movie that is open, so that it can be sent to someone. */
  function follow(hash) {
    const name = hash.startsWith(MARK) ? decodeURIComponent(hash.slice(MARK.length)) : null;
    if (flexalign.rowOf.has(name) && dialog) open(flexalign.rowOf.get(name));
  }

  /* The movies in the order of the table, so that "next" means what a person sees. */
  function orderAround(row) {
    const rows = table?.shownRows() ?? [];
    return rows.includes(row) ? rows : [row];
  }

  dialog?.addEventListener("close", () => {
    charts.remove(place);
    place.replaceChildren();
    shown = -1;
    history.replaceState(null, "", "#movies");
  });
  dialog?.addEventListener("click", (event) => {
    if (event.target === dialog) dialog.close();
  });
  dialog?.addEventListener("keydown", (event) => {
    const step = { ArrowLeft: -1, ArrowRight: 1 }[event.key];
    if (step && !event.target.matches("input, .scroll, .picture-view"))
      place.querySelector(`[data-step="${step}"]`)?.click();
  });

  return { open, show, follow };
})();
