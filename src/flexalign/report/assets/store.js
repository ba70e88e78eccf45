/* The numbers of all movies, which of them are selected, and their details as they come. */
"use strict";

const flexalign = (() => {
  const data = JSON.parse(document.getElementById("data").textContent);
  const rowOf = new Map(data.names.map((name, row) => [name, row]));
  const details = new Map();
  const selected = new Set();
  const listeners = [];
  const announcer = document.getElementById("announcer");

  function changed() {
    listeners.forEach((listen) => listen(selected));
    say(selected.size === 0 ? "No movie is selected." : `${movies(selected.size)} selected.`);
  }

  /* "1 movie", "5,000 movies" */
  function movies(count) {
    return `${count.toLocaleString("en")} ${count === 1 ? "movie" : "movies"}`;
  }

  /* Read aloud by screen readers. */
  function say(text) {
    announcer.textContent = text;
  }

  /* A number as people read it; a dash where there is none. */
  function number(value, digits = 3) {
    if (value === null || value === undefined) return "–";
    if (typeof value !== "number") return String(value);
    if (Number.isInteger(value)) return String(value);
    return Math.abs(value) >= 1000 ? value.toFixed(0) : String(Number(value.toPrecision(digits)));
  }

  /* An element with attributes and children; a string child is text, never markup. */
  function make(tag, attributes = {}, ...children) {
    const element = document.createElement(tag);
    for (const [name, value] of Object.entries(attributes)) {
      if (name.startsWith("on")) element.addEventListener(name.slice(2), value);
      else if (value !== null && value !== false) element.setAttribute(name, value);
    }
    element.append(...children.filter((child) => child !== null && child !== undefined));
    return element;
  }

  /* Save a text as a file. */
  function save(name, text, type = "text/plain") {
    const file = URL.createObjectURL(new Blob([text], { type }));
    make("a", { href: file, download: name }).click();
    URL.revokeObjectURL(file);
  }

  return {
    data,
    rowOf,
    selected,
    movies,
    say,
    number,
    make,
    save,
    count: data.names.length,

    value: (column, row) => data.values[column][row],
    column: (name) => data.columns.find((column) => column.name === name),
    flagsOf: (row) => data.values.flags[row],
    severityOf: (flag) => data.flags[flag]?.severity ?? "warning",

    onSelect: (listen) => listeners.push(listen),

    /* Select these rows; `more` keeps those that are selected already. */
    select(rows, more = false) {
      if (!more) selected.clear();
      for (const row of rows) selected.add(row);
      changed();
    },

    toggle(row) {
      if (!selected.delete(row)) selected.add(row);
      changed();
    },

    /* The details of a movie if they have come, otherwise undefined. */
    received: (name) => details.get(name),

    /* Called by the scripts in the folder of details, and for the movies inside the page. */
    receive(movie) {
      details.set(movie.name, movie);
    },

    /* The details of a movie: a promise, since they may have to come from their folder. */
    load(name) {
      if (details.has(name)) return Promise.resolve(details.get(name));
      return new Promise((resolve, reject) => {
        const script = make("script", { src: `${data.folder}/${encodeURIComponent(name)}.js` });
        script.onload = () =>
          details.has(name) ? resolve(details.get(name)) : reject(new Error(name));
        script.onerror = () => reject(new Error(name));
        document.head.append(script);
      });
    },
  };
})();

JSON.parse(document.getElementById("inside").textContent).forEach(flexalign.receive);
