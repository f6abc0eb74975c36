/** The messages for errors. */

import { Refusal, Unreachable } from "./api.js";

/**
 * @param {Error} error
 * @returns {string} what is wrong, and what the user can do
 */
export function kindly(error) {
  if (error instanceof Unreachable) return "The service does not answer. The page continues as soon as it does.";
  if (!(error instanceof Refusal)) return `Something went wrong in this page: ${error.message}`;
  const field = error.errors[0];
  const reason = field ? `${field.message}${field.value ? ` (it is ${field.value})` : ""}` : error.message;
  if (isOfPicture(error) && error.status !== 413) {
    return `That picture cannot be read: ${reason}. Try another picture, or draw the digit.`;
  }
  switch (error.status) {
    case 401:
    case 403:
      return `The service needs an API key: ${reason}.`;
    case 404:
      return `That model is no longer served: ${reason}. Choose another model above.`;
    case 413:
      return `That picture is too large: ${reason}. Use a smaller picture.`;
    case 422:
      return `The service refuses this setting: ${error.message}.`;
    case 429:
      if (field?.field !== "queue") return `Too many requests: ${reason}.`; // the limit of an API key
      return `The service is busy. The page asks again in ${error.retryAfter ?? 1} s.`;
    case 503:
      return "The service is stopping. The page asks again shortly.";
    case 504:
      return "There was no answer within the deadline. Choose a longer deadline.";
    default:
      return `The service failed to answer: ${reason}`;
  }
}

/** @param {Error} error @returns {boolean} whether the picture is the cause */
export const isOfPicture = (error) =>
  error instanceof Refusal &&
  ([400, 413].includes(error.status) || (error.status === 422 && error.errors[0]?.field === "body"));

/** @param {Error} error @returns {number | null} seconds after which to ask again; null if that cannot help */
export function retryAfter(error) {
  if (!(error instanceof Refusal)) return null;
  if (error.status === 429) return error.retryAfter ?? 1;
  return error.status === 503 ? 2 : null;
}
