/** An image: every pixel becomes the weighted mean of 25 around it. Weights are whole numbers. */
import type { Row } from "./ratio.ts";
import { benchCold, benchResident, dice, type Work } from "./resident.ts";

const SIZE = 512;
const WEIGHTS = [1, 4, 6, 4, 1];
const SHIFT = 8;

export async function benchBlur(): Promise<Row[]> {
  const roll = dice(123_456_789);
  const image = Uint32Array.from({ length: SIZE * SIZE }, () => roll(65_536));
  const work: Work = {
    name: `blur: ${SIZE} by ${SIZE} pixels, 25 loads each`,
    arrays: { image, out: new Uint32Array(SIZE * SIZE) },
    ours: kernelOf(
      (index) => `load_u32(args.image + 4u * (${index}))`,
      (index, value) => `store_u32(args.out + 4u * ${index}, ${value});`,
    ),
    byHand: kernelOf(
      (index) => `buffer0[${index}]`,
      (index, value) => `buffer1[${index}] = ${value};`,
    ),
    launches: [[SIZE * SIZE, 0]],
    result: "out",
    plain: () => blur(image),
  };
  return [...(await benchResident(work)), await benchCold(work)];
}

/** The same kernel over whatever holds the pixels; edges repeat the last one. */
const kernelOf = (
  load: (index: string) => string,
  store: (index: string, value: string) => string,
): string => `const weights = array<u32, 5>(${WEIGHTS.map((weight) => `${weight}u`).join(", ")});
fn main(i: u32) {
  let column = i32(i % ${SIZE}u);
  let row = i32(i / ${SIZE}u);
  var sum = 0u;
  for (var dy = 0; dy < 5; dy++) {
    let y = u32(clamp(row + dy - 2, 0, ${SIZE - 1}));
    for (var dx = 0; dx < 5; dx++) {
      let x = u32(clamp(column + dx - 2, 0, ${SIZE - 1}));
      sum += weights[dy] * weights[dx] * ${load(`y * ${SIZE}u + x`)};
    }
  }
  ${store("i", `sum >> ${SHIFT}u`)}
}`;

function blur(image: Uint32Array): Uint32Array {
  const out = new Uint32Array(SIZE * SIZE);
  const inside = (at: number): number => Math.min(Math.max(at, 0), SIZE - 1);
  for (let row = 0; row < SIZE; row++) {
    for (let column = 0; column < SIZE; column++) {
      let sum = 0;
      for (let dy = 0; dy < 5; dy++) {
        const line = inside(row + dy - 2) * SIZE;
        for (let dx = 0; dx < 5; dx++) {
          sum += WEIGHTS[dy]! * WEIGHTS[dx]! * image[line + inside(column + dx - 2)]!;
        }
      }
      out[row * SIZE + column] = sum >>> SHIFT;
    }
  }
  return out;
}
