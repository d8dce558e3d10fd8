/**
 * The heavy checker: walks everything and counts afresh. For tests and replays, after a step;
 * it throws on the first thing that does not add up. Linux: mm's VM_BUG_ONs and check_mm().
 */
import { addrOf, assert, formatAddress, type Pfn, type Vpn, vpn } from "../base/index.ts";
import {
  type AddressSpace,
  asPte,
  countsAsResident,
  isDevicePrivate,
  isMigration,
  LEAF_PAGES,
  LEAF_SHIFT,
  type Memory,
  type PageTable,
  PTE_PROTNONE,
  PTE_VALID,
  PTE_WRITE,
  type Pte,
  ptePfn,
  VM_READ,
  VM_WRITE,
} from "../mm/index.ts";
import { FIRST_ZONE_PFN, PG_DUPLICATED, PG_LOCKED, ZERO_PFN } from "../phys/index.ts";

/** A device's table of one space. */
export interface Shadow {
  readonly space: AddressSpace;
  readonly table: PageTable;
}

/** What a CPU can reach without a walk. Vpn -> page table entry. */
export interface CpuShadow {
  readonly space: AddressSpace;
  readonly shadow: ReadonlyMap<Vpn, number>;
}

export interface CheckOptions {
  readonly shadows: Iterable<Shadow>;
  readonly cpus?: Iterable<CpuShadow>;
  /** References that somebody holds besides mappings and pins: Pfn -> how many. */
  readonly held?: ReadonlyMap<Pfn, number>;
  /** Everything has been given back: nothing may be left. */
  readonly isOver?: boolean;
  /** False while tasks run: pages may be locked and entries migrating. Default true. */
  readonly isQuiet?: boolean;
}

/** Throws an `AssertionError` that says what does not hold. */
export function checkWorld(memory: Memory, options: CheckOptions): void {
  const mapped = new Map<Pfn, number>();
  let zeroMappings = 0;
  for (const space of memory.spaces) zeroMappings += checkSpace(space, mapped, options);
  for (const shadow of options.shadows) checkShadow(shadow, options);
  for (const cpu of options.cpus ?? []) checkCpu(cpu);
  checkFrames(memory, mapped, options);
  const zeroRefs = memory.pages.refs[ZERO_PFN]!;
  const zeroHeld = memory.pages.pins[ZERO_PFN]!;
  assert(zeroRefs === 1 + zeroMappings + zeroHeld, () => `zero page: ${zeroRefs} references`);
  if (options.isOver) {
    for (const zone of memory.pages.zones) {
      assert(zone.usedCount === 0, () => `${zone.usedCount} frames of ${zone.name} leaked`);
    }
    assert(memory.group.chargedPages === 0, "charges are left although all pages are free");
  }
}

/** Fact within intent; rss recounted. Gives how often the zero page is mapped. */
function checkSpace(space: AddressSpace, mapped: Map<Pfn, number>, options: CheckOptions): number {
  let rss = 0;
  let zeroMappings = 0;
  forEachEntry(space.pageTable, (page, pte) => {
    const frame = ptePfn(pte);
    rss += countsAsResident(pte);
    if (frame === ZERO_PFN) zeroMappings++;
    else mapped.set(frame, (mapped.get(frame) ?? 0) + 1);
    checkEntry(space, page, pte, options);
  });
  assert(rss === space.rssPages, () => `rss of space ${space.id} is ${space.rssPages}, not ${rss}`);
  if (options.isQuiet !== false) {
    assert(!space.mmapLock.isLocked, "mmapLock is held by nobody who runs");
    assert(space.notifiers.activeCount === 0, "an invalidation was never ended");
  }
  return zeroMappings;
}

function checkEntry(space: AddressSpace, page: Vpn, pte: Pte, options: CheckOptions): void {
  const { pages } = space.memory;
  const frame = ptePfn(pte);
  const vma = space.vmas.find(addrOf(page));
  const where = () => `space ${space.id} ${formatAddress(addrOf(page))}`;
  if (vma === undefined) {
    // munmap takes the intent first and the fact in the same event.
    assert(options.isQuiet === false, () => `${where()} is mapped outside every Vma`);
    return;
  }
  const isHere = (pte & (PTE_VALID | PTE_PROTNONE)) !== 0;
  assert(isHere !== pages.isDevice(frame) || isMigration(pte), () => `${where()}: wrong memory`);
  if (isDevicePrivate(pte)) assert(pages.isDevice(frame), () => `${where()}: not on a device`);
  if (pte & PTE_WRITE && isHere) {
    assert(!pages.is(frame, PG_DUPLICATED), () => `${where()} is writable and has copies`);
    assert(frame !== ZERO_PFN, () => `${where()} could write the zero page`);
  }
  if (options.isQuiet === false) return;
  assert(!isMigration(pte), () => `${where()} is migrating for ever`);
  if (pte & PTE_VALID) assert(vma.allows(VM_READ), () => `${where()} is readable, its Vma is not`);
  if (pte & PTE_WRITE) assert(vma.allows(VM_WRITE), () => `${where()} is writable, its Vma is not`);
}

