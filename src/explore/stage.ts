/**
 * A small world of the real engine for one schedule: a space with a CPU, one or two test devices,
 * a few pages, and an oracle. Every store is noted in the step in which it happens, so at any
 * time a load must find the last one.
 */
import {
  assert,
  EAGAIN,
  PAGE_SIZE,
  type Result,
  type VirtAddr,
  type Vpn,
  virtAddr,
  vpn,
  vpnOf,
} from "../base/index.ts";
import { checkWorld } from "../check/index.ts";
import { SoftCpu } from "../cpu/index.ts";
import {
  DMIRROR_PROT_DEV_PRIVATE_LOCAL,
  DMIRROR_PROT_ERROR,
  DMIRROR_PROT_READ,
  DMIRROR_PROT_WRITE,
  Dmirror,
  DmirrorDevice,
} from "../driver/dmirror/index.ts";
import { buildWorld, type World } from "../machine/index.ts";
import {
  AddressSpace,
  adviseAccess,
  fork,
  isDevicePrivate,
  MapMode,
  mmap,
  mmput,
  mprotect,
  munmap,
  PTE_VALID,
  PTE_WRITE,
  pinPages,
  reclaimPages,
  SwapArea,
  unpinPages,
  VM_READ,
  VM_WRITE,
} from "../mm/index.ts";
import { Invalidation, MMU_NOTIFY_CLEAR } from "../notifier/index.ts";
import { Shared, type Sleeps, type Strategy, YIELD } from "../sync/index.ts";
import { Violation } from "./failure.ts";
import type { Run } from "./scenario.ts";

const BASE = 0x1000_0000;
const FRAMES = 24;
const DEVICE_FRAMES = 4;
const RW = VM_READ | VM_WRITE;

export interface StageOptions {
  /** Pages of the space, all readable and writable. */
  readonly pages: number;
  /** Test devices. Default 1. */
  readonly devices?: number;
  /** Pages that have been written before the schedule begins; the others were never touched. */
  readonly touched?: number;
  /** Pages that live on the first device when the schedule begins. Default 0. */
  readonly atDevice?: number;
  /** A child shares all pages from the beginning, and does nothing. Default false. */
  readonly hasChild?: boolean;
  /** Devices do not reach RAM: what they read of it are copies. Default false. */
  readonly copies?: boolean;
  /** What the pages are advised to be: bits of VM_HINTS. Default 0. */
  readonly hints?: number;
  /** Frames of RAM, for scenarios about running out. Default 24. */
  readonly frames?: number;
}

export class Stage implements Run {
  readonly world: World;
  readonly space: AddressSpace;
  readonly cpu: SoftCpu;
  readonly devices: readonly DmirrorDevice[];
  readonly mirrors: readonly Dmirror[];
  readonly #children: { readonly space: AddressSpace; readonly cpu: SoftCpu }[] = [];
  // page -> what it must hold
  readonly #oracle: number[];
  readonly #shared: Shared;
  // task -> values that it has made up
  readonly #values = new Map<number, number>();
  #hasExited = false;
  #idleChild: AddressSpace | undefined;

