/* The theme of the page: that of the system until the button is pressed. */
"use strict";

(() => {
  const root = document.documentElement;
  const button = document.getElementById("theme");

  function wear(isDark) {
    root.classList.toggle("dark", isDark);
    button.textContent = isDark ? "Light theme" : "Dark theme";
    charts.redrawAll();
  }

  button.textContent = charts.prefersDark.matches ? "Light theme" : "Dark theme";
  charts.prefersDark.addEventListener("change", ({ matches }) => wear(matches));
  button.addEventListener("click", () => wear(!root.classList.contains("dark")));
})();
