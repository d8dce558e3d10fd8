/**
 * Where records of atomics are kept while the invocations that made them wait to run again
 * (`wgsl/atomics.ts`): chunks, handed out in order. They are given back all together, when nobody
 * waits. So as many run together as have room by what those before them took, and when room gets
 * scarce nobody new begins until all who wait have finished.
 */
import { assert } from "../../../base/index.ts";

/** As long as no kernel makes atomics. */
const NO_BYTES = 16;
const BYTES = 32 * 2 ** 20;

/** What a round is told of it. */
export interface RecordRoom {
  /** Chunks in use when it begins. */
  readonly used: number;
  /** Who has not ended gets none above; who ends does. */
  readonly limit: number;
}

export const NO_ROOM: RecordRoom = { used: 0, limit: 0 };

interface Chunk {
  readonly bytes: number;
  readonly records: number;
}

interface Group {
  readonly invocations: number;
  readonly chunks: number;
}

const ALONE: Group = { invocations: 1, chunks: 0 };

/** What a round has made of it. */
interface Taken {
  readonly chunks: number;
  readonly ran: number;
  /** Invocations that wait now. */
  readonly pending: number;
  /** Some found no room. */
  readonly isFull: boolean;
}

export class RecordBuffer {
  readonly #device: GPUDevice;
  readonly #chunk: Chunk;
  #buffer: GPUBuffer;
  #used = 0;
  // Chunks that an invocation, or a group, is expected to take, and that it may take at its end.
  #each = 1;
  #reserve = 2;
  #isShort = false;

  constructor(device: GPUDevice, chunk: Chunk) {
    this.#device = device;
    this.#chunk = chunk;
    this.#buffer = this.#newBuffer(NO_BYTES);
  }

  get buffer(): GPUBuffer {
    return this.#buffer;
  }

  get #capacity(): number {
    return Math.floor(BYTES / this.#chunk.bytes);
  }

  /**
   * A launch begins, whose invocations make so many atomics, by the look of its code. They run
   * alone, or in groups of so many, for which so many more chunks are needed.
   */
  begin(atomics: number, { invocations, chunks }: Group = ALONE): void {
    this.#used = 0;
    this.#each = Math.max(1, atomics / this.#chunk.records) * invocations;
    this.#reserve = 2 * invocations + chunks;
    this.#isShort = false;
  }

  /**
   * Invocations, or groups, that may run together. Each invocation may want one chunk more when it
   * ends, and may have asked for another in vain.
   */
  get width(): number {
    const left = this.#capacity - this.#used;
    const fitting = Math.floor(left / (this.#reserve + 2 * this.#each));
    return Math.max(Number(left > 2 * this.#reserve), fitting);
  }

  /** Only those who wait should run. */
  get isDraining(): boolean {
    return this.#isShort || this.#used > this.#capacity >>> 1;
  }

  /** For a round of so many. */
  roomFor(ran: number): RecordRoom {
    assert(ran <= this.width, "a round has room for the records of all");
    if (this.#buffer.size === NO_BYTES) {
      this.#buffer.destroy();
      this.#buffer = this.#newBuffer(BYTES);
    }
    return { used: this.#used, limit: this.#capacity - this.#reserve * ran };
  }

  finishRound({ chunks, ran, pending, isFull }: Taken): void {
    const each = isFull ? 4 * this.#each : Math.max(1, (2 * chunks) / ran);
    this.#each = Math.min(each, this.#capacity);
    this.#isShort = pending > 0 && (isFull || this.#isShort);
    this.#used = pending === 0 ? 0 : Math.min(this.#used + chunks, this.#capacity);
  }

  #newBuffer(size: number): GPUBuffer {
    const { COPY_SRC, STORAGE } = GPUBufferUsage;
    return this.#device.createBuffer({ label: "records", size, usage: STORAGE | COPY_SRC });
  }
}
