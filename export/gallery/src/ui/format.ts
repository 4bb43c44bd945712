/** Numbers in words. */

export function fixed(value: number, digits: number): string {
  if (Number.isNaN(value)) return "NaN";
  if (!Number.isFinite(value)) return value > 0 ? "∞" : "−∞";
  return value.toFixed(digits).replace("-", "−");
}

export function nats(value: number): string {
  return fixed(value, Math.abs(value) >= 1000 ? 1 : 3);
}

export function point(values: ArrayLike<number>): string {
  return `(${Array.from(values, (v) => fixed(v, 3)).join(", ")})`;
}

export function count(value: number): string {
  return value.toLocaleString("en");
}

export function bytes(value: number): string {
  return value >= 1e6 ? `${(value / 1e6).toFixed(1)} MB` : `${Math.round(value / 1e3)} kB`;
}

export function milliseconds(value: number): string {
  return value < 10 ? `${value.toFixed(1)} ms` : `${Math.round(value)} ms`;
}

export function small(value: number): string {
  return value !== 0 && value < 1e-3 ? value.toExponential(1) : String(Number(value.toPrecision(3)));
}

export function pValue(value: number): string {
  return value < 0.001 ? value.toExponential(1) : value.toFixed(value < 0.1 ? 4 : 3);
}

/** `idensenet_lc_two_moons` as people read it. */
export function title(name: string): string {
  return name.replaceAll("_", " ");
}
