import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { replayable } from "../../test/replay/replay.ts";
import { buildBvh, NODE_BYTES, TRIANGLE_BYTES } from "./bvh.ts";
import type { Mesh } from "./ply.ts";
import { type Ray, trace } from "./reference.ts";

/** A megabyte to build in, with gaps between the blocks. */
class TestMemory {
  readonly u32: Uint32Array;
  readonly f32: Float32Array;
  readonly blocks: { readonly address: number; readonly bytes: number }[] = [];
  // Starts where addresses need the sign bit, were they int32.
  #next = 0x10000;

  constructor(bytes = 2 ** 20) {
    const buffer = new ArrayBuffer(bytes);
    this.u32 = new Uint32Array(buffer);
    this.f32 = new Float32Array(buffer);
  }

  malloc(bytes: number, align = 8): number {
    const address = Math.ceil(this.#next / align) * align;
    this.#next = address + bytes + 48;
    this.blocks.push({ address, bytes });
    return address;
  }

  need(address: number, bytes: number): void {
    expect(this.blocks).toContainEqual({ address, bytes });
  }
}

const coordinate = fc.double({ noNaN: true, min: -10, max: 10 }).map(Math.fround);
const point = fc.tuple(coordinate, coordinate, coordinate);
/** Some are small and spread, some large and in each other's way, some flat or twice the same. */
const meshes: fc.Arbitrary<Mesh> = fc
  .array(fc.tuple(point, point, point, fc.constantFrom(0, 0.05, 1)), {
    minLength: 1,
    maxLength: 80,
  })
  .map((triangles) => ({
    positions: Float32Array.from(
      triangles.flatMap(([a, b, c, size]) => [
        ...a,
        ...a.map((x, k) => x + size * b[k]!),
        ...a.map((x, k) => x + size * c[k]!),
      ]),
    ),
    triangles: Uint32Array.from({ length: triangles.length * 3 }, (_, k) => k),
  }));

interface Box {
  readonly min: readonly number[];
  readonly max: readonly number[];
}

/** All triangles below a part, as "a,b,c" of their vertices; checks every box on the way. */
function collect(memory: TestMemory, part: number, box: Box): string[] {
  const count = part & 15;
  const address = part - count;
  if (count === 0) {
    expect(memory.blocks).toContainEqual({ address, bytes: NODE_BYTES });
    return [0, 32].flatMap((side) => {
      const at = (address + side) / 4;
      const child = {
        min: [...memory.f32.slice(at, at + 3)],
        max: [...memory.f32.slice(at + 4, at + 7)],
      };
      for (let k = 0; k < 3; k++) {
        expect(child.min[k]).toBeGreaterThanOrEqual(box.min[k]!);
        expect(child.max[k]).toBeLessThanOrEqual(box.max[k]!);
      }
      return collect(memory, memory.u32[at + 3]!, child);
    });
  }
  expect(memory.blocks).toContainEqual({ address, bytes: count * TRIANGLE_BYTES });
  return Array.from({ length: count }, (_, index) => {
    const at = (address + index * TRIANGLE_BYTES) / 4;
    for (let corner = 0; corner < 3; corner++) {
      for (let k = 0; k < 3; k++) {
        expect(memory.f32[at + 4 * corner + k]).toBeGreaterThanOrEqual(box.min[k]!);
        expect(memory.f32[at + 4 * corner + k]).toBeLessThanOrEqual(box.max[k]!);
      }
    }
    return [3, 7, 11].map((word) => memory.u32[at + word]).join();
  });
}

const triangleNames = (mesh: Mesh): string[] =>
  Array.from({ length: mesh.triangles.length / 3 }, (_, k) =>
    mesh.triangles.slice(3 * k, 3 * k + 3).join(),
  );

describe("the tree of a mesh", () => {
  it("holds every triangle, each below boxes that contain it, linked by addresses of blocks", () => {
    fc.assert(
      fc.property(meshes, (mesh) => {
        const memory = new TestMemory();
        const bvh = buildBvh(memory, mesh);
        const found = collect(memory, bvh.root, bvh).sort();
        // A tree of one leaf has it on both sides: the kernel begins at a node.
        const isOneLeaf = bvh.nodes === 1 && found.length === 2 * (mesh.triangles.length / 3);
        expect(isOneLeaf ? [...new Set(found)] : found).toEqual(triangleNames(mesh).sort());
        expect(bvh.bytes).toBe(memory.blocks.reduce((sum, { bytes }) => sum + bytes, 0));
      }),
      replayable("bvh-boxes", { numRuns: 60 }),
    );
  });

  it("gives a ray the triangle that a search through all of them gives", () => {
    const ray: fc.Arbitrary<Ray> = fc
      .record({ origin: point, direction: point })
      .filter(({ direction }) => Math.hypot(...direction) > 0.1);
    fc.assert(
      fc.property(meshes, fc.array(ray, { minLength: 1, maxLength: 8 }), (mesh, rays) => {
        const memory = new TestMemory();
        const bvh = buildBvh(memory, mesh);
        const everything = { ...memory, ...listOf(mesh) };
        for (const each of rays) {
          expect(trace(memory, bvh.root, each)).toBe(trace(everything, everything.root, each));
        }
      }),
      replayable("bvh-rays", { numRuns: 60 }),
    );
  });

  it("ends for triangles that no cut can part", () => {
    const mesh = {
      positions: Float32Array.of(0, 0, 0, 1, 0, 0, 0, 1, 0),
      triangles: Uint32Array.from({ length: 3 * 100 }, (_, k) => k % 3),
    };
    const memory = new TestMemory();
    const bvh = buildBvh(memory, mesh);
    expect(collect(memory, bvh.root, bvh)).toHaveLength(100);
  });
});

/** The same triangles with no tree: a chain of nodes whose boxes are the whole of space. */
function listOf(mesh: Mesh): {
  readonly root: number;
  readonly u32: Uint32Array;
  readonly f32: Float32Array;
} {
  const memory = new TestMemory();
  let root = 0;
  for (let first = 0; first < mesh.triangles.length; first += 3) {
    const triangle = memory.malloc(TRIANGLE_BYTES, 16);
    for (let corner = 0; corner < 3; corner++) {
      const vertex = mesh.triangles[first + corner]!;
      memory.f32.set(
        mesh.positions.subarray(3 * vertex, 3 * vertex + 3),
        triangle / 4 + 4 * corner,
      );
    }
    const node = memory.malloc(NODE_BYTES, 16);
    const rest = root === 0 ? triangle + 1 : root;
    for (const [side, part] of [triangle + 1, rest].entries()) {
      memory.f32.fill(-1e6, node / 4 + 8 * side, node / 4 + 8 * side + 3);
      memory.f32.fill(1e6, node / 4 + 8 * side + 4, node / 4 + 8 * side + 7);
      memory.u32[node / 4 + 8 * side + 3] = part;
    }
    root = node;
  }
  return { root, u32: memory.u32, f32: memory.f32 };
}
