/**
 * The main job: from a tree that TypeScript has built to the picture, against the same kernel
 * written by hand for WebGPU over one buffer into which everything is uploaded. Cold is all of
 * that; warm is the launch alone, with everything on the device.
 */
import { loadMesh } from "../src/demo/command.ts";
import {
  buildScene,
  invocationsOf,
  newTracer,
  readPicture,
  type Scene,
  type SceneMemory,
  traceScene,
} from "../src/demo/render.ts";
import { Camera, TRACER } from "../src/demo/tracer.ts";
import { openAdapter } from "../src/driver/webgpu/adapter.ts";
import { accessorsOf } from "../src/machine/accessors.ts";
import { Machine, u32 } from "../src/machine/index.ts";
import { median, type Row } from "./ratio.ts";

const SIZE = 512;
const COLD_ROUNDS = 3;
const WARM_ROUNDS = 3;

interface Round {
  readonly coldMs: number;
  readonly warmMs: readonly number[];
  readonly pixels: Uint32Array;
}

export async function benchDragon(): Promise<Row[]> {
  const mesh = loadMesh();
  const ours: Round[] = [];
  const peer: Round[] = [];
  for (let round = 0; round < COLD_ROUNDS; round++) {
    await using machine = await Machine.create({ deviceMemory: 256 * 2 ** 20 });
    const extent = { low: Number.POSITIVE_INFINITY, high: 0 };
    const scene = buildScene(recording(machine, extent), mesh);
    const bytes = new Uint8Array(machine.space.window).slice(extent.low, extent.high);
    peer.push(await runPeer(bytes, extent.low, scene));
    ours.push(await runOurs(machine, scene));
    comparePixels(ours[round]!.pixels, peer[round]!.pixels);
  }
  const cold = ours.map(({ coldMs }, i) => coldMs / peer[i]!.coldMs);
  const warm = ours.flatMap((round, i) => round.warmMs.map((ms, k) => ms / peer[i]!.warmMs[k]!));
  const noteOf = (pick: (round: Round) => readonly number[]): string => {
    const [a, b] = [ours, peer].map((rounds) => median(rounds.flatMap(pick)).toFixed(0));
    return `${a} ms against ${b} ms, pixels equal`;
  };
  return [
    {
      name: `dragon: ${SIZE} pixels, from a built tree to the picture`,
      versus: "one raw buffer: upload, compile, run, read",
      ratios: cold,
      note: noteOf(({ coldMs }) => [coldMs]),
    },
    {
      name: `dragon: ${SIZE} pixels, all on the device`,
      versus: "the same run over one raw buffer",
      ratios: warm,
      note: noteOf(({ warmMs }) => warmMs),
    },
  ];
}

/** The space, which notes in `extent` where the scene lies. */
function recording({ space }: Machine, extent: { low: number; high: number }): SceneMemory {
  const note = (address: number, bytes: number): void => {
    extent.low = Math.min(extent.low, address & ~0xffff);
    extent.high = Math.max(extent.high, Math.ceil((address + bytes) / 16) * 16);
  };
  const malloc = (bytes: number, align?: number): number => {
    const address = space.malloc(bytes, align);
    note(address, bytes);
    return address;
  };
  const alloc: SceneMemory["alloc"] = (schema) => {
    const view = space.alloc(schema);
    note((view as { readonly address: number }).address, schema.size);
    return view;
  };
  const need = (address: number, bytes: number, write: boolean): void =>
    space.need(address, bytes, write);
  const { f32, u32: words, window } = space;
  return { alloc, f32, malloc, need, u32: words, window };
}

async function runOurs(machine: Machine, scene: Scene): Promise<Round> {
  const begin = performance.now();
  const image = machine.space.array(u32, SIZE * SIZE);
  const tracer = newTracer(machine);
  await traceScene(tracer, scene, { image, size: SIZE });
  const picture = await readPicture(machine, image);
  const pixels = new Uint32Array(picture.buffer, picture.byteOffset, SIZE * SIZE).slice();
  const coldMs = performance.now() - begin;
  // The picture that was read goes back to the device first.
  const run = () => traceScene(tracer, scene, { image, size: SIZE });
  await run();
  return { coldMs, warmMs: await repeat(run), pixels };
}

async function repeat(run: () => Promise<unknown>): Promise<number[]> {
  const times: number[] = [];
  for (let k = 0; k < WARM_ROUNDS; k++) {
    const begin = performance.now();
    await run();
    times.push(performance.now() - begin);
  }
  return times;
}

