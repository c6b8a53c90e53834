/** The errors of this package, beside `TypeError` and `RangeError` for wrong arguments. */
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
