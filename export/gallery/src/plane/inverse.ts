/**
 * The path of the fixed-point inverse: of every residual block `x + g(x) = y` the iterates of
 * `x <- y - g(x)` from `x = y`, with their residuals, the sizes of the steps.
 *
 * All blocks go at once, each towards the point that encoding passed through: the graph
 * `contractions` gives the g of every block at a point of its own.
 */

import type { PlaneFlow, Trace } from "./flow.ts";

export interface Path {
  /** The iterates, x and y in turn, the first of them y itself. */
  points: number[];
  /** The largest element of every step. */
  residuals: number[];
  converged: boolean;
  tolerance: number;
}

/** More iterations than a picture can show. */
const MOST = 500;

export async function paths(flow: PlaneFlow, trace: Trace, stop: () => boolean): Promise<Path[] | null> {
  const { entry, manifest } = flow.opened;
  const { tolerance, max_iterations } = manifest.inverse!;
  const blocks = entry.blocks.map((step): Path => {
    const y = [trace.states[2 * step], trace.states[2 * step + 1]];
    const size = Math.max(Math.abs(y[0]), Math.abs(y[1]));
    return { points: y, residuals: [], converged: false, tolerance: tolerance * (1 + size) };
  });
  const most = Math.min(MOST, max_iterations);
  for (let i = 0; i < most && blocks.some((block) => !block.converged); i += 1) {
    if (stop()) return null;
    const now = new Float32Array(blocks.flatMap(({ points }) => points.slice(-2)));
    const made = await flow.opened.run("contractions", {
      points: { data: now, dims: [1, blocks.length, 2] },
    });
    blocks.forEach((block, k) => {
      if (block.converged) return;
      const next = [0, 1].map((j) => Math.fround(block.points[j] - made.g.data[2 * k + j]));
      const residual = Math.max(...next.map((value, j) => Math.abs(value - now[2 * k + j])));
      block.points.push(...next);
      block.residuals.push(residual);
      block.converged = residual <= block.tolerance;
    });
  }
  return blocks;
}
