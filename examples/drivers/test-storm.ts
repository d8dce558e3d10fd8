/**
 * What goes on around a driver in the random schedules of its tests: a process of a few pages
 * whose threads load, store, unmap, map again, protect and fork; a machine that moves its pages to
 * another device and back, swaps them out and reaps them; and, in some schedules, the end of the
 * process while the driver works. An oracle knows at every step what each page holds.
 *
 * The seed decides everything: what is done, in which order, and which parts take place at all.
 */
import {
  assert,
  PAGE_SIZE,
  type Pfn,
  type VirtAddr,
  type Vpn,
  virtAddr,
  vpn,
  vpnOf,
} from "../../src/base/index.ts";
import { checkWorld, tableShadow } from "../../src/check/index.ts";
import { SoftCpu } from "../../src/cpu/index.ts";
import { Dmirror, DmirrorDevice } from "../../src/driver/dmirror/index.ts";
import { buildWorld, type World } from "../../src/machine/index.ts";
import {
  AddressSpace,
  Advice,
  changeProtNuma,
  fork,
  MapMode,
  type Memory,
  madvise,
  mmap,
  mmput,
  mmputAsync,
  mprotect,
  munmap,
  PageTable,
  PTE_VALID,
  PTE_WRITE,
  type Pte,
  ptePfn,
  reclaimPages,
  SwapArea,
  VM_READ,
  VM_WRITE,
} from "../../src/mm/index.ts";
import { Invalidation, MMU_NOTIFY_CLEAR } from "../../src/notifier/index.ts";
import { Random, RandomStrategy, type Sleeps, TaskState, WaitQueue } from "../../src/sync/index.ts";
import type { EventName } from "../../src/trace/index.ts";

export const PAGES = 6;
const BASE = 0x1000_0000;
const RW = VM_READ | VM_WRITE;
/** Steps between two checks of everything. */
const CHECK_EVERY = 64;
/** More than any schedule has: who gets there goes round in circles. */
const STEPS_MAX = 50_000;

export const addressOf = (page: number): VirtAddr => virtAddr(BASE + page * PAGE_SIZE);
export const pagesFrom = (page: number, count: number) => ({
  start: addressOf(page),
  end: addressOf(page + count),
});

/** The driver under test, as the storm sees it. */
export interface Subject {
  /** Its own work, one task each. */
  readonly tasks: readonly Sleeps<void>[];
  /** What each of its tables has for a page: an entry like the page table's, or 0. */
  readonly tables: readonly ((page: number) => Pte)[];
  /** All tasks are over. The process lives, or not: a last look, then give everything back. */
  finish(): Sleeps<void>;
  /** All is given back. */
  checkEnd(): void;
}

export class Storm {
  readonly seed: number;
  readonly random: Random;
  readonly world: World;
  readonly memory: Memory;
  readonly space: AddressSpace;
  /** The process ends while the driver works. */
  readonly exits: boolean;
  /** Somebody unmaps and protects. */
  readonly breaks: boolean;
  // page -> what it holds
  readonly words = new Uint32Array(PAGES);
  // page -> how often it was unmapped or made unreadable, and unwritable besides
  readonly lostForReading = new Uint32Array(PAGES);
  readonly lostForWriting = new Uint32Array(PAGES);
  // page -> how often it was unmapped: what is mapped there later raises no event
  readonly unmapped = new Uint32Array(PAGES);
  // page -> all that it ever held
  readonly #history: number[][] = Array.from({ length: PAGES }, () => [0]);
  readonly #cpus: SoftCpu[] = [];
  readonly #device: DmirrorDevice;
  readonly #mirror: Dmirror;
  readonly #naps: WaitQueue;
  #subject: Subject | undefined;
  #nextValue = 1;
  #steps = 0;

