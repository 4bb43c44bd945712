/** What the numbers of an entry are, what its graphs take, and the comparison with Python. */

import { compare, type Row } from "../record/compare.ts";
import { readNpz } from "../record/npz.ts";
import type { Calibration, Entry, Tensors } from "../types.ts";
import { h, problem } from "./dom.ts";
import type { Opened } from "./entry.ts";
import { bytes, count, fixed, milliseconds, small, title } from "./format.ts";

/** So many milliseconds a graph may take in a comparison, by its latency in the manifest. */
const PATIENCE = 10_000;

const LIKELIHOODS: Record<Entry["likelihood"], string> = {
  exact: "an exact log-density",
  unbiased: "an unbiased estimate of the log-density",
  lower_bound: "a lower bound on the log-probability",
  biased: "a biased estimate, no bound",
};

/** In one sentence what log_prob is. */
export function likelihood({ entry, manifest }: Opened): string {
  const fixedNoise =
    manifest.noise_seed !== null ||
    (manifest.integers && entry.likelihood !== "exact" && "score" in manifest.graphs)
      ? " It is random, and computed here with one noise for every example, so that the same " +
        "example always has the same number."
      : "";
  const cut =
    entry.likelihood !== manifest.likelihood
      ? ` As exported it is ${LIKELIHOODS[manifest.likelihood]}: the graph cuts a series that the ` +
        "flow sums to a random length."
      : "";
  const kind =
    manifest.integers && entry.likelihood === "exact" ? "an exact log-probability" : LIKELIHOODS[entry.likelihood];
  return `log_prob is ${kind}, in nats.${cut}${fixedNoise}`;
}

/** In one sentence what p-values are by, or why there are none. */
export function calibrated(calibration: Calibration | null | undefined, alpha: number | null): string {
  if (!calibration) {
    return "This entry has no calibration, so it gives no p-value and no flag.";
  }
  return (
    `p-values are conformal, by ${count(calibration.scores)} held-out scores ` +
    `(${calibration.data}; statistic ${calibration.statistic.replaceAll("_", " ")}): none is below ` +
    `${small(calibration.smallest_p_value)}. A flag is a p-value of at most ${small(alpha ?? 0)}, ` +
    "the rate of false alarms among examples like the held-out ones." +
    (calibration.statistic === "typicality"
      ? " Typicality is the distance of log_prob from its mean: an example that is far more " +
        "probable than the others is as unusual as one that is far less so."
      : "")
  );
}

export function facts(opened: Opened, calibration?: Calibration | null): HTMLElement {
  const { entry, manifest, engine } = opened;
  const { test } = entry;
  const rows = new Map<string, HTMLElement[]>();
  const body = h("tbody");
  for (const [name, info] of Object.entries(manifest.graphs)) {
    const cells = [h("td", {}, bytes(info.cost.bytes)), h("td", {}, "–"), h("td", {}, "–")];
    rows.set(opened.address(name), cells);
    body.append(h("tr", {}, h("th", { scope: "row" }, info.name), ...cells));
  }
  const show = (address: string) => {
    const cells = rows.get(address);
    const timing = engine.timings.get(address);
    if (!cells || !timing) return;
    if (timing.loadMs !== undefined) {
      cells[1].textContent = milliseconds(timing.fetchMs! + timing.loadMs);
    }
    if (timing.one.length) cells[2].textContent = milliseconds(median(timing.one));
  };
  engine.listeners.add(show);
  for (const address of rows.keys()) show(address);

  return h(
    "section",
    { class: "facts", "aria-label": `What the numbers of ${entry.name} are` },
    h("h3", {}, `What the numbers of ${title(entry.name)} are`),
    h(
      "div",
      { class: "columns" },
      h(
        "div",
        {},
        h("p", {}, likelihood(opened)),
        entry.panel === "plane" ? null : h("p", {}, calibrated(calibration, manifest.alpha)),
        test &&
          h(
            "p",
            {},
            `On test data (${test.data}, ${count(test.examples)} examples): `,
            h("strong", {}, `${fixed(-test.nll, 3)} ± ${fixed(test.standard_error, 3)} nats`),
            " an example, mean and standard error",
            test.bits_per_dim === null ? "." : `; ${fixed(test.bits_per_dim, 3)} bits/dim.`,
          ),
        h(
          "p",
          { class: "quiet" },
          `${entry.summary} ${count(entry.parameters)} parameters; weights ${entry.licence}` +
            `${entry.data_licence ? `, data ${entry.data_licence}` : ""}.`,
        ),
        entry.missing && h("p", { class: "quiet" }, entry.missing),
      ),
      h(
        "div",
        {},
        h(
          "table",
          { class: "files" },
          h("caption", {}, "ONNX graphs, run here by onnxruntime-web on one thread"),
          h(
            "thead",
            {},
            h(
              "tr",
              {},
              ...["graph", "file", "loaded in", "one example"].map((text) =>
                h("th", { scope: "col" }, text),
              ),
            ),
          ),
          body,
        ),
        comparison(opened),
      ),
    ),
  );
}

function median(values: number[]): number {
  return [...values].sort((a, b) => a - b)[Math.floor(values.length / 2)];
}

/** A button that runs the recorded inputs here, and what came of it. */
function comparison(opened: Opened): HTMLElement {
  const result = h("div", { class: "result", "aria-live": "polite" });
  const wrong = problem();
  const button = h("button", { onclick: () => void start() }, "Compare with Python");
  async function start() {
    button.disabled = true;
    wrong.clear();
    const state = h("p", { class: "quiet" }, "Loading the recorded inputs…");
    result.replaceChildren(state);
    try {
      const record = await readNpz(await opened.record());
      const run = (name: string, inputs: Tensors) => opened.run(name, inputs);
      const rows = await compare(opened.manifest, record, run, PATIENCE, (what) => {
        state.textContent = `Running the recorded inputs: ${what}…`;
      });
      result.replaceChildren(table(rows));
    } catch (error) {
      result.replaceChildren();
      wrong.show(error);
    }
    button.disabled = false;
  }
  return h("div", { class: "compare" }, button, wrong.element, result);
}

function table(rows: Row[]): HTMLElement {
  const failed = rows.filter((row) => !row.passed);
  const verdict = failed.length
    ? `${failed.length} of ${rows.length} comparisons differ by more than the tolerance.`
    : `All ${rows.length} comparisons agree with the flow in Python.`;
  const cells = rows.map((row) =>
    h(
      "tr",
      { class: row.passed ? "passed" : "failed" },
      h("th", { scope: "row" }, `${row.graph}: ${row.output}`),
      h("td", {}, `${row.examples} ${row.kind}`),
      h("td", {}, small(row.measured)),
      h("td", {}, small(row.tolerance)),
    ),
  );
  return h(
    "details",
    { open: failed.length > 0 },
    h("summary", { class: failed.length ? "failed" : "passed" }, verdict),
    h(
      "table",
      { class: "files" },
      h(
        "thead",
        {},
        h(
          "tr",
          {},
          ...["output", "inputs", "difference", "tolerance"].map((text) =>
            h("th", { scope: "col" }, text),
          ),
        ),
      ),
      h("tbody", {}, ...cells),
    ),
  );
}
