// The room Play: begin, go on, hear it.
import { element, get, post, put, remove, tried, trouble, upload } from "./api.js";
import { Take, audio, connectMidi, sound } from "./keys.js";
import { Recording, microphoneMissing } from "./recorder.js";
import * as player from "./player.js";

const by = (id) => document.getElementById(id);
const seconds = (value) => (value < 60 ? `${value.toFixed(1)} s` : `${Math.floor(value / 60)} min ${Math.round(value % 60)} s`);
let me, way = "keys", prime = null, take, stream = null, recording = null;
const cards = new Map(); // job id -> what shows it

export function open(who) {
  me = who;
  begin();
  form();
  by("ask").addEventListener("submit", (event) => { event.preventDefault(); go(); });
  tried(async () => { (await get("api/jobs")).reverse().forEach(show); follow(); })();
  document.addEventListener("visibilitychange", follow);
}

// ------------------------------------------------------------------------------------- begin

function begin() {
  document.querySelectorAll("[data-way]").forEach((button) => button.addEventListener("click", () => choose(button.dataset.way)));
  const keys = document.querySelector("etude-keys");
  take = new Take(keys, played);
  by("keys-clear").addEventListener("click", () => { take.clear(); setPrime(null); });
  by("keys-hear").addEventListener("click", () => take.hear());
  by("midi-in").addEventListener("click", tried(async () => {
    const names = await connectMidi(keys);
    by("prime-text").textContent = names.length ? `Connected: ${names.join(", ")}` : "No MIDI keyboard is there yet; plug one in.";
  }));
  let taps = [];
  by("tap").addEventListener("click", () => {
    const at = performance.now();
    taps = [...taps.filter((tap) => at - tap < 8000).slice(-5), at];
    if (taps.length > 2) by("tempo").value = Math.round(Math.min(Math.max((60000 * (taps.length - 1)) / (at - taps[0]), 30), 300));
  });
  by("count-in").addEventListener("click", countIn);
  const file = by("file"), drop = file.closest(".drop");
  file.addEventListener("change", () => file.files[0] && bring(file.files[0]));
  for (const name of ["dragover", "dragleave", "drop"]) drop.addEventListener(name, (event) => {
    event.preventDefault();
    drop.classList.toggle("over", name === "dragover");
    if (name === "drop" && event.dataTransfer.files[0]) bring(event.dataTransfer.files[0]);
  });
  const missing = microphoneMissing();
  by("record").disabled = Boolean(missing);
  if (missing) by("mic-hint").textContent = missing;
  by("record").addEventListener("click", tried(record));
  by("prime-view").addEventListener("seek", (event) => prime?.part && player.seek(prime.part, event.detail));
}

function choose(which) {
  way = which;
  document.querySelectorAll("[data-way]").forEach((button) => button.setAttribute("aria-pressed", String(button.dataset.way === which)));
  document.querySelectorAll("[data-pane]").forEach((pane) => { pane.hidden = pane.dataset.pane !== which; });
  setPrime(null);
  if (which === "keys") played(take);
  choices();
}

function played(what) {
  const some = what.notes?.length > 0;
  by("keys-clear").disabled = by("keys-hear").disabled = !some;
  if (way !== "keys") return;
  prime = null;
  by("prime").hidden = !some;
  if (some) by("prime-view").show({ notes: what.notes, seconds: Math.max(what.seconds, 0.5), prime: Infinity, label: "What you have played" });
  by("prime-text").textContent = some ? `${what.notes.length} notes, ${seconds(what.seconds)}` : "";
  choices();
}

function countIn() {
  const beat = 60 / tempo(), first = audio().currentTime + 0.1;
  for (let i = 0; i < 4; i++) sound(i ? 84 : 91, 70, first + i * beat, 0.05);
  take.clear(performance.now() / 1000 + 0.1 + 4 * beat);
  let left = 4;
  const say = () => { by("prime-text").textContent = left ? `${left} …` : "Play now."; if (left--) setTimeout(say, beat * 1000); };
  say();
}
const tempo = () => Math.min(Math.max(Number(by("tempo").value) || 120, 30), 300);

async function record() {
  const button = by("record");
  if (recording) {
    const bytes = recording.stop();
    recording = null;
    button.setAttribute("aria-pressed", "false");
    button.textContent = "Record again";
    await send(bytes, "Your recording");
    return;
  }
  setPrime(null);
  const made = new Recording(me.limits.prime_seconds, (length, loudest) => {
    by("level").value = loudest;
    by("record-time").textContent = seconds(length);
    if (recording?.full) button.click();
  });
  await made.start();
  recording = made;
  button.setAttribute("aria-pressed", "true");
  button.textContent = "Stop";
}

