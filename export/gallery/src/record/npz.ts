/** Arrays as NumPy writes them: `.npz`, a zip of `.npy`. */

import type { Tensor } from "../types.ts";

const TYPES: Record<string, (buffer: ArrayBuffer) => Tensor["data"]> = {
  "<f4": (buffer) => new Float32Array(buffer),
  "<f8": (buffer) => new Float64Array(buffer),
  "<i4": (buffer) => new Int32Array(buffer),
  "|b1": (buffer) => new Uint8Array(buffer),
};

export async function readNpz(bytes: Uint8Array): Promise<Map<string, Tensor>> {
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  // The end of a zip: where its directory is, and how many files it has.
  let end = bytes.length - 22;
  while (end >= 0 && view.getUint32(end, true) !== 0x06054b50) end -= 1;
  if (end < 0) throw new Error("The record of Python's numbers is no .npz file.");
  const arrays = new Map<string, Tensor>();
  let at = view.getUint32(end + 16, true);
  for (let i = 0; i < view.getUint16(end + 10, true); i += 1) {
    const method = view.getUint16(at + 10, true);
    const packed = view.getUint32(at + 20, true);
    const sizes = [28, 30, 32].map((offset) => view.getUint16(at + offset, true));
    const header = view.getUint32(at + 42, true);
    const name = new TextDecoder().decode(bytes.subarray(at + 46, at + 46 + sizes[0]));
    const start =
      header + 30 + view.getUint16(header + 26, true) + view.getUint16(header + 28, true);
    const content = bytes.slice(start, start + packed);
    const plain = method === 8 ? await inflated(content) : content;
    arrays.set(name.replace(/\.npy$/, ""), readNpy(plain));
    at += 46 + sizes[0] + sizes[1] + sizes[2];
  }
  return arrays;
}

function readNpy(bytes: Uint8Array): Tensor {
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  const wide = bytes[6] > 1;
  const length = wide ? view.getUint32(8, true) : view.getUint16(8, true);
  const start = (wide ? 12 : 10) + length;
  const header = new TextDecoder().decode(bytes.subarray(wide ? 12 : 10, start));
  const type = /'descr': '([^']+)'/.exec(header)?.[1] ?? "";
  const shape = /'shape': \(([^)]*)\)/.exec(header)?.[1] ?? "";
  if (!(type in TYPES) || header.includes("'fortran_order': True")) {
    throw new Error(`The record of Python's numbers has an array of the type ${type}.`);
  }
  const dims = shape.split(",").map((part) => part.trim()).filter(Boolean).map(Number);
  return { data: TYPES[type](bytes.slice(start).buffer as ArrayBuffer), dims };
}

async function inflated(bytes: Uint8Array): Promise<Uint8Array> {
  const stream = new Blob([bytes as BlobPart]).stream();
  const plain = stream.pipeThrough(new DecompressionStream("deflate-raw"));
  return new Uint8Array(await new Response(plain).arrayBuffer());
}
