/**
 * The entry point of a shader: who runs, and what becomes of it when `main` has returned. Either
 * each invocation is for itself, or a whole workgroup is: where one of it misses something all of
 * it have had no effect, and all run again.
 */
import { CHUNK_WORDS, NAMES_CHUNK } from "./atomics.ts";
import type { GroupSize } from "./main-params.ts";
import { PASSES_ARE_OVER, type Way } from "./store-log.ts";

export const WORKGROUP_SIZE = 64;
/** Loop passes that are one unit of work. */
const UNIT_PASSES = 64;
/** An invocation of more passes says so itself; one speaks for 64 others. */
const PASSES_UNSAID = 256;
/** Beside the reasons why one of a group has not finished: it has not; it has strayed. */
const UNFINISHED = 16;
const STRAYED = 32;
/** It was cut off by the limit before it missed a page itself. */
const CUT = 64;

export interface Entry {
  readonly way: Way;
  /** Kernels that take no longer than their text is have no limit to look at. */
  readonly isBounded: boolean;
  readonly group: GroupSize | undefined;
  /** What `main` is called with. */
  readonly values: readonly string[];
  /** Statements that make the stores happen. */
  readonly commit: string;
}

export function entryOf(entry: Entry): string {
  const { group } = entry;
  const own = group === undefined ? aloneEntry(entry) : groupEntry(entry, group);
  return `${PLACES}\n${own}`;
}

/** A place in a grid from its number, and back. */
const PLACES = `fn os_at(k: u32) -> vec3u {
  let wide = k / os_params.size.x;
  return vec3u(k % os_params.size.x, wide % os_params.size.y, wide / os_params.size.y);
}
fn os_linear(at: vec3u, group: vec3u) -> u32 {
  let size = os_params.size.xyz * group;
  return at.x + size.x * (at.y + size.y * at.z);
}`;

const BEGIN = `  let isOver = atomicLoad(&os_control.work) >= os_params.work;
  if (isOver) {
    atomicAdd(&os_control.unbegun, 1u);
    os_again[atomicAdd(&os_control.pending, 1u)] = listed;
    return;
  }
  os_budget = os_params.passes;
  os_left = os_budget;`;

const COUNT = `  let passes = u32(os_spent + os_budget - os_left);
  if (passes > ${PASSES_UNSAID}u || local == 0u) {
    let own = passes / ${UNIT_PASSES}u;
    atomicAdd(&os_control.work, select(1u + passes, own, passes > ${PASSES_UNSAID}u));
  }`;

// In a loop of one pass: where no lane needs what is in it, it is skipped; a branch is not.
const RECORD = `    for (var once = os_kinds != 0u; once; once = false) {
      for (var k = 0u; k < 4u; k++) {
        let flags = (os_kinds >> (8u * k)) & 31u;
        if (flags != 0u) { os_record(os_missed[k], flags); }
      }
    }`;

const RUN = "  os_low = os_params.low;\n  os_first = os_params.base;";

const aloneEntry = ({ way, isBounded, values, commit }: Entry): string => `
@compute @workgroup_size(${WORKGROUP_SIZE})
fn os_entry(
  @builtin(workgroup_id) group: vec3u,
  @builtin(num_workgroups) groups: vec3u,
  @builtin(local_invocation_index) local: u32,
) {
  let slot = (group.y * groups.x + group.x) * ${WORKGROUP_SIZE}u + local;
  var listed = 0u;
  if (slot < os_params.retry) { listed = os_waiting[slot]; }
  else if (slot < os_params.retry + os_params.fresh) {
    listed = os_params.first + (slot - os_params.retry);
  } else { return; }
${isBounded ? "" : BEGIN}
${way.isDirect ? RUN : ""}
  let id = ${way.isAtomic ? "os_recall(listed)" : "listed"};
  main(${values.join(", ")});
${isBounded ? "" : COUNT}
  let isStray = os_isStray();
  let isLong = os_left < 0 && !os_faulted;
  if (isStray || isLong || os_faulted) {
    os_again[atomicAdd(&os_control.pending, 1u)] = ${way.isAtomic ? "os_listed()" : "listed"};
    atomicAdd(&os_control.strays, u32(isStray));
    let why = os_full | select(0u, ${PASSES_ARE_OVER}u, isLong);
    atomicOr(&os_control.why, select(why, 0u, isStray));
${way.isDirect ? "" : RECORD}
    return;
  }
  ${commit}
}`;

const invocations = ([x, y, z]: GroupSize): number => x * y * z;

/** Chunks that say which group it is, and where the chunks of each of its invocations begin. */
export const blockChunks = (size: GroupSize): number =>
  Math.ceil((1 + invocations(size)) / CHUNK_WORDS);

