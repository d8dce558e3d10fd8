/** A hash table that all invocations fill at once: open addressing, a count for each key. */
import { type Machine, ptr, struct, u32 } from "onespace";

/** As many as a power of two, zero at first. */
export const Slot = struct("Slot", { key: u32, count: u32 });

/** No key. */
export const EMPTY = 0;

const hash = (key: number): number => Math.imul(key ^ (key >>> 15), 0x2c1b_3c6d) >>> 12;

/** Counts `keys[i]`. Who finds a free slot takes it, if nobody was there before. */
export const insert = (machine: Machine) =>
  machine.kernel(
    { slots: ptr(Slot), mask: u32, keys: ptr(u32), lost: ptr(u32) },
    (i, { slots, mask, keys, lost }, { EMPTY, hash, atomicAdd, atomicCompareExchange }) => {
      const key = keys[i];
      let at = hash(key) & mask;
      for (let tries = 0; tries <= mask; tries++) {
        const before = atomicCompareExchange(slots[at], "key", EMPTY, key);
        if (before === EMPTY || before === key) {
          atomicAdd(slots[at], "count", 1);
          return;
        }
        at = (at + 1) & mask;
      }
      atomicAdd(lost, 0, 1);
    },
    { name: "insert", uses: { EMPTY, hash } },
  );

/** `counts[i]` is how often `keys[i]` was inserted, in launches before. */
export const probe = (machine: Machine) =>
  machine.kernel(
    { slots: ptr(Slot), mask: u32, keys: ptr(u32), counts: ptr(u32) },
    (i, { slots, mask, keys, counts }, { EMPTY, hash }) => {
      const key = keys[i];
      let at = hash(key) & mask;
      let tries = 0;
      while (tries < mask && slots[at].key !== key && slots[at].key !== EMPTY) {
        at = (at + 1) & mask;
        tries++;
      }
      counts[i] = slots[at].key === key ? slots[at].count : 0;
    },
    { name: "probe", uses: { EMPTY, hash } },
  );
