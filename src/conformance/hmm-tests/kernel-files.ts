/** The kernel's tests of files, drivers' pages and huge pages of the pool. */
import { PAGE_SIZE, type Pfn, vpnOf } from "../../base/index.ts";
import {
  DMIRROR_PROT_PMD,
  DMIRROR_PROT_READ,
  DMIRROR_PROT_WRITE,
} from "../../driver/dmirror/index.ts";
import {
  MMAP_BASE,
  mapSpecial,
  munmap,
  releaseSpecial,
  SpecialKind,
  VM_READ,
} from "../../mm/index.ts";
import { expectDone, expectResult, expectSame, fail } from "./expect.ts";
import { HUGE_PAGES } from "./kernel-anonymous.ts";
import { Buffer } from "./process.ts";
import { type HmmTest, PAGES } from "./stage.ts";
import { counted, WordBuffer } from "./words.ts";

export const FILE_TESTS: readonly HmmTest[] = [
  {
    name: "hmm.file_read",
    checks: "a device reads a shared read-only mapping of a file",
    run(open) {
      const stage = open();
      const file = stage.file(PAGES * PAGE_SIZE);
      const written = file.write(0, new Uint8Array(new WordBuffer(PAGES, counted).words.buffer));
      expectResult("write to the file", written, PAGES * PAGE_SIZE);
      const options = { file, isShared: true, isReadOnlyFile: true };
      const buffer = stage.main.map(PAGES, { flags: VM_READ, ...options });
      file.put();
      const mirror = new WordBuffer(PAGES);
      expectDone("read", buffer.read(mirror), PAGES, 1);
      mirror.expect("read", counted);
    },
  },
  {
    name: "hmm.file_write",
    checks: "what a device writes to a shared mapping is in the file",
    run(open) {
      const stage = open();
      const file = stage.file(PAGES * PAGE_SIZE);
      const buffer = stage.main.map(PAGES, { file, isShared: true });
      expectDone("write", buffer.write(new WordBuffer(PAGES, counted)), PAGES, 1);
      buffer.expect("the mapping", counted);
      const content = new WordBuffer(PAGES);
      const read = file.read(0, new Uint8Array(content.words.buffer));
      expectResult("read of the file", read, PAGES * PAGE_SIZE);
      content.expect("the file", counted);
      file.put();
    },
  },
];

export const PRIVATE_FILE_TEST: HmmTest = {
  name: "hmm.migrate_file_private",
  checks: "private copies of a file's pages move to the device",
  run(open) {
    const stage = open();
    const file = stage.file(PAGES * PAGE_SIZE);
    const buffer = stage.main.map(PAGES, { file });
    file.put();
    buffer.store(counted);
    buffer.moveToDevice();
  },
};

export const MIXED_MAP_TEST: HmmTest = {
  name: "hmm.mixedmap",
  checks: "a page that a driver has put into a mapping may be looked at",
  run(open) {
    const { main, world } = open();
    const { memory } = world;
    const frame = memory.allocFrame();
    if (frame === 0) fail("no frame");
    const frames = [frame as Pfn];
    memory.bytes.zero(frame as Pfn);
    const mapping = { start: MMAP_BASE, kind: SpecialKind.mixed, frames, flags: VM_READ };
    expectResult("map", main.run(mapSpecial(main.space, mapping)), MMAP_BASE);
    expectSame("mapped", main.space.vmas.find(MMAP_BASE)?.start, MMAP_BASE);
    const buffer = new Buffer(main, MMAP_BASE, 1);
    expectSame("snapshot", buffer.snapshot(), [DMIRROR_PROT_READ]);
    main.run(munmap(main.space, MMAP_BASE, PAGE_SIZE));
    releaseSpecial(main.space, frames);
    memory.pages.put(frame as Pfn);
  },
};

export const COMPOUND_TEST: HmmTest = {
  name: "hmm.compound",
  checks: "every page of a huge one says that it is mapped by one entry",
  run(open) {
    const { main } = open({ hugetlbPages: 1 });
    const buffer = main.map(HUGE_PAGES, { isHugetlb: true });
    buffer.store(counted);
    const all = (byte: number): number[] => new Array(HUGE_PAGES).fill(byte | DMIRROR_PROT_PMD);
    expectSame("writable", buffer.snapshot(), all(DMIRROR_PROT_WRITE));
    buffer.protect(VM_READ);
    expectSame("read-only", buffer.snapshot(), all(DMIRROR_PROT_READ));
    expectSame("huge", main.space.pageTable.isHuge(vpnOf(buffer.at)), true);
  },
};
