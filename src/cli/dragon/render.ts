/**
 * The main job: mesh, tree, picture. TypeScript builds in shared memory, the GPU walks what was
 * built by address, TypeScript reads the picture where the GPU left it. No copy code anywhere.
 */
import { type LaunchReport, type Machine, u32 } from "../../machine/index.ts";
import { type Bvh, buildBvh } from "./bvh.ts";
import type { Mesh } from "./ply.ts";
import { Camera, TRACER, tracerArgs } from "./tracer.ts";

export interface Rendered {
  /** RGBA, row by row from the top. */
  readonly pixels: Uint8Array;
  readonly bvh: Bvh;
  /** Bytes of the whole structure: nodes, triangles, normals. */
  readonly structureBytes: number;
  readonly launch: LaunchReport;
  readonly milliseconds: {
    readonly build: number;
    readonly render: number;
    readonly read: number;
  };
}

export interface RenderOptions {
  readonly size: number;
  readonly onProgress?: (text: string) => void;
}

type Vec3 = readonly [number, number, number];

export async function renderMesh(
  machine: Machine,
  mesh: Mesh,
  options: RenderOptions,
): Promise<Rendered> {
  const { space } = machine;
  const { size, onProgress } = options;
  onProgress?.("building the tree");
  const t0 = performance.now();
  const bvh = buildBvh(space, mesh);
  const normals = await writeNormals(machine, mesh);
  const camera = writeCamera(machine, bvh);
  const t1 = performance.now();
  const image = space.array(u32, size * size);
  const tracer = machine.kernel({
    name: "tracer",
    args: tracerArgs,
    structs: [Camera],
    code: TRACER,
  });
  // Tiles of 8 x 8 pixels, the last ones perhaps not full.
  const launch = await tracer.run(
    Math.ceil(size / 8) ** 2 * 64,
    { camera, root: bvh.root, normals, image, size },
    {
      onProgress: ({ done, count, rounds, faults }) => {
        const percent = Math.floor((100 * done) / count);
        onProgress?.(`rendering: ${percent} %, round ${rounds}, ${faults} page faults of the GPU`);
      },
    },
  );
  const t2 = performance.now();
  onProgress?.("reading the picture");
  await using result = await space.access(image, "read");
  const pixels = result.bytes.slice();
  const t3 = performance.now();
  return {
    pixels,
    bvh,
    structureBytes: bvh.bytes + (mesh.positions.length / 3) * 16,
    launch,
    milliseconds: { build: t1 - t0, render: t2 - t1, read: t3 - t2 },
  };
}

/** Smooth normals, weighted by area: x, y, z and one word to spare for each vertex. */
async function writeNormals(machine: Machine, mesh: Mesh): Promise<number> {
  const { positions, triangles } = mesh;
  const bytes = (positions.length / 3) * 16;
  const address = machine.space.malloc(bytes, 16);
  await using memory = await machine.space.access({ start: address, bytes }, "write");
  const normals = memory.f32;
  normals.fill(0);
  for (let i = 0; i < triangles.length; i += 3) {
    const [a, b, c] = [triangles[i]!, triangles[i + 1]!, triangles[i + 2]!];
    const normal = cross(edge(positions, a, b), edge(positions, a, c));
    for (const vertex of [a, b, c]) {
      for (let axis = 0; axis < 3; axis++) {
        const at = 4 * vertex + axis;
        normals[at] = normals[at]! + normal[axis]!;
      }
    }
  }
  return address;
}

const edge = (positions: Float32Array, from: number, to: number): Vec3 => [
  positions[3 * to]! - positions[3 * from]!,
  positions[3 * to + 1]! - positions[3 * from + 1]!,
  positions[3 * to + 2]! - positions[3 * from + 2]!,
];

/** Three quarters from the front, a little above, the dragon filling the frame. */
function writeCamera(machine: Machine, bvh: Bvh): number {
  const { min, max } = bvh;
  const center: Vec3 = [(min[0] + max[0]) / 2, (min[1] + max[1]) / 2, (min[2] + max[2]) / 2];
  const extent = Math.hypot(max[0] - min[0], max[1] - min[1], max[2] - min[2]);
  const back = normalize([-0.38, 0.3, 1]);
  const distance = extent * 1.55;
  const eye = add(center, scale(back, distance));
  const forward = scale(back, -1);
  const right = normalize(cross(forward, [0, 1, 0]));
  const up = cross(right, forward);
  const field = 0.3;
  const view = machine.space.alloc(Camera);
  view.eye.assign(eye);
  view.forward.assign(forward);
  view.right.assign(scale(right, field));
  view.up.assign(scale(up, field));
  view.light.assign(normalize([-0.55, 0.95, 0.6]));
  view.ground = min[1];
  return view.address;
}

const add = (a: Vec3, b: Vec3): Vec3 => [a[0] + b[0], a[1] + b[1], a[2] + b[2]];
const scale = (a: Vec3, factor: number): Vec3 => [a[0] * factor, a[1] * factor, a[2] * factor];
const normalize = (a: Vec3): Vec3 => scale(a, 1 / Math.hypot(...a));
const cross = (a: Vec3, b: Vec3): Vec3 => [
  a[1] * b[2] - a[2] * b[1],
  a[2] * b[0] - a[0] * b[2],
  a[0] * b[1] - a[1] * b[0],
];
