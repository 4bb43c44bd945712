/** The comparison with Python: the recorded inputs of an export, run here. */

import type { Manifest, Tensor, Tensors } from "../types.ts";

export interface Row {
  graph: string;
  kind: string;
  output: string;
  /** How many of the recorded examples were run. */
  examples: number;
  measured: number;
  tolerance: number;
  passed: boolean;
}

/** Under which name the inputs of a graph are recorded, where that is not its own. */
const RECORDED: Record<string, string> = {
  log_prob: "encode",
  log_prob_fixed: "fixed",
};

/** At least so many examples of a slow graph are run. */
const FEWEST = 2;

/**
 * Runs every graph on its recorded inputs; `begins` is told before each.
 *
 * A graph that would take longer than `most` milliseconds, by the latency in the manifest, is run on
 * the first examples only: one that decodes pixel by pixel takes seconds for each.
 */
export async function compare(
  manifest: Manifest,
  record: Map<string, Tensor>,
  run: (graph: string, inputs: Tensors) => Promise<Tensors>,
  most = Infinity,
  begins: (what: string) => void = () => {},
): Promise<Row[]> {
  const rows: Row[] = [];
  const graphs = Object.entries(manifest.graphs);
  for (const [index, [graph, info]] of graphs.entries()) {
    for (const kind of ["samples", "extreme"]) {
      const place = `${RECORDED[graph] ?? graph}/${kind}`;
      const inputs: Tensors = {};
      for (const { name } of info.inputs) {
        const tensor = record.get(`${place}/${name}`);
        if (tensor) inputs[name] = tensor;
      }
      if (!Object.keys(inputs).length && kind === "extreme") continue;
      if (Object.keys(inputs).length !== info.inputs.length) {
        throw new Error(`The record of Python's numbers has no ${kind} of ${graph}.`);
      }
      const examples = Math.max(FEWEST, Math.floor(most / info.cost.latency_ms));
      for (const [name, tensor] of Object.entries(inputs)) inputs[name] = first(tensor, examples);
      begins(`${graph} on ${kind}, graph ${index + 1} of ${graphs.length}`);
      const made = await run(graph, inputs);
      for (const { name: output } of info.outputs) {
        const whole = record.get(`${place}/${output}`);
        if (!whole) throw new Error(`The record has no ${output} of ${graph}.`);
        const expected = first(whole, examples);
        const levels = manifest.integers && output === "x";
        const start = `${graph} on ${kind}: ${output}`;
        const check = levels ? `${start}, share of other levels` : start;
        const row = manifest.parity.find((one) => one.check === check);
        if (!row) throw new Error(`The manifest has no tolerance of ${check}.`);
        const right = output === "flag" ? flags(made.p_value, manifest.alpha) : expected;
        const measured = levels
          ? levelError(made[output], right)
          : relativeError(made[output], right, leastScale(output, inputs));
        const { tolerance } = row;
        const passed = measured <= tolerance;
        rows.push({ graph, kind, output, examples: expected.dims[0], measured, tolerance, passed });
      }
    }
  }
  return rows;
}

/** The first examples of a tensor, or all that it has. */
function first(tensor: Tensor, examples: number): Tensor {
  const [n, ...rest] = tensor.dims;
  if (n <= examples) return tensor;
  const size = rest.reduce((a, b) => a * b, 1);
  return { data: tensor.data.subarray(0, examples * size), dims: [examples, ...rest] };
}

/** A flag says what the p-value beside it does, which may be a rank off. */
function flags(pValues: Tensor, alpha: number | null): Tensor {
  const data = Uint8Array.from(pValues.data as Float64Array, (p) => (p > (alpha ?? 0) ? 0 : 1));
  return { data, dims: pValues.dims };
}

/** What a difference is relative to, at least: a sum over the dimensions is rounded as so many numbers. */
function leastScale(output: string, inputs: Tensors): number {
  if (!["log_prob", "log_det"].includes(output) || !inputs.x) return 1;
  return inputs.x.dims.slice(1).reduce((a, b) => a * b, 1);
}

/** `max |got - expected| / max(least, max |expected|)` of an example, the largest of a batch. */
export function relativeError(got: Tensor, expected: Tensor, least: number): number {
  return worst(got, expected, (differences, values) => {
    const size = values.filter(Number.isFinite).reduce((a, b) => Math.max(a, Math.abs(b)), least);
    return differences.reduce((a, b) => Math.max(a, b), 0) / size;
  });
}

/** The share of integers that differ; infinite where one does by more than a level. */
export function levelError(got: Tensor, expected: Tensor): number {
  let different = 0;
  const far = worst(got, expected, (differences, values) => {
    different += differences.filter((d) => d > 0).length;
    return differences.some((d, i) => d > 1 + 1e-4 * Math.max(1, Math.abs(values[i])))
      ? Infinity
      : 0;
  });
  return far || different / expected.data.length;
}

function worst(
  got: Tensor,
  expected: Tensor,
  error: (differences: number[], values: number[]) => number,
): number {
  if (got.dims.join() !== expected.dims.join()) return Infinity;
  const size = expected.data.length / expected.dims[0];
  let largest = 0;
  for (let i = 0; i < expected.dims[0]; i += 1) {
    const values = Array.from(expected.data.subarray(i * size, (i + 1) * size));
    const differences = values.map((value, j) => difference(got.data[i * size + j], value));
    largest = Math.max(largest, error(differences, values));
  }
  return largest;
}

function difference(a: number, b: number): number {
  if (a === b || (Number.isNaN(a) && Number.isNaN(b))) return 0;
  const d = Math.abs(a - b);
  return Number.isNaN(d) ? Infinity : d;
}
