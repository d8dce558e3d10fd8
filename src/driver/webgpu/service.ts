/**
 * The fault service: from the faults of one round to entries in the device's table. A window
 * that is only read gets copies, by one hmm range a window; one that is written migrates. What
 * is entered was checked, under the lock, to be true still. Linux: a GPU driver's fault worker,
 * with drm_gpusvm's order of things.
 */
import {
  addrOf,
  assert,
  EBUSY,
  EFAULT,
  ENOMEM,
  EPERM,
  type Pfn,
  type Result,
  type Vpn,
  vpn,
  vpnOf,
} from "../../base/index.ts";
import {
  MIGRATE_VMA_SELECT_SYSTEM,
  newMigration,
  protectForCopies,
  runMigration,
} from "../../devmem/index.ts";
import {
  HMM_PFN_REQ_FAULT,
  HMM_PFN_REQ_WRITE,
  type HmmRange,
  hmmRangeFault,
} from "../../hmm/index.ts";
import { asPte, PTE_VALID, PTE_WRITE, ptePfn } from "../../mm/index.ts";
import type { Seq } from "../../notifier/index.ts";
import { PG_DUPLICATED, PG_EXCLUSIVE, ZERO_PFN } from "../../phys/index.ts";
import type { Sleeps } from "../../sync/index.ts";
import { eventId } from "../../trace/index.ts";
import { FRAME_COPY } from "./frame-cache.ts";
import { planWindows, type Refusal, type Window } from "./plan.ts";
import type { WebGpuDevice } from "./webgpu-device.ts";

const EVICT = eventId("svm:evict");

/** How often a window starts over because somebody changed it meanwhile. */
const COLLISIONS_MAX = 64;
/** How long a launch waits for a page that an open access bracket holds, in milliseconds. */
const HELD_TIMEOUT_MS = 1000;

/** Private to this file: a bracket of the CPU holds a page of the window. */
const HELD = 1;
/** Private to this file: look again, the world has changed. */
const AGAIN = 2;

export type ServiceResult =
  /** Entries were made: run again. */
  | { readonly kind: "served" }
  /** There is no room for what these invocations want at once. */
  | { readonly kind: "full" }
  | { readonly kind: "refused"; readonly refusal: Refusal };

export interface ServiceOptions {
  /** Pages that are served with each one that faulted: a power of two. */
  readonly around: number;
  /** Frames that came after this arrival belong to those who run: they are not evicted. */
  readonly keepAfter: number;
}

export class FaultService {
  readonly #device: WebGpuDevice;

  constructor(device: WebGpuDevice) {
    this.#device = device;
  }

  /** Serves the records (pairs of address and flags) of a round. The caller holds svmLock. */
  *serve(records: Uint32Array, options: ServiceOptions): Sleeps<ServiceResult> {
    this.#device.svmLock.assertHeld();
    const wide = yield* this.#serveAround(records, options, options.around);
    if (options.around === 1 || wide.kind === "served") return wide;
    // Neighbours are a hope, not a need: without them there may be room, and nobody in the way.
    return yield* this.#serveAround(records, options, 1);
  }

