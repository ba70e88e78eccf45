/* The plots over the session: selecting points selects movies, in all plots and in the table. */
"use strict";

const session = (() => {
  const place = document.getElementById("panels");
  if (!place) return null;
  const { data, make, number, value } = flexalign;
  // Movies that were not corrected have no motion, which would bias its statistics.
  const ofMotion = new Set(["total_motion_A", "early_motion_A", "local_range_A"]);
  const isKept = (name, row) => !ofMotion.has(name) || value("chosen", row) !== "none";
  const valueAt = (name, row) => (isKept(name, row) ? value(name, row) : null);
  const valuesOf = (name) => data.values[name].map((_, row) => valueAt(name, row));
  const isMeasured = (name) => valuesOf(name).some((found) => found !== null);
  // Values farther above the upper quartile than this many times the range of the quartiles are
  // drawn at the upper edge, so that a single one does not flatten all others.
  const FAR = 6;

  /* The largest value of a plot that has its own height; Infinity if all have. */
  function limitOf(columns) {
    const found = columns.flatMap((name) => valuesOf(name).filter((y) => y !== null));
    found.sort((a, b) => a - b);
    const [low, high] = [0.25, 0.75].map((part) => found[Math.floor(part * (found.length - 1))]);
    const limit = high + FAR * (high - low);
    return high > low && found.at(-1) > limit ? limit : Infinity;
  }

  // Of each plot, what was measured; without anything there is no plot.
  const panels = data.panels
    .map((panel) => ({
      ...panel,
      columns: panel.columns.filter(isMeasured),
      labels: panel.labels.filter((_, i) => isMeasured(panel.columns[i])),
    }))
    .filter((panel) => panel.columns.length)
    .map((panel) => ({ ...panel, limit: limitOf(panel.columns) }));
  const isTouch = window.matchMedia("(pointer: coarse)").matches;
  // Thousands of points are drawn smaller, so that their crowd still has a shape.
  const size = Math.max(3, Math.min(6, 8 - Math.log10(flexalign.count) * 1.4));
  let isShifted = false;
  let here = 0;
  const drawn = [];

  document.addEventListener("keydown", (event) => {
    isShifted = event.shiftKey;
  });
  document.addEventListener("keyup", (event) => {
    isShifted = event.shiftKey;
  });

  /* A point [place, height, value, row]. */
  const pointOf = (row, y, limit) => [sessionAxis.at(row), Math.min(y, limit), y, row];

  /* Points of the rows that are wanted and have a value and a place on the axis. */
  function points(column, limit, isWanted) {
    const found = [];
    valuesOf(column).forEach((y, row) => {
      if (y !== null && sessionAxis.at(row) !== null && isWanted(row))
        found.push(pointOf(row, y, limit));
    });
    return found;
  }

  const isFlagged = (row) => flexalign.flagsOf(row).length > 0;
  const isSelected = (row) => flexalign.selected.has(row);

  function seriesOf(panel, color) {
    const [first, second] = panel.columns;
    const label = panel.labels[0] ?? panel.title;
    const crowd = { type: "scatter", progressive: 0, large: true, largeThreshold: 1500 };
    const series = [
      {
        name: label,
        data: points(first, panel.limit, (row) => !isFlagged(row)),
        symbol: "circle",
        symbolSize: size,
        itemStyle: { color: color.main, opacity: 0.7 },
      },
    ];
    if (second) {
      series.push({
        name: panel.labels[1],
        data: points(second, panel.limit, () => true),
        symbol: "triangle",
        symbolSize: size,
        itemStyle: { color: color.other, opacity: 0.7 },
      });
    }
    series.push({
      name: "flagged",
      data: points(first, panel.limit, isFlagged),
      symbol: "diamond",
      symbolSize: size + 3,
      itemStyle: { color: color.flag, opacity: 0.8 },
    });
    const ring = { itemStyle: { color: "transparent", borderColor: color.ink, borderWidth: 1.5 } };
    return [
      ...series.map((one) => ({ ...crowd, ...one })),
      {
        id: "selected",
        name: "selected",
        silent: true,
        data: points(first, panel.limit, isSelected),
        symbol: "circle",
        symbolSize: size + 5,
        z: 5,
        ...crowd,
        ...ring,
      },
      {
        id: "here",
        name: label,
        type: "scatter",
        data: [],
        symbol: "circle",
        symbolSize: size + 9,
        z: 6,
        ...ring,
      },
    ];
  }

  function describe(panel) {
    return (color) => {
      const option = charts.base(color);
      option.tooltip.formatter = ({ data: point, seriesName }) => {
        const row = point[3];
        const name = echarts.format.encodeHTML(data.names[row]);
        const flags = flexalign.flagsOf(row).map(echarts.format.encodeHTML).join(", ");
        const what = panel.labels.length && seriesName !== "flagged" ? `${seriesName} ` : "";
        return `<b>${name}</b><br>${what}${number(point[2], 4)} ${panel.unit}${flags ? `<br>flags: ${flags}` : ""}`;
      };
      option.useUTC = sessionAxis.isUtc();
      option.xAxis = sessionAxis.options(color);
      option.yAxis = charts.axis(color, panel.unit, {
        nameGap: 38,
        scale: false,
        ...(panel.limit < Infinity ? { max: Number((1.02 * panel.limit).toPrecision(3)) } : {}),
      });
      if (panel.labels.length) {
        option.legend = charts.legend(color, { data: panel.labels, itemWidth: 9 });
        option.grid.top = 30;
      }
      option.toolbox = { show: false };
      option.brush = {
        toolbox: [],
        xAxisIndex: 0,
        brushMode: "single",
        throttleType: "debounce",
        throttleDelay: 100,
        outOfBrush: { colorAlpha: 1 },
        brushStyle: { color: `${color.main}22`, borderColor: color.main },
      };
      option.series = seriesOf(panel, color);
      return option;
    };
  }

  /* Dragging selects, unless a finger has to be able to scroll the page. */
  function takeCursor(chart) {
    if (isTouch) return;
    chart.dispatchAction({
      type: "takeGlobalCursor",
      key: "brush",
      brushOption: { brushType: "rect", brushMode: "single" },
    });
  }

  function selectArea(panel, chart, areas) {
    const range = areas[0]?.coordRange;
    if (!range) return;
    const [[x0, x1], [y0, y1]] = range;
    const rows = [...data.names.keys()].filter((row) => {
      const x = sessionAxis.at(row);
      if (x === null || x < x0 || x > x1) return false;
      return panel.columns.some((name) => {
        const y = valueAt(name, row);
        const height = Math.min(y, panel.limit);
        return y !== null && height >= y0 && height <= y1;
      });
    });
    chart.dispatchAction({ type: "brush", areas: [] });
    flexalign.select(rows, isShifted);
    table?.showSelected(flexalign.selected.size > 0);
  }

  /* Point to a movie in all plots, in `chart` with its numbers; to none where `row` is null. */
  function pointTo(row, chart) {
    for (const one of drawn) {
      const hasPlace = row !== null && sessionAxis.at(row) !== null;
      const y = hasPlace ? valueAt(one.panel.columns[0], row) : null;
      const point = pointOf(row, y, one.panel.limit);
      one.chart.setOption({ series: [{ id: "here", data: y === null ? [] : [point] }] });
      if (one.chart !== chart) continue;
      const seriesIndex = one.panel.columns.length + 2; // the last, see seriesOf
      chart.dispatchAction(
        y === null ? { type: "hideTip" } : { type: "showTip", seriesIndex, dataIndex: 0 },
      );
    }
  }

  function describeMovie(panel, row) {
    const parts = panel.columns.map(
      (name, i) => `${panel.labels[i] ?? panel.title} ${number(valueAt(name, row), 4)} ${panel.unit}`,
    );
    const flags = flexalign.flagsOf(row);
    return [
      `Movie ${row + 1} of ${flexalign.count}, ${data.names[row]}`,
      ...parts,
      flags.length ? `flagged ${flags.join(", ")}` : "",
      isSelected(row) ? "selected" : "",
    ]
      .filter(Boolean)
      .join("; ");
  }

  function onKey(event, panel, chart) {
    const last = flexalign.count - 1;
    const far = Math.max(10, Math.round(flexalign.count / 20));
    const steps = {
      ArrowLeft: -1,
      ArrowDown: -1,
      ArrowRight: 1,
      ArrowUp: 1,
      PageDown: far,
      PageUp: -far,
      Home: -Infinity,
      End: Infinity,
    };
    if (event.key in steps) {
      const from = here;
      here = Math.min(last, Math.max(0, here + steps[event.key]));
      if (event.shiftKey) {
        const [low, high] = [Math.min(from, here), Math.max(from, here)];
        flexalign.select(
          Array.from({ length: high - low + 1 }, (_, i) => low + i),
          true,
        );
      }
      pointTo(here, chart);
    } else if (event.key === " ") {
      flexalign.toggle(here);
    } else if (event.key === "Enter") {
      movie.open(here);
    } else if (event.key === "Escape") {
      flexalign.select([]);
    } else {
      return;
    }
    event.preventDefault();
    flexalign.say(describeMovie(panel, here));
  }

  /* What a person who cannot see the plot should know of it. */
  function inWords(panel) {
    const parts = panel.columns.map((name, i) => {
      const found = valuesOf(name).filter((one) => one !== null).sort((a, b) => a - b);
      if (!found.length) return `${panel.labels[i] ?? name}: not measured`;
      const middle = found[Math.floor(found.length / 2)];
      return `${panel.labels[i] ?? panel.title}: ${number(found[0])} to ${number(found.at(-1))} ${panel.unit}, half of the movies below ${number(middle)}`;
    });
    return `${panel.title} over ${flexalign.movies(flexalign.count)}. ${parts.join(". ")}. Arrow keys go from movie to movie.`;
  }

  /* How many movies a plot of motion leaves out. */
  function leftOut(panel) {
    const rows = [...data.names.keys()].filter((row) => !isKept(panel.columns[0], row));
    return rows.length
      ? make("span", { class: "quiet" }, ` Without ${flexalign.movies(rows.length)} not corrected.`)
      : "";
  }

  for (const panel of panels) {
    const plot = make("div", {
      class: "plot",
      tabindex: 0,
      role: "application",
      "aria-roledescription": "plot",
      "aria-label": inWords(panel),
    });
    place.append(
      make(
        "figure",
        { class: "figure" },
        make(
          "figcaption",
          {},
          `${panel.title} (${panel.unit})`,
          make("span", { class: "quiet" }, panel.about),
          leftOut(panel),
          panel.limit < Infinity
            ? make("span", { class: "quiet" }, ` Values above ${number(panel.limit)} are at the upper edge.`)
            : "",
        ),
        plot,
      ),
    );
    const chart = charts.draw(plot, describe(panel), takeCursor);
    chart.on("brushEnd", ({ areas }) => selectArea(panel, chart, areas));
    chart.on("click", ({ data: point }) => movie.open(point[3]));
    plot.addEventListener("keydown", (event) => onKey(event, panel, chart));
    plot.addEventListener("focus", () => {
      if (plot.matches(":focus-visible")) {
        pointTo(here, chart);
        flexalign.say(describeMovie(panel, here));
      }
    });
    plot.addEventListener("blur", () => pointTo(null, chart));
    drawn.push({ panel, chart });
  }

  flexalign.onSelect((selected) => {
    const symbolSize = selected.size > 150 ? size : size + 5; // many rings would be one blot
    for (const { panel, chart } of drawn) {
      chart.setOption({
        series: [{ id: "selected", symbolSize, data: points(panel.columns[0], panel.limit, isSelected) }],
      });
    }
  });

  sessionAxis.onChange(charts.redrawAll);

  return { pointTo, drawn };
})();
