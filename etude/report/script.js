// Niceties; without them the page reads, and plays by the browser's own controls.
(() => {
  "use strict";
  document.documentElement.classList.add("script");

  // One clip at a time.
  let playing = null;
  document.addEventListener("play", (event) => {
    if (playing && playing !== event.target) playing.pause();
    playing = event.target;
  }, true);

  // The picture becomes the player: press to play, arrows to move within the clip.
  const enhance = (figure) => {
    const sound = figure.querySelector("audio");
    const screen = figure.querySelector("div.screen");
    if (!sound || !screen) return;
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
    const toggle = () => {
      if (sound.paused) sound.play().catch(() => figure.classList.add("plain"));
      else sound.pause();
    };
    button.addEventListener("click", toggle);
    button.addEventListener("keydown", (event) => {
      const step = { ArrowLeft: -1, ArrowRight: 1 }[event.key];
      if (step && sound.duration) {
        event.preventDefault();
        const to = sound.currentTime + step * Math.max(sound.duration / 20, 0.25);
        sound.currentTime = Math.min(Math.max(to, 0), sound.duration);
        head.classList.add("moved");
        show();
      }
    });
    sound.addEventListener("play", () => {
      button.setAttribute("aria-pressed", "true");
      requestAnimationFrame(show);
    });
    for (const end of ["pause", "ended"]) {
      sound.addEventListener(end, () => button.setAttribute("aria-pressed", "false"));
    }
    sound.addEventListener("ended", () => { sound.currentTime = 0; head.classList.remove("moved"); });
  };
  document.querySelectorAll(".clip").forEach(enhance);

  // Up and down go from clip to clip, Home and End to the first and the last of a list.
  document.addEventListener("keydown", (event) => {
    const own = event.target.closest && event.target.closest("button.screen");
    if (!own || event.altKey || event.ctrlKey || event.metaKey) return;
    const all = [...own.closest(".clips").querySelectorAll("button.screen")];
    const at = all.indexOf(own);
    const to = { ArrowUp: at - 1, ArrowDown: at + 1, Home: 0, End: all.length - 1 }[event.key];
    if (to === undefined) return;
    event.preventDefault();
    if (all[to]) { all[to].focus(); all[to].scrollIntoView({ block: "nearest" }); }
  });

  // A set of clips: in another order, and more of them. Cards that are not shown yet wait in
  // templates in the rows of the table.
  for (const set of document.querySelectorAll(".set")) {
    const list = set.querySelector(".clips"), order = set.querySelector(".order select");
    const more = set.querySelector(".more");
    if (!list || !order) continue;
    const page = Number(set.dataset.shown);
    const cards = new Map();
    for (const card of list.children) cards.set(card.dataset.index, card);
    const rows = [...set.querySelectorAll(".list tbody tr")].filter(
      (row) => cards.has(row.dataset.index) || row.querySelector("template"));
    const cardOf = (row) => {
      let card = cards.get(row.dataset.index);
      if (!card) {
        card = row.querySelector("template").content.firstElementChild.cloneNode(true);
        card.querySelectorAll(".clip").forEach(enhance);
        cards.set(row.dataset.index, card);
      }
      return card;
    };
    const figure = (row, key) => row.dataset[key] ? Number(row.dataset[key]) : NaN;
    const last = (value, sign) => Number.isNaN(value) ? Infinity : sign * value;
    const compare = (a, b, key, sign) => {
      const [x, y] = [last(figure(a, key), sign), last(figure(b, key), sign)];
      return x === y ? 0 : x - y;
    };
    const orders = {
      index: (a, b) => compare(a, b, "index", 1),
      fad: (a, b) => compare(a, b, "fad", -1),
      near: (a, b) => compare(a, b, "fad", 1),
      copies: (a, b) => compare(a, b, "copies", -1) || compare(a, b, "fad", -1),
    };
    let shown = page;
    const draw = () => {
      const by = orders[order.value];
      rows.sort((a, b) => by(a, b) || orders.index(a, b));
      list.replaceChildren(...rows.slice(0, shown).map(cardOf));
      more.hidden = shown >= rows.length;
      more.querySelector("button").textContent = "Show " + Math.min(page, rows.length - shown) + " more";
      more.querySelector("[role=status]").textContent =
        Math.min(shown, rows.length) + " of " + rows.length + " shown";
    };
    order.addEventListener("change", () => { shown = page; draw(); });
    more.querySelector("button").addEventListener("click", () => {
      const before = shown;
      shown += page;
      draw();
      const next = list.children[before];
      if (next) next.querySelector("button.screen")?.focus({ preventScroll: true });
    });
    draw();
  }

  // Tables sort by a press on a heading; what has no figure stays at the end.
  const value = (row, column) => {
    const cell = row.cells[column];
    const text = cell.dataset.value ?? cell.textContent.trim();
    const number = Number.parseFloat(text.replace(/,/g, "").replace("−", "-").replace("< ", ""));
    return Number.isNaN(number) ? text : number;
  };
  const nothing = (x) => x === "" || x === "–";
  for (const table of document.querySelectorAll("table.sortable")) {
    const headings = [...table.tHead.rows[0].cells];
    headings.forEach((heading, column) => {
      if (!heading.textContent.trim()) return;
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
          if (nothing(x) || nothing(y)) return nothing(x) - nothing(y);
          const numbers = typeof x === "number" && typeof y === "number";
          const by = numbers ? x - y : String(x).localeCompare(String(y));
          return down ? -by : by;
        });
        body.append(...sorted);
      });
    });
  }
})();
