// The page of `etude listen`: it keeps answers in the browser, and saves them as a CSV.
const page = PAGE_DATA;
const key = "etude-" + page.id;
const kept = (() => { try { return JSON.parse(localStorage.getItem(key)); } catch { return null; } })();
const state = kept || { listener: crypto.getRandomValues(new Uint32Array(2)).join("-"), order: page.pairs.map((_, i) => i), rows: [] };
if (!kept) state.order.forEach((_, i) => { const j = i + Math.floor(Math.random() * (state.order.length - i)); [state.order[i], state.order[j]] = [state.order[j], state.order[i]]; });
const keep = () => { try { localStorage.setItem(key, JSON.stringify(state)); } catch { /* some browsers keep nothing for files */ } document.getElementById("save").disabled = !state.rows.length; };
const source = {
  next: async () => state.rows.length >= state.order.length ? { done: true } : { ...page.pairs[state.order[state.rows.length]], number: state.rows.length + 1, of: state.order.length },
  address: (pair, side) => `${pair.pair}-${side}.wav`,
  answer: async (pair, answer, heard) => { state.rows.push([state.listener, page.id, pair.pair, answer === null ? "" : answer, (heard[0] + heard[1]).toFixed(1)]); keep(); },
};
document.getElementById("save").addEventListener("click", () => {
  const lines = [["listener", "page", "pair", "answer", "heard_s"], ...state.rows].map((row) => row.join(",")).join("\n") + "\n";
  const link = document.createElement("a");
  link.href = URL.createObjectURL(new Blob([lines], { type: "text/csv" }));
  link.download = `ratings-${state.listener}.csv`;
  link.click();
});
keep();
listening(document.getElementById("room"), source, (error) => { document.getElementById("trouble").textContent = error.message; });
document.body.dataset.ready = "yes";
