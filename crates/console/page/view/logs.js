// The latest logs, as they arrive; one record in full.

import { html, nothing } from '../vendor/lit-html/lit-html.js';
import { repeat } from '../vendor/lit-html/directives/repeat.js';
import * as format from '../format.js';
import { NO_FILTERS, answered, isFiltered, isWithoutTraffic, noMatch, noTraffic } from '../template/answer.js';
import { prevent, searchField, traceField } from '../template/form.js';
import { logLine, logLines } from '../template/list.js';
import { selectionBar } from '../template/selection.js';
import { fieldList, longText, prose } from '../template/text.js';
import { Problem, STEPS, path, read } from '../resource.js';

/** @import {App} from '../app.js' */
/** @import {Resource} from '../resource.js' */
/** @import {Log, Logs, WholeLog} from '../types.js' */

/** The logs that are shown; older ones are requested. */
const SHOWN = 400;

/** The most logs that are kept while somebody reads further down. */
const MOST = 4000;

/** The logs of one request. */
const PAGE = 100;

/** The logs of one request while a page without a stream reads those that have arrived. */
const FOLLOWED = 500;

/** Such requests in a row. Of more logs, the latest are shown, and the others are older ones. */
const FOLLOWS = 4;

const LEVELS = ['error', 'warn', 'info', 'debug', 'trace'];

/** The logs of the filters of the address: a page of them, then those that the stream brings. */
export class LogTail {
  /** @type {Log[]} The newest first. */
  logs = [];
  /** Logs that were sent faster than this page has read them, or that the host has dropped. */
  lost = 0;
  isLoaded = false;
  error = '';
  /** `true` if the host has refused the filters: another request would be refused, too. */
  isRefused = false;
  #app;
  /** @type {string | null} The cursor of the logs before the oldest one, if there are any. */
  #cursor = null;
  /** The number of the last log that this page has read, whatever its filters. */
  #newest = 0;
  /** `true` until all logs after that one are read. */
  #isBehind = false;
  /** @type {string | null} The filters whose logs are loaded. */
  #filters = null;
  /** @type {AbortController | null} */
  #controller = null;
  /** @type {AbortController | null} */
  #follower = null;
  /** @type {Set<number>} */
  #ids = new Set();

