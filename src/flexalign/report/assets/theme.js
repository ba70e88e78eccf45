/* The theme of the page: that of the system until the button is pressed. */
"use strict";

(() => {
  const root = document.documentElement;
  const button = document.getElementById("theme");

  const words = (isDark) => `Switch to the ${isDark ? "light" : "dark"} theme`;

  function wear(isDark) {
    root.classList.toggle("dark", isDark);
    button.textContent = words(isDark);
    charts.redrawAll();
  }

  button.textContent = words(charts.prefersDark.matches);
  charts.prefersDark.addEventListener("change", ({ matches }) => wear(matches));
  button.addEventListener("click", () => wear(!root.classList.contains("dark")));
})();
