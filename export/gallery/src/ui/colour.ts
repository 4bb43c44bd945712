/** Colours: those of the style sheet, and the scale of densities in both themes. */

const LIGHT = ["#faf9f6", "#dbe7ea", "#9cc8d4", "#4d98b8", "#22648f", "#12335e"];
const DARK = ["#12161b", "#152c42", "#1c527a", "#2f8aa8", "#8bcdbb", "#f4f1c6"];

export function isDark(): boolean {
  const { theme } = document.documentElement.dataset;
  if (theme === "dark" || theme === "light") return theme === "dark";
  return matchMedia("(prefers-color-scheme: dark)").matches;
}

/** A colour of the style sheet by the name of its variable. */
export function colour(name: string): string {
  return getComputedStyle(document.documentElement).getPropertyValue(`--${name}`).trim();
}

/** 256 colours from the lowest density to the highest, four bytes each. */
export function scale(): Uint8ClampedArray {
  const stops = (isDark() ? DARK : LIGHT).map(parts);
  const table = new Uint8ClampedArray(4 * 256);
  for (let i = 0; i < 256; i += 1) {
    const at = (i / 255) * (stops.length - 1);
    const low = Math.min(Math.floor(at), stops.length - 2);
    for (let c = 0; c < 3; c += 1) {
      const [a, b] = [stops[low][c], stops[low + 1][c]];
      table[4 * i + c] = Math.round(a + (at - low) * (b - a));
    }
    table[4 * i + 3] = 255;
  }
  return table;
}

/** The colour of a share from 0 to 1, and that of text on it: a contrast of at least 4.5. */
export function shade(share: number): { background: string; ink: string } {
  const table = scale();
  const i = Math.round(255 * Math.min(Math.max(share, 0), 1));
  const [r, g, b] = table.subarray(4 * i, 4 * i + 3);
  const luminance = 0.2126 * linear(r) + 0.7152 * linear(g) + 0.0722 * linear(b);
  return { background: `rgb(${r} ${g} ${b})`, ink: luminance < 0.179 ? "#fff" : "#000" };
}

function linear(value: number): number {
  const share = value / 255;
  return share <= 0.04045 ? share / 12.92 : ((share + 0.055) / 1.055) ** 2.4;
}

function parts(hex: string): number[] {
  return [1, 3, 5].map((i) => Number.parseInt(hex.slice(i, i + 2), 16));
}
