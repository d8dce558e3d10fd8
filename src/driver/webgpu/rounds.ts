/**
 * How a round runs: one submission that clears what the shader writes, runs it, and copies what it
 * has to say to where the CPU can read it. All rounds of a device share one list of faults.
 */
import { assert } from "../../base/index.ts";
import type { DeviceInfo } from "./adapter.ts";
import {
  type DeviceTable,
  type LaunchList,
  NO_ROOM,
  type ReadbackPool,
  type RecordBuffer,
  type SpillBuffer,
} from "./buffers/index.ts";
import type { Round, RoundResult } from "./round.ts";
import {
  CHUNK_WORDS,
  CONTROL_WORDS,
  FAULT_RECORDS,
  LOG_IS_FULL,
  NAMES_CHUNK,
  PASSES_ARE_OVER,
  RECORDS_ARE_FULL,
  SPILL_IS_FULL,
  WORKGROUP_SIZE,
} from "./wgsl/index.ts";

/** Records that come back with the round itself; more need a second readback. */
const HEAD_RECORDS = 2048;
const GROUPS_MAX = 65_535;
export const CONTROL_BYTES = 4 * CONTROL_WORDS + 8 * FAULT_RECORDS;

export interface RoundsParts {
  readonly kind: DeviceInfo["kind"];
  readonly table: DeviceTable;
  /** A bit for each page and kind of access that has a record in `control`. */
  readonly seen: GPUBuffer;
  readonly control: GPUBuffer;
  readonly spill: SpillBuffer;
  readonly records: RecordBuffer;
  readonly readback: ReadbackPool;
}

export class Rounds {
  readonly #parts: RoundsParts;
  // Bits of `seen` may be set.
  #isSeen = false;

  constructor(parts: RoundsParts) {
    this.#parts = parts;
  }

  /** Submits it at once; resolves when it is over. */
  async run(round: Round): Promise<RoundResult> {
    const { table, records, spill, kind } = this.#parts;
    const { compiled, list, fresh, retry, load } = round;
    const ran = retry + fresh.count;
    assert(retry <= list.pending && ran > 0, "a round runs something");
    assert(list.pending + fresh.count <= list.capacity, "the list has room for all that may wait");
    const room = compiled.isAtomic ? records.roomFor(ran) : NO_ROOM;
    table.flush();
    list.begin({ fresh, retry, load, runs: table.runs.longestRuns(), room });
    const startedMs = performance.now();
    const cpuBefore = process.cpuUsage();
    const { control, head } = await this.#submit(round, ran);
    const { user, system } = process.cpuUsage(cpuBefore);
    const cpuMs = kind === "software" ? (user + system) / 1000 : Infinity;
    const milliseconds = Math.min(performance.now() - startedMs, cpuMs);
    const [recorded = 0, unfinished = 0, why = 0] = control;
    const [spilled = 0, unbegun = 0, strays = 0, chunks = 0] = control.subarray(4);
    const isLong = (why & PASSES_ARE_OVER) !== 0;
    const overflow = why & LOG_IS_FULL || why & SPILL_IS_FULL || why & RECORDS_ARE_FULL;
    this.#isSeen = recorded > 0;
    spill.used = spilled;
    list.finishRound(retry, unfinished);
    const isFull = (why & RECORDS_ARE_FULL) !== 0;
    records.finishRound({ chunks, ran, pending: list.pending, isFull });
    // Faults that found no room will be made again by who made them.
    const count = Math.min(recorded, FAULT_RECORDS);
    const isInHead = count <= HEAD_RECORDS;
    const faults = isInHead ? head.slice(0, 2 * count) : await this.#allRecords(count);
    return { faults, unfinished, unbegun, isLong, overflow, strays, milliseconds };
  }

  async #submit({ compiled, list }: Round, ran: number) {
    const { seen, control, spill, readback } = this.#parts;
    const words = new Uint32Array(CONTROL_WORDS);
    let head = new Uint32Array(0);
    await readback.read(
      4 * CONTROL_WORDS + 8 * HEAD_RECORDS,
      (encoder, target, bytes) => {
        if (this.#isSeen) encoder.clearBuffer(seen);
        this.#isSeen = true;
        encoder.clearBuffer(control, 0, 4 * CONTROL_WORDS);
        spill.clear(encoder);
        const pass = encoder.beginComputePass();
        pass.setPipeline(compiled.pipeline);
        pass.setBindGroup(0, list.bindGroup);
        const groups = compiled.isGrouped ? ran : Math.ceil(ran / WORKGROUP_SIZE);
        const width = Math.min(groups, GROUPS_MAX);
        pass.dispatchWorkgroups(width, Math.ceil(groups / width));
        pass.end();
        encoder.copyBufferToBuffer(control, 0, target, 0, bytes);
      },
      (shown) => {
        words.set(wordsOf(shown(0, 4 * CONTROL_WORDS)));
        const bytes = 8 * Math.min(words[0]!, HEAD_RECORDS);
        if (bytes > 0) head = wordsOf(shown(4 * CONTROL_WORDS, bytes)).slice();
      },
    );
    return { control: words, head };
  }

  #allRecords(count: number): Promise<Uint32Array> {
    return this.#words(this.#parts.control, 4 * CONTROL_WORDS, 2 * count);
  }

  /** The first of those who wait. */
  async firstPending(list: LaunchList): Promise<number> {
    assert(list.pending > 0, "nobody waits");
    const [listed = 0] = await this.#words(list.waiting, 0, 1);
    if (listed < NAMES_CHUNK) return listed;
    const at = 4 * CHUNK_WORDS * (listed - NAMES_CHUNK - 1);
    const [id = 0] = await this.#words(this.#parts.records.buffer, at, 1);
    return id;
  }

  async #words(from: GPUBuffer, offset: number, count: number): Promise<Uint32Array> {
    const words = new Uint32Array(count);
    await this.#parts.readback.read(
      4 * count,
      (encoder, target, bytes) => encoder.copyBufferToBuffer(from, offset, target, 0, bytes),
      (shown) => words.set(wordsOf(shown(0, 4 * count))),
    );
    return words;
  }
}

const wordsOf = (bytes: Uint8Array): Uint32Array<ArrayBuffer> =>
  new Uint32Array(bytes.buffer as ArrayBuffer, bytes.byteOffset, bytes.length / 4);
