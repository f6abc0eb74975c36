/** The current request as a program would send it. */

/**
 * The settings come first, and the long image comes last.
 *
 * @param {string} image a PNG in base64
 * @param {import("./api.js").Fields} fields
 * @param {URL} url of `predict`
 * @param {string} key the environment variable with the caller's API key; empty if the service needs no key
 * @returns {{curl: string, python: string}}
 */
export function programs(image, fields, url, key) {
  const query = new URLSearchParams(Object.entries(fields).map(([name, value]) => [name, String(value)]));
  const authorization = key ? `  -H "Authorization: Bearer $${key}" \\\n` : "";
  const body = JSON.stringify({ images: [image] });
  return {
    curl: `curl '${url.href}?${query}' \\\n${authorization}  -H 'Content-Type: application/json' \\\n  -d '${body}'`,
    python: [
      "import json",
      ...(key ? ["import os"] : []),
      "import urllib.request",
      "",
      `fields = ${python(fields)}`,
      'headers = {"Content-Type": "application/json"}',
      ...(key ? [`headers["Authorization"] = "Bearer " + os.environ["${key}"]`] : []),
      `image = "${image}"`,
      'body = json.dumps({**fields, "images": [image]}).encode()',
      `request = urllib.request.Request("${url.href}", body, headers)`,
      "with urllib.request.urlopen(request) as answer:",
      '    print(json.load(answer)["predictions"][0])',
    ].join("\n"),
  };
}

/** @param {object} value of strings and numbers only @returns {string} a literal of Python, equal to JSON */
const python = (value) => JSON.stringify(value, null, 4);

/** @param {HTMLCanvasElement} canvas @returns {string} the content of the canvas, as a PNG in base64 */
export const base64 = (canvas) => canvas.toDataURL("image/png").split(",")[1];

/**
 * Let buttons copy the text of elements of the page.
 *
 * @param {NodeListOf<HTMLButtonElement>} buttons each has the id of an element in `data-copy`
 * @param {HTMLElement} status says that the text was copied
 */
export function copying(buttons, status) {
  for (const button of buttons) {
    const source = /** @type {HTMLElement} */ (document.getElementById(button.dataset.copy ?? ""));
    const name = button.textContent ?? "";
    button.addEventListener("click", async () => {
      try {
        await navigator.clipboard.writeText(source.textContent ?? "");
        status.textContent = button.textContent = "Copied";
      } catch {
        // A browser may forbid a page without HTTPS to copy. The user can still copy a selection.
        getSelection()?.selectAllChildren(source);
        status.textContent = button.textContent = "Selected: copy with the keyboard";
      }
      setTimeout(() => (button.textContent = name), 2000);
    });
  }
}
