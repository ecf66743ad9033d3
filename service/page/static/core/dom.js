/* Elements from data. Text only ever becomes a text node, so nothing that was typed or read
   from a file can turn into HTML. */

const SVG = "http://www.w3.org/2000/svg";

/** An HTML element; `on` maps event names to listeners, false and null leave an attribute out. */
export function h(tag, attributes = {}, ...children) {
  return fill(document.createElement(tag), attributes, children);
}

/** An SVG element. */
export function svg(tag, attributes = {}, ...children) {
  return fill(document.createElementNS(SVG, tag), attributes, children);
}

/** Replace what an element holds. */
export function put(element, ...children) {
  element.replaceChildren(...children.flat(3).filter((child) => child != null && child !== false));
  return element;
}

/** A name that no other element of the page has. */
export function makeId(prefix) {
  counter += 1;
  return `${prefix}-${counter}`;
}
let counter = 0;

function fill(element, attributes, children) {
  for (const [name, value] of Object.entries(attributes)) {
    if (value === false || value == null) continue;
    if (name === "on") {
      for (const [event, listener] of Object.entries(value)) element.addEventListener(event, listener);
    } else if (name === "style") {
      // Through the object model: the policy forbids the attribute.
      for (const [property, text] of Object.entries(value)) element.style.setProperty(property, text);
    } else if (name in PROPERTIES) {
      element[name] = value;
    } else {
      element.setAttribute(name, value === true ? "" : value);
    }
  }
  return put(element, ...children);
}
const PROPERTIES = { value: 1, checked: 1, disabled: 1, indeterminate: 1, selected: 1 };
