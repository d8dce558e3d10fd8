/**
 * A windowed world with real page faults, for one test. The roles are those of a machine with a
 * kernel thread turned round: this thread serves the window and must not touch it, users are
 * worker threads.
 */
import { closeSync, openSync, readSync } from "node:fs";
import { expect, onTestFinished } from "vitest";
import {
  addrOf,
  PAGE_SIZE,
  type Result,
  type VirtAddr,
  type Vpn,
  virtAddr,
  vpn,
  vpnOf,
} from "../../../src/base/index.ts";
import { checkWorld } from "../../../src/check/index.ts";
import {
  type BadAccess,
  type Bracket,
  Brackets,
  HostCpu,
  HostMemory,
  type HostMemoryOptions,
  type WasmMemory,
} from "../../../src/cpu/index.ts";
import { Dmirror, DmirrorDevice } from "../../../src/driver/dmirror/index.ts";
import { buildWorld, type World, type WorldOptions } from "../../../src/machine/world.ts";
import {
  AddressSpace,
  MapMode,
  mmap,
  mmput,
  mprotect,
  munmap,
  PTE_VALID,
  PTE_WRITE,
} from "../../../src/mm/index.ts";
import type { Sleeps } from "../../../src/sync/index.ts";
import { bytesOf, RW } from "../test-world.ts";
import { User } from "./host-user.ts";

/** Page 0 of a test. Low, because windows of tests are small. */
export const at = (page: number): VirtAddr => virtAddr(0x10_0000 + page * PAGE_SIZE);
export const FIRST = vpnOf(at(0));
export const pageOf = (page: number): Vpn => vpn(FIRST + page);

const WASM_PAGE = 65_536;
/** How long a test waits for what must happen, and for what must not. Milliseconds. */
const PATIENCE = 20_000;
const GLANCE = 40;

interface WasmApi {
  readonly Memory: new (type: { initial: number; maximum: number; shared: true }) => WasmMemory;
}

/** A window of `bytes`: a shared WebAssembly.Memory. */
export function wasmMemory(bytes: number): WasmMemory {
  const { Memory } = (globalThis as unknown as { WebAssembly: WasmApi }).WebAssembly;
  const pages = bytes / WASM_PAGE;
  return new Memory({ initial: pages, maximum: pages, shared: true });
}

export interface HostWorldOptions extends Pick<WorldOptions, "limitPages">, HostMemoryOptions {
  /** Bytes of the window. Default 16 MiB. */
  readonly bytes?: number;
  readonly around?: number;
  readonly deviceFrames?: number;
}

export class HostWorld {
  readonly wasm: WasmMemory;
  readonly memory: HostMemory;
  readonly world: World;
  readonly space: AddressSpace;
  readonly cpu: HostCpu;
  readonly brackets: Brackets;
  readonly mirror: Dmirror;
  readonly bad: BadAccess[] = [];
  readonly users: User[] = [];
  /** The window by its direct map. */
  readonly words: Uint32Array;

  constructor(options: HostWorldOptions = {}) {
    this.wasm = wasmMemory(options.bytes ?? 2 ** 24);
    this.memory = HostMemory.open(this.wasm.buffer, options);
    const window = { buffer: this.memory.bytes };
    const { limitPages } = options;
    this.world = buildWorld({ window, ...(limitPages === undefined ? {} : { limitPages }) });
    this.words = new Uint32Array(this.memory.bytes);
    this.space = new AddressSpace(this.world.memory, { isIdentity: true });
    this.cpu = new HostCpu(this.space, this.memory, {
      around: options.around ?? 1,
      onBadAccess: (bad) => this.bad.push(bad),
    });
    this.brackets = new Brackets(this.space, this.cpu);
    const frames = options.deviceFrames ?? 64;
    const device = new DmirrorDevice(this.world.memory, { name: "dmirror0", frames });
    this.mirror = Dmirror.open(device, this.space) as Dmirror;
  }

  async addUser(): Promise<User> {
    const user = await User.start(this.wasm);
    this.users.push(user);
    return user;
  }

  run<T>(body: Sleeps<T>): T {
    return this.world.scheduler.runTask("test", body);
  }

  map(page: number, count: number, flags = RW): void {
    const options = { start: at(page), bytes: bytesOf(count), flags, mode: MapMode.noReplace };
    expect(this.run(mmap(this.space, options))).toBe(at(page));
  }

  unmap(page: number, count: number): number {
    return this.run(munmap(this.space, at(page), bytesOf(count)));
  }

  protect(page: number, count: number, access: number): number {
    return this.run(mprotect(this.space, at(page), bytesOf(count), access));
  }

  toDevice(page: number, count = 1): number {
    return this.run(this.mirror.migrateToDevice(at(page), count, () => {})).result;
  }

