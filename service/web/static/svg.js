/** What the charts are drawn with. */

const SVG = "http://www.w3.org/2000/svg";

/**
 * @param {string} name
 * @param {Record<string, string | number>} [attributes]
 * @param {(Node | string)[]} children
 * @returns {SVGElement}
 */
export function element(name, attributes = {}, ...children) {
  const made = document.createElementNS(SVG, name);
  for (const [attribute, value] of Object.entries(attributes)) made.setAttribute(attribute, String(value));
  made.append(...children);
  return made;
}

/**
 * @param {number} low @param {number} high of the values
 * @param {number} from @param {number} to of the places
 * @returns {(value: number) => number}
 */
export const linear = (low, high, from, to) => (value) => from + ((value - low) / (high - low)) * (to - from);

/** @type {typeof linear} */
export const logarithmic = (low, high, from, to) => {
  const scale = linear(Math.log(low), Math.log(high), from, to);
  return (value) => scale(Math.log(value));
};

/** @param {number[][]} points @returns {string} the path through them */
export const path = (points) => `M${points.map(([x, y]) => `${round(x)} ${round(y)}`).join("L")}`;

/** @param {number[]} from @param {number[]} to */
export const rule = (from, to) => element("path", { d: path([from, to]), class: "rule" });

/**
 * @param {number} x @param {number} y
 * @param {string} words
 * @param {"start" | "middle" | "end"} anchor
 * @param {string} [kind]
 */
export const text = (x, y, words, anchor, kind = "label") =>
  element("text", { x: round(x), y: round(y), "text-anchor": anchor, class: kind }, words);

/** @param {number} value @returns {number} */
export const round = (value) => Math.round(value * 100) / 100;

/** @param {number} low @param {number} high @returns {number[]} the powers of ten from one to the other */
export function decades(low, high) {
  const [first, last] = [Math.ceil(Math.log10(low) - 1e-9), Math.floor(Math.log10(high) + 1e-9)];
  return Array.from({ length: Math.max(0, last - first + 1) }, (_, place) => 10 ** (first + place));
}

/** @param {number} low @param {number} high @returns {number[]} a few round numbers between them, 0 among them */
export function steps(low, high) {
  const size = [1, 2, 5, 10, 20, 50, 100, 200].find((each) => (high - low) / each <= 5) ?? 500;
  const first = Math.ceil(low / size);
  return Array.from({ length: Math.floor(high / size) - first + 1 }, (_, place) => (first + place) * size);
}

/**
 * Move labels apart, as little as need be.
 *
 * @param {number[]} places where each would be
 * @param {number} gap the least between any two
 * @param {number} low @param {number} high within which they stay, if there is room
 * @returns {number[]} where each goes
 */
export function apart(places, gap, low, high) {
  const order = places.map((_, index) => index).sort((one, other) => places[one] - places[other]);
  const moved = [...places];
  let least = low;
  for (const index of order) {
    moved[index] = Math.max(moved[index], least);
    least = moved[index] + gap;
  }
  let most = high;
  for (const index of order.reverse()) {
    moved[index] = Math.min(moved[index], most);
    most = moved[index] - gap;
  }
  return moved;
}

/**
 * A place that shows the newest of some data, and draws it anew when its width changes.
 *
 * @template Data
 */
export class Chart {
  /**
   * @param {HTMLElement} host
   * @param {number} height
   * @param {(data: Data, width: number, height: number) => {parts: SVGElement[], summary: string}} draw
   */
  constructor(host, height, draw) {
    this.host = host;
    this.height = height;
    this.draw = draw;
    /** @type {Data | null} */
    this.data = null;
    this.width = 0;
    new ResizeObserver(([{ contentRect }]) => {
      this.width = Math.round(contentRect.width);
      this.#paint();
    }).observe(host);
  }

  /** @param {Data | null} data to show */
  show(data) {
    this.data = data;
    this.#paint();
  }

  #paint() {
    if (!this.width) return;
    const nothing = { parts: [], summary: "Nothing yet" };
    const { parts, summary } = this.data ? this.draw(this.data, this.width, this.height) : nothing;
    const size = { viewBox: `0 0 ${this.width} ${this.height}`, width: this.width, height: this.height };
    this.host.replaceChildren(element("svg", { ...size, role: "img", "aria-label": summary }, ...parts));
  }
}
