// A row for each recording. What is typed is kept in the browser, and saved as a CSV by a button.
"use strict";
const page = PAGE_DATA;
const key = "etude-captions:" + location.pathname;
const kept = (() => {
  try { return JSON.parse(localStorage.getItem(key)) || {}; } catch { return {}; }
})();

const words = (text) => text.trim().split(/\s+/).filter(Boolean).length;

// An element with a class and a text; nothing is ever read as HTML.
function element(tag, className, text = "") {
  const made = document.createElement(tag);
  if (className) made.className = className;
  made.textContent = text;
  return made;
}

function keep() {
  try { localStorage.setItem(key, JSON.stringify(kept)); } catch {
    document.getElementById("kept").textContent = "This browser keeps nothing: save often.";
  }
}

function hints(i) {
  const found = [];
  if (page.faults[i]) found.push("cannot be read: " + page.faults[i]);
  const alike = page.alike[i];
  if (alike) found.push(alike[1] === 1 ? "the same samples as " + alike[0]
    : "nearly as " + alike[0] + " (" + Math.round(100 * alike[1]) + " %)");
  return found;
}

const main = document.getElementById("rows");
const rows = page.rows.map((cells, i) => {
  const name = cells[page.file];
  const row = main.appendChild(element("section", "row"));
  const left = row.appendChild(element("div"));
  left.append(element("div", "name", name));
  hints(i).forEach((text) => left.append(element("div", "hint alike", text)));
  if (page.sounds[i]) {
    const player = left.appendChild(element("audio"));
    player.controls = true;
    player.preload = "none";
    player.src = page.sounds[i];
    player.setAttribute("aria-label", "play " + name);
    player.addEventListener("play", () => document.querySelectorAll("audio").forEach((other) => {
      if (other !== player) other.pause();
    }));
  }
  const right = row.appendChild(element("div"));
  const field = right.appendChild(element("textarea"));
  field.setAttribute("aria-label", "caption of " + name);
  field.value = name in kept ? kept[name] : cells[page.caption];
  const count = right.appendChild(element("div", "hint"));
  const tell = () => {
    const number = words(field.value);
    const long = number > page.most;
    count.textContent = number + (number === 1 ? " word" : " words")
      + (long ? ": only about " + page.most + " are read" : "");
    count.classList.toggle("bad", long);
    return number;
  };
  field.addEventListener("input", () => {
    kept[name] = field.value;
    keep();
    tell();
    total();
  });
  tell();
  return { row, field, cells, i };
});

const matches = {
  all: () => true,
  empty: ({ field }) => !words(field.value),
  long: ({ field }) => words(field.value) > page.most,
  alike: ({ i }) => Boolean(page.alike[i]),
};

function total() {
  const without = rows.filter(matches.empty).length;
  document.getElementById("count").textContent =
    rows.length - without + " of " + rows.length + " have a caption";
}

document.getElementById("show").addEventListener("change", (event) => {
  rows.forEach((one) => { one.row.hidden = !matches[event.target.value](one); });
});

const quoted = (cell) => /[",\r\n]/.test(cell) ? '"' + cell.replaceAll('"', '""') + '"' : cell;

function csv() {
  const lines = rows.map(({ cells, field }) => cells.map((cell, column) =>
    column === page.caption ? field.value.trim().replace(/\s+/g, " ") : cell));
  return [page.columns, ...lines].map((line) => line.map(quoted).join(",") + "\n").join("");
}

document.getElementById("save").addEventListener("click", () => {
  const link = document.createElement("a");
  link.href = URL.createObjectURL(new Blob([csv()], { type: "text/csv" }));
  link.download = "captions.csv";
  link.click();
  setTimeout(() => URL.revokeObjectURL(link.href), 1000);
});

total();
document.body.dataset.ready = "yes";
