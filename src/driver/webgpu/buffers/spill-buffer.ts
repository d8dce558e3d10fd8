/**
 * Where the store logs are that are too large to be private to an invocation. All of a round
 * share it; between rounds it is zero, and kept, since the next launch may need it again.
 */

const ENTRY_BYTES = 8;
/** As long as nobody needs it. */
const NO_BYTES = 16;
const FIRST_BYTES = 4 * 2 ** 20;
const BYTES_MAX = 64 * 2 ** 20;
/**
 * Words that one invocation may have in its log: three quarters of the largest table that has
 * room beside the smaller ones that it grew from.
 */
export const LOG_WORDS_MAX = ((BYTES_MAX / ENTRY_BYTES / 2) * 3) / 4;

export class SpillBuffer {
  readonly #device: GPUDevice;
  #buffer: GPUBuffer;
  /** Entries that the last round took, or tried to. */
  used = 0;

  constructor(device: GPUDevice) {
    this.#device = device;
    this.#buffer = this.#newBuffer(NO_BYTES);
  }

  get buffer(): GPUBuffer {
    return this.#buffer;
  }

  /** Enqueues the clearing of what the last round has written. */
  clear(encoder: GPUCommandEncoder): void {
    if (this.used === 0) return;
    encoder.clearBuffer(this.#buffer, 0, Math.min(this.used * ENTRY_BYTES, this.#buffer.size));
    this.used = 0;
  }

  /** False when it is as large as it may be, or the device has no more memory. */
  async grow(): Promise<boolean> {
    const bytes = this.#buffer.size === NO_BYTES ? FIRST_BYTES : 4 * this.#buffer.size;
    if (bytes > BYTES_MAX) return false;
    this.#device.pushErrorScope("out-of-memory");
    const larger = this.#newBuffer(bytes);
    if ((await this.#device.popErrorScope()) !== null) return false;
    this.#buffer.destroy();
    this.#buffer = larger;
    this.used = 0;
    return true;
  }

  #newBuffer(size: number): GPUBuffer {
    const { COPY_DST, STORAGE } = GPUBufferUsage;
    return this.#device.createBuffer({ label: "spill", size, usage: STORAGE | COPY_DST });
  }
}
