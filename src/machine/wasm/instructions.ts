/**
 * Walks over the instructions of a function's body. Nothing is validated but what is needed to
 * find where each instruction ends. Known: the WebAssembly 2.0 core (sign extension, saturating
 * conversions, bulk memory, reference types, SIMD), relaxed SIMD, threads, tail calls and both
 * kinds of exceptions. Refused by name: garbage collection, typed function references, several
 * memories. Source: WebAssembly specification, "Instructions", and the proposals' overviews.
 */
import { malformed, type Reader, unsupported } from "./binary.ts";

/** What is found; `start` and `end` are offsets in the body's bytes. */
export interface BodyVisitor {
  memorySize(start: number, end: number): void;
  memoryGrow(start: number, end: number): void;
}

const OP_TRY = 0x06;
const OP_END = 0x0b;
const OP_DELEGATE = 0x18;
const OP_TRY_TABLE = 0x1f;
const OP_MEMORY_SIZE = 0x3f;
const OP_MEMORY_GROW = 0x40;
const PREFIX_GC = 0xfb;
const PREFIX_MISCELLANEOUS = 0xfc;
const PREFIX_VECTOR = 0xfd;
const PREFIX_ATOMIC = 0xfe;

/**
 * What follows an opcode, a letter each: u index, s and l signed of 32 and 64 bits, 1 4 8 v so
 * many bytes (v is 16), b block type, m memory argument, z memory index, t type, T types, B
 * labels of br_table, C catches of try_table. Rows: first opcode, last opcode, letters.
 */
type Rows = readonly (readonly [number, number, string])[];

const PLAIN = tableOf([
  [0x00, 0x01, ""],
  [0x02, 0x04, "b"], // block, loop, if
  [0x05, 0x05, ""],
  [OP_TRY, OP_TRY, "b"],
  [0x07, 0x09, "u"], // catch, throw, rethrow
  [0x0a, OP_END, ""],
  [0x0c, 0x0d, "u"],
  [0x0e, 0x0e, "B"],
  [0x0f, 0x0f, ""],
  [0x10, 0x10, "u"],
  [0x11, 0x11, "uu"],
  [0x12, 0x12, "u"], // return_call
  [0x13, 0x13, "uu"], // return_call_indirect
  [OP_DELEGATE, OP_DELEGATE, "u"],
  [0x19, 0x1b, ""], // catch_all, drop, select
  [0x1c, 0x1c, "T"],
  [OP_TRY_TABLE, OP_TRY_TABLE, "bC"],
  [0x20, 0x26, "u"], // locals, globals, tables
  [0x28, 0x3e, "m"],
  [OP_MEMORY_SIZE, OP_MEMORY_GROW, "z"],
  [0x41, 0x41, "s"],
  [0x42, 0x42, "l"],
  [0x43, 0x43, "4"],
  [0x44, 0x44, "8"],
  [0x45, 0xc4, ""],
  [0xd0, 0xd0, "t"],
  [0xd1, 0xd1, ""],
  [0xd2, 0xd2, "u"],
]);

const MISCELLANEOUS = tableOf([
  [0, 7, ""], // saturating conversions
  [8, 8, "uz"], // memory.init
  [9, 9, "u"],
  [10, 10, "zz"], // memory.copy
  [11, 11, "z"], // memory.fill
  [12, 12, "uu"], // table.init
  [13, 13, "u"],
  [14, 14, "uu"], // table.copy
  [15, 17, "u"],
]);

const VECTOR = tableOf([
  [0, 11, "m"],
  [12, 13, "v"], // v128.const, i8x16.shuffle
  [14, 20, ""],
  [21, 34, "1"], // lanes
  [35, 83, ""],
  [84, 91, "m1"], // a lane from and to memory
  [92, 93, "m"],
  [94, 275, ""], // from 256 on: relaxed
]);

const ATOMIC = tableOf([
  [0, 2, "m"],
  [3, 3, "1"], // fence
  [0x10, 0x4e, "m"],
]);

function tableOf(rows: Rows): readonly (string | undefined)[] {
  const last = rows[rows.length - 1]![1];
  const table = new Array<string | undefined>(last + 1).fill(undefined);
  for (const [from, to, letters] of rows) table.fill(letters, from, to + 1);
  return table;
}

