/* What all figures of one movie are made of; charts are drawn when their place is in the page. */
"use strict";

const figures = (() => {
  const { make } = flexalign;
  const waiting = [];

  /* Charts take their size from their place, so they wait until it is in the page. */
  const draw = (...drawing) => waiting.push(drawing);
  const drawWaiting = () => waiting.splice(0).forEach((drawing) => charts.draw(...drawing));

  const figure = (title, about, ...content) =>
    make(
      "figure",
      { class: "figure" },
      make("figcaption", {}, title, make("span", { class: "quiet" }, about)),
      ...content,
    );
  const plotOf = (words, size = "plot tall") =>
    make("div", { class: size, role: "img", "aria-label": words });

  /* The address of a picture: inside the page, or a file beside it. */
  function picture(details, kind) {
    if (details.pictures?.[kind]) return details.pictures[kind];
    const name = details.outputs[kind];
    return name ? name.split("/").map(encodeURIComponent).join("/") : null;
  }

  /* An image that says so when its file is not there. */
  function image(source, words) {
    const element = make("img", { src: source, alt: words, decoding: "async" });
    element.onerror = () =>
      element.replaceWith(
        make("p", { class: "quiet" }, `There is no file ${source.slice(0, 80)} beside this page.`),
      );
    return element;
  }

  return { draw, drawWaiting, figure, plotOf, picture, image };
})();
