/**
 * The heavy checker: walks everything and counts afresh. For tests and replays, after a step;
 * it throws on the first thing that does not add up. Linux: mm's VM_BUG_ONs and check_mm().
 */
import {
  addrOf,
  assert,
  formatAddress,
  formatRange,
  type Pfn,
  type Vpn,
  vpn,
} from "../base/index.ts";
import {
  type AddressSpace,
  asPte,
  hasFrame,
  isDevicePrivate,
  isExclusive,
  isMigration,
  LEAF_PAGES,
  LEAF_SHIFT,
  leafStart,
  type Memory,
  NR_MM_COUNTERS,
  type PageTable,
  PTE_FLAG_BITS,
  PTE_HUGE,
  PTE_PROTNONE,
  PTE_VALID,
  PTE_WRITE,
  type Pte,
  ptePfn,
  rssKindOf,
  SPECIAL_SWAP,
  specialOf,
  swapSlotOf,
  VM_READ,
  VM_WRITE,
  type Vma,
} from "../mm/index.ts";
import {
  FIRST_ZONE_PFN,
  LARGE_FRAMES,
  PG_CACHED,
  PG_DUPLICATED,
  PG_EXCLUSIVE,
  PG_HUGETLB,
  PG_LARGE,
  PG_LOCKED,
  PG_RESERVED,
  ZERO_PFN,
} from "../phys/index.ts";
import { unwatched } from "../sync/index.ts";

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
  const count = new Count();
  for (const space of memory.spaces) checkSpace(space, count, options);
  for (const shadow of options.shadows) checkShadow(shadow, options);
  for (const cpu of options.cpus ?? []) checkCpu(cpu);
  checkFrames(memory, count.mapped, options);
  checkSwap(memory, count.swapped);
  const zeroRefs = memory.pages.refs[ZERO_PFN]!;
  const zeroHeld = memory.pages.pins[ZERO_PFN]!;
  assert(zeroRefs === 1 + count.zeroMappings + zeroHeld, () => `zero page: ${zeroRefs} references`);
  if (options.isOver) {
    for (const zone of memory.pages.zones) {
      const broken = memory.poisoned.filter((frame) => zone.contains(frame)).length;
      const pooled = zone === memory.ram ? memory.hugetlb.count * LARGE_FRAMES : 0;
      assert(
        zone.usedCount === broken + pooled,
        () => `${zone.usedCount} frames of ${zone.name} leaked`,
      );
    }
    const { chargedPages } = memory.group;
    assert(chargedPages <= memory.poisoned.length, "charges are left although all pages are free");
    assert(memory.hugetlb.reservedCount === 0, "huge pages are promised to nobody");
  }
}

/** What the entries of all spaces say, counted afresh. */
class Count {
  // Pfn -> entries that map it
  readonly mapped = new Map<Pfn, number>();
  // swap slot -> entries that name it
  readonly swapped = new Map<number, number>();
  zeroMappings = 0;
}

const increment = <Key>(counts: Map<Key, number>, key: Key): void => {
  counts.set(key, (counts.get(key) ?? 0) + 1);
};

/** Fact within intent; rss recounted. */
function checkSpace(space: AddressSpace, count: Count, options: CheckOptions): void {
  const rss = new Int32Array(NR_MM_COUNTERS);
  checkVmas(space);
  forEachEntry(space.pageTable, (page, pte) => {
    const kind = rssKindOf(space.memory, pte);
    if (kind >= 0) rss[kind] = rss[kind]! + 1;
    if (!hasFrame(pte)) {
      if (specialOf(pte) === SPECIAL_SWAP) increment(count.swapped, swapSlotOf(pte));
    } else if (ptePfn(pte) === ZERO_PFN) count.zeroMappings++;
    else increment(count.mapped, ptePfn(pte));
    checkEntry(space, page, pte, options);
  });
  assert(rss.join() === space.rss.join(), () => {
    return `rss of space ${space.id} is ${space.rss.join(", ")}, not ${rss.join(", ")}`;
  });
  if (options.isQuiet !== false) {
    assert(!space.mmapLock.isLocked, "mmapLock is held by nobody who runs");
    assert(space.notifiers.activeCount === 0, "an invalidation was never ended");
  }
}

