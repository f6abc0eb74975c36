/** Numbers as text. */

const DIGITS = "-0123456789";
const RAISED = "⁻⁰¹²³⁴⁵⁶⁷⁸⁹";

/** @param {number} value @returns {string} with two significant digits; a small number as a power of ten */
export function number(value) {
  if (value === 0) return "0";
  if (Math.abs(value) >= 0.01) return String(Number(value.toPrecision(2)));
  const [mantissa, exponent] = value.toExponential(1).split("e");
  const power = `10${[...String(Number(exponent))].map((sign) => RAISED[DIGITS.indexOf(sign)]).join("")}`;
  return mantissa === "1.0" ? power : `${Number(mantissa)} × ${power}`;
}

/** @param {number} value 0..1 @returns {string} a percentage, which is 100 % only if the value is 1 */
export function percent(value) {
  const shown = 100 * value;
  if (shown > 99.9 && shown < 100) return shown >= 99.995 ? "> 99.99 %" : `${shown.toFixed(2)} %`;
  if (shown > 0 && shown < 0.1) return "< 0.1 %";
  return `${shown.toFixed(1)} %`;
}

/** @param {number} value @returns {string} */
export const milliseconds = (value) =>
  Number.isNaN(value) ? "–" : `${value < 10 ? value.toFixed(1) : Math.round(value)} ms`;

/** @param {number} count @param {string} noun @returns {string} */
export const counted = (count, noun) => `${count} ${noun}${count === 1 ? "" : "s"}`;

/** @param {{method: string, rtol: number | null, atol: number | null, steps: number | null}} solver */
export function setting({ method, rtol, atol, steps }) {
  if (rtol === null) return `${method}, ${counted(steps ?? 0, "step")}`;
  return rtol === atol ? `${method} at ${number(rtol)}` : `${method} at ${number(rtol)} and ${number(atol ?? 0)}`;
}
