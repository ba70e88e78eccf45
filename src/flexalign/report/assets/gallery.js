/* Thumbnails of the movies in the table, in its order; made as they come into view. */
"use strict";

const gallery = (() => {
  const place = document.getElementById("gallery");
  if (!place) return null;
  const { data, make, value } = flexalign;
  const PER_BATCH = 100;
  const list = place.querySelector("ul");
  let rows = [];

  const nearEnd = new IntersectionObserver(
    (entries) => {
      if (entries.some(({ isIntersecting }) => isIntersecting)) addBatch();
    },
    { root: list, rootMargin: "600px" },
  );

  /* The picture of a movie: inside the page, or a file beside it. */
  function sourceOf(row) {
    const kind = data.pictures.micrograph;
    const details = flexalign.received(data.names[row]);
    return figures.picture(details ?? { outputs: { [kind]: value("thumbnail", row) } }, kind);
  }

  function pictureOf(row) {
    const withoutPicture = () => make("span", { class: "without quiet" }, "no picture");
    const src = sourceOf(row);
    if (!src) return withoutPicture();
    const image = make("img", { src, alt: "", loading: "lazy", decoding: "async" });
    image.onerror = () => image.replaceWith(withoutPicture());
    return image;
  }

  function tile(row) {
    const name = data.names[row];
    const [worst, ...more] = flexalign.flagsOf(row);
    const chip = make("span", { class: `chip ${flexalign.severityOf(worst)}` }, worst);
    return make(
      "li",
      {},
      make(
        "button",
        { type: "button", "data-movie": name, tabindex: -1 },
        pictureOf(row),
        make("span", { class: "name" }, name, " "),
        worst ? chip : null,
        more.length ? make("span", { class: "quiet" }, ` and ${more.length} more`) : null,
      ),
    );
  }

  function addBatch() {
    nearEnd.disconnect();
    const start = list.childElementCount;
    list.append(...rows.slice(start, start + PER_BATCH).map(tile));
    if (list.childElementCount < rows.length) nearEnd.observe(list.lastElementChild);
  }

  /* Show the movies that the table shows, unless they are shown already. */
  function fill() {
    if (!place.open) return;
    const shown = table.shownRows();
    if (shown.length === rows.length && shown.every((row, i) => row === rows[i])) return;
    rows = shown;
    list.replaceChildren();
    list.scrollTop = 0;
    addBatch();
    list.querySelector("button")?.setAttribute("tabindex", 0);
  }

  /* One thumbnail can be reached by Tab, the others from it by arrow keys. */
  function focusOn(index) {
    const wanted = Math.min(Math.max(index, 0), rows.length - 1);
    while (list.childElementCount <= wanted) addBatch();
    list.querySelector('[tabindex="0"]')?.setAttribute("tabindex", -1);
    const button = list.children[wanted].firstElementChild;
    button.setAttribute("tabindex", 0);
    button.focus();
  }

  function onKey(event) {
    const perLine = getComputedStyle(list).gridTemplateColumns.split(" ").length;
    const index = [...list.children].indexOf(event.target.closest("li"));
    const wanted = {
      ArrowLeft: index - 1,
      ArrowRight: index + 1,
      ArrowUp: index - perLine,
      ArrowDown: index + perLine,
      Home: 0,
      End: rows.length - 1,
    }[event.key];
    if (wanted === undefined || index < 0) return;
    event.preventDefault();
    focusOn(wanted);
  }

  list.addEventListener("keydown", onKey);
  place.addEventListener("toggle", fill);
  table.grid.on("draw", fill);

  return { isOpen: () => place.open };
})();
