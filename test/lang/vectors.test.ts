/** Vectors and arrays of a kernel's own: what they compute, here and on the device. */
import { afterAll, beforeAll, describe, expect, expectTypeOf, it } from "vitest";
import {
  array,
  f32,
  type KernelVector,
  Machine,
  ptr,
  struct,
  u32,
  vec2f,
  vec3f,
  vec3i,
  vec3u,
  vec4f,
} from "../../src/machine/index.ts";
import { whyNoDevice } from "../driver/webgpu-machine.ts";

const Ball = struct("Ball", { center: vec3f, radius: f32, spin: vec2f, tags: vec3u, steps: vec3i });

let machine: Machine;

beforeAll(async () => {
  const device = (await whyNoDevice()) === undefined ? "auto" : "none";
  machine = await Machine.create({ cpu: "scoped", device });
});

afterAll(() => machine.close());

/** One ball and 64 floats; what a kernel makes of them, by both ways. */
async function both(
  make: (machine: Machine) => ReturnType<typeof kernelOf>,
): Promise<{ readonly here: readonly unknown[]; readonly there: readonly unknown[] }> {
  const { space } = machine;
  const runs: unknown[][] = [];
  for (const way of ["runHere", "run"] as const) {
    const balls = space.array(Ball, 1);
    balls.at(0).assign({ center: [1, 2, 2], radius: 0.5, spin: [3, 4] });
    balls.at(0).assign({ tags: [7, 8, 9], steps: [-7, 8, 0] });
    const out = space.array(f32, 64);
    out.fill(0);
    const kernel = make(machine);
    if (machine.report.device === undefined) kernel.runHere(1, { balls, out });
    else await kernel[way](1, { balls, out });
    await space.populate(balls, "read");
    await space.populate(out, "read");
    runs.push([out.toArray(), balls.at(0).toObject()]);
  }
  return { here: runs[0]!, there: runs[1]! };
}

const ARGS = { balls: ptr(Ball), out: ptr(f32) } as const;
const kernelOf = (where: Machine) => where.kernel(ARGS, () => {});

/** So many floats, the same in both ways. */
async function floats(count: number, make: Parameters<typeof both>[0]): Promise<number[]> {
  const { here, there } = await both(make);
  const [a, b] = [here[0], there[0]] as [number[], number[]];
  for (const [k, value] of a.entries()) expect(b[k]).toBeCloseTo(value, 5);
  return a.slice(0, count);
}