/**
 * Shadow within fact: same frame, no right that the page table does not give. While an
 * invalidation is open on a page, its shadows may lag behind.
 */
function checkShadow(shadow: Shadow, options: CheckOptions): void {
  forEachEntry(shadow.table, (page, entry) => {
    const { space } = shadow;
    const range = { start: addrOf(page), end: addrOf(vpn(page + 1)) };
    if (options.isQuiet === false && space.notifiers.isInvalidating(range)) return;
    const fact = space.pageTable.get(page);
    const where = () => `device entry of ${formatAddress(range.start)}`;
    assert(ptePfn(entry) === ptePfn(fact), () => `${where()} names another frame`);
    const isMoving = isMigration(fact) && options.isQuiet === false;
    const isReachable = (fact & PTE_VALID) !== 0 || isDevicePrivate(fact) || isMoving;
    assert(isReachable, () => `${where()}: the page table has nothing there`);
    if (entry & PTE_WRITE) assert((fact & PTE_WRITE) !== 0, () => `${where()} may write too much`);
  });
}

/** The CPU reaches nothing that the page table does not give it; it never lags behind. */
function checkCpu(cpu: CpuShadow): void {
  for (const [page, entry] of cpu.shadow) {
    const fact = cpu.space.pageTable.get(page);
    const where = () => `CPU entry of ${formatAddress(addrOf(page))}`;
    assert(ptePfn(asPte(entry)) === ptePfn(fact), () => `${where()} names another frame`);
    const rights = entry & (PTE_VALID | PTE_WRITE);
    assert((fact & rights) === rights, () => `${where()} allows too much`);
  }
}

/** Every frame in exactly one state; references, mappings and charges recounted. */
function checkFrames(
  memory: Memory,
  mapped: ReadonlyMap<Pfn, number>,
  options: CheckOptions,
): void {
  const { pages } = memory;
  let charged = 0;
  for (const frame of mapped.keys()) {
    assert(pages.refs[frame]! > 0, () => `frame ${frame} is mapped and free`);
  }
  for (const zone of pages.zones) {
    let used = 0;
    zone.forEachUsed((frame) => {
      used++;
      if (pages.charged[frame] !== 0) charged++;
      checkFrame(memory, frame, mapped.get(frame) ?? 0, options);
    });
    assert(
      used === zone.usedCount,
      () => `zone ${zone.name} counts ${zone.usedCount}, has ${used}`,
    );
    if (!options.isOver) continue;
    for (let at = zone.start as number; at < zone.start + zone.count; at++) {
      assert(pages.refs[at] === 0, () => `frame ${at} is free and has references`);
    }
  }
  const paid = memory.group.chargedPages;
  assert(charged === paid, () => `${charged} frames are charged, the group says ${paid}`);
}

function checkFrame(memory: Memory, frame: Pfn, mappings: number, options: CheckOptions): void {
  const { pages } = memory;
  const refs = pages.refs[frame]!;
  assert(refs > 0, () => `frame ${frame} is used without a reference`);
  assert(pages.mapcount[frame] === mappings, () => `frame ${frame}: map count is wrong`);
  if (options.isQuiet === false) {
    assert(refs >= mappings + pages.pins[frame]!, () => `frame ${frame} has too few references`);
    return;
  }
  const known = mappings + pages.pins[frame]! + (options.held?.get(frame) ?? 0);
  assert(refs === known, () => `frame ${frame} has ${refs} references, ${known} are known`);
  assert(!pages.is(frame, PG_LOCKED), () => `frame ${frame} stays locked`);
}

function forEachEntry(table: PageTable, visit: (page: Vpn, pte: Pte) => void): void {
  for (let index = 0; index < table.directory.length; index++) {
    const leaf = table.directory[index]!;
    if (leaf < 0) continue;
    const entries = table.leaves[leaf]!;
    for (let i = 0; i < LEAF_PAGES; i++) {
      if (entries[i] !== 0) visit(vpn((index << LEAF_SHIFT) + i), asPte(entries[i]!));
    }
  }
}

assert(FIRST_ZONE_PFN > ZERO_PFN, "the zero page lies below all zones");
