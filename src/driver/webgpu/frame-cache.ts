/**
 * What each frame of device memory holds, and which came first. Columns by frame index; the
 * frames in use form one list, oldest first, which is the order of eviction.
 */
import { assert, type Vpn } from "../../base/index.ts";

export const FRAME_FREE = 0;
/** A read-only copy of a page that lives in RAM; the driver holds the frame. */
export const FRAME_COPY = 1;
/** The page itself: device-private; the page table holds the frame. */
export const FRAME_PRIVATE = 2;

const NONE = -1;

export class FrameCache {
  // index -> FRAME_
  readonly kind: Uint8Array;
  // index -> Vpn whose page it holds
  readonly page: Int32Array;
  // index -> when it came, counting arrivals
  readonly born: Float64Array;
  // index -> the next younger, the next older
  readonly #younger: Int32Array;
  readonly #older: Int32Array;
  #oldest = NONE;
  #youngest = NONE;
  #arrivals = 0;
  #copies = 0;
  #privates = 0;

  constructor(frames: number) {
    this.kind = new Uint8Array(frames);
    this.page = new Int32Array(frames);
    this.born = new Float64Array(frames);
    this.#younger = new Int32Array(frames).fill(NONE);
    this.#older = new Int32Array(frames).fill(NONE);
  }

  /** Frames that came so far; a frame with `born` above an earlier value came after it. */
  get arrivals(): number {
    return this.#arrivals;
  }

  get copyCount(): number {
    return this.#copies;
  }

  get privateCount(): number {
    return this.#privates;
  }

  add(frame: number, page: Vpn, kind: typeof FRAME_COPY | typeof FRAME_PRIVATE): void {
    assert(this.kind[frame] === FRAME_FREE, () => `device frame ${frame} is in use`);
    this.kind[frame] = kind;
    this.page[frame] = page;
    this.born[frame] = ++this.#arrivals;
    this.#count(kind, 1);
    this.#older[frame] = this.#youngest;
    this.#younger[frame] = NONE;
    if (this.#youngest === NONE) this.#oldest = frame;
    else this.#younger[this.#youngest] = frame;
    this.#youngest = frame;
  }

  /** The frame is free again. Nothing happens when it was. */
  remove(frame: number): void {
    const kind = this.kind[frame]!;
    if (kind === FRAME_FREE) return;
    this.#count(kind, -1);
    this.kind[frame] = FRAME_FREE;
    const older = this.#older[frame]!;
    const younger = this.#younger[frame]!;
    if (older === NONE) this.#oldest = younger;
    else this.#younger[older] = younger;
    if (younger === NONE) this.#youngest = older;
    else this.#older[younger] = older;
  }

  /** A copy becomes the page itself: the same bytes, another owner. */
  promote(frame: number): void {
    assert(this.kind[frame] === FRAME_COPY, () => `device frame ${frame} holds no copy`);
    this.#count(FRAME_COPY, -1);
    this.kind[frame] = FRAME_PRIVATE;
    this.#count(FRAME_PRIVATE, 1);
  }

  /** The frame that has been here longest, or -1. */
  get oldest(): number {
    return this.#oldest;
  }

  /** The next one after `frame` in order of arrival, or -1. */
  after(frame: number): number {
    return this.#younger[frame]!;
  }

  #count(kind: number, change: 1 | -1): void {
    if (kind === FRAME_COPY) this.#copies += change;
    else this.#privates += change;
  }
}
