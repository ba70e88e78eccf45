/* The paired plots of the scores: a point for each movie, which leads to its row in the table. */
"use strict";

const scores = (() => {
  const { movies, best, pairs } = JSON.parse(document.getElementById("data").textContent);
  const drawn = [];
  const signed = (value) => `${value > 0 ? "+" : ""}${value.toFixed(1)}`;

  function describe(pair, band) {
    return (color) => {
      const option = charts.base(color);
      option.tooltip.formatter = ({ data: [signal, percent, movie] }) =>
        `<b>${echarts.format.encodeHTML(movies[movie])}</b><br>${signed(percent)} %, ` +
        `${echarts.format.encodeHTML(band.axis)} ${Number(signal.toPrecision(3))}`;
      // The outermost labels are those of the margins.
      const axisLabel = { color: color.quiet, hideOverlap: true, showMinLabel: false, showMaxLabel: false };
      option.xAxis = charts.axis(color, band.axis, { splitLine: { show: false }, axisLabel });
      option.yAxis = charts.axis(color, "difference (%)", { nameGap: 42, axisLabel });
      option.series = [
        {
          type: "scatter",
          data: band.points,
          symbolSize: 8,
          itemStyle: { color: color.main, opacity: 0.75 },
          markArea: {
            silent: true,
            itemStyle: { color: color.other, opacity: 0.25 },
            data: [[{ yAxis: band.low }, { yAxis: band.high }]],
          },
          markLine: {
            silent: true,
            symbol: "none",
            label: { show: false },
            data: [
              { yAxis: 0, lineStyle: { color: color.ink, type: "solid", width: 1 } },
              { yAxis: band.percent, lineStyle: { color: color.other, type: "dashed" } },
            ],
          },
        },
      ];
      return fitted(option, band);
    };
  }

  /* Zero and the interval are always in the plot, also where all points are far from them. */
  function fitted(option, band) {
    const heights = [0, band.low, band.high, ...band.points.map(([, percent]) => percent)];
    const [low, high] = [Math.min(...heights), Math.max(...heights)];
    const margin = 0.06 * (high - low) || 1;
    option.yAxis.min = Math.floor(low - margin);
    option.yAxis.max = Math.ceil(high + margin);
    return option;
  }

  function drawPair(section) {
    const pair = pairs[Number(section.dataset.pair)];
    for (const place of section.querySelectorAll(".plot")) {
      const band = pair.bands[Number(place.dataset.band)];
      const chart = charts.draw(place, describe(pair, band));
      chart.on("click", ({ data }) => {
        if (data) location.hash = `pair-${section.dataset.pair}-movie-${data[2]}`;
      });
      drawn.push({ pair, band, chart });
    }
  }

  // A closed part has no size, so its plots are drawn when it is opened.
  for (const section of document.querySelectorAll("details[data-pair]")) {
    const draw = () => {
      if (section.open && !section.dataset.drawn) {
        section.dataset.drawn = "";
        drawPair(section);
      }
    };
    draw();
    section.addEventListener("toggle", draw);
  }

  document.documentElement.dataset.ready = "";
  return { best, drawn };
})();
