/**
 * The store log of an invocation: its stores go there, its own loads look there first, and they
 * are committed when it completes. Small logs are private to the invocation; a larger one is a
 * hash table in a buffer that all invocations of a round share (`os_spill`), which grows as the
 * invocation goes on: a search costs the same for one word and for a million.
 */

/**
 * Logs up to this many words are kept in registers. Measured on a busy machine with SwiftShader:
 * with 2 words a sixth faster than an array, with 4 no clear difference, with 8 rather slower.
 */
const REGISTERS_MAX = 4;
/** Logs up to this many words are an array, which loads search backwards; larger ones spill. */
const ARRAY_MAX = 64;
/**
 * Words for which a spilled log has room at first; then four times as many. From either the steps
 * lead to the largest table that the buffer holds (`LOG_WORDS_MAX`).
 */
const ROOM_MIN = 256;
const ROOM_MAX = 4 * ROOM_MIN;

/** Values of `os_control.overflow`. */
export const LOG_IS_FULL = 1;
export const SPILL_IS_FULL = 2;
/** Beside them: some invocation made more passes than it may. */
export const PASSES_ARE_OVER = 4;
/** An invocation has made more atomics than there is room for until others have finished. */
export const RECORDS_ARE_FULL = 8;

export const isSpilled = (logSize: number): boolean => logSize > ARRAY_MAX;
export const isInRegisters = (logSize: number): boolean => logSize <= REGISTERS_MAX;

interface Log {
  /** Words that it has room for, at least. */
  readonly size: number;
  /** A load may follow a store, and has to look here first. */
  readonly isRead: boolean;
}

/** How the words of one load are found, and where its own stores are. */
export interface Way {
  readonly log: Log;
  /**
   * By a subtraction instead of a walk (translation.ts): no word is `os_MISS`, and who has strayed
   * finds and logs anything until it ends.
   */
  readonly isDirect: boolean;
  /** It makes atomics, and remembers them (`atomics.ts`). */
  readonly isAtomic: boolean;
  /** It stores less than words (`part-log.ts`). */
  readonly storesParts: boolean;
  /** Invocations run in groups: what one of them computes with zeros others may be told. */
  readonly isGroup: boolean;
}

/** Memory is words for atomics, also where it is only loaded and stored. */
export const isShared = ({ isAtomic, storesParts }: Way): boolean => isAtomic || storesParts;

/** The word at an index of device memory. */
export const wordAt = (index: string, way: Way): string =>
  isShared(way) ? `atomicLoad(&os_memory[${index}])` : `os_memory[${index}]`;

const setWord = (index: string, value: string, way: Way): string =>
  isShared(way)
    ? `atomicStore(&os_memory[${index}], ${value});`
    : `os_memory[${index}] = ${value};`;

/** Functions `load_u32` and `store_u32`. */
export function logOf(way: Way): string {
  const [load, store] = partsOf(way);
  return `${way.log.isRead ? "" : plainLoad(way)}\n${store}\n${way.log.isRead ? load : ""}`;
}

function partsOf(way: Way): readonly [load: string, store: string] {
  const { size } = way.log;
  if (size === 0) return [plainLoad(way), NO_LOG];
  if (size <= REGISTERS_MAX) return registerLog(size, way);
  return isSpilled(size) ? [spilledLoad(way), spilledLog(size)] : [arrayLoad(way), arrayLog(size)];
}

export const plainLoad = (way: Way): string => `fn load_u32(address: u32) -> u32 {
  let word = os_load(address);
  return ${orZero(wordAt("word", way), way)};
}`;

const orZero = (value: string, { isDirect }: Way): string =>
  isDirect ? value : `select(${value}, 0u, word == os_MISS)`;

/** Statements that make the stores happen. */
export function commitOf(way: Way): string {
  const logSize = way.log.size;
  if (isSpilled(logSize)) {
    return `for (var k = 0u; k < os_room; k++) {
    let entry = os_spill[os_base + k];
    if (entry.x != 0u) { ${setWord("entry.x - 1u", "entry.y", way)} }
  }`;
  }
  if (logSize > REGISTERS_MAX) {
    const commit = setWord("os_log[k].x", "os_log[k].y", way);
    return `for (var k = 0u; k < os_logged; k++) { ${commit} }`;
  }
  return Array.from(
    { length: logSize },
    (_, k) => `if (os_logged > ${k}u) { ${setWord(`os_at${k}`, `os_value${k}`, way)} }`,
  ).join("\n  ");
}

const NO_LOG = `fn store_u32(address: u32, value: u32) { os_overflow(${LOG_IS_FULL}u); }`;

