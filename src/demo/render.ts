/**
 * The main job: mesh, tree, picture. TypeScript builds in shared memory, the GPU walks what was
 * built by address, TypeScript reads the picture where the GPU left it. No copy code anywhere,
 * and no access brackets: where the CPU has page faults every touch just works.
 */
import {
  type ArrayView,
  type LaunchReport,
  type Machine,
  type Space,
  u32,
} from "../machine/index.ts";
import { type Bvh, buildBvh } from "./bvh.ts";
import { frame } from "./camera.ts";
import type { Mesh } from "./ply.ts";
import { Camera, TRACER, tracerArgs } from "./tracer.ts";

export interface Rendered {
  /** RGBA, row by row from the top: the GPU's output itself, while the machine is open. */
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

export async function renderMesh(
  machine: Machine,
  mesh: Mesh,
  options: RenderOptions,
): Promise<Rendered> {
  const { size, onProgress } = options;
  onProgress?.("building the tree");
  const t0 = performance.now();
  const scene = buildScene(machine.space, mesh);
  const t1 = performance.now();
  const image = machine.space.array(u32, size * size);
  const launch = await traceScene(newTracer(machine), scene, { ...options, image });
  const t2 = performance.now();
  onProgress?.("reading the picture");
  const pixels = await readPicture(machine, image);
  const t3 = performance.now();
  return {
    pixels,
    bvh: scene.bvh,
    structureBytes: scene.bytes,
    launch,
    milliseconds: { build: t1 - t0, render: t2 - t1, read: t3 - t2 },
  };
}

/** A word of RGBA a pixel. */
export type Picture = ArrayView<typeof u32>;

export type SceneMemory = Pick<Space, "alloc" | "f32" | "malloc" | "need" | "u32" | "window">;

/** What the kernel walks, each part by its address. */
export interface Scene {
  readonly bvh: Bvh;
  readonly normals: number;
  readonly camera: number;
  /** Of nodes, triangles and normals. */
  readonly bytes: number;
}

export function buildScene(memory: SceneMemory, mesh: Mesh): Scene {
  const bvh = buildBvh(memory, mesh);
  const normals = writeNormals(memory, mesh);
  const camera = writeCamera(memory, mesh);
  return { bvh, normals, camera, bytes: bvh.bytes + (mesh.positions.length / 3) * 16 };
}

export const newTracer = (machine: Machine) =>
  machine.kernel({ name: "tracer", args: tracerArgs, structs: [Camera], code: TRACER });

/** One launch for the whole picture. */
export function traceScene(
  tracer: ReturnType<typeof newTracer>,
  { camera, bvh, normals }: Scene,
  { image, size, onProgress }: RenderOptions & { readonly image: Picture },
): Promise<LaunchReport> {
  return tracer.run(
    invocationsOf(size),
    { camera, root: bvh.root, normals, image, size },
    {
      onProgress: ({ done, count, rounds, faults }) => {
        const percent = Math.floor((100 * done) / count);
        onProgress?.(`rendering: ${percent} %, round ${rounds}, ${faults} page faults of the GPU`);
      },
    },
  );
}

/** Tiles of 8 x 8 pixels, the last ones perhaps not full. */
export const invocationsOf = (size: number): number => Math.ceil(size / 8) ** 2 * 64;

/** The GPU's output itself, while the machine is open. */
export async function readPicture(
  { space, hasPageFaults }: Machine,
  image: Picture,
): Promise<Uint8Array> {
  // Portable JavaScript has no page faults: there somebody has to ask for what the GPU wrote.
  if (!hasPageFaults) await space.populate(image, "read");
  return new Uint8Array(space.window, image.address, image.bytes);
}

/** Smooth normals, weighted by area: x, y, z and one word to spare for each vertex. */
function writeNormals(space: SceneMemory, mesh: Mesh): number {
  const { positions, triangles } = mesh;
  const bytes = (positions.length / 3) * 16;
  const address = space.malloc(bytes, 16);
  space.need(address, bytes, true);
  const normals = new Float32Array(space.window, address, bytes / 4);
  normals.fill(0);
  for (let i = 0; i < triangles.length; i += 3) addNormal(normals, mesh, i);
  return address;
}

/** The cross product of two edges is as long as the triangle is large: that is the weight. */
function addNormal(normals: Float32Array, { positions, triangles }: Mesh, first: number): void {
  const a = 3 * triangles[first]!;
  const b = 3 * triangles[first + 1]!;
  const c = 3 * triangles[first + 2]!;
  const ux = positions[b]! - positions[a]!;
  const uy = positions[b + 1]! - positions[a + 1]!;
  const uz = positions[b + 2]! - positions[a + 2]!;
  const vx = positions[c]! - positions[a]!;
  const vy = positions[c + 1]! - positions[a + 1]!;
  const vz = positions[c + 2]! - positions[a + 2]!;
  for (let corner = 0; corner < 3; corner++) {
    const at = 4 * triangles[first + corner]!;
    normals[at] = normals[at]! + (uy * vz - uz * vy);
    normals[at + 1] = normals[at + 1]! + (uz * vx - ux * vz);
    normals[at + 2] = normals[at + 2]! + (ux * vy - uy * vx);
  }
}

function writeCamera(space: SceneMemory, mesh: Mesh): number {
  const { eye, forward, right, up, light, ground } = frame(mesh.positions);
  const view = space.alloc(Camera);
  view.eye.assign(eye);
  view.forward.assign(forward);
  view.right.assign(right);
  view.up.assign(up);
  view.light.assign(light);
  view.ground = ground;
  return view.address;
}
