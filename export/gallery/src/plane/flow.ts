/** A flow on the plane: points through its graphs. */

import type { Opened } from "../ui/entry.ts";
import type { PlaneEntry } from "../types.ts";

/** Points that the graphs take at a time: more would keep the pointer waiting. */
const CHUNK = 400;

export interface Trace {
  x: [number, number];
  z: [number, number];
  logProb: number;
  /** The point after every step, x and y in turn. */
  states: Float32Array;
}

export interface Batch {
  logProb: Float32Array;
  z: Float32Array;
  states: Float32Array;
}

export class PlaneFlow {
  readonly opened: Opened<PlaneEntry>;

  constructor(opened: Opened<PlaneEntry>) {
    this.opened = opened;
  }

  get steps(): number {
    return this.opened.entry.steps.length;
  }

  /** One point of the data, and where every step takes it. */
  async trace(x: [number, number], urgent = true): Promise<Trace> {
    const made = await this.opened.run("steps", { x: points(x) }, urgent);
    const [z0, z1] = made.z.data;
    return {
      x,
      z: [z0, z1],
      logProb: made.log_prob.data[0],
      states: made.states.data as Float32Array,
    };
  }

  /** What a point of the latent is decoded to; NaN where the inverse did not converge. */
  async decode(z: [number, number]): Promise<[number, number]> {
    const { x } = await this.opened.run("decode", { z: points(z) }, true);
    return [x.data[0], x.data[1]];
  }

  /** Decodes many latents. */
  async decodeAll(z: Float32Array): Promise<Float32Array> {
    return (await this.opened.run("decode", { z: points(z) })).x.data as Float32Array;
  }

  /** Many points of the data, in chunks; `stop` ends it early, with null. */
  async all(x: Float32Array, stop: () => boolean = () => false): Promise<Batch | null> {
    const n = x.length / 2;
    const batch: Batch = {
      logProb: new Float32Array(n),
      z: new Float32Array(2 * n),
      states: new Float32Array(2 * n * this.steps),
    };
    for (let start = 0; start < n; start += CHUNK) {
      if (stop()) return null;
      const made = await this.opened.run("steps", { x: points(x.slice(2 * start, 2 * (start + CHUNK))) });
      batch.logProb.set(made.log_prob.data as Float32Array, start);
      batch.z.set(made.z.data as Float32Array, 2 * start);
      batch.states.set(made.states.data as Float32Array, 2 * start * this.steps);
    }
    return batch;
  }
}

export function points(x: ArrayLike<number>) {
  return { data: Float32Array.from(x), dims: [x.length / 2, 2] };
}
