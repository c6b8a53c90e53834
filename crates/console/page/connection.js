// The stream of events, which ends and is opened again: the page recovers by itself after the host
// was restarted.

import { Problem, path, read } from './resource.js';
import { Slot } from './slot.js';

/** @import {Status} from './types.js' */

/** @typedef {'connecting' | 'live' | 'polling' | 'lost' | 'refused'} ConnectionState */

/** A stream without an event for this long is lost: the host sends one every 5 s. */
const SILENCE_MS = 15_000;

/** The time between two requests where no stream can be had. */
const POLL_MS = 5_000;

/** The first and the longest delay of a retry. */
const RETRY_MS = [500, 5_000];

/** The kinds of events that the page reads. */
const EVENTS = ['log', 'step', 'status', 'lost', 'restart'];

export class Connection {
  /** @type {ConnectionState} */
  state = 'connecting';
  /** The number of failed attempts in a row. */
  attempts = 0;
  /** @type {Status | null} */
  status = null;

  /** @type {EventSource | null} */
  #stream = null;
  /** The parameters of the stream that is wanted, and of the one that is open. */
  #wanted = '';
  #opened = '';
  /** The id of the last event: `EPOCH-N`. */
  #last = '';
  /** The time at which the state has become `live` or `polling`. */
  #since = 0;
  #isProbing = false;
  /** The number of the last attempt to connect. An earlier one ends at its next step. */
  #attempt = 0;
  #timer = 0;
  #silence = 0;
  #slot = new Slot();
  #changed;
  #received;

  /**
   * @param {() => void} changed Called when the state has changed.
   * @param {(kind: string, data: any) => void} received Called with each event; `open` and `poll`
   * are the page's own. `isResumed` of `open` is `true` if the stream has what was missed.
   */
  constructor(changed, received) {
    this.#changed = changed;
    this.#received = received;
    document.addEventListener('visibilitychange', () => {
      if (document.hidden) this.#rest();
      else this.retry();
    });
  }

  /** `true` if a stream was opened, or is to be. */
  get isWatching() {
    return this.#wanted !== '';
  }

