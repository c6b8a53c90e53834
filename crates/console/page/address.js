// The address of a view: `#/VIEW/ID?PARAMETERS`. All that a person has chosen is in it, so that a
// link shows the same.

/**
 * @typedef {object} Address
 * @property {string} view
 * @property {string} id
 * @property {Record<string, string>} parameters
 */

/** The parameters that go from view to view: the time, and the filters that every view has. */
const SHARED = ['range', 'end', 'component', 'tenant', 'route'];

/**
 * Reads the fragment of an address.
 * @param {string} fragment
 * @returns {Address}
 */
export function parse(fragment) {
  const [path = '', query = ''] = fragment.replace(/^#?\/?/, '').split(/\?(.*)/s);
  const [view = '', id = ''] = path.split(/\/(.*)/s);
  /** @type {Record<string, string>} */
  const parameters = {};
  for (const [key, value] of new URLSearchParams(query)) parameters[key] = value;
  return { view: view || 'overview', id: decode(id), parameters };
}

/** @param {string} text */
function decode(text) {
  try {
    return decodeURIComponent(text);
  } catch {
    return text;
  }
}

/**
 * Returns the fragment of a view. It keeps what views share of the address at which it is shown.
 * @param {Address} from
 * @param {string} view
 * @param {string} [id]
 * @param {Record<string, string | number | null | undefined>} [changes]
 */
export function href(from, view, id = '', changes = {}) {
  /** @type {Record<string, string>} */
  const kept = {};
  for (const key of SHARED) if (from.parameters[key] !== undefined) kept[key] = from.parameters[key];
  return write(view, id, kept, changes);
}

/**
 * Returns the fragment of the same view with other parameters; `null` removes one. A cursor is of
 * one list, so other parameters begin at its first page.
 * @param {Address} from
 * @param {Record<string, string | number | null | undefined>} changes
 */
export function changed(from, changes) {
  return write(from.view, from.id, from.parameters, { cursor: null, ...changes });
}

/**
 * @param {string} view
 * @param {string} id
 * @param {Record<string, string>} parameters
 * @param {Record<string, string | number | null | undefined>} changes
 */
function write(view, id, parameters, changes) {
  const query = new URLSearchParams(parameters);
  for (const [key, value] of Object.entries(changes)) {
    if (value === null || value === undefined) query.delete(key);
    else query.set(key, String(value));
  }
  const text = query.toString();
  return `#/${view}${id && '/' + encodeURIComponent(id)}${text && '?' + text}`;
}
