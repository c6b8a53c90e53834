// The event streams of the pages of one browser. It opens six connections to an address, so that
// as many streams would leave none for requests.

/** The streams that the pages of one browser may have open. */
const SLOTS = 4;

/** The permission of one page to open a stream. */
export class Slot {
  /**
   * The slot that is requested or taken, as the function that releases it.
   * @type {Promise<(() => void) | null> | null}
   */
  #taken = null;

  /**
   * Takes a slot, which this page has until it releases it.
   * @returns {Promise<boolean>} `false` if other pages have all of them, or if it was released
   * meanwhile.
   */
  async take() {
    this.#taken ??= request();
    const taken = this.#taken;
    const hasSlot = (await taken) !== null;
    if (this.#taken !== taken) return false;
    if (!hasSlot) this.#taken = null;
    return hasSlot;
  }

  release() {
    void this.#taken?.then((release) => release?.());
    this.#taken = null;
  }
}

/** @returns {Promise<(() => void) | null>} The function that releases a slot, if there is one. */
async function request() {
  // Browsers have locks on loopback addresses and with TLS. Elsewhere, pages are not counted.
  if (!navigator.locks) return () => {};
  for (let slot = 0; slot < SLOTS; slot += 1) {
    const release = await lock(`wasmetry-stream-${slot}`);
    if (release) return release;
  }
  return null;
}

/**
 * Takes a lock if no other page has it. The browser releases those of a page that is closed.
 * @param {string} name
 * @returns {Promise<(() => void) | null>}
 */
function lock(name) {
  return new Promise((resolve) => {
    const hold = (/** @type {Lock | null} */ found) =>
      found ? new Promise((release) => resolve(() => release(undefined))) : resolve(null);
    // A document that may have no locks is not counted.
    navigator.locks.request(name, { ifAvailable: true }, hold).catch(() => resolve(() => {}));
  });
}
