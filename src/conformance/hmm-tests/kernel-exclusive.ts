/** The kernel's tests of exclusive access, of pins, and of copies on write on a device. */
import { type AddrRange, EPERM } from "../../base/index.ts";
import { DMIRROR_PROT_DEV_COHERENT_LOCAL, DMIRROR_PROT_WRITE } from "../../driver/dmirror/index.ts";
import { type PinnedPages, pinPages, unpinPages, VM_READ } from "../../mm/index.ts";
import { Completion, RandomStrategy, type Sleeps, TaskState } from "../../sync/index.ts";
import { expectDone, expectError, expectResult, expectSame, fail } from "./expect.ts";
import type { Buffer } from "./process.ts";
import { type HmmTest, PAGES, type Stage } from "./stage.ts";
import { counted, countedFrom, WordBuffer } from "./words.ts";

const WRITABLE = [DMIRROR_PROT_WRITE, DMIRROR_PROT_WRITE];

export const EXCLUSIVE_TESTS: readonly HmmTest[] = [
  {
    name: "hmm.exclusive",
    checks: "the CPU's touch takes every exclusive page back",
    run(open) {
      const buffer = exclusiveBuffer(open());
      expectResult("check before", buffer.checkExclusive(), -EPERM);
      buffer.process.run(buffer.incrementing());
      buffer.expect("incremented", countedFrom(1));
      expectResult("check", buffer.checkExclusive(), 0);
    },
  },
  {
    name: "hmm.exclusive_mprotect",
    checks: "exclusive pages that become read-only may not be written by the device",
    run(open) {
      const buffer = exclusiveBuffer(open());
      buffer.protect(VM_READ);
      expectError("write", buffer.write(new WordBuffer(PAGES, counted)), EPERM);
    },
  },
  {
    name: "hmm.exclusive_cow",
    checks: "parent and child increment exclusive pages at once; neither sees the other",
    run(open) {
      const stage = open({ strategy: new RandomStrategy(27) });
      const buffer = exclusiveBuffer(stage);
      const child = stage.fork();
      const { scheduler } = stage.world;
      const counting = [buffer, buffer.in(child)].map((each) =>
        scheduler.spawn("increment", incrementAndCheck(each)),
      );
      stage.runAll(...counting);
      stage.exit(child);
      buffer.expect("parent at the end", countedFrom(1));
    },
  },
];

export const PIN_TEST: HmmTest = {
  name: "hmm.hmm_gup_test",
  checks: "pins: private pages come home, coherent ones only for the long term",
  run(open) {
    const { main, kind } = open();
    const buffer = main.map(4);
    buffer.store(counted);
    buffer.moveToDevice();
    pinAndUnpin(buffer.part(0, 2), false);
    pinAndUnpin(buffer.part(2, 2), true);
    const stays = DMIRROR_PROT_DEV_COHERENT_LOCAL | DMIRROR_PROT_WRITE;
    const first = kind === "private" ? WRITABLE : [stays, stays];
    expectSame("snapshot", buffer.snapshot(), [...first, ...WRITABLE]);
    buffer.expect("after the pins", counted);
  },
};

export const COW_TEST: HmmTest = {
  name: "hmm.hmm_cow_in_device",
  checks: "a parent writes device pages that a sleeping child shares; the child is killed",
  run(open) {
    const stage = open();
    const { scheduler } = stage.world;
    const buffer = stage.main.map(4);
    buffer.store(counted);
    buffer.moveToDevice();
    const child = stage.fork();
    const sleeper = scheduler.spawn("child", new Completion(scheduler, "a signal").wait());
    buffer.store(counted);
    expectSame("the child sleeps", sleeper.state, TaskState.blocked);
    scheduler.kill(sleeper);
    expectSame("the child was killed", sleeper.state, TaskState.killed);
    stage.exit(child);
    expectSame("snapshot", buffer.snapshot(), [...WRITABLE, ...WRITABLE]);
    buffer.expect("parent", counted);
  },
};

/** 4 MiB that the device has for itself. */
function exclusiveBuffer({ main }: Stage): Buffer {
  const buffer = main.map(PAGES);
  buffer.store(counted);
  const mirror = new WordBuffer(PAGES);
  expectDone("exclusive", buffer.exclusive(mirror), PAGES);
  mirror.expect("read by the device", counted);
  return buffer;
}

function* incrementAndCheck(buffer: Buffer): Sleeps<void> {
  yield* buffer.expecting("before", counted);
  yield* buffer.incrementing();
  yield* buffer.expecting("incremented", countedFrom(1));
}

function pinAndUnpin(buffer: Buffer, longTerm: boolean): void {
  const { space } = buffer.process;
  const range: AddrRange = { start: buffer.at, end: buffer.end };
  const failure = { address: buffer.at };
  const pinned = buffer.process.run(pinPages(space, range, { write: true, longTerm, failure }));
  if (typeof pinned === "number") fail(`pin: ${pinned}`);
  unpinPages(pinned as PinnedPages);
}
