// Two sounds, five answers. Of the room Listen, and of the page that needs no server.
// source: next() -> {pair, number, of, hear, done}, address(pair, side), answer(pair, answer, heard)

const ANSWERS = [[-2, "First, by far"], [-1, "First"], [0, "No difference"], [1, "Second"], [2, "Second, by far"]];

function made(tag, attributes, ...inside) {
  const one = document.createElement(tag);
  for (const [key, value] of Object.entries(attributes)) {
    if (key.startsWith("on")) one.addEventListener(key.slice(2), value);
    else if (value !== false) one.setAttribute(key, value === true ? "" : value);
  }
  one.append(...inside);
  return one;
}

export function listening(root, source, failed) {
  let pair = null, sounds = [], heard = [0, 0], buttons = [], answers = [], last = [0, 0];

  const say = made("p", { role: "status", class: "hint" });
  const count = made("p", { class: "figures" });
  const stage = made("div", {});
  root.replaceChildren(count, stage, say);

  function silence() { sounds.forEach((sound, i) => { sound.pause(); buttons[i]?.setAttribute("aria-pressed", "false"); }); }

  function hear(i) {
    const other = sounds[1 - i], at = !other.paused ? other.currentTime : 0, mine = sounds[i];
    if (!mine.paused) { silence(); return; }
    silence();
    if (at) mine.currentTime = at;
    last[i] = mine.currentTime;
    buttons[i].setAttribute("aria-pressed", "true");
    mine.play().catch(failed);
  }

  function follow() {
    sounds.forEach((sound, i) => {
      if (!sound.paused) { heard[i] += Math.min(Math.max(sound.currentTime - last[i], 0), 0.5); last[i] = sound.currentTime; }
    });
    const ready = Math.min(...heard) >= pair.hear - 0.2;
    answers.forEach((button) => { button.disabled = !ready; });
    if (!say.dataset.fixed) say.textContent = ready ? "" : `Hear both first: ${Math.max(0, pair.hear - heard[0]).toFixed(0)} s of the first, ${Math.max(0, pair.hear - heard[1]).toFixed(0)} s of the second.`;
  }

  async function answer(value) {
    silence();
    answers.forEach((button) => { button.disabled = true; });
    try { await source.answer(pair, value, heard.map((s) => Math.round(s * 10) / 10)); await next(); } catch (error) { failed(error); }
  }

  async function next() {
    silence();
    pair = await source.next();
    if (pair.done) {
      sounds = []; buttons = []; answers = []; pair = null;
      count.textContent = ""; say.textContent = "";
      stage.replaceChildren(made("p", {}, "Thank you! These were all pairs."), ...(source.end?.() || []));
      return;
    }
    heard = [0, 0]; last = [0, 0];
    count.textContent = `Pair ${pair.number} of ${pair.of}`;
    sounds = ["a", "b"].map((side) => { const sound = new Audio(source.address(pair, side)); sound.loop = true; sound.addEventListener("seeked", () => { last[side === "a" ? 0 : 1] = sound.currentTime; }); return sound; });
    buttons = ["First", "Second"].map((name, i) => made("button", { type: "button", "aria-pressed": "false", onclick: () => hear(i) }, name));
    answers = ANSWERS.map(([value, words], i) => made("button", { type: "button", disabled: true, "data-answer": value, onclick: () => answer(value) }, words));
    stage.replaceChildren(
      made("div", { class: "pair" }, ...buttons.map((button, i) => made("div", { class: "card" }, button, made("kbd", {}, "AB"[i])))),
      made("div", { class: "answers", role: "group", "aria-label": "Which do you like better?" }, ...answers),
      made("p", {}, made("button", { type: "button", class: "quiet", onclick: () => answer(null) }, "I cannot say: skip")),
      made("p", { class: "hint" }, "Keys: ", made("kbd", {}, "A"), " and ", made("kbd", {}, "B"), " play, ", made("kbd", {}, "1"), " to ", made("kbd", {}, "5"), " answer. Both go on where the other one was."),
    );
    follow();
  }

  document.addEventListener("keydown", (event) => {
    if (!pair || root.offsetParent === null || event.ctrlKey || event.metaKey || event.altKey || event.target.closest?.("input, select, textarea")) return;
    const key = event.key.toLowerCase();
    if (key === "a" || key === "b") hear(key === "a" ? 0 : 1);
    const button = answers[Number(key) - 1];
    if (button && !button.disabled) button.click();
  });
  setInterval(() => pair && follow(), 100);
  window.addEventListener("hashchange", silence);
  return next();
}
