/**
 * What each frame of a device's memory holds, and which came first. Columns by frame index; the
 * frames in use form one list, oldest first, which is the order of eviction. Where a page of the
 * program is mapped is not known here: `fork` and `mremap` would make it wrong. A copy is another
 * thing: one table has it, at one page.
 */
import { assert, type Pfn, pfn, type Vpn, vpn } from "../base/index.ts";
import type { Shared } from "../sync/index.ts";
import type { DeviceShadow } from "./device-shadow.ts";

export const FRAME_FREE = 0;
/** A read-only copy of a page that lives in RAM; the device holds the frame. */
export const FRAME_COPY = 1;
/** The page itself; the page table holds the frame. */
export const FRAME_PAGE = 2;

const NONE = -1;

/** Whose copy a frame holds. */
export interface CopyOf {
  readonly shadow: DeviceShadow;
  readonly page: Vpn;
  readonly source: Pfn;
}

export class FrameList {
  // index -> FRAME_
  readonly #kind: Uint8Array;
  // index -> when it came, counting arrivals
  readonly #born: Float64Array;
  // index -> until when CPUs leave the page to the device
  readonly #expiryMs: Float64Array;
  // index of a copy -> shadow, page, RAM frame
  readonly #shadow: (DeviceShadow | undefined)[];
  readonly #page: Int32Array;
  readonly #source: Int32Array;
  // index -> the next younger, the next older
  readonly #younger: Int32Array;
  readonly #older: Int32Array;
  readonly #shared: Shared;
  #oldest = NONE;
  #youngest = NONE;
  #arrivals = 0;
  // index -> 1 for a copy that stayed when the page went home
  readonly #isKept: Uint8Array;
  #copies = 0;
  #kept = 0;
  #pages = 0;

  constructor(frames: number, shared: Shared) {
    this.#shared = shared;
    this.#kind = new Uint8Array(frames);
    this.#isKept = new Uint8Array(frames);
    this.#born = new Float64Array(frames);
    this.#expiryMs = new Float64Array(frames);
    this.#shadow = new Array(frames).fill(undefined);
    this.#page = new Int32Array(frames);
    this.#source = new Int32Array(frames);
    this.#younger = new Int32Array(frames).fill(NONE);
    this.#older = new Int32Array(frames).fill(NONE);
  }

  /** Frames that came so far; one with `bornAt` above an earlier value came after it. */
  get arrivals(): number {
    this.#shared.read();
    return this.#arrivals;
  }

  get copyCount(): number {
    this.#shared.read();
    return this.#copies;
  }

  /** Copies that stayed when their pages went home. */
  get keptCount(): number {
    this.#shared.read();
    return this.#kept;
  }

  get pageCount(): number {
    this.#shared.read();
    return this.#pages;
  }

  /** `FRAME_…` */
  kindOf(index: number): number {
    this.#shared.read();
    return this.#kind[index]!;
  }

  bornAt(index: number): number {
    return this.#born[index]!;
  }

  expiryMs(index: number): number {
    this.#shared.read();
    return this.#expiryMs[index]!;
  }

  setExpiry(index: number, expiryMs: number): void {
    this.#shared.write();
    this.#expiryMs[index] = expiryMs;
  }

  copyOf(index: number): CopyOf {
    this.#assertKind(index, FRAME_COPY);
    const source = pfn(this.#source[index]!);
    return { shadow: this.#shadow[index]!, page: vpn(this.#page[index]!), source };
  }

  addCopy(index: number, { shadow, page, source }: CopyOf): void {
    this.#add(index, FRAME_COPY);
    this.#copies++;
    this.#shadow[index] = shadow;
    this.#page[index] = page;
    this.#source[index] = source;
  }

  addPage(index: number): void {
    this.#add(index, FRAME_PAGE);
    this.#pages++;
  }

  /** The frame is free again. Nothing happens when it was. */
  remove(index: number): void {
    this.#shared.write();
    const kind = this.#kind[index]!;
    if (kind === FRAME_FREE) return;
    if (kind === FRAME_COPY) this.#copyEnds(index);
    else this.#pages--;
    this.#kind[index] = FRAME_FREE;
    this.#shadow[index] = undefined;
    const older = this.#older[index]!;
    const younger = this.#younger[index]!;
    if (older === NONE) this.#oldest = younger;
    else this.#younger[older] = younger;
    if (younger === NONE) this.#youngest = older;
    else this.#older[younger] = older;
  }

  /** A copy becomes the page itself: the same bytes, another owner. */
  promote(index: number): void {
    this.#assertKind(index, FRAME_COPY);
    this.#shared.write();
    this.#kind[index] = FRAME_PAGE;
    this.#shadow[index] = undefined;
    this.#copyEnds(index);
    this.#pages++;
  }

  /** The page itself has gone home, and its bytes stay as a copy; as old as it was. */
  demote(index: number, { shadow, page, source }: CopyOf): void {
    this.#assertKind(index, FRAME_PAGE);
    this.#shared.write();
    this.#kind[index] = FRAME_COPY;
    this.#shadow[index] = shadow;
    this.#page[index] = page;
    this.#source[index] = source;
    this.#expiryMs[index] = Number.NEGATIVE_INFINITY;
    this.#isKept[index] = 1;
    this.#copies++;
    this.#kept++;
    this.#pages--;
  }

  /** The frames in use, oldest first. What is visited may be removed. */
  *oldestFirst(): Generator<number, void, void> {
    this.#shared.read();
    for (let index = this.#oldest; index !== NONE; ) {
      const next = this.#younger[index]!;
      yield index;
      index = next;
    }
  }

  #copyEnds(index: number): void {
    this.#copies--;
    this.#kept -= this.#isKept[index]!;
    this.#isKept[index] = 0;
  }

  #add(index: number, kind: number): void {
    assert(this.#kind[index] === FRAME_FREE, () => `device frame ${index} is in use`);
    this.#shared.write();
    this.#kind[index] = kind;
    this.#born[index] = ++this.#arrivals;
    this.#expiryMs[index] = Number.NEGATIVE_INFINITY;
    this.#older[index] = this.#youngest;
    this.#younger[index] = NONE;
    if (this.#youngest === NONE) this.#oldest = index;
    else this.#younger[this.#youngest] = index;
    this.#youngest = index;
  }

  #assertKind(index: number, kind: number): void {
    this.#shared.read();
    assert(this.#kind[index] === kind, () => `device frame ${index} holds something else`);
  }
}
