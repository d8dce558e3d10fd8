/**
 * From a kernel's code to a shader: the page table walk, fault records and the store log around
 * the user's `main(i)`. Everything that we add begins with `os_` and stands before the user's
 * code, or on the same line, so that a compiler message can be given in the user's lines.
 */
import { guardLoops, type Insertion } from "./loop-guards.ts";
import { type CompileMessage, checkRules } from "./rules.ts";
import { countLines, type Place } from "./source-text.ts";
import { commitOf, isSpilled, logOf } from "./store-log.ts";

export interface KernelSource {
  /** For messages. */
  readonly name: string;
  /** The user's WGSL. */
  readonly code: string;
  /** `struct Args { … }`, or empty. */
  readonly argsStruct: string;
  /** Generated functions that the user's code may call. */
  readonly accessors: string;
}

export class KernelCompileError extends Error {
  override readonly name = "KernelCompileError";
  readonly messages: readonly CompileMessage[];

  constructor(kernel: string, messages: readonly CompileMessage[]) {
    const lines = messages.map(({ line, column, message }) => `${line}:${column} ${message}`);
    super(`the code of kernel ${kernel} does not compile: ${lines.join("; ")}`);
    this.messages = messages;
  }
}

/** Records of faults that one round can hold. */
export const FAULT_RECORDS = 32_768;
/** Words before the records in the control buffer. */
export const CONTROL_WORDS = 8;
export const WORKGROUP_SIZE = 64;
/** Loop passes that an invocation may make after its first fault, to find more of them. */
const PASSES_AFTER_FAULT = 64;
/** Loop passes that are one unit of work. */
const UNIT_PASSES = 64;
/** An invocation of more passes says so itself; one speaks for 64 others. */
const PASSES_UNSAID = 256;

export interface Shader {
  readonly wgsl: string;
  /** Translates a place in `wgsl` to one in the user's code. */
  userPlace(line: number, column: number): Place;
}

/** Throws `KernelCompileError` for what no compiler needs to see. */
export function wrapKernel(source: KernelSource, logSize: number): Shader {
  // An editor may have marked the text as UTF-8; such a mark is no part of the first line.
  const code = source.code.replace(/^\uFEFF/, "");
  const { messages, main } = checkRules(code);
  if (messages.length > 0) throw new KernelCompileError(source.name, messages);
  const guarded = guardLoops(code);
  const head = [
    prelude(source.argsStruct, logSize),
    LOADS,
    vectors(logSize),
    matrices(logSize),
    source.accessors,
    entry(logSize),
  ].join("\n");
  const headLines = countLines(head);
  return {
    wgsl: `${head}\n${guarded.code}\n`,
    // What is wrong before the user's code is how that calls main.
    userPlace: (line, column) =>
      line <= headLines ? main : userPlace(line - headLines, column, guarded.insertions),
  };
}

function userPlace(line: number, column: number, insertions: readonly Insertion[]): Place {
  let shift = 0;
  for (const each of insertions) {
    if (each.line === line && each.column + shift < column) shift += each.length;
  }
  return { line, column: Math.max(1, column - shift) };
}

const prelude = (argsStruct: string, logSize: number): string => `
struct os_Control {
  faults: atomic<u32>, pending: atomic<u32>, overflow: atomic<u32>,
  work: atomic<u32>, spilled: atomic<u32>, long: atomic<u32>, unbegun: atomic<u32>,
  records: array<vec2u>,
}
struct os_Params { first: u32, fresh: u32, retry: u32, work: u32, passes: u32 }
@group(0) @binding(0) var<storage, read> os_table: array<u32>;
@group(0) @binding(1) var<storage, read_write> os_memory: array<u32>;
@group(0) @binding(2) var<storage, read_write> os_seen: array<atomic<u32>>;
@group(0) @binding(3) var<storage, read_write> os_control: os_Control;
@group(0) @binding(4) var<storage, read_write> os_waiting: array<u32>;
@group(0) @binding(5) var<storage, read_write> os_again: array<u32>;
@group(0) @binding(6) var<uniform> os_params: os_Params;
@group(0) @binding(8) var<storage, read_write> os_spill: array<vec2u>;
${argsStruct === "" ? "" : `${argsStruct}\n@group(0) @binding(7) var<uniform> args: Args;`}
const os_MISS = 0xffffffffu;
var<private> os_faulted: bool = false;
var<private> os_passes: u32 = 0u;
var<private> os_limit: u32 = 0u;
// It was cut off by the limit: what it asks for from then on is not even a guess.
var<private> os_cut: bool = false;
fn os_end() {
  os_cut = os_cut | (!os_faulted & (os_passes > os_limit));
  os_limit = select(min(os_limit, os_passes + ${PASSES_AFTER_FAULT}u), os_limit, os_faulted);
  os_faulted = true;
}
fn os_overflow(kind: u32) {
  os_end();
  if (!os_cut) { atomicStore(&os_control.overflow, kind); }
}
fn os_fault(address: u32, kind: u32) {
  // After its first fault an invocation computes with zeros: what it asks for then is a guess.
  let flags = kind | select(0u, 4u, os_faulted);
  os_end();
  let place = ((address >> 12u) << 2u) | (flags & 1u) | ((flags >> 1u) & 2u);
  // Without branches, as far as it goes: every load has a copy of this function.
  let bit = select(1u << (place & 31u), 0u, os_cut);
  if (os_cut | ((atomicOr(&os_seen[place >> 5u], bit) & bit) != 0u)) { return; }
  let at = atomicAdd(&os_control.faults, 1u);
  if (at < ${FAULT_RECORDS}u) { os_control.records[at] = vec2u(address, flags); }
}
fn os_word(address: u32, need: u32) -> u32 {
  let entry = os_table[address >> 12u];
  if ((entry & need) != need || (address & 3u) != 0u) {
    os_fault(address, (need >> 1u) | select(0u, 2u, (address & 3u) != 0u));
    return os_MISS;
  }
  return ((entry >> 8u) << 10u) | ((address >> 2u) & 1023u);
}
${logOf(logSize)}`;

