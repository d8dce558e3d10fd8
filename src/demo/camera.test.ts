import fc from "fast-check";
import { expect, it } from "vitest";
import { replayable } from "../../test/replay/replay.ts";
import { frame } from "./camera.ts";

const point = fc.tuple(
  ...([0, 1, 2] as const).map(() => fc.double({ noNaN: true, min: -3, max: 3 })),
);
const clouds = fc
  .array(point, { maxLength: 60 })
  .map((points) => Float32Array.from([...points.flat(), -1, -1, -1, 1, 1, 1]));

it("the frame holds the whole mesh, just so", () => {
  fc.assert(
    fc.property(clouds, (positions) => {
      const { eye, forward, right, up, ground } = frame(positions);
      const along = (axes: readonly number[], k: number): number =>
        axes.reduce((sum, axis, i) => sum + axis * (positions[k + i]! - eye[i]!), 0);
      // right and up are as long as half the picture is wide at a distance of one.
      const tan = Math.hypot(...right);
      const across: number[] = [];
      const upward: number[] = [];
      for (let k = 0; k < positions.length; k += 3) {
        expect(along(forward, k)).toBeGreaterThan(0);
        across.push(along(right, k) / (tan * tan) / along(forward, k));
        upward.push(along(up, k) / (tan * tan) / along(forward, k));
        expect(positions[k + 1]).toBeGreaterThanOrEqual(ground);
      }
      // One of the two directions is full to both edges, the other has not more than that.
      const edges = [across, upward].map((all) => [-Math.min(...all), Math.max(...all)]);
      expect(Math.max(...edges.flat())).toBeCloseTo(0.9, 4);
      expect(edges.some(([low, high]) => Math.abs(low! - high!) < 1e-4)).toBe(true);
    }),
    replayable("camera"),
  );
});
