/** The elements and scales of the charts. */

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
 * @param {number} low @param {number} high the range of the values
 * @param {number} from @param {number} to the coordinates of `low` and `high`
 * @returns {(value: number) => number}
 */
export const linear = (low, high, from, to) => (value) => from + ((value - low) / (high - low)) * (to - from);

/** @type {typeof linear} */
export const logarithmic = (low, high, from, to) => {
  const scale = linear(Math.log(low), Math.log(high), from, to);
  return (value) => scale(Math.log(value));
};

/** @param {number[][]} points @returns {string} the data of an SVG path through the points */
export const path = (points) => `M${points.map(([x, y]) => `${round(x)} ${round(y)}`).join("L")}`;

/** @param {number[]} from @param {number[]} to */
export const rule = (from, to) => element("path", { d: path([from, to]), class: "rule" });

/** @typedef {"start" | "middle" | "end"} Anchor which part of a text is at its place */

/**
 * @param {number} x @param {number} y
 * @param {string} words
 * @param {Anchor} anchor
 * @param {string} [kind]
 */
export const text = (x, y, words, anchor, kind = "label") =>
  element("text", { x: round(x), y: round(y), "text-anchor": anchor, class: kind }, words);

/**
 * A label beside the end of a line, and a thin leader from the line to the label if the label had to move away.
 *
 * @param {number} x @param {number} y the end of the line
 * @param {number} at the vertical position of the label
 * @param {string} words
 * @returns {SVGElement[]}
 */
export function tag(x, y, at, words) {
  const leader = path([
    [x + 4, y],
    [x + 14, at],
  ]);
  const label = text(x + 16, at + 4, words, "start");
  return Math.abs(at - y) < 4 ? [label] : [element("path", { d: leader, class: "leader" }), label];
}

/** @param {number} value @returns {number} */
export const round = (value) => Math.round(value * 100) / 100;

/** @param {number} low @param {number} high @returns {number[]} the powers of ten from `low` to `high` */
export function decades(low, high) {
  const [first, last] = [Math.ceil(Math.log10(low) - 1e-9), Math.floor(Math.log10(high) + 1e-9)];
  return Array.from({ length: Math.max(0, last - first + 1) }, (_, index) => 10 ** (first + index));
}

/** @param {number} low @param {number} high @returns {number[]} at most six round numbers from `low` to `high` */
export function steps(low, high) {
  const size = [1, 2, 5, 10, 20, 50, 100, 200].find((each) => (high - low) / each <= 5) ?? 500;
  const first = Math.ceil(low / size);
  return Array.from({ length: Math.floor(high / size) - first + 1 }, (_, index) => (first + index) * size);
}

/**
 * A chart of the newest data, which is drawn again when the width of the chart changes.
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
