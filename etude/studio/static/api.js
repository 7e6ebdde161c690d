// Requests of the studio. Addresses are relative, so that it may live below any path of a proxy.

export class Refusal extends Error {
  constructor(status, words) { super(words); this.status = status; }
}

async function ask(method, path, body, type) {
  let response;
  try {
    response = await fetch(path, {
      method, body, headers: type ? { "Content-Type": type } : {}, credentials: "same-origin",
    });
  } catch {
    throw new Refusal(0, "The studio does not answer. Is it still running?");
  }
  const data = await response.json().catch(() => ({}));
  if (!response.ok) throw new Refusal(response.status, data.error || "That did not work.");
  return data;
}

export const get = (path) => ask("GET", path);
export const remove = (path) => ask("DELETE", path);
export const put = (path) => ask("PUT", path);
export const post = (path, data) => ask("POST", path, JSON.stringify(data), "application/json");
export const upload = (path, bytes) => ask("POST", path, bytes, "application/octet-stream");

// Text goes in as text, never as HTML.
export function element(tag, attributes = {}, ...inside) {
  const made = document.createElement(tag);
  for (const [key, value] of Object.entries(attributes)) {
    if (key === "class") made.className = value;
    else if (key.startsWith("on")) made.addEventListener(key.slice(2), value);
    else if (value === true) made.setAttribute(key, "");
    else if (value !== false && value !== null && value !== undefined) made.setAttribute(key, value);
  }
  made.append(...inside);
  return made;
}

export function trouble(error) {
  const place = document.getElementById("trouble");
  place.textContent = error ? error.message || String(error) : "";
  place.hidden = !error;
}

// Runs what a person asked for, and says what went wrong.
export function tried(action) {
  return async (...given) => {
    trouble(null);
    try { return await action(...given); } catch (error) { trouble(error); return undefined; }
  };
}
