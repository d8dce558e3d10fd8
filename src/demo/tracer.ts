/**
 * The ray tracing kernel: one invocation is one pixel. It walks the tree by address; every load
 * goes through the device page table.
 */
import { f32, ptr, struct, u32, vec3f } from "../machine/index.ts";

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

/** The nearest triangle so far: its distance, address and barycentric coordinates. */
var<private> hitT: f32;
var<private> hitTriangle: u32;
var<private> hitUv: vec2f;
var<private> stack: array<u32, 48>;

/** Distance at which the ray enters the box, or FAR. */
fn enter(low: vec3f, high: vec3f, origin: vec3f, inverse: vec3f) -> f32 {
  let a = (low - origin) * inverse;
  let b = (high - origin) * inverse;
  let near = min(a, b);
  let far = max(a, b);
  let t0 = max(max(near.x, near.y), max(near.z, 0.0));
  let t1 = min(min(far.x, far.y), min(far.z, hitT));
  return select(FAR, t0, t0 <= t1);
}

/** Moeller and Trumbore. */
fn intersect(address: u32, origin: vec3f, direction: vec3f) {
  let corners = load_mat3x4f(address);
  let corner = corners[0].xyz;
  let e1 = corners[1].xyz - corner;
  let e2 = corners[2].xyz - corner;
  let p = cross(direction, e2);
  let scale = 1.0 / dot(e1, p);
  let s = origin - corner;
  let u = dot(s, p) * scale;
  let q = cross(s, e1);
  let v = dot(direction, q) * scale;
  let t = dot(e2, q) * scale;
  if (u >= 0.0 && v >= 0.0 && u + v <= 1.0 && t > 1e-6 && t < hitT) {
    hitT = t;
    hitTriangle = address;
    hitUv = vec2f(u, v);
  }
}

/** Finds the nearest triangle; when \`anyHit\`, just some triangle. */
fn trace(origin: vec3f, direction: vec3f, anyHit: bool) {
  let inverse = 1.0 / select(direction, vec3f(1e-12), abs(direction) < vec3f(1e-12));
  hitT = FAR;
  hitTriangle = 0u;
  var depth = 0u;
  var part = args.root;
  loop {
    let count = part & 15u;
    var next = 0u;
    if (count == 0u) {
      let boxes = load_mat4x4f(part);
      let left = enter(boxes[0].xyz, boxes[1].xyz, origin, inverse);
      let right = enter(boxes[2].xyz, boxes[3].xyz, origin, inverse);
      let leftPart = bitcast<u32>(boxes[0].w);
      let rightPart = bitcast<u32>(boxes[2].w);
      let isLeftFirst = left <= right;
      if (max(left, right) < hitT && depth < 48u) {
        stack[depth] = select(leftPart, rightPart, isLeftFirst);
        depth++;
      }
      if (min(left, right) < hitT) { next = select(rightPart, leftPart, isLeftFirst); }
    } else {
      let first = part & ~15u;
      for (var k = 0u; k < count; k++) { intersect(first + 48u * k, origin, direction); }
      if (anyHit && hitTriangle != 0u) { return; }
    }
    if (next == 0u) {
      if (depth == 0u) { return; }
      depth--;
      next = stack[depth];
    }
    part = next;
  }
}

fn hitNormal() -> vec3f {
  let a = load_vec3f(args.normals + 16u * load_u32(hitTriangle + 12u));
  let b = load_vec3f(args.normals + 16u * load_u32(hitTriangle + 28u));
  let c = load_vec3f(args.normals + 16u * load_u32(hitTriangle + 44u));
  return normalize(a * (1.0 - hitUv.x - hitUv.y) + b * hitUv.x + c * hitUv.y);
}

fn sky(direction: vec3f) -> vec3f {
  let height = pow(clamp(direction.y * 1.2 + 0.15, 0.0, 1.0), 0.7);
  return mix(vec3f(0.93, 0.94, 0.97), vec3f(0.38, 0.52, 0.72), height);
}

/** Two rays by one piece of code: from the eye, then from what it met towards the light. */
fn shade(eye: vec3f, direction: vec3f) -> vec3f {
  let light = Camera_light(args.camera);
  let ground = Camera_ground(args.camera);
  var point = eye;
  var ray = direction;
  var normal = vec3f(0.0, 1.0, 0.0);
  var color = vec3f(0.40, 0.36, 0.32);
  var gloss = 0.0;
  var haze = 0.0;
  var direct = 0.0;
  for (var bounce = 0u; bounce < 2u; bounce++) {
    trace(point, ray, bounce == 1u);
    if (bounce == 1u) {
      if (hitTriangle != 0u) { direct = 0.0; }
      break;
    }
    let toGround = select(FAR, (ground - eye.y) / direction.y, direction.y < -1e-4);
    if (hitTriangle == 0u && toGround >= FAR) { return sky(direction); }
    point = eye + direction * min(hitT, toGround);
    if (hitT < toGround) {
      normal = hitNormal();
      if (dot(normal, direction) > 0.0) { normal = -normal; }
      color = vec3f(0.18, 0.52, 0.34);
      gloss = 0.55;
    } else {
      haze = clamp(length(point.xz - eye.xz) * 0.9 - 0.45, 0.0, 1.0);
    }
    point += normal * 1e-4;
    ray = light;
    direct = max(dot(normal, light), 0.0);
    if (direct == 0.0) { break; }
  }
  let ambient = mix(vec3f(0.20, 0.18, 0.17), vec3f(0.42, 0.48, 0.58), normal.y * 0.5 + 0.5);
  var shine = 0.0;
  let halfway = normalize(light - direction);
  if (direct > 0.0) { shine = gloss * pow(max(dot(normal, halfway), 0.0), 48.0); }
  let rim = gloss * 0.35 * pow(1.0 - max(dot(normal, -direction), 0.0), 4.0);
  let matte = color * (ambient + vec3f(1.9, 1.8, 1.6) * direct);
  return mix(matte + vec3f(1.2) * shine + sky(normal) * rim, sky(direction), haze);
}

/** The pixel of an invocation: tiles of 8 x 8, in them blocks of 2 x 2: neighbours together. */
fn pixelOf(i: u32) -> vec2u {
  let tiles = (args.size + 7u) / 8u;
  let tile = vec2u((i / 64u) % tiles, (i / 64u) / tiles);
  let k = i % 64u;
  let x = (k & 1u) | ((k >> 1u) & 2u) | ((k >> 2u) & 4u);
  let y = ((k >> 1u) & 1u) | ((k >> 2u) & 2u) | ((k >> 3u) & 4u);
  return tile * 8u + vec2u(x, y);
}

fn main(i: u32) {
  let pixel = pixelOf(i);
  if (any(pixel >= vec2u(args.size))) { return; }
  let x = (f32(pixel.x) + 0.5) / f32(args.size) * 2.0 - 1.0;
  let y = 1.0 - (f32(pixel.y) + 0.5) / f32(args.size) * 2.0;
  let camera = args.camera;
  let across = x * Camera_right(camera) + y * Camera_up(camera);
  let direction = normalize(Camera_forward(camera) + across);
  let linear = shade(Camera_eye(camera), direction);
  let mapped = linear / (1.0 + linear * 0.35);
  let color = pow(clamp(mapped, vec3f(0.0), vec3f(1.0)), vec3f(1.0 / 2.2));
  let place = args.image + 4u * (pixel.y * args.size + pixel.x);
  store_u32(place, pack4x8unorm(vec4f(color, 1.0)));
}
`;
