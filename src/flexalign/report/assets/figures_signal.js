/* Figures of what the motion has brought: spectra, signal, and the counts of the frames. */
"use strict";

const signalFigures = (() => {
  const { data, number, make } = flexalign;
  const { draw, figure, plotOf, picture, image } = figures;

  const decibel = (power) => (power > 0 ? 10 * Math.log10(power) : null);

  function spectra(details) {
    const source = picture(details, data.pictures.spectra);
    const { curves, quality } = details;
    const content = [];
    if (source) {
      const holder = make(
        "div",
        { class: "picture spectrum" },
        image(
          source,
          `Power spectra of ${details.name}: left half before correction, right half after.`,
        ),
      );
      content.push(holder);
      if (quality.rings_to_A && curves?.spectrum_edge_per_A) {
        const over = plotOf(
          `Circle at ${number(quality.rings_to_A)} Å, to where Thon rings are seen.`,
          "over",
        );
        const edge = curves.spectrum_edge_per_A;
        const ring = Array.from({ length: 121 }, (_, i) => [
          Math.cos((i * Math.PI) / 60) / quality.rings_to_A,
          Math.sin((i * Math.PI) / 60) / quality.rings_to_A,
        ]);
        holder.append(over);
        draw(over, () => ({
          animation: false,
          grid: { left: 0, right: 0, top: 0, bottom: 0 },
          xAxis: { type: "value", min: -edge, max: edge, show: false },
          yAxis: { type: "value", min: -edge, max: edge, show: false },
          series: [
            {
              type: "line",
              data: ring,
              showSymbol: false,
              silent: true,
              lineStyle: { color: "#ffd400", width: 1.5, type: "dashed" },
            },
          ],
        }));
      }
    }
    if (curves?.frequency_per_A?.length) content.push(radial(curves, quality));
    if (!content.length) return null;
    return figure("Power spectra before and after", inWords(quality), ...content);
  }

  /* To where rings are seen, in a sentence. */
  function inWords({ rings_to_A: to, rings_before_A: before, ring_score: score }) {
    if (to) {
      const earlier = before ? ` (before correction ${number(before)} Å)` : "";
      return `Thon rings are seen to ${number(to)} Å${earlier}`;
    }
    const isLookedFor = score !== null && score !== undefined;
    return isLookedFor ? "no Thon rings are seen" : "Thon rings were not looked for";
  }

  function radial(curves, quality) {
    const start = 2; // the first rings hold the taper and the gradient of the ice
    const line = (power) =>
      curves.frequency_per_A.map((frequency, i) => [frequency, decibel(power[i])]).slice(start);
    const plot = plotOf(
      "Mean power of each ring against spatial frequency, before and after correction.",
      "plot",
    );
    draw(plot, (color) => {
      const option = charts.base(color);
      option.tooltip = {
        ...option.tooltip,
        trigger: "axis",
        formatter: (found) =>
          [
            `${number(1 / found[0].value[0])} Å`,
            ...found.map((one) => `${one.seriesName}: ${number(one.value[1])} dB`),
          ].join("<br>"),
      };
      option.legend = charts.legend(color);
      option.grid.top = 30;
      option.xAxis = charts.axis(color, "resolution (Å)", {
        scale: false,
        max: "dataMax",
        splitNumber: 8,
        axisLabel: {
          color: color.quiet,
          hideOverlap: true,
          showMaxLabel: false,
          formatter: (found) => (found > 0 ? number(1 / found, 2) : ""),
        },
      });
      option.yAxis = charts.axis(color, "power (dB)", {
        nameGap: 34,
        axisLabel: { color: color.quiet, formatter: (found) => number(found) },
      });
      const marks = [[quality.rings_to_A, "rings to", color.ink]].filter(([at]) => at);
      option.series = [
        {
          type: "line",
          name: "before",
          data: line(curves.power_before),
          showSymbol: false,
          color: color.other,
          lineStyle: { type: "dashed" },
        },
        {
          type: "line",
          name: "after",
          data: line(curves.power_after),
          showSymbol: false,
          color: color.main,
          markLine: {
            symbol: "none",
            silent: true,
            data: marks.map(([at, text, ink]) => ({
              xAxis: 1 / at,
              lineStyle: { color: ink },
              label: { formatter: `${text} ${number(at)} Å`, color: ink, position: "insideEndTop" },
            })),
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
    const plot = plotOf(
      `Signal over noise before and after: ${found.map((band) => `${number(band.coarsest_A)} to ${number(band.finest_A)} Å: ${number(band.before)} and ${number(band.after)}`).join("; ")}.`,
      "plot",
    );
    draw(plot, (color) => {
      const option = charts.base(color);
      option.tooltip = { ...option.tooltip, trigger: "axis", valueFormatter: (one) => number(one) };
      option.legend = charts.legend(color);
      option.grid.top = 30;
      option.xAxis = {
        ...charts.axis(color, "resolution (Å)", {}),
        type: "category",
        data: found.map((band) => `${number(band.coarsest_A)}–${number(band.finest_A)}`),
      };
      option.yAxis = charts.axis(color, "signal / noise", { scale: false, nameGap: 38 });
      option.series = [
        { type: "bar", name: "before", data: found.map((band) => band.before), color: color.other },
        { type: "bar", name: "after", data: found.map((band) => band.after), color: color.main },
      ];
      return option;
    });
    return figure(
      "Signal gained",
      "signal over noise of the sum in each range of resolution",
      plot,
    );
  }

  function counts(details) {
    const found = details.curves?.mean_counts ?? [];
    if (found.filter((one) => one !== null).length < 2) return null;
    const plot = plotOf(`Mean counts per pixel of ${found.length} frames.`, "plot");
    draw(plot, (color) => {
      const option = charts.base(color);
      option.tooltip = {
        ...option.tooltip,
        trigger: "axis",
        valueFormatter: (one) => number(one, 5),
      };
      option.xAxis = charts.axis(color, "frame", {
        scale: false,
        min: 1,
        max: found.length,
        minInterval: 1,
      });
      option.yAxis = charts.axis(color, "counts per pixel", {
        nameGap: 48,
        axisLabel: { color: color.quiet, formatter: (one) => number(one, 5) },
      });
      option.series = [
        {
          type: "line",
          data: found.map((one, i) => [i + 1, one]),
          symbolSize: 4,
          color: color.main,
        },
      ];
      return option;
    });
    return figure(
      "Counts of each frame",
      "corrected; a dip is a blanked beam, a slope is ice that evaporates or a drifting beam",
      plot,
    );
  }

  return { spectra, bands, counts };
})();