  access(page: number, count: number, write: boolean): Bracket | Result {
    const range = { start: at(page), end: at(page + count) };
    return this.run(this.brackets.open(range, write, { address: virtAddr(0) }));
  }

  open(page: number, count: number, write: boolean): Bracket {
    const pinned = this.access(page, count, write);
    expect(typeof pinned).toBe("object");
    return pinned as Bracket;
  }

  /** Serves what has faulted, once. */
  turn(waitMs = 1): number {
    this.memory.poll(waitMs, 60);
    const faults = this.cpu.serveFaults();
    this.world.scheduler.run();
    return faults;
  }

  /** Serves until `isOver`. */
  serveUntil(isOver: () => boolean): void {
    const deadline = performance.now() + PATIENCE;
    while (!isOver()) {
      this.turn();
      if (performance.now() < deadline) continue;
      throw new Error(`nothing happens: ${this.world.scheduler.describeWaits()}`);
    }
  }

  /** Lets a user run a scrap to its end, serving its faults. Throws what it throws. */
  do(user: User, body: string, args?: unknown): unknown {
    user.begin(body, args);
    return this.end(user);
  }

  /** Serves until the user's scrap has ended: its value. */
  end(user: User): unknown {
    let answer = user.answer();
    this.serveUntil(() => {
      answer ??= user.answer();
      return answer !== undefined;
    });
    if (answer!.error !== undefined) throw new Error(answer!.error);
    return answer!.value;
  }

  load(user: User, page: number): unknown {
    return this.do(user, "return u32[a >>> 2]", at(page));
  }

  store(user: User, page: number, value: number): void {
    this.do(user, "u32[a[0] >>> 2] = a[1]", [at(page), value]);
  }

  /** The user is stuck although everything is served. */
  expectStuck(user: User): void {
    const deadline = performance.now() + GLANCE;
    while (performance.now() < deadline) {
      this.turn();
      expect(user.answer()).toBeUndefined();
    }
  }

  /** The first word of a page, by the direct map. */
  word(page: number): number {
    return this.words[at(page) >>> 2]!;
  }

  rights(page: number, count = 1): string {
    const letter = (rights: number): string => ["-", "r", "?", "w"][rights] ?? "left";
    const all = Array.from({ length: count }, (_, i) => this.cpu.rightsOf(pageOf(page + i)));
    return all.map(letter).join("");
  }

  /** The hardware is within the shadow, the shadow within the page table, and all adds up. */
  check(isOver = false): void {
    checkWorld(this.world.memory, { shadows: [this.cpu, this.mirror], isOver });
    const hardware = hardwareRights(this.memory);
    for (let page = 0; page < hardware.length; page++) {
      const rights = this.cpu.rightsOf(vpn(page));
      // What is left to the host has all rights, and the page table need not know.
      if (rights > (PTE_VALID | PTE_WRITE)) continue;
      const pte = this.space.pageTable.get(vpn(page));
      // The write bit of a page that lives elsewhere is no right.
      const fact = (pte & PTE_VALID) === 0 ? 0 : pte & (PTE_VALID | PTE_WRITE);
      if ((hardware[page]! & ~rights) !== 0 || (rights & ~fact) !== 0) {
        const found = `hardware ${hardware[page]}, shadow ${rights}, entry ${fact}`;
        throw new Error(`page ${page - FIRST} at ${addrOf(vpn(page))}: ${found}`);
      }
    }
  }

  /** Users end, and everything is given back. */
  async over(hasFailed: boolean): Promise<void> {
    if (!hasFailed && !this.memory.isClosed) {
      this.check();
      this.run(mmput(this.space));
      this.run(this.mirror.close());
      this.check(true);
    }
    // Whoever is stuck goes on now.
    this.memory.close();
    for (const user of this.users) await user.exit();
  }
}

/** A world for the running test, checked and given back when the test is over. */
export function hostWorld(options: HostWorldOptions = {}): HostWorld {
  const world = new HostWorld(options);
  onTestFinished(({ task }) => world.over(task.result?.state === "fail"));
  return world;
}

/** What the hardware maps at each page of a window: Linux tells in /proc/self/pagemap. */
export function hardwareRights(memory: HostMemory): Uint8Array {
  const entries = new BigUint64Array(memory.pageCount);
  const fd = openSync("/proc/self/pagemap", "r");
  readSync(fd, entries, 0, entries.byteLength, (memory.mappings.base / PAGE_SIZE) * 8);
  closeSync(fd);
  return Uint8Array.from(entries, (entry) => {
    const isPresent = (entry >> 63n) & 1n;
    const isProtected = (entry >> 57n) & 1n;
    return isPresent ? PTE_VALID | (isProtected ? 0 : PTE_WRITE) : 0;
  });
}