const bring = tried((file) => {
  if (file.size > me.limits.upload_mb * 2 ** 20) throw new Error(`That is too large; ${me.limits.upload_mb} MB at most.`);
  return send(file, file.name);
});

async function send(bytes, name) {
  by("prime-text").textContent = "Reading it …";
  try { setPrime({ ...(await upload("api/primes", bytes)), name }); } catch (error) { setPrime(null); throw error; }
}

function setPrime(found, text) {
  prime = found;
  by("prime").hidden = !found;
  by("prime-text").textContent = text ?? "";
  if (found) {
    by("prime-view").show({ ...found, notes: found.notes || [], prime: Infinity, label: "What the model continues" });
    by("prime-text").textContent = `${found.name}: ${seconds(found.seconds)}`;
    found.part = { button: document.createElement("button"), view: by("prime-view"), address: found.clip ? `api/clips/${found.id}.wav` : `api/primes/${found.id}.wav` };
  }
  choices();
}

// ------------------------------------------------------------------------------------- go on

function suits(model) {
  const notes = prime ? Boolean(prime.clip ? prime.hasNotes : prime.notes?.length) : way === "keys";
  if (way === "none" && !prime) return true;
  if (way === "keys" && !prime && !take?.notes?.length) return true;
  return model.takes.includes("recording") || (model.takes.includes("midi") && notes);
}

function form() {
  const main = by("main-controls"), more = by("more-controls");
  const model = me.models.find((one) => one.id === by("model")?.value) || me.models[0];
  const kept = ["seconds", "clips", "text", "seed"].map((id) => [id, by(id)?.value]);
  main.replaceChildren(); more.replaceChildren();
  if (!model) { by("ask-text").textContent = "There is no model here."; by("go").disabled = true; return; }
  const select = element("select", { id: "model", onchange: form }, ...me.models.map((one) => element("option", { value: one.id, selected: one.id === model.id }, one.name)));
  main.append(element("label", {}, "Model", select, element("small", {}, model.trained_on ? `learned from ${model.trained_on}` : "")));
  if (model.takes.includes("text")) main.append(element("label", { class: "broad" }, "In words", element("input", { id: "text", type: "text", maxlength: 400, placeholder: "High quality music in the style of …" })));
  if (model.concepts.length) main.append(element("label", {}, "A learned sound", element("select", { id: "concept" }, element("option", { value: "" }, "none"), ...model.concepts.map((word) => element("option", { value: word }, word)))));
  if (model.seconds) main.append(number("seconds", "Seconds", model.seconds, 1, me.limits.seconds, 1));
  main.append(number("clips", "Versions", 2, 1, me.limits.clips, 1));
  for (const control of model.controls) (control.main ? main : more).append(widget(control));
  more.append(number("seed", "Seed", "", 0, 2 ** 32 - 1, 1, "the same seed makes the same music; empty: any"));
  for (const [id, value] of kept) if (value !== undefined && by(id)) by(id).value = value;
  choices();
}

function number(id, label, value, least, most, step, help = "") {
  return element("label", {}, label, element("input", { id, type: "number", value, min: least, max: most, step }), element("small", {}, help));
}

function widget(control) {
  const id = `set-${control.key}`, help = element("small", {}, control.help);
  const common = { id, "data-key": control.key, "data-kind": control.kind };
  if (control.kind === "boolean") return element("label", {}, element("input", { ...common, type: "checkbox", checked: control.default }), ` ${control.label}`, help);
  if (control.kind === "choice") return element("label", {}, control.label, element("select", common, ...control.choices.map((word) => element("option", { selected: word === control.default }, word))), help);
  if (control.key.endsWith("temperature")) {
    const range = element("input", { ...common, type: "range", min: 0.1, max: 1.6, step: 0.05, value: control.default });
    const said = element("small", {}, "");
    const say = () => { said.textContent = Number(range.value) < 0.75 ? "careful" : Number(range.value) > 1.15 ? "wild" : "as it learned"; };
    range.addEventListener("input", say); say();
    return element("label", {}, "Adventure", range, said);
  }
  const plain = control.kind === "text";
  const steps = { type: plain ? "text" : "number", step: control.kind === "integer" ? 1 : "any", min: plain ? null : control.least, max: plain ? null : control.most };
  return element("label", {}, control.label, element("input", { ...common, ...steps, value: control.default ?? "", maxlength: plain ? 200 : null }), help);
}

