/** Elements of the page, made in one call each. */

type Child = Node | string | null | undefined | false;
type Attributes = Record<string, string | number | boolean | null | undefined | EventListener>;

/** An element: attributes by name (`onclick` and the like are listeners), then its children. */
export function h<K extends keyof HTMLElementTagNameMap>(
  tag: K,
  attributes: Attributes = {},
  ...children: Child[]
): HTMLElementTagNameMap[K] {
  const element = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) {
    if (typeof value === "function") element.addEventListener(name.slice(2), value);
    else if (value !== null && value !== undefined && value !== false) {
      element.setAttribute(name, value === true ? "" : String(value));
    }
  }
  element.append(...children.filter((child): child is Node | string => !!child));
  return element;
}

let count = 0;

/** An id that no other element has. */
export function uniqueId(start: string): string {
  count += 1;
  return `${start}-${count}`;
}

/** A labelled choice; gives the element and the select in it. */
export function choice(
  label: string,
  options: { value: string; text: string; group?: string }[],
  onchange: (value: string) => void,
): { element: HTMLElement; select: HTMLSelectElement } {
  const id = uniqueId("choice");
  const select = h("select", { id, onchange: () => onchange(select.value) });
  const groups = new Map<string, HTMLElement>();
  for (const { value, text, group } of options) {
    let parent: HTMLElement = select;
    if (group) {
      if (!groups.has(group)) {
        groups.set(group, h("optgroup", { label: group }));
        select.append(groups.get(group)!);
      }
      parent = groups.get(group)!;
    }
    parent.append(h("option", { value }, text));
  }
  return { element: h("div", { class: "field" }, h("label", { for: id }, label), select), select };
}

/** A labelled slider, its value said in words beside it. */
export function slider(
  label: string,
  range: { min: number; max: number; step: number; value: number },
  words: (value: number) => string,
  oninput: (value: number) => void,
): { element: HTMLElement; input: HTMLInputElement; set(value: number): void } {
  const id = uniqueId("slider");
  const output = h("output", { for: id });
  const input = h("input", { id, type: "range", ...range, oninput: () => change() });
  function show() {
    output.textContent = words(input.valueAsNumber);
    input.setAttribute("aria-valuetext", words(input.valueAsNumber));
    const share = (input.valueAsNumber - range.min) / (Number(input.max) - range.min || 1);
    input.style.setProperty("--share", `${100 * share}%`);
  }
  function change() {
    show();
    oninput(input.valueAsNumber);
  }
  show();
  return {
    element: h("div", { class: "field slider" }, h("label", { for: id }, label), input, output),
    input,
    set(value) {
      input.valueAsNumber = value;
      show();
    },
  };
}

/** A list of numbers with their names; `set` changes one. */
export function numbers(...names: string[]): {
  element: HTMLElement;
  set(name: string, value: string, note?: string): void;
} {
  const cells = new Map<string, [HTMLElement, HTMLElement]>();
  const element = h("dl", { class: "numbers" });
  for (const name of names) {
    const value = h("span", { class: "value" }, "–");
    const note = h("span", { class: "unit" });
    cells.set(name, [value, note]);
    element.append(h("div", {}, h("dt", {}, name), h("dd", {}, value, " ", note)));
  }
  return {
    element,
    set(name, value, note = "") {
      const [first, second] = cells.get(name)!;
      first.textContent = value;
      second.textContent = note;
    },
  };
}

/** A place for an error, in a sentence that screen readers speak. */
export function problem(): { element: HTMLElement; show(error: unknown): void; clear(): void } {
  const element = h("p", { class: "problem", role: "alert", hidden: true });
  return {
    element,
    show(error) {
      element.textContent = error instanceof Error ? error.message : String(error);
      element.hidden = false;
    },
    clear() {
      element.hidden = true;
      element.textContent = "";
    },
  };
}
