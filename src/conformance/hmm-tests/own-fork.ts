/** Our test of fork over pages that are not where the CPU left them. */
import { EFAULT, type Pfn, pfn, type Result, vpnOf } from "../../base/index.ts";
import { evictFrames } from "../../devmem/index.ts";
import { isDevicePrivate, isExclusive, isMigration, isPresent, ptePfn } from "../../mm/index.ts";
import { Completion, type Sleeps } from "../../sync/index.ts";
import { expectDone, expectError, expectResult, expectSame } from "./expect.ts";
import type { Buffer } from "./process.ts";
import type { HmmTest, Stage } from "./stage.ts";
import { counted, countedFrom, WordBuffer } from "./words.ts";

export const FORK_TEST: HmmTest = {
  name: "onespace.A-37",
  checks: "fork with pages on the device, exclusive and moving; then everybody writes",
  run(open) {
    // Who writes first matters: the other one finds the page shared or alone.
    for (const order of ["parent first", "child first"] as const) {
      for (const by of ["cpu", "device"] as const) forkAndWrite(open(SMALL), order, by);
    }
  },
};

const SMALL = { frames: 128, deviceFrames: 16 };
const [ON_DEVICE, EXCLUSIVE, MOVING, PAGES] = [0, 1, 2, 4];

function forkAndWrite(stage: Stage, order: "parent first" | "child first", by: "cpu" | "device") {
  const { main, world, kind } = stage;
  const buffer = main.map(PAGES);
  buffer.store(counted);
  buffer.part(ON_DEVICE, 1).moveToDevice();
  buffer.part(MOVING, 1).moveToDevice();
  expectDone("exclusive", buffer.part(EXCLUSIVE, 1).exclusive(new WordBuffer(1)), 1);
  const arrived = new Completion<void>(world.scheduler, "the copy");
  const leaving = pteOf(buffer, MOVING);
  const moving = world.scheduler.spawn("evict", evictSlowly(stage, ptePfn(leaving), arrived));
  world.scheduler.run();
  expectSame("on the device", isDevicePrivate(pteOf(buffer, ON_DEVICE)), kind === "private");
  expectSame("exclusive", isExclusive(pteOf(buffer, EXCLUSIVE)), true);
  expectSame("moving", isMigration(pteOf(buffer, MOVING)), true);
  const child = stage.fork();
  const inherited = buffer.in(child);
  expectSame("moving in the child", isMigration(pteOf(inherited, MOVING)), true);
  expectSame("exclusive in the child", isExclusive(pteOf(inherited, EXCLUSIVE)), false);
  arrived.complete();
  stage.runAll(moving);
  expectResult("moved", moving.result!, 1);
  expectSame("arrived", isPresent(pteOf(inherited, MOVING)), true);
  stage.check();
  writeBoth(order === "parent first" ? [buffer, inherited] : [inherited, buffer], by);
  stage.exit(child);
}

/** Each writes everything; nobody sees what the other has written. */
function writeBoth([first, second]: readonly [Buffer, Buffer], by: "cpu" | "device"): void {
  write(first, 1000, by);
  second.expect("after the first has written", counted);
  write(second, 2000, by);
  first.expect("the first", countedFrom(1000));
  second.expect("the second", countedFrom(2000));
  first.process.run(first.incrementing());
  readByDevice(first, 1001);
  readByDevice(second, 2000);
}

function write(buffer: Buffer, from: number, by: "cpu" | "device"): void {
  if (by === "cpu") buffer.store(countedFrom(from));
  else writeByDevice(buffer, from);
}

/** A private page of its own that others see the device may not write, as in Linux: the CPU may. */
function writeByDevice(buffer: Buffer, from: number): void {
  const content = new WordBuffer(PAGES, countedFrom(from));
  if (isDevicePrivate(pteOf(buffer, ON_DEVICE))) {
    expectError("write of a page that others see", buffer.write(content), EFAULT);
    buffer.part(ON_DEVICE, 1).store(countedFrom(from));
  }
  expectDone("write", buffer.write(content), PAGES);
}

function readByDevice(buffer: Buffer, from: number): void {
  const mirror = new WordBuffer(PAGES);
  expectDone("read", buffer.read(mirror), PAGES);
  mirror.expect("read by the device", countedFrom(from));
}

const pteOf = (buffer: Buffer, page: number) =>
  buffer.process.space.pageTable.get(vpnOf(buffer.addressOf(page)));

/** Brings one page home; its copy takes until `arrived`. */
function evictSlowly(stage: Stage, frame: Pfn, arrived: Completion<void>): Sleeps<Result> {
  const { memory } = stage.world;
  return evictFrames(memory, [frame], function* ([from], [to]) {
    yield* arrived.wait();
    memory.bytes.write(pfn(to!), stage.device.bytesOf(from!), 0);
    return 0;
  });
}
