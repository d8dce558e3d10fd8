import { mkdtempSync, readFileSync, rmSync, statSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { describe, expect, it, onTestFinished } from "vitest";
import { EIO, PAGE_SIZE, type Result, virtAddr } from "../../base/index.ts";
import { checkWorld } from "../../check/index.ts";
import { SoftCpu } from "../../cpu/index.ts";
import {
  AddressSpace,
  type CachedFile,
  mmap,
  mmput,
  munmap,
  reclaimPages,
  SwapArea,
  VM_READ,
  VM_WRITE,
} from "../../mm/index.ts";
import type { Sleeps } from "../../sync/index.ts";
import { buildWorld } from "../world.ts";
import { HostSwapStore, openHostFile } from "./index.ts";

const RW = VM_READ | VM_WRITE;

function folder(): string {
  const path = mkdtempSync(join(tmpdir(), "onespace-host-"));
  onTestFinished(() => rmSync(path, { recursive: true }));
  return path;
}

/** A file of `pages` pages, word 0 of each its number plus 1; and a space that may map it. */
function build(pages: number, write = true) {
  const path = join(folder(), "data.bin");
  const words = new Uint32Array((pages * PAGE_SIZE) / 4);
  for (let page = 0; page < pages; page++) words[(page * PAGE_SIZE) / 4] = page + 1;
  writeFileSync(path, words);
  const world = buildWorld({ frames: 64 });
  const space = new AddressSpace(world.memory);
  const cpu = new SoftCpu(space);
  const file = openHostFile(world.memory, path, { write });
  const run = <T>(body: Sleeps<T>): T => world.scheduler.runTask("test", body);
  const map = (options: Partial<Parameters<typeof mmap>[1]> = {}): Result =>
    run(mmap(space, { bytes: pages * PAGE_SIZE, flags: RW, file, ...options }));
  const load = (address: number): Result => {
    const loaded = run(cpu.load(virtAddr(address)));
    return typeof loaded === "number" ? loaded : loaded.value;
  };
  const store = (address: number, value: number): Result =>
    run(cpu.store(virtAddr(address), value));
  const close = (): void => {
    run(mmput(space));
    file.put();
    checkWorld(world.memory, { shadows: [], isOver: true });
  };
  const onDisk = (page: number): number => readFileSync(path).readUInt32LE(page * PAGE_SIZE);
  return { path, world, space, cpu, file, run, map, load, store, close, onDisk };
}

describe("a host file", () => {
  it("is seen through a mapping, and written back when it is synced", () => {
    const { map, load, store, file, run, onDisk, close, world, cpu } = build(3);
    const at = map({ isShared: true });
    expect([load(at), load(at + 2 * PAGE_SIZE)]).toEqual([1, 3]);
    expect(store(at + PAGE_SIZE, 77)).toBe(0);
    expect(onDisk(1)).toBe(2);
    expect([run(file.sync()), onDisk(1)]).toEqual([1, 77]);
    checkWorld(world.memory, { shadows: [cpu] });
    expect(run(file.sync())).toBe(0);
    expect([store(at + PAGE_SIZE, 78), run(file.sync()), onDisk(1)]).toEqual([0, 1, 78]);
    close();
  });

  it("is never changed by a private mapping", () => {
    const { map, load, store, file, run, onDisk, close } = build(1);
    const at = map();
    expect([store(at, 9), load(at), run(file.sync()), onDisk(0)]).toEqual([0, 9, 0, 1]);
    close();
    expect(onDisk(0)).toBe(1);
  });

  it("has what was stored when its last user goes", () => {
    const { map, store, onDisk, close } = build(2);
    const at = map({ isShared: true });
    store(at + PAGE_SIZE, 5);
    close();
    expect(onDisk(1)).toBe(5);
  });

  it("may not be written when it was opened for reading", () => {
    const { map, load, close } = build(1, false);
    expect(map({ isShared: true, isReadOnlyFile: true })).toBe(-13);
    const at = map({ isShared: true, isReadOnlyFile: true, flags: VM_READ });
    expect(load(at)).toBe(1);
    close();
  });

  it("is a bus error behind its end, also after it was cut", () => {
    const { path, map, load, store, file, run, close } = build(3);
    const at = map({ isShared: true });
    const copy = map();
    store(copy + 2 * PAGE_SIZE, 6);
    expect(run(file.truncate(PAGE_SIZE + 8))).toBe(0);
    expect(statSync(path).size).toBe(PAGE_SIZE + 8);
    expect([load(at + PAGE_SIZE), load(at + 2 * PAGE_SIZE)]).toEqual([2, -EIO]);
    expect(load(copy + 2 * PAGE_SIZE)).toBe(-EIO);
    expect(load(at + PAGE_SIZE + 8)).toBe(0);
    close();
  });

  it("grows when it is written behind its end", () => {
    const { path, file, run, onDisk, close } = build(1);
    expect(file.write(PAGE_SIZE, new Uint8Array([4, 0, 0, 0]))).toBe(4);
    expect([statSync(path).size, run(file.sync()), onDisk(1)]).toEqual([PAGE_SIZE + 4, 1, 4]);
    const out = new Uint8Array(8);
    expect([file.read(PAGE_SIZE - 4, out), out[4]]).toEqual([8, 4]);
    close();
  });

  it("gives its clean pages back under pressure and reads them again", () => {
    const { map, load, file, run, world, space, close } = build(4);
    const at = map({ isShared: true, flags: VM_READ });
    load(at);
    expect(file.cachedCount).toBeGreaterThan(0);
    expect(run(reclaimPages(world.memory, 8))).toBeGreaterThan(0);
    expect([file.cachedCount, space.rssPages]).toEqual([0, 0]);
    expect(load(at + 3 * PAGE_SIZE)).toBe(4);
    run(munmap(space, virtAddr(at), PAGE_SIZE));
    close();
  });

  it("must be a plain file that exists", () => {
    const { memory } = buildWorld({ frames: 16 });
    expect(() => openHostFile(memory, join(folder(), "none"))).toThrow(/ENOENT/);
    expect((): CachedFile => openHostFile(memory, folder())).toThrow(/not a plain file/);
  });
});

describe("a swap file", () => {
  it("holds what does not fit into RAM, and has no name", () => {
    const path = join(folder(), "swap");
    const store = new HostSwapStore(path);
    expect(() => statSync(path)).toThrow(/ENOENT/);
    const world = buildWorld({ frames: 8, swap: new SwapArea(64, store) });
    const space = new AddressSpace(world.memory);
    const cpu = new SoftCpu(space);
    const run = <T>(body: Sleeps<T>): T => world.scheduler.runTask("test", body);
    const at = run(mmap(space, { bytes: 32 * PAGE_SIZE, flags: RW }));
    for (let page = 0; page < 32; page++) {
      expect(run(cpu.store(virtAddr(at + page * PAGE_SIZE), page + 1))).toBe(0);
      checkWorld(world.memory, { shadows: [cpu] });
    }
    for (let page = 0; page < 32; page++) {
      expect(run(cpu.load(virtAddr(at + page * PAGE_SIZE)))).toEqual({ value: page + 1 });
    }
    run(mmput(space));
    checkWorld(world.memory, { shadows: [], isOver: true });
    store.close();
  });
});
