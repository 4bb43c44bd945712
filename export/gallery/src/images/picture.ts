/** Small pictures: of grey levels in the colours of the theme, of three channels as they are. */

import { colour } from "../ui/colour.ts";
import { h } from "../ui/dom.ts";
import type { Size } from "../types.ts";

export interface Levels {
  values: ArrayLike<number>;
  size: Size;
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
  const levels = contents.get(canvas)!;
  const [height, width] = levels.size;
  const context = canvas.getContext("2d")!;
  const image = context.createImageData(width, height);
  const shown = pixelColours(levels);
  for (let i = 0; i < height * width; i += 1) image.data.set([...shown(i), 255], 4 * i);
  context.putImageData(image, 0, 0);
}

/** The red, green and blue of every pixel, 0 to 255, as the page shows it. */
export function pixelColours({ values, size, highest }: Levels): (i: number) => number[] {
  const share = (i: number) => Math.min(Math.max(values[i] / highest, 0), 1);
  if (size[2] === 3) return (i) => [0, 1, 2].map((c) => 255 * share(3 * i + c));
  const [low, high] = [rgb(colour("plot")), rgb(colour("ink"))];
  return (i) => low.map((from, c) => from + share(i) * (high[c] - from));
}

function rgb(hex: string): number[] {
  return [1, 3, 5].map((i) => Number.parseInt(hex.slice(i, i + 2).padEnd(2, hex[1]), 16));
}
