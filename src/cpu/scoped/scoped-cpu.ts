/**
 * The portable CPU: user code reads and writes the window itself. JavaScript has no page faults,
 * so access is bracketed: `Brackets` faults pages in and pins them, and while one is open they
 * stay; single words can be touched outside of brackets after `need`, which looks at a
 * table of what the CPU may touch now. Every page's bytes are at its address (identity frames).
 */
import {
  assert,
  type Result,
  SPACE_PAGES,
  type VirtAddr,
  type Vpn,
  vpn,
} from "../../base/index.ts";
import type { Shadow, ShadowVisitor } from "../../check/index.ts";
import type { AddressSpace, CpuMmu } from "../../mm/index.ts";
import { allows, reachableBy, rightsIn } from "../rights.ts";

export class ScopedCpu implements CpuMmu, Shadow {
  readonly name = "CPU";
  readonly isCpu = true;
  readonly space: AddressSpace;
  // Vpn -> PTE_VALID, PTE_WRITE: what may be touched now
  readonly #rights = new Uint8Array(SPACE_PAGES);

  constructor(space: AddressSpace) {
    assert(space.isIdentity, "a window needs every page's frame at its address");
    this.space = space;
    space.mmus.push(this);
  }

  revoke(start: Vpn, end: Vpn): void {
    this.#rights.fill(0, start, end);
  }

  /** Every page of [address, address + bytes) may be touched at once. Looks at the table only. */
  mayTouch(address: VirtAddr, bytes: number, write: boolean): boolean {
    return allows(this.#rights, address, bytes, write);
  }

  /** Takes over what the page table allows for the pages of [start, end). */
  install(start: Vpn, end: Vpn): Result {
    for (let page = start; page < end; page = vpn(page + 1)) {
      this.#rights[page] = rightsIn(this.space.pageTable.get(page));
    }
    return 0;
  }

  forEachReachable(visit: ShadowVisitor): void {
    reachableBy(this.#rights, this.space, visit);
  }

  /** For tests: what the CPU may touch at `page`. */
  rightsOf(page: Vpn): number {
    return this.#rights[page]!;
  }
}
