// Asks the agent. Every request carries the token, which this tab keeps until it is closed.
//
// Events come by `fetch` and not by EventSource, which can send no header and so no token; rather than polling, since one
// answer a second over one connection is less for both sides, and a connection that ends is seen at once.

const KEY = "sync-agent-token";

/** The token that the operator gave, if he did. */
export const token = {
  get: () => sessionStorage.getItem(KEY),
  set: (text) => sessionStorage.setItem(KEY, text),
  forget: () => sessionStorage.removeItem(KEY),
};

/** What the agent does not do, in its own words. */
export class Refused extends Error {
  constructor({ kind, error, advice }) {
    super(advice ? `${error}; ${advice}` : error);
    this.kind = kind;
  }
}

async function request(path, body, signal) {
  const headers = { Authorization: `Bearer ${token.get() ?? ""}` };
  if (body !== undefined) headers["Content-Type"] = "application/json";
  const response = await fetch(path, {
    method: body === undefined ? "GET" : "POST",
    headers,
    body: body === undefined ? undefined : JSON.stringify(body),
    cache: "no-store",
    credentials: "omit",
    redirect: "error",
    signal,
  });
  if (response.ok) return response;
  let said;
  try {
    said = await response.json();
  } catch {
    said = { kind: "failed", error: `the agent answered ${response.status}`, advice: "look at its log" };
  }
  throw new Refused(said);
}

/** The answer to a GET, or with a body to a POST. */
export async function ask(path, body, signal) {
  return (await request(path, body, signal)).json();
}

/** Server-sent events (WHATWG HTML, 9.2), one after the other: the name and the data, which is JSON. */
export async function* events(path, body, signal) {
  const { body: stream } = await request(path, body, signal);
  const reader = stream.getReader();
  const decoder = new TextDecoder();
  let rest = "";
  try {
    for (;;) {
      const { done, value } = await reader.read();
      if (done) return;
      rest += decoder.decode(value, { stream: true });
      const whole = rest.split("\n\n");
      rest = whole.pop();
      for (const event of whole) yield parse(event);
    }
  } finally {
    // Also where whoever listens leaves: the agent is to know.
    reader.cancel().catch(() => {});
  }
}

function parse(event) {
  let name = "message";
  const data = [];
  for (const line of event.split("\n")) {
    const colon = line.indexOf(":");
    const value = line.slice(colon + 1).replace(/^ /, "");
    if (line.startsWith("event:")) name = value;
    else if (line.startsWith("data:")) data.push(value);
  }
  return { name, data: JSON.parse(data.join("\n")) };
}
