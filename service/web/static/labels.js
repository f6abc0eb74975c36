/** Places for the labels of a chart. */

const CHARACTER = 7; // pixels, about the width of a character of a label
const ABOVE = 10; // pixels of a label above its baseline
const BELOW = 3;

/** @type {[import("./svg.js").Anchor, number, number][]} an anchor, its distance from the point, and how much of the label is left of it */
const SIDES = [
  ["start", 8, 0],
  ["end", -8, 1],
  ["middle", 0, 0.5],
];

/** @typedef {{left: number, right: number, top: number, bottom: number}} Box */

/**
 * Places beside, above or below points, where labels cover as little as possible. The labels are placed from top to
 * bottom, and none covers another one if there is room.
 *
 * @param {{x: number, y: number, words: string}[]} labels each with its point
 * @param {number[][][]} lines the points of each line of the chart
 * @param {number} width @param {number} height of the chart
 * @returns {{x: number, y: number, anchor: import("./svg.js").Anchor}[]} the place of each label
 */
export function beside(labels, lines, width, height) {
  const dots = lines.flatMap(dotted);
  /** @type {Box[]} */
  const taken = [];
  const cost = (/** @type {Box} */ box) => {
    const covered = dots.filter(([x, y]) => x > box.left && x < box.right && y > box.top && y < box.bottom);
    const outside = box.left < 0 || box.right > width || box.top < 0 || box.bottom > height;
    return covered.length + (outside || taken.some((other) => overlap(box, other)) ? 1000 : 0);
  };
  /** @type {ReturnType<typeof beside>} */
  const found = [];
  for (const index of [...labels.keys()].sort((one, other) => labels[one].y - labels[other].y)) {
    const options = placesOf(labels[index]).map((option) => ({ ...option, cost: cost(option.box) }));
    const best = options.reduce((least, option) => (option.cost < least.cost ? option : least));
    taken.push(best.box);
    found[index] = best.place;
  }
  return found;
}

/** @param {{x: number, y: number, words: string}} label */
function placesOf({ x, y, words }) {
  const long = CHARACTER * words.length;
  return SIDES.flatMap(([anchor, distance, share]) =>
    [y + 4, y - 9, y + 17].map((base) => {
      const left = x + distance - share * long;
      const box = { left, right: left + long, top: base - ABOVE, bottom: base + BELOW };
      return { place: { x: x + distance, y: base, anchor }, box };
    }),
  );
}

/** @param {Box} one @param {Box} other */
const overlap = (one, other) =>
  one.left < other.right && one.right > other.left && one.top < other.bottom && one.bottom > other.top;

/** @param {number[][]} points @returns {number[][]} points about two pixels apart on the line through these points */
const dotted = (points) =>
  points.slice(1).flatMap(([x, y], index) => {
    const [u, v] = points[index];
    const count = Math.ceil(Math.hypot(x - u, y - v) / 2);
    return Array.from({ length: count }, (_, each) => [u + ((x - u) * each) / count, v + ((y - v) * each) / count]);
  });

/**
 * Move labels apart so that none overlap, and keep their order.
 *
 * The moves are as small as possible: the sum of their squares is the least. Without the gaps, the new positions are the
 * isotonic regression of the old ones, which pooling adjacent violators finds (Barlow, Bartholomew, Bremner and Brunk
 * 1972, *Statistical Inference under Order Restrictions*).
 *
 * @param {number[]} positions the preferred position of each label
 * @param {number} gap the smallest distance between two labels
 * @param {number} low @param {number} high the range in which the labels stay, if there is room
 * @returns {number[]} the position of each label
 */
export function apart(positions, gap, low, high) {
  const order = [...positions.keys()].sort((one, other) => positions[one] - positions[other]);
  /** @type {{sum: number, count: number}[]} */
  const blocks = [];
  for (const [rank, index] of order.entries()) {
    const block = { sum: positions[index] - rank * gap, count: 1 };
    for (let last = blocks.at(-1); last && last.sum / last.count >= block.sum / block.count; last = blocks.at(-1)) {
      block.sum += last.sum;
      block.count += last.count;
      blocks.pop();
    }
    blocks.push(block);
  }
  const highest = high - (order.length - 1) * gap;
  const levels = blocks.flatMap(({ sum, count }) => Array(count).fill(Math.max(low, Math.min(highest, sum / count))));
  const moved = [...positions];
  for (const [rank, index] of order.entries()) moved[index] = levels[rank] + rank * gap;
  return moved;
}
