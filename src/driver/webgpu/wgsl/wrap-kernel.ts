/**
 * From a kernel's code to a shader: the page table walk, fault records and the store log around
 * the user's `main(i)`. Everything that we add begins with `os_` and stands before the user's
 * code, or on the same line, so that a compiler message can be given in the user's lines.
 */

import { atomicsExpected, atomicsOf } from "./atomics.ts";
import { entryOf } from "./entry.ts";
import { loadsOf } from "./loads.ts";
import { guardLoops, type Insertion } from "./loop-guards.ts";
import { type GroupSize, mainParams } from "./main-params.ts";
import { partCommit, partLog, partsOf, storesParts } from "./part-log.ts";
import { type CompileMessage, checkRules } from "./rules.ts";
import { countLines, type Place } from "./source-text.ts";
import { commitOf, isShared, logOf, type Way } from "./store-log.ts";
import { storesComeLast } from "./stores-last.ts";
import { CHECKED, directOf } from "./translation.ts";

export interface KernelSource {
  /** For messages. */
  readonly name: string;
  /** The user's WGSL. */
  readonly code: string;
  /** `struct Args { … }`, or empty. */
  readonly argsStruct: string;
  /** Generated functions that the user's code may call. */
  readonly accessors: string;
  /** Invocations run in groups of this size, which share memory and barriers. */
  readonly group?: GroupSize;
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
/** Loop passes that an invocation may make after its first fault, to find more of them. */
const PASSES_AFTER_FAULT = 64;
export interface Shader {
  readonly wgsl: string;
  /** It makes atomics, and keeps records of them (`atomics.ts`). */
  readonly isAtomic: boolean;
  /** Translates a place in `wgsl` to one in the user's code. */
  userPlace(line: number, column: number): Place;
}

/** Throws `KernelCompileError` for what no compiler needs to see. */
export function wrapKernel(source: KernelSource, logSize: number, isDirect = false): Shader {
  // An editor may have marked the text as UTF-8; such a mark is no part of the first line.
  const { code, values, problems } = mainParams(source.code.replace(/^\uFEFF/, ""), source.group);
  const { messages, main } = checkRules(code, { isGroup: source.group !== undefined, problems });
  if (messages.length > 0) throw new KernelCompileError(source.name, messages);
  const { group } = source;
  const guarded = guardLoops(code, source.argsStruct !== "", group !== undefined);
  const isAtomic = atomicsExpected(code) > 0;
  const isGroup = group !== undefined;
  const own = { isAtomic, isGroup, storesParts: storesParts(code) };
  const way: Way = { log: logFor(source, logSize), isDirect, ...own };
  const commit = way.storesParts ? partCommit(way) : commitOf(way);
  const head = [
    prelude(source.argsStruct, way),
    loadsOf(way),
    partsOf(code),
    isAtomic ? atomicsOf(code, way) : "",
    source.accessors,
    entryOf({ way, isBounded: guarded.isBounded, group, values, commit }),
  ].join("\n");
  const headLines = countLines(head);
  return {
    wgsl: `${head}\n${guarded.code}\n`,
    isAtomic,
    // What is wrong before the user's code is how that calls main.
    userPlace: (line, column) =>
      line <= headLines ? main : userPlace(line - headLines, column, guarded.insertions),
  };
}

const logFor = ({ code, accessors }: KernelSource, size: number): Way["log"] => ({
  size,
  isRead: size > 0 && !storesComeLast(code, accessors),
});

function userPlace(line: number, column: number, insertions: readonly Insertion[]): Place {
  let shift = 0;
  for (const each of insertions) {
    if (each.line !== line || each.column + shift >= column) continue;
    // What is wrong within a text of ours is given where that stands.
    shift = Math.min(shift + each.length, column - each.column);
  }
  return { line, column: Math.max(1, column - shift) };
}

const TOLD = `
  let told = os_tell();
  if (os_isCut(told)) { return; }`;

function faultsOf({ isGroup }: Way): string {
  const first = isGroup ? "kind | 8u | select(0u, 20u, told != 0u)" : "kind | 8u";
  return `fn os_end() {
  if (os_faulted) { return; }
  os_faulted = true;
  os_spent = os_budget - os_left;
  os_budget = min(os_left, ${PASSES_AFTER_FAULT});
  os_left = os_budget;
}
fn os_overflow(kind: u32) {${isGroup ? "\n  let told = os_tell();" : ""}
  if (os_left < 0) { return; }
  os_end();
  os_full = ${isGroup ? "select(0u, kind, told == 0u)" : "kind"};
}
// After its first fault an invocation computes with zeros: what it asks for then is a guess. What
// it asks for when it was cut off by the limit is not even that. In a group what others have shared
// may come of zeros once one has missed a page.
fn os_fault(address: u32, kind: u32) {
  let key = (address & 0xfffff000u) | kind;${isGroup ? TOLD : ""}
  if (os_left < 0 || key == os_latest) { return; }
  os_latest = key;
  let guess = (os_kinds & 255u) | ((os_kinds & 0xffff00u) << 8u) | ((kind | 12u) << 8u);
  os_missed = select(vec4u(address), vec4u(os_missed.x, address, os_missed.yz), os_faulted);
  os_kinds = select(${first}, guess, os_faulted);
  os_end();
}`;
}

const wordOf = (way: Way): string => (isShared(way) ? "atomic<u32>" : "u32");

// The directive: Dawn prints warnings with lines of this text, which nobody has written.
const prelude = (
  argsStruct: string,
  way: Way,
): string => `diagnostic(off, chromium.unreachable_code);
struct os_Control {
  faults: atomic<u32>, pending: atomic<u32>, why: atomic<u32>, work: atomic<u32>,
  spilled: atomic<u32>, unbegun: atomic<u32>, strays: atomic<u32>, chunks: atomic<u32>,
  records: array<vec2u>,
}
struct os_Params {
  first: u32, fresh: u32, retry: u32, work: u32, passes: i32,
  low: u32, base: u32, span: u32, storeLow: u32, storeBase: u32, storeSpan: u32,
  chunks: u32, chunkLimit: u32, size: vec4u,
}
@group(0) @binding(0) var<storage, read> os_table: array<u32>;
@group(0) @binding(1) var<storage, read_write> os_memory: array<${wordOf(way)}>;
@group(0) @binding(2) var<storage, read_write> os_seen: array<atomic<u32>>;
@group(0) @binding(3) var<storage, read_write> os_control: os_Control;
@group(0) @binding(4) var<storage, read_write> os_waiting: array<u32>;
@group(0) @binding(5) var<storage, read_write> os_again: array<u32>;
@group(0) @binding(6) var<uniform> os_params: os_Params;
@group(0) @binding(8) var<storage, read_write> os_spill: array<vec2u>;
${argsStruct === "" ? "" : `${argsStruct}\n@group(0) @binding(7) var<uniform> args: Args;`}
const os_MISS = 0xffffffffu;
var<private> os_faulted: bool = false;
// Loop passes that it may make still, of how many, and those that it made before its first fault.
var<private> os_left: i32 = 0;
var<private> os_budget: i32 = 0;
var<private> os_spent: i32 = 0;
// What it missed first, and the last three after that, the latest one first: addresses, and a
// byte of flags for each (1 a write, 2 misaligned, 4 a guess, 8 there is one, 16 beside 4: a guess
// of the group only). Recorded when it ends: every load has a copy of what is done at once.
var<private> os_missed: vec4u;
// Why its log has no room.
var<private> os_full: u32 = 0u;
var<private> os_kinds: u32 = 0u;
var<private> os_latest: u32 = 4u;
${faultsOf(way)}
fn os_record(address: u32, flags: u32) {
  let place = ((address >> 12u) << 2u) | (flags & 1u) | ((flags >> 1u) & 2u);
  let bit = 1u << (place & 31u);
  if ((atomicOr(&os_seen[place >> 5u], bit) & bit) != 0u) { return; }
  let at = atomicAdd(&os_control.faults, 1u);
  let own = (flags & 7u) | ((flags >> 1u) & 8u);
  if (at < ${FAULT_RECORDS}u) { os_control.records[at] = vec2u(address, own); }
}
${way.isDirect ? directOf(way) : CHECKED}
${way.storesParts ? partLog(way) : logOf(way)}`;
