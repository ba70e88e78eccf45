/* One movie: what it looks like, where it went, what its spectrum gained, and what to do about it. */
"use strict";

const movie = (() => {
  const place = document.getElementById("movie");
  const dialog = document.getElementById("dialog");
  const { data, make, number, value } = flexalign;
  const MARK = "#movie=";
  let order = [];
  let shown = -1;
  const waiting = [];

  /* Charts take their size from their place, so they are drawn when it is in the page. */
  const draw = (...drawing) => waiting.push(drawing);

  const figure = (title, about, ...content) => make("figure", { class: "figure" },
    make("figcaption", {}, title, make("span", { class: "quiet" }, about)), ...content);
  const plotOf = (words, size = "plot tall") => make("div", { class: size, role: "img", "aria-label": words });

  /* The address of a picture: inside the page, or a file beside it. */
  function picture(details, kind) {
    if (details.pictures?.[kind]) return details.pictures[kind];
    const name = details.outputs[kind];
    return name ? name.split("/").map(encodeURIComponent).join("/") : null;
  }

  /* An image that says so when its file is not there. */
  function image(source, words) {
    const element = make("img", { src: source, alt: words, decoding: "async" });
    element.onerror = () => element.replaceWith(make("p", { class: "quiet" }, `There is no file ${source.slice(0, 80)} beside this page.`));
    return element;
  }

  function list(heads, rows) {
    return make("table", { class: "plain" },
      make("thead", {}, make("tr", {}, ...heads.map((head) => make("th", { scope: "col" }, head)))),
      make("tbody", {}, ...rows.map(([first, ...rest]) => make("tr", {},
        make("th", { scope: "row" }, first), ...rest.map((cell) => make("td", {}, cell))))));
  }

  const folded = (title, ...content) => make("details", {}, make("summary", {}, title), ...content);

  /* ---------------------------------------------------------------- motion */

  /* Error bars: a line through each point along one axis. */
  function errorBars(points, errors, isAlongX, color) {
    return {
      type: "lines", coordinateSystem: "cartesian2d", silent: true, z: 1, symbol: "none",
      lineStyle: { color: color.quiet, width: 1, opacity: 0.7 },
      data: points.map(([x, y], i) => ({
        coords: isAlongX ? [[x - errors[i], y], [x + errors[i], y]] : [[x, y - errors[i]], [x, y + errors[i]]],
      })),
    };
  }

  /* Limits of both axes that hold all of the points, with the same length on both. */
  function squareLimits(points) {
    const limits = [0, 1].map((k) => {
      const found = points.map((point) => point[k]);
      return [Math.min(...found), Math.max(...found)];
    });
    const half = Math.max(0.5, ...limits.map(([low, high]) => 0.6 * (high - low)));
    return limits.map(([low, high]) => ({ min: (low + high) / 2 - half, max: (low + high) / 2 + half }));
  }

  function trajectory(motion) {
    const points = motion.yx_A.map(([y, x]) => [x, y]);
    const last = points.length - 1;
    const plot = plotOf(`Trajectory of the whole frame over ${points.length} frames: from x ${number(points[0][0])}, y ${number(points[0][1])} Å to x ${number(points[last][0])}, y ${number(points[last][1])} Å relative to frame ${motion.reference_frame}.`, "plot square");
    const [x, y] = squareLimits(points);
    const round = (limit) => number(limit, 3);
    draw(plot, (color) => {
      const option = charts.base(color);
      const labels = { color: color.quiet, hideOverlap: true, showMinLabel: false, showMaxLabel: false, formatter: round };
      option.grid = { left: 54, right: 14, top: 14, bottom: 54, outerBoundsMode: "none" }; // so that it is square
      option.xAxis = charts.axis(color, "x (Å)", { ...x, axisLabel: labels });
      option.yAxis = charts.axis(color, "y (Å)", { ...y, axisLabel: labels, nameGap: 34, inverse: true });
      option.tooltip.formatter = ({ dataIndex: i }) => {
        const error = motion.error_yx_A?.[i];
        return `frame ${motion.frame[i]}<br>x ${number(points[i][0])}${error ? ` ± ${number(error[1], 2)}` : ""} Å<br>y ${number(points[i][1])}${error ? ` ± ${number(error[0], 2)}` : ""} Å`;
      };
      option.series = [{
        type: "line", data: points, symbol: "circle", symbolSize: 7, z: 3,
        lineStyle: { color: color.main, width: 1.5 }, itemStyle: { color: color.main },
        markPoint: {
          symbol: "pin", symbolSize: 30, silent: true, label: { fontSize: 10 }, itemStyle: { color: color.flag },
          data: [{ coord: points[0], value: motion.frame[0] }, { coord: points[last], value: motion.frame[last] }],
        },
      }];
      if (motion.error_yx_A) {
        const errors = (k) => motion.error_yx_A.map((error) => error[k] ?? 0);
        option.series.push(errorBars(points, errors(1), true, color), errorBars(points, errors(0), false, color));
      }
      return option;
    });
    return figure("Trajectory of the whole frame",
      `relative to frame ${motion.reference_frame}; y downward as in the picture; bars are standard errors, pins the first and last frame`, plot);
  }

  function drift(motion) {
    const along = motion.dose_e_A2 ?? motion.frame;
    const name = motion.dose_e_A2 ? "dose (e/Å²)" : "frame";
    const total = motion.path_A.at(-1);
    const steps = motion.path_A.map((length, i) => (i === 0 ? null : length - motion.path_A[i - 1]));
    const plot = plotOf(`Path so far against ${name}: ${number(total)} Å at the end, half of it by ${number(along[motion.path_A.findIndex((length) => length >= total / 2)])}.`);
    draw(plot, (color) => {
      const option = charts.base(color);
      const line = { type: "line", symbolSize: 5, showSymbol: along.length < 60 };
      option.tooltip = { ...option.tooltip, trigger: "axis", valueFormatter: (found) => `${number(found)} Å` };
      option.legend = charts.legend(color);
      option.grid.top = 30;
      option.xAxis = charts.axis(color, name, { scale: false, max: "dataMax", axisLabel: { color: color.quiet, hideOverlap: true, formatter: (found) => number(found) } });
      option.yAxis = [charts.axis(color, "path (Å)", { scale: false, nameGap: 34 }), charts.axis(color, "step (Å)", { scale: false, nameGap: 30, splitLine: { show: false } })];
      option.series = [
        { ...line, name: "path so far", data: motion.path_A.map((length, i) => [along[i], length]), color: color.main },
        { ...line, name: "step", yAxisIndex: 1, data: steps.map((step, i) => [along[i], step]), color: color.other, symbol: "triangle", lineStyle: { type: "dashed" } },
      ];
      return option;
    });
    return figure(`Drift by ${motion.dose_e_A2 ? "dose" : "frame"}`, "in the middle of the field; a fast start is beam-induced, a steady slope is the stage", plot);
  }

  /* ---------------------------------------------------------------- micrograph */

  function micrograph(details) {
    const source = picture(details, data.pictures.micrograph);
    const { motion } = details;
    const [height, width] = motion?.shape_px ?? [details.movie.height_px, details.movie.width_px];
    if (!source && !motion?.field) return null;
    const holder = make("div", { class: "picture", style: `aspect-ratio: ${width} / ${height}` },
      source ? image(source, `Micrograph of ${details.name}, ${width} by ${height} pixels`) : null);
    if (!motion?.field) return figure("Micrograph", "without local motion", holder);
    const { y_px: ys, x_px: xs, yx_A: [dy, dx] } = motion.field;
    const arrows = ys.flatMap((y, j) => xs.map((x, i) => ({ x, y, dx: dx[j][i], dy: dy[j][i] })));
    const longest = Math.max(...arrows.map((arrow) => Math.hypot(arrow.dx, arrow.dy)), 1e-9);
    const spacing = Math.min(xs[1] - xs[0], ys[1] - ys[0]);
    const scale = (0.9 * spacing) / longest;
    const over = plotOf(`Local motion from the first to the last frame, as ${arrows.length} arrows over the micrograph; the longest is ${number(longest)} Å.`, "over");
    holder.append(over);
    draw(over, () => ({
      animation: false,
      grid: { left: 0, right: 0, top: 0, bottom: 0 },
      xAxis: { type: "value", min: -0.5, max: width - 0.5, show: false },
      yAxis: { type: "value", min: -0.5, max: height - 0.5, show: false, inverse: true },
      series: ["#000000", "#ffd400"].map((color, k) => ({
        type: "lines", coordinateSystem: "cartesian2d", silent: true, symbol: ["none", "arrow"], symbolSize: k ? 8 : 10,
        lineStyle: { color, width: k ? 2 : 4, opacity: k ? 1 : 0.55 },
        data: arrows.map((arrow) => ({
          coords: [[arrow.x - arrow.dx * scale / 2, arrow.y - arrow.dy * scale / 2], [arrow.x + arrow.dx * scale / 2, arrow.y + arrow.dy * scale / 2]],
        })),
      })),
    }));
    return figure("Micrograph and local motion",
      `arrows: from the first to the last frame, beyond the mean over places; the longest is ${number(longest)} Å, enlarged`, holder);
  }

  /* ---------------------------------------------------------------- spectrum */

  const decibel = (power) => (power > 0 ? 10 * Math.log10(power) : null);

  function spectra(details) {
    const source = picture(details, data.pictures.spectra);
    const { curves, quality } = details;
    const content = [];
    if (source) {
      const holder = make("div", { class: "picture spectrum" },
        image(source, `Power spectra of ${details.name}: left half before correction, right half after.`));
      content.push(holder);
      if (quality.rings_to_A && curves?.spectrum_edge_per_A) {
        const over = plotOf(`Circle at ${number(quality.rings_to_A)} Å, to where Thon rings are seen.`, "over");
        const edge = curves.spectrum_edge_per_A;
        const ring = Array.from({ length: 121 }, (_, i) => [Math.cos((i * Math.PI) / 60) / quality.rings_to_A, Math.sin((i * Math.PI) / 60) / quality.rings_to_A]);
        holder.append(over);
        draw(over, () => ({
          animation: false, grid: { left: 0, right: 0, top: 0, bottom: 0 },
          xAxis: { type: "value", min: -edge, max: edge, show: false }, yAxis: { type: "value", min: -edge, max: edge, show: false },
          series: [{ type: "line", data: ring, showSymbol: false, silent: true, lineStyle: { color: "#ffd400", width: 1.5, type: "dashed" } }],
        }));
      }
    }
    if (curves?.frequency_per_A?.length) content.push(radial(curves, quality));
    if (!content.length) return null;
    const rings = quality.rings_to_A ? `Thon rings are seen to ${number(quality.rings_to_A)} Å` + (quality.rings_before_A ? ` (before correction ${number(quality.rings_before_A)} Å)` : "") : "to where Thon rings are seen was not measured";
    return figure("Power spectra before and after", rings, ...content);
  }

  function radial(curves, quality) {
    const start = 2; // the first rings hold the taper and the gradient of the ice
    const line = (power) => curves.frequency_per_A.map((frequency, i) => [frequency, decibel(power[i])]).slice(start);
    const plot = plotOf("Mean power of each ring against spatial frequency, before and after correction.", "plot");
    draw(plot, (color) => {
      const option = charts.base(color);
      option.tooltip = {
        ...option.tooltip, trigger: "axis", formatter: (found) =>
          [`${number(1 / found[0].value[0])} Å`, ...found.map((one) => `${one.seriesName}: ${number(one.value[1])} dB`)].join("<br>"),
      };
      option.legend = charts.legend(color);
      option.grid.top = 30;
      option.xAxis = charts.axis(color, "resolution (Å)", {
        scale: false, max: "dataMax", splitNumber: 8,
        axisLabel: { color: color.quiet, hideOverlap: true, showMaxLabel: false, formatter: (found) => (found > 0 ? number(1 / found, 2) : "") },
      });
      option.yAxis = charts.axis(color, "power (dB)", { nameGap: 34, axisLabel: { color: color.quiet, formatter: (found) => number(found) } });
      const marks = [[quality.rings_to_A, "rings to", color.ink]].filter(([at]) => at);
      option.series = [
        { type: "line", name: "before", data: line(curves.power_before), showSymbol: false, color: color.other, lineStyle: { type: "dashed" } },
        {
          type: "line", name: "after", data: line(curves.power_after), showSymbol: false, color: color.main,
          markLine: {
            symbol: "none", silent: true,
            data: marks.map(([at, text, ink]) => ({ xAxis: 1 / at, lineStyle: { color: ink }, label: { formatter: `${text} ${number(at)} Å`, color: ink, position: "insideEndTop" } })),
          },
        },
      ];
      return option;
    });
    return plot;
  }

  function bands(details) {
    const found = details.quality.signal_bands;
    if (!found?.length) return null;
    const plot = plotOf(`Signal over noise before and after: ${found.map((band) => `${number(band.coarsest_A)} to ${number(band.finest_A)} Å: ${number(band.before)} and ${number(band.after)}`).join("; ")}.`, "plot");
    draw(plot, (color) => {
      const option = charts.base(color);
      option.tooltip = { ...option.tooltip, trigger: "axis", valueFormatter: (one) => number(one) };
      option.legend = charts.legend(color);
      option.grid.top = 30;
      option.xAxis = { ...charts.axis(color, "resolution (Å)", {}), type: "category", data: found.map((band) => `${number(band.coarsest_A)}–${number(band.finest_A)}`) };
      option.yAxis = charts.axis(color, "signal / noise", { scale: false, nameGap: 38 });
      option.series = [
        { type: "bar", name: "before", data: found.map((band) => band.before), color: color.other },
        { type: "bar", name: "after", data: found.map((band) => band.after), color: color.main },
      ];
      return option;
    });
    return figure("Signal gained", "signal over noise of the sum in each range of resolution", plot);
  }

  function scores(details) {
    const found = Object.entries(details.quality.candidate_scores ?? {});
    if (found.length < 2) return null;
    const plot = plotOf(`Scores on unseen data: ${found.map(([name, score]) => `${name} ${number(score)}`).join(", ")}. ${details.quality.chosen} was kept.`, "plot");
    draw(plot, (color) => {
      const option = charts.base(color);
      option.tooltip = { ...option.tooltip, trigger: "axis", valueFormatter: (one) => number(one) };
      option.xAxis = charts.axis(color, "log-likelihood over no motion", { scale: false });
      option.yAxis = { type: "category", data: found.map(([name]) => name), axisLabel: { color: color.ink }, inverse: true };
      option.series = [{
        type: "bar", barMaxWidth: 26,
        data: found.map(([name, score]) => ({ value: score, itemStyle: { color: name === details.quality.chosen ? color.main : color.quiet } })),
        label: { show: true, position: "right", color: color.ink, formatter: ({ name, value: score }) => `${number(score)}${name === details.quality.chosen ? " (kept)" : ""}` },
      }];
      option.grid.right = 70;
      return option;
    });
    return figure("Which motion was kept", "how well each explains data that it was not fitted to", plot);
  }

  function counts(details) {
    const found = details.curves?.mean_counts ?? [];
    if (found.filter((one) => one !== null).length < 2) return null;
    const plot = plotOf(`Mean counts per pixel of ${found.length} frames.`, "plot");
    draw(plot, (color) => {
      const option = charts.base(color);
      option.tooltip = { ...option.tooltip, trigger: "axis", valueFormatter: (one) => number(one, 5) };
      option.xAxis = charts.axis(color, "frame", { scale: false, min: 1, max: found.length, minInterval: 1 });
      option.yAxis = charts.axis(color, "counts per pixel", { nameGap: 48, axisLabel: { color: color.quiet, formatter: (one) => number(one, 5) } });
      option.series = [{ type: "line", data: found.map((one, i) => [i + 1, one]), symbolSize: 4, color: color.main }];
      return option;
    });
    return figure("Counts of each frame", "corrected; a dip is a blanked beam, a slope is ice that evaporates or a drifting beam", plot);
  }

  /* ---------------------------------------------------------------- words */

  function advice(details) {
    const flags = details.quality.flags ?? [];
    if (!flags.length && !details.warnings.length) return make("p", { class: "quiet" }, "Nothing is flagged.");
    return make("ul", { class: "advice-list" },
      ...flags.map((flag) => {
        const known = data.flags[flag.name] ?? {};
        return make("li", {}, make("span", { class: `chip ${flag.severity}` }, flag.name), ` ${flag.message || known.meaning || ""}`,
          known.cause ? make("p", {}, make("strong", {}, "Usual cause. "), known.cause) : null,
          flag.remedy || known.remedy ? make("p", {}, make("strong", {}, "What to do. "), flag.remedy || known.remedy) : null);
      }),
      ...details.warnings.map((warning) => make("li", {}, warning)));
  }

  function numbers(row) {
    const shownColumns = data.columns.filter((column) =>
      column.inTable && column.name !== "flags" && value(column.name, row) !== null);
    return make("dl", { class: "numbers" }, ...shownColumns.map((column) => make("div", {},
      make("dt", { title: column.about }, column.title),
      make("dd", {}, `${number(value(column.name, row))}${column.unit ? ` ${column.unit}` : ""}`))));
  }

  const inWords = (found) => (found === null || found === undefined ? "–" : typeof found === "object" ? JSON.stringify(found) : number(found, 6));

  function origin(details) {
    const inputs = Object.entries(details.inputs).map(([role, file]) => [role, file.path, `SHA-256 ${file.sha256} of the ${file.sha256_of}`]);
    const outputs = Object.entries(details.outputs).map(([kind, name]) =>
      [kind, make("a", { href: name.split("/").map(encodeURIComponent).join("/") }, name)]);
    return make("div", {},
      folded("Parameters", list(["Parameter", "Value"], Object.entries(details.parameters).map(([name, found]) => [name, inWords(found)]))),
      folded("Decisions", list(["What", "Value"], Object.entries(details.decisions).map(([name, found]) => [name, inWords(found)]))),
      folded("Inputs", list(["What", "File", "Content"], inputs)),
      folded("Files that were written", list(["What", "File"], outputs)),
      folded("Time and memory", list(["Stage", "Seconds"], Object.entries(details.timings_s).map(([stage, found]) => [stage, inWords(found)])),
        make("p", { class: "quiet" }, `At most ${number(details.peak_memory_bytes / 1e9)} GB of memory; flexalign ${details.version}.`)));
  }

  /* ---------------------------------------------------------------- the whole */

  function head(row) {
    const name = data.names[row];
    const here = order.indexOf(row);
    const step = (by, words) => make("button", {
      type: "button", onclick: () => show(order[here + by]), "data-step": by,
      disabled: order[here + by] === undefined ? "" : null,
    }, words);
    const chosen = make("input", { type: "checkbox", onchange: () => flexalign.toggle(row), checked: flexalign.selected.has(row) ? "" : null });
    return make("header", { class: "movie-head" },
      make("h2", { id: "movie-name", tabindex: -1 }, name),
      ...(dialog ? [
        make("label", { class: "tick" }, chosen, " selected"), step(-1, "Previous"), step(1, "Next"),
        make("button", { type: "button", onclick: () => dialog.close() }, "Close"),
      ] : []));
  }

  /* Fill the place of the movie; details come when they are there. */
  async function show(row) {
    shown = row;
    if (dialog) history.replaceState(null, "", `${MARK}${encodeURIComponent(data.names[row])}`);
    charts.remove(place);
    const body = make("div", { class: "movie-body" }, make("p", { class: "quiet", role: "status" }, "Loading…"));
    place.replaceChildren(head(row), body);
    if (dialog) place.querySelector("h2").focus();
    try {
      const details = await flexalign.load(data.names[row]);
      if (shown === row) fill(body, row, details);
    } catch (error) {
      if (shown === row) {
        body.replaceChildren(numbers(row), make("p", { class: "note" },
          `The details of this movie are in the folder ${data.folder}, which is not beside this page. Open the page where it was made.`));
      }
    }
  }

  function fill(body, row, details) {
    const { motion } = details;
    const grid = make("div", { class: "movie-grid" });
    body.replaceChildren(advice(details), numbers(row), grid, origin(details));
    const parts = [
      () => micrograph(details), () => (motion && motion.frame.length > 1 ? drift(motion) : null), () => bands(details), () => counts(details),
      () => (motion ? trajectory(motion) : null), () => spectra(details), () => scores(details),
    ];
    for (const part of parts) {
      const made = part();
      if (made) grid.append(made);
    }
    waiting.splice(0).forEach((drawing) => charts.draw(...drawing));
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

  dialog?.addEventListener("close", () => { charts.remove(place); place.replaceChildren(); shown = -1; history.replaceState(null, "", "#movies"); });
  dialog?.addEventListener("click", (event) => { if (event.target === dialog) dialog.close(); });
  dialog?.addEventListener("keydown", (event) => {
    const step = { ArrowLeft: -1, ArrowRight: 1 }[event.key];
    if (step && !event.target.matches("input, .scroll")) place.querySelector(`[data-step="${step}"]`)?.click();
  });

  return { open, show, follow };
})();
