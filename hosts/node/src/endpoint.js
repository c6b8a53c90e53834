/** The telemetry endpoint, as `crates/export` has it, on Node's own server. */

import { promisify } from 'node:util';
import { gzip } from 'node:zlib';

/** @import { IncomingMessage, ServerResponse } from 'node:http' */

/**
 * What {@link Registry.handler} may be told.
 *
 * @typedef {object} EndpointOptions
 * @property {string | null} [path] The path that is answered, `/metrics` by default; null for every path, where a router in
 *   front of it has chosen already.
 */

/**
 * A listener for `http.createServer`, and a handler for what is made like it.
 *
 * @typedef {(request: IncomingMessage, response: ServerResponse) => void} Handler
 */

/**
 * What the endpoint asks its registry for.
 *
 * @internal
 * @typedef {object} Source
 * @property {(accept: string) => number} negotiate
 * @property {(format: number) => string} contentType
 * @property {(format: number) => Uint8Array} encode
 * @property {(error: unknown) => void} warn
 */

const PLAIN = 'text/plain; charset=utf-8';

/** What is smaller is sent as it is: it fits into one packet. */
const SMALLEST_TO_COMPRESS = 1024;

const compress = promisify(gzip);

/**
 * @param {Source} source
 * @param {EndpointOptions} options
 * @returns {Handler}
 */
export function endpoint(source, { path = '/metrics' }) {
  return (request, response) => {
    answer(source, path, request).then(
      (parts) => send(response, parts),
      (error) => {
        source.warn(error);
        send(response, { status: 500, body: 'the telemetry source failed; the process\'s stderr says why\n' });
      },
    );
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
  if (path !== null && request.url?.split('?', 1)[0] !== path) {
    return { status: 404, body: `there is nothing here; the path is ${path}\n` };
  }
  if (request.method !== 'GET' && request.method !== 'HEAD') {
    return { status: 405, body: 'only GET and HEAD are answered here\n', headers: { Allow: 'GET, HEAD' } };
  }
  const format = source.negotiate(request.headers.accept ?? '');
  /** @type {Record<string, string>} */
  const headers = { 'Content-Type': source.contentType(format), Vary: 'Accept, Accept-Encoding' };
  const body = source.encode(format);
  if (body.length < SMALLEST_TO_COMPRESS || !acceptsGzip(String(request.headers['accept-encoding'] ?? ''))) {
    return { status: 200, body, headers };
  }
  headers['Content-Encoding'] = 'gzip';
  return { status: 200, body: await compress(body), headers };
}

/**
 * @param {ServerResponse} response
 * @param {Answer} answer
 */
function send(response, { status, body, headers }) {
  response.writeHead(status, {
    'Content-Type': PLAIN,
    'Cache-Control': 'no-store',
    'X-Content-Type-Options': 'nosniff',
    ...headers,
    'Content-Length': Buffer.byteLength(body),
  });
  // Node leaves the body of an answer to HEAD away.
  response.end(body);
}

/**
 * Whether an `Accept-Encoding` header allows gzip.
 *
 * Source: RFC 9110, section 12.5.3: what is named decides, `*` stands for what is not named, and a quality of 0 forbids.
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