/** Sorted, apart, and each in the reverse maps that it says. */
function checkVmas(space: AddressSpace): void {
  let end = 0;
  for (const vma of space.vmas.all) {
    assert(
      vma.start >= end && vma.end > vma.start,
      () => `Vma ${formatRange(vma)} is out of order`,
    );
    end = vma.end;
    for (const map of [...vma.anonChain, ...(vma.file === undefined ? [] : [vma.file.reverse])]) {
      assert(map.vmas.includes(vma), () => `Vma ${formatRange(vma)} is missing in a reverse map`);
    }
  }
}

function checkEntry(space: AddressSpace, page: Vpn, pte: Pte, options: CheckOptions): void {
  const { memory } = space;
  const vma = space.vmas.find(addrOf(page));
  const where = () => `space ${space.id} ${formatAddress(addrOf(page))}`;
  if (vma === undefined) {
    // munmap takes the intent first and the fact in the same event.
    assert(options.isQuiet === false, () => `${where()} is mapped outside every Vma`);
    return;
  }
  checkHuge(space, page, pte);
  if (!hasFrame(pte)) return;
  const frame = ptePfn(pte);
  const isHere = (pte & (PTE_VALID | PTE_PROTNONE)) !== 0;
  const isAway = isDevicePrivate(pte) || isMigration(pte);
  assert(isAway || !memory.isPrivate(frame), () => `${where()}: wrong memory`);
  if (isDevicePrivate(pte)) assert(memory.isPrivate(frame), () => `${where()}: not on a device`);
  if (pte & PTE_WRITE && isHere) {
    assert(!memory.pages.is(frame, PG_DUPLICATED), () => `${where()} is writable and has copies`);
    assert(frame !== ZERO_PFN, () => `${where()} could write the zero page`);
    const isShared = vma.isShared || memory.pages.is(frame, PG_EXCLUSIVE);
    assert(isShared, () => `${where()} could write a page that others see`);
  }
  checkReverse(space, page, pte, vma);
  if (options.isQuiet === false) return;
  assert(!isMigration(pte), () => `${where()} is migrating for ever`);
  if (pte & PTE_VALID) assert(vma.allows(VM_READ), () => `${where()} is readable, its Vma is not`);
  if (pte & PTE_WRITE) assert(vma.allows(VM_WRITE), () => `${where()} is writable, its Vma is not`);
}

/** All 512 words of a huge entry say the same, with frames in a row; nobody else says "huge". */
function checkHuge(space: AddressSpace, page: Vpn, pte: Pte): void {
  const { pageTable } = space;
  const where = () => `space ${space.id} ${formatAddress(addrOf(page))}`;
  assert(pageTable.isHuge(page) === ((pte & PTE_HUGE) !== 0), () => `${where()}: huge or not?`);
  if ((pte & PTE_HUGE) === 0) return;
  const head = pageTable.get(leafStart(page));
  const step = ptePfn(head) === ZERO_PFN ? 0 : page - leafStart(page);
  const expected = (head + (step << PTE_FLAG_BITS)) >>> 0;
  assert(pte === expected, () => `${where()}: not in step with its huge entry`);
}

