/** A sparse matrix (compressed rows) times a vector: an invocation a row. */
import { f32, type Machine, ptr, u32 } from "onespace";

export const multiply = (machine: Machine) =>
  machine.kernel(
    { starts: ptr(u32), columns: ptr(u32), values: ptr(f32), x: ptr(f32), y: ptr(f32) },
    (row, { starts, columns, values, x, y }) => {
      let sum = 0;
      for (let k = starts[row]; k < starts[row + 1]; k++) sum += values[k] * x[columns[k]];
      y[row] = sum;
    },
    { name: "multiply" },
  );

/** `rows` rows of `each` entries at scattered columns, and a vector for it. */
export function matrix({ space }: Machine, rows: number, each: number) {
  const starts = space.array(u32, rows + 1);
  const columns = space.array(u32, rows * each);
  const values = space.array(f32, rows * each);
  const x = space.array(f32, rows);
  starts.copyFrom(Uint32Array.from({ length: rows + 1 }, (_, row) => row * each));
  columns.copyFrom(Uint32Array.from({ length: rows * each }, (_, k) => (k * 7919) % rows));
  values.copyFrom(Float32Array.from({ length: rows * each }, (_, k) => (k % 9) - 4));
  x.copyFrom(Float32Array.from({ length: rows }, (_, k) => (k % 5) * 0.5));
  return { starts, columns, values, x };
}