  /**
   * Opens the stream with these parameters, unless it is open already.
   * @param {Record<string, string | null | undefined>} parameters
   */
  watch(parameters) {
    const wanted = path('events', parameters);
    if (wanted === this.#wanted) return;
    this.#wanted = wanted;
    // Of a connection that is lost, the next attempt opens this stream, or the one that goes on.
    if (this.#stream || (this.state !== 'lost' && this.state !== 'refused')) this.retry();
  }

  /** Connects now. */
  retry() {
    clearTimeout(this.#timer);
    this.#close();
    void this.#open();
  }

  /**
   * Reads an error of a request. One without an answer means that the host may be gone: another
   * request finds out.
   * @param {unknown} error
   * @param {number} begun The time at which the request was sent. One that was sent before the
   * stream was opened shows nothing of a host that has restarted since.
   */
  failed(error, begun) {
    if (error instanceof Problem) {
      if (error.status === 401) this.#refuse();
      return;
    }
    if ((this.state !== 'live' && this.state !== 'polling') || begun <= this.#since || this.#isProbing) return;
    this.#isProbing = true;
    read('status')
      .then(
        (status) => this.#know(/** @type {Status} */ (status)),
        (reason) => {
          if (reason instanceof Problem) {
            if (reason.status === 401) this.#refuse();
          } else if (this.state === 'live' || this.state === 'polling') {
            this.#close();
            this.#lose();
          }
        },
      )
      .finally(() => {
        this.#isProbing = false;
      });
  }

  /** Reads the status again: the event of the stream has a part of it only. */
  async update() {
    const begun = performance.now();
    try {
      this.#know(/** @type {Status} */ (await read('status')));
      this.#changed();
    } catch (error) {
      this.failed(error, begun);
    }
  }

  async #open() {
    if (document.hidden) return;
    const attempt = this.#attempt;
    try {
      this.#know(/** @type {Status} */ (await read('status')));
    } catch (error) {
      if (attempt !== this.#attempt) return;
      if (error instanceof Problem && error.status === 401) this.#refuse();
      else this.#lose();
      return;
    }
    if (attempt !== this.#attempt) return;
    // Whatever ends an attempt has released its slot, or left it to the next attempt.
    const hasSlot = await this.#slot.take();
    if (attempt !== this.#attempt) return;
    if (!hasSlot) {
      this.#poll();
      return;
    }
    const wanted = this.#wanted;
    // What the client has seen of a stream with other filters is not what it has seen of this one.
    const after = wanted === this.#opened && this.#last ? `${wanted.includes('?') ? '&' : '?'}after=${this.#last}` : '';
    this.#opened = wanted;
    const stream = new EventSource(`api/v1/${wanted}${after}`);
    this.#stream = stream;
    let hasOpened = false;
    stream.onopen = () => {
      hasOpened = true;
      this.#become('live');
      this.#restartSilence();
      this.#received('open', { isResumed: after !== '' });
    };
    stream.onerror = () => {
      if (this.#stream !== stream) return;
      this.#close();
      const attempt = this.#attempt;
        // An answer shows that only the stream was refused, if it never began: there are as many as
      // may be. One that was cut is resumed.
      read('status').then(
        (status) => {
          if (attempt !== this.#attempt) return;
          this.#know(/** @type {Status} */ (status));
          if (!hasOpened) {
            this.#slot.release();
            this.#poll();
            return;
          }
          this.state = 'connecting';
          this.#changed();
          this.#again(RETRY_MS[0] ?? 500);
        },
        (error) => {
          if (attempt !== this.#attempt) return;
          if (error instanceof Problem && error.status === 401) this.#refuse();
          else this.#lose();
        },
      );
    };
    for (const kind of EVENTS) {
      stream.addEventListener(kind, (event) => {
        if (this.#stream !== stream) return;
        this.#restartSilence();
        if (event.lastEventId) this.#last = event.lastEventId;
        this.#received(kind, JSON.parse(event.data));
      });
    }
  }

  /**
   * Reads the status. Another process has other records, even if no stream has reported it.
   * @param {Status} status
   */
  #know(status) {
    const isRestarted = this.status !== null && this.status.epoch !== status.epoch;
    this.status = status;
    if (!isRestarted) return;
    this.#last = '';
    this.#received('restart', null);
  }

  /** Leaves the connection of a hidden page to other pages. */
  #rest() {
    clearTimeout(this.#timer);
    this.#close();
    this.#slot.release();
    if (this.state === 'refused') return;
    this.state = 'connecting';
    this.#changed();
  }

  /** Ends the stream, and the attempt to open one. */
  #close() {
    this.#attempt += 1;
    clearTimeout(this.#silence);
    this.#stream?.close();
    this.#stream = null;
  }

  #restartSilence() {
    clearTimeout(this.#silence);
    this.#silence = window.setTimeout(() => {
      this.#close();
      this.#lose();
    }, SILENCE_MS);
  }

  #poll() {
    // What is read from now on has no place in a stream.
    this.#last = '';
    this.#become('polling');
    this.#received('poll', null);
    this.#again(POLL_MS);
  }

  #refuse() {
    this.#close();
    this.#slot.release();
    clearTimeout(this.#timer);
    this.#become('refused');
  }

  #lose() {
    this.attempts += 1;
    this.state = 'lost';
    this.#changed();
    const [first = 500, longest = 5_000] = RETRY_MS;
    this.#again(Math.min(longest, first * 2 ** (this.attempts - 1)));
  }

  /** @param {number} delay */
  #again(delay) {
    clearTimeout(this.#timer);
    this.#timer = window.setTimeout(() => this.retry(), delay);
  }

  /** @param {ConnectionState} state */
  #become(state) {
    this.state = state;
    this.#since = performance.now();
    this.attempts = 0;
    this.#changed();
  }
}