/** Whoever looks for the page by its frame finds this entry. */
function checkReverse(space: AddressSpace, page: Vpn, pte: Pte, vma: Vma): void {
  const { pages } = space.memory;
  const frame = ptePfn(pte);
  if (pages.is(frame, PG_RESERVED)) return;
  const where = () => `space ${space.id} ${formatAddress(addrOf(page))}, frame ${frame}`;
  const reverse = space.memory.reverseMap(pages.mapping[frame]!);
  assert(reverse?.vmas.includes(vma) === true, () => `${where()}: not in its reverse map`);
  assert(pages.index[frame] === vma.indexOf(addrOf(page)), () => `${where()}: wrong index`);
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
    const isHeld = isDevicePrivate(fact) || isExclusive(fact);
    const isReachable = (fact & PTE_VALID) !== 0 || isHeld || isMoving;
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
    const least = pages.is(frame, PG_HUGETLB) ? 2 : 1;
    assert(pages.refs[frame]! >= least, () => `frame ${frame} is mapped and free`);
  }
  for (const zone of pages.zones) {
    let used = 0;
    zone.forEachUsed((frame) => {
      used++;
      // Idle in the pool of huge pages; tens of thousands of frames may be.
      if (pages.flags[frame]! & PG_HUGETLB && pages.refs[frame] === 1) return;
      if (pages.charged[frame] !== 0) charged++;
      checkFrame(memory, frame, mapped.get(frame) ?? 0, options);
    });
    assert(
      used === zone.usedCount,
      () => `zone ${zone.name} counts ${zone.usedCount}, has ${used}`,
    );
    if (!options.isOver) continue;
    for (let at = zone.start as number; at < zone.start + zone.count; at++) {
      const isKept = pages.is(at as Pfn, PG_HUGETLB) || memory.poisoned.includes(at as Pfn);
      const isFree = pages.refs[at] === 0 || isKept;
      assert(isFree, () => `frame ${at} is free and has references`);
    }
  }
  const paid = memory.group.chargedPages;
  assert(charged === paid, () => `${charged} frames are charged, the group says ${paid}`);
}

function checkFrame(memory: Memory, frame: Pfn, mappings: number, options: CheckOptions): void {
  const { pages } = memory;
  const refs = pages.refs[frame]!;
  if (refs === 0 && pages.is(frame, PG_LARGE)) {
    assert(
      pages.live[pages.headOf(frame)]! > 0,
      () => `large page of frame ${frame} is used by nobody`,
    );
    return;
  }
  assert(refs > 0, () => `frame ${frame} is used without a reference`);
  assert(pages.mapcount[frame] === mappings, () => `frame ${frame}: map count is wrong`);
  const isExclusive = pages.is(frame, PG_EXCLUSIVE);
  assert(
    !isExclusive || mappings <= 1,
    () => `frame ${frame} is exclusive and mapped ${mappings}x`,
  );
  if (options.isQuiet === false) {
    assert(refs >= mappings + pages.pins[frame]!, () => `frame ${frame} has too few references`);
    return;
  }
  const cached = pages.is(frame, PG_CACHED) ? 1 : 0;
  const broken = memory.poisoned.includes(frame) ? 1 : 0;
  const pooled = pages.is(frame, PG_HUGETLB) ? 1 : 0;
  const held = (options.held?.get(frame) ?? 0) + cached + broken + pooled;
  const known = mappings + pages.pins[frame]! + held;
  assert(refs === known, () => `frame ${frame} has ${refs} references, ${known} are known`);
  assert(!pages.is(frame, PG_LOCKED), () => `frame ${frame} stays locked`);
}

/** A slot is used as often as entries name it. */
function checkSwap(memory: Memory, swapped: ReadonlyMap<number, number>): void {
  const { swap } = memory;
  assert(
    swapped.size === swap.usedCount,
    () => `${swap.usedCount} swap slots, ${swapped.size} used`,
  );
  for (const [slot, uses] of swapped) {
    assert(swap.usesOf(slot) === uses, () => `swap slot ${slot} has ${swap.usesOf(slot)} uses`);
  }
}

function forEachEntry(table: PageTable, visit: (page: Vpn, pte: Pte) => void): void {
  const directory = unwatched(table.directory);
  for (let index = 0; index < directory.length; index++) {
    const leaf = directory[index]!;
    if (leaf < 0) continue;
    const entries = unwatched(table.leaves[leaf]!);
    for (let i = 0; i < LEAF_PAGES; i++) {
      if (entries[i] !== 0) visit(vpn((index << LEAF_SHIFT) + i), asPte(entries[i]!));
    }
  }
}

assert(FIRST_ZONE_PFN > ZERO_PFN, "the zero page lies below all zones");
