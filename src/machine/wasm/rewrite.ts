/**
 * Gives a module another memory: one that it imports, shared, of the whole address space, of
 * which it may use a part. Its addresses do not change, so its pointers are the space's.
 *
 * `memory.size` would say 65,536 pages and `memory.grow` -1, so both are replaced: the first by
 * a global that holds the part's size, the second by a call through a table of one function.
 * Global and table are the last of their kind and exported; so no index anywhere in the module
 * changes, and nothing but function bodies with one of the two instructions is written anew.
 * An imported function instead would be shorter, but all functions would get other numbers: in
 * code, elements, exports and names.
 */
import { invalid } from "../error.ts";
import { Reader, Writer } from "./binary.ts";
import { walkBody } from "./instructions.ts";
import { type ModuleShape, readShape } from "./module-shape.ts";
import {
  bodyOf,
  placeSection,
  readSections,
  removeSections,
  type Section,
  SectionId,
  writeSections,
} from "./sections.ts";

/** Pages of WebAssembly: 64 KiB. The whole space has so many. */
export const SPACE_WASM_PAGES = 65_536;

export interface RewrittenModule {
  readonly bytes: Uint8Array;
  /** Where it takes its memory from; undefined when it has none: then nothing was changed. */
  readonly memory: MemoryUse | undefined;
}

export interface MemoryUse {
  readonly module: string;
  readonly name: string;
  /** False: the module had a memory of its own. */
  readonly wasImported: boolean;
  /** What it asks for, in pages of 64 KiB; the most that it says it can use. */
  readonly minPages: number;
  readonly maxPages: number;
  /** The exports that are its memory. */
  readonly exports: readonly string[];
  /** The export that holds the size, and the one that grows it, where the code needs them. */
  readonly pagesExport: string | undefined;
  readonly growExport: string | undefined;
  /** The start function, where the engine may not call it: size and table come first. */
  readonly startExport: string | undefined;
  /** How many `memory.size` and `memory.grow` there were. */
  readonly sizeCount: number;
  readonly growCount: number;
}

const OWN_IMPORT = { module: "onespace", name: "memory" } as const;

const LIMITS_SHARED = 3;
const KIND_FUNCTION = 0;
const KIND_TABLE = 1;
const KIND_MEMORY = 2;
const KIND_GLOBAL = 3;
const I32 = 0x7f;
const FUNCREF = 0x70;
const MUTABLE = 1;
const OP_END = 0x0b;
const OP_CALL_INDIRECT = 0x11;
const OP_GLOBAL_GET = 0x23;
const OP_I32_CONST = 0x41;
// (func (param i32) (result i32))
const GROW_TYPE = new Uint8Array([0x60, 1, I32, 1, I32]);

/**
 * Throws EINVAL for what is no module, EOPNOTSUPP for what it uses that cannot be had here,
 * naming it. That the rest is valid is for the engine to say.
 */
export function rewriteModule(bytes: Uint8Array): RewrittenModule {
  const sections = readSections(bytes);
  const shape = readShape(sections);
  if (shape.memory === undefined) return { bytes, memory: undefined };
  const { wasImported, minPages, maxPages, memoryExports } = shape.memory;
  if (minPages > maxPages) {
    throw invalid("adopt", `the module's memory has ${minPages} pages and at most ${maxPages}`);
  }
  const extras = new Extras(shape);
  rewriteCode(sections, extras);
  placeSection(sections, { id: SectionId.import, body: importsWithMemory(sections, shape) });
  removeSections(sections, ({ id }) => id === SectionId.memory);
  extras.addTo(sections);
  const { pagesExport, growExport, startExport, sizeCount, growCount } = extras;
  return {
    bytes: writeSections(sections),
    memory: {
      module: shape.memory.module ?? OWN_IMPORT.module,
      name: shape.memory.name ?? OWN_IMPORT.name,
      wasImported,
      minPages,
      maxPages,
      exports: memoryExports,
      pagesExport,
      growExport,
      startExport,
      sizeCount,
      growCount,
    },
  };
}

/** What the module gets besides, where its code needs it. */
class Extras {
  readonly #shape: ModuleShape;
  sizeCount = 0;
  growCount = 0;

  constructor(shape: ModuleShape) {
    this.#shape = shape;
  }

