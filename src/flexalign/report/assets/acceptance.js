/* Limits by which movies are accepted, and the files of the movies that are. */
"use strict";

const acceptance = (() => {
  const form = document.getElementById("thresholds");
  if (!form) return null;
  const { data, make, value, save } = flexalign;
  const byId = (id) => document.getElementById(id);
  const rows = [...data.names.keys()];
  const isMeasured = (name) => data.values[name].some((found) => found !== null);
  const listeners = [];
  let isSet = false;

  const measured = Object.entries(data.thresholds).filter(([name]) => isMeasured(name));
  const limits = measured.map(([name, words]) => {
    const { unit, about } = flexalign.column(name);
    const input = make("input", { type: "number", step: "any", min: 0, placeholder: "no limit" });
    const rejected = make("span", { class: "quiet" });
    form.lastElementChild.before(
      make("label", { title: about }, `${words} at most `, input, ` ${unit} `, rejected),
    );
    const isAbove = (row) => {
      const found = value(name, row);
      return input.value !== "" && (found === null || found > Number(input.value));
    };
    return { isAbove, rejected };
  });
  const rejectProblems = byId("reject-problems");
  limits.push({
    isAbove: (row) => rejectProblems.checked && value("severity", row) === "problem",
    rejected: form.querySelector("[data-rejected]"),
  });

  const isAccepted = (row) => limits.every(({ isAbove }) => !isAbove(row));
  const accepted = () => rows.filter(isAccepted);

  function show() {
    for (const { isAbove, rejected } of limits) {
      const count = rows.filter(isAbove).length;
      rejected.textContent = count ? `rejects ${count.toLocaleString("en")}` : "";
    }
    const count = accepted().length;
    byId("accepted-count").textContent =
      `${count.toLocaleString("en")} of ${flexalign.movies(flexalign.count)} accepted`;
    for (const id of ["save-star", "save-csv", "select-accepted"]) byId(id).disabled = count === 0;
    listeners.forEach((listen) => listen());
  }

  /* A cell of a CSV file; words of a list are joined by semicolons. */
  function cell(found) {
    const text = Array.isArray(found) ? found.join("; ") : String(found ?? "");
    return /[",\r\n]/.test(text) ? `"${text.replaceAll('"', '""')}"` : text;
  }
  const csv = (lines) => lines.map((line) => `${line.map(cell).join(",")}\n`).join("");
  /* The micrograph to go on with: weighted by dose where it can be. */
  const micrograph = (row) => value("dose_weighted", row) ?? value("micrograph", row);

  form.addEventListener("input", () => {
    isSet = true;
    show();
  });
  form.addEventListener("submit", (event) => event.preventDefault());
  byId("save-star").addEventListener("click", () => {
    const lines = accepted().map((row) => data.star.rows[row]).filter(Boolean);
    save("accepted_micrographs.star", `${data.star.head}${lines.join("\n")}\n\n`);
  });
  byId("save-csv").addEventListener("click", () => {
    const names = data.columns.map(({ name }) => name);
    const lines = accepted().map((row) => [data.names[row], ...names.map((n) => value(n, row))]);
    save("accepted.csv", csv([["name", ...names], ...lines]), "text/csv");
  });
  byId("save-decisions").addEventListener("click", () => {
    const lines = rows.map((row) => [micrograph(row), isAccepted(row) ? "accept" : "reject"]);
    save("decisions.csv", csv([["micrograph", "decision"], ...lines]), "text/csv");
  });
  byId("select-accepted").addEventListener("click", () => flexalign.select(accepted()));
  show();

  return { isAccepted, isSet: () => isSet, onChange: (listen) => listeners.push(listen) };
})();
