/* Figures of where the specimen went: trajectory and drift, and which motion was kept. */
"use strict";

const motionFigures = (() => {
  const { data, number } = flexalign;
  const { draw, figure, plotOf } = figures;

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

  return { trajectory, drift, scores };
})();