/** A fixed set of variables needs no loop to search. A word is in it once at most. */
function registerLog(logSize: number, way: Way): readonly [load: string, store: string] {
  const range = Array.from({ length: logSize }, (_, k) => k);
  const perWord = (line: (k: number) => string): string => range.map(line).join("\n");
  const registers = (k: number): string =>
    `var<private> os_at${k}: u32 = os_MISS; var<private> os_value${k}: u32;`;
  const load = `fn load_u32(address: u32) -> u32 {
  let word = os_load(address);
  var value = ${wordAt("word", way)};
  ${perWord((k) => `value = select(value, os_value${k}, word == os_at${k});`)}
  return ${orZero("value", way)};
}`;
  const store = `${perWord(registers)}
var<private> os_logged: u32 = 0u;
fn store_u32(address: u32, value: u32) {
  let word = os_store(address);
  ${way.isDirect ? "" : "if (os_faulted || word == os_MISS) { return; }"}
  let isNew = ${range.map((k) => `word != os_at${k}`).join(" && ")};
  let isFull = isNew && os_logged == ${logSize}u;
  for (var once = isFull; once; once = false) { os_overflow(${LOG_IS_FULL}u); }
  ${perWord((k) => `os_at${k} = select(os_at${k}, word, isNew && os_logged == ${k}u);`)}
  ${perWord((k) => `os_value${k} = select(os_value${k}, value, os_at${k} == word);`)}
  os_logged += u32(isNew && !isFull);
}`;
  return [load, store];
}

const arrayLoad = (way: Way): string => `fn load_u32(address: u32) -> u32 {
  let word = os_load(address);
  for (var k = os_logged; k > 0u; k--) {
    if (os_log[k - 1u].x == word) { return os_log[k - 1u].y; }
  }
  return select(${wordAt("word", way)}, 0u, word == os_MISS);
}`;

/** When it is full a store may still take the place of the last one to the same word. */
const arrayLog = (logSize: number): string => `var<private> os_log: array<vec2u, ${logSize}>;
var<private> os_logged: u32 = 0u;
fn store_u32(address: u32, value: u32) {
  let word = os_store(address);
  if (os_faulted || word == os_MISS) { return; }
  if (os_logged == ${logSize}u) {
    for (var k = os_logged; k > 0u; k--) {
      if (os_log[k - 1u].x == word) { os_log[k - 1u].y = value; return; }
    }
    os_overflow(${LOG_IS_FULL}u);
    return;
  }
  os_log[os_logged] = vec2u(word, value);
  os_logged++;
}`;

const spilledLoad = (way: Way): string => `fn load_u32(address: u32) -> u32 {
  let word = os_load(address);
  if (word == os_MISS) { return 0u; }
  if (os_room != 0u) {
    let entry = os_spill[os_entryOf(word)];
    if (entry.x != 0u) { return entry.y; }
  }
  return ${wordAt("word", way)};
}`;

/**
 * An entry is so many pairs. Linear probing, at most three quarters full. A key is the word plus 1:
 * the buffer is zero when a round begins. A table that has grown leaves its old place to nobody
 * until the round ends.
 */
export const spilledTable = (logSize: number, pairs: 1 | 2): string => `var<private> os_base: u32;
var<private> os_room: u32 = 0u;
var<private> os_logged: u32 = 0u;
fn os_entryOf(word: u32) -> u32 {
  var at = (word * 2654435769u) >> (countLeadingZeros(os_room) + 1u);
  loop {
    let entry = os_base + ${pairs}u * at;
    let key = os_spill[entry].x;
    if (key == 0u || key == word + 1u) { return entry; }
    at = (at + 1u) & (os_room - 1u);
  }
}
fn os_grow() -> bool {
  let old = os_base;
  let room = os_room;
  let more = select(4u * room, ${firstRoom(logSize)}u, room == 0u);
  let base = atomicAdd(&os_control.spilled, ${pairs}u * more);
  if (base + ${pairs}u * more > arrayLength(&os_spill)) {
    os_overflow(${SPILL_IS_FULL}u);
    return false;
  }
  os_base = base;
  os_room = more;
  for (var k = 0u; k < room; k++) {
    let source = old + ${pairs}u * k;
    if (os_spill[source].x == 0u) { continue; }
    let goal = os_entryOf(os_spill[source].x - 1u);
    for (var k = 0u; k < ${pairs}u; k++) { os_spill[goal + k] = os_spill[source + k]; }
  }
  return true;
}`;

const spilledLog = (logSize: number): string => `${spilledTable(logSize, 1)}
fn store_u32(address: u32, value: u32) {
  let word = os_store(address);
  if (os_faulted || word == os_MISS) { return; }
  if (4u * os_logged >= 3u * os_room) { if (!os_grow()) { return; } }
  let at = os_entryOf(word);
  os_logged += u32(os_spill[at].x == 0u);
  os_spill[at] = vec2u(word + 1u, value);
}`;

/** The smaller one if that is less than three quarters full with what is expected. */
const firstRoom = (logSize: number): number => (2 * logSize <= ROOM_MIN ? ROOM_MIN : ROOM_MAX);
