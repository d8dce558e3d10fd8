/**
 * Numbers of 8 and 16 bits. Memory is words, so a kernel that stores less than a word keeps a mask
 * with each word of its log: which bits it has stored. They are committed by two atomics, since
 * another invocation may store the rest of the word; so memory is words for atomics there.
 */
import { blankComments } from "./source-text.ts";
import { isSpilled, LOG_IS_FULL, plainLoad, spilledTable, type Way, wordAt } from "./store-log.ts";

/** What is loaded is the lowest of the bits; `inWord` is what of an address is within a word. */
const load = (name: string, type: string, inWord: number, value: string): string =>
  `fn ${name}(address: u32) -> ${type} {
  let bits = os_part(address, ${inWord}u);
  return ${value};
}`;

const signed = (bits: number): string => `(bitcast<i32>(bits) << ${bits}u) >> ${bits}u`;

const LOADS: Readonly<Record<string, string>> = {
  load_u8: load("load_u8", "u32", 3, "bits & 0xffu"),
  load_i8: load("load_i8", "i32", 3, signed(24)),
  load_u16: load("load_u16", "u32", 2, "bits & 0xffffu"),
  load_i16: load("load_i16", "i32", 2, signed(16)),
  load_f16: load("load_f16", "f32", 2, "unpack2x16float(bits).x"),
};

const store = (name: string, type: string, place: string, bits: string): string =>
  `fn ${name}(address: u32, value: ${type}) { os_storePart(address, ${place}, ${bits}); }`;

const BYTE = "3u, 0xffu";
const HALF = "2u, 0xffffu";

const STORES: Readonly<Record<string, string>> = {
  store_u8: store("store_u8", "u32", BYTE, "value"),
  store_i8: store("store_i8", "i32", BYTE, "bitcast<u32>(value)"),
  store_u16: store("store_u16", "u32", HALF, "value"),
  store_i16: store("store_i16", "i32", HALF, "bitcast<u32>(value)"),
  store_f16: store("store_f16", "f32", HALF, "pack2x16float(vec2f(value, 0.0))"),
};

/** An odd address of 16 bits stays one that is no multiple of 4, which is a fault. */
const PART = `fn os_part(address: u32, inWord: u32) -> u32 {
  return load_u32(address & ~inWord) >> (8u * (address & inWord));
}`;

const STORE_PART = `fn os_storePart(address: u32, inWord: u32, mask: u32, value: u32) {
  let shift = 8u * (address & inWord);
  os_storeBits(address & ~inWord, mask << shift, value << shift);
}`;

const calls = (code: string, names: Readonly<Record<string, string>>): string[] => {
  const called = new Set(Array.from(code.matchAll(/\b(\w+)\s*\(/g), ([, name]) => name!));
  return Object.keys(names).filter((name) => called.has(name));
};

/** Whether the code, or an accessor that it calls, stores less than a word. */
export function storesParts(code: string): boolean {
  return calls(blankComments(code), STORES).length > 0;
}

/** The functions for parts of words that the code calls, and what they need. */
export function partsOf(code: string): string {
  const bare = blankComments(code);
  const loads = calls(bare, LOADS).map((name) => LOADS[name]!);
  const stores = calls(bare, STORES).map((name) => STORES[name]!);
  return [
    ...(loads.length > 0 ? [PART, ...loads] : []),
    ...(stores.length > 0 ? [STORE_PART, ...stores] : []),
  ].join("\n");
}

/** `load_u32`, `store_u32` and `os_storeBits`, with a mask for each word of the log. */
export function partLog(way: Way): string {
  const [load, store] = isSpilled(way.log.size) ? spilledLog(way) : arrayLog(way);
  return `${way.log.isRead ? load : plainLoad(way)}
${store}
fn store_u32(address: u32, value: u32) { os_storeBits(address, os_MISS, value); }`;
}

const commitWord = (word: string, mask: string, value: string): string => `let mask = ${mask};
    if (mask == os_MISS) { atomicStore(&os_memory[${word}], ${value}); }
    else {
      atomicAnd(&os_memory[${word}], ~mask);
      atomicOr(&os_memory[${word}], ${value});
    }`;

export const partCommit = (way: Way): string =>
  isSpilled(way.log.size)
    ? `for (var k = 0u; k < os_room; k++) {
    let entry = os_spill[os_base + 2u * k];
    if (entry.x == 0u) { continue; }
    ${commitWord("entry.x - 1u", "os_spill[os_base + 2u * k + 1u].x", "entry.y")}
  }`
    : `for (var k = 0u; k < os_logged; k++) {
    ${commitWord("os_log[k].x", "os_log[k].y", "os_log[k].z")}
  }`;

/** A word is in it once at most. */
function arrayLog(way: Way): readonly [load: string, store: string] {
  const { size } = way.log;
  const load = `fn load_u32(address: u32) -> u32 {
  let word = os_load(address);
  if (word == os_MISS) { return 0u; }
  for (var k = 0u; k < os_logged; k++) {
    let entry = os_log[k];
    if (entry.x == word) { return (${wordAt("word", way)} & ~entry.y) | entry.z; }
  }
  return ${wordAt("word", way)};
}`;
  const store = `var<private> os_log: array<vec3u, ${size}>;
var<private> os_logged: u32 = 0u;
fn os_storeBits(address: u32, mask: u32, value: u32) {
  let word = os_store(address);
  if (os_faulted || word == os_MISS) { return; }
  for (var k = 0u; k < os_logged; k++) {
    if (os_log[k].x != word) { continue; }
    os_log[k].y |= mask;
    os_log[k].z = (os_log[k].z & ~mask) | (value & mask);
    return;
  }
  if (os_logged == ${size}u) { os_overflow(${LOG_IS_FULL}u); return; }
  os_log[os_logged] = vec3u(word, mask, value & mask);
  os_logged++;
}`;
  return [load, store];
}

/** An entry is two pairs: the word and its value, the mask and nothing. */
function spilledLog(way: Way): readonly [load: string, store: string] {
  const load = `fn load_u32(address: u32) -> u32 {
  let word = os_load(address);
  if (word == os_MISS) { return 0u; }
  var mask = 0u;
  var value = 0u;
  if (os_room != 0u) {
    let at = os_entryOf(word);
    if (os_spill[at].x != 0u) { mask = os_spill[at + 1u].x; value = os_spill[at].y; }
  }
  return (${wordAt("word", way)} & ~mask) | value;
}`;
  const store = `${spilledTable(way.log.size, 2)}
fn os_storeBits(address: u32, mask: u32, value: u32) {
  let word = os_store(address);
  if (os_faulted || word == os_MISS) { return; }
  if (4u * os_logged >= 3u * os_room) { if (!os_grow()) { return; } }
  let at = os_entryOf(word);
  os_logged += u32(os_spill[at].x == 0u);
  os_spill[at] = vec2u(word + 1u, (os_spill[at].y & ~mask) | (value & mask));
  os_spill[at + 1u].x |= mask;
}`;
  return [load, store];
}