describe("vectors", () => {
  it("are made, read and computed with, as methods", async () => {
    const result = await floats(20, (where) =>
      where.kernel(ARGS, (i, { balls, out }) => {
        const ball = balls[i];
        const sum = ball.center
          .add(vec3f(0.5, 1, 2))
          .sub(1)
          .mul(2);
        out[0] = sum.x;
        out[1] = sum.y;
        out[2] = sum.z;
        out[3] = ball.center.length();
        out[4] = ball.center.normalize().x * 3;
        out[5] = ball.center.dot(vec3f(1, 10, 100));
        const cross = vec3f(1, 0, 0).cross(vec3f(0, 1, 0));
        out[6] = cross.z;
        out[7] = ball.center.distance(vec3f(1, 2, 5));
        out[8] = vec4f(ball.center, ball.radius).w + vec4f(ball.spin, vec2f(9)).z;
        const turned = ball.spin.neg().abs().max(3.5).min(vec2f(3.75, 9));
        out[9] = turned.x;
        out[10] = turned.y;
        out[11] = vec3f(1, -1, 0).reflect(vec3f(0, 1, 0)).y;
        out[12] = ball.center.mix(vec3f(3), 0.5).y;
        out[13] = ball.center.div(vec3f(2, 4, 8)).fract().x;
        out[14] = ball.center.mod(1.5).y;
        const { radius, center: middle } = ball;
        const { x, z: depth } = middle.add(radius);
        out[15] = x + depth;
      }),
    );
    expect(result.slice(0, 16)).toEqual([
      1, 4, 6, 3, 1, 221, 1, 3, 9.5, 3.5, 4, 1, 2.5, 0.5, 0.5, 4,
    ]);
  });

  it("have the same as functions of the toolkit, of numbers as well", async () => {
    const last = await floats(12, (where) =>
      where.kernel(ARGS, (i, { balls, out }, tools) => {
        out[0] = tools.add(tools.dot(vec2f(1, 2), vec2f(3, 4)), tools.mul(2, tools.clamp(9, 0, 4)));
        out[1] = tools.mix(1, 3, 0.25) + tools.step(2, 3) + tools.smoothstep(0, 2, 1);
        out[2] = tools.length(balls[i].center) + tools.distance(1, 4) + tools.fract(1.75);
        out[3] = tools.min(balls[i].center, 1.5).z + tools.neg(2) + tools.sqrt(vec2f(4, 9)).y;
        out[4] = tools.step(vec2f(0.5, 2), vec2f(1, 1)).x + tools.pow(2, 3);
      }),
    );
    expect(last.slice(0, 5)).toEqual([19, 3, 6.75, 2.5, 9]);
  });

  it("of integers wrap, and divide to integers", async () => {
    const result = await floats(16, (where) =>
      where.kernel(ARGS, (i, { balls, out }) => {
        const tags = balls[i].tags.mul(vec3u(3, 2, 1)).sub(2);
        const steps = balls[i].steps
          .div(vec3i(2, 0, 3))
          .add(balls[i].steps.mod(4))
          .abs();
        out[0] = tags.x;
        out[1] = tags.dot(vec3u(1, 2, 3));
        out[2] = steps.x;
        out[3] = steps.y;
        out[4] = vec3f(balls[i].steps).x + vec3f(tags).y;
        out[5] = vec3u(1, 2, 3).div(vec3u(0, 1, 2)).z + u32(vec3i(-5).neg().clamp(-1, 4).x);
        out[6] = vec3u(7).mod(vec3u(0, 4, 5)).x;
      }),
    );
    expect(result.slice(0, 7)).toEqual([19, 68, 6, 0, 7, 5, 0]);
  });

  it("are stored whole and by component, chosen, kept and passed on", async () => {
    const far = (a: KernelVector<"vec3f">, b: KernelVector<"vec3f">) => {
      if (a.dot(a) > b.dot(b)) return a;
      return b.mul(0.5);
    };
    const { here, there } = await both((where) =>
      where.kernel(
        ARGS,
        (i, { balls, out }) => {
          let at = vec3f(0);
          for (let k = 0; k < 3; k++) {
            const next = k === 1 ? balls[i].center : at.add(1);
            at = far(next, at);
          }
          balls[i].center = at;
          balls[i].spin.y += 2;
          balls[i].tags.z = balls[i].tags.x;
          out[i] = at.x;
        },
        { uses: { far } },
      ),
    );
    expect(here).toEqual(there);
    expect(here[1]).toMatchObject({ center: [2, 3, 3], spin: [3, 6], tags: [7, 8, 7] });
  });

  it("have types", () => {
    const typed = (where: Machine) =>
      where.kernel({ points: ptr(vec3f), n: u32 }, (i, { points }, { dot, mix, vec2u }) => {
        expectTypeOf(points[i]).toEqualTypeOf<KernelVector<"vec3f">>();
        expectTypeOf(points[i].add(1).cross(points[0]).z).toBeNumber();
        expectTypeOf(mix(points[i], points[0], 0.5)).toEqualTypeOf<KernelVector<"vec3f">>();
        expectTypeOf(mix(1, 2, 0.5)).toBeNumber();
        expectTypeOf(vec2u(1, 2)).toEqualTypeOf<KernelVector<"vec2u">>();
        points[i] = vec3f(1, 2, 3);
        points[i].x = 5;
        // @ts-expect-error A vector of 2 has no z.
        points[i].x = vec2u(1).z;
        // @ts-expect-error Vectors of other kinds do not mix.
        points[i].add(vec2u(1));
        // @ts-expect-error It takes two.
        dot(points[i]);
      });
    expect(typed).toBeTypeOf("function");
    expect(() => vec3f(1)).toThrow(/vec3f: vectors are made in kernels; here one is \[x, y, z\]/);
  });
});

describe("arrays of a kernel's own", () => {
  it("are zero at first, indexed, counted, and each invocation's", async () => {
    const { space } = machine;
    const out = space.array(u32, 12);
    const kernel = machine.kernel(
      { out: ptr(u32) },
      (i, { out }) => {
        const stack = new Uint32Array(SIZE * 2);
        let top = 0;
        stack[top] = i + 1;
        top++;
        let sum = 0;
        while (top > 0) {
          top--;
          const value = stack[top];
          sum += value;
          if (value > 1) {
            stack[top] = value >>> 1;
            stack[top + 1] = (value - 1) >>> 1;
            top += 2;
          }
        }
        for (let k = 0; k < 2; k++) {
          const weights = new Float32Array(4);
          weights[1] += 0.5;
          weights[1] *= 4;
          sum += u32(weights[1] + weights[k + 2]);
        }
        out[i] = sum + stack.length;
      },
      { uses: { SIZE: 8 } },
    );
    out.fill(0);
    kernel.runHere(12, { out });
    const here = out.toArray();
    expect(here.slice(0, 4)).toEqual([21, 23, 25, 28]);
    if (machine.report.device === undefined) return;
    out.fill(0);
    await kernel.run(12, { out });
    await space.populate(out, "read");
    expect(out.toArray()).toEqual(here);
  });

  it("say here which index is outside", () => {
    const out = machine.space.array(u32, 2);
    out.fill(9);
    const kernel = machine.kernel({ out: ptr(u32) }, (i, { out }) => {
      const own = new Int32Array(4);
      own[out[i]] = 1;
    });
    expect(() => kernel.runHere(1, { out })).toThrow(
      /runHere: index 9 is outside of an array of 4 of the kernel's own .*invocation 0/,
    );
    expect(array(u32, 2).length).toBe(2);
  });
});

const SIZE = 8;
