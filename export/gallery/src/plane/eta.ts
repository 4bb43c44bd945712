/** The concatenation coefficients η̂ of an i-DenseNet, by block and Dense Layer. */

import { shade } from "../ui/colour.ts";
import { h } from "../ui/dom.ts";

export function eta(coefficients: [number, number][][]): HTMLElement {
  const tables = [0, 1].map((which) => {
    const layers = coefficients[0].map((_, layer) => h("th", { scope: "col" }, String(layer + 1)));
    const rows = coefficients.map((block, i) =>
      h(
        "tr",
        {},
        h("th", { scope: "row" }, String(i + 1)),
        ...block.map((pair) => {
          const { background, ink } = shade(pair[which]);
          return h("td", { style: `background:${background};color:${ink}` }, pair[which].toFixed(2));
        }),
      ),
    );
    return h(
      "table",
      { class: "eta" },
      h("caption", {}, which ? "η̂₂, the new channels" : "η̂₁, the input"),
      h("thead", {}, h("tr", {}, h("th", { scope: "col" }, "block"), ...layers)),
      h("tbody", {}, ...rows),
    );
  });
  return h("div", { class: "etas" }, ...tables);
}
