/**
 * Atomics by address: `atomicAdd_u32(address, value)` and its like. An invocation may run again
 * after it has made some of them, and they have happened: so what each gave is kept, and who runs
 * again is given it instead of doing it twice. The first few are held by the invocation, which is
 * all when it finishes; else they go to a list of chunks in `os_done`, which the list of those who
 * wait names instead of the invocation.
 *
 * An invocation that runs again as it did before finds its records in order. One that reads, by
 * plain loads, what others write meanwhile may take another way: then it passes over records until
 * one is of the same operation, and what it has never done it does.
 */
import { blankComments } from "./source-text.ts";
import { RECORDS_ARE_FULL, type Way } from "./store-log.ts";

/** Records in a chunk, and held before there is one. */
export const CHUNK_RECORDS = 4;
/** Passes of loops with atomics in them, as long as nothing is known. */
const PASSES = 4096;
/** Of a chunk: whose it is, the next one, records in it, and in a first one the last of all. */
const HEAD_WORDS = 4;
export const CHUNK_WORDS = HEAD_WORDS + 3 * CHUNK_RECORDS;
/** Of an entry in the list of those who wait: it names a chunk. */
export const NAMES_CHUNK = 0x8000_0000;

const CALL = /\batomic([A-Z][A-Za-z]*)_([ui]32)\s*\(/g;

/** `old` and `value` are words; the operation leaves what was there in `old`. */
const SAME_BITS: Readonly<Record<string, string>> = {
  Load: "old = atomicLoad(&os_memory[word]);",
  Store: "atomicStore(&os_memory[word], value);",
  Add: "old = atomicAdd(&os_memory[word], value);",
  Sub: "old = atomicSub(&os_memory[word], value);",
  And: "old = atomicAnd(&os_memory[word], value);",
  Or: "old = atomicOr(&os_memory[word], value);",
  Xor: "old = atomicXor(&os_memory[word], value);",
  Exchange: "old = atomicExchange(&os_memory[word], value);",
  // WGSL's own may fail for no reason.
  CompareExchange: `old = compare + 1u;
  for (var again = true; again; again = old == compare) {
    let tried = atomicCompareExchangeWeak(&os_memory[word], compare, value);
    old = tried.old_value;
    if (tried.exchanged) { break; }
  }`,
};

const ORDERED: Readonly<Record<string, string>> = { Min: "min", Max: "max" };

const NAMES = [...Object.keys(SAME_BITS), ...Object.keys(ORDERED)];

/** What kernels may call. */
const ATOMICS: readonly string[] = NAMES.flatMap((name) =>
  ["u32", "i32"].map((type) => `atomic${name}_${type}`),
);

/** How many an invocation makes, by the look of the code; 0: it makes none. */
export function atomicsExpected(code: string): number {
  const calls = atomicsIn(blankComments(code)).length;
  return /\b(?:for|while|loop)\b/.test(code) ? PASSES * calls : calls;
}

function atomicsIn(code: string): string[] {
  const calls = Array.from(code.matchAll(CALL), ([, name, type]) => `atomic${name}_${type}`);
  return calls.filter((call) => ATOMICS.includes(call));
}

/** The functions that the code calls, and what they need. */
export function atomicsOf(code: string, { isDirect, isGroup }: Way): string {
  const isMissed = isDirect ? "os_isStray()" : "word == os_MISS";
  // Its operands may be what another made of zeros.
  const isOff = isGroup ? `${isMissed} || atomicLoad(&os_bad) != 0u` : isMissed;
  const called = [...new Set(atomicsIn(blankComments(code)))];
  return `${KEEPING}
fn os_isOff(word: u32) -> bool { return os_faulted || os_left < 0 || ${isOff}; }
${called.map((call) => functionOf(call, isGroup)).join("\n")}`;
}

function functionOf(call: string, isGroup: boolean): string {
  const [, name = "", type = ""] = /^atomic(\w+)_(\w+)$/.exec(call)!;
  const kind = 1 + ATOMICS.indexOf(call);
  const given = givenOf(name);
  const params = given.map((each) => `, ${each}_: ${type}`).join("");
  const result = name === "Store" ? "" : ` -> ${type}`;
  const leave = (value: string): string =>
    name === "Store" ? "return;" : `return bitcast<${type}>(${value});`;
  return `fn ${call}(address: u32${params})${result} {
  let word = os_store(address);
  if (os_isOff(word)) { ${isGroup ? "os_tell(); " : ""}${leave("0u")} }
  ${given.map((each) => `let ${each} = bitcast<u32>(${each}_);`).join("\n  ")}
  let what = ${kind}u${given.map((each, k) => ` + ${each} * ${MIXERS[k]}u`).join("")};
  if (os_redo(address, what)) { ${leave("os_result")} }
  if (os_heldCount == ${CHUNK_RECORDS}u && !os_flush(os_params.chunkLimit)) {
    os_overflow(${RECORDS_ARE_FULL}u);
    ${leave("0u")}
  }
  var old = 0u;
  ${SAME_BITS[name] ?? compareAndSwap(ORDERED[name]!, type)}
  os_held[os_heldCount] = vec3u(address, what, old);
  os_heldCount++;
  ${leave("old")}
}`;
}

/** Odd, so that different operands stay different. */
const MIXERS = [2_654_435_769, 2_246_822_519];

function givenOf(name: string): readonly string[] {
  if (name === "Load") return [];
  return name === "CompareExchange" ? ["compare", "value"] : ["value"];
}

/** The words are unsigned, whatever a kernel takes them for. */
const compareAndSwap = (order: string, type: string): string =>
  type === "u32"
    ? `old = atomic${order === "min" ? "Min" : "Max"}(&os_memory[word], value);`
    : `old = atomicLoad(&os_memory[word]);
  for (var again = true; again; ) {
    let wanted = bitcast<u32>(${order}(bitcast<i32>(old), bitcast<i32>(value)));
    let tried = atomicCompareExchangeWeak(&os_memory[word], old, wanted);
    again = !tried.exchanged;
    old = tried.old_value;
  }`;

const KEEPING = `@group(0) @binding(9) var<storage, read_write> os_done: array<u32>;
var<private> os_id: u32;
// Chunks count from 1; 0 is none.
var<private> os_head: u32 = 0u;
var<private> os_tail: u32 = 0u;
// Where it looks for what it has done in earlier runs, and the last chunk of those.
var<private> os_cursor: u32 = 0u;
var<private> os_lastOld: u32 = 0u;
var<private> os_cursorAt: u32 = 0u;
var<private> os_result: u32;
var<private> os_held: array<vec3u, ${CHUNK_RECORDS}>;
var<private> os_heldCount: u32 = 0u;
fn os_chunkAt(chunk: u32) -> u32 { return ${CHUNK_WORDS}u * (chunk - 1u); }
// Who that is in the list of those who wait.
fn os_recall(listed: u32) -> u32 {
  os_id = listed;
  if ((listed & ${NAMES_CHUNK}u) != 0u) {
    os_recallFrom(listed & ${NAMES_CHUNK - 1}u);
    os_id = os_done[os_chunkAt(os_head)];
  }
  return os_id;
}
fn os_recallFrom(head: u32) {
  os_head = head;
  os_cursor = head;
  os_tail = os_done[os_chunkAt(head) + 3u];
  os_lastOld = os_tail;
}
// What the list has to say of it. There is always room for the last ones of all that run.
fn os_listed() -> u32 {
  if (os_heldCount > 0u) { os_flush(os_MISS); }
  return select(os_id, ${NAMES_CHUNK}u | os_head, os_head != 0u);
}
fn os_flush(limit: u32) -> bool {
  let chunk = os_params.chunks + atomicAdd(&os_control.chunks, 1u) + 1u;
  if (chunk > limit) { return false; }
  let at = os_chunkAt(chunk);
  os_done[at] = os_id;
  os_done[at + 1u] = 0u;
  os_done[at + 2u] = os_heldCount;
  for (var k = 0u; k < os_heldCount; k++) {
    for (var part = 0u; part < 3u; part++) {
      os_done[at + ${HEAD_WORDS}u + 3u * k + part] = os_held[k][part];
    }
  }
  if (os_tail == 0u) { os_head = chunk; }
  else { os_done[os_chunkAt(os_tail) + 1u] = chunk; }
  os_done[os_chunkAt(os_head) + 3u] = chunk;
  os_tail = chunk;
  os_heldCount = 0u;
  return true;
}
fn os_redo(address: u32, what: u32) -> bool {
  var found = false;
  var chunk = os_cursor;
  var k = os_cursorAt;
  for (; chunk != 0u && !found; ) {
    let at = os_chunkAt(chunk);
    let count = os_done[at + 2u];
    for (; k < count && !found; k++) {
      let record = at + ${HEAD_WORDS}u + 3u * k;
      if (os_done[record] == address && os_done[record + 1u] == what) {
        os_result = os_done[record + 2u];
        os_cursor = chunk;
        os_cursorAt = k + 1u;
        found = true;
      }
    }
    if (!found) { chunk = select(os_done[at + 1u], 0u, chunk == os_lastOld); k = 0u; }
  }
  return found;
}`;
