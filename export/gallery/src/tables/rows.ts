/** Rows that were pasted, put in the order of a flow's columns; its errors are sentences. */

import type { Column } from "../types.ts";

export interface Rows {
  /** Numbers of the event, a row after the other. */
  x: Float32Array;
  /** The context: numbers as they are, categories as one column for each level. */
  context: Float32Array | null;
  n: number;
  /** What is wrong with rows outside of the range of a column, by their index. */
  reasons: Map<number, string>;
}

const LARGEST_INTEGER = 2 ** 53;

export function parse(text: string, columns: Column[]): Rows {
  const lines = text.split(/\r?\n/).filter((line) => line.trim());
  if (!lines.length) throw new Error("There are no rows: paste some, with the names of the columns first.");
  const separator = ["\t", ";", ","].find((one) => lines[0].includes(one)) ?? ",";
  const [names, ...rows] = lines.map((line) => cells(line, separator));
  checkNames(names, columns);
  if (!rows.length) throw new Error("There is a line of names, and no row below it.");
  rows.forEach((row, i) => {
    if (row.length !== names.length) {
      throw new Error(`Row ${i + 1} has ${row.length} cells, and there are ${names.length} columns.`);
    }
  });
  const event = columns.filter((column) => !column.context);
  const context = columns.filter((column) => column.context);
  const place = (column: Column) => names.indexOf(column.name);
  const reasons = new Map<number, string>();
  const x = new Float32Array(rows.length * event.length);
  rows.forEach((row, i) => {
    const wrong: string[] = [];
    event.forEach((column, j) => {
      const value = number(row[place(column)], column.name, i);
      x[i * event.length + j] = value;
      if (outside(value, column)) wrong.push(`${column.name} is ${value} and must be ${needed(column)}`);
    });
    if (wrong.length) reasons.set(i, wrong.join("; "));
  });
  return { x, context: context.length ? contexts(rows, context, place) : null, n: rows.length, reasons };
}

function contexts(rows: string[][], columns: Column[], place: (column: Column) => number): Float32Array {
  return Float32Array.from(
    rows.flatMap((row, i) =>
      columns.flatMap((column) => {
        const cell = row[place(column)];
        const { levels } = column.kind;
        if (!levels) return [number(cell, column.name, i)];
        if (!levels.includes(cell)) {
          throw new Error(
            `Row ${i + 1}: ${column.name} is ${JSON.stringify(cell)}, which the flow has never ` +
              `seen; it knows ${levels.join(", ")}.`,
          );
        }
        return levels.map((level) => (level === cell ? 1 : 0));
      }),
    ),
  );
}

function checkNames(names: string[], columns: Column[]): void {
  const wanted = columns.map(({ name }) => name);
  const missing = wanted.filter((name) => !names.includes(name));
  const unknown = names.filter((name) => !wanted.includes(name));
  const twice = names.filter((name, i) => names.indexOf(name) !== i);
  const parts = [
    missing.length && `lack ${some(missing)}`,
    unknown.length && `have ${some(unknown)}, which the flow does not know`,
    twice.length && `have ${some(twice)} more than once`,
  ].filter(Boolean);
  if (parts.length) {
    throw new Error(
      `The rows ${parts.join(", and ")}. Their first line must name exactly these, in any order: ` +
        `${wanted.join(", ")}.`,
    );
  }
}

function some(names: string[]): string {
  return names.slice(0, 5).join(", ") + (names.length > 5 ? ` and ${names.length - 5} more` : "");
}

function number(cell: string, name: string, row: number): number {
  const value = cell.trim() === "" ? NaN : Number(cell);
  if (!Number.isFinite(value)) {
    throw new Error(
      `Row ${row + 1}: ${name} is ${cell.trim() === "" ? "missing" : JSON.stringify(cell)}; it must be a number.`,
    );
  }
  return value;
}

function outside(value: number, { kind }: Column): boolean {
  switch (kind.kind) {
    case "positive":
      return !(value > 0);
    case "interval":
      return !(value > kind.low! && value < kind.high!);
    case "integer":
      return value !== Math.floor(value) || Math.abs(value) >= LARGEST_INTEGER;
    default:
      return false;
  }
}

function needed({ kind }: Column): string {
  switch (kind.kind) {
    case "positive":
      return "above 0";
    case "interval":
      return `in (${kind.low}, ${kind.high}), the bounds excluded`;
    case "integer":
      return "an integer of less than 2^53";
    default:
      return "a number";
  }
}

/** The cells of a line: in quotes they may hold the separator, and quotes as two of them. */
function cells(line: string, separator: string): string[] {
  const made: string[] = [];
  let cell = "";
  let quoted = false;
  for (let i = 0; i < line.length; i += 1) {
    const c = line[i];
    if (quoted && c === '"' && line[i + 1] === '"') {
      cell += c;
      i += 1;
    } else if (c === '"' && (quoted || !cell.trim())) {
      quoted = !quoted;
      if (quoted) cell = "";
    } else if (c === separator && !quoted) {
      made.push(cell.trim());
      cell = "";
    } else cell += c;
  }
  made.push(cell.trim());
  return made;
}

/** Rows as text, for the page to begin with. */
export function write(rows: Record<string, number | string>[], columns: Column[]): string {
  const quote = (value: number | string) =>
    /[",;\t]/.test(String(value)) ? `"${String(value).replaceAll('"', '""')}"` : String(value);
  const names = columns.map(({ name }) => name);
  return [names, ...rows.map((row) => names.map((name) => row[name]))]
    .map((line) => line.map(quote).join(","))
    .join("\n");
}
