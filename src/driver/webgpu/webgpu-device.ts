/**
 * A WebGPU adapter as a device of one address space: what `device` needs of it. It cannot read
 * RAM, so it gets copies of what it reads, and what it writes lives in its memory. A change of its
 * table takes effect with the next submission.
 */
import {
  assert,
  EIO,
  ENODEV,
  PAGE_SIZE,
  type Pfn,
  type Result,
  type VirtAddr,
} from "../../base/index.ts";
import {
  type DeviceCounters,
  DeviceMemory,
  type DeviceOps,
  DeviceShadow,
  ENTRY_VALID,
  ENTRY_WRITE,
  type Entry,
  type EntryTable,
  fromLocal,
  newEntry,
  toLocal,
} from "../../device/index.ts";
import type { AddressSpace } from "../../mm/index.ts";
import { Mutex, type Sleeps, WaitQueue } from "../../sync/index.ts";
import { awaitPromise } from "./await.ts";
import { forEachRun } from "./buffers/index.ts";
import type { Gpu } from "./gpu.ts";

export class WebGpuDevice implements DeviceOps {
  readonly gpu: Gpu;
  readonly space: AddressSpace;
  readonly memory: DeviceMemory;
  /** One launch at a time. */
  readonly launchLock: Mutex;
  /** What the GPU's first failure was. Pages that only it had cannot come home after that. */
  failure: unknown = undefined;
  readonly #idle: WaitQueue;
  #shadow: DeviceShadow | undefined;
  #isInFlight = false;
  #wasAwaited = false;

  private constructor(gpu: Gpu, space: AddressSpace) {
    const { scheduler } = space.memory;
    this.gpu = gpu;
    this.space = space;
    this.launchLock = new Mutex(scheduler, "svm", "the GPU's launch lock");
    this.#idle = new WaitQueue(scheduler, "the end of a round on the GPU");
    this.memory = new DeviceMemory(space.memory, {
      name: "webgpu",
      frames: gpu.frames,
      ops: this,
      reachesRam: false,
      readsAhead: true,
      placesByAddress: true,
    });
  }

  /** Makes `gpu` a device of `space`. -EINVAL when the space is going away. */
  static attach(gpu: Gpu, space: AddressSpace): WebGpuDevice | Result {
    const device = new WebGpuDevice(gpu, space);
    const table = new ShaderTable(gpu, device.memory.pagemap.zone.start);
    const shadow = DeviceShadow.open(device.memory, space, { table });
    if (typeof shadow !== "number") {
      device.#shadow = shadow;
      return device;
    }
    device.memory.remove();
    return shadow;
  }

  /**
   * Ends the subscription and gives the frames back. The space is gone by then (its release
   * made the device forget everything), so no page lives here any more.
   */
  *close(): Sleeps<void> {
    using _launch = yield* this.launchLock.acquire();
    yield* this.shadow.close();
    const left = this.memory.residentPages;
    assert(left === 0, () => `${left} pages are left on the device`);
    this.memory.remove();
  }

  /** Sleeps until no launch runs or waits to run. */
  *waitForLaunches(): Sleeps<void> {
    using _launch = yield* this.launchLock.acquire();
  }

  get shadow(): DeviceShadow {
    assert(this.#shadow !== undefined, "a device that is attached has a shadow");
    return this.#shadow;
  }

  get counters(): DeviceCounters {
    return this.memory.counters;
  }

  /** Brings every page of [start, end) that lives here home: how many. `toRead`: to be read. */
  moveHome(start: VirtAddr, end: number, toRead = false): Sleeps<Result> {
    return this.shadow.moveHome(start, end, toRead);
  }

  /** Runs `submit`, which starts work on the GPU, and sleeps until that is over. */
  *round<T>(submit: () => Promise<T>): Sleeps<T> {
    let running: Promise<T>;
    {
      using _update = yield* this.shadow.lock.acquire();
      assert(!this.#isInFlight, "two rounds at once");
      running = submit();
      this.#isInFlight = true;
      this.#wasAwaited = false;
    }
    const over = (): void => {
      this.#isInFlight = false;
      this.#idle.wakeAll();
    };
    // Also when this task is killed: the GPU runs on.
    running.then(over, over);
    const result = yield* awaitPromise(this.space.memory.scheduler, running, "the GPU");
    yield* this.waitIdle();
    return result;
  }

  get isIdle(): boolean {
    return !this.#isInFlight;
  }

  /** Somebody wanted a page while the last round ran. */
  get wasAwaited(): boolean {
    return this.#wasAwaited;
  }

  *waitIdle(): Sleeps<void> {
    this.#wasAwaited ||= this.#isInFlight;
    yield* this.#idle.until(() => !this.#isInFlight);
  }

  *copyIn(from: readonly Pfn[], to: readonly Pfn[]): Sleeps<Result> {
    const { bytes } = this.space.memory;
    this.gpu.upload(this.#indexesOf(to), to.length, (target, first, last) =>
      forEachRun(from, first, last, (start, end) =>
        bytes.read(from[start]!, target, (start - first) * PAGE_SIZE, end - start),
      ),
    );
    return 0;
  }

  *clear(frames: readonly Pfn[]): Sleeps<Result> {
    this.gpu.zero(this.#indexesOf(frames), frames.length);
    return 0;
  }

  *copyHome(from: readonly Pfn[], to: readonly Pfn[]): Sleeps<Result> {
    const { bytes, scheduler } = this.space.memory;
    if (this.gpu.lossReason !== undefined) return -ENODEV;
    // When this task is killed the frames are somebody else's.
    let isMine = true;
    const take = (mapped: Uint8Array): void => {
      if (!isMine) return;
      forEachRun(to, 0, to.length, (start, end) => {
        bytes.write(to[start]!, mapped, start * PAGE_SIZE, end - start);
      });
    };
    try {
      const reading = this.gpu.readback(this.#indexesOf(from), from.length, take);
      yield* awaitPromise(scheduler, reading, "a readback");
    } catch (error) {
      this.failure ??= error;
      return -EIO;
    } finally {
      isMine = false;
    }
    return 0;
  }

  #indexesOf(frames: readonly Pfn[]): Int32Array {
    return Int32Array.from(frames, (frame) => this.memory.pagemap.indexOf(frame));
  }
}

/** The table that the shader reads: frames count from 0 there. */
class ShaderTable implements EntryTable {
  readonly #gpu: Gpu;
  readonly #first: Pfn;

  constructor(gpu: Gpu, first: Pfn) {
    this.#gpu = gpu;
    this.#first = first;
  }

  get(page: number): Entry {
    return fromLocal(this.#gpu.table[page]!, this.#first);
  }

  set(page: number, entry: Entry): void {
    this.#gpu.setEntry(page, toLocal(entry, this.#first));
  }

  nextUsed(page: number, end: number): number {
    const { table } = this.#gpu;
    let at = page;
    while (at < end && table[at] === 0) at++;
    return at;
  }
}

const PROBE = 5 as Pfn;
assert(ENTRY_VALID === 1 && ENTRY_WRITE === 2, "the shader knows these bits");
assert(toLocal(newEntry(PROBE, true), 4 as Pfn) === 0x103, "the shader knows this format");
