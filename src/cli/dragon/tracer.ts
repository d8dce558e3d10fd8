/**
 * The ray tracing kernel: one invocation is one pixel. It walks the tree by address; every load
 * goes through the device page table.
 */
import { f32, ptr, struct, u32, vec3f } from "../../machine/index.ts";

/** Where the rays begin and go; written by TypeScript, read by the kernel through its address. */
export const Camera = struct("Camera", {
  eye: vec3f,
  forward: vec3f,
  right: vec3f,
  up: vec3f,
  light: vec3f,
  ground: f32,
});

export const tracerArgs = {
  camera: ptr(Camera),
  root: ptr(u32),
  normals: ptr(u32),
  image: ptr(u32),
  size: u32,
} as const;

export const TRACER = `
const FAR = 1e30;

struct Hit { t: f32, triangle: u32, u: f32, v: f32 }

/** Distance at which the ray enters the box, or FAR. */
fn enter(low: vec3f, high: vec3f, origin: vec3f, inverse: vec3f, limit: f32) -> f32 {
  let a = (low - origin) * inverse;
  let b = (high - origin) * inverse;
  let near = min(a, b);
  let far = max(a, b);
  let t0 = max(max(near.x, near.y), max(near.z, 0.0));
  let t1 = min(min(far.x, far.y), min(far.z, limit));
  return select(FAR, t0, t0 <= t1);
}

/** Moeller and Trumbore. */
fn hitTriangle(address: u32, origin: vec3f, direction: vec3f, best: Hit) -> Hit {
  let corner = load_vec3f(address);
  let e1 = load_vec3f(address + 16u) - corner;
  let e2 = load_vec3f(address + 32u) - corner;
  let p = cross(direction, e2);
  let det = dot(e1, p);
  if (abs(det) < 1e-20) { return best; }
  let s = origin - corner;
  let u = dot(s, p) / det;
  let q = cross(s, e1);
  let v = dot(direction, q) / det;
  let t = dot(e2, q) / det;
  if (u < 0.0 || v < 0.0 || u + v > 1.0 || t <= 1e-6 || t >= best.t) { return best; }
  return Hit(t, address, u, v);
}

/** The nearest triangle before \`limit\`; any at all when \`anyHit\`. */
fn trace(origin: vec3f, direction: vec3f, limit: f32, anyHit: bool) -> Hit {
  let inverse = 1.0 / select(direction, vec3f(1e-12), abs(direction) < vec3f(1e-12));
  var best = Hit(limit, 0u, 0.0, 0.0);
  var stack: array<u32, 64>;
  var depth = 0u;
  var node = args.root;
  loop {
    if (node == 0u) { break; }
    let leftMin = load_vec4f(node);
    let leftMax = load_vec4f(node + 16u);
    let rightMin = load_vec4f(node + 32u);
    let rightMax = load_vec4f(node + 48u);
    var t = vec2f(
      enter(leftMin.xyz, leftMax.xyz, origin, inverse, best.t),
      enter(rightMin.xyz, rightMax.xyz, origin, inverse, best.t));
    var ref_ = vec2u(bitcast<u32>(leftMin.w), bitcast<u32>(rightMin.w));
    var count = vec2u(bitcast<u32>(leftMax.w), bitcast<u32>(rightMax.w));
    if (t.y < t.x) { t = t.yx; ref_ = ref_.yx; count = count.yx; }
    node = 0u;
    for (var side = 0u; side < 2u; side++) {
      if (t[side] >= best.t) { continue; }
      if (count[side] == 0u) {
        if (node == 0u) { node = ref_[side]; }
        else if (depth < 64u) { stack[depth] = ref_[side]; depth++; }
        continue;
      }
      for (var k = 0u; k < count[side]; k++) {
        best = hitTriangle(ref_[side] + 48u * k, origin, direction, best);
      }
      if (anyHit && best.triangle != 0u) { return best; }
    }
    if (node == 0u && depth > 0u) { depth--; node = stack[depth]; }
  }
  return best;
}

fn normalAt(hit: Hit) -> vec3f {
  let a = load_vec3f(args.normals + 16u * load_u32(hit.triangle + 12u));
  let b = load_vec3f(args.normals + 16u * load_u32(hit.triangle + 28u));
  let c = load_vec3f(args.normals + 16u * load_u32(hit.triangle + 44u));
  return normalize(a * (1.0 - hit.u - hit.v) + b * hit.u + c * hit.v);
}

fn sky(direction: vec3f) -> vec3f {
  return mix(vec3f(0.93, 0.94, 0.97), vec3f(0.38, 0.52, 0.72), pow(clamp(direction.y * 1.2 + 0.15, 0.0, 1.0), 0.7));
}

fn shade(origin: vec3f, direction: vec3f) -> vec3f {
  let light = Camera_light(args.camera);
  let ground = Camera_ground(args.camera);
  let hit = trace(origin, direction, FAR, false);
  let toGround = select(FAR, (ground - origin.y) / direction.y, direction.y < -1e-4);
  if (hit.triangle == 0u && toGround >= FAR) { return sky(direction); }
  var point = origin + direction * min(hit.t, toGround);
  var normal = vec3f(0.0, 1.0, 0.0);
  var color = vec3f(0.62, 0.60, 0.57);
  var gloss = 0.0;
  var haze = 0.0;
  if (hit.t < toGround) {
    normal = normalAt(hit);
    if (dot(normal, direction) > 0.0) { normal = -normal; }
    color = vec3f(0.18, 0.52, 0.34);
    gloss = 0.55;
  } else {
    haze = clamp(length(point.xz - origin.xz) * 1.1 - 0.28, 0.0, 1.0);
  }
  point += normal * 1e-4;
  var direct = max(dot(normal, light), 0.0);
  if (direct > 0.0) {
    let blocked = trace(point, light, FAR, true);
    if (blocked.triangle != 0u) { direct = 0.0; }
  }
  let ambient = mix(vec3f(0.20, 0.18, 0.17), vec3f(0.42, 0.48, 0.58), normal.y * 0.5 + 0.5);
  var shine = 0.0;
  if (direct > 0.0) { shine = gloss * pow(max(dot(normal, normalize(light - direction)), 0.0), 48.0); }
  let rim = gloss * 0.35 * pow(1.0 - max(dot(normal, -direction), 0.0), 4.0);
  let lit = color * (ambient + vec3f(1.9, 1.8, 1.6) * direct) + vec3f(1.2) * shine + sky(normal) * rim;
  return mix(lit, sky(direction), haze);
}

fn main(i: u32) {
  let x = (f32(i % args.size) + 0.5) / f32(args.size) * 2.0 - 1.0;
  let y = 1.0 - (f32(i / args.size) + 0.5) / f32(args.size) * 2.0;
  let camera = args.camera;
  let direction = normalize(Camera_forward(camera) + x * Camera_right(camera) + y * Camera_up(camera));
  let linear = shade(Camera_eye(camera), direction);
  let mapped = linear / (1.0 + linear * 0.35);
  let color = pow(clamp(mapped, vec3f(0.0), vec3f(1.0)), vec3f(1.0 / 2.2));
  store_u32(args.image + 4u * i, pack4x8unorm(vec4f(color, 1.0)));
}
`;