  /** `global.get` of the size. */
  get sizeCode(): Uint8Array {
    return new Writer(6).byte(OP_GLOBAL_GET).u32(this.#shape.globals).done();
  }

  /** A call of the table's one function; the number of pages is on the stack. */
  get growCode(): Uint8Array {
    const { growType, types, tables } = this.#shape;
    const writer = new Writer(14).byte(OP_I32_CONST, 0, OP_CALL_INDIRECT);
    return writer
      .u32(growType ?? types)
      .u32(tables)
      .done();
  }

  get pagesExport(): string | undefined {
    return this.sizeCount > 0 ? this.#freeName("onespace.pages") : undefined;
  }

  get growExport(): string | undefined {
    return this.growCount > 0 ? this.#freeName("onespace.grow") : undefined;
  }

  /** Size and table are filled when the instance is there: no code may run before. */
  get startExport(): string | undefined {
    const isMoved = this.sizeCount + this.growCount > 0 && this.#shape.start !== undefined;
    return isMoved ? this.#freeName("onespace.start") : undefined;
  }

  addTo(sections: Section[]): void {
    const { growType, globals, tables, start } = this.#shape;
    const exports: { name: string; kind: number; index: number }[] = [];
    const { pagesExport, growExport, startExport } = this;
    if (pagesExport !== undefined) {
      const global = new Uint8Array([I32, MUTABLE, OP_I32_CONST, 0, OP_END]);
      append(sections, SectionId.global, [global]);
      exports.push({ name: pagesExport, kind: KIND_GLOBAL, index: globals });
    }
    if (growExport !== undefined) {
      if (growType === undefined) append(sections, SectionId.type, [GROW_TYPE]);
      append(sections, SectionId.table, [new Uint8Array([FUNCREF, 1, 1, 1])]);
      exports.push({ name: growExport, kind: KIND_TABLE, index: tables });
    }
    if (startExport !== undefined) {
      removeSections(sections, ({ id }) => id === SectionId.start);
      exports.push({ name: startExport, kind: KIND_FUNCTION, index: start! });
    }
    const entries = exports.map(({ name, kind, index }) =>
      new Writer().name(name).byte(kind).u32(index).done(),
    );
    if (entries.length > 0) append(sections, SectionId.export, entries);
  }

  #freeName(wanted: string): string {
    let name = wanted;
    while (this.#shape.exportNames.has(name)) name += "_";
    return name;
  }
}

/** More entries at the end of a section that is a vector. */
function append(sections: Section[], id: SectionId, entries: readonly Uint8Array[]): void {
  const old = bodyOf(sections, id);
  const writer = new Writer().u32((old?.u32() ?? 0) + entries.length);
  if (old !== undefined) writer.raw(old.rest());
  for (const entry of entries) writer.raw(entry);
  placeSection(sections, { id, body: writer.done() });
}

/** The import of the memory with other limits, or one more. */
function importsWithMemory(sections: readonly Section[], shape: ModuleShape): Uint8Array {
  const memory = shape.memory!;
  const limits = new Writer().byte(LIMITS_SHARED).u32(memory.minPages).u32(SPACE_WASM_PAGES).done();
  const old = bodyOf(sections, SectionId.import);
  const count = old?.u32() ?? 0;
  const rest = old?.rest() ?? new Uint8Array(0);
  if (memory.limitsAt !== undefined) {
    const { start, end } = memory.limitsAt;
    const skipped = rest.length - (old!.end - start);
    const writer = new Writer().u32(count).raw(rest.subarray(0, skipped)).raw(limits);
    return writer.raw(rest.subarray(skipped + end - start)).done();
  }
  const writer = new Writer().u32(count + 1).raw(rest);
  writer.name(OWN_IMPORT.module).name(OWN_IMPORT.name).byte(KIND_MEMORY);
  return writer.raw(limits).done();
}

/** Function bodies; those without one of the two instructions stay as they are. */
function rewriteCode(sections: Section[], extras: Extras): void {
  const reader = bodyOf(sections, SectionId.code);
  if (reader === undefined) return;
  const count = reader.u32();
  const writer = new Writer(reader.bytes.length + 64).u32(count);
  for (let i = 0; i < count; i++) {
    const start = reader.at;
    const body = reader.part(reader.u32());
    const rewritten = rewriteBody(body, extras);
    if (rewritten === undefined) writer.raw(reader.since(start));
    else writer.u32(rewritten.length).raw(rewritten);
  }
  reader.expectEnd("the code section");
  if (extras.sizeCount + extras.growCount === 0) return;
  placeSection(sections, { id: SectionId.code, body: writer.done() });
  // Hints name places in function bodies, and these have moved.
  removeSections(
    sections,
    ({ id, body }) =>
      id === SectionId.custom && new Reader(body).name().startsWith("metadata.code."),
  );
}

function rewriteBody(body: Reader, extras: Extras): Uint8Array | undefined {
  const start = body.at;
  let copied = start;
  let writer: Writer | undefined;
  const replace = (from: number, to: number, code: Uint8Array): void => {
    writer ??= new Writer(body.end - start + 32);
    writer.raw(body.bytes.subarray(copied, from)).raw(code);
    copied = to;
  };
  walkBody(body, {
    memorySize(from, to) {
      extras.sizeCount++;
      replace(from, to, extras.sizeCode);
    },
    memoryGrow(from, to) {
      extras.growCount++;
      replace(from, to, extras.growCode);
    },
  });
  return writer?.raw(body.bytes.subarray(copied, body.end)).done();
}
