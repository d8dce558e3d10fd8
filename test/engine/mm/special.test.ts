import { afterEach, describe, expect, it } from "vitest";
import { EBUSY, EFAULT, EINVAL, EIO, type Pfn } from "../../../src/base/index.ts";
import { DMIRROR_PROT_ERROR, DMIRROR_PROT_WRITE } from "../../../src/driver/dmirror/index.ts";
import {
  Advice,
  isWritable,
  mapSpecial,
  poisonPage,
  releaseSpecial,
  SPECIAL_POISON,
  SpecialKind,
  SwapArea,
  VM_READ,
} from "../../../src/mm/index.ts";
import {
  pageAt,
  RW,
  TestBacking,
  type TestProcess,
  type TestWorld,
  testWorld,
} from "../test-world.ts";

/** Frames of a driver, filled with 10, 11, …, and given back when the test has unmapped them. */
class Driver {
  readonly world: TestWorld;
  readonly frames: Pfn[];

  constructor(count: number) {
    this.world = testWorld();
    this.frames = Array.from({ length: count }, () => this.world.memory.allocFrame() as Pfn);
    this.frames.forEach((frame, i) => {
      this.world.memory.bytes.storeWord(frame, 0, 10 + i);
    });
  }

  map(page: number, kind: SpecialKind, flags = RW, frames = this.frames): number {
    return this.world.run(
      mapSpecial(this.world.space, { start: pageAt(page), kind, frames, flags }),
    );
  }

  takeBack(): void {
    for (const { start, end } of [...this.world.space.vmas.all]) {
      this.world.unmap((start - pageAt(0)) / 4096, (end - start) / 4096);
    }
    releaseSpecial(this.world.space, this.frames);
    for (const frame of this.frames) this.world.memory.pages.put(frame);
  }
}

const drivers: Driver[] = [];
const driver = (count: number): Driver => {
  const made = new Driver(count);
  drivers.push(made);
  return made;
};
afterEach(() => {
  for (const each of drivers.splice(0)) each.takeBack();
});

const KINDS = Object.values(SpecialKind);

describe("a driver's frames in a mapping", () => {
  it.each(KINDS)("%s: are there without a fault, for CPUs", (kind) => {
    const { world, ...rest } = driver(2);
    expect(drivers[0]!.map(0, kind)).toBe(pageAt(0));
    expect([world.loads(0, 2), world.store(1, 7), world.count("mm:fault")]).toEqual([
      [10, 11],
      0,
      0,
    ]);
    expect(world.memory.bytes.loadWord(rest.frames[1]!, 0)).toBe(7);
    expect([world.space.rssPages, world.memory.pages.refs[rest.frames[0]!]]).toEqual([0, 2]);
  });

  it("are read and written by devices when they are mixed, never when they are raw", () => {
    const made = driver(1);
    made.map(0, SpecialKind.mixed);
    made.map(5, SpecialKind.raw);
    const { world } = made;
    expect([world.deviceLoad(0), world.deviceStore(0, 7), world.load(0)]).toEqual([10, 0, 7]);
    expect([world.deviceLoad(5), world.deviceStore(5, 8)]).toEqual([-EFAULT, -EFAULT]);
    expect([world.snapshot(0, 1), world.snapshot(5, 1)]).toEqual([
      [DMIRROR_PROT_WRITE],
      [DMIRROR_PROT_ERROR],
    ]);
  });

  it("have no more rights than they were given", () => {
    const made = driver(1);
    made.map(0, SpecialKind.mixed, VM_READ);
    const { world } = made;
    expect([world.load(0), world.store(0, 1), isWritable(world.pte(0))]).toEqual([
      10,
      -EFAULT,
      false,
    ]);
    expect([world.protect(0, 1, RW), world.store(0, 7), world.load(0)]).toEqual([0, 0, 7]);
    expect([world.protect(0, 1, 0), world.load(0)]).toEqual([0, -EFAULT]);
  });

  it.each(KINDS)("%s: stay where they are, whatever asks for them", (kind) => {
    const made = driver(1);
    made.map(0, kind);
    const { world } = made;
    expect([world.toDevice(0, 1), world.exclusive(0, 1), world.lockOut(0, 1)]).toEqual([
      -EINVAL,
      -EBUSY,
      0,
    ]);
    expect(world.advise(0, 1, Advice.guardInstall)).toBe(-EINVAL);
    expect(world.run(poisonPage(world.space, pageAt(0)))).toBe(-EINVAL);
    expect([world.load(0), world.frame(0)]).toEqual([10, made.frames[0]]);
  });

  it("may not be asked for or given up when they are raw", () => {
    const made = driver(1);
    made.map(0, SpecialKind.raw);
    for (const advice of [
      Advice.dontNeed,
      Advice.populateRead,
      Advice.populateWrite,
      Advice.pageOut,
      Advice.remove,
    ]) {
      expect(made.world.advise(0, 1, advice)).toBe(-EINVAL);
    }
    expect(made.world.load(0)).toBe(10);
  });

  it("are gone for good when they are given up: a touch is a bus error", () => {
    const made = driver(2);
    made.map(0, SpecialKind.mixed);
    const { world } = made;
    expect(world.advise(0, 1, Advice.dontNeed)).toBe(0);
    expect([world.load(0), world.load(1), world.deviceLoad(0)]).toEqual([-EIO, 11, -EFAULT]);
    expect(world.memory.pages.refs[made.frames[0]!]).toBe(1);
  });

  it.each(KINDS)("%s: are the child's, too, and the same memory", (kind) => {
    const made = driver(1);
    made.map(0, kind);
    const { world } = made;
    const child = world.fork();
    child.store(0, 7);
    expect([world.load(0), child.frame(0)]).toEqual([7, made.frames[0]]);
    child.leave();
  });

  it("are unmapped in part, moved, but not made more", () => {
    const made = driver(3);
    made.map(0, SpecialKind.mixed);
    const { world } = made;
    expect(world.unmap(1, 1)).toBe(0);
    expect([world.move(2, 1, 20), world.load(20), world.load(0)]).toEqual([20, 12, 10]);
    expect(world.move(0, 1, 30, 2)).toBe(-EFAULT);
    expect(world.load(0)).toBe(10);
  });

  it("cannot be mapped over something, nowhere, or as nothing", () => {
    const made = driver(1);
    const { world } = made;
    world.map(5, 1);
    expect([made.map(5, SpecialKind.mixed), made.map(0, SpecialKind.mixed, RW, [])]).toEqual([
      -EBUSY,
      -EINVAL,
    ]);
    expect([made.map(-(2 ** 17), SpecialKind.mixed), made.map(0.5, SpecialKind.mixed)]).toEqual([
      -EINVAL,
      -EINVAL,
    ]);
    expect(world.memory.pages.refs[made.frames[0]!]).toBe(1);
  });
});

