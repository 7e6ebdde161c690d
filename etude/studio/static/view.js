// <etude-view>: a waveform or a piano roll, the prime in another colour, and a place to seek.

class View extends HTMLElement {
  connectedCallback() {
    if (this.canvas) return;
    this.canvas = document.createElement("canvas");
    this.canvas.setAttribute("aria-hidden", "true");
    this.seek = document.createElement("input");
    Object.assign(this.seek, { type: "range", min: 0, max: 1, step: 0.01, value: 0 });
    this.seek.setAttribute("aria-label", "Position");
    this.seek.addEventListener("input", () => this.dispatchEvent(new CustomEvent("seek", { detail: Number(this.seek.value) })));
    this.append(this.canvas, this.seek);
    this.position = 0;
    new ResizeObserver(() => this.draw()).observe(this);
    matchMedia("(prefers-color-scheme: dark)").addEventListener("change", () => this.draw());
  }
  show({ peaks = [], notes = [], seconds = 1, prime = 0, label = "" }) {
    Object.assign(this, { peaks, notes, seconds, prime });
    this.seek.max = seconds;
    this.seek.setAttribute("aria-label", label || "Position");
    this.draw();
  }
  at(second) {
    this.position = second;
    this.seek.value = second;
    this.seek.setAttribute("aria-valuetext", `${second.toFixed(1)} of ${(this.seconds || 0).toFixed(1)} seconds`);
    this.draw();
  }
  draw() {
    if (!this.seconds || !this.clientWidth) return;
    const scale = devicePixelRatio || 1, wide = this.clientWidth, high = this.clientHeight;
    this.canvas.width = wide * scale; this.canvas.height = high * scale;
    const pen = this.canvas.getContext("2d"), colour = (name) => getComputedStyle(this).getPropertyValue(name);
    pen.scale(scale, scale);
    const x = (second) => (second / this.seconds) * wide;
    const ink = (second) => (second < this.prime - 1e-3 ? colour("--prime") : colour("--accent"));
    if (this.notes.length) {
      const pitches = this.notes.map((note) => note[2]);
      const low = Math.min(...pitches) - 2, high12 = Math.max(...pitches, low + 14) + 2, row = high / (high12 - low);
      for (const [from, to, pitch] of this.notes) {
        pen.fillStyle = ink(from);
        pen.fillRect(x(from), high - (pitch - low + 0.5) * row, Math.max(x(to) - x(from) - 0.7, 1.2), Math.max(row * 0.85, 2));
      }
    } else {
      const step = wide / (this.peaks.length || 1);
      this.peaks.forEach((peak, i) => {
        pen.fillStyle = ink((i / this.peaks.length) * this.seconds);
        pen.fillRect(i * step, (high / 2) * (1 - peak * 0.94), Math.max(step * 0.75, 0.8), Math.max(high * peak * 0.94, 1));
      });
    }
    if (this.position > 0) { pen.fillStyle = colour("--ink"); pen.fillRect(x(this.position) - 0.75, 0, 1.5, high); }
  }
}
customElements.define("etude-view", View);