async function runPeer(scene: Uint8Array, low: number, at: Scene): Promise<Round> {
  const imageAt = scene.byteLength;
  const size = imageAt + SIZE * SIZE * 4;
  const { adapter } = await openAdapter("auto");
  const limits = { maxStorageBufferBindingSize: size, maxBufferSize: Math.max(size, 2 ** 28) };
  const device = await adapter.requestDevice({ requiredLimits: limits });
  const begin = performance.now();
  const { COPY_DST, COPY_SRC, MAP_READ, STORAGE, UNIFORM } = GPUBufferUsage;
  const buffer = device.createBuffer({ size, usage: STORAGE | COPY_SRC | COPY_DST });
  device.queue.writeBuffer(buffer, 0, scene.buffer, 0, scene.byteLength);
  const uniform = device.createBuffer({ size: 32, usage: UNIFORM | COPY_DST });
  const args = [at.camera, at.bvh.root, at.normals, low + imageAt, SIZE, 0, 0, 0];
  device.queue.writeBuffer(uniform, 0, Uint32Array.from(args));
  const module = device.createShaderModule({ code: peerShader(low) });
  const compute = { module, entryPoint: "entry" };
  const pipeline = await device.createComputePipelineAsync({ layout: "auto", compute });
  const bindGroup = device.createBindGroup({
    layout: pipeline.getBindGroupLayout(0),
    entries: [buffer, uniform].map((each, binding) => ({ binding, resource: { buffer: each } })),
  });
  const submit = (finish: (encoder: GPUCommandEncoder) => void): void => {
    const encoder = device.createCommandEncoder();
    const pass = encoder.beginComputePass();
    pass.setPipeline(pipeline);
    pass.setBindGroup(0, bindGroup);
    pass.dispatchWorkgroups(invocationsOf(SIZE) / 64);
    pass.end();
    finish(encoder);
    device.queue.submit([encoder.finish()]);
  };
  const back = device.createBuffer({ size: SIZE * SIZE * 4, usage: MAP_READ | COPY_DST });
  submit((encoder) => encoder.copyBufferToBuffer(buffer, imageAt, back, 0, back.size));
  await back.mapAsync(GPUMapMode.READ);
  const pixels = new Uint32Array(back.getMappedRange().slice(0));
  const coldMs = performance.now() - begin;
  const warmMs = await repeat(() => {
    submit(() => {});
    return device.queue.onSubmittedWorkDone();
  });
  device.destroy();
  return { coldMs, warmMs, pixels };
}

/** The kernel as it is, its helpers as one writes them over a single buffer. */
function peerShader(low: number): string {
  const words = (count: number, from = 0): string =>
    Array.from({ length: count }, (_, k) => `raw[o + ${from + k}u]`).join(", ");
  const matrix = (columns: number): string => {
    const column = (k: number): string => `bitcast<vec4f>(vec4u(${words(4, 4 * k)}))`;
    const all = Array.from({ length: columns }, (_, k) => column(k)).join(", ");
    return load(`mat${columns}x4f`, `mat${columns}x4f(${all})`);
  };
  const load = (type: string, value: string): string =>
    `fn load_${type}(a: u32) -> ${type} { let o = (a - ${low}u) >> 2u; return ${value}; }`;
  return `@group(0) @binding(0) var<storage, read_write> raw: array<u32>;
struct Args { camera: u32, root: u32, normals: u32, image: u32, size: u32 }
@group(0) @binding(1) var<uniform> args: Args;
${load("u32", "raw[o]")}
${load("f32", "bitcast<f32>(raw[o])")}
${load("vec3f", `bitcast<vec3f>(vec3u(${words(3)}))`)}
${matrix(3)}
${matrix(4)}
fn store_u32(a: u32, value: u32) { raw[(a - ${low}u) >> 2u] = value; }
${accessorsOf([Camera])
  .split("\n")
  .filter((line) => !line.startsWith("fn set_"))
  .join("\n")}
${TRACER}
@compute @workgroup_size(64)
fn entry(@builtin(workgroup_id) g: vec3u, @builtin(local_invocation_index) l: u32) {
  main(g.x * 64u + l);
}`;
}

function comparePixels(ours: Uint32Array, peer: Uint32Array): void {
  let differ = 0;
  for (let i = 0; i < ours.length; i++) if (ours[i] !== peer[i]) differ++;
  if (differ > 0) throw new Error(`dragon: ${differ} of ${ours.length} pixels differ`);
}