// What is not possible together is said before anybody asks for it.
function choices() {
  const select = by("model");
  if (!select) return;
  for (const option of select.options) option.disabled = !suits(me.models.find((one) => one.id === option.value));
  if (select.selectedOptions[0]?.disabled) {
    const other = [...select.options].find((option) => !option.disabled);
    if (other) { select.value = other.value; form(); return; }
  }
  const ready = way === "none" || prime || (way === "keys" && take?.notes?.length);
  const possible = !select.selectedOptions[0]?.disabled;
  by("go").textContent = ready && (prime || way === "keys") ? "Go on" : "Make music";
  by("go").disabled = !possible;
  by("ask-text").textContent = possible ? (ready || way === "none" ? "" : "Nothing is played yet: the model will begin by itself.") : "No model here continues this.";
}

function asked() {
  const model = me.models.find((one) => one.id === by("model").value);
  const ask = { model: model.id, clips: Number(by("clips").value) || 1, settings: {} };
  if (model.seconds) ask.seconds = Number(by("seconds").value) || model.seconds;
  if (by("seed").value !== "") ask.seed = Number(by("seed").value);
  if (by("text")?.value.trim()) ask.text = by("text").value.trim();
  if (by("concept")?.value) ask.concept = by("concept").value;
  for (const field of document.querySelectorAll("#ask [data-key]")) {
    const control = model.controls.find((one) => one.key === field.dataset.key);
    let value = field.type === "checkbox" ? field.checked : field.value;
    if (["number", "integer"].includes(control.kind)) value = value === "" ? null : Number(value);
    if (control.kind === "text" && value === "" && control.optional) value = null;
    if (value !== (control.default ?? (control.kind === "text" ? "" : null))) ask.settings[control.key] = value;
  }
  return ask;
}

const go = tried(async () => {
  const ask = asked();
  by("go").disabled = true;
  try {
    if (way === "keys" && !prime && take.notes.length) prime = { ...(await post("api/primes/notes", { notes: take.notes, tempo: tempo() })), fromKeys: true };
    if (prime) ask[prime.clip ? "clip" : "prime"] = prime.id;
    show(await post("api/jobs", ask));
    follow();
  } finally { by("go").disabled = false; }
});

// ------------------------------------------------------------------------------------ hear it

function follow() {
  const busy = [...cards.values()].some((card) => ["waiting", "running"].includes(card.job.state));
  if (!busy || document.hidden) { stream?.close(); stream = null; return; }
  if (stream) return;
  stream = new EventSource("api/events");
  stream.addEventListener("job", (event) => { show(JSON.parse(event.data)); });
  stream.addEventListener("rest", () => follow());
}

const STATES = { done: "", failed: "It did not work.", cancelled: "Cancelled." };
function says(job) {
  if (job.state === "waiting") return job.place > 1 ? `place ${job.place} in the queue, about ${Math.round(job.eta)} s` : "next in the queue";
  if (job.state !== "running") return job.error || STATES[job.state];
  if (job.cancelling) return "stopping …";
  if (!job.stage || job.stage === "loading") return "opening the model …";
  return `${Math.round(job.percent)} %, about ${Math.max(1, Math.round(job.eta))} s left`;
}

function show(job) {
  by("nothing-yet").hidden = true;
  let card = cards.get(job.id);
  if (!card) {
    const root = by("job-template").content.firstElementChild.cloneNode(true);
    card = { root, clips: new Map(), job };
    cards.set(job.id, card);
    by("jobs").prepend(root);
    root.querySelector(".cancel").addEventListener("click", tried(() => remove(`api/jobs/${job.id}`)));
    root.querySelector(".again").addEventListener("click", tried(async () => { const { seed, ...rest } = card.job.ask; show(await post("api/jobs", rest)); follow(); }));
    root.querySelector(".zip").href = `api/jobs/${job.id}.zip`;
  }
  card.job = job;
  const { root } = card, model = me.models.find((one) => one.id === job.ask.model);
  const from = job.ask.text || job.ask.concept || (job.ask.prime || job.ask.clip ? "going on" : "from nothing");
  root.querySelector("h3").textContent = `${model?.name || "a model that is gone"}: ${from}`;
  root.querySelector(".what").textContent = `seed ${job.ask.seed}`;
  const busy = ["waiting", "running"].includes(job.state);
  root.querySelector("progress").value = job.percent;
  root.querySelector("progress").hidden = root.querySelector(".cancel").hidden = !busy;
  root.querySelector(".say").textContent = says(job);
  root.querySelector(".run").hidden = !busy && !says(job);
  root.querySelector(".zip").hidden = !job.clips.length;
  root.querySelector(".again").hidden = busy;
  for (const clip of job.clips) if (!card.clips.has(clip.id)) addClip(card, clip);
  if (card.clips.size && root === by("jobs").firstElementChild) player.setVersions([...card.clips.values()]);
}

