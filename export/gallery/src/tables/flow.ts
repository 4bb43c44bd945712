/** A flow on a table: rows through its graph, and which columns make them unusual. */

import type { Column, TableEntry, Tensors } from "../types.ts";
import type { Opened } from "../ui/entry.ts";
import type { Rows } from "./rows.ts";

export interface Decision {
  logProb: number;
  pValue: number | null;
  flag: boolean | null;
  /** Why the row is out of range, in words. */
  reason: string | null;
}

export class TableFlow {
  readonly opened: Opened<TableEntry>;

  constructor(opened: Opened<TableEntry>) {
    this.opened = opened;
  }

  get columns(): Column[] {
    return this.opened.manifest.columns!;
  }

  get event(): Column[] {
    return this.columns.filter((column) => !column.context);
  }

  async decide(rows: Rows): Promise<Decision[]> {
    const { entry } = this.opened;
    const made = await this.run(rows.x, rows.context);
    return Array.from({ length: rows.n }, (_, i) => {
      const reason = rows.reasons.get(i) ?? null;
      if (reason) {
        // As Python decides of them: the most abnormal that there is.
        const calibrated = entry.calibration !== null;
        return {
          logProb: -Infinity,
          pValue: calibrated ? entry.calibration!.smallest_p_value : null,
          flag: calibrated ? true : null,
          reason,
        };
      }
      return {
        logProb: made.log_prob.data[i],
        pValue: made.p_value ? made.p_value.data[i] : null,
        flag: made.flag ? made.flag.data[i] === 1 : null,
        reason,
      };
    });
  }

  /**
   * What every column adds to the score of a row: `ln mean_k p(x with column j from row k) -
   * log_prob(x)` over rows k drawn from the flow, nats; `keras_flows.detect.explain` with them.
   */
  async explain(x: Float32Array): Promise<number[]> {
    const { replacements } = this.opened.entry;
    if (!replacements) throw new Error("Columns are explained for flows without context.");
    const d = this.event.length;
    const changed = new Float32Array((1 + d * replacements.length) * d);
    changed.set(x);
    for (let column = 0; column < d; column += 1) {
      replacements.forEach((row, k) => {
        const at = (1 + column * replacements.length + k) * d;
        changed.set(x, at);
        changed[at + column] = row[column];
      });
    }
    const { log_prob } = await this.run(changed, null);
    const values = Array.from(log_prob.data);
    return Array.from({ length: d }, (_, column) => {
      const start = 1 + column * replacements.length;
      const added = logMeanExp(values.slice(start, start + replacements.length)) - values[0];
      return Number.isNaN(added) ? 0 : added;
    });
  }

  private run(x: Float32Array, context: Float32Array | null): Promise<Tensors> {
    const n = x.length / this.event.length;
    const inputs: Tensors = { x: { data: x, dims: [n, this.event.length] } };
    if (context) inputs.context = { data: context, dims: [n, context.length / n] };
    return this.opened.run(this.opened.scoring, inputs);
  }
}

function logMeanExp(values: number[]): number {
  const largest = Math.max(...values);
  if (!Number.isFinite(largest)) return largest;
  const sum = values.reduce((total, value) => total + Math.exp(value - largest), 0);
  return largest + Math.log(sum / values.length);
}
