/** What the page and its worker tell one another. */

import type { Tensors } from "../types.ts";

export type Request =
  | { id: number; load: string }
  | { id: number; run: string; inputs: Tensors };

export type Reply =
  | { id: number; loaded: { fetchMs: number; loadMs: number; bytes: number } }
  | { id: number; outputs: Tensors; ms: number }
  | { id: number; error: string };
