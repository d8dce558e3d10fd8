/**
 * Where the picture is taken from: three quarters from the front, a little above, and exactly as
 * far away as lets the whole mesh fill the frame.
 */

type Vec3 = readonly [number, number, number];

/** A pixel at (x, y), both -1 to 1, y up, sees along `forward + x * right + y * up`. */
export interface View {
  readonly eye: Vec3;
  readonly forward: Vec3;
  readonly right: Vec3;
  readonly up: Vec3;
  /** Towards the light. */
  readonly light: Vec3;
  /** The height of the plane on which the mesh stands. */
  readonly ground: number;
}

const BACK: Vec3 = [-0.38, 0.3, 1];
const LIGHT: Vec3 = [-0.55, 0.95, 0.6];
/** Half the angle that the picture spans, as its tangent. */
const FIELD = 0.3;
/** How much of the frame the mesh takes. */
const FILL = 0.9;

/** `positions`: x, y, z of every vertex. */
export function frame(positions: Float32Array): View {
  const forward = scale(normalize(BACK), -1);
  const right = normalize(cross(forward, [0, 1, 0]));
  const up = cross(right, forward);
  const across = eyeFor(positions, right, forward);
  const upward = eyeFor(positions, up, forward);
  // The one that needs to be farther away decides; the other has room on both sides.
  const back = Math.min(across.forward, upward.forward);
  const eye = [0, 1, 2].map(
    (k) => across.aside * right[k]! + upward.aside * up[k]! + back * forward[k]!,
  );
  return {
    eye: eye as unknown as Vec3,
    forward,
    right: scale(right, FIELD),
    up: scale(up, FIELD),
    light: normalize(LIGHT),
    ground: lowest(positions),
  };
}

/**
 * Where an eye must be for all points to lie just between two planes through it, to both sides of
 * `forward`. A point at `aside`, `ahead` asks |aside - eye.aside| <= slope (ahead - eye.forward):
 * the two strictest of these, one for each side, give the eye.
 */
function eyeFor(positions: Float32Array, side: Vec3, forward: Vec3) {
  const slope = FIELD * FILL;
  let most = Number.NEGATIVE_INFINITY;
  let least = Number.NEGATIVE_INFINITY;
  for (let i = 0; i < positions.length; i += 3) {
    const x = positions[i]!;
    const y = positions[i + 1]!;
    const z = positions[i + 2]!;
    const aside = x * side[0] + y * side[1] + z * side[2];
    const ahead = slope * (x * forward[0] + y * forward[1] + z * forward[2]);
    if (aside - ahead > most) most = aside - ahead;
    if (-aside - ahead > least) least = -aside - ahead;
  }
  return { aside: (most - least) / 2, forward: -(most + least) / (2 * slope) };
}

function lowest(positions: Float32Array): number {
  let height = Number.POSITIVE_INFINITY;
  for (let i = 1; i < positions.length; i += 3) height = Math.min(height, positions[i]!);
  return height;
}

const scale = (a: Vec3, factor: number): Vec3 => [a[0] * factor, a[1] * factor, a[2] * factor];
const normalize = (a: Vec3): Vec3 => scale(a, 1 / Math.hypot(...a));
const cross = (a: Vec3, b: Vec3): Vec3 => [
  a[1] * b[2] - a[2] * b[1],
  a[2] * b[0] - a[0] * b[2],
  a[0] * b[1] - a[1] * b[0],
];