  constructor(strategy: Strategy, options: StageOptions) {
    const { pages, devices = 1, touched = pages, atDevice = 0, frames = FRAMES } = options;
    const { hasChild = false, copies = false, hints = 0 } = options;
    this.world = buildWorld({ frames, strategy, swap: new SwapArea(16) });
    const { memory } = this.world;
    this.space = new AddressSpace(memory);
    this.cpu = new SoftCpu(this.space);
    const numbers = Array.from({ length: devices }, (_, i) => i);
    // One frame is its page of zeros.
    const has = { frames: DEVICE_FRAMES + (copies ? 1 : 0), reachesRam: !copies };
    this.devices = numbers.map((i) => new DmirrorDevice(memory, { name: `dmirror${i}`, ...has }));
    this.mirrors = this.devices.map((device) => Dmirror.open(device, this.space) as Dmirror);
    this.#oracle = new Array<number>(pages).fill(0);
    this.#shared = new Shared(this.scheduler);
    this.scheduler.runTask("set up", this.#setUp(touched, atDevice, hints));
    if (hasChild) this.#idleChild = this.scheduler.runTask("fork", this.#fork())?.space;
  }

  get scheduler() {
    return this.world.scheduler;
  }

  /** Where a page of the space begins: they are numbered from 0. */
  addressOf(page: number): VirtAddr {
    return addressOf(page);
  }

  task(name: string, body: Sleeps<void>): void {
    this.scheduler.spawn(name, body);
  }

  *#setUp(touched: number, atDevice: number, hints: number): Sleeps<void> {
    yield* this.map(0, this.#oracle.length);
    const bytes = this.#oracle.length * PAGE_SIZE;
    yield* adviseAccess(this.space, addressOf(0), bytes, { set: hints, clear: 0 });
    for (let page = 0; page < touched; page++) yield* this.store(page);
    if (atDevice > 0) yield* this.toDevice(0, atDevice);
  }

  *map(page: number, count: number): Sleeps<void> {
    const mode = MapMode.noReplace;
    const where = { start: addressOf(page), bytes: count * PAGE_SIZE };
    const result = yield* mmap(this.space, { ...where, flags: RW, mode });
    assert(result >= 0, () => `mmap of page ${page}, where nothing is: ${result}`);
  }

  /** A new value by the CPU; an access that is refused changes nothing. */
  *store(page: number, cpu = this.cpu): Sleeps<void> {
    const value = this.#newValue();
    const result = yield* cpu.store(addressOf(page), value);
    if (result === 0 && cpu === this.cpu) this.#note(page, value);
  }

  *load(page: number): Sleeps<void> {
    const loaded = yield* this.cpu.load(addressOf(page));
    if (typeof loaded !== "number") this.#expect(page, loaded.value, "the CPU");
  }

  *deviceRead(page: number, count = 1, device = 0): Sleeps<void> {
    yield* this.mirrors[device]!.read(addressOf(page), count, this.#take(`device ${device}`));
  }

  /** It sees what it writes over. */
  *deviceWrite(page: number, count = 1, device = 0): Sleeps<void> {
    const take = this.#take(`device ${device}`);
    yield* this.mirrors[device]!.write(addressOf(page), count, (at, bytes) => {
      take(at, bytes);
      const value = this.#newValue();
      setWord(bytes, value);
      this.#note(at - BASE / PAGE_SIZE, value);
    });
  }

  *toDevice(page: number, count = 1, device = 0): Sleeps<void> {
    const take = this.#take(`device ${device}`);
    yield* this.mirrors[device]!.migrateToDevice(addressOf(page), count, take);
  }

  *toRam(page: number, count = 1, device = 0): Sleeps<void> {
    yield* this.mirrors[device]!.migrateToRam(addressOf(page), count);
  }

  *exclusive(page: number, count = 1, device = 0): Sleeps<void> {
    const take = this.#take(`device ${device}`);
    yield* this.mirrors[device]!.exclusive(addressOf(page), count, take);
  }

  *snapshot(page: number, count: number): Sleeps<void> {
    const told = new Uint8Array(count);
    const { result } = yield* this.mirrors[0]!.snapshot(addressOf(page), count, told);
    // Between its check and this line nobody ran.
    for (let i = 0; result === 0 && i < count; i++) this.#expectRights(page + i, told[i]!);
  }

  /** The driver keeps its lock for a while, as one that waits for its hardware. */
  *busy(device = 0): Sleeps<void> {
    using _update = yield* this.mirrors[device]!.lock.acquire();
    yield YIELD;
  }

  /** A disk reads into a page: late, and past all page tables. */
  *pinAndWrite(page: number): Sleeps<void> {
    const range = { start: addressOf(page), end: addressOf(page + 1) };
    const failure = { address: range.start };
    const pinned = yield* pinPages(this.space, range, { write: true, failure });
    if (typeof pinned === "number") return;
    yield YIELD;
    const value = this.#newValue();
    setWord(this.world.memory.bytes.page(pinned.frames[0]!), value);
    this.#note(page, value);
    unpinPages(pinned);
  }

  *evictAll(device = 0): Sleeps<void> {
    yield* this.devices[device]!.evictAll();
  }

  *reclaim(frames: number): Sleeps<void> {
    yield* reclaimPages(this.world.memory, frames);
  }

  /** munmap, then a new mapping: zeros. */
  *remap(page: number, count = 1): Sleeps<void> {
    const result = yield* munmap(this.space, addressOf(page), count * PAGE_SIZE);
    assert(result === 0, () => `munmap: ${result}`);
    // Between the end of munmap and this line nobody ran.
    for (let i = 0; i < count; i++) this.#note(page + i, 0);
    yield* this.map(page, count);
  }

  /** Read-only, then writable again. */
  *protect(page: number, count = 1): Sleeps<void> {
    for (const flags of [VM_READ, RW]) {
      const result = yield* mprotect(this.space, addressOf(page), count * PAGE_SIZE, flags);
      assert(result === 0, () => `mprotect: ${result}`);
    }
  }

  /** A child writes `page`; the parent must not see it. */
  *forkAndWrite(page: number): Sleeps<void> {
    const child = yield* this.#fork();
    if (child === undefined) return;
    yield* this.store(page, child.cpu);
    yield* mmput(child.space);
    child.cpu.dispose();
  }

  /** A child reads `page`; it must not see what others write after the fork. */
  *forkAndRead(page: number): Sleeps<void> {
    const child = yield* this.#fork();
    if (child === undefined) return;
    this.#shared.read(page);
    const wanted = this.#oracle[page]!;
    const loaded = yield* child.cpu.load(addressOf(page));
    if (typeof loaded !== "number" && loaded.value !== wanted) {
      const message = `a child reads ${loaded.value} at page ${page}, it was ${wanted} at the fork`;
      throw new Violation("lost-update", message);
    }
    yield* mmput(child.space);
    child.cpu.dispose();
  }

  *#fork(): Sleeps<{ readonly space: AddressSpace; readonly cpu: SoftCpu } | undefined> {
    const space = yield* fork(this.space);
    if (typeof space === "number") return undefined;
    const child = { space, cpu: new SoftCpu(space) };
    this.#children.push(child);
    return child;
  }

  /** Takes a page away if that can be had without sleeping, as the OOM killer does. */
  *reap(page: number): Sleeps<void> {
    using _mmap = yield* this.space.mmapLock.acquireRead();
    const { notifiers } = this.space;
    const range = { start: addressOf(page), end: addressOf(page + 1) };
    const event = new Invalidation({ ...range, event: MMU_NOTIFY_CLEAR, blockable: false });
    const result: Result = yield* notifiers.change(event, () => {
      const cursor = this.space.cursor.begin();
      cursor.clearRange(vpnOf(range.start), vpnOf(range.end));
      cursor.flush();
      this.#note(page, 0);
    });
    assert(result === 0 || result === -EAGAIN, "a refused event says so");
  }

  /** The last user of the space leaves, unless a device uses it just now. */
  *exit(): Sleeps<void> {
    this.#hasExited = true;
    yield* mmput(this.space);
  }

  checkStep(): void {
    this.#check(false);
  }

  checkEnd(): void {
    this.#check(true);
    this.scheduler.runTask("look again", this.#lookAgain());
    this.scheduler.runTask("tear down", this.#tearDown());
    checkWorld(this.world.memory, { shadows: [], isOver: true });
  }

  /** No store was lost. */
  *#lookAgain(): Sleeps<void> {
    if (this.#hasExited) return;
    for (const page of this.#oracle.keys()) yield* this.load(page);
  }

  *#tearDown(): Sleeps<void> {
    for (const mirror of this.mirrors) yield* mirror.close();
    if (!this.#hasExited) yield* mmput(this.space);
    if (this.#idleChild !== undefined) yield* mmput(this.#idleChild);
    this.cpu.dispose();
  }

  /** Entries, frames, shadows and the oracle. */
  fingerprint(): string {
    const { memory } = this.world;
    const lines: string[] = [];
    const tables = [...memory.spaces].map((space) => space.pageTable);
    for (const table of [...tables, ...this.mirrors.map((mirror) => mirror.table)]) {
      const first = vpnOf(addressOf(0));
      const entries = this.#oracle.map((_, page) => table.get(vpn(first + page)).toString(16));
      lines.push(entries.join(" "));
    }
    for (const zone of memory.pages.zones) {
      const { refs, mapcount, flags, mapping } = memory.pages;
      zone.forEachUsed((frame) => {
        lines.push([frame, refs[frame], mapcount[frame], flags[frame], mapping[frame]].join(":"));
      });
    }
    lines.push([...this.cpu.tlb].sort(([a], [b]) => a - b).join(" "));
    lines.push(this.#oracle.join(" "), `${memory.swap.usedCount}`, `${this.space.users.count}`);
    return lines.join("\n");
  }

  #check(isQuiet: boolean): void {
    const cpus = [this.cpu, ...this.#children.map((child) => child.cpu)];
    checkWorld(this.world.memory, { shadows: [...cpus, ...this.mirrors], isQuiet });
  }

  #expectRights(page: number, told: number): void {
    if (told === DMIRROR_PROT_ERROR) return;
    const fact = this.space.pageTable.get(vpnOf(addressOf(page)));
    const isAway = (told & DMIRROR_PROT_DEV_PRIVATE_LOCAL) !== 0;
    const isThere = isAway ? isDevicePrivate(fact) : (fact & PTE_VALID) !== 0;
    const isWritable = isThere && (fact & PTE_WRITE) !== 0;
    const mayRead = (told & (DMIRROR_PROT_READ | DMIRROR_PROT_WRITE)) === 0 || isThere;
    if (mayRead && ((told & DMIRROR_PROT_WRITE) === 0 || isWritable)) return;
    const message = `a snapshot says 0x${told.toString(16)} of page ${page}, which is no longer so`;
    throw new Violation("stale-access", message);
  }

  #take(who: string): (at: Vpn, bytes: Uint8Array) => void {
    return (at, bytes) => this.#expect(at - BASE / PAGE_SIZE, wordOf(bytes), who);
  }

  /** Unlike all others, and the same in every schedule: tasks do not share a counter. */
  #newValue(): number {
    const { id } = this.scheduler.current;
    const made = (this.#values.get(id) ?? 0) + 1;
    this.#values.set(id, made);
    return id * 1000 + made;
  }

  #note(page: number, value: number): void {
    this.#shared.write(page);
    this.#oracle[page] = value;
  }

  #expect(page: number, got: number, who: string): void {
    this.#shared.read(page);
    const wanted = this.#oracle[page]!;
    if (got === wanted) return;
    const message = `${who} reads ${got} at page ${page}, the last store was ${wanted}`;
    throw new Violation("stale-access", message);
  }
}

const addressOf = (page: number): VirtAddr => virtAddr(BASE + page * PAGE_SIZE);

const wordOf = (bytes: Uint8Array): number =>
  new DataView(bytes.buffer, bytes.byteOffset).getUint32(0, true);

const setWord = (bytes: Uint8Array, value: number): void =>
  new DataView(bytes.buffer, bytes.byteOffset).setUint32(0, value, true);
