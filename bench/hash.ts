/** A hash table with open addressing, half full: keys are looked up, half of them are there. */
import type { Row } from "./ratio.ts";
import { benchResident, dice } from "./resident.ts";

const SLOTS = 2 ** 20;
const PROBES = 2 ** 18;
/** Of a slot that nobody has, and the answer for a key that is not there. */
const NONE = 0xffff_ffff;
const FACTOR = 2_654_435_761;

export async function benchHash(): Promise<Row[]> {
  const roll = dice(521_288_629);
  const table = new Uint32Array(2 * SLOTS).fill(NONE);
  for (let i = 0; i < SLOTS / 2; i++) insert(table, 2 * i, i);
  // Even keys are there, odd ones are not.
  const keys = Uint32Array.from({ length: PROBES }, () => roll(SLOTS));
  return benchResident({
    name: `hash: ${PROBES.toLocaleString("en")} probes of ${SLOTS.toLocaleString("en")} slots`,
    arrays: { table, keys, out: new Uint32Array(PROBES) },
    ours: `fn main(i: u32) {
      let key = load_u32(args.keys + 4u * i);
      var slot = (key * ${FACTOR}u) >> 12u;
      var found = ${NONE}u;
      for (;;) {
        let there = load_u32(args.table + 8u * slot);
        if (there == key) { found = load_u32(args.table + 8u * slot + 4u); break; }
        if (there == ${NONE}u) { break; }
        slot = (slot + 1u) & ${SLOTS - 1}u;
      }
      store_u32(args.out + 4u * i, found);
    }`,
    byHand: `fn main(i: u32) {
      let key = buffer1[i];
      var slot = (key * ${FACTOR}u) >> 12u;
      var found = ${NONE}u;
      for (;;) {
        let there = buffer0[2u * slot];
        if (there == key) { found = buffer0[2u * slot + 1u]; break; }
        if (there == ${NONE}u) { break; }
        slot = (slot + 1u) & ${SLOTS - 1}u;
      }
      buffer2[i] = found;
    }`,
    launches: [[PROBES, 0]],
    result: "out",
    plain: () => keys.map((key) => lookUp(table, key)),
  });
}

const slotOf = (key: number): number => Math.imul(key, FACTOR) >>> 12;

function insert(table: Uint32Array, key: number, value: number): void {
  let slot = slotOf(key);
  while (table[2 * slot] !== NONE) slot = (slot + 1) % SLOTS;
  table[2 * slot] = key;
  table[2 * slot + 1] = value;
}

function lookUp(table: Uint32Array, key: number): number {
  for (let slot = slotOf(key); table[2 * slot] !== NONE; slot = (slot + 1) % SLOTS) {
    if (table[2 * slot] === key) return table[2 * slot + 1]!;
  }
  return NONE;
}
