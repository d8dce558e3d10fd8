/**
 * Shared virtual memory on a GPU whose page faults can be replayed: its threads use the program's
 * pointers, and one service brings the pages that they miss. Linux: nouveau's
 * drivers/gpu/drm/nouveau/nouveau_svm.c.
 *
 * **Nouns.** *Instance*: a GPU context, which belongs to one space. *SvmSpace*: the GPU's table of
 * a space, and the mirror that keeps it right. *Batch*: the faults that the ring held at one time.
 * *Window*: up to 16 pages around a fault that are asked for at once. *Replay*: the GPU tries all
 * stalled accesses again. *Cancel*: it gives one up.
 *
 * **Locks.** `#opening` ("svm"): one open or close at a time; the service never takes it.
 * `SvmSpace.lock` ("driver"): the GPU's table and TLB of one space; the callback takes it.
 *
 * **The one loop** is in `#populate`: wait until the window is valid, fault, take the lock, look
 * whether it is still valid, program. It ends after `ATTEMPTS_MAX` collisions. The faults of such a
 * window are not cancelled, for nothing is wrong with them, and not kept either: they are replayed
 * with the others, miss again, and so come back with a later batch, after the CPU had its turn.
 *
 * **Who is cancelled**: a fault of an unknown instance, outside every Vma, or in the hole; one
 * whose entry lacks, after all, a right that it needs; one for whose page there is no memory; all
 * of a space that goes away. A window that fails as a whole is served again page by page, because
 * the error may be another page's.
 *
 * **What goes wrong otherwise.** Programmed without the check, or with a check before the lock: the
 * GPU writes into a frame that has been freed. A table changed and the TLB not flushed: the same,
 * later. A mirror that ends before its table is empty: the same, at the end. Weak duplicates first:
 * the write is skipped, and cancelled. A replay for each window: the threads of all others miss
 * again. GET moved before the records are copied: some are lost, their threads stall for ever.
 */
import {
  type AddressSpace,
  type AddrRange,
  Completion,
  EBUSY,
  EINVAL,
  ENODEV,
  ENOENT,
  ENOMEM,
  EPERM,
  HMM_PFN_REQ_FAULT,
  HMM_PFN_REQ_WRITE,
  Mirror,
  type MirrorRange,
  Mutex,
  PAGE_SIZE,
  type PageTable,
  type Result,
  type Sleeps,
  vpnOf,
  WaitQueue,
} from "onespace/driver";
import {
  ACCESS_ATOMIC,
  ACCESS_PREFETCH,
  ACCESS_READ,
  ACCESS_WRITE,
  type FaultingGpu,
  type FaultRecord,
  needsWrite,
} from "./svm-fault-service-hardware.ts";
import { EVERYTHING, type OpenOptions, SvmSpace, type Window } from "./svm-space.ts";

const WINDOW_BYTES = 16 * PAGE_SIZE;
/** Collisions of one window before its faults have to wait for another batch. */
const ATTEMPTS_MAX = 4;

/** A space and what keeps its table right. */
interface Opened {
  readonly svm: SvmSpace;
  readonly mirror: Mirror;
}

export class SvmFaultService {
  readonly gpu: FaultingGpu;
  readonly counts = {
    batches: 0,
    windows: 0,
    served: 0,
    duplicates: 0,
    cancelled: 0,
    collisions: 0,
    putOff: 0,
    byPage: 0,
    noMemory: 0,
  };
  // instance -> its space
  readonly #spaces = new Map<number, Opened>();
  readonly #opening: Mutex;
  readonly #interrupts: WaitQueue;
  readonly #isOver: Completion<void>;
  #isStopping = false;

