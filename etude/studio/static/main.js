// Rooms, codes, what is kept, expo mode.
import { get, post, remove, tried } from "./api.js";
import "./keys.js";
import "./view.js";
import * as play from "./play.js";
import * as player from "./player.js";

const by = (id) => document.getElementById(id);
const ROOMS = ["play", "listen", "results", "train"];
const opened = new Set();
let me;

async function room() {
  const name = ROOMS.includes(location.hash.slice(1)) ? location.hash.slice(1) : "play";
  if (!me.enters) { by("enter").hidden = false; return; }
  player.stop();
  for (const one of ROOMS) by(one).hidden = one !== name;
  document.querySelectorAll("nav a").forEach((link) => (link.dataset.room === name ? link.setAttribute("aria-current", "page") : link.removeAttribute("aria-current")));
  document.title = `Étude studio: ${name}`;
  if (opened.has(name)) return;
  opened.add(name);
  if (name === "play") play.open(me);
  else await (await import(`./${name}.js`)).open(by(`${name}-room`), me);
}

function keeping() {
  document.querySelectorAll("[data-keep]").forEach((place) => { place.textContent = me.limits.keep_hours; });
  document.querySelectorAll("[data-keep-starred]").forEach((place) => { place.textContent = Math.round(me.limits.starred_hours / 24); });
  document.querySelectorAll("[data-only=operator]").forEach((place) => { place.hidden = !me.train; });
  by("operator").hidden = !me.has_operator || me.operator;
}

const enter = tried(async (code) => { await post("api/enter", { code }); location.reload(); });
by("enter").querySelector("form").addEventListener("submit", (event) => { event.preventDefault(); enter(event.target.elements.code.value); });
by("operator").addEventListener("click", () => { by("enter").hidden = false; by("enter").querySelector("h1").textContent = "The operator's code"; by("enter").querySelector("input").focus(); });

let sure = false;
by("delete-mine").addEventListener("click", tried(async ({ currentTarget }) => {
  if (!sure) { sure = true; currentTarget.textContent = "Really delete all of mine?"; return; }
  await remove("api/mine");
  location.reload();
}));

function expo(limit) {
  let quiet = 0;
  for (const name of ["pointerdown", "keydown", "touchstart"]) document.addEventListener(name, () => { quiet = 0; }, { passive: true });
  setInterval(async () => {
    quiet += 1;
    if (player.current()?.playing) quiet = 0;
    if (quiet >= limit) { quiet = 0; await play.startAgain(); }
  }, 1000);
}

tried(async () => {
  me = await get("api/me");
  keeping();
  window.addEventListener("hashchange", tried(room));
  if (me.expo || new URLSearchParams(location.search).has("expo")) expo(me.limits.expo_seconds);
  await room();
  document.body.dataset.ready = "yes";
})();