function addClip(card, clip) {
  const root = by("clip-template").content.firstElementChild.cloneNode(true);
  const view = root.querySelector("etude-view"), button = root.querySelector(".sound"), find = (name) => root.querySelector(name);
  const part = { button, view, address: `api/clips/${clip.id}.wav`, clip };
  card.clips.set(clip.id, part);
  card.root.querySelector(".clips").append(root);
  find(".number").textContent = clip.number + 1;
  button.setAttribute("aria-label", `Play version ${clip.number + 1}`);
  button.addEventListener("click", tried(() => player.play(part)));
  view.addEventListener("seek", (event) => player.seek(part, event.detail));
  find(".loop").addEventListener("click", ({ currentTarget }) => { const on = currentTarget.getAttribute("aria-pressed") !== "true"; currentTarget.setAttribute("aria-pressed", on); player.loop(part, on); });
  const star = find(".star");
  star.setAttribute("aria-pressed", String(Boolean(clip.starred)));
  star.addEventListener("click", tried(async () => { const on = star.getAttribute("aria-pressed") !== "true"; await (on ? put : remove)(`api/clips/${clip.id}/star`); star.setAttribute("aria-pressed", on); }));
  for (const [name, form] of [[".wav", "wav"], [".mid", "mid"], [".settings", "json"]]) find(name).href = `api/clips/${clip.id}.${form}?download`;
  find(".mid").hidden = !clip.notes;
  find(".onward").addEventListener("click", () => { way = "clip"; setPrime({ ...part.drawn, id: clip.id, clip: true, hasNotes: Boolean(clip.notes), name: `version ${clip.number + 1}`, seconds: clip.seconds }); document.querySelectorAll("[data-way]").forEach((one) => one.setAttribute("aria-pressed", "false")); document.querySelectorAll("[data-pane]").forEach((pane) => { pane.hidden = true; }); by("go").scrollIntoView({ block: "center" }); by("go").focus({ preventScroll: true }); });
  find(".near").addEventListener("click", tried(() => nearest(root, clip)));
  find(".take").addEventListener("click", tried(() => takeHome(root, clip)));
  tried(async () => { part.drawn = await get(`api/clips/${clip.id}/view`); view.show({ ...part.drawn, prime: clip.prime, label: `Version ${clip.number + 1}, position` }); })();
}

async function nearest(root, clip) {
  const place = root.querySelector(".beside");
  const near = await get(`api/clips/${clip.id}/near`);
  place.replaceChildren(element("p", { class: near.unusual ? "warn" : "" }, near.words));
  if (near.piece) {
    const button = element("button", { class: "quiet", type: "button", "aria-pressed": "false" }, "Hear the training music");
    const part = { button, view: null, address: `api/clips/${clip.id}/near.wav` };
    if (near.sound) { button.addEventListener("click", tried(() => player.play(part))); place.append(button); }
  }
  place.hidden = false;
}

async function takeHome(root, clip) {
  const place = root.querySelector(".beside");
  const { path } = await post(`api/clips/${clip.id}/share`, {});
  const address = new URL(path, document.baseURI).href;
  place.replaceChildren(
    element("p", {}, "Photograph this with your phone, or open ", element("a", { href: path }, "the link"), "."),
    element("img", { src: `${path}/qr.svg?to=${encodeURIComponent(address.split("/take/")[0])}`, alt: "QR code of the link to this clip" }),
  );
  place.hidden = false;
}

// --------------------------------------------------------------------------------------- expo

export async function startAgain() {
  if ([...cards.values()].some((card) => ["waiting", "running"].includes(card.job.state))) return false;
  player.stop();
  trouble(null);
  await post("api/leave", {}).catch(() => {});
  location.hash = "#play";
  location.reload();
  return true;
}
