/** The kernel's tests of devices that read and write anonymous memory. */
import { EFAULT, EPERM, PAGE_SIZE, vpnOf } from "../../base/index.ts";
import { Advice, munmap, VM_READ } from "../../mm/index.ts";
import { Random, RandomStrategy, type Sleeps, YIELD } from "../../sync/index.ts";
import { expectDone, expectError, expectSame } from "./expect.ts";
import { type Buffer, RW } from "./process.ts";
import { type HmmTest, PAGES, type Stage } from "./stage.ts";
import { counted, countedFrom, negated, PAGE_WORDS, WordBuffer, zeros } from "./words.ts";

export const HUGE_PAGES = 512;
const LOOPS = 10;

export const ANONYMOUS_TESTS: readonly HmmTest[] = [
  {
    name: "hmm.open_close",
    checks: "a device that opens and closes leaves no subscription behind",
    run(open) {
      const { main } = open();
      expectSame("subscriptions", main.space.notifiers.intervalCount, 1);
      main.run(main.close());
      expectSame("subscriptions left", main.space.notifiers.intervalCount, 0);
      expectSame("users of the space", main.space.users.count, 1);
    },
  },
  {
    name: "hmm.anon_read",
    checks: "a device reads pages that are missing, zero and read-only",
    run(open) {
      const buffer = open().main.map(PAGES);
      buffer.part(2, PAGES - 2).store(counted);
      buffer.protect(VM_READ);
      buffer.part(1, 1).expect("the zero page", zeros);
      const mirror = new WordBuffer(PAGES, negated);
      expectDone("read", buffer.read(mirror), PAGES, 1);
      mirror.expect("read", (i) => (i < 2 * PAGE_WORDS ? 0 : i));
    },
  },
  {
    name: "hmm.anon_read_prot",
    checks: "a read of PROT_NONE is -EFAULT, copies nothing and harms nothing",
    run(open) {
      const buffer = open().main.map(PAGES);
      buffer.store(counted);
      const mirror = new WordBuffer(PAGES, negated);
      buffer.protect(0);
      expectError("read", buffer.read(mirror), EFAULT);
      buffer.protect(VM_READ);
      buffer.expect("after the read", counted);
      mirror.expect("not read", negated);
    },
  },
  {
    name: "hmm.anon_write",
    checks: "a device writes pages that nobody has touched",
    run(open) {
      const buffer = open().main.map(PAGES);
      expectDone("write", buffer.write(new WordBuffer(PAGES, counted)), PAGES, 1);
      buffer.expect("written by the device", counted);
    },
  },
  {
    name: "hmm.anon_write_prot",
    checks: "a write to read-only memory is -EPERM; what was read is not reused to write",
    run(open) {
      const buffer = open().main.map(PAGES, { flags: VM_READ });
      const mirror = new WordBuffer(PAGES, counted);
      expectDone("read", buffer.part(0, 1).read(new WordBuffer(1)), 1, 1);
      expectError("write", buffer.write(mirror), EPERM);
      buffer.expect("after the refused write", zeros);
      buffer.protect(RW);
      expectDone("write", buffer.write(mirror), PAGES, 1);
      buffer.expect("written by the device", counted);
    },
  },
  {
    name: "hmm.anon_write_child",
    checks: "what a child's device writes to private memory the parent does not see",
    run: (open) => writeInChild(open(), false),
  },
  {
    name: "hmm.anon_write_child_shared",
    checks: "what a child's device writes to shared memory the parent sees",
    run: (open) => writeInChild(open(), true),
  },
  {
    name: "hmm.anon_write_huge",
    checks: "a device writes 2 MiB for which madvise asked for a huge page",
    run(open) {
      const whole = open().main.map(PAGES);
      const skip = (HUGE_PAGES - ((whole.at / PAGE_SIZE) % HUGE_PAGES)) % HUGE_PAGES;
      writeHuge(whole.part(skip, HUGE_PAGES), (buffer) => buffer.advise(Advice.hugePage));
    },
  },
  {
    name: "hmm.anon_write_hugetlbfs",
    checks: "a device writes a huge page of the pool",
    run(open) {
      const { main } = open({ hugetlbPages: 1 });
      writeHuge(main.map(HUGE_PAGES, { isHugetlb: true }), () => {});
    },
  },
];

export const REPEATED_TESTS: readonly HmmTest[] = [
  {
    name: "hmm.anon_read_multiple",
    checks: "no entry of the device outlives munmap when addresses are used again",
    run(open) {
      const { main } = open();
      for (let loop = 0; loop < LOOPS; loop++) {
        const buffer = main.map(PAGES);
        buffer.store(countedFrom(loop));
        const mirror = new WordBuffer(PAGES);
        expectDone("read", buffer.read(mirror), PAGES, 1);
        mirror.expect("read", countedFrom(loop));
        buffer.unmap();
      }
    },
  },
  {
    name: "hmm.anon_teardown",
    checks: "half of a buffer is unmapped while a device reads it: all of it or an error",
    run(open) {
      const random = new Random(20);
      const stage = open({ strategy: new RandomStrategy(20) });
      for (let loop = 0; loop < LOOPS; loop++) readWhileUnmapped(stage, random, loop);
    },
  },
];

function writeHuge(buffer: Buffer, prepare: (buffer: Buffer) => void): void {
  prepare(buffer);
  const first = buffer.firstWord;
  const mirror = new WordBuffer(HUGE_PAGES, countedFrom(first));
  expectDone("write", buffer.write(mirror), HUGE_PAGES, 1);
  buffer.expect("written by the device", counted);
  const { pageTable } = buffer.process.space;
  expectSame("mapped by a huge entry", pageTable.isHuge(vpnOf(buffer.at)), true);
}

function writeInChild(stage: Stage, isShared: boolean): void {
  const buffer = stage.main.map(PAGES, { isShared });
  buffer.store(counted);
  const mirror = new WordBuffer(PAGES, negated);
  const child = stage.fork();
  const inherited = buffer.in(child);
  inherited.expect("inherited", counted);
  expectDone("write", inherited.write(mirror), PAGES, 1);
  inherited.expect("written by the child's device", negated);
  stage.exit(child);
  buffer.expect("parent", isShared ? negated : counted);
}

/** Yields of a teardown until it unmaps, at most: about as many as the read takes steps. */
const TEARDOWN_STEPS = 150;

function readWhileUnmapped(stage: Stage, random: Random, loop: number): void {
  const { scheduler } = stage.world;
  const buffer = stage.main.map(PAGES);
  buffer.store(countedFrom(loop));
  const [half, mirror] = [PAGES / 2, new WordBuffer(PAGES)];
  const rest = random.below(TEARDOWN_STEPS);
  const teardown = scheduler.spawn("teardown", unmapLater(buffer.part(half, half), rest));
  const reading = scheduler.spawn("read", buffer.reading(mirror));
  stage.runAll(teardown, reading);
  const done = reading.result!;
  if (done.result >= 0) {
    expectDone("read", done, PAGES, 1);
    mirror.expect("read", countedFrom(loop));
  }
  buffer.part(0, half).expect("what is left", countedFrom(loop));
  buffer.part(0, half).unmap();
}

function* unmapLater(buffer: Buffer, yields: number): Sleeps<void> {
  for (let i = 0; i < yields; i++) yield YIELD;
  yield* munmap(buffer.process.space, buffer.at, buffer.bytes);
}
