// Niceties; without them the page reads, and plays by the browser's own controls.
(() => {
  "use strict";
  document.documentElement.classList.add("script");

  // One clip at a time.
  const sounds = [...document.querySelectorAll("audio")];
  document.addEventListener("play", (event) => {
    for (const sound of sounds) if (sound !== event.target) sound.pause();
  }, true);

  // The picture becomes the player: press to play, arrows to move within the clip.
  for (const figure of document.querySelectorAll(".clip")) {
    const sound = figure.querySelector("audio");
    const screen = figure.querySelector(".screen");
    if (!sound || !screen) continue;
    const button = document.createElement("button");
    button.type = "button";
    button.className = "screen";
    button.setAttribute("aria-pressed", "false");
    button.setAttribute("aria-label", "Play " + sound.getAttribute("aria-label"));
    const head = document.createElement("span");
    head.className = "head";
    button.append(...screen.childNodes, head);
    screen.replaceWith(button);

    const show = () => {
      if (sound.duration) head.style.left = 100 * sound.currentTime / sound.duration + "%";
      if (!sound.paused) requestAnimationFrame(show);
    };
    button.addEventListener("click", () => {
      if (sound.paused) sound.play().catch(() => figure.classList.add("plain"));
      else sound.pause();
    });
    button.addEventListener("keydown", (event) => {
      const step = { ArrowLeft: -1, ArrowRight: 1 }[event.key];
      if (!step || !sound.duration) return;
      event.preventDefault();
      const to = sound.currentTime + step * Math.max(sound.duration / 20, 0.25);
      sound.currentTime = Math.min(Math.max(to, 0), sound.duration);
      head.classList.add("moved");
      show();
    });
    sound.addEventListener("play", () => {
      button.setAttribute("aria-pressed", "true");
      requestAnimationFrame(show);
    });
    for (const end of ["pause", "ended"]) {
      sound.addEventListener(end, () => button.setAttribute("aria-pressed", "false"));
    }
    sound.addEventListener("ended", () => { sound.currentTime = 0; head.classList.remove("moved"); });
  }

  // Tables sort by a press on a heading.
  const value = (row, column) => {
    const cell = row.cells[column];
    const text = cell.dataset.value ?? cell.textContent.trim();
    const number = Number.parseFloat(text.replace(/,/g, "").replace("−", "-"));
    return Number.isNaN(number) ? text : number;
  };
  for (const table of document.querySelectorAll("table.sortable")) {
    const headings = [...table.tHead.rows[0].cells];
    headings.forEach((heading, column) => {
      const button = document.createElement("button");
      button.type = "button";
      button.append(...heading.childNodes);
      heading.append(button);
      button.addEventListener("click", () => {
        const down = heading.getAttribute("aria-sort") === "ascending";
        for (const other of headings) other.removeAttribute("aria-sort");
        heading.setAttribute("aria-sort", down ? "descending" : "ascending");
        const body = table.tBodies[0];
        const sorted = [...body.rows].sort((a, b) => {
          const [x, y] = [value(a, column), value(b, column)];
          const numbers = typeof x === "number" && typeof y === "number";
          const order = numbers ? x - y : String(x).localeCompare(String(y));
          return down ? -order : order;
        });
        body.append(...sorted);
      });
    });
  }
})();
