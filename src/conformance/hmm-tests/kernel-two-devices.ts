/** The kernel's tests of what two devices know of the same pages. */
import {
  DMIRROR_PROT_DEV_COHERENT_LOCAL,
  DMIRROR_PROT_DEV_COHERENT_REMOTE,
  DMIRROR_PROT_DEV_PRIVATE_LOCAL,
  DMIRROR_PROT_ERROR,
  DMIRROR_PROT_NONE,
  DMIRROR_PROT_READ,
  DMIRROR_PROT_WRITE,
  DMIRROR_PROT_ZERO,
} from "../../driver/dmirror/index.ts";
import { VM_READ } from "../../mm/index.ts";
import { expectDone, expectSame } from "./expect.ts";
import { type Buffer, RW } from "./process.ts";
import type { DeviceKind, HmmTest, Stage } from "./stage.ts";
import { counted, WordBuffer, zeros } from "./words.ts";

export const SNAPSHOT_TEST: HmmTest = {
  name: "hmm2.snapshot",
  checks: "what a device is told of holes, zeros, rights and both devices' pages",
  run: (open) => snapshotOfEverything(open({ devices: 2 })),
};

export const DOUBLE_MAP_TEST: HmmTest = {
  name: "hmm2.double_map",
  checks: "two devices read the same pages, also after one has taken them",
  run(open) {
    const buffer = open({ devices: 2 }).main.map(6);
    buffer.store(counted);
    buffer.protect(VM_READ);
    readBy(buffer, 0);
    readBy(buffer, 1);
    buffer.moveToDevice(counted, 1);
    readBy(buffer, 0);
  },
};

function readBy(buffer: Buffer, device: number): void {
  const mirror = new WordBuffer(buffer.pages);
  expectDone(`read by device ${device}`, buffer.read(mirror, device), buffer.pages, 1);
  mirror.expect(`read by device ${device}`, counted);
}

function snapshotOfEverything({ main, kind }: Stage): void {
  const buffer = main.map(7, { flags: 0 });
  buffer.part(1, 1).unmap();
  buffer.part(2, 1).protect(VM_READ);
  buffer.part(2, 1).expect("the zero page", zeros);
  buffer.part(3, 1).protect(RW);
  buffer.part(3, 1).store(counted);
  buffer.part(3, 1).protect(VM_READ);
  buffer.part(4, 3).protect(RW);
  buffer.part(4, 1).store(counted);
  buffer.part(5, 1).moveToDevice(zeros, 0);
  buffer.part(6, 1).moveToDevice(zeros, 1);
  const ram = [
    DMIRROR_PROT_ERROR,
    DMIRROR_PROT_ERROR,
    DMIRROR_PROT_ZERO | DMIRROR_PROT_READ,
    DMIRROR_PROT_READ,
    DMIRROR_PROT_WRITE,
  ];
  expectSame("snapshot", buffer.snapshot(0), [...ram, ...ON_DEVICES[kind]]);
}

/** A page of the device that is asked, and one of the other. */
const ON_DEVICES: Readonly<Record<DeviceKind, readonly number[]>> = {
  private: [DMIRROR_PROT_DEV_PRIVATE_LOCAL | DMIRROR_PROT_WRITE, DMIRROR_PROT_NONE],
  coherent: [
    DMIRROR_PROT_DEV_COHERENT_LOCAL | DMIRROR_PROT_WRITE,
    DMIRROR_PROT_DEV_COHERENT_REMOTE | DMIRROR_PROT_WRITE,
  ],
};