  constructor(seed: number) {
    this.seed = seed;
    this.random = new Random(seed ^ 0x3c6ef372);
    this.world = buildWorld({
      frames: 14,
      strategy: new RandomStrategy(seed),
      swap: new SwapArea(64),
    });
    this.memory = this.world.memory;
    this.space = new AddressSpace(this.memory);
    this.exits = this.random.below(4) === 0;
    this.breaks = this.random.below(4) > 0;
    this.#device = new DmirrorDevice(this.memory, { name: "dmirror0", frames: 4 });
    this.#mirror = Dmirror.open(this.#device, this.space) as Dmirror;
    this.#naps = new WaitQueue(this.world.scheduler, "a nap");
    this.run("set up", this.#setUp());
  }

  /** Runs one task to its end before or after the storm. */
  run<T>(name: string, body: Sleeps<T>): T {
    return this.world.scheduler.runTask(name, body);
  }

  /** The whole schedule: what is wrong is thrown, and names the seed. */
  rage(subject: Subject): void {
    try {
      this.#rage(subject);
    } catch (error) {
      const reason = error instanceof Error ? error.message : String(error);
      throw new Error(`seed ${this.seed}: ${reason}`, { cause: error });
    }
  }

  /** How often `name` happened. */
  count(name: EventName): number {
    return this.world.tracer.count(name);
  }

  nextValue(): number {
    return this.#nextValue++;
  }

  /** `page` holds `value` from this step on. */
  note(page: number, value: number): void {
    this.words[page] = value;
    this.#history[page]!.push(value);
  }

  /** A device has just read or is about to write `bytes` as those of `page`, in `frame`. */
  expect(page: number, bytes: Uint8Array, frame: Pfn): void {
    const fact = this.space.pageTable.get(vpnOf(addressOf(page)));
    assert(this.memory.pages.refs[frame]! > 0, () => `page ${page}: frame ${frame} is free`);
    assert(ptePfn(fact) === frame, () => `page ${page}: frame ${frame} is another page's`);
    this.#expectWord(page, wordOf(bytes), "the driver's device");
  }

  /** A device writes a new value. */
  store(page: number, bytes: Uint8Array): void {
    const value = this.nextValue();
    new DataView(bytes.buffer, bytes.byteOffset).setUint32(0, value, true);
    this.note(page, value);
  }

  /** Nothing has ever kept a device from using the page like this, but the end of the process. */
  mayFail(page: number, write: boolean): boolean {
    const lost = write ? this.lostForWriting : this.lostForReading;
    return lost[page]! > 0 || this.space.users.count === 0;
  }

  /** Lets time pass, so that what waits for a while has its turn. */
  *nap(): Sleeps<void> {
    const ms = this.random.below(3);
    if (ms > 0) yield* this.#naps.sleep(this.world.scheduler.nowMs + ms);
  }

  /** What a CPU of the process finds at `page`, asserted; a negated errno when it finds nothing. */
  *load(page: number, cpu = this.#cpus[0]!): Sleeps<number> {
    const loaded = yield* cpu.load(addressOf(page));
    if (typeof loaded === "number") return loaded;
    this.#expectWord(page, loaded.value, "a CPU");
    return loaded.value;
  }

  #rage(subject: Subject): void {
    const { scheduler } = this.world;
    this.#subject = subject;
    scheduler.afterStep = () => this.#afterStep();
    const bodies = [...subject.tasks, this.#otherDevice(), ...this.#threads()];
    const tasks = bodies.map((body, i) => scheduler.spawn(`task ${i}`, body));
    if (this.exits) scheduler.spawn("first thread", this.#leave());
    scheduler.run();
    for (const task of tasks) {
      assert(task.state === TaskState.done, () => `never ends: ${scheduler.describeWaits()}`);
    }
    assert(this.exits === (this.space.users.count === 0), "the process ends with its last thread");
    this.#check(true);
    this.run("finish", subject.finish());
    scheduler.afterStep = undefined;
    if (!this.exits) this.run("exit", mmput(this.space));
    this.run("close", this.#mirror.close());
    for (const cpu of this.#cpus) cpu.dispose();
    assert(scheduler.liveTasks.size === 0, () => `tasks are left: ${scheduler.describeWaits()}`);
    subject.checkEnd();
    checkWorld(this.memory, { shadows: [], isOver: true });
  }

  *#setUp(): Sleeps<void> {
    this.#cpus.push(new SoftCpu(this.space), new SoftCpu(this.space));
    yield* this.#map(0, PAGES);
    for (let page = 0; page < PAGES; page += 2) yield* this.#storeWord(page, this.#cpus[0]!);
  }

  *#map(page: number, count: number): Sleeps<void> {
    const where = { start: addressOf(page), bytes: count * PAGE_SIZE };
    const result = yield* mmap(this.space, { ...where, flags: RW, mode: MapMode.noReplace });
    assert(result >= 0, () => `mmap of what was unmapped: ${result}`);
  }

  /** Each thread uses the space until it ends. */
  *#threads(): Generator<Sleeps<void>, void, void> {
    const bodies = [this.#cpuThread(this.#cpus[0]!), this.#cpuThread(this.#cpus[1]!)];
    if (this.breaks) bodies.push(this.#breakingThread());
    if (this.random.below(3) === 0) bodies.push(this.#forkingThread());
    if (this.random.below(2) === 0) bodies.push(this.#reaper());
    for (const body of bodies) {
      this.space.users.get();
      yield this.#thread(body);
    }
  }

  *#thread(body: Sleeps<void>): Sleeps<void> {
    try {
      yield* body;
    } finally {
      mmputAsync(this.space);
    }
  }

  *#leave(): Sleeps<void> {
    yield* mmput(this.space);
  }

  *#cpuThread(cpu: SoftCpu): Sleeps<void> {
    for (let i = 0; i < 4; i++) {
      const page = this.random.below(PAGES);
      if (this.random.below(2) === 0) yield* this.#storeWord(page, cpu);
      else yield* this.load(page, cpu);
      yield* this.nap();
    }
  }

  *#storeWord(page: number, cpu: SoftCpu): Sleeps<void> {
    const value = this.nextValue();
    if ((yield* cpu.store(addressOf(page), value)) === 0) this.note(page, value);
  }

  /** Takes memory and rights away for a while. */
  *#breakingThread(): Sleeps<void> {
    for (let i = 0; i < 2; i++) {
      const page = this.random.below(PAGES - 1);
      const bytes = 2 * PAGE_SIZE;
      const kind = this.random.below(4);
      const address = addressOf(page);
      for (const each of [page, page + 1]) {
        this.lostForWriting[each]! += 1;
        if (kind > 1) this.lostForReading[each]! += 1;
        if (kind > 2) this.unmapped[each]! += 1;
      }
      if (kind === 3) {
        assert((yield* munmap(this.space, address, bytes)) === 0, "munmap");
        // Between the end of munmap and this line nobody ran.
        for (const each of [page, page + 1]) this.note(each, 0);
        if (this.random.below(2) === 0) yield* this.nap();
        yield* this.#map(page, 2);
      } else {
        const rights = kind === 2 ? 0 : VM_READ;
        assert((yield* mprotect(this.space, address, bytes, rights)) === 0, "mprotect");
        if (this.random.below(2) === 0) yield* this.nap();
        assert((yield* mprotect(this.space, address, bytes, RW)) === 0, "mprotect");
      }
      yield* this.nap();
    }
  }

