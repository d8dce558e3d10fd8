/**
 * The tracer's walk in TypeScript, slow and plain: what the tests hold the kernel and the builder
 * against. Reads the same nodes at the same addresses (their layout: `bvh.ts`).
 */

export interface Ray {
  readonly origin: readonly [number, number, number];
  readonly direction: readonly [number, number, number];
}

export interface TreeMemory {
  readonly u32: Uint32Array;
  readonly f32: Float32Array;
}

const TRIANGLE_WORDS = 12;
/** Boxes are tested a little larger than they are: rounding must not lose a triangle. */
const SLACK = 1e-4;

/** How far along the ray the nearest triangle is; infinity when there is none. */
export function trace(memory: TreeMemory, root: number, ray: Ray): number {
  let nearest = Number.POSITIVE_INFINITY;
  const parts = [root];
  for (let part = parts.pop(); part !== undefined; part = parts.pop()) {
    const count = part & 15;
    const at = (part - count) / 4;
    for (let k = 0; k < count; k++) {
      nearest = Math.min(nearest, meet(memory.f32, at + TRIANGLE_WORDS * k, ray));
    }
    if (count > 0) continue;
    for (const side of [at, at + 8]) {
      if (enters(memory.f32, side, ray)) parts.push(memory.u32[side + 3]!);
    }
  }
  return nearest;
}

/** Whether the line of the ray, from its origin on, meets the box at word `at`. */
function enters(f32: Float32Array, at: number, { origin, direction }: Ray): boolean {
  let from = 0;
  let to = Number.POSITIVE_INFINITY;
  for (let axis = 0; axis < 3; axis++) {
    const low = f32[at + axis]! - SLACK - origin[axis]!;
    const high = f32[at + 4 + axis]! + SLACK - origin[axis]!;
    if (direction[axis] === 0) {
      if (low > 0 || high < 0) return false;
      continue;
    }
    const a = low / direction[axis]!;
    const b = high / direction[axis]!;
    from = Math.max(from, Math.min(a, b));
    to = Math.min(to, Math.max(a, b));
  }
  return from <= to;
}

/** Moeller and Trumbore, as in the kernel. */
function meet(f32: Float32Array, at: number, { origin, direction }: Ray): number {
  const corner = (k: number): Vec3 => [
    f32[at + 4 * k]!,
    f32[at + 4 * k + 1]!,
    f32[at + 4 * k + 2]!,
  ];
  const first = corner(0);
  const e1 = minus(corner(1), first);
  const e2 = minus(corner(2), first);
  const p = cross(direction, e2);
  const determinant = dot(e1, p);
  if (determinant === 0) return Number.POSITIVE_INFINITY;
  const s = minus(origin, first);
  const q = cross(s, e1);
  const u = dot(s, p) / determinant;
  const v = dot(direction, q) / determinant;
  const t = dot(e2, q) / determinant;
  return u >= 0 && v >= 0 && u + v <= 1 && t > 1e-6 ? t : Number.POSITIVE_INFINITY;
}

type Vec3 = readonly [number, number, number];

const minus = (a: Vec3, b: Vec3): Vec3 => [a[0] - b[0], a[1] - b[1], a[2] - b[2]];
const dot = (a: Vec3, b: Vec3): number => a[0] * b[0] + a[1] * b[1] + a[2] * b[2];
const cross = (a: Vec3, b: Vec3): Vec3 => [
  a[1] * b[2] - a[2] * b[1],
  a[2] * b[0] - a[0] * b[2],
  a[0] * b[1] - a[1] * b[0],
];
