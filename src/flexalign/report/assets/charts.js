/* Charts that follow the theme of the page, the size of their place, and the printer. */
"use strict";

const charts = (() => {
  const PAPER_PIXEL_RATIO = 2;
  const drawn = new Map();
  const prefersDark = window.matchMedia("(prefers-color-scheme: dark)");
  const root = document.documentElement;
  root.classList.toggle("dark", prefersDark.matches);

  /* The colours of the style sheet, of the theme that is on. */
  function colors() {
    const style = getComputedStyle(root);
    const names = { line: "edge" };
    return Object.fromEntries(
      ["main", "other", "flag", "ink", "quiet", "line", "ground"].map((name) => [
        name,
        style.getPropertyValue(`--${names[name] ?? name}`).trim(),
      ]),
    );
  }

  /* What all charts have in common. */
  function base(color) {
    return {
      animation: false,
      textStyle: { fontFamily: "inherit", color: color.ink },
      tooltip: {
        confine: true,
        backgroundColor: color.ground,
        borderColor: color.line,
        textStyle: { color: color.ink, fontSize: 13 },
      },
      grid: { left: 8, right: 14, top: 14, bottom: 8, outerBoundsMode: "same" },
    };
  }

  /* A legend at the upper right, for which the grid leaves room. */
  function legend(color, more = {}) {
    return {
      top: 0,
      right: 0,
      itemWidth: 16,
      itemHeight: 9,
      textStyle: { color: color.ink },
      ...more,
    };
  }

  function axis(color, name, more = {}) {
    return {
      type: "value",
      name,
      nameLocation: "middle",
      nameGap: 26,
      scale: true,
      nameTextStyle: { color: color.quiet },
      axisLabel: { color: color.quiet, hideOverlap: true },
      axisLine: { show: true, onZero: false, lineStyle: { color: color.quiet } },
      splitLine: { lineStyle: { color: color.line } },
      ...more,
    };
  }

  const watcher = new ResizeObserver((entries) => {
    for (const { target, contentRect } of entries) {
      const chart = drawn.get(target)?.chart;
      if (chart && contentRect.width > 0) chart.resize();
    }
  });

  /* Draw what `describe` gives for a set of colours; again whenever these change. */
  function draw(element, describe, after = () => {}) {
    const chart = echarts.init(element, null, { renderer: "canvas" });
    const redraw = () => {
      chart.setOption(describe(colors()), { notMerge: true });
      after(chart);
    };
    drawn.set(element, { chart, redraw });
    redraw();
    watcher.observe(element);
    return chart;
  }

  /* Forget the charts inside `element`. */
  function remove(element) {
    for (const place of [...drawn.keys()].filter((place) => element.contains(place))) {
      watcher.unobserve(place);
      drawn.get(place).chart.dispose();
      drawn.delete(place);
    }
  }

  function redrawAll() {
    drawn.forEach(({ redraw }) => redraw());
  }

  /* A copy of a chart that is printed in its place, as wide as there. What ECharts draws while a
     page is printed is opaque: it would hide the picture below, or its own layers. */
  function copyForPaper(element, chart) {
    chart.getZr().flush();
    const drawing = chart.renderToCanvas({ pixelRatio: PAPER_PIXEL_RATIO });
    const copy = document.createElement("canvas");
    copy.className = "on-paper";
    [copy.width, copy.height] = [drawing.width, drawing.height];
    copy.getContext("2d").drawImage(drawing, 0, 0);
    element.append(copy);
  }

  /* Paper is light. */
  let wasDark = false;
  window.addEventListener("beforeprint", () => {
    wasDark = root.classList.contains("dark");
    root.classList.remove("dark");
    redrawAll();
    drawn.forEach(({ chart }, element) => {
      if (element.clientWidth > 0) copyForPaper(element, chart);
    });
  });
  window.addEventListener("afterprint", () => {
    document.querySelectorAll(".on-paper").forEach((copy) => copy.remove());
    root.classList.toggle("dark", wasDark);
    redrawAll();
  });

  return { prefersDark, base, legend, axis, draw, remove, redrawAll };
})();