describe("a broken page", () => {
  const poison = (world: TestProcess, page: number): number =>
    world.run(poisonPage(world.space, pageAt(page)));

  it("is a bus error to everybody, and its frame is never used again", () => {
    const world = testWorld({ frames: 2 });
    world.map(0, 3);
    world.store(0, 7);
    world.deviceLoad(0);
    const frame = world.frame(0);
    const log = world.watch();
    expect([poison(world, 0), log]).toEqual([0, ["start 1 0..1", "end 1 0..1"]]);
    world.check();
    expect([world.load(0), world.store(0, 1), world.deviceLoad(0)]).toEqual([-EIO, -EIO, -EFAULT]);
    expect([world.special(0), world.space.rssPages]).toEqual([SPECIAL_POISON, 0]);
    expect([world.store(1, 1), world.store(2, 2)]).toEqual([0, -12]);
    expect([world.frame(1) === frame, world.memory.poisoned]).toEqual([false, [frame]]);
  });

  it("is broken for all that share it after fork, and for children born later", () => {
    const world = testWorld();
    world.map(0, 2);
    for (const page of [0, 1]) world.store(page, 7);
    const child = world.fork();
    const logs = [world.watch(), child.watch()];
    expect(poison(child, 0)).toBe(0);
    expect(logs[0]).toEqual(logs[1]);
    expect([world.load(0), child.load(0), world.fork().load(0)]).toEqual([-EIO, -EIO, -EIO]);
    expect([world.load(1), child.load(1)]).toEqual([7, 7]);
  });

  it("does not reach a copy that was made in time", () => {
    const world = testWorld();
    world.map(0, 1);
    world.store(0, 7);
    const child = world.fork();
    child.store(0, 8);
    poison(world, 0);
    expect([world.load(0), child.load(0)]).toEqual([-EIO, 8]);
  });

  it("is replaced by zeros when it is given up or mapped anew", () => {
    const world = testWorld();
    world.map(0, 2);
    for (const page of [0, 1]) {
      world.store(page, 7);
      poison(world, page);
    }
    world.advise(0, 1, Advice.dontNeed);
    world.tryMap(1, 1, { mode: "fixed" });
    expect(world.loads(0, 2)).toEqual([0, 0]);
  });

  it("of a file is broken in every mapping of the file, and to read", () => {
    const world = testWorld();
    const file = world.file(2, new TestBacking(2));
    world.map(0, 2, VM_READ, { file });
    world.map(10, 2, VM_READ, { file, isShared: true });
    for (const page of [0, 10]) world.load(page);
    expect(poison(world, 0)).toBe(0);
    world.check();
    expect([world.load(0), world.load(10), world.load(1)]).toEqual([-EIO, -EIO, 101]);
    expect(file.read(0, new Uint8Array(4))).toBe(-EIO);
  });

  it("must be there, in RAM, and the program's own", () => {
    const world = testWorld();
    world.map(0, 3);
    world.load(0);
    world.store(1, 7);
    world.toDevice(1, 1);
    expect([poison(world, 0), poison(world, 1), poison(world, 2), poison(world, 9)]).toEqual([
      -EFAULT,
      -EINVAL,
      -EFAULT,
      -EFAULT,
    ]);
    expect(world.load(1)).toBe(7);
  });

  it("cannot be broken twice, moved, sent away or pinned", () => {
    const world = testWorld({ swap: new SwapArea(4) });
    world.map(0, 1);
    world.store(0, 7);
    poison(world, 0);
    expect(poison(world, 0)).toBe(-EFAULT);
    expect([world.toDevice(0, 1) < 0, world.exclusive(0, 1)]).toEqual([true, -EBUSY]);
    expect(world.advise(0, 1, Advice.pageOut)).toBe(0);
    expect(() => world.pin(0, 1, false)).toThrow(/cannot be pinned/);
    expect(world.special(0)).toBe(SPECIAL_POISON);
  });

  it("that somebody pins stays pinned, but is mapped no more", () => {
    const world = testWorld();
    world.map(0, 1);
    world.store(0, 7);
    const { frames } = world.pin(0, 1, true);
    expect([poison(world, 0), world.load(0)]).toEqual([0, -EIO]);
    expect(world.memory.pages.pins[frames[0]!]).toBe(1);
    world.memory.pages.unpin(frames[0]!, true);
  });
});
