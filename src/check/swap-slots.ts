/** Law: a swap slot is used as often as entries name it. */
import { assert } from "../base/index.ts";
import { hasFrame, SPECIAL_SWAP, type SwapArea, specialOf, swapSlotOf } from "../mm/index.ts";
import type { Entry } from "./entry.ts";

export class SlotCount {
  // slot -> entries that name it
  readonly #uses = new Map<number, number>();

  add({ pte }: Entry): void {
    if (hasFrame(pte) || specialOf(pte) !== SPECIAL_SWAP) return;
    const slot = swapSlotOf(pte);
    this.#uses.set(slot, (this.#uses.get(slot) ?? 0) + 1);
  }

  check(swap: SwapArea): void {
    const { usedCount } = swap;
    assert(this.#uses.size === usedCount, () => {
      return `${usedCount} swap slots are used, entries name ${this.#uses.size}`;
    });
    for (const [slot, uses] of this.#uses) {
      assert(swap.usesOf(slot) === uses, () => `swap slot ${slot} has ${swap.usesOf(slot)} uses`);
    }
  }
}
