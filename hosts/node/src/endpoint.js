/** The telemetry endpoint on Node's own server, with the behaviour of `crates/export`. */

import { promisify } from 'node:util';
import { gzip } from 'node:zlib';

/** @import { IncomingMessage, ServerResponse } from 'node:http' */

/**
 * The options of {@link Registry.handler}.
 *
 * @typedef {object} EndpointOptions
 * @property {string | null} [path] The path that is answered, `/metrics` by default; null for every
 *   path, if a router in front has chosen already.
 */

/**
 * A listener for `http.createServer` and compatible servers. It never throws, and does nothing if
 * another listener has answered the request already.
 *
 * @typedef {(request: IncomingMessage, response: ServerResponse) => void} Handler
 */

/**
 * The endpoint's view of its registry.
 *
 * @internal
 * @typedef {object} Source
 * @property {(accept: string) => number} negotiate
 * @property {(format: number, accept: string) => string} contentType
 * @property {(format: number) => Uint8Array} encode
 * @property {(error: unknown) => void} warn
 */

const PLAIN = 'text/plain; charset=utf-8';

/** The smallest body in bytes that is compressed; a smaller one fits into one packet. */
const SMALLEST_TO_COMPRESS = 1024;

const compress = promisify(gzip);

/**
 * @param {Source} source
 * @param {EndpointOptions} options
 * @returns {Handler}
 */
export function endpoint(source, { path = '/metrics' }) {
  return (request, response) => {
    answer(source, path, request)
      .catch((error) => {
        source.warn(error);
        return { status: 500, body: 'the telemetry source failed; the process\'s stderr has the reason\n' };
      })
      .then((parts) => send(response, parts))
      .catch(source.warn);
  };
}

/**
 * @typedef {object} Answer
 * @property {number} status
 * @property {string | Uint8Array} body
 * @property {Record<string, string>} [headers]
 */

/**
 * @param {Source} source
 * @param {string | null} path
 * @param {IncomingMessage} request
 * @returns {Promise<Answer>}
 */
async function answer(source, path, request) {
  if (path !== null && pathOf(request.url ?? '') !== path) {
    return { status: 404, body: `there is nothing here; the path is ${path}\n` };
  }
  if (request.method !== 'GET' && request.method !== 'HEAD') {
    const headers = { Allow: 'GET, HEAD' };
    return { status: 405, body: 'only GET and HEAD are answered here\n', headers };
  }
  const accept = request.headers.accept ?? '';
  const format = source.negotiate(accept);
  /** @type {Record<string, string>} */
  const headers = { 'Content-Type': source.contentType(format, accept), Vary: 'Accept, Accept-Encoding' };
  const body = source.encode(format);
  const acceptEncoding = String(request.headers['accept-encoding'] ?? '');
  if (body.length < SMALLEST_TO_COMPRESS || !acceptsGzip(acceptEncoding)) {
    return { status: 200, body, headers };
  }
  headers['Content-Encoding'] = 'gzip';
  return { status: 200, body: await compress(body), headers };
}

/**
 * Returns the path of a request target, without its query.
 *
 * Source: RFC 9112, section 3.2: a server accepts the absolute form (`http://host/path`) too.
 *
 * @param {string} target
 * @returns {string}
 */
function pathOf(target) {
  const path = target.replace(/^https?:\/\/[^/?]*/i, '').replace(/\?.*$/s, '');
  return path === '' ? '/' : path;
}

/**
 * Sends an answer, unless the response has been sent or closed by other code, such as a time limit.
 *
 * @param {ServerResponse} response
 * @param {Answer} answer
 */
function send(response, { status, body, headers }) {
  if (response.headersSent || response.writableEnded || response.destroyed) {
    return;
  }
  response.writeHead(status, {
    'Content-Type': PLAIN,
    'Cache-Control': 'no-store',
    'X-Content-Type-Options': 'nosniff',
    ...headers,
    'Content-Length': Buffer.byteLength(body),
  });
  // Node omits the body in the answer to HEAD.
  response.end(body);
}

/**
 * Returns `true` if an `Accept-Encoding` header allows gzip.
 *
 * Source: RFC 9110, section 12.5.3: a named coding decides, `*` stands for all others, and a
 * quality of 0 forbids.
 *
 * @param {string} header
 * @returns {boolean}
 */
export function acceptsGzip(header) {
  let any = false;
  for (const element of header.split(',')) {
    const [coding, ...parameters] = element.split(';').map((part) => part.trim().toLowerCase());
    const quality = parameters.find((parameter) => parameter.startsWith('q='));
    const allowed = quality === undefined || Number(quality.slice(2)) > 0;
    if (coding === 'gzip' || coding === 'x-gzip') {
      return allowed;
    }
    any ||= coding === '*' && allowed;
  }
  return any;
}
