/** Dense work: saxpy over resident arrays, against the same kernel over raw buffers. */
import { f32, Machine, ptr } from "../src/machine/index.ts";
import { alternate, type Row } from "./ratio.ts";
import { rawKernel } from "./raw-kernel.ts";

const COUNT = 2 ** 21;

export async function benchDense(): Promise<Row[]> {
  await using machine = await Machine.create({ cpu: "scoped", deviceMemory: 128 * 2 ** 20 });
  const { space } = machine;
  const x = space.array(f32, COUNT);
  const y = space.array(f32, COUNT);
  const xs = Float32Array.from({ length: COUNT }, (_, i) => (i % 1000) / 8);
  const ys = Float32Array.from({ length: COUNT }, (_, i) => (i % 77) / 4);
  {
    await using a = await space.access(x, "write");
    await using b = await space.access(y, "write");
    a.f32.set(xs);
    b.f32.set(ys);
  }
  const ours = machine.kernel({
    name: "saxpy",
    args: { x: ptr(f32), y: ptr(f32), a: f32 },
    code: `fn main(i: u32) {
      let at = args.y + 4u * i;
      store_f32(at, args.a * load_f32(args.x + 4u * i) + load_f32(at));
    }`,
  });
  const peer = await rawKernel(
    [xs, ys],
    "fn main(i: u32) { buffer1[i] = 0.5 * buffer0[i] + buffer1[i]; }",
  );
  const { ratios, oursMs, peerMs } = await alternate(
    () => ours.run(COUNT, { x, y, a: 0.5 }),
    () => peer.run(COUNT),
  );
  const expected = await peer.read(1);
  await using result = await space.access(y, "read");
  for (let i = 0; i < COUNT; i++) {
    if (result.u32[i] !== expected[i]) throw new Error(`saxpy: element ${i} differs`);
  }
  return [
    {
      name: "dense: saxpy, 2M elements, resident",
      versus: "the same kernel with raw buffers",
      ratios,
      note: `${oursMs.toFixed(1)} ms against ${peerMs.toFixed(1)} ms, results equal`,
    },
  ];
}