  *#serveAround(
    records: Uint32Array,
    options: ServiceOptions,
    around: number,
  ): Sleeps<ServiceResult> {
    const { space } = this.#device;
    let plan: Window[] | Refusal;
    {
      using _mmap = yield* space.mmapLock.acquireRead();
      // When memory is short only what is certain gets any of it.
      plan = planWindows(space, records, { around, guesses: around > 1 });
    }
    if (!Array.isArray(plan)) return { kind: "refused", refusal: plan };
    const need = this.#framesFor(plan);
    if (!(yield* this.#makeRoom(need, options.keepAfter))) return { kind: "full" };
    const deadlineMs = space.memory.scheduler.nowMs + (around === 1 ? HELD_TIMEOUT_MS : 0);
    const reads = plan.filter((window) => !window.write);
    const writes = plan.filter((window) => window.write);
    const copied = reads.length === 0 ? 0 : yield* this.#copyIn(reads, deadlineMs);
    if (copied !== 0) return this.#outcome(copied, reads);
    const moved = writes.length === 0 ? 0 : yield* this.#moveIn(writes, deadlineMs);
    return moved === 0 ? { kind: "served" } : this.#outcome(moved, writes);
  }

  #outcome(result: Result, windows: Window[]): ServiceResult {
    if (result === -ENOMEM) return { kind: "full" };
    const unserved = this.#firstUnserved(windows);
    const reason =
      result === -EBUSY || result === HELD
        ? "an open access bracket holds the page"
        : "the page cannot be had";
    const errno = result === HELD ? -EBUSY : result;
    return { kind: "refused", refusal: { ...unserved, result: errno, reason } };
  }

  #firstUnserved(windows: Window[]): Pick<Refusal, "address" | "write"> {
    for (const window of windows) {
      for (let i = 0; i < window.wanted.length; i++) {
        const write = window.wantedWrite[i]!;
        if (!this.#isServed(window.wanted[i]!, write)) {
          return { address: window.wantedAddress[i]!, write };
        }
      }
    }
    const first = windows[0]!;
    return { address: addrOf(first.start), write: first.write };
  }

  #isServed(page: Vpn, write: boolean): boolean {
    const need = PTE_VALID | (write ? PTE_WRITE : 0);
    return (this.#device.entryOf(page) & need) === need;
  }

  /** Frames that the windows may take at most. */
  #framesFor(windows: Window[]): number {
    let frames = 0;
    for (const { start, end } of windows) {
      for (let page = start; page < end; page = vpn(page + 1)) {
        if (this.#device.entryOf(page) === 0) frames++;
        else if (this.#isZero(page)) frames++;
      }
    }
    return frames;
  }

  #isZero(page: Vpn): boolean {
    return ptePfn(asPte(this.#device.entryOf(page))) === 0;
  }

  /**
   * Frees frames, oldest first, until `need` are free; never one that came after `keepAfter`.
   * Copies are thrown away, private pages go home.
   */
  *#makeRoom(need: number, keepAfter: number): Sleeps<boolean> {
    const device = this.#device;
    const { zone } = device.pagemap;
    const { frames } = device;
    if (zone.freeCount >= need) return true;
    if (need > zone.count - 1) return false;
    const homes: Vpn[] = [];
    let dropped = 0;
    {
      using _update = yield* device.lock.acquire();
      let missing = need - zone.freeCount;
      let frame = frames.oldest;
      while (missing > 0 && frame >= 0 && frames.born[frame]! <= keepAfter) {
        const next = frames.after(frame);
        if (frames.kind[frame] === FRAME_COPY) {
          device.dropCopy(frame);
          dropped++;
        } else homes.push(vpn(frames.page[frame]!));
        missing--;
        frame = next;
      }
      if (missing > 0) return false;
    }
    yield* this.#sendHome(homes);
    device.space.memory.tracer.emit(EVICT, device.pagemap.id, dropped + homes.length, homes.length);
    return zone.freeCount >= need;
  }

  /** Moves private pages to RAM, runs of neighbours at once. */
  *#sendHome(homes: Vpn[]): Sleeps<void> {
    homes.sort((a, b) => a - b);
    for (let i = 0; i < homes.length; ) {
      let j = i + 1;
      while (j < homes.length && homes[j] === homes[j - 1]! + 1) j++;
      const end = vpn(homes[j - 1]! + 1);
      const moved = yield* this.#device.moveHome(addrOf(homes[i]!), addrOf(end));
      if (moved > 0) this.#device.counters.pagesEvicted += moved;
      i = j;
    }
  }

  /** Copies for reading. 0, HELD, -ENOMEM, or what hmm says. */
  *#copyIn(windows: Window[], deadlineMs: number): Sleeps<Result> {
    const { space, lock, notifier } = this.#device;
    const ranges = windows.map((window) => this.#rangeOf(window));
    for (let collisions = 0; collisions < COLLISIONS_MAX; ) {
      const ready = yield* this.#protect(windows);
      if (ready === -EBUSY) {
        if (!(yield* space.memory.pages.waitForChange(deadlineMs))) return HELD;
        continue;
      }
      const seq = (yield* space.notifiers.readBegin(notifier))!;
      const looked = yield* this.#look(windows, ranges, seq);
      collisions++;
      if (looked === -EBUSY) continue;
      if (looked < 0) return looked === -EFAULT || looked === -EPERM ? 0 : looked;
      using _update = yield* lock.acquire();
      if (notifier.readRetry(seq)) continue;
      const entered = this.#enter(ranges);
      if (entered !== AGAIN) return entered;
    }
    return -EBUSY;
  }

  /** Takes write rights away from what will be copied. -EBUSY: a writer holds a page. */
  *#protect(windows: Window[]): Sleeps<Result> {
    const { space } = this.#device;
    using _mmap = yield* space.mmapLock.acquireRead();
    for (const window of windows) {
      const result = yield* protectForCopies(space, window.start, window.end, this.#device);
      if (result < 0) return result;
    }
    return 0;
  }

  /**
   * Asks hmm about every window; pages that faulted are requested, neighbours only looked at.
   * A page that has gone since the plan was made is found out by the next round, not here.
   */
  *#look(windows: Window[], ranges: HmmRange[], seq: Seq): Sleeps<Result> {
    const { space } = this.#device;
    using _mmap = yield* space.mmapLock.acquireRead();
    for (let i = 0; i < windows.length; i++) {
      const window = windows[i]!;
      const range = ranges[i]!;
      range.notifierSeq = seq;
      range.pfns.fill(0);
      for (let k = 0; k < window.wanted.length; k++) {
        range.pfns[window.wanted[k]! - window.start] = window.wantedWrite[k]
          ? HMM_PFN_REQ_FAULT | HMM_PFN_REQ_WRITE
          : HMM_PFN_REQ_FAULT;
      }
      const result = yield* hmmRangeFault(space, range);
      if (result < 0) return result;
    }
    return 0;
  }

  #rangeOf(window: Window): HmmRange {
    return {
      start: addrOf(window.start),
      end: addrOf(window.end),
      notifier: this.#device.notifier,
      notifierSeq: 0,
      pfns: new Uint32Array(window.end - window.start),
      defaultFlags: 0,
      pfnFlagsMask: HMM_PFN_REQ_FAULT | HMM_PFN_REQ_WRITE,
      devPrivateOwner: this.#device,
      requireWrite: true,
    };
  }

  /** Enters what was read and copies it in. AGAIN when a page has become writable meanwhile. */
  #enter(ranges: HmmRange[]): Result {
    const device = this.#device;
    device.lock.assertHeld();
    if (ranges.some((range) => this.#hasWritable(range))) return AGAIN;
    const targets: number[] = [];
    const sources: Pfn[] = [];
    for (const range of ranges) {
      const first = vpnOf(range.start);
      for (let i = 0; i < vpnOf(range.end) - first; i++) {
        const word = range.pfns[i]!;
        const page = vpn(first + i);
        if ((word & PTE_VALID) === 0 || device.entryOf(page) !== 0) continue;
        const frame = ptePfn(asPte(word));
        if (frame === ZERO_PFN) device.mapZero(page);
        else if (device.pagemap.zone.contains(frame)) {
          device.mapPrivate(page, frame, (word & PTE_WRITE) !== 0);
        } else {
          const index = device.mapCopy(page, frame);
          if (index === 0) continue;
          targets.push(index);
          sources.push(frame);
        }
      }
    }
    this.#upload(targets, sources);
    return 0;
  }

  #upload(targets: number[], sources: Pfn[]): void {
    if (targets.length === 0) return;
    const { bytes } = this.#device.space.memory;
    const frames = Int32Array.from(targets);
    this.#device.gpu.upload(frames, frames.length, (target, offset, index) =>
      bytes.read(sources[index]!, target, offset),
    );
    this.#device.counters.pagesToDevice += targets.length;
  }

  /** A page of RAM that somebody could write without telling us must not be copied. */
  #hasWritable(range: HmmRange): boolean {
    const { pages } = this.#device.space.memory;
    return range.pfns.some((word) => {
      const frame = ptePfn(asPte(word));
      if ((word & PTE_VALID) === 0 || frame === ZERO_PFN || pages.isDevice(frame)) return false;
      const isGuarded = !pages.is(frame, PG_EXCLUSIVE) || pages.is(frame, PG_DUPLICATED);
      return (word & PTE_WRITE) !== 0 || !isGuarded;
    });
  }

  /** Moves what is written. 0, HELD, -ENOMEM, -EBUSY. */
  *#moveIn(windows: Window[], deadlineMs: number): Sleeps<Result> {
    const { space, pagemap } = this.#device;
    let left = windows;
    for (let collisions = 0; collisions < COLLISIONS_MAX; ) {
      yield* this.#migrate(left);
      const mapped = yield* this.#mapPrivate(left);
      if (mapped === -EFAULT || mapped === -EPERM) return 0;
      if (mapped < 0 && mapped !== -EBUSY) return mapped;
      left = left.filter((window) => !this.#isAllServed(window));
      if (left.length === 0) return 0;
      if (!this.#isHeld(left)) {
        if (pagemap.zone.freeCount === 0) return -ENOMEM;
        collisions++;
        continue;
      }
      if (!(yield* space.memory.pages.waitForChange(deadlineMs))) return HELD;
    }
    return -EBUSY;
  }

  *#migrate(windows: Window[]): Sleeps<void> {
    const { space, toDevice } = this.#device;
    using _mmap = yield* space.mmapLock.acquireRead();
    for (const { start, end } of windows) {
      const vma = space.vmas.find(addrOf(start));
      if (vma === undefined || addrOf(end) > vma.end) continue;
      const select = MIGRATE_VMA_SELECT_SYSTEM;
      const migration = newMigration({ space, vma, start, end, select, owner: this.#device });
      const moved = yield* runMigration(migration, toDevice);
      assert(moved >= 0, () => `a migration within one Vma failed: ${moved}`);
    }
  }

  /**
   * Enters private pages that are here but not in the table (rights have changed since). One
   * that the device may no longer write although the program may comes home by the request.
   */
  *#mapPrivate(windows: Window[]): Sleeps<Result> {
    const { space, lock, notifier, pagemap } = this.#device;
    const missing = windows.filter((window) => !this.#isAllServed(window));
    if (missing.length === 0) return 0;
    const ranges = missing.map((window) => this.#rangeOf(window));
    const seq = (yield* space.notifiers.readBegin(notifier))!;
    const looked = yield* this.#look(missing, ranges, seq);
    if (looked < 0) return looked;
    using _update = yield* lock.acquire();
    if (notifier.readRetry(seq)) return -EBUSY;
    for (const range of ranges) {
      const first = vpnOf(range.start);
      for (let i = 0; i < vpnOf(range.end) - first; i++) {
        const word = range.pfns[i]!;
        const frame = ptePfn(asPte(word));
        if ((word & PTE_VALID) === 0 || !pagemap.zone.contains(frame)) continue;
        this.#device.mapPrivate(vpn(first + i), frame, (word & PTE_WRITE) !== 0);
      }
    }
    return 0;
  }

  #isAllServed(window: Window): boolean {
    return window.wanted.every((page, i) => this.#isServed(page, window.wantedWrite[i]!));
  }

  /** Somebody has pinned a page that is wanted: it cannot move. */
  #isHeld(windows: Window[]): boolean {
    const { space } = this.#device;
    const { pages } = space.memory;
    return windows.some((window) =>
      window.wanted.some((page) => {
        const pte = space.pageTable.get(page);
        return (pte & PTE_VALID) !== 0 && pages.pins[ptePfn(pte)]! > 0;
      }),
    );
  }
}
