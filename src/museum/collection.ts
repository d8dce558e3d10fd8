/** All exhibits of all rooms, in the order of the catalogue. */
import { assert } from "../base/index.ts";
import { COLLISION_RETRY_RFC } from "./collision-retry/index.ts";
import { DOCUMENTATION_ONLY } from "./documentation-only.ts";
import { DRIVER_LOOPS, NOTIFIER_COUNTS } from "./drivers/index.ts";
import { type Exhibit, scenarioOf } from "./exhibit.ts";
import {
  HMM_BIRTH,
  HMM_OBJECT,
  MIRROR_LIFETIME,
  MM_EXIT,
  RANGE_LIFETIME,
} from "./lifetime/index.ts";
import { DEVICE_COPIES, DEVICE_FAULTS, MIGRATION_SLOTS } from "./migration/index.ts";
import {
  START_FAILURE,
  SUBSCRIBER_COUNT,
  VALID_DMA,
  VALID_ENTRIES,
  VALID_FLAG,
  VALID_SEQUENCE,
} from "./validity/index.ts";
import { DOC_SAMPLE, FAULT_WALK, LOCK_STATE, REQUESTS, WAITING } from "./waiting/index.ts";

const ID = /^B-(\d{2,3})([a-z]?)$/;

/** "B-02b" becomes [2, "b"]. */
function partsOf(id: string): readonly [number: number, letter: string] {
  const match = ID.exec(id);
  assert(match !== null, () => `"${id}" is no id: one looks like B-01 or B-02b`);
  return [Number(match[1]), match[2]!];
}

/** The number that an exhibit's bug has in the catalogue: B-02 for B-02b. */
export const bugOf = (id: string): string => id.replace(/[a-z]$/, "");

/** For sorting: numbers rise, and the letters of one number. */
export function compareIds(a: string, b: string): number {
  const [numberA, letterA] = partsOf(a);
  const [numberB, letterB] = partsOf(b);
  return numberA - numberB || (letterA < letterB ? -1 : Number(letterA > letterB));
}

/** `exhibits` sorted. Asserts that every id is there once, and every scenario's name. @forTests */
export function arrange(exhibits: readonly Exhibit[]): readonly Exhibit[] {
  const ids = new Set(DOCUMENTATION_ONLY.map(({ id }) => id));
  const names = new Set<string>();
  for (const exhibit of exhibits) {
    assert(!ids.has(exhibit.id), () => `${exhibit.id} is there twice`);
    ids.add(exhibit.id);
    for (const version of [exhibit.buggy, ...exhibit.fixed]) {
      const { name } = scenarioOf(exhibit, version);
      assert(!names.has(name), () => `two scenarios are called "${name}"`);
      names.add(name);
    }
  }
  return exhibits.toSorted((a, b) => compareIds(a.id, b.id));
}

export const MUSEUM: readonly Exhibit[] = arrange([
  ...VALID_FLAG,
  ...VALID_ENTRIES,
  ...VALID_SEQUENCE,
  ...VALID_DMA,
  ...START_FAILURE,
  ...SUBSCRIBER_COUNT,
  ...WAITING,
  ...DOC_SAMPLE,
  ...LOCK_STATE,
  ...REQUESTS,
  ...FAULT_WALK,
  ...HMM_OBJECT,
  ...HMM_BIRTH,
  ...MM_EXIT,
  ...MIRROR_LIFETIME,
  ...RANGE_LIFETIME,
  ...COLLISION_RETRY_RFC,
  ...DEVICE_FAULTS,
  ...DEVICE_COPIES,
  ...MIGRATION_SLOTS,
  ...DRIVER_LOOPS,
  ...NOTIFIER_COUNTS,
]);