  constructor(gpu: FaultingGpu) {
    const { scheduler } = gpu.memory;
    this.gpu = gpu;
    this.#opening = new Mutex(scheduler, "svm", "instances of the GPU");
    this.#interrupts = new WaitQueue(scheduler, "faults of the GPU");
    this.#isOver = new Completion(scheduler, "the end of the fault service");
    gpu.interrupt = () => this.#interrupts.wakeAll();
    scheduler.spawn("fault service", this.#work());
  }

  /** Gives the program's memory to an instance. -EINVAL: it has some, or the space goes away. */
  *open(space: AddressSpace, options: OpenOptions): Sleeps<Result> {
    using _one = yield* this.#opening.acquire();
    const { instance } = options;
    if (this.#isStopping || this.#spaces.has(instance)) return -EINVAL;
    const svm = new SvmSpace(this.gpu, space, options);
    const mirror = yield* Mirror.register(space, { ops: svm });
    if (typeof mirror === "number") return mirror;
    this.#spaces.set(instance, { svm, mirror });
    this.gpu.bind(instance, svm.table);
    return 0;
  }

  /**
   * Takes it away, before or after the end of the space and also while faults are served: what is
   * stalled is cancelled. -ENOENT: the instance has no space.
   */
  *close(instance: number): Sleeps<Result> {
    using _one = yield* this.#opening.acquire();
    const opened = this.#spaces.get(instance);
    if (opened === undefined) return -ENOENT;
    {
      using _update = yield* opened.svm.lock.acquire();
      opened.svm.drop(EVERYTHING);
      this.gpu.unbind(instance);
    }
    this.#spaces.delete(instance);
    // The table first, for after this nobody says what to forget. Nobody fills it again either: in
    // this same step all ranges of the mirror stop being valid.
    yield* opened.mirror.unregister();
    return 0;
  }

  /** The end, with all instances; accesses that are left fail. */
  *stop(): Sleeps<void> {
    this.#isStopping = true;
    {
      // An instance that is being opened is opened first.
      using _one = yield* this.#opening.acquire();
    }
    for (const instance of this.#spaces.keys()) yield* this.close(instance);
    this.#interrupts.wakeAll();
    yield* this.#isOver.wait();
    this.gpu.powerOff();
  }

  /** The GPU's table of an instance. */
  tableOf(instance: number): PageTable | undefined {
    return this.#spaces.get(instance)?.svm.table;
  }

  *#work(): Sleeps<void> {
    const { ring } = this.gpu;
    for (;;) {
      yield* this.#interrupts.until(() => !ring.isEmpty || this.#isStopping);
      if (ring.isEmpty) break;
      yield* this.#serveBatch(this.#fetch());
    }
    this.#isOver.complete();
  }

  /** What is in the ring now. Later records are the next batch's. */
  #fetch(): FaultRecord[] {
    const { ring } = this.gpu;
    const faults: FaultRecord[] = [];
    let at = ring.get;
    for (const { put } = ring; at !== put; at = (at + 1) % ring.size) faults.push(ring.read(at));
    ring.get = at;
    return faults.sort(compareFaults);
  }

  *#serveBatch(faults: readonly FaultRecord[]): Sleeps<void> {
    this.counts.batches++;
    if (yield* this.#serve(faults, WINDOW_BYTES)) this.gpu.replay();
  }

  /** Sorted faults, in windows of at most `bytes`: true when somebody has to be replayed. */
  *#serve(faults: readonly FaultRecord[], bytes: number): Sleeps<boolean> {
    let mustReplay = false;
    for (let first = 0; first < faults.length; ) {
      const fault = faults[first]!;
      const opened = this.#spaces.get(fault.instance);
      const window = opened && (yield* opened.svm.windowAround(fault.address, bytes));
      if (opened === undefined || window === undefined) {
        this.#cancel(fault);
        first++;
        continue;
      }
      const others = faults.findIndex((each, i) => i > first && !isWithin(each, fault, window));
      const group = faults.slice(first, others < 0 ? faults.length : others);
      if (yield* this.#serveWindow(opened, window, group)) mustReplay = true;
      first += group.length;
    }
    return mustReplay;
  }

  /** The faults of one window: true when somebody has to be replayed. */
  *#serveWindow(opened: Opened, window: Window, group: readonly FaultRecord[]): Sleeps<boolean> {
    this.counts.windows++;
    const found = yield* this.#populate(opened, window, group);
    if (found === -EBUSY || found === -EPERM) {
      this.counts.putOff += group.length;
      return true;
    }
    if (typeof found === "number" && window.end - window.start > PAGE_SIZE) {
      this.counts.byPage++;
      return yield* this.#serve(group, PAGE_SIZE);
    }
    let mustReplay = false;
    for (const fault of group) {
      const word = typeof found === "number" ? 0 : found[indexOf(fault, window)]!;
      const need = needOf(fault.access);
      if ((word & need) !== need) this.#cancel(fault);
      else {
        this.counts.served++;
        mustReplay = true;
      }
    }
    if (found === -ENOMEM) this.counts.noMemory++;
    return mustReplay;
  }

