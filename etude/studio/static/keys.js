// <etude-keys>: two octaves that sound at once; by pointer, touch, letters, arrows or Web MIDI.

const LETTERS = "awsedftgyhujkolp;'";
const WHITE = [0, 2, 4, 5, 7, 9, 11];
const OCTAVES = 2;

let context;
export function audio() {
  context ??= new AudioContext();
  if (context.state === "suspended") context.resume();
  return context;
}

const sounding = new Map();
export function sound(pitch, velocity = 90, when = 0, seconds = null) {
  const sink = audio(), start = when || sink.currentTime;
  const level = sink.createGain(), hertz = 440 * 2 ** ((pitch - 69) / 12);
  for (const [times, share] of [[1, 0.75], [2, 0.18], [3, 0.07]]) {
    const voice = sink.createOscillator(), part = sink.createGain();
    voice.frequency.value = hertz * times;
    voice.type = times === 1 ? "triangle" : "sine";
    part.gain.value = share;
    voice.connect(part).connect(level);
    voice.start(start);
    voice.stop(start + (seconds ?? 8) + 0.3);
  }
  const peak = 0.28 * (velocity / 127) ** 1.5;
  level.gain.setValueAtTime(0, start);
  level.gain.linearRampToValueAtTime(peak, start + 0.008);
  level.gain.setTargetAtTime(peak * 0.25, start + 0.01, 0.6);
  if (seconds !== null) level.gain.setTargetAtTime(0, start + seconds, 0.05);
  level.connect(sink.destination);
  return level;
}
function silence(level) { level.gain.setTargetAtTime(0, audio().currentTime, 0.06); }

class Keys extends HTMLElement {
  connectedCallback() {
    if (this.lowest !== undefined) return;
    this.lowest = 60; this.held = new Map(); this.pointers = new Map(); this.letters = new Map();
    this.setAttribute("role", "group");
    this.setAttribute("aria-label", "Keyboard, two octaves");
    this.draw();
    this.addEventListener("pointerdown", (event) => this.point(event));
    this.addEventListener("pointermove", (event) => this.pointers.has(event.pointerId) && this.point(event));
    for (const name of ["pointerup", "pointercancel", "pointerleave"])
      this.addEventListener(name, (event) => this.letGo(event));
    this.addEventListener("keydown", (event) => this.arrows(event));
    this.addEventListener("keyup", (event) => { if (["Enter", " "].includes(event.key)) this.up(this.focused(), "enter"); });
    document.addEventListener("keydown", (event) => this.letter(event, true));
    document.addEventListener("keyup", (event) => this.letter(event, false));
    window.addEventListener("blur", () => [...this.held.keys()].forEach((pitch) => this.up(pitch)));
  }
  draw() {
    this.replaceChildren();
    const whites = OCTAVES * 7 + 1, width = 100 / whites;
    let white = 0;
    for (let step = 0; step <= OCTAVES * 12; step++) {
      const key = document.createElement("button"), isWhite = WHITE.includes(step % 12);
      key.type = "button";
      key.dataset.pitch = this.lowest + step;
      key.className = isWhite ? "white" : "black";
      key.tabIndex = step === 0 ? 0 : -1;
      key.style.left = `${isWhite ? white * width : white * width - width * 0.31}%`;
      key.style.width = `${isWhite ? width : width * 0.62}%`;
      if (isWhite) white++;
      const name = "C C♯ D D♯ E F F♯ G G♯ A A♯ B".split(" ")[step % 12] + (Math.floor((this.lowest + step) / 12) - 1);
      key.setAttribute("aria-label", name);
      if (LETTERS[step]) { const hint = document.createElement("kbd"); hint.textContent = LETTERS[step].toUpperCase(); hint.setAttribute("aria-hidden", "true"); key.append(hint); }
      this.append(key);
    }
  }
  keyOf(pitch) { return this.querySelector(`[data-pitch="${pitch}"]`); }
  focused() { return Number(document.activeElement?.dataset?.pitch); }
  down(pitch, velocity = 90, by = "") {
    if (this.held.has(pitch) || !(pitch >= 21 && pitch <= 108)) return;
    this.held.set(pitch, { level: sound(pitch, velocity), by });
    this.keyOf(pitch)?.classList.add("down");
    this.dispatchEvent(new CustomEvent("notedown", { detail: { pitch, velocity } }));
  }
  up(pitch, by = "") {
    const held = this.held.get(pitch);
    if (!held || (by && held.by !== by)) return;
    silence(held.level);
    this.held.delete(pitch);
    this.keyOf(pitch)?.classList.remove("down");
    this.dispatchEvent(new CustomEvent("noteup", { detail: { pitch } }));
  }
  point(event) {
    const at = document.elementFromPoint(event.clientX, event.clientY)?.closest?.("[data-pitch]");
    const before = this.pointers.get(event.pointerId), pitch = at ? Number(at.dataset.pitch) : null;
    if (event.type === "pointerdown") { event.target.releasePointerCapture?.(event.pointerId); if (event.button > 0) return; }
    if (before === pitch) return;
    if (before) this.up(before);
    this.pointers.set(event.pointerId, pitch);
    if (pitch) this.down(pitch, 90);
  }
  letGo(event) {
    const pitch = this.pointers.get(event.pointerId);
    if (pitch) this.up(pitch);
    this.pointers.delete(event.pointerId);
  }
  arrows(event) {
    const keys = [...this.children], at = keys.indexOf(document.activeElement);
    const step = { ArrowRight: 1, ArrowLeft: -1, ArrowUp: 12, ArrowDown: -12 }[event.key];
    if (step && at >= 0) {
      event.preventDefault();
      const next = keys[Math.min(Math.max(at + step, 0), keys.length - 1)];
      keys.forEach((key) => { key.tabIndex = key === next ? 0 : -1; });
      next.focus();
    } else if (["Enter", " "].includes(event.key) && at >= 0) {
      event.preventDefault();
      if (!event.repeat) this.down(this.focused(), 90, "enter");
    }
  }
  letter(event, down) {
    const key = event.key.toLowerCase();
    if (!down) {
      const pitch = this.letters.get(event.code);
      if (pitch !== undefined) { this.letters.delete(event.code); this.up(pitch); }
      return;
    }
    if (event.repeat || event.ctrlKey || event.metaKey || event.altKey || this.offsetParent === null) return;
    if (event.target.closest?.("input, select, textarea")) return;
    if (key === "z" || key === "x") {
      this.lowest = Math.min(Math.max(this.lowest + (key === "x" ? 12 : -12), 24), 84);
      this.draw();
      return;
    }
    const step = LETTERS.indexOf(key);
    if (step < 0) return;
    event.preventDefault();
    const pitch = this.lowest + step;
    this.letters.set(event.code, pitch);
    this.down(pitch);
  }
}
customElements.define("etude-keys", Keys);

