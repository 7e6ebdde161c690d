// The room Results: the leaderboard, figure by figure.
import { element, get } from "./api.js";

const REAL = ["real", "reconstruction"];

export async function open(root, me) {
  if (!me.results) { root.replaceChildren(element("p", {}, "The studio was started without the results of a run.")); return; }
  const { rows, better, text } = await get("api/results");
  const keys = [...new Map(rows.filter((row) => row.metric && row.clips === "generated" && row.value).map((row) => [`${row.metric} ${row.embedding}`, row])).entries()];
  const first = (row) => (row.role === "primary" ? 0 : row.metric === "preferred_over_real" ? 1 : better[row.metric] ? 2 : 3);
  keys.sort((a, b) => first(a[1]) - first(b[1]));
  const choice = element("select", { id: "metric" }, ...keys.map(([key, row]) => element("option", { value: key }, `${row.metric.replaceAll("_", " ")} ${row.embedding}${row.role === "primary" ? " (primary)" : ""}`)));
  const place = element("div", { class: "scroll", tabindex: 0, role: "region", "aria-label": "Table of results" });
  const show = () => place.replaceChildren(...table(rows.filter((row) => `${row.metric} ${row.embedding}` === choice.value && row.value), better));
  choice.addEventListener("change", show);
  root.replaceChildren(element("div", { class: "step" }, element("label", {}, "Figure ", choice), place),
    element("details", { class: "step" }, element("summary", {}, "The whole text of the run"), element("pre", { class: "scroll", tabindex: 0 }, text)));
  if (keys.length) show();
}

function table(rows, better) {
  const way = better[rows[0]?.metric] || "", sign = way.startsWith("higher") ? -1 : 1;
  const ordered = rows.sort((a, b) => sign * (Number(a.value) - Number(b.value)));
  const digits = (text) => (text === "" ? "" : Number(text).toPrecision(3));
  const line = (row) => element("tr", { class: row.clips === "generated" ? "own" : "reference" },
    element("th", { scope: "row" }, row.clips === "generated" ? row.experiment : `${row.clips.replaceAll("_", " ")} (${row.experiment})`),
    element("td", { class: "n" }, digits(row.value)),
    element("td", { class: "n" }, row.ci_low === "" ? "" : `${digits(row.ci_low)} to ${digits(row.ci_high)}`),
    element("td", { class: "n" }, row.n));
  const note = ordered.some((row) => REAL.includes(row.clips)) ? " Rows of real music say how good a figure can be." : "";
  return [
    element("p", { class: "hint" }, `${way ? `${way[0].toUpperCase()}${way.slice(1)}, best first. ` : ""}Intervals are 95 %.${note}`),
    element("table", {}, element("thead", {}, element("tr", {}, ...["clips of", rows[0]?.unit || "value", "interval", "number"].map((word, i) => element("th", { class: i ? "n" : "", scope: "col" }, word)))), element("tbody", {}, ...ordered.map(line))),
  ];
}