const SKIP: Readonly<Record<string, (reader: Reader) => void>> = {
  u: (reader) => reader.u32(),
  s: (reader) => reader.skipSigned(32),
  l: (reader) => reader.skipSigned(64),
  1: (reader) => reader.skip(1),
  4: (reader) => reader.skip(4),
  8: (reader) => reader.skip(8),
  v: (reader) => reader.skip(16),
  b: skipBlockType,
  m: skipMemoryArgument,
  z: skipMemoryIndex,
  t: skipValueType,
  T: skipValueTypes,
  B: skipLabels,
  C: skipCatches,
};

/** Walks a body from its locals to its last `end`. */
export function walkBody(reader: Reader, visitor: BodyVisitor): void {
  for (let groups = reader.u32(); groups > 0; groups--) {
    reader.u32();
    skipValueType(reader);
  }
  let depth = 1;
  while (depth > 0) {
    const start = reader.at;
    const opcode = reader.byte();
    const letters = lettersAfter(reader, opcode);
    for (let i = 0; i < letters.length; i++) SKIP[letters[i]!]!(reader);
    if (opcode === OP_END || opcode === OP_DELEGATE) depth--;
    else if (isBlock(opcode)) depth++;
    else if (opcode === OP_MEMORY_SIZE) visitor.memorySize(start, reader.at);
    else if (opcode === OP_MEMORY_GROW) visitor.memoryGrow(start, reader.at);
  }
  reader.expectEnd("a function body");
}

const isBlock = (opcode: number): boolean =>
  (opcode >= 0x02 && opcode <= 0x04) || opcode === OP_TRY || opcode === OP_TRY_TABLE;

function lettersAfter(reader: Reader, opcode: number): string {
  if (opcode === PREFIX_MISCELLANEOUS) return lettersOf(MISCELLANEOUS, reader.u32(), "0xfc ");
  if (opcode === PREFIX_VECTOR) return lettersOf(VECTOR, reader.u32(), "0xfd ");
  if (opcode === PREFIX_ATOMIC) return lettersOf(ATOMIC, reader.u32(), "0xfe ");
  const isGc = opcode === PREFIX_GC || (opcode >= 0xd3 && opcode <= 0xd6);
  if (isGc || opcode === 0x14 || opcode === 0x15) throw garbageCollected("opcode", opcode);
  return lettersOf(PLAIN, opcode, "");
}

function lettersOf(table: readonly (string | undefined)[], code: number, prefix: string): string {
  const letters = table[code];
  if (letters !== undefined) return letters;
  throw unsupported(`an instruction that is not known here (${prefix}0x${code.toString(16)})`);
}

const garbageCollected = (what: string, code: number) =>
  unsupported(`garbage collection or typed function references (${what} 0x${code.toString(16)})`);

/** A number, vector or reference type of one byte. */
export function skipValueType(reader: Reader): void {
  const at = reader.at;
  const type = reader.byte();
  const isKnown = (type >= 0x7b && type <= 0x7f) || type === 0x70 || type === 0x6f || type === 0x69;
  if (isKnown) return;
  if (type > 0x40 && type < 0x80) throw garbageCollected("type", type);
  throw malformed(at, `value type 0x${type.toString(16)}`);
}

export function skipValueTypes(reader: Reader): void {
  for (let left = reader.u32(); left > 0; left--) skipValueType(reader);
}

/** 0x40, a value type, or a type's index as a positive signed number of 33 bits. */
function skipBlockType(reader: Reader): void {
  const first = reader.peek();
  if (first === 0x40) reader.skip(1);
  else if (first > 0x40 && first < 0x80) skipValueType(reader);
  else reader.skipSigned(33);
}

function skipLabels(reader: Reader): void {
  for (let left = reader.u32() + 1; left > 0; left--) reader.u32();
}

function skipCatches(reader: Reader): void {
  for (let left = reader.u32(); left > 0; left--) {
    const at = reader.at;
    const kind = reader.byte();
    if (kind > 3) throw malformed(at, `catch of kind ${kind}`);
    if (kind < 2) reader.u32();
    reader.u32();
  }
}

/** Bit 6 of the alignment says that a memory's index follows. */
function skipMemoryArgument(reader: Reader): void {
  if (reader.u32() >= 64) throw unsupported("several memories");
  reader.u32();
}

function skipMemoryIndex(reader: Reader): void {
  if (reader.u32() !== 0) throw unsupported("several memories");
}
