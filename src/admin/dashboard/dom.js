// Nodes of the page. Text becomes text nodes and nothing else: there is no way from data to markup here.

import { printable } from "./words.js";

/** A new element. An attribute that is a function listens to the event of that name; a child that is text is text. */
export function make(tag, attributes = {}, ...children) {
  const node = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) {
    if (typeof value === "function") node.addEventListener(name, value);
    else if (value === true) node.setAttribute(name, "");
    else if (value !== false && value !== undefined && value !== null) node.setAttribute(name, value);
  }
  for (const child of children) node.append(typeof child === "string" ? printable(child) : child);
  return node;
}

/** The element of the page with this id. */
export function element(id) {
  return document.getElementById(id);
}

/** Sets an element's text, where it is another one. */
export function say(node, text) {
  if (node.said === text) return;
  node.said = text;
  node.textContent = printable(text);
}

/** Sets an attribute, where it is another one. */
export function set(node, name, value) {
  if (node.getAttribute(name) !== value) node.setAttribute(name, value);
}

/** Shows an element, or does not. */
export function show(node, is) {
  if (node.hidden === is) node.hidden = !is;
}

/** The children of an element, each made once for its key and kept as long as there is an item of that key. */
export class Keyed {
  #parent;
  #build;
  #rows = new Map();

  constructor(parent, build) {
    this.#parent = parent;
    this.#build = build;
  }

  /** Takes in the items in their order; without `ordered` what is there stays where it is, and what is new comes last. */
  update(items, keyOf, ordered = true) {
    const keys = new Set(items.map(keyOf));
    for (const [key, row] of this.#rows) {
      if (keys.has(key)) continue;
      row.node.remove();
      this.#rows.delete(key);
    }
    let before = null;
    for (const item of items) {
      const key = keyOf(item);
      let row = this.#rows.get(key);
      if (!row) {
        row = this.#build(item);
        this.#rows.set(key, row);
        this.#parent.append(row.node);
      }
      row.draw(item);
      if (ordered) {
        const wanted = before === null ? this.#parent.firstElementChild : before.nextElementSibling;
        if (wanted !== row.node) this.#move(row.node, wanted);
        before = row.node;
      }
    }
  }

  /** A node that moves keeps the focus that is within it. */
  #move(node, before) {
    const focused = node.contains(document.activeElement) ? document.activeElement : null;
    this.#parent.insertBefore(node, before);
    focused?.focus({ preventScroll: true });
  }

  /** The row of a key, if there is one. */
  row(key) {
    return this.#rows.get(key);
  }
}

let ids = 0;

/** Opens a dialog with this title over the page. It leaves the page when it is closed, and the focus goes back. */
export function open(title, ...content) {
  ids += 1;
  const id = `dialog-${ids}`;
  const close = make("button", { type: "button", class: "close", click: () => dialog.close() }, "Close");
  const heading = make("h2", { id, tabindex: "-1" }, title);
  const head = make("div", { class: "dialog-head" }, heading, close);
  const dialog = make("dialog", { "aria-labelledby": id, close: () => dialog.remove() }, head, ...content);
  document.body.append(dialog);
  dialog.showModal();
  heading.focus();
  return dialog;
}

/** Tells what an action came to, until it is closed or something else is told. */
export function tell(text, level = "good") {
  const said = element("said");
  said.dataset.level = level;
  say(element("said-text"), "");
  said.hidden = false;
  say(element("said-text"), text);
}
