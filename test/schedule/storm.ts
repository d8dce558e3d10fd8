/**
 * A reader of page tables in a storm of invalidations: tasks that never stop taking its pages away
 * (migration both ways, eviction, swap, protection, fork and copy, exclusive access), under a
 * scheduler that gives the storm many steps for each of the reader's.
 */
import {
  type AddrRange,
  assert,
  EBUSY,
  overlaps,
  PAGE_SIZE,
  virtAddr,
  vpn,
  vpnOf,
} from "../../src/base/index.ts";
import { checkWorld } from "../../src/check/index.ts";
import { SoftCpu } from "../../src/cpu/index.ts";
import { Dmirror, DmirrorDevice } from "../../src/driver/dmirror/index.ts";
import { HMM_PFN_REQ_FAULT, HMM_PFN_REQ_WRITE, hmmRangeFault } from "../../src/hmm/index.ts";
import { buildWorld, type World } from "../../src/machine/index.ts";
import {
  AddressSpace,
  Advice,
  changeProtNuma,
  fork,
  MapMode,
  madvise,
  mmap,
  mmput,
  mprotect,
  reclaimPages,
  SwapArea,
  VM_READ,
  VM_WRITE,
} from "../../src/mm/index.ts";
import { CollisionRetry, IntervalNotifier } from "../../src/notifier/index.ts";
import {
  Mutex,
  Random,
  type Sleeps,
  type Strategy,
  type Task,
  YIELD,
} from "../../src/sync/index.ts";

export const STORM_PAGES = 4;
/** Events that one operation of the storm raises on the range at most: fork, copy, evict, … */
export const EVENTS_PER_OPERATION = 4 * STORM_PAGES;

const RANGE: AddrRange = {
  start: virtAddr(0x1000_0000),
  end: virtAddr(0x1000_0000 + STORM_PAGES * PAGE_SIZE),
};
const BYTES = STORM_PAGES * PAGE_SIZE;
const RW = VM_READ | VM_WRITE;

/** Migration both ways, eviction, reclaim, exclusive access, NUMA hints: no lock keeps them out. */
export const BY_FRAME = [0, 1, 2, 3, 4, 5];
/** Besides: swap on request, protection, fork and copy. */
export const ALL_KINDS = [...BY_FRAME, 6, 7, 8];

export interface StormOptions {
  readonly seed: number;
  /** Tasks that take pages away. Default 3. */
  readonly writers?: number;
  /** What the writers do, by its number in `#takeAway`. */
  readonly kinds: readonly number[];
  /** Steps of the storm for each of the reader's. Default 40. */
  readonly pace?: number;
  /** As in `CollisionRetryOptions`. */
  readonly collisionsMax: number;
  /** The reader gives up after so many attempts. Default 400. */
  readonly attemptsMax?: number;
}

export interface StormResult {
  /** 0, or -EBUSY when the reader gave up. */
  readonly result: number;
  readonly attempts: number;
  /** Attempts after it took precedence. */
  readonly attemptsFirst: number;
  /** Others' events on its range while it had precedence. */
  readonly events: number;
  /** Milliseconds that the reading took. */
  readonly ms: number;
  /** Milliseconds of virtual time that all of it took: above 0 only when everybody waited. */
  readonly stalledMs: number;
}

/** The storm has `pace` steps, then the reader has one. */
class StormStrategy implements Strategy {
  readonly explores = true;
  readonly replay: string;
  readonly #random: Random;
  readonly #pace: number;
  readonly isReader: (task: Task) => boolean;
  #turn = 0;

  constructor(seed: number, pace: number, isReader: (task: Task) => boolean) {
    this.replay = `storm:${seed}`;
    this.#random = new Random(seed);
    this.#pace = pace;
    this.isReader = isReader;
  }

  next(runnable: readonly Task[]): number {
    const reader = runnable.findIndex(this.isReader);
    this.#turn = (this.#turn + 1) % (this.#pace + 1);
    if (reader >= 0 && (this.#turn === 0 || runnable.length === 1)) return reader;
    const other = this.#random.below(reader < 0 ? runnable.length : runnable.length - 1);
    return reader >= 0 && other >= reader ? other + 1 : other;
  }
}

/** Runs one reading through a storm; asserts that what it read was true when it was committed. */
export function runStorm(options: StormOptions): StormResult {
  return new Storm(options).run();
}

class Storm {
  readonly #options: StormOptions;
  readonly #world: World;
  readonly #space: AddressSpace;
  readonly #cpu: SoftCpu;
  readonly #device: DmirrorDevice;
  readonly #mirror: Dmirror;
  readonly #random: Random;
  #reader: Task | undefined;
  #isOver = false;

  constructor(options: StormOptions) {
    this.#options = options;
    const isReader = (task: Task): boolean => task === this.#reader;
    this.#world = buildWorld({
      frames: 24,
      strategy: new StormStrategy(options.seed, options.pace ?? 40, isReader),
      swap: new SwapArea(64),
    });
    const { memory } = this.#world;
    this.#random = new Random(options.seed ^ 0x51ed270b);
    this.#space = new AddressSpace(memory);
    this.#cpu = new SoftCpu(this.#space);
    this.#device = new DmirrorDevice(memory, { name: "dmirror0", frames: 8 });
    this.#mirror = Dmirror.open(this.#device, this.#space) as Dmirror;
  }

