/** The present question as a program would ask it. */

/**
 * @param {string} image a PNG in base64
 * @param {import("./api.js").Fields} fields
 * @returns {{curl: string, python: string}}
 */
export function programs(image, fields) {
  const url = new URL("predict", location.href).href;
  const body = JSON.stringify({ images: [image], ...fields });
  return {
    curl: `curl ${url} \\\n  -H 'Content-Type: application/json' \\\n  -d '${body}'`,
    python: [
      "import json",
      "import urllib.request",
      "",
      `asked = ${python({ images: [image], ...fields })}`,
      "request = urllib.request.Request(",
      `    ${JSON.stringify(url)}, json.dumps(asked).encode(), {"Content-Type": "application/json"}`,
      ")",
      "with urllib.request.urlopen(request) as answer:",
      '    print(json.load(answer)["predictions"][0])',
    ].join("\n"),
  };
}

/** @param {object} value of texts and numbers @returns {string} as Python writes it */
const python = (value) => JSON.stringify(value, null, 4);

/** @param {HTMLCanvasElement} canvas @returns {string} what is in it, as a PNG in base64 */
export const base64 = (canvas) => canvas.toDataURL("image/png").split(",")[1];

/**
 * Let buttons copy what stands in elements of the page.
 *
 * @param {NodeListOf<HTMLButtonElement>} buttons each with the id of an element
 * @param {HTMLElement} status told that it was done
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
        // Without https a browser may not let a page copy; what is selected the user can.
        getSelection()?.selectAllChildren(source);
        status.textContent = button.textContent = "Selected: copy it by keyboard";
      }
      setTimeout(() => (button.textContent = name), 2000);
    });
  }
}
