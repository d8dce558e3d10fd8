/**
 * The peer: the same kernel written by hand for WebGPU, with buffers of its own and explicit
 * offsets, on the same kind of adapter.
 */
import { openAdapter } from "../src/driver/webgpu/adapter.ts";

/** Bytes that `answer` can show. */
const SHOWN_MAX = 2 ** 16;

export interface RawKernel {
  /** Submits `count` invocations and waits for them; the code finds `param` in `given.y`. */
  run(count: number, param?: number): Promise<void>;
  /** The same, and shows the first `bytes` bytes of the first buffer when it has ended. */
  answer(count: number, bytes: number): Promise<void>;
  read(buffer: number): Promise<Uint32Array>;
}

/**
 * `code` is the WGSL of `fn main(i: u32)` over `buffer0`, `buffer1` … (arrays of u32 or f32).
 * `onReady` hears how long uploading and compiling took, without opening the device.
 */
export async function rawKernel(
  buffers: readonly (Uint32Array | Float32Array)[],
  code: string,
  onReady?: (milliseconds: number) => void,
): Promise<RawKernel> {
  const { adapter } = await openAdapter("auto");
  const bytes = Math.max(...buffers.map((each) => each.byteLength), 128 * 2 ** 20);
  const device = await adapter.requestDevice({
    requiredLimits: {
      maxStorageBufferBindingSize: Math.min(bytes, adapter.limits.maxStorageBufferBindingSize),
      maxBufferSize: Math.min(Math.max(bytes, 256 * 2 ** 20), adapter.limits.maxBufferSize),
    },
  });
  const begin = performance.now();
  const gpuBuffers = buffers.map((data) => upload(device, data));
  const uniform = device.createBuffer({
    size: 16,
    usage: GPUBufferUsage.UNIFORM | GPUBufferUsage.COPY_DST,
  });
  const declarations = buffers
    .map(
      (data, k) =>
        `@group(0) @binding(${k}) var<storage, read_write> buffer${k}: ` +
        `array<${data instanceof Float32Array ? "f32" : "u32"}>;`,
    )
    .join("\n");
  const module = device.createShaderModule({
    code: `${declarations}
@group(0) @binding(${buffers.length}) var<uniform> given: vec4u;
${code}
@compute @workgroup_size(64)
fn entry(@builtin(workgroup_id) g: vec3u, @builtin(num_workgroups) n: vec3u,
         @builtin(local_invocation_index) l: u32) {
  let i = (g.y * n.x + g.x) * 64u + l;
  if (i < given.x) { main(i); }
}`,
  });
  const pipeline = await device.createComputePipelineAsync({
    layout: "auto",
    compute: { module, entryPoint: "entry" },
  });
  const bindGroup = device.createBindGroup({
    layout: pipeline.getBindGroupLayout(0),
    entries: [...gpuBuffers, uniform].map((buffer, binding) => ({ binding, resource: { buffer } })),
  });
  onReady?.(performance.now() - begin);
  const shown = device.createBuffer({
    size: SHOWN_MAX,
    usage: GPUBufferUsage.MAP_READ | GPUBufferUsage.COPY_DST,
  });
  const encode = (count: number, param: number): GPUCommandEncoder => {
    device.queue.writeBuffer(uniform, 0, Uint32Array.of(count, param, 0, 0));
    const encoder = device.createCommandEncoder();
    const pass = encoder.beginComputePass();
    pass.setPipeline(pipeline);
    pass.setBindGroup(0, bindGroup);
    const groups = Math.ceil(count / 64);
    const width = Math.min(groups, 65_535);
    pass.dispatchWorkgroups(width, Math.ceil(groups / width));
    pass.end();
    return encoder;
  };
  return {
    async run(count, param = 0) {
      device.queue.submit([encode(count, param).finish()]);
      await device.queue.onSubmittedWorkDone();
    },
    async answer(count, bytes) {
      const encoder = encode(count, 0);
      encoder.copyBufferToBuffer(gpuBuffers[0]!, 0, shown, 0, bytes);
      device.queue.submit([encoder.finish()]);
      await shown.mapAsync(GPUMapMode.READ, 0, bytes);
      shown.getMappedRange(0, bytes);
      shown.unmap();
    },
    async read(index) {
      const source = gpuBuffers[index]!;
      const target = device.createBuffer({
        size: source.size,
        usage: GPUBufferUsage.MAP_READ | GPUBufferUsage.COPY_DST,
      });
      const encoder = device.createCommandEncoder();
      encoder.copyBufferToBuffer(source, 0, target, 0, source.size);
      device.queue.submit([encoder.finish()]);
      await target.mapAsync(GPUMapMode.READ);
      const words = new Uint32Array(target.getMappedRange().slice(0));
      target.destroy();
      return words;
    },
  };
}

function upload(device: GPUDevice, data: Uint32Array | Float32Array): GPUBuffer {
  const { STORAGE, COPY_SRC, COPY_DST } = GPUBufferUsage;
  const usage = STORAGE | COPY_SRC | COPY_DST;
  const buffer = device.createBuffer({ size: data.byteLength, usage, mappedAtCreation: true });
  new Uint8Array(buffer.getMappedRange()).set(
    new Uint8Array(data.buffer, data.byteOffset, data.byteLength),
  );
  buffer.unmap();
  return buffer;
}