  /**
   * Brings what the faults ask for and enters it: the words of the window. -EBUSY: too many
   * collisions; -EPERM: the program's rights have changed since the window was formed; -EFAULT: no
   * memory is there (any more); -ENOMEM; -ENODEV or -EINVAL: the instance was closed.
   */
  *#populate(
    { svm, mirror }: Opened,
    window: Window,
    group: readonly FaultRecord[],
  ): Sleeps<Uint32Array | Result> {
    const { start, end } = window;
    const range = mirror.range({ start, end, pfnFlagsMask: HMM_PFN_REQ_FAULT | HMM_PFN_REQ_WRITE });
    if (typeof range === "number") return range;
    using _registered = range;
    this.#request(range, window, group);
    for (let attempt = 0; attempt < ATTEMPTS_MAX; attempt++) {
      if (!(yield* range.waitUntilValid())) return mirror.isRegistered ? -EBUSY : -ENODEV;
      const result = yield* range.fault();
      if (result < 0 && result !== -EBUSY) return result;
      using _update = yield* svm.lock.acquire();
      if (result >= 0 && range.valid) {
        svm.program(range);
        return range.pfns;
      }
      this.counts.collisions++;
    }
    return -EBUSY;
  }

  /**
   * Each page is asked for as its strongest fault needs it, a page without fault not at all.
   * Writing is not asked for where the program may not write: that would fail the whole window.
   */
  #request(range: MirrorRange, window: Window, group: readonly FaultRecord[]): void {
    for (const fault of group) {
      const index = indexOf(fault, window);
      if (range.requests[index] !== 0) {
        this.counts.duplicates++;
        continue;
      }
      const need = needOf(fault.access);
      range.requests[index] = window.isWritable ? need : need & ~HMM_PFN_REQ_WRITE;
    }
  }

  #cancel(fault: FaultRecord): void {
    this.counts.cancelled++;
    this.gpu.cancel(fault);
  }
}

/** Rights that an access needs: what is requested, and (the bits are the same) what was found. */
const needOf = (access: number): number =>
  HMM_PFN_REQ_FAULT | (needsWrite(access) ? HMM_PFN_REQ_WRITE : 0);

const indexOf = (fault: FaultRecord, window: AddrRange): number =>
  vpnOf(fault.address) - vpnOf(window.start);

/** Same instance as `first`, inside the window. */
const isWithin = (fault: FaultRecord, first: FaultRecord, window: AddrRange): boolean =>
  fault.instance === first.instance && fault.address < window.end;

/** The order of `ACCESS_…` among faults of a page, the strongest first. */
const STRENGTH = [ACCESS_ATOMIC, ACCESS_WRITE, ACCESS_READ, ACCESS_PREFETCH];

/** By instance, page, and strength; so whoever is first on a page has asked for all of them. */
function compareFaults(one: FaultRecord, other: FaultRecord): number {
  return (
    one.instance - other.instance ||
    vpnOf(one.address) - vpnOf(other.address) ||
    STRENGTH.indexOf(one.access) - STRENGTH.indexOf(other.access)
  );
}
