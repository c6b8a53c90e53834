// What every view has: the address, the answers of the API, the connection.

import { changed, href, parse } from './address.js';
import { Connection } from './connection.js';
import { Resources, path } from './resource.js';

/** @import {Address} from './address.js' */
/** @import {Resource} from './resource.js' */

/** The ranges of time, in seconds, and their names. */
export const RANGES = /** @type {[string, string, string][]} */ ([
  ['300', '5 min', 'Last 5 minutes'],
  ['900', '15 min', 'Last 15 minutes'],
  ['3600', '1 h', 'Last hour'],
]);

/** The time between two drawings while logs arrive. */
const BATCH_MS = 200;

export class App {
  /** @type {Address} */
  address = parse(location.hash);
  /** The host's time at the last step. */
  now = Date.now() / 1000;
  connection = new Connection(
    () => this.changed(),
    (kind, data) => this.#receive(kind, data),
  );
  #resources = new Resources(
    () => this.changed(),
    (error, begun) => this.connection.failed(error, begun),
  );
  /** @type {Set<(kind: string, data: any) => void>} */
  listeners = new Set();
  #draw;
  #isScheduled = false;

  /** @param {() => void} draw */
  constructor(draw) {
    this.#draw = draw;
    addEventListener('hashchange', () => {
      this.address = parse(location.hash);
      this.changed();
    });
  }

  /** The length of the range in seconds. */
  get range() {
    const range = this.address.parameters.range ?? '';
    return RANGES.some(([seconds]) => seconds === range) ? Number(range) : 300;
  }

  /** The end of the range while the page is paused. */
  get end() {
    const end = Number(this.address.parameters.end);
    return Number.isFinite(end) && end > 0 ? end : null;
  }

  /** The ends of the range. */
  get window() {
    const to = this.end ?? this.now;
    return { from: to - this.range, to };
  }

  /** The filters that all views share, as parameters of the API. */
  get filters() {
    const { component, tenant, route } = this.address.parameters;
    return { component, tenant, route };
  }

  /**
   * Requests a path of the API for a slot of a view.
   * @template T
   * @param {string} slot
   * @param {string} name
   * @param {Record<string, string | number | null | undefined>} [parameters]
   * @param {boolean} [isLive]
   * @returns {Resource<T>}
   */
  use(slot, name, parameters = {}, isLive = true) {
    return this.#resources.use(slot, path(name, parameters), isLive, this.end !== null);
  }

  /**
   * Requests a slot again.
   * @param {string} slot
   */
  renew(slot) {
    this.#resources.renew(slot);
  }

  /** Requests everything again. */
  refresh() {
    this.#resources.refresh();
  }

  /**
   * Returns the address of a view.
   * @param {string} view
   * @param {string} [id]
   * @param {Record<string, string | number | null | undefined>} [parameters]
   */
  href(view, id, parameters) {
    return href(this.address, view, id, parameters);
  }

  /**
   * Returns the id of a log's record in an address. The numbers of logs begin again with each
   * process, so it has the epoch.
   * @param {number} id
   */
  recordId(id) {
    const { status } = this.connection;
    return status ? `${status.epoch}-${id}` : String(id);
  }

  /**
   * Returns the address of this view with other parameters.
   * @param {Record<string, string | number | null | undefined>} parameters
   */
  with(parameters) {
    return changed(this.address, parameters);
  }

  /**
   * Goes to an address, with or without an entry in the history.
   * @param {string} fragment
   * @param {boolean} [isNew]
   */
  go(fragment, isNew = true) {
    if (fragment === location.hash) return;
    if (isNew) {
      location.hash = fragment;
    } else {
      history.replaceState(null, '', fragment);
      this.address = parse(location.hash);
      this.changed();
    }
  }

  /** Draws the page again, soon. */
  changed() {
    if (this.#isScheduled) return;
    this.#isScheduled = true;
    // Not an animation frame: those stop in a hidden tab.
    setTimeout(() => {
      this.#isScheduled = false;
      this.#draw();
      this.#resources.sweep();
    }, 0);
  }

  #batch = 0;

  /** Draws the page again, with whatever else arrives until then. */
  changedOften() {
    if (this.#batch) return;
    this.#batch = window.setTimeout(() => {
      this.#batch = 0;
      this.changed();
    }, BATCH_MS);
  }

  /**
   * @param {string} kind
   * @param {any} data
   */
  #receive(kind, data) {
    const { connection } = this;
    if (kind === 'step' && this.end === null) this.now = data.time;
    if (kind === 'open' || kind === 'poll')
      this.now = connection.status?.snapshots.last ?? connection.status?.now ?? this.now;
    for (const listener of this.listeners) listener(kind, data);
    if (kind === 'restart') this.#resources.renewRecords();
    if (['step', 'open', 'poll', 'restart'].includes(kind)) {
      this.refresh();
      this.changed();
    }
    if (kind === 'status' && connection.status) {
      connection.status.sampling.share = data.share;
      connection.status.memory.used_bytes = data.used_bytes;
      if (this.end === null) void connection.update();
      this.changed();
    }
  }
}
