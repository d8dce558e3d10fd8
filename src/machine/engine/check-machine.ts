/**
 * The heavy checker of a whole machine: the world's sums, and that neither the CPU's rights nor
 * the device's table give more than the page table does.
 */
import { addrOf, assert, formatAddress, type Pfn, SPACE_PAGES, vpn } from "../../base/index.ts";
import { FRAME_COPY, type WebGpuDevice } from "../../driver/index.ts";
import {
  type AddressSpace,
  isDevicePrivate,
  type Memory,
  PTE_FLAG_BITS,
  PTE_VALID,
  PTE_WRITE,
  ptePfn,
} from "../../mm/index.ts";
import { PG_DUPLICATED, PG_EXCLUSIVE, ZERO_PFN } from "../../phys/index.ts";
import { checkWorld } from "../check.ts";
import type { WindowCpu } from "./engine.ts";

export interface MachineParts {
  readonly memory: Memory;
  readonly space: AddressSpace;
  readonly cpu: WindowCpu;
  readonly device: WebGpuDevice | undefined;
}

/** Throws an `AssertionError` that says what does not hold. For a machine at rest. */
export function checkMachine(parts: MachineParts): void {
  const held = new Map<Pfn, number>();
  if (parts.device !== undefined) checkDevice(parts.device, held);
  checkWorld(parts.memory, { shadows: [], held });
  checkRights(parts.space, parts.cpu);
}

/** The CPU may touch no more than the page table allows. */
function checkRights(space: AddressSpace, cpu: WindowCpu): void {
  for (let page = 0; page < SPACE_PAGES; page++) {
    const rights = cpu.rightsOf(vpn(page));
    if (rights === 0) continue;
    const fact = space.pageTable.get(vpn(page)) & (PTE_VALID | PTE_WRITE);
    assert((rights & ~fact) === 0, () => `the CPU has rights ${rights} at page ${page}: ${fact}`);
  }
}

/** Every entry of the device's table stands for what the page table says. */
function checkDevice(device: WebGpuDevice, held: Map<Pfn, number>): void {
  assert(!device.isInFlight, "a round is running");
  held.set(device.pfnOf(0), 1);
  let entries = 0;
  for (let page = 0; page < SPACE_PAGES; page++) {
    const entry = device.entryOf(vpn(page));
    if (entry === 0) continue;
    checkDeviceEntry(device, page, entry, held);
    if (entry >>> PTE_FLAG_BITS !== 0) entries++;
  }
  const copies = device.frames.copyCount;
  assert(entries >= copies, () => `${copies} copies, but ${entries} entries`);
  const used = device.pagemap.zone.usedCount - 1;
  const resident = device.residentPages;
  assert(resident === used, () => `${resident} frames are known to hold data, ${used} are used`);
}

function checkDeviceEntry(
  device: WebGpuDevice,
  page: number,
  entry: number,
  held: Map<Pfn, number>,
): void {
  const { space, frames } = device;
  const { pages } = space.memory;
  const index = entry >>> PTE_FLAG_BITS;
  const fact = space.pageTable.get(vpn(page));
  const frame = ptePfn(fact);
  const where = () => `device entry of ${formatAddress(addrOf(vpn(page)))}`;
  if (index === 0) {
    assert(frame === ZERO_PFN, () => `${where()} says zero page, the page table does not`);
    assert((entry & PTE_WRITE) === 0, () => `${where()} could write the zero page`);
    return;
  }
  assert(frames.page[index] === page, () => `${where()} uses a frame of another page`);
  if (frames.kind[index] !== FRAME_COPY) {
    assert(isDevicePrivate(fact), () => `${where()} is private, the page table does not know`);
    assert(frame === device.pfnOf(index), () => `${where()} names another frame`);
    assert((entry & ~fact & PTE_WRITE) === 0, () => `${where()} may write too much`);
    return;
  }
  held.set(device.pfnOf(index), 1);
  assert((fact & PTE_VALID) !== 0, () => `${where()} is a copy of nothing`);
  assert(frame === device.sourceOf(index), () => `${where()} is a copy of another frame`);
  assert((fact & PTE_WRITE) === 0, () => `${where()} is a copy of a page that can change`);
  assert((entry & PTE_WRITE) === 0, () => `${where()} could write a copy`);
  const isGuarded = !pages.is(frame, PG_EXCLUSIVE) || pages.is(frame, PG_DUPLICATED);
  assert(isGuarded, () => `${where()}: the page does not know that it has a copy`);
}