  /** A child finds what its parent had at some time during fork, and keeps it. */
  *#forkingThread(): Sleeps<void> {
    const marks = this.#history.map((values) => values.length - 1);
    const space = yield* fork(this.space);
    if (typeof space === "number") return;
    const inherited = this.#history.map((values, page) => values.slice(marks[page]));
    const cpu = new SoftCpu(space);
    const own = new Map<number, number>();
    for (let i = 0; i < 4; i++) {
      const page = this.random.below(3);
      const value = this.nextValue();
      if (i === 1) {
        if ((yield* cpu.store(addressOf(page), value)) === 0) own.set(page, value);
        continue;
      }
      const loaded = yield* cpu.load(addressOf(page));
      if (typeof loaded === "number") continue;
      const allowed = own.has(page) ? [own.get(page)!] : inherited[page]!;
      const isRight = allowed.includes(loaded.value);
      assert(isRight, () => `a child reads ${loaded.value} at page ${page}, not ${allowed}`);
      own.set(page, loaded.value);
    }
    yield* mmput(space);
    cpu.dispose();
  }

  /** Takes pages without waiting for anybody, as Linux's OOM reaper does. */
  *#reaper(): Sleeps<void> {
    for (let i = 0; i < 3; i++) {
      yield* this.nap();
      const page = this.random.below(PAGES - 1);
      const count = 1 + this.random.below(2);
      const range = pagesFrom(page, count);
      const event = new Invalidation({ ...range, event: MMU_NOTIFY_CLEAR, blockable: false });
      using _mmap = yield* this.space.mmapLock.acquireWrite();
      if ((yield* this.space.notifiers.start(event)) < 0) continue;
      const cursor = this.space.cursor.begin();
      cursor.clearRange(vpnOf(range.start), vpnOf(range.end));
      cursor.flush();
      for (let each = page; each < page + count; each++) this.note(each, 0);
      this.space.notifiers.end(event);
    }
  }

  /** Moves pages about, on behalf of nobody. */
  *#otherDevice(): Sleeps<void> {
    for (let i = 0; i < 4; i++) {
      const page = this.random.below(PAGES - 1);
      const { start, end } = pagesFrom(page, 2);
      const take = (at: Vpn, bytes: Uint8Array): void =>
        this.#expectWord(pageOf(at), wordOf(bytes), "the other device");
      switch (this.random.below(8)) {
        case 0:
        case 1:
          yield* this.#mirror.migrateToDevice(start, 2, take);
          break;
        case 2:
          yield* this.#mirror.migrateToRam(start, 2);
          break;
        case 3:
          yield* this.#device.evictAll();
          break;
        case 4:
          yield* this.#mirror.write(start, 2, (at, bytes) => this.store(pageOf(at), bytes));
          break;
        case 5:
          yield* this.#mirror.exclusive(start, 2, take);
          break;
        case 6:
          yield* reclaimPages(this.memory, 2);
          break;
        default:
          yield* this.#sendAway({ start, end });
      }
      yield* this.nap();
    }
  }

  *#sendAway(range: { readonly start: VirtAddr; readonly end: VirtAddr }): Sleeps<void> {
    if (!this.space.users.getUnlessZero()) return;
    try {
      yield* madvise(this.space, range.start, range.end - range.start, Advice.pageOut);
      using _mmap = yield* this.space.mmapLock.acquireRead();
      yield* changeProtNuma(this.space, range);
    } finally {
      mmputAsync(this.space);
    }
  }

  #expectWord(page: number, got: number, who: string): void {
    const wanted = this.words[page]!;
    assert(got === wanted, () => `${who} reads ${got} at page ${page}, last store was ${wanted}`);
  }

  #afterStep(): void {
    this.#steps++;
    assert(this.#steps < STEPS_MAX, "this never ends");
    if (this.#steps % CHECK_EVERY === 0) this.#check(false);
    else this.#checkTables();
  }

  #check(isQuiet: boolean): void {
    const shadows = this.#subject!.tables.map((entryAt) => {
      const table = new PageTable();
      for (let page = 0; page < PAGES; page++) table.set(vpnAt(page), entryAt(page));
      return tableShadow("driver", { space: this.space, table });
    });
    checkWorld(this.memory, { shadows: [...this.#cpus, this.#mirror, ...shadows], isQuiet });
  }

  /** The driver's tables against the page table, after every step: only these pages. */
  #checkTables(): void {
    const { tables } = this.#subject!;
    for (let page = 0; page < PAGES; page++) {
      for (let i = 0; i < tables.length; i++) {
        const entry = tables[i]!(page);
        if (entry === 0) continue;
        const fact = this.space.pageTable.get(vpnAt(page));
        const rights = entry & (PTE_VALID | PTE_WRITE);
        if (ptePfn(entry) === ptePfn(fact) && (fact & rights) === rights) continue;
        const isLate = this.space.notifiers.isInvalidating(pagesFrom(page, 1));
        assert(isLate, () => `the driver's entry of page ${page} is not within the page table`);
      }
    }
  }
}

const pageOf = (at: Vpn): number => at - vpnOf(virtAddr(BASE));

const wordOf = (bytes: Uint8Array): number =>
  new DataView(bytes.buffer, bytes.byteOffset).getUint32(0, true);

export const vpnAt = (page: number): Vpn => vpn(vpnOf(addressOf(page)));

/** Adds up what happened over all schedules, so that a test can ask what was reached. */
export class Tally {
  readonly #counts = new Map<string, number>();

  add(name: string, count: number): void {
    this.#counts.set(name, (this.#counts.get(name) ?? 0) + count);
  }

  addAll(counts: Readonly<Record<string, number>>): void {
    for (const [name, count] of Object.entries(counts)) this.add(name, count);
  }

  addEvents(storm: Storm, names: readonly EventName[]): void {
    for (const name of names) this.add(name, storm.count(name));
  }

  /** Those of `names` that never happened. */
  missing(names: readonly string[]): string[] {
    return names.filter((name) => !this.#counts.get(name));
  }

  toString(): string {
    return [...this.#counts].map(([name, count]) => `${name} ${count}`).join(", ");
  }
}
