/* The micrograph of a movie with its scale bar and its local motion, to be enlarged. */
"use strict";

const micrographFigure = (() => {
  const { data, number, make } = flexalign;
  const { draw, figure, plotOf, picture, image } = figures;
  const ENLARGEMENTS = [1, 1.5, 2, 3];
  const MAX_BAR_SHARE = 0.3; // of the width that is to be seen

  /* The longest of 1, 2, 5, 10, 20, ... that is not longer than `limit`. */
  function roundLength(limit) {
    const power = 10 ** Math.floor(Math.log10(limit));
    return [5, 2, 1].map((digit) => digit * power).find((length) => length <= limit);
  }

  /* A scale bar for a view of `width_A`; its own width follows the enlargement. */
  function scaleBar(width_A) {
    const line = make("span", { class: "bar" });
    const words = make("span");
    const show = (enlargement) => {
      const length_A = roundLength((MAX_BAR_SHARE * width_A) / enlargement);
      line.style.width = `${(100 * enlargement * length_A) / width_A}%`;
      words.textContent = length_A < 10 ? `${number(length_A)} Å` : `${number(length_A / 10)} nm`;
    };
    return { element: make("div", { class: "scale-bar" }, words, line), show };
  }

  /* A view of `content` with buttons that enlarge it; enlarged, it scrolls. */
  function enlargeable(content, bar, name) {
    let step = 0;
    const view = make(
      "div",
      {
        class: "picture-view",
        style: content.getAttribute("style"),
        tabindex: 0,
        role: "group",
        "aria-label": `Micrograph of ${name}. Plus and minus enlarge and reduce, 0 shows the whole.`,
      },
      content,
    );
    const shown = make("output", {}, "1x");
    const button = (by, words, sign) =>
      make(
        "button",
        { type: "button", onclick: () => enlarge(by), "aria-label": words, title: words },
        sign,
      );
    const [less, more] = [button(-1, "Reduce", "−"), button(1, "Enlarge", "+")];
    const whole = make("button", { type: "button", onclick: () => enlarge(-Infinity) }, "Whole");

    /* Change the enlargement, and keep the place at a share (x, y) of the view where it is. */
    function enlarge(by, [x, y] = [0.5, 0.5]) {
      const before = ENLARGEMENTS[step];
      step = Math.min(Math.max(step + by, 0), ENLARGEMENTS.length - 1);
      const now = ENLARGEMENTS[step];
      const at = [
        (view.scrollLeft + x * view.clientWidth) / before,
        (view.scrollTop + y * view.clientHeight) / before,
      ];
      content.style.width = `${100 * now}%`;
      view.classList.toggle("enlarged", step > 0);
      view.scrollTo(at[0] * now - x * view.clientWidth, at[1] * now - y * view.clientHeight);
      shown.textContent = `${now}x`;
      less.disabled = whole.disabled = step === 0;
      more.disabled = step === ENLARGEMENTS.length - 1;
      bar?.show(now);
    }

    view.addEventListener("keydown", (event) => {
      const by = { "+": 1, "=": 1, "-": -1, 0: -Infinity }[event.key];
      if (by === undefined || event.ctrlKey || event.metaKey) return;
      event.preventDefault();
      enlarge(by);
    });
    // The wheel alone scrolls the page; with Ctrl, or by two fingers on a touchpad, it enlarges.
    view.addEventListener(
      "wheel",
      (event) => {
        if (!event.ctrlKey) return;
        event.preventDefault();
        const box = view.getBoundingClientRect();
        const place = [event.clientX - box.left, event.clientY - box.top];
        enlarge(event.deltaY < 0 ? 1 : -1, [place[0] / box.width, place[1] / box.height]);
      },
      { passive: false },
    );
    // A finger scrolls by itself, the mouse by dragging.
    view.addEventListener("pointerdown", (event) => {
      if (event.pointerType === "mouse" && event.button === 0) view.setPointerCapture(event.pointerId);
    });
    view.addEventListener("pointermove", (event) => {
      if (view.hasPointerCapture(event.pointerId)) view.scrollBy(-event.movementX, -event.movementY);
    });
    enlarge(0);
    return make(
      "div",
      {},
      make("div", { class: "picture-holder" }, view, bar?.element),
      make("p", { class: "enlargement" }, less, shown, more, whole),
    );
  }

  /* Arrows of the local motion from the first to the last frame. */
  function arrowsOf(field, longest) {
    const {
      y_px: ys,
      x_px: xs,
      yx_A: [dy, dx],
    } = field;
    const spacing = Math.min(xs[1] - xs[0], ys[1] - ys[0]);
    const half = (0.45 * spacing) / longest;
    return ys.flatMap((y, j) =>
      xs.map((x, i) => ({
        coords: [
          [x - half * dx[j][i], y - half * dy[j][i]],
          [x + half * dx[j][i], y + half * dy[j][i]],
        ],
      })),
    );
  }

  function localMotion(field, longest, width, height) {
    const arrows = arrowsOf(field, longest);
    const over = plotOf(
      `Local motion from the first to the last frame, as ${arrows.length} arrows over the micrograph; the longest is ${number(longest)} Å.`,
      "over",
    );
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
        data: arrows,
      })),
    }));
    return over;
  }

  /* A button that hides the arrows, for a look at what is below. */
  function hidingButton(over) {
    const button = make("button", { type: "button" }, "Hide arrows");
    button.addEventListener("click", () => {
      over.hidden = !over.hidden;
      button.textContent = over.hidden ? "Show arrows" : "Hide arrows";
    });
    return button;
  }

  return (details) => {
    const source = picture(details, data.pictures.micrograph);
    const { motion } = details;
    const field = motion?.field;
    const [height, width] = motion?.shape_px ?? [details.movie.height_px, details.movie.width_px];
    if (!source && !field) return null;
    const content = make(
      "div",
      { class: "picture", style: `aspect-ratio: ${width} / ${height}` },
      source ? image(source, `Micrograph of ${details.name}, ${width} by ${height} pixels`) : null,
    );
    const pixel_size_A = details.decisions.pixel_size_A;
    const bar = pixel_size_A ? scaleBar(width * pixel_size_A) : null;
    const shown = enlargeable(content, bar, details.name);
    if (!field) return figure("Micrograph", "without local motion", shown);
    const longest = Math.max(...field.yx_A[0].flatMap((row, j) =>
      row.map((dy, i) => Math.hypot(dy, field.yx_A[1][j][i])),
    ), 1e-9);
    const over = localMotion(field, longest, width, height);
    content.append(over);
    shown.lastElementChild.append(hidingButton(over));
    return figure(
      "Micrograph and local motion",
      `arrows: from the first to the last frame, beyond the mean over places; the longest is ${number(longest)} Å, magnified`,
      shown,
    );
  };
})();