const GROUP = `var<workgroup> os_unit: u32;
var<workgroup> os_verdict: u32;
var<workgroup> os_bad: atomic<u32>;
var<workgroup> os_leave: atomic<u32>;
var<workgroup> os_leaves: u32;
var<workgroup> os_block: u32;
var<private> os_local: u32;
// One has no more than zeros to go on with: what it shares from now on is good for nothing. Gives
// what was known of the group before.
fn os_tell() -> u32 {
  let isCut = os_left < 0 && !os_faulted;
  return atomicOr(&os_bad, ${UNFINISHED}u | select(0u, ${CUT}u, isCut));
}
fn os_isCut(told: u32) -> bool { return (told & ${CUT}u) != 0u; }
// Where a loop has barriers all of a group leave it together.
fn os_mustLeave() -> bool {
  if (os_left < 0) { os_tell(); atomicStore(&os_leave, 1u); }
  workgroupBarrier();
  if (os_local == 0u) { os_leaves = atomicLoad(&os_leave); }
  return workgroupUniformLoad(&os_leaves) != 0u;
}`;

/** All of a group learn by barriers what one has found: whether they run, whether all is well. */
const groupEntry = ({ way, values, commit }: Entry, size: GroupSize): string => `
${GROUP}
@compute @workgroup_size(${size.join(", ")})
fn os_entry(
  @builtin(workgroup_id) group: vec3u,
  @builtin(num_workgroups) groups: vec3u,
  @builtin(local_invocation_id) place: vec3u,
  @builtin(local_invocation_index) local: u32,
) {
  let slot = group.y * groups.x + group.x;
  if (slot >= os_params.retry + os_params.fresh) { return; }
  os_local = local;
  if (local == 0u) {
    os_unit = os_params.first + (slot - os_params.retry);
    if (slot < os_params.retry) { os_unit = os_waiting[slot]; }
    os_verdict = u32(atomicLoad(&os_control.work) >= os_params.work);
  }
  if (workgroupUniformLoad(&os_verdict) != 0u) {
    if (local == 0u) {
      atomicAdd(&os_control.unbegun, 1u);
      os_again[atomicAdd(&os_control.pending, 1u)] = os_unit;
    }
    return;
  }
  let listed = workgroupUniformLoad(&os_unit);
${way.isAtomic ? RECALL : "  let id = listed;"}
  os_budget = os_params.passes;
  os_left = os_budget;
${way.isDirect ? RUN : ""}
  main(${values.join(", ")});
${COUNT}
  let isStray = os_isStray();
  let isLong = os_left < 0 && !os_faulted;
  if (isStray || isLong || os_faulted) {
    let why = os_full | select(0u, ${PASSES_ARE_OVER}u, isLong);
    atomicOr(&os_bad, ${UNFINISHED}u | select(why, ${STRAYED}u, isStray));
  }
  workgroupBarrier();
  if (local == 0u) { os_verdict = atomicLoad(&os_bad); }
  let verdict = workgroupUniformLoad(&os_verdict);
  if (verdict != 0u) {
${way.isDirect ? "" : RECORD}
${way.isAtomic ? listGroup(size) : "    let again = listed;"}
    if (local == 0u) {
      os_again[atomicAdd(&os_control.pending, 1u)] = again;
      atomicAdd(&os_control.strays, u32((verdict & ${STRAYED}u) != 0u));
      atomicOr(&os_control.why, verdict & ${UNFINISHED - 1}u);
    }
    return;
  }
  ${commit}
}`;

const RECALL = `  if (local == 0u && (listed & ${NAMES_CHUNK}u) != 0u) {
    os_unit = os_done[os_chunkAt(listed & ${NAMES_CHUNK - 1}u)];
  }
  let id = workgroupUniformLoad(&os_unit);
  if ((listed & ${NAMES_CHUNK}u) != 0u) {
    let head = os_done[os_chunkAt(listed & ${NAMES_CHUNK - 1}u) + 1u + local];
    if (head != 0u) { os_recallFrom(head); }
  }
  os_id = id;`;

const listGroup = (size: GroupSize): string => `    if (os_heldCount > 0u) { os_flush(os_MISS); }
    if (local == 0u) {
      os_block = listed & ${NAMES_CHUNK - 1}u;
      if ((listed & ${NAMES_CHUNK}u) == 0u) {
        os_block = os_params.chunks + atomicAdd(&os_control.chunks, ${blockChunks(size)}u) + 1u;
      }
      os_done[os_chunkAt(os_block)] = id;
    }
    let block = workgroupUniformLoad(&os_block);
    os_done[os_chunkAt(block) + 1u + local] = os_head;
    let again = ${NAMES_CHUNK}u | block;`;