const LOADS = `fn load_i32(address: u32) -> i32 { return bitcast<i32>(load_u32(address)); }
fn load_f32(address: u32) -> f32 { return bitcast<f32>(load_u32(address)); }
fn store_i32(address: u32, value: i32) { store_u32(address, bitcast<u32>(value)); }
fn store_f32(address: u32, value: f32) { store_u32(address, bitcast<u32>(value)); }`;

/**
 * Vectors: one translation when all words lie in one page and the log is empty, else word by
 * word (a vector may straddle two pages that are far apart in memory).
 */
const vectors = (logSize: number): string =>
  (["u", "i", "f"] as const)
    .flatMap((letter) => [2, 3, 4].map((width) => vectorFunctions(letter, width, logSize)))
    .join("\n");

function vectorFunctions(letter: "u" | "i" | "f", width: number, logSize: number): string {
  const scalar = letter === "f" ? "f32" : `${letter}32`;
  const type = `vec${width}${letter}`;
  const range = Array.from({ length: width }, (_, k) => k);
  const words = range.map((k) => `os_memory[word + ${k}u]`).join(", ");
  const fast =
    letter === "u" ? `vec${width}u(${words})` : `bitcast<${type}>(vec${width}u(${words}))`;
  const stores = isSpilled(logSize)
    ? `for (var k = 0u; k < ${width}u; k++) { store_${scalar}(address + 4u * k, value[k]); }`
    : range.map((k) => `store_${scalar}(address + ${4 * k}u, value[${k}]);`).join(" ");
  // The slow way is a loop, not a row of calls: every call is inlined, and code costs seconds.
  return `fn load_${type}(address: u32) -> ${type} {
  if ((address & 4095u) > ${4096 - 4 * width}u || ${isLogged(logSize)}) {
    var value: ${type};
    for (var k = 0u; k < ${width}u; k++) { value[k] = load_${scalar}(address + 4u * k); }
    return value;
  }
  let word = os_word(address, 1u);
  if (word == os_MISS) { return ${type}(); }
  return ${fast};
}
fn store_${type}(address: u32, value: ${type}) { ${stores} }`;
}

/** Records of 48 and 64 bytes at once, as columns: one translation instead of three or four. */
const matrices = (logSize: number): string =>
  [3, 4].map((columns) => matrixFunction(columns, logSize)).join("\n");

function matrixFunction(columns: number, logSize: number): string {
  const type = `mat${columns}x4f`;
  const range = Array.from({ length: columns }, (_, k) => k);
  const column = (k: number): string =>
    [0, 1, 2, 3].map((row) => `os_memory[word + ${4 * k + row}u]`).join(", ");
  const fast = range.map((k) => `bitcast<vec4f>(vec4u(${column(k)}))`).join(", ");
  return `fn load_${type}(address: u32) -> ${type} {
  if ((address & 4095u) > ${4096 - 16 * columns}u || ${isLogged(logSize)}) {
    var value: ${type};
    for (var k = 0u; k < ${4 * columns}u; k++) {
      value[k >> 2u][k & 3u] = load_f32(address + 4u * k);
    }
    return value;
  }
  let word = os_word(address, 1u);
  if (word == os_MISS) { return ${type}(); }
  return ${type}(${fast});
}`;
}

/** The log is not empty: loads have to look into it. */
const isLogged = (logSize: number): string => (logSize === 0 ? "false" : "os_logged != 0u");

const entry = (logSize: number): string => `
@compute @workgroup_size(${WORKGROUP_SIZE})
fn os_entry(
  @builtin(workgroup_id) group: vec3u,
  @builtin(num_workgroups) groups: vec3u,
  @builtin(local_invocation_index) local: u32,
) {
  let slot = (group.y * groups.x + group.x) * ${WORKGROUP_SIZE}u + local;
  var id = 0u;
  if (slot < os_params.retry) { id = os_waiting[slot]; }
  else if (slot < os_params.retry + os_params.fresh) {
    id = os_params.first + (slot - os_params.retry);
  } else { return; }
  if (atomicLoad(&os_control.work) >= os_params.work) {
    atomicAdd(&os_control.unbegun, 1u);
    os_again[atomicAdd(&os_control.pending, 1u)] = id;
    return;
  }
  os_limit = os_params.passes;
  main(id);
  if (os_passes > ${PASSES_UNSAID}u) {
    atomicAdd(&os_control.work, os_passes / ${UNIT_PASSES}u);
  } else if (local == 0u) { atomicAdd(&os_control.work, 1u + os_passes); }
  if (os_passes > os_limit && !os_faulted) { os_end(); }
  if (os_cut) { atomicStore(&os_control.long, 1u); }
  if (os_faulted) { os_again[atomicAdd(&os_control.pending, 1u)] = id; return; }
  ${commitOf(logSize)}
}`;
