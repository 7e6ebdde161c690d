// One sound at a time; number keys switch between the versions of a request at the same place.

const sound = new Audio();
let now = null; // {button, view, address, loop}
const versions = []; // of the newest request that has any: what the number keys mean

export function stop() {
  sound.pause();
  if (now) { now.button.setAttribute("aria-pressed", "false"); now.view?.at(0); now = null; }
}

export async function play(part, from = 0) {
  if (now === part && !sound.paused && !from) { sound.pause(); part.button.setAttribute("aria-pressed", "false"); return; }
  if (now === part && sound.paused && !from) { part.button.setAttribute("aria-pressed", "true"); await sound.play(); return; }
  stop();
  now = part;
  sound.src = part.address;
  sound.loop = Boolean(part.loop);
  part.button.setAttribute("aria-pressed", "true");
  if (from) sound.currentTime = from;
  try { await sound.play(); } catch (error) { if (error.name !== "AbortError") { stop(); throw error; } }
}

export function seek(part, second) {
  if (now === part) sound.currentTime = second;
  else play(part, second);
}

export function loop(part, on) {
  part.loop = on;
  if (now === part) sound.loop = on;
}

export function current() { return now ? { part: now, seconds: sound.currentTime, playing: !sound.paused } : null; }

sound.addEventListener("ended", () => stop());
(function follow() {
  if (now && !sound.paused) now.view?.at(sound.currentTime);
  requestAnimationFrame(follow);
})();

export function setVersions(parts) { versions.splice(0, versions.length, ...parts); }
document.addEventListener("keydown", (event) => {
  if (event.target.closest?.("input:not([type=range]), select, textarea") || event.ctrlKey || event.metaKey || event.altKey) return;
  if (document.getElementById("play").hidden) return;
  if (event.key === "0" || event.key === "Escape") stop();
  const part = versions[Number(event.key) - 1];
  if (!part) return;
  const at = now && versions.includes(now) && !sound.paused ? sound.currentTime : 0;
  if (now !== part) play(part, at);
  else play(part);
});
