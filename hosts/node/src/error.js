/** What this package throws, apart from `TypeError` and `RangeError` for arguments of the wrong kind. */
export class WasmetryError extends Error {
  /**
   * @param {string} message
   * @param {ErrorOptions} [options]
   */
  constructor(message, options) {
    super(message, options);
    this.name = 'WasmetryError';
  }
}
