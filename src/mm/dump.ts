/**
 * A space for people, as /proc/PID/smaps is: what is mapped, with which rights, and where its
 * pages are.
 */
import { formatAddress, PAGE_SIZE, type Vpn, vpn } from "../base/index.ts";
import { PG_DUPLICATED } from "../phys/index.ts";
import type { AddressSpace } from "./address-space.ts";
import {
  hasFrame,
  isDevicePrivate,
  isExclusive,
  isMigration,
  type Pte,
  ptePfn,
  SPECIAL_SWAP,
  specialOf,
} from "./pte.ts";
import { VM_EXEC, VM_READ, VM_WRITE, type Vma } from "./vma.ts";
import { hintNames } from "./vma-hints.ts";

const COLUMNS = ["ram", "copied", "device", "moving", "exclusive", "swapped", "special"] as const;
type Column = (typeof COLUMNS)[number];
type Counts = Record<Column, number>;

/**
 * A line for each mapping, and one for all. `ram`: the page is there; `copied`: and devices have
 * copies of it; `device`: only a device has it; `moving`: it is on its way; `exclusive`: a device
 * has it to itself; `swapped`: the swap area has it; `special`: broken, or a guard. What is in
 * none of the columns was never touched. Behind them stands what the mapping is advised to be.
 */
export function dumpSpace(space: AddressSpace): string {
  const all = emptyCounts();
  let pages = 0;
  const rows = space.vmas.all.map((vma) => {
    const counts = countPages(space, vma);
    for (const column of COLUMNS) all[column] += counts[column];
    pages += pagesOf(vma);
    const range = `${formatAddress(vma.start)}..${formatAddress(vma.end)}`;
    return [range, rightsOf(vma), kindOf(vma), ...numbersOf(pagesOf(vma), counts)];
  });
  const head = ["range", "rights", "kind", "pages", ...COLUMNS];
  const lines = tableOf([head, ...rows, ["all", "", "", ...numbersOf(pages, all)]]);
  const advice = ["", ...space.vmas.all.map(({ flags }) => hintNames(flags)), ""];
  return lines.map((line, i) => (advice[i] === "" ? line : `${line}  ${advice[i]}`)).join("\n");
}

const emptyCounts = (): Counts =>
  Object.fromEntries(COLUMNS.map((column) => [column, 0])) as Counts;

const pagesOf = (vma: Vma): number => (vma.end - vma.start) / PAGE_SIZE;

const numbersOf = (pages: number, counts: Counts): string[] =>
  [pages, ...COLUMNS.map((column) => counts[column])].map(String);

function countPages(space: AddressSpace, vma: Vma): Counts {
  const counts = emptyCounts();
  const { pageTable } = space;
  const end = vpn(vma.end / PAGE_SIZE);
  let page = pageTable.nextUsed(vpn(vma.start / PAGE_SIZE), end);
  while (page < end) {
    for (const column of columnsOf(space, pageTable.get(page))) counts[column]++;
    page = pageTable.nextUsed((page + 1) as Vpn, end);
  }
  return counts;
}

function columnsOf(space: AddressSpace, pte: Pte): readonly Column[] {
  if (isMigration(pte)) return ["moving"];
  if (isDevicePrivate(pte)) return ["device"];
  if (isExclusive(pte)) return ["exclusive"];
  if (!hasFrame(pte)) return [specialOf(pte) === SPECIAL_SWAP ? "swapped" : "special"];
  const { pages } = space.memory;
  const frame = ptePfn(pte);
  // Memory of a device that the CPU can reach is still the device's.
  if (pages.isDevice(frame)) return ["device"];
  return pages.is(frame, PG_DUPLICATED) ? ["ram", "copied"] : ["ram"];
}

function rightsOf(vma: Vma): string {
  const letter = (flag: number, name: string): string => (vma.allows(flag) ? name : "-");
  const sharing = vma.isShared ? "s" : "p";
  return letter(VM_READ, "r") + letter(VM_WRITE, "w") + letter(VM_EXEC, "x") + sharing;
}

function kindOf(vma: Vma): string {
  if (vma.isHugetlb) return "hugetlb";
  return vma.isAnonymous ? "anonymous" : "file";
}

/** The first three columns to the left, numbers to the right. */
function tableOf(rows: readonly (readonly string[])[]): string[] {
  const widths = rows[0]!.map((_, i) => Math.max(...rows.map((row) => row[i]!.length)));
  return rows.map((row) =>
    row.map((cell, i) => (i < 3 ? cell.padEnd(widths[i]!) : cell.padStart(widths[i]!))).join("  "),
  );
}
