// Sizes and positions that data decides, set through the object model: the policy of the page
// forbids `style` attributes.

import { Directive, PartType, directive } from './vendor/lit-html/directive.js';
import { noChange } from './vendor/lit-html/lit-html.js';

/** @import {ElementPart} from './vendor/lit-html/lit-html.js' */
/** @import {PartInfo} from './vendor/lit-html/directive.js' */

class Style extends Directive {
  /** @param {PartInfo} part */
  constructor(part) {
    super(part);
    if (part.type !== PartType.ELEMENT) throw new Error('`styled` belongs into a tag, outside of attributes');
  }

  /** @param {Record<string, string>} _properties */
  render(_properties) {
    return noChange;
  }

  /**
   * @override
   * @param {ElementPart} part
   * @param {[Record<string, string>]} properties
   */
  update(part, [properties]) {
    const style = /** @type {HTMLElement} */ (part.element).style;
    for (const [name, value] of Object.entries(properties)) style.setProperty(name, value);
    return noChange;
  }
}

/** Sets style properties of an element: `<div ${styled({ '--at': '20%' })}>`. */
export const styled = directive(Style);
