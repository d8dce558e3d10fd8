/** Buffers that the CPU can read, kept and used again: making one costs more than a page. */

interface Mapped {
  readonly buffer: GPUBuffer;
  readonly bytes: number;
}

/** Kept at most, and how large one may be; the rest is destroyed after use. */
const KEPT_MAX = 8;
const KEPT_BYTES_MAX = 2 ** 23;
const BYTES_MIN = 16_384;

export class ReadbackPool {
  readonly #device: GPUDevice;
  readonly #free: Mapped[] = [];

  constructor(device: GPUDevice) {
    this.#device = device;
  }

  /**
   * Submits what `encode` records (it copies `bytes` bytes to the buffer that it is given) at
   * once, waits, and lets `take` look at them; it must not keep what it sees. Each range that is
   * looked at is something to be collected, as large as it is: who wants little should take little.
   */
  async read(
    bytes: number,
    encode: (encoder: GPUCommandEncoder, target: GPUBuffer, bytes: number) => void,
    take: (shown: (offset: number, bytes: number) => Uint8Array) => void,
  ): Promise<void> {
    const target = this.#take(bytes);
    const encoder = this.#device.createCommandEncoder();
    encode(encoder, target.buffer, bytes);
    this.#device.queue.submit([encoder.finish()]);
    let isWhole = false;
    try {
      await target.buffer.mapAsync(GPUMapMode.READ, 0, bytes);
      const { buffer } = target;
      take((offset, length) => new Uint8Array(buffer.getMappedRange(offset, length)));
      target.buffer.unmap();
      isWhole = true;
    } finally {
      const isKept = isWhole && target.bytes <= KEPT_BYTES_MAX && this.#free.length < KEPT_MAX;
      if (isKept) this.#free.push(target);
      else target.buffer.destroy();
    }
  }

  #take(bytes: number): Mapped {
    const at = this.#free.findIndex((each) => each.bytes >= bytes && each.bytes <= 4 * bytes);
    if (at >= 0) return this.#free.splice(at, 1)[0]!;
    let size = BYTES_MIN;
    while (size < bytes) size *= 2;
    const usage = GPUBufferUsage.MAP_READ | GPUBufferUsage.COPY_DST;
    return { buffer: this.#device.createBuffer({ label: "readback", size, usage }), bytes: size };
  }
}
