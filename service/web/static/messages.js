/** Failures, told to people. */

import { Refusal, Unreachable } from "./api.js";

/**
 * @param {Error} error
 * @returns {string} what is wrong, and what one can do
 */
export function kindly(error) {
  if (error instanceof Unreachable) return "The service does not answer. This goes on as soon as it does.";
  if (!(error instanceof Refusal)) return `Something went wrong in this page: ${error.message}`;
  const field = error.errors[0];
  const reason = field ? `${field.message}${field.value ? ` (it is ${field.value})` : ""}` : error.message;
  if (isOfPicture(error) && error.status !== 413) {
    return `That picture cannot be read: ${reason}. Another one may do, or draw the digit.`;
  }
  switch (error.status) {
    case 401:
    case 403:
      return `The service asks for an API key: ${reason}.`;
    case 404:
      return `That model is not served any more: ${reason}. Choose another one above.`;
    case 413:
      return `That picture is too large: ${reason}. A smaller one will do.`;
    case 422:
      return `The service does not take that: ${error.message}.`;
    case 429:
      if (field?.field !== "queue") return `Too many questions for now: ${reason}.`; // for an API key
      return `The service is busy just now. Asking again in ${error.retryAfter ?? 1} s.`;
    case 503:
      return "The service is stopping. Asking again shortly.";
    case 504:
      return "No answer within that deadline. Give it a little longer.";
    default:
      return `The service failed to answer: ${reason}`;
  }
}

/** @param {Error} error @returns {boolean} whether the picture is what is wrong */
export const isOfPicture = (error) =>
  error instanceof Refusal &&
  ([400, 413].includes(error.status) || (error.status === 422 && error.errors[0]?.field === "body"));

/** @param {Error} error @returns {number | null} seconds after which to ask again; null where that is of no use */
export function retryAfter(error) {
  if (!(error instanceof Refusal)) return null;
  if (error.status === 429) return error.retryAfter ?? 1;
  return error.status === 503 ? 2 : null;
}
