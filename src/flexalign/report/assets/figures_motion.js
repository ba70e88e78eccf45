/* Figures of where the specimen went: trajectory, drift, and local motion over the micrograph. */
"use strict";

const motionFigures = (() => {
  const { data, number, make } = flexalign;
  const { draw, figure, plotOf, picture, image } = figures;

  /* Error bars: a line through each point along one axis. */
  function errorBars(points, errors, isAlongX, color) {
    return {
      type: "lines",
      coordinateSystem: "cartesian2d",
      silent: true,
      z: 1,
      symbol: "none",
      lineStyle: { color: color.quiet, width: 1, opacity: 0.7 },
      data: points.map(([x, y], i) => ({
        coords: isAlongX
          ? [
              [x - errors[i], y],
              [x + errors[i], y],
            ]
          : [
              [x, y - errors[i]],
              [x, y + errors[i]],
            ],
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
    return limits.map(([low, high]) => ({
      min: (low + high) / 2 - half,
      max: (low + high) / 2 + half,
    }));
  }

  function trajectory(motion) {
    const points = motion.yx_A.map(([y, x]) => [x, y]);
    const last = points.length - 1;
    const plot = plotOf(
      `Trajectory of the whole frame over ${points.length} frames: from x ${number(points[0][0])}, y ${number(points[0][1])} Å to x ${number(points[last][0])}, y ${number(points[last][1])} Å relative to frame ${motion.reference_frame}.`,
      "plot square",
    );
    const [x, y] = squareLimits(points);
    const round = (limit) => number(limit, 3);
    draw(plot, (color) => {
      const option = charts.base(color);
      const labels = {
        color: color.quiet,
        hideOverlap: true,
        showMinLabel: false,
        showMaxLabel: false,
        formatter: round,
      };
      option.grid = { left: 54, right: 14, top: 14, bottom: 54, outerBoundsMode: "none" }; // so that it is square
      option.xAxis = charts.axis(color, "x (Å)", { ...x, axisLabel: labels });
      option.visualMap = {
        show: false,
        dimension: 2,
        min: motion.frame[0],
        max: Math.max(motion.frame[last], motion.frame[0] + 1),
        inRange: { color: data.frameColors },
        seriesIndex: 0,
      };
      option.yAxis = charts.axis(color, "y (Å, downward, as displayed)", {
        ...y,
        axisLabel: labels,
        nameGap: 34,
        inverse: true,
      });
      option.tooltip.formatter = ({ dataIndex: i }) => {
        const error = motion.error_yx_A?.[i];
        return `frame ${motion.frame[i]}<br>x ${number(points[i][0])}${error ? ` ± ${number(error[1], 2)}` : ""} Å<br>y ${number(points[i][1])}${error ? ` ± ${number(error[0], 2)}` : ""} Å`;
      };
      option.series = [
        {
          type: "scatter",
          data: points.map((point, i) => [...point, motion.frame[i]]),
          symbol: "circle",
          symbolSize: 8,
          z: 3,
          // Violet is dark and yellow light on one of the grounds.
          itemStyle: { opacity: 1, borderColor: color.quiet, borderWidth: 1 },
          markPoint: {
            symbol: "pin",
            symbolSize: 30,
            silent: true,
            label: { fontSize: 10 },
            itemStyle: { color: color.quiet },
            data: [
              { coord: points[0], value: motion.frame[0] },
              { coord: points[last], value: motion.frame[last] },
            ],
          },
        },
        {
          type: "line",
          data: points,
          symbol: "none",
          silent: true,
          z: 2,
          lineStyle: { color: color.quiet, width: 1.5 },
        },
      ];
      if (motion.error_yx_A) {
        const errors = (k) => motion.error_yx_A.map((error) => error[k] ?? 0);
        option.series.push(
          errorBars(points, errors(1), true, color),
          errorBars(points, errors(0), false, color),
        );
      }
      return option;
    });
    return figure(
      "Trajectory of the whole frame",
      `relative to frame ${motion.reference_frame}; frames from violet to yellow; bars are standard errors, pins the first and last frame`,
      plot,
    );
  }

  function drift(motion) {
    const along = motion.dose_e_A2 ?? motion.frame;
    const name = motion.dose_e_A2 ? "dose (e/Å²)" : "frame";
    const total = motion.path_A.at(-1);
    const steps = motion.path_A.map((length, i) =>
      i === 0 ? null : length - motion.path_A[i - 1],
    );
    const plot = plotOf(
      `Path so far against ${name}: ${number(total)} Å at the end, half of it by ${number(along[motion.path_A.findIndex((length) => length >= total / 2)])}.`,
    );
    draw(plot, (color) => {
      const option = charts.base(color);
      const line = { type: "line", symbolSize: 5, showSymbol: along.length < 60 };
      option.tooltip = {
        ...option.tooltip,
        trigger: "axis",
        valueFormatter: (found) => `${number(found)} Å`,
      };
      option.legend = charts.legend(color);
      option.grid.top = 30;
      option.xAxis = charts.axis(color, name, {
        scale: false,
        max: "dataMax",
        axisLabel: { color: color.quiet, hideOverlap: true, formatter: (found) => number(found) },
      });
      option.yAxis = [
        charts.axis(color, "path (Å)", { scale: false, nameGap: 34 }),
        charts.axis(color, "step (Å)", { scale: false, nameGap: 30, splitLine: { show: false } }),
      ];
      option.series = [
        {
          ...line,
          name: "path so far",
          data: motion.path_A.map((length, i) => [along[i], length]),
          color: color.main,
        },
        {
          ...line,
          name: "step",
          yAxisIndex: 1,
          data: steps.map((step, i) => [along[i], step]),
          color: color.other,
          symbol: "triangle",
          lineStyle: { type: "dashed" },
        },
      ];
      return option;
    });
    return figure(
      `Drift by ${motion.dose_e_A2 ? "dose" : "frame"}`,
      "of the whole frame; a fast start is beam-induced, a steady slope is the stage",
      plot,
    );
  }

  function micrograph(details) {
    const source = picture(details, data.pictures.micrograph);
    const { motion } = details;
    const [height, width] = motion?.shape_px ?? [details.movie.height_px, details.movie.width_px];
    if (!source && !motion?.field) return null;
    const holder = make(
      "div",
      { class: "picture", style: `aspect-ratio: ${width} / ${height}` },
      source ? image(source, `Micrograph of ${details.name}, ${width} by ${height} pixels`) : null,
    );
    if (!motion?.field) return figure("Micrograph", "without local motion", holder);
    const {
      y_px: ys,
      x_px: xs,
      yx_A: [dy, dx],
    } = motion.field;
    const arrows = ys.flatMap((y, j) => xs.map((x, i) => ({ x, y, dx: dx[j][i], dy: dy[j][i] })));
    const longest = Math.max(...arrows.map((arrow) => Math.hypot(arrow.dx, arrow.dy)), 1e-9);
    const spacing = Math.min(xs[1] - xs[0], ys[1] - ys[0]);
    const scale = (0.9 * spacing) / longest;
    const over = plotOf(
      `Local motion from the first to the last frame, as ${arrows.length} arrows over the micrograph; the longest is ${number(longest)} Å.`,
      "over",
    );
    holder.append(over);
    draw(over, () => ({
      animation: false,
      grid: { left: 0, right: 0, top: 0, bottom: 0 },
      xAxis: { type: "value", min: -0.5, max: width - 0.5, show: false },
      yAxis: { type: "value", min: -0.5, max: height - 0.5, show: false, inverse: true },
      series: ["#000000", "#ffd400"].map((color, k) => ({
        type: "lines",
        coordinateSystem: "cartesian2d",
        silent: true,
        symbol: ["none", "arrow"],
        symbolSize: k ? 8 : 10,
        lineStyle: { color, width: k ? 2 : 4, opacity: k ? 1 : 0.55 },
        data: arrows.map((arrow) => ({
          coords: [
            [arrow.x - (arrow.dx * scale) / 2, arrow.y - (arrow.dy * scale) / 2],
            [arrow.x + (arrow.dx * scale) / 2, arrow.y + (arrow.dy * scale) / 2],
          ],
        })),
      })),
    }));
    return figure(
      "Micrograph and local motion",
      `arrows: from the first to the last frame, beyond the mean over places; the longest is ${number(longest)} Å, enlarged`,
      holder,
    );
  }

  function scores(details) {
    const found = Object.entries(details.quality.candidate_scores ?? {});
    if (found.length < 2) return null;
    const plot = plotOf(
      `Scores on unseen data: ${found.map(([name, score]) => `${name} ${number(score)}`).join(", ")}. ${details.quality.chosen} was kept.`,
      "plot",
    );
    draw(plot, (color) => {
      const option = charts.base(color);
      option.tooltip = { ...option.tooltip, trigger: "axis", valueFormatter: (one) => number(one) };
      option.xAxis = charts.axis(color, "log-likelihood over no motion", { scale: false });
      option.yAxis = {
        type: "category",
        data: found.map(([name]) => name),
        axisLabel: { color: color.ink },
        inverse: true,
      };
      option.series = [
        {
          type: "bar",
          barMaxWidth: 26,
          data: found.map(([name, score]) => ({
            value: score,
            itemStyle: { color: name === details.quality.chosen ? color.main : color.quiet },
          })),
          label: {
            show: true,
            position: "right",
            color: color.ink,
            formatter: ({ name, value: score }) =>
              `${number(score)}${name === details.quality.chosen ? " (kept)" : ""}`,
          },
        },
      ];
      option.grid.right = 70;
      return option;
    });
    return figure(
      "Which motion was kept",
      "how well each explains data that it was not fitted to",
      plot,
    );
  }

  return { micrograph, trajectory, drift, scores };
})();
