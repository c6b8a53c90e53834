// What the views read from the API. A view names what it needs while it is drawn; what no view
// names any more is forgotten.

/** The parameters of the stream of events that every view needs. */
export const STEPS = { kinds: 'step,status' };

/** An answer that is a problem. */
export class Problem extends Error {
  /**
   * @param {number} status
   * @param {string} message
   */
  constructor(status, message) {
    super(message);
    this.status = status;
  }
}

/**
 * Reads an answer of the API.
 * @param {string} path
 * @param {AbortSignal} [signal]
 * @returns {Promise<unknown>}
 */
export async function read(path, signal) {
  const response = await fetch(`api/v1/${path}`, { signal, headers: { Accept: 'application/json' } });
  if (response.ok) return response.json();
  const text = await response.text();
  /** @type {string} */
  let detail = text.trim().slice(0, 500);
  try {
    const problem = JSON.parse(text);
    if (typeof problem.detail === 'string') detail = problem.detail;
  } catch {
    // The endpoint's own refusals are plain text.
  }
  throw new Problem(response.status, detail || `the host answered with status ${response.status}`);
}

/**
 * Returns a path with parameters, without those that have no value.
 * @param {string} path
 * @param {Record<string, string | number | null | undefined>} parameters
 */
export function path(path, parameters) {
  const query = new URLSearchParams();
  for (const [key, value] of Object.entries(parameters)) {
    if (value !== null && value !== undefined) query.set(key, String(value));
  }
  const text = query.toString();
  return text ? `${path}?${text}` : path;
}

/**
 * @template T
 * @typedef {object} Resource
 * @property {T | null} value The last answer.
 * @property {boolean} isStale `true` if the last answer was for other parameters.
 * @property {string | null} error The reason why there is no newer one.
 * @property {number} status The status of that error.
 */

/**
 * @typedef {Resource<any> & {
 *   path: string, answered: string, controller: AbortController | null, isUsed: boolean, isLive:
 * boolean, isPaused: boolean }} Entry
 */

export class Resources {
  /** @type {Map<string, Entry>} */
  #entries = new Map();
  #changed;
  #failed;

  /**
   * @param {() => void} changed Called after an answer.
   * @param {(error: unknown, begun: number) => void} failed Called with the error of a request,
   * and the time at which it was sent, in milliseconds since the page was loaded.
   */
  constructor(changed, failed) {
    this.#changed = changed;
    this.#failed = failed;
  }

  /**
   * Returns what is known of a path, and requests it if nothing is. A slot keeps its last answer
   * while another path is requested for it, so that nothing flickers.
   * @template T
   * @param {string} slot
   * @param {string} path
   * @param {boolean} [isLive] `false` for what does not change while the host runs.
   * @param {boolean} [isPaused] `true` if the page shows an earlier time.
   * @returns {Resource<T>}
   */
  use(slot, path, isLive = true, isPaused = false) {
    let entry = this.#entries.get(slot);
    if (!entry) {
      entry = {
        value: null,
        isStale: false,
        error: null,
        status: 0,
        path: '',
        answered: '',
        controller: null,
        isUsed: true,
        isLive,
        isPaused,
      };
      this.#entries.set(slot, entry);
    }
    entry.isUsed = true;
    entry.isLive = isLive;
    entry.isPaused = isPaused;
    if (entry.path !== path) {
      entry.path = path;
      this.#request(entry);
    }
    entry.isStale = entry.value !== null && entry.answered !== path;
    return entry;
  }

  /**
   * Requests a slot again, unless it is requested already.
   * @param {string} slot
   */
  renew(slot) {
    const entry = this.#entries.get(slot);
    if (entry && !entry.controller) this.#request(entry);
  }

  /** Requests again what the last drawing used. */
  refresh() {
    for (const entry of this.#entries.values()) {
      if ((entry.isLive && !entry.isPaused) || entry.error !== null) {
        if (!entry.controller) this.#request(entry);
      }
    }
  }

  /** Requests again what does not change while the host runs: another process may not have it. */
  renewRecords() {
    for (const entry of this.#entries.values()) if (!entry.isLive) void this.#request(entry);
  }

  /** Forgets what was not used since the last call. */
  sweep() {
    for (const [slot, entry] of this.#entries) {
      if (!entry.isUsed) {
        entry.controller?.abort();
        this.#entries.delete(slot);
      }
      entry.isUsed = false;
    }
  }

  /** @param {Entry} entry */
  async #request(entry) {
    entry.controller?.abort();
    const controller = new AbortController();
    entry.controller = controller;
    const requested = entry.path;
    const begun = performance.now();
    try {
      const value = await read(requested, controller.signal);
      if (entry.controller !== controller) return;
      entry.value = value;
      entry.answered = requested;
      entry.error = null;
      entry.status = 0;
    } catch (error) {
      if (controller.signal.aborted || entry.controller !== controller) return;
      entry.error = error instanceof Problem ? error.message : 'the host does not answer';
      entry.status = error instanceof Problem ? error.status : 0;
      this.#failed(error, begun);
    } finally {
      if (entry.controller === controller) {
        entry.controller = null;
        this.#changed();
      }
    }
  }
}