// What was played: notes with times from the first one on.
export class Take {
  constructor(keys, changed) {
    this.changed = changed;
    this.clear();
    keys.addEventListener("notedown", (event) => this.down(event.detail));
    keys.addEventListener("noteup", (event) => this.up(event.detail));
  }
  clear(began = null) { this.notes = []; this.open = new Map(); this.began = began; this.changed?.(this); }
  now() { return performance.now() / 1000; }
  down({ pitch, velocity }) {
    this.began ??= this.now();
    this.open.set(pitch, { pitch, velocity, start: this.now() - this.began });
  }
  up({ pitch }) {
    const note = this.open.get(pitch);
    if (!note) return;
    this.open.delete(pitch);
    const start = Math.max(note.start, 0), end = Math.max(this.now() - this.began, start + 0.05);
    this.notes.push([start, end, pitch, note.velocity]);
    this.notes.sort((a, b) => a[0] - b[0] || a[2] - b[2]);
    this.changed?.(this);
  }
  get seconds() { return Math.max(0, ...this.notes.map((note) => note[1])); }
  hear() {
    const start = audio().currentTime + 0.05;
    for (const [from, to, pitch, velocity] of this.notes) sound(pitch, velocity, start + from, to - from);
  }
}

export async function connectMidi(keys) {
  if (!navigator.requestMIDIAccess) throw new Error("This browser has no Web MIDI; Chrome, Edge and Firefox have, over https or on this machine itself.");
  let access;
  try { access = await navigator.requestMIDIAccess({ sysex: false }); } catch { throw new Error("The browser did not allow MIDI."); }
  const listen = () => {
    for (const input of access.inputs.values()) input.onmidimessage = ({ data: [status, pitch, velocity] }) => {
      const kind = status & 0xf0;
      if (kind === 0x90 && velocity > 0) keys.down(pitch, velocity);
      else if (kind === 0x80 || kind === 0x90) keys.up(pitch);
    };
    return [...access.inputs.values()].map((input) => input.name);
  };
  access.onstatechange = listen;
  return listen();
}
