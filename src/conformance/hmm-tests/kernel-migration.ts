/** The kernel's tests of pages that move to a device and home. */
import { EINVAL, ENOENT } from "../../base/index.ts";
import { VM_READ } from "../../mm/index.ts";
import { expectDone, expectError, expectResult, expectSame } from "./expect.ts";
import { RW } from "./process.ts";
import { type DeviceKind, type HmmTest, PAGES, type Stage } from "./stage.ts";
import { counted, PAGE_WORDS, WordBuffer, zeros } from "./words.ts";

const LOOPS = 10;

export const MIGRATE_TEST: HmmTest = {
  name: "hmm.migrate",
  checks: "a buffer moves to the device",
  run(open) {
    const { main, device } = open();
    const buffer = main.map(PAGES);
    buffer.store(counted);
    buffer.moveToDevice();
    expectSame("frames of the device in use", device.pagemap.zone.usedCount, PAGES);
  },
};

export const MIGRATION_TESTS: readonly HmmTest[] = [
  {
    name: "hmm.migrate_fault",
    checks: "a buffer of which the CPU took half back moves again",
    run(open) {
      const { main, kind, device } = open();
      const buffer = main.map(PAGES);
      buffer.store(counted);
      buffer.moveToDevice();
      buffer.part(0, PAGES / 2).expect("read by the CPU", counted);
      const left = kind === "private" ? PAGES / 2 : PAGES;
      expectSame("frames of the device in use", device.pagemap.zone.usedCount, left);
      buffer.moveToDevice();
    },
  },
  {
    name: "hmm.migrate_release",
    checks: "a device that gives its memory up sends every page home, for good",
    run(open) {
      const { main, device } = open();
      const { zone } = device.pagemap;
      const buffer = main.map(PAGES);
      buffer.store(counted);
      buffer.moveToDevice();
      expectResult("release", main.run(device.evictAll()), PAGES);
      expectSame("frames of the device in use", zone.usedCount, 0);
      buffer.part(0, PAGES / 2).expect("read by the CPU", counted);
      expectSame("frames of the device in use later", zone.usedCount, 0);
      buffer.unmap();
    },
  },
  {
    name: "hmm.migrate_shared",
    checks: "shared memory that nobody has touched does not move: -ENOENT",
    run(open) {
      const buffer = open().main.map(PAGES, { isShared: true });
      expectError("migrate", buffer.toDevice(new WordBuffer(PAGES)), ENOENT);
    },
  },
  {
    name: "hmm2.migrate_mixed",
    checks:
      "no access and holes are -EINVAL; zero and read-only pages move; no device robs another",
    run: (open) => migrateMixed(open({ devices: 2 })),
  },
  {
    name: "hmm.migrate_multiple",
    checks: "ten buffers one after the other move to the device and home",
    run(open) {
      const stage = open();
      for (let loop = 0; loop < LOOPS; loop++) migrateThereAndBack(stage, stage.kind);
    },
  },
];

function migrateMixed({ main }: Stage): void {
  const [DEV0, DEV1] = [0, 1];
  const buffer = main.map(6, { flags: 0 });
  expectError("no access", buffer.toDevice(new WordBuffer(6), DEV1), EINVAL);
  buffer.part(1, 1).unmap();
  expectError("a hole", buffer.part(0, 3).toDevice(new WordBuffer(3), DEV1), EINVAL);
  buffer.part(2, 1).protect(VM_READ);
  buffer.part(2, 1).expect("the zero page", zeros);
  buffer.part(3, 1).protect(RW);
  buffer.part(3, 1).store(counted);
  buffer.part(3, 1).protect(VM_READ);
  buffer.part(4, 2).protect(RW);
  buffer.part(4, 2).store(counted);
  const zeroPage = 3 * PAGE_WORDS;
  buffer.part(2, 4).moveToDevice((index) => (index < zeroPage ? 0 : index), DEV1);
  expectError("of another device", buffer.part(5, 1).toDevice(new WordBuffer(1), DEV0), ENOENT);
  buffer.part(3, 3).expect("home again", counted);
}

function migrateThereAndBack({ main, device }: Stage, kind: DeviceKind): void {
  const buffer = main.map(PAGES);
  buffer.store(counted);
  buffer.moveToDevice();
  if (kind === "coherent") expectDone("migrate home", buffer.toSystem(), PAGES);
  buffer.expect("home again", counted);
  expectSame("frames of the device in use", device.pagemap.zone.usedCount, 0);
  buffer.unmap();
}
