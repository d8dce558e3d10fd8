/** Our test of huge pages that move to a device. */
import { ENOENT, PAGE_SIZE, vpnOf } from "../../base/index.ts";
import { Advice } from "../../mm/index.ts";
import { expectError, expectSame } from "./expect.ts";
import { HUGE_PAGES } from "./kernel-anonymous.ts";
import type { Buffer } from "./process.ts";
import type { HmmTest, Stage } from "./stage.ts";
import { counted, PAGE_WORDS, type WordAt, WordBuffer, zeros } from "./words.ts";

export const HUGE_TEST: HmmTest = {
  name: "onespace.A-38",
  checks: "huge ranges move: empty, zero, half freed, written, without room, unmapped in part",
  run(open) {
    for (const way of WAYS) {
      const stage = open({ frames: 4096, deviceFrames: way.deviceFrames ?? HUGE_PAGES + 64 });
      way.run(hugeBuffer(stage), stage);
    }
  },
};

interface Way {
  readonly deviceFrames?: number;
  run(buffer: Buffer, stage: Stage): void;
}

const HALF = HUGE_PAGES / 2;
const firstHalf: WordAt = (index) => (index < HALF * PAGE_WORDS ? index : 0);

const WAYS: readonly Way[] = [
  { run: (buffer, stage) => moveAndReturn(buffer, stage, zeros) },
  {
    run(buffer, stage) {
      buffer.expect("zeros", zeros);
      expectHuge(buffer, true);
      moveAndReturn(buffer, stage, zeros);
    },
  },
  {
    run(buffer, stage) {
      storeHuge(buffer);
      moveAndReturn(buffer, stage, counted);
    },
  },
  {
    run(buffer, stage) {
      storeHuge(buffer);
      buffer.part(HALF, HALF).advise(Advice.dontNeed);
      // What is left of a large page that is mapped in part stays, as in Linux 6.12.
      expectError("migrate", buffer.toDevice(new WordBuffer(HUGE_PAGES)), ENOENT);
      expectSame("frames of the device in use", stage.device.pagemap.zone.usedCount, HALF);
      buffer.expect("read by the CPU", firstHalf);
    },
  },
  {
    // The device has room for a part of it only.
    deviceFrames: 100,
    run(buffer, { device }) {
      storeHuge(buffer);
      expectError("migrate", buffer.toDevice(new WordBuffer(HUGE_PAGES)), ENOENT);
      expectSame("frames of the device in use", device.pagemap.zone.usedCount, 100);
      buffer.expect("read by the CPU", counted);
    },
  },
  {
    run(buffer, { device }) {
      storeHuge(buffer);
      buffer.moveToDevice(counted);
      buffer.part(HALF, 64).unmap();
      expectSame("frames left", device.pagemap.zone.usedCount, HUGE_PAGES - 64);
      buffer.part(0, HALF).expect("before the hole", counted);
      buffer.part(HALF + 64, HALF - 64).expect("behind the hole", counted);
    },
  },
];

/** 2 MiB for which madvise asks for a huge page. */
function hugeBuffer({ main }: Stage): Buffer {
  const whole = main.map(2 * HUGE_PAGES);
  const skip = (HUGE_PAGES - ((whole.at / PAGE_SIZE) % HUGE_PAGES)) % HUGE_PAGES;
  const buffer = whole.part(skip, HUGE_PAGES);
  buffer.advise(Advice.hugePage);
  return buffer;
}

function storeHuge(buffer: Buffer): void {
  buffer.store(counted);
  expectHuge(buffer, true);
}

function expectHuge(buffer: Buffer, wanted: boolean): void {
  const { pageTable } = buffer.process.space;
  expectSame("mapped by a huge entry", pageTable.isHuge(vpnOf(buffer.at)), wanted);
}

function moveAndReturn(buffer: Buffer, { device }: Stage, wordAt: WordAt): void {
  const { zone } = device.pagemap;
  buffer.moveToDevice(wordAt);
  expectSame("frames of the device in use", zone.usedCount, HUGE_PAGES);
  expectHuge(buffer, false);
  buffer.toSystem();
  expectSame("frames of the device in use at home", zone.usedCount, 0);
  buffer.expect("home again", wordAt);
  buffer.moveToDevice(wordAt);
  buffer.expect("read by the CPU", wordAt);
}
