/**
 * Whole pages through a soft CPU. The first word takes the way of every access: TLB, walk, fault.
 * Then the CPU may touch the page until somebody else runs, and the other words are touched in
 * the frame that its TLB names.
 */
import { assert, PAGE_SIZE, type Result, type VirtAddr, vpnOf } from "../../base/index.ts";
import type { SoftCpu } from "../../cpu/index.ts";
import { asPte, PTE_VALID, PTE_WRITE, ptePfn } from "../../mm/index.ts";
import type { Sleeps } from "../../sync/index.ts";
import { fillWords, type WordAt, wordsOf } from "./words.ts";

/** Writes a page with its words from number `first` on; 0 or the negated errno of the fault. */
export function* storePage(
  cpu: SoftCpu,
  address: VirtAddr,
  wordAt: WordAt,
  first: number,
): Sleeps<Result> {
  const result = yield* cpu.store(address, wordAt(first));
  if (result < 0) return result;
  fillWords(reachable(cpu, address, PTE_VALID | PTE_WRITE), wordAt, first);
  return 0;
}

/** The words of a page, to be looked at before anybody else runs; or a negated errno. */
export function* loadPage(cpu: SoftCpu, address: VirtAddr): Sleeps<Uint32Array | Result> {
  const loaded = yield* cpu.load(address);
  return typeof loaded === "number" ? loaded : reachable(cpu, address, PTE_VALID);
}

/** Adds 1 to every word of a page. */
export function* incrementPage(cpu: SoftCpu, address: VirtAddr): Sleeps<Result> {
  const loaded = yield* cpu.load(address);
  if (typeof loaded === "number") return loaded;
  const result = yield* cpu.store(address, loaded.value + 1);
  if (result < 0) return result;
  const words = reachable(cpu, address, PTE_VALID | PTE_WRITE);
  for (let i = 1; i < words.length; i++) words[i] = words[i]! + 1;
  return 0;
}

function reachable(cpu: SoftCpu, address: VirtAddr, rights: number): Uint32Array {
  const entry = cpu.tlb.get(vpnOf(address)) ?? 0;
  assert((entry & rights) === rights, "a CPU that has just touched a page may touch it");
  const at = ptePfn(asPte(entry)) * PAGE_SIZE;
  return wordsOf(cpu.space.memory.bytes.u8.subarray(at, at + PAGE_SIZE));
}
