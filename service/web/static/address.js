/** The setting and the digit in the fragment of the page's address, so that a link leads to the same answer. */

const SIDE = 28;
const NOT_SETTINGS = ["model", "digit", "image"];

/**
 * @typedef {{model: string | null, digit: number | null, levels: Uint8Array | null,
 *   settings: Record<string, string>}} View what an address asks for: a model, one of the page's digits by its number or
 *   else an image of 28 times 28 grey levels, and the fields of the setting; whatever it does not name stays as it is
 */

/**
 * @param {import("./api.js").Fields} fields the model and the setting
 * @param {number | null} digit the number of one of the page's digits
 * @param {Uint8Array} levels the image, if it is none of the page's digits
 * @returns {Promise<string>} the fragment, with its "#"
 */
export async function write(fields, digit, levels) {
  const values = new URLSearchParams(Object.entries(fields).map(([name, value]) => [name, String(value)]));
  if (digit === null) values.set("image", toText(await through(levels, new CompressionStream("deflate-raw"))));
  else values.set("digit", String(digit));
  return `#${values}`;
}

/**
 * @param {string} fragment with its "#"
 * @returns {Promise<View>} an image that cannot be read is left out
 */
export async function read(fragment) {
  const values = new URLSearchParams(fragment.slice(1));
  const [digit, image] = [values.get("digit"), values.get("image")];
  return {
    model: values.get("model"),
    digit: digit && /^\d+$/.test(digit) ? Number(digit) : null,
    levels: image ? await toLevels(image).catch(() => null) : null,
    settings: Object.fromEntries([...values].filter(([name]) => !NOT_SETTINGS.includes(name))),
  };
}

/** @param {string} text @returns {Promise<Uint8Array | null>} */
async function toLevels(text) {
  const packed = Uint8Array.from(atob(text.replaceAll("-", "+").replaceAll("_", "/")), (one) => one.charCodeAt(0));
  const levels = await through(packed, new DecompressionStream("deflate-raw"));
  return levels.length === SIDE * SIDE ? levels : null;
}

/** @param {Uint8Array} bytes @returns {string} base64 with the alphabet for addresses, RFC 4648, section 5 */
const toText = (bytes) =>
  btoa(String.fromCharCode(...bytes))
    .replaceAll("+", "-")
    .replaceAll("/", "_")
    .replaceAll("=", "");

/** @param {Uint8Array} bytes @param {CompressionStream | DecompressionStream} transform @returns {Promise<Uint8Array>} */
async function through(bytes, transform) {
  const stream = new Blob([new Uint8Array(bytes)]).stream().pipeThrough(transform);
  return new Uint8Array(await new Response(stream).arrayBuffer());
}
