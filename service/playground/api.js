/** Requests to this server, and messages for its errors. */

/** Root of the API: the parent of this folder, also behind a proxy with a path prefix. */
export const BASE = new URL("..", import.meta.url).href;

/** An error of the server or of the connection. */
export class Failure extends Error {
  /**
   * @param {number} status of the response; 0 for none.
   * @param {{field: string, message: string}[]} errors by field; an empty field is none in particular.
   */
  constructor(status, errors) {
    super(errors.map((error) => error.message).join("; "));
    this.status = status;
    this.errors = errors;
  }
}

const sentence = (text) => (text ? text[0].toUpperCase() + text.slice(1).replace(/\.?$/, ".") : "");

const LEADS = {
  429: "The server is busy.",
  500: "The model failed on this request.",
  503: "The server cannot answer now.",
  504: "The server took too long.",
};

async function failure(response) {
  const problem = await response.json().catch(() => ({}));
  if (problem.errors?.length) {
    const errors = problem.errors.map((error) => {
      return { field: error.field, message: sentence(`${error.problem}; ${error.hint}`) };
    });
    return new Failure(response.status, errors);
  }
  const [, field, detail] = /^(?:(model|content-type): )?(.*)$/s.exec(problem.detail ?? "");
  const wait = response.headers.get("retry-after");
  const parts = [LEADS[response.status], sentence(detail), wait && `Try again in ${wait} s.`];
  const message = parts.filter(Boolean).join(" ") || `The server answered ${response.status} ${response.statusText}.`;
  return new Failure(response.status, [{ field: response.status === 401 ? "key" : field ?? "", message }]);
}

/**
 * Ask the server.
 * @param {string} path under the base.
 * @param {RequestInit} options of fetch.
 * @returns {Promise<any>} the content of its answer.
 * @throws {Failure} any other outcome, but for a request that was aborted.
 */
export async function ask(path, options = {}) {
  let response;
  try {
    response = await fetch(new URL(path, BASE), options);
  } catch (error) {
    if (error.name === "AbortError") throw error;
    throw new Failure(0, [{ field: "", message: "The server cannot be reached. Is it still running?" }]);
  }
  if (!response.ok) throw await failure(response);
  return response.json();
}
