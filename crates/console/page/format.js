// Numbers and times as text.

/** The text for a value that is not known. */
export const NONE = '–';

/**
 * Formats a number with three significant digits and a suffix of thousands.
 * @param {number | null | undefined} value
 */
export function number(value) {
  if (value === null || value === undefined || Number.isNaN(value)) return NONE;
  if (!Number.isFinite(value)) return value > 0 ? '∞' : '−∞';
  const size = Math.abs(value);
  if (size === 0) return '0';
  for (const [limit, suffix] of /** @type {[number, string][]} */ ([
    [1e12, 'T'],
    [1e9, 'G'],
    [1e6, 'M'],
    [1e4, 'k'],
  ])) {
    if (size >= limit) return significant(value / (limit === 1e4 ? 1e3 : limit)) + suffix;
  }
  if (size < 0.001) return value.toExponential(1).replace('-', '−');
  return significant(value);
}

/** @param {number} value */
function significant(value) {
  const size = Math.abs(value);
  const digits = size >= 100 || Number.isInteger(value) ? 0 : size >= 10 ? 1 : size >= 1 ? 2 : 3;
  return value.toFixed(digits).replace('-', '−');
}

/**
 * Formats a whole number with all its digits.
 * @param {number | string | null | undefined} value
 */
export function count(value) {
  if (value === null || value === undefined) return NONE;
  return String(value).replace(/\B(?=(\d{3})+(?!\d))/g, '\u2009');
}

/**
 * Formats a rate.
 * @param {number | null | undefined} value
 */
export function rate(value) {
  return value === null || value === undefined ? NONE : `${number(value)}/s`;
}

/**
 * Formats a duration in seconds.
 * @param {number | null | undefined} seconds
 */
export function duration(seconds) {
  if (seconds === null || seconds === undefined || Number.isNaN(seconds)) return NONE;
  const size = Math.abs(seconds);
  if (size === 0) return '0 ms';
  if (size < 1e-6) return `${number(seconds * 1e9)} ns`;
  if (size < 1e-3) return `${number(seconds * 1e6)} µs`;
  if (size < 1) return `${number(seconds * 1e3)} ms`;
  if (size < 120) return `${number(seconds)} s`;
  if (size < 7200) return `${Math.round(seconds / 60)} min`;
  if (size < 172800) return `${Math.round(seconds / 3600)} h`;
  return `${Math.round(seconds / 86400)} d`;
}

/**
 * Formats bytes.
 * @param {number | null | undefined} value
 */
export function bytes(value) {
  if (value === null || value === undefined) return NONE;
  const units = ['B', 'KiB', 'MiB', 'GiB', 'TiB'];
  let size = value;
  let unit = 0;
  while (Math.abs(size) >= 1024 && unit < units.length - 1) {
    size /= 1024;
    unit += 1;
  }
  return `${number(size)} ${units[unit]}`;
}

/**
 * Formats a share as per cent.
 * @param {number | null | undefined} value
 */
export function percent(value) {
  if (value === null || value === undefined) return NONE;
  const share = value * 100;
  if (share !== 0 && Math.abs(share) < 0.1) return '<0.1%';
  if (share > 99.9 && share < 100) return '>99.9%';
  return `${share.toFixed(share >= 99.95 || share === 0 ? 0 : share >= 10 && share < 99 ? 0 : 1)}%`;
}

const CLOCK = new Intl.DateTimeFormat(undefined, {
  hour: '2-digit',
  minute: '2-digit',
  second: '2-digit',
  hourCycle: 'h23',
});
const DATE = new Intl.DateTimeFormat(undefined, { dateStyle: 'medium', timeStyle: 'medium' });

/**
 * Formats a time of day.
 * @param {number | null | undefined} time
 */
export function clock(time) {
  return time === null || time === undefined ? NONE : CLOCK.format(time * 1000);
}

/**
 * Formats a time of day with milliseconds.
 * @param {number} time
 */
export function precise(time) {
  return `${clock(time)}.${String(Math.floor((time % 1) * 1000)).padStart(3, '0')}`;
}

/**
 * Formats a date and a time.
 * @param {number} time
 */
export function date(time) {
  return DATE.format(time * 1000);
}

/**
 * Formats the age of a time.
 * @param {number} time
 * @param {number} now
 */
export function ago(time, now) {
  const seconds = Math.max(0, now - time);
  if (seconds < 5) return 'now';
  return `${seconds < 120 ? Math.round(seconds) + ' s' : duration(seconds)} ago`;
}

/**
 * Returns the function that formats a metric's values.
 * @param {string} unit
 * @param {boolean} isRate
 * @param {string} metric The metric's name, which marks a point in time.
 * @returns {(value: number | null | undefined) => string}
 */
export function of(unit, isRate = false, metric = '') {
  if (!isRate && /_(time|timestamp)_seconds$/.test(metric))
    return (value) => (value === null || value === undefined ? NONE : date(value));
  if (isRate) {
    if (unit === 'bytes') return (value) => (value === null || value === undefined ? NONE : `${bytes(value)}/s`);
    if (unit === 'seconds') return (value) => (value === null || value === undefined ? NONE : `${duration(value)}/s`);
    return rate;
  }
  if (unit === 'seconds') return duration;
  if (unit === 'bytes') return bytes;
  if (unit === 'ratio') return percent;
  return number;
}
