/* The horizontal axis of the session: the order of the movies, or a time. */
"use strict";

const sessionAxis = (() => {
  const choice = document.getElementById("session-axis");
  if (!choice) return null;
  const { data, make } = flexalign;
  const KEY = "flexalign-session-axis"; // remembered when the page reloads itself
  const listeners = [];

  /* The clock of a microscope has no time zone: it is shown as it is. */
  const acquired = data.values.acquired.map((text) =>
    text === null ? null : Date.parse(`${text.replace(" ", "T")}Z`),
  );
  const written = data.values.movie_time_s.map((time_s) => (time_s === null ? null : 1000 * time_s));
  const kinds = {
    order: { words: "order of the movies", name: "movie" },
    acquired: {
      words: "time of acquisition",
      name: "time of acquisition, by the clock of the microscope",
      times: acquired,
      isUtc: true,
    },
    written: {
      words: "time of the movie files",
      name: "time at which the file of the movie was written",
      times: written,
    },
  };
  for (const [kind, { words, times }] of Object.entries(kinds)) {
    if (!times || new Set(times.filter((time) => time !== null)).size > 1)
      choice.append(make("option", { value: kind }, words));
  }

  const stored = (() => {
    try {
      return sessionStorage.getItem(KEY);
    } catch {
      return null; // a browser that forbids it
    }
  })();
  if ([...choice.options].some(({ value }) => value === stored)) choice.value = stored;

  const chosen = () => kinds[choice.value];
  /* Where a movie is on the axis; null for one without a time. */
  const at = (row) => (chosen().times ? chosen().times[row] : row + 1);

  function options(color) {
    const { name, times } = chosen();
    const labels = { color: color.quiet, hideOverlap: true };
    if (times)
      return charts.axis(color, name, {
        type: "time",
        min: "dataMin",
        max: "dataMax",
        nameGap: 22,
        splitNumber: 4,
        splitLine: { show: false },
        axisLabel: labels,
      });
    return charts.axis(color, name, {
      min: 0,
      max: flexalign.count + 1,
      minInterval: 1,
      nameGap: 22,
      splitLine: { show: false },
      axisLabel: { ...labels, showMinLabel: false, showMaxLabel: false },
    });
  }

  function showMissing() {
    const count = chosen().times?.filter((time) => time === null).length ?? 0;
    document.getElementById("session-axis-note").textContent = count
      ? `${flexalign.movies(count)} without this time ${count === 1 ? "is" : "are"} not drawn.`
      : "";
  }

  choice.addEventListener("change", () => {
    try {
      sessionStorage.setItem(KEY, choice.value);
    } catch {
      // not remembered
    }
    showMissing();
    listeners.forEach((listen) => listen());
  });
  showMissing();

  return {
    at,
    options,
    isUtc: () => Boolean(chosen().isUtc),
    onChange: (listen) => listeners.push(listen),
  };
})();