  /** @param {App} app */
  constructor(app) {
    this.#app = app;
    app.listeners.add((kind, data) => this.#receive(kind, data));
  }

  /** Returns the filters as parameters of the API. */
  filters() {
    const { level, text, trace, site, from, to } = this.#app.address.parameters;
    return { ...this.#app.filters, level, text: text || undefined, trace, site, from, to };
  }

  /** The filters of the address as a text. */
  get #wanted() {
    return path('', { ...this.filters(), pausedAt: this.#app.end });
  }

  /** `true` if the logs are those of the address. */
  get #isCurrent() {
    return this.isLoaded && this.#filters === this.#wanted;
  }

  /**
   * Returns the parameters of the stream; `null` while it is not known whether the host accepts the
   * filters. A stream that is refused does not show why.
   */
  parameters() {
    const { from, to, ...filters } = this.filters();
    if (this.#isCurrent && to === undefined) return { kinds: 'log,step,status', ...filters };
    return this.#filters === this.#wanted && (this.isLoaded || this.error) ? STEPS : null;
  }

  /** Loads a page of logs if the filters are others than before. */
  use() {
    const filters = this.#wanted;
    if (filters === this.#filters) return;
    this.#filters = filters;
    this.logs = [];
    this.#ids.clear();
    this.lost = 0;
    this.isLoaded = false;
    this.isRefused = false;
    this.error = '';
    this.#cursor = null;
    this.#newest = 0;
    this.#isBehind = false;
    this.#follower?.abort();
    void this.#load();
  }

  /** Returns `true` if the host may have logs before the oldest one. */
  get hasOlder() {
    return this.#cursor !== null;
  }

  /** Loads logs before the oldest one. */
  older() {
    if (this.#cursor !== null) void this.#load(this.#cursor);
  }

  /**
   * Loads the latest logs, or those before a cursor.
   * @param {string} [cursor]
   */
  async #load(cursor) {
    this.#controller?.abort();
    const controller = new AbortController();
    this.#controller = controller;
    const { end } = this.#app;
    const begun = performance.now();
    const filters = this.filters();
    const to = filters.to ?? end ?? undefined;
    try {
      const request = path('logs', { ...filters, limit: PAGE, cursor, to });
      const answer = /** @type {Logs} */ (await read(request, controller.signal));
      this.#add(answer.logs);
      this.#cursor = answer.next;
      if (cursor === undefined) this.#newest = Math.max(this.#newest, answer.newest);
      this.error = '';
      this.isRefused = false;
      this.isLoaded = true;
      if (cursor === undefined && end === null && this.#app.address.view === 'logs') {
        // The stream of the former filters ends before its next event.
        const wanted = this.parameters();
        if (wanted) this.#app.connection.watch(wanted);
        if (this.#isBehind) void this.#follow();
      }
    } catch (error) {
      if (controller.signal.aborted) return;
      this.error = error instanceof Error ? error.message : String(error);
      this.isRefused = error instanceof Problem && error.status === 400;
      this.#app.connection.failed(error, begun);
    }
    this.#app.changed();
  }

  /** Reads what has arrived since the last log, and counts what the host has dropped of it. */
  async #follow() {
    this.#follower?.abort();
    const controller = new AbortController();
    this.#follower = controller;
    this.#isBehind = true;
    const begun = performance.now();
    let after = this.#newest;
    try {
      for (let requests = 0; this.#isBehind; requests += 1) {
        const isFar = requests === FOLLOWS;
        const place = isFar ? { limit: PAGE } : { limit: FOLLOWED, after };
        const request = path('logs', { ...this.filters(), ...place });
        const answer = /** @type {Logs} */ (await read(request, controller.signal));
        if (isFar) {
          this.logs = this.logs.filter((log) => log.id > answer.newest);
          this.#ids = new Set(this.logs.map((log) => log.id));
          this.#controller?.abort();
          this.#cursor = answer.next;
        } else {
          this.lost += answer.lost;
        }
        this.#add(answer.logs);
        if (isFar || answer.next === null) {
          this.#newest = Math.max(this.#newest, answer.newest);
          this.#isBehind = false;
        } else {
          // What is read is not read again, should the next request fail.
          after = Number(answer.next);
          this.#newest = Math.max(this.#newest, after);
        }
      }
      this.#trim();
      this.error = '';
    } catch (error) {
      if (controller.signal.aborted) return;
      this.error = error instanceof Error ? error.message : String(error);
      this.#app.connection.failed(error, begun);
    }
    this.#app.changed();
  }

  /** Drops the oldest logs; later, if somebody has asked for them and reads there. */
  #trim() {
    const most = scrollY < 400 ? SHOWN : MOST;
    const last = this.logs[most - 1];
    if (!last || this.logs.length === most) return;
    for (const log of this.logs.splice(most)) this.#ids.delete(log.id);
    this.#controller?.abort();
    this.#cursor = String(last.id);
  }

  /** @param {Log[]} logs */
  #add(logs) {
    const added = logs.filter((log) => !this.#ids.has(log.id));
    for (const log of added) this.#ids.add(log.id);
    if (added.length === 0) return;
    if (added.length === 1 && this.logs[0] && added[0] && added[0].id > this.logs[0].id) {
      this.logs.unshift(added[0]);
      return;
    }
    this.logs = [...this.logs, ...added].sort((left, right) => right.id - left.id);
  }

  /**
   * @param {string} kind
   * @param {any} data
   */
  #receive(kind, data) {
    const app = this.#app;
    if (app.address.view !== 'logs') {
      this.#filters = null;
      return;
    }
    if (kind === 'restart') {
      // Another process has other logs of the same numbers.
      this.#filters = null;
      return;
    }
    if (app.end !== null) {
      // A paused page requests again only what has failed.
      if (this.error && !this.isRefused && (kind === 'open' || kind === 'poll')) void this.#load();
      return;
    }
    if (kind === 'log') {
      // Those of the stream before have other filters, or come while the first page is read.
      if (!this.#isCurrent) {
        this.#isBehind = true;
        return;
      }
      this.#add([data]);
      this.#trim();
      if (!this.#isBehind) this.#newest = Math.max(this.#newest, data.id);
      app.changedOften();
    } else if (kind === 'lost') {
      this.lost += data.count;
    } else if (kind === 'step' && this.error && this.isLoaded) {
      void this.#follow();
    } else if ((kind === 'open' || kind === 'poll') && this.#filters !== null && !this.isRefused) {
      // A stream that goes on where it was brings what this page does not have.
      if (!this.isLoaded) void this.#load();
      else if (this.#isBehind || !data?.isResumed) void this.#follow();
    }
  }
}

/**
 * @param {App} app
 * @param {LogTail} tail
 * @param {string} id
 */
export function logs(app, tail, id) {
  tail.use();
  const { level, trace, site } = app.address.parameters;
  const pickLevel = (/** @type {Event} */ event) =>
    app.go(app.with({ level: /** @type {HTMLSelectElement} */ (event.target).value || null }));
  const isOpenInList = tail.logs.some((log) => isOpened(app, log, id));
  return html`
    <div class="head"><h1>Logs</h1>
      <form class="filters inline" aria-label="Filters of logs" @submit=${prevent}>
        <label class="choice"><span>Level</span><select @change=${pickLevel} class=${level ? 'is-set' : ''}>
          <option value="" .selected=${!level}>all</option>
          ${(level && !LEVELS.includes(level) ? [level, ...LEVELS] : LEVELS).map((name) => html`<option value=${name} .selected=${name === level}>${name}${name === 'error' ? '' : ' and above'}</option>`)}
        </select></label>
        ${searchField(app, 'Text in the message or a field', 'Text in message or fields')}
        ${traceField(app)}
      </form>
    </div>
    ${trace && !tail.isRefused ? chip(app, 'trace', html`<a href=${app.href('traces', trace)}>${trace}</a>`) : nothing}
    ${site ? chip(app, 'site', html`<code>${site}</code>`) : nothing}
    ${app.address.parameters.to !== undefined ? selectionBar(app) : nothing}
    ${tail.lost > 0 ? html`<p class="notice warning">${format.count(tail.lost)} logs and traces arrived faster than they could be sent, and are not shown.</p>` : nothing}
    ${tail.error && !tail.isRefused ? html`<p class="notice error">${prose(tail.error)}</p>` : nothing}
    ${id && !isOpenInList ? html`<section class="panel">${record(app, id)}</section>` : nothing}
    ${tail.isRefused ? refused(app, tail.error) : lines(app, tail, id)}
  `;
}

/**
 * Returns `true` if the address is that of a log.
 * @param {App} app
 * @param {Log} log
 * @param {string} id
 */
const isOpened = (app, log, id) => id === app.recordId(log.id) || id === String(log.id);

/**
 * @param {App} app
 * @param {LogTail} tail
 * @param {string} id
 */
function lines(app, tail, id) {
  if (tail.logs.length === 0) return tail.isLoaded ? none(app) : html`<p class="notice loading">Loading…</p>`;
  return html`<ul class="log-lines live-lines">${repeat(
    tail.logs,
    (log) => log.id,
    (log) => {
      const isOpen = isOpened(app, log, id);
      return html`<li class=${isOpen ? 'open' : ''}>
        ${logLine(app, log, isOpen ? closed(app) : opened(app, log.id))}
        ${isOpen ? record(app, id) : nothing}</li>`;
    },
  )}</ul>
  ${tail.hasOlder ? html`<p class="more"><button type="button" @click=${() => tail.older()}>Older logs</button></p>` : html`<p class="more sub">No older logs are kept.</p>`}`;
}

/**
 * @param {App} app
 * @param {string} key
 * @param {unknown} value
 */
function chip(app, key, value) {
  return html`<p class="chip"><span class="sub">${key}</span> ${value}
    <a class="clear" href=${app.with({ [key]: null })}>Remove<span class="hidden"> the filter by ${key}</span></a></p>`;
}

/** The parameters of the address that filter logs, as those of an address without them. */
const ALL_LOGS = {
  ...NO_FILTERS,
  level: null,
  text: null,
  trace: null,
  site: null,
  from: null,
  to: null,
};

/**
 * Draws what to do about filters that the host refuses.
 * @param {App} app
 * @param {string} error
 */
function refused(app, error) {
  return html`<section class="empty" role="alert"><h2>These filters cannot be used</h2><p>${prose(error)}.</p>
    <p>Choose other filters, or <a href=${app.with(ALL_LOGS)}>clear the filters</a>.</p></section>`;
}

/** @param {App} app */
function none(app) {
  const help = html`A guest logs with <code>wasmetry::info!("…")</code>, the crates <code>log</code> and <code>tracing</code>, or by
    printing. Its lines appear here as they arrive.`;
  if (isWithoutTraffic(app)) return noTraffic(app, undefined, help);
  if (!isFiltered(app, ALL_LOGS)) return html`<section class="empty"><h2>No logs yet</h2><p>${help}</p></section>`;
  // The host knows the route of a request from its span.
  const ofRoute =
    'The route of a log is known while the trace of its request is kept, which is not so of each normal request of a busy service.';
  const text = html`Logs that match the filters appear here as they arrive. ${app.filters.route === undefined ? nothing : ofRoute}`;
  return noMatch(app, 'No log', ALL_LOGS, text);
}

/**
 * @param {App} app
 * @param {number} id
 */
const opened = (app, id) => app.with({}).replace(/^#\/logs(\/[^?]*)?/, `#/logs/${app.recordId(id)}`);

/** @param {App} app */
const closed = (app) => app.with({}).replace(/^#\/logs\/[^?]*/, '#/logs');

/**
 * @param {App} app
 * @param {string} id
 */
function record(app, id) {
  /** @type {Resource<WholeLog>} */
  const answer = app.use(`log-${id}`, `logs/${encodeURIComponent(id)}`, {}, false);
  return html`<div class="record">${
    answer.status === 404
      ? html`<p>This record is not kept any more. <a href=${closed(app)}>Show the logs</a>.</p>`
      : answered(answer, (log) => {
          const others = log.site_records.logs.filter((other) => other.id !== log.id);
          return html`
            ${longText(log.message)}
            <dl class="fields">
              <div><dt>Time</dt><dd>${format.date(log.time)} <span class="sub">${format.precise(log.time)}</span></dd></div>
              <div><dt>Component</dt><dd>${log.component} <span class="sub">${log.version}</span></dd></div>
              ${log.tenant ? html`<div><dt>Tenant</dt><dd>${log.tenant}</dd></div>` : nothing}
              ${log.route ? html`<div><dt>Route</dt><dd>${log.route}</dd></div>` : nothing}
              ${log.source ? html`<div><dt>Source</dt><dd><code>${log.source.file}:${log.source.line}</code></dd></div>` : nothing}
              ${log.target ? html`<div><dt>Target</dt><dd><code>${log.target}</code></dd></div>` : nothing}
              ${log.stream ? html`<div><dt>Printed to</dt><dd>${log.stream}</dd></div>` : nothing}
            </dl>
            ${log.fields.length > 0 ? html`<h2>Fields</h2>${fieldList(log.fields)}` : nothing}
            <p class="actions">
              ${
                log.trace_id
                  ? html`<a class="button primary" href=${app.href('traces', log.trace_id, { span: log.span_id })}>Open its trace</a>
                <a class="button" href=${app.href('logs', '', { trace: log.trace_id })}>Logs of its trace</a>`
                  : nothing
              }
              ${log.site ? html`<a class="button" href=${app.href('logs', '', { site: log.site })}>All ${format.count(log.site_records.count)} of this call site</a>` : nothing}
            </p>
            ${others.length > 0 ? html`<h2>Other records of <code>${log.site}</code></h2>${logLines(app, others.slice(0, 8))}` : nothing}
          `;
        })
  }</div>`;
}
