/**
 * A sparse matrix times a vector, a row an invocation. All numbers are small and whole, so sums
 * are the same in whatever way they are made.
 */
import type { Row } from "./ratio.ts";
import { benchResident, dice } from "./resident.ts";

const ROWS = 2 ** 16;
const ROW_MAX = 31;

export async function benchSpmv(): Promise<Row[]> {
  const roll = dice(362_436_069);
  const first = new Uint32Array(ROWS + 1);
  for (let i = 0; i < ROWS; i++) first[i + 1] = first[i]! + 1 + roll(ROW_MAX);
  const count = first[ROWS]!;
  const columns = Uint32Array.from({ length: count }, () => roll(ROWS));
  const values = Float32Array.from({ length: count }, () => roll(17) - 8);
  const x = Float32Array.from({ length: ROWS }, () => roll(1000));
  return benchResident({
    name: `spmv: ${ROWS.toLocaleString("en")} rows of 1 to ${ROW_MAX} values`,
    arrays: { first, columns, values, x, y: new Float32Array(ROWS) },
    ours: `fn main(i: u32) {
      var sum = 0.0;
      let end = load_u32(args.first + 4u * i + 4u);
      for (var at = load_u32(args.first + 4u * i); at < end; at++) {
        let column = load_u32(args.columns + 4u * at);
        sum += load_f32(args.values + 4u * at) * load_f32(args.x + 4u * column);
      }
      store_f32(args.y + 4u * i, sum);
    }`,
    byHand: `fn main(i: u32) {
      var sum = 0.0;
      let end = buffer0[i + 1u];
      for (var at = buffer0[i]; at < end; at++) { sum += buffer2[at] * buffer3[buffer1[at]]; }
      buffer4[i] = sum;
    }`,
    launches: [[ROWS, 0]],
    result: "y",
    plain: () => {
      const y = new Float32Array(ROWS);
      for (let i = 0; i < ROWS; i++) {
        let sum = 0;
        for (let at = first[i]!; at < first[i + 1]!; at++) sum += values[at]! * x[columns[at]!]!;
        y[i] = sum;
      }
      return y;
    },
  });
}