  run(): StormResult {
    const { scheduler, memory } = this.#world;
    scheduler.runTask("set up", this.#setUp());
    for (let i = 0; i < (this.#options.writers ?? 3); i++) {
      scheduler.spawn(`writer ${i}`, this.#takeAway());
    }
    const reader = scheduler.spawn("reader", this.#read());
    this.#reader = reader as Task;
    const result = scheduler.runUntil(reader);
    assert(scheduler.liveTasks.size === 0, () => `never ends: ${scheduler.describeWaits()}`);
    scheduler.runTask("exit", this.#exit());
    checkWorld(memory, { shadows: [], isOver: true });
    return result;
  }

  *#setUp(): Sleeps<void> {
    const mode = MapMode.noReplace;
    yield* mmap(this.#space, { start: RANGE.start, bytes: BYTES, flags: RW, mode });
    yield* this.#storeAll();
  }

  *#storeAll(): Sleeps<void> {
    for (let at = 0; at < BYTES; at += PAGE_SIZE) {
      yield* this.#cpu.store(virtAddr(RANGE.start + at), at);
    }
  }

  *#exit(): Sleeps<void> {
    yield* mmput(this.#space);
    yield* this.#mirror.close();
    this.#cpu.dispose();
  }

  *#read(): Sleeps<StormResult> {
    const { notifiers, mmapLock } = this.#space;
    const notifier = new IntervalNotifier(RANGE);
    assert(notifiers.insert(notifier) === 0, "a range of a live space");
    const { collisionsMax, attemptsMax = 400 } = this.#options;
    const limits = { collisionsMax, timeoutMs: Number.POSITIVE_INFINITY };
    const lock = new Mutex(this.#world.scheduler, "driver", "the reader's lock");
    const begin = performance.now();
    let attemptsFirst = 0;
    let events = 0;
    using read = new CollisionRetry(notifiers, notifier, { lock: mmapLock, ...limits });
    const counter = {
      *invalidateRangeStart(event: AddrRange) {
        if (read.hasPrecedence && overlaps(event, RANGE)) events++;
        return 0;
      },
    };
    notifiers.register(counter);
    let result = -EBUSY;
    for (; result === -EBUSY && read.attempts < attemptsMax; ) {
      yield* read.begin();
      if (read.hasPrecedence) attemptsFirst++;
      const pfns = new Uint32Array(STORM_PAGES);
      const range = {
        ...RANGE,
        notifier,
        notifierSeq: read.seq,
        pfns,
        defaultFlags: HMM_PFN_REQ_FAULT | HMM_PFN_REQ_WRITE,
        pfnFlagsMask: 0,
        devPrivateOwner: undefined,
      };
      result = yield* hmmRangeFault(this.#space, range);
      if (result === -EBUSY) continue;
      using _update = yield* lock.acquire();
      if (read.retry()) result = -EBUSY;
      else if (result === 0) this.#commit(pfns);
    }
    const { attempts } = read;
    read.end();
    this.#isOver = true;
    notifiers.removeSilent(notifier);
    yield* notifiers.unregister(counter);
    const stalledMs = this.#world.scheduler.nowMs;
    return { result, attempts, attemptsFirst, events, stalledMs, ms: performance.now() - begin };
  }

  /** What would be programmed now is what the page table says now. */
  #commit(pfns: Uint32Array): void {
    for (const [i, word] of pfns.entries()) {
      const fact = this.#space.pageTable.get(vpn(vpnOf(RANGE.start) + i));
      assert(word >>> 8 === fact >>> 8, () => `page ${i}: committed ${word}, the fact is ${fact}`);
    }
  }

  *#takeAway(): Sleeps<void> {
    const { start } = RANGE;
    while (!this.#isOver) {
      const { kinds } = this.#options;
      switch (kinds[this.#random.below(kinds.length)]) {
        case 0:
          yield* this.#mirror.migrateToDevice(start, STORM_PAGES, () => {});
          break;
        case 1:
          yield* this.#mirror.migrateToRam(start, STORM_PAGES);
          break;
        case 2:
          yield* this.#device.evictAll();
          break;
        case 3:
          yield* reclaimPages(this.#world.memory, 2);
          break;
        case 4:
          yield* this.#mirror.exclusive(start, STORM_PAGES, () => {});
          break;
        case 5: {
          using _mmap = yield* this.#space.mmapLock.acquireRead();
          yield* changeProtNuma(this.#space, RANGE);
          break;
        }
        case 6:
          yield* madvise(this.#space, start, BYTES, Advice.pageOut);
          break;
        case 7:
          yield* mprotect(this.#space, start, BYTES, VM_READ);
          yield* mprotect(this.#space, start, BYTES, RW);
          break;
        default: {
          const child = yield* fork(this.#space);
          if (typeof child !== "number") yield* mmput(child);
          yield* this.#storeAll();
        }
      }
      yield YIELD;
    }
  }
}
