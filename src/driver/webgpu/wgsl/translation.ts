/**
 * From an address to a word of device memory, in two ways.
 *
 * *Checked*: a walk of the table. A miss is recorded, in a loop of one pass: where no lane needs
 * what is in a loop it is skipped, while a branch would run, masked.
 *
 * *Direct*: most pages of a program follow each other on the device as they do in the space
 * (`DeviceMemory` sees to it), so a word of the longest such run is found by a subtraction. Nothing
 * is looked at on the way; an invocation remembers how far out it was, and if that is outside of
 * the run, or an address was no multiple of 4, it has strayed: it ends without effect and runs
 * again, checked. Stores have a run of their own, of pages that may be written: what a kernel makes
 * often lies elsewhere than what it reads. A place, the number of a word in a run, is less than 2
 * to the 30 also outside of it.
 */
import type { Way } from "./store-log.ts";

export const CHECKED = `fn os_isStray() -> bool { return false; }
fn os_walk(address: u32, need: u32) -> u32 {
  let entry = os_table[address >> 12u];
  var word = ((entry >> 8u) << 10u) | ((address >> 2u) & 1023u);
  for (var isBad = (entry & need) != need || (address & 3u) != 0u; isBad; isBad = false) {
    os_fault(address, (need >> 1u) | select(0u, 2u, (address & 3u) != 0u));
    word = os_MISS;
  }
  return word;
}
fn os_load(address: u32) -> u32 { return os_walk(address, 1u); }
fn os_store(address: u32) -> u32 { return os_walk(address, 3u); }
// Neighbouring words may straddle two pages that are far apart in memory: where the first is, and
// what those behind the end of its page count from.
fn os_words(address: u32, count: u32) -> vec2u {
  let last = address + 4u * (count - 1u);
  let first = os_table[address >> 12u];
  let second = os_table[last >> 12u];
  let isOdd = (address & 3u) != 0u;
  var words = vec2u(
    ((first >> 8u) << 10u) | ((address >> 2u) & 1023u),
    (((second >> 8u) << 10u) | ((last >> 2u) & 1023u)) - (count - 1u),
  );
  for (var isBad = (first & second & 1u) == 0u || isOdd; isBad; isBad = false) {
    os_fault(select(address, last, !isOdd && (first & 1u) != 0u), select(0u, 2u, isOdd));
    words = vec2u(os_MISS);
  }
  return words;
}`;

/** In groups whoever strays says so before others take what it makes of it for good. */
const SAY = `
  for (var once = os_isStray(); once; once = false) { os_tell(); }`;

export function directOf({ isAtomic, isGroup }: Way): string {
  const say = isAtomic && isGroup ? SAY : "";
  return `var<private> os_low: u32;
var<private> os_first: u32;
var<private> os_farthest: u32 = 0u;
var<private> os_farthestStore: u32 = 0u;
var<private> os_odd: u32 = 0u;
fn os_isStray() -> bool {
  return os_farthest >= os_params.span || os_farthestStore > os_params.storeSpan ||
    (os_odd & 3u) != 0u;
}
fn os_place(address: u32) -> u32 {
  os_odd |= address;
  return (address - os_low) >> 2u;
}
fn os_load(address: u32) -> u32 {
  let place = os_place(address);
  os_farthest = max(os_farthest, place);${say}
  return os_first + place;
}
fn os_store(address: u32) -> u32 {
  os_odd |= address;
  let place = (address - os_params.storeLow) >> 2u;
  // From 1 up: 0 is nowhere yet.
  os_farthestStore = max(os_farthestStore, place + 1u);${say}
  return os_params.storeBase + place;
}
fn os_words(address: u32, count: u32) -> u32 {
  let place = os_place(address);
  os_farthest = max(os_farthest, place + (count - 1u));${say}
  return os_first + place;
}`;
}
