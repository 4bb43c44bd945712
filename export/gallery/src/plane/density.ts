/** The two linked views: data with its density, and latent. */

import { colour, scale } from "../ui/colour.ts";
import { type Bounds, draggable, View } from "../ui/view.ts";
import { PlaneFlow, type Batch } from "./flow.ts";

/** Of the heat map: cells on a side, first and at the end. */
const COARSE = 36;
const FINE = 108;
export const LATENT: Bounds = [-4, 4, -4, 4];

export class Density {
  readonly data: View;
  readonly latent: View;
  readonly flow: PlaneFlow;
  /** The encoded points of the data. */
  batch: Batch | null = null;
  samples: number[] = [];
  sampled: number[] = [];
  shows = { data: true, samples: true };
  place: { x: ArrayLike<number>; z: ArrayLike<number> } = { x: [0, 0], z: [0, 0] };
  private heat: HTMLCanvasElement | null = null;
  private values: { size: number; logProb: Float32Array } | null = null;

  constructor(
    flow: PlaneFlow,
    moveData: (to: [number, number]) => void,
    moveLatent: (to: [number, number]) => void,
  ) {
    this.flow = flow;
    const { entry } = flow.opened;
    const about = "Arrow keys move the point, with Shift in larger steps.";
    const attributes = { tabindex: 0, role: "application", class: "square" };
    this.data = new View(entry.bounds, {
      ...attributes,
      "aria-label": `Data space: density of ${entry.name}. ${about}`,
      "data-view": "data",
    });
    this.latent = new View(LATENT, {
      ...attributes,
      "aria-label": `Latent space: the standard normal density. ${about}`,
      "data-view": "latent",
    });
    this.data.draw = () => this.drawData();
    this.latent.draw = () => this.drawLatent();
    draggable(this.data, () => this.place.x, moveData);
    draggable(this.latent, () => this.place.z, moveLatent);
  }

  refresh(): void {
    this.data.refresh();
    this.latent.refresh();
  }

  /** The heat map, coarse first. */
  async compute(size: "coarse" | "fine", stop: () => boolean): Promise<void> {
    const cells = size === "coarse" ? COARSE : FINE;
    const [xmin, xmax, ymin, ymax] = this.data.bounds;
    const grid = new Float32Array(2 * cells * cells);
    for (let row = 0; row < cells; row += 1) {
      for (let column = 0; column < cells; column += 1) {
        const at = 2 * (row * cells + column);
        grid[at] = xmin + ((column + 0.5) / cells) * (xmax - xmin);
        grid[at + 1] = ymax - ((row + 0.5) / cells) * (ymax - ymin);
      }
    }
    const made = await this.flow.all(grid, stop);
    if (!made) return;
    this.values = { size: cells, logProb: made.logProb };
    this.paint();
  }

  /** Colours the heat map: anew where the theme has changed. */
  paint(): void {
    if (!this.values) return;
    const { size, logProb } = this.values;
    this.heat ??= document.createElement("canvas");
    this.heat.width = this.heat.height = size;
    const context = this.heat.getContext("2d")!;
    const image = context.createImageData(size, size);
    const table = scale();
    // The square root: a density spread wide is seen beside a peak.
    const densities = Float32Array.from(logProb, (value) => Math.exp(value / 2));
    const sorted = Float32Array.from(densities).sort();
    const highest = sorted[Math.floor(0.998 * (sorted.length - 1))] || 1;
    densities.forEach((value, i) => {
      const level = Math.min(Math.round((255 * value) / highest), 255);
      image.data.set(table.subarray(4 * level, 4 * level + 4), 4 * i);
    });
    context.putImageData(image, 0, 0);
    this.refresh();
  }

  private drawData(): void {
    const { data } = this;
    const { context } = data;
    context.imageSmoothingEnabled = true;
    context.imageSmoothingQuality = "high";
    if (this.heat) context.drawImage(this.heat, 0, 0, data.width, data.height);
    const { points } = this.flow.opened.entry;
    if (points && this.shows.data) data.dots(points.flat(), 1.3, colour("data"), 0.55);
    if (this.shows.samples) data.dots(this.samples, 1.7, colour("sample"), 0.85);
    handle(data, this.place.x);
  }

  private drawLatent(): void {
    const { latent } = this;
    circles(latent);
    if (this.batch && this.shows.data) latent.dots(this.batch.z, 1.3, colour("data"), 0.55);
    if (this.shows.samples) latent.dots(this.sampled, 1.7, colour("sample"), 0.85);
    handle(latent, this.place.z);
  }
}

/** The standard normal density: its circles at one, two and three deviations. */
export function circles(view: View, alpha = 1): void {
  const { context } = view;
  const table = scale();
  const [x, y] = [view.x(0), view.y(0)];
  const unit = view.x(1) - x;
  const gradient = context.createRadialGradient(x, y, 0, x, y, 4.6 * unit);
  for (let i = 0; i <= 20; i += 1) {
    const radius = (4.6 * i) / 20;
    const level = Math.round(120 * Math.exp((-radius * radius) / 4));
    const [r, g, b] = table.subarray(4 * level, 4 * level + 3);
    gradient.addColorStop(i / 20, `rgb(${r} ${g} ${b})`);
  }
  context.globalAlpha = alpha;
  context.fillStyle = gradient;
  context.fillRect(0, 0, view.width, view.height);
  context.globalAlpha = 1;
  context.strokeStyle = colour("line");
  context.lineWidth = 1;
  for (const radius of [1, 2, 3]) {
    context.beginPath();
    context.arc(x, y, radius * unit, 0, 2 * Math.PI);
    context.stroke();
  }
}

function handle(view: View, place: ArrayLike<number>): void {
  const { context } = view;
  if (!Number.isFinite(place[0]) || !Number.isFinite(place[1])) return;
  const [x, y] = [view.x(place[0]), view.y(place[1])];
  context.beginPath();
  context.arc(x, y, 7.5, 0, 2 * Math.PI);
  context.lineWidth = 5;
  context.strokeStyle = colour("paper");
  context.stroke();
  context.lineWidth = 2.5;
  context.strokeStyle = colour("ink");
  context.stroke();
  context.beginPath();
  context.arc(x, y, 2, 0, 2 * Math.PI);
  context.fillStyle = colour("ink");
  context.fill();
}

