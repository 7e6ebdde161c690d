// The room Train: choices of what the operator has registered, progress, curves, stop.
import { element, get, post, remove, tried } from "./api.js";

const WORDS = { waiting: "waits until nothing else runs", running: "trains", done: "is ready in Play", failed: "failed", cancelled: "stopped; the same choice continues from there" };

export async function open(root, me) {
  if (!me.train) { root.replaceChildren(element("p", {}, "Only the operator trains here, and only what was registered with --train.")); return; }
  const form = element("form", { class: "step" }), list = element("div", { class: "step" });
  root.replaceChildren(element("p", {}, "A training has the machine to itself: what visitors ask for waits until it has ended."), form, list);
  const { plans } = await get("api/trainings");
  const plan = element("select", { id: "plan" }, ...plans.map((one) => element("option", { value: one.id }, `${one.name} (${one.corpus})`)));
  const length = element("select", { id: "length" }, ...plans[0].lengths.map((word) => element("option", { selected: word === "full" }, word)));
  const concepts = element("fieldset", {});
  const choose = () => {
    const chosen = plans.find((one) => one.id === plan.value);
    concepts.hidden = !chosen.concepts.length;
    concepts.replaceChildren(element("legend", {}, "Concepts"), ...chosen.concepts.map((word) => element("label", {}, element("input", { type: "checkbox", value: word, checked: true }), ` ${word} `)));
  };
  plan.addEventListener("change", choose);
  form.replaceChildren(element("div", { class: "controls" }, element("label", {}, "What ", plan), element("label", {}, "How long ", length)), concepts, element("button", { class: "main" }, "Train"));
  choose();
  form.addEventListener("submit", tried(async (event) => {
    event.preventDefault();
    await post("api/trainings", { plan: plan.value, length: length.value, concepts: [...concepts.querySelectorAll("input:checked")].map((box) => box.value) });
    await show();
  }));
  const show = async () => { const { jobs } = await get("api/trainings"); list.replaceChildren(element("h2", {}, "Trainings"), ...(jobs.length ? jobs.map((job) => entry(job, show)) : [element("p", { class: "hint" }, "None yet.")])); return jobs; };
  await show();
  setInterval(async () => { if (root.offsetParent !== null && !document.hidden && list.querySelector(".busy")) await show().catch(() => {}); }, 2000);
}

function entry(job, show) {
  const busy = ["waiting", "running"].includes(job.state);
  const words = [job.name, ...job.ask.concepts].join(", ");
  const made = element("article", { class: busy ? "job busy" : "job" },
    element("div", { class: "line head" }, element("h3", {}, words), element("span", { class: "figures" }, job.error || WORDS[job.state])));
  if (busy) made.append(element("div", { class: "line run" }, element("progress", { max: 100, value: job.percent, "aria-label": "How far it is" }), element("span", { class: "figures" }, `${Math.round(job.percent)} % of all steps of the run`), element("button", { type: "button", class: "quiet", onclick: tried(async () => { await remove(`api/trainings/${job.id}`); await show(); }) }, "Stop")));
  if (job.state === "done") made.append(element("p", {}, element("a", { href: "./#play", onclick: () => setTimeout(() => location.reload()) }, "Play it")));
  for (const [stage, lines] of Object.entries(job.curves || {})) for (const [name, points] of Object.entries(lines)) made.append(curve(`${stage}: ${name.replaceAll("_", " ")}`, points));
  return made;
}

function curve(title, points) {
  const part = (tag, attributes, text = "") => { const one = document.createElementNS("http://www.w3.org/2000/svg", tag); for (const [key, value] of Object.entries(attributes)) one.setAttribute(key, value); one.textContent = text; return one; };
  const xs = points.map((point) => point[0]), ys = points.map((point) => point[1]);
  const low = Math.min(...ys), high = Math.max(...ys), last = Math.max(...xs);
  const x = (value) => 44 + (548 * value) / (last || 1), y = (value) => 128 - (108 * (value - low)) / (high - low || 1);
  const drawn = part("svg", { viewBox: "0 0 600 150", class: "curve", role: "img", "aria-label": `${title}: from ${ys[0].toPrecision(3)} to ${ys.at(-1).toPrecision(3)} in ${last} steps` });
  drawn.append(part("line", { x1: 44, x2: 592, y1: 128, y2: 128 }), part("text", { x: 44, y: 12 }, title), part("text", { x: 2, y: y(high) + 4 }, high.toPrecision(3)), part("text", { x: 2, y: y(low) + 4 }, low.toPrecision(3)), part("text", { x: 540, y: 146 }, `step ${last}`), part("path", { d: points.map((point, i) => `${i ? "L" : "M"}${x(point[0]).toFixed(1)} ${y(point[1]).toFixed(1)}`).join("") }));
  return drawn;
}
