/** How many invocations a run has, in up to three dimensions, and the groups that they run in. */
import { type HmmError, invalid } from "../error.ts";
import { show } from "../given.ts";

/** Invocations: so many, or so many in x, y and z. */
export type Count = number | readonly [x: number, y?: number, z?: number];

type Size = readonly [x: number, y: number, z: number];

const COUNT_MAX = 2 ** 32 - 1;
/** What every WebGPU device can do. */
const GROUP_MAX: Size = [256, 256, 64];
const GROUP_TOTAL = 256;
const AXES = ["x", "y", "z"] as const;

const isWhole = (value: unknown, most: number): boolean =>
  typeof value === "number" && Number.isInteger(value) && value > 0 && value <= most;

/** Throws EINVAL for what is no number of invocations. */
function checkCount(call: string, count: number): void {
  if (isWhole(count, COUNT_MAX)) return;
  throw invalid(call, `count must be an integer in 1..${COUNT_MAX}, got ${show(count)}`);
}

/** What runs as a whole, in x, y and z: invocations, or groups of `group` invocations. */
export function gridOf(call: string, count: Count, group: Size = [1, 1, 1]): Size {
  if (!Array.isArray(count)) checkCount(call, count as number);
  if (Array.isArray(count) && (count.length < 1 || count.length > 3)) throw badCount(call, count);
  const size = sizeOf(count);
  const [x, y, z] = size;
  if (!size.every((each) => isWhole(each, COUNT_MAX)) || x * y * z > COUNT_MAX) {
    throw badCount(call, count);
  }
  const odd = AXES.findIndex((_, k) => size[k]! % group[k]! !== 0);
  if (odd >= 0) {
    const rule = `a multiple of workgroupSize, ${group[odd]} in ${AXES[odd]}`;
    throw invalid(call, `count must be ${rule}, got ${show(count)}`);
  }
  return [x / group[0], y / group[1], z / group[2]];
}

const sizeOf = (count: Count): Size =>
  typeof count === "number" ? [count, 1, 1] : [count[0], count[1] ?? 1, count[2] ?? 1];

function badCount(call: string, count: Count): HmmError {
  const rule = `one or up to three integers whose product is in 1..${COUNT_MAX}`;
  return invalid(call, `count must be ${rule}, got ${show(count)}`);
}

/** `workgroupSize` of a kernel. */
export function groupOf(given: unknown): Size | undefined {
  if (given === undefined) return undefined;
  const [x, y = 1, z = 1] = Array.isArray(given) ? (given as unknown[]) : [given];
  const size = [x, y, z];
  if (size.every((each, k) => isWhole(each, GROUP_MAX[k]!))) {
    const sides = size as unknown as Size;
    if (sides[0] * sides[1] * sides[2] <= GROUP_TOTAL) return sides;
  }
  const rule = `an integer or [x, y, z], at most ${GROUP_MAX.join(", ")} and ${GROUP_TOTAL} in all`;
  throw invalid("kernel", `workgroupSize must be ${rule}, got ${show(given)}`);
}
