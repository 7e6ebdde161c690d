// The room Listen.
import { element, get, post, tried, trouble } from "./api.js";
import { listening } from "./listening.js";

export async function open(root, me) {
  if (!me.listen) {
    root.replaceChildren(element("p", {}, "There is nothing to compare here: the studio was started without the results of a run."));
    return;
  }
  const room = element("div", { class: "step" });
  root.replaceChildren(
    element("p", {}, "Two pieces of music, made by a model or played by people; nobody says which. There is no right answer. Your answers are kept under a number that says nothing about you."),
    room,
  );
  if (me.operator) statistics(root);
  const source = {
    next: () => get("api/listen/next"),
    address: (pair, side) => `api/listen/${pair.pair}/${side}.wav`,
    answer: (pair, answer, heard) => { trouble(null); return post(`api/listen/${pair.pair}`, { answer, heard, seconds: pair.seconds }); },
  };
  await listening(room, source, trouble);
}

function statistics(root) {
  const place = element("div", { class: "scroll" });
  const show = tried(async () => {
    const found = await get("api/listen/statistics");
    const figure = (one) => (one.value === null ? "too few listeners" : `${one.value.toFixed(0)} % (${one.low.toFixed(0)} to ${one.high.toFixed(0)})`);
    place.replaceChildren(
      element("table", {}, element("thead", {}, element("tr", {}, ...["system", "preferred over real music", "ratings"].map((word) => element("th", { scope: "col" }, word)))),
        element("tbody", {}, ...found.systems.map((one) => element("tr", {}, element("th", { scope: "row" }, one.system), element("td", {}, figure(one)), element("td", {}, String(one.ratings)))))),
      element("p", { class: "hint" }, `${found.ratings} answers of ${found.listeners} listeners; ${found.caught} of ${found.catches} catch pairs answered rightly${found.agreement === null ? "" : `; two listeners agree in ${Math.round(100 * found.agreement)} %`}. 50 % is as often as not; the interval is of the average listener.`),
      element("p", {}, element("a", { href: "api/listen/ratings.csv", download: true }, "ratings.csv")),
    );
  });
  root.append(element("div", { class: "step" }, element("h2", {}, "What was found"), element("button", { type: "button", onclick: show }, "Show"), place));
}
