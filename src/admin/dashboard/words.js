// Numbers, sizes, times and data in words, as the command line has them.

const MINUTE = 60;
const HOUR = 60 * MINUTE;
const DAY = 24 * HOUR;

/** A whole number with a comma between thousands. */
export function grouped(number) {
  return String(Math.round(number)).replace(/\B(?=(\d{3})+$)/g, ",");
}

/** "1 record", "2 records". */
export function counted(count, noun) {
  return `${grouped(count)} ${noun}${count === 1 ? "" : "s"}`;
}

/** A rate: to a tenth where it is small. */
export function rate(perSecond) {
  return perSecond > 0 && perSecond < 9.95 ? perSecond.toFixed(1) : grouped(perSecond);
}

/** Bytes in the largest unit of which there is one, to a tenth. */
export function bytes(number) {
  let size = number;
  let unit = "B";
  for (const next of ["KiB", "MiB", "GiB", "TiB", "PiB"]) {
    if (size < 1023.95) break;
    size /= 1024;
    unit = next;
  }
  return unit === "B" ? `${number} B` : `${size.toFixed(1)} ${unit}`;
}

/** A length of time in its two largest units: "2m3s", "3h12m". */
export function duration(seconds) {
  const rest = Math.max(0, Math.floor(seconds));
  if (rest >= DAY) return twoUnits(rest, DAY, "d", HOUR, "h");
  if (rest >= HOUR) return twoUnits(rest, HOUR, "h", MINUTE, "m");
  if (rest >= MINUTE) return twoUnits(rest, MINUTE, "m", 1, "s");
  return `${rest}s`;
}

function twoUnits(seconds, unit, name, smaller, smallerName) {
  const left = Math.floor((seconds % unit) / smaller);
  return `${Math.floor(seconds / unit)}${name}${left > 0 ? `${left}${smallerName}` : ""}`;
}

/** Seconds from one RFC 3339 time to another. */
export function between(from, to) {
  return (Date.parse(to) - Date.parse(from)) / 1000;
}

/** A time to the second, in UTC: "2026-01-31 12:00:00 UTC". */
export function time(at) {
  return `${at.slice(0, 10)} ${at.slice(11, 19)} UTC`;
}

/** A part of a whole in percent, never rounded up to all of it. */
export function percent(part, whole) {
  return whole > 0 ? `${Math.floor((100 * part) / whole)} %` : "0 %";
}

/** A position as the command line prints it. */
export function position({ partition, offset }) {
  return `${partition}:${offset}`;
}

// Control characters (C0, DEL, C1), line and paragraph separators, and what overrides the direction of writing.
const UNPRINTABLE = /[\u0000-\u001f\u007f-\u009f\u200e\u200f\u2028-\u202e\u2066-\u2069]/g;
const hex = (char) => char.codePointAt(0).toString(16);

/** The text with everything escaped that would hide or turn around what follows it. */
export function printable(text) {
  return text.replace(UNPRINTABLE, (char) => ({ "\n": "\\n", "\r": "\\r", "\t": "\\t" })[char] ?? `\\u{${hex(char)}}`);
}

/** A JSON text over several lines, printable; every number and key as it stands there, in its order. */
export function indented(json) {
  const safe = json.replace(UNPRINTABLE, (char) => (/\s/.test(char) ? " " : `\\u${hex(char).padStart(4, "0")}`));
  const parts = [];
  let depth = 0;
  const line = () => parts.push("\n", "  ".repeat(depth));
  // A string, an opening with what may close it at once, a closing, a comma, a colon, white space, or anything else.
  for (const [token] of safe.matchAll(/"(?:[^"\\]|\\[^])*"?|[[{]\s*[\]}]?|[\]}]|,|:|\s+|[^\s"[\]{},:]+/g)) {
    const [first] = token;
    if (first === "{" || first === "[") {
      if (/[\]}]$/.test(token)) {
        parts.push(first, token.at(-1));
      } else {
        parts.push(first);
        depth += 1;
        line();
      }
    } else if (first === "}" || first === "]") {
      depth = Math.max(0, depth - 1);
      line();
      parts.push(first);
    } else if (first === ",") {
      parts.push(first);
      line();
    } else if (first === ":") {
      parts.push(": ");
    } else if (!/\s/.test(first)) {
      parts.push(token);
    }
  }
  return parts.join("");
}
