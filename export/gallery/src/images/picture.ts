/** Small pictures of grey levels, in the colours of the theme. */

import { colour } from "../ui/colour.ts";
import { h } from "../ui/dom.ts";

export interface Levels {
  values: ArrayLike<number>;
  size: [number, number];
  highest: number;
}

const painted = new Set<WeakRef<HTMLCanvasElement>>();
const contents = new WeakMap<HTMLCanvasElement, Levels>();

/** A picture, one pixel of the canvas for each of its own; without a label it is decoration. */
export function picture(levels: Levels, label: string): HTMLCanvasElement {
  const [height, width] = levels.size;
  const said = label ? { role: "img", "aria-label": label } : { "aria-hidden": "true" };
  const canvas = h("canvas", { width, height, class: "pixels", ...said });
  contents.set(canvas, levels);
  painted.add(new WeakRef(canvas));
  paint(canvas);
  return canvas;
}

/** Paints all pictures anew: the theme has changed. */
export function repaintPictures(): void {
  for (const reference of painted) {
    const canvas = reference.deref();
    if (canvas) paint(canvas);
    else painted.delete(reference);
  }
}

export function replace(canvas: HTMLCanvasElement, levels: Levels): void {
  contents.set(canvas, levels);
  paint(canvas);
}

function paint(canvas: HTMLCanvasElement): void {
  const { values, size, highest } = contents.get(canvas)!;
  const [height, width] = size;
  const context = canvas.getContext("2d")!;
  const image = context.createImageData(width, height);
  const [low, high] = [rgb(colour("plot")), rgb(colour("ink"))];
  for (let i = 0; i < values.length; i += 1) {
    const share = Math.min(Math.max(values[i] / highest, 0), 1);
    for (let c = 0; c < 3; c += 1) image.data[4 * i + c] = low[c] + share * (high[c] - low[c]);
    image.data[4 * i + 3] = 255;
  }
  context.putImageData(image, 0, 0);
}

function rgb(hex: string): number[] {
  return [1, 3, 5].map((i) => Number.parseInt(hex.slice(i, i + 2).padEnd(2, hex[1]), 16));
}
