/* What belongs to no part of the page alone: what opens a movie or selects a flag. */
"use strict";

(() => {
  const root = document.documentElement;
  document.addEventListener("click", ({ target }) => {
    const opener = target.closest("[data-movie]");
    if (opener) movie.open(flexalign.rowOf.get(opener.dataset.movie));
    const selector = target.closest("[data-flag]");
    if (selector) {
      const rows = [...flexalign.data.names.keys()].filter((row) =>
        flexalign.flagsOf(row).includes(selector.dataset.flag),
      );
      flexalign.select(rows);
      table.showSelected(true);
      document.getElementById("movies-title").scrollIntoView();
    }
  });

  // While a run goes on the page is written again; whoever looks at a movie is not disturbed.
  const RELOAD_MS = 30000;
  if (root.dataset.run === "going-on") {
    setInterval(() => {
      const isInUse =
        document.querySelector("dialog[open]") ||
        flexalign.selected.size ||
        acceptance?.isSet() ||
        gallery?.isOpen();
      if (!isInUse) location.reload();
    }, RELOAD_MS);
  }

  if (flexalign.count === 1) movie.show(0);
  movie.follow(location.hash);
  window.addEventListener("hashchange", () => movie.follow(location.hash));
  performance.mark("flexalign-ready");
  root.dataset.ready = "";
})();
