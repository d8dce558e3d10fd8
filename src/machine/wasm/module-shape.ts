/**
 * What a rewrite must know of a module: how many of each kind it has, where its memory is from,
 * and which names its exports have. Source: WebAssembly specification, "Modules".
 */
import { malformed, type Reader, unsupported } from "./binary.ts";
import { skipValueType, skipValueTypes } from "./instructions.ts";
import { bodyOf, type Section, SectionId } from "./sections.ts";

export interface ModuleShape {
  readonly types: number;
  /** The first type `(param i32) (result i32)`, if there is one. */
  readonly growType: number | undefined;
  readonly tables: number;
  readonly globals: number;
  /** The function to be called at the start. */
  readonly start: number | undefined;
  readonly exportNames: ReadonlySet<string>;
  readonly memory: ShapeOfMemory | undefined;
}

interface ShapeOfMemory {
  readonly wasImported: boolean;
  readonly module: string | undefined;
  readonly name: string | undefined;
  readonly minPages: number;
  readonly maxPages: number;
  /** Where its limits are in the body of the import section. */
  readonly limitsAt: { readonly start: number; readonly end: number } | undefined;
  readonly memoryExports: readonly string[];
}

type FoundMemory = Omit<ShapeOfMemory, "memoryExports">;

/** 4 GiB: what a memory without a maximum may become. */
const PAGES_MAX = 65_536;

const FUNCTION_TYPE = 0x60;
const I32 = 0x7f;
const LIMITS_HAVE_MAX = 1;
const LIMITS_SHARED = 2;
const LIMITS_64 = 4;
const LIMITS_PAGE_SIZE = 8;
const FUNCREF = 0x70;
const EXTERNREF = 0x6f;

/** Throws EINVAL for malformed parts, EOPNOTSUPP for what cannot be had. */
export function readShape(sections: readonly Section[]): ModuleShape {
  const { types, growType } = readTypes(bodyOf(sections, SectionId.type));
  const imports = readImports(bodyOf(sections, SectionId.import));
  const memories = [...imports.memories, ...readMemories(bodyOf(sections, SectionId.memory))];
  if (memories.length > 1) throw unsupported("several memories");
  const exports = readExports(bodyOf(sections, SectionId.export));
  const [memory] = memories;
  return {
    types,
    growType,
    tables: imports.tables + countOf(bodyOf(sections, SectionId.table)),
    globals: imports.globals + countOf(bodyOf(sections, SectionId.global)),
    start: bodyOf(sections, SectionId.start)?.u32(),
    exportNames: exports.names,
    memory: memory === undefined ? undefined : { ...memory, memoryExports: exports.memories },
  };
}

const countOf = (reader: Reader | undefined): number => reader?.u32() ?? 0;

function readTypes(reader: Reader | undefined): { types: number; growType: number | undefined } {
  let growType: number | undefined;
  const types = countOf(reader);
  for (let i = 0; i < types; i++) {
    const form = reader!.byte();
    if (form !== FUNCTION_TYPE) {
      throw unsupported(`garbage-collected types (type ${i} of form 0x${form.toString(16)})`);
    }
    const start = reader!.at;
    skipValueTypes(reader!);
    skipValueTypes(reader!);
    const bytes = reader!.since(start);
    const isGrow = bytes.length === 4 && bytes[0] === 1 && bytes[1] === I32 && bytes[3] === I32;
    if (isGrow && growType === undefined) growType = i;
  }
  reader?.expectEnd("the type section");
  return { types, growType };
}

function readImports(reader: Reader | undefined): {
  readonly tables: number;
  readonly globals: number;
  readonly memories: readonly FoundMemory[];
} {
  let tables = 0;
  let globals = 0;
  const memories: FoundMemory[] = [];
  for (let left = countOf(reader); left > 0; left--) {
    const module = reader!.name();
    const name = reader!.name();
    const at = reader!.at;
    const kind = reader!.byte();
    if (kind === 0) reader!.u32();
    else if (kind === 1) {
      tables++;
      skipTableType(reader!);
    } else if (kind === 2) {
      const start = reader!.at;
      const limits = readLimits(reader!);
      const limitsAt = { start, end: reader!.at };
      memories.push({ wasImported: true, module, name, limitsAt, ...limits });
    } else if (kind === 3) {
      globals++;
      skipValueType(reader!);
      reader!.byte();
    } else if (kind === 4) {
      reader!.byte();
      reader!.u32();
    } else throw malformed(at, `import of kind ${kind}`);
  }
  reader?.expectEnd("the import section");
  return { tables, globals, memories };
}

function skipTableType(reader: Reader): void {
  const at = reader.at;
  const type = reader.byte();
  if (type !== FUNCREF && type !== EXTERNREF) {
    throw unsupported(`a table of type 0x${type.toString(16)} (at byte ${at} of its section)`);
  }
  const flags = reader.byte();
  if (flags > LIMITS_HAVE_MAX) throw unsupported(`a table with limits of kind ${flags}`);
  reader.u32();
  if (flags === LIMITS_HAVE_MAX) reader.u32();
}

function readMemories(reader: Reader | undefined): FoundMemory[] {
  const memories: FoundMemory[] = [];
  for (let left = countOf(reader); left > 0; left--) {
    const limits = readLimits(reader!);
    const nowhere = { module: undefined, name: undefined, limitsAt: undefined };
    memories.push({ wasImported: false, ...nowhere, ...limits });
  }
  reader?.expectEnd("the memory section");
  return memories;
}

function readLimits(reader: Reader): { minPages: number; maxPages: number } {
  const at = reader.at;
  const flags = reader.byte();
  if (flags & LIMITS_64) throw unsupported("a 64-bit memory: addresses here have 32 bits");
  if (flags & LIMITS_PAGE_SIZE) throw unsupported("a memory with a page size of its own");
  if (flags > (LIMITS_HAVE_MAX | LIMITS_SHARED)) throw malformed(at, `limits of kind ${flags}`);
  const minPages = reader.u32();
  const maxPages = flags & LIMITS_HAVE_MAX ? reader.u32() : PAGES_MAX;
  if (minPages > PAGES_MAX || maxPages > PAGES_MAX) throw malformed(at, "a memory above 4 GiB");
  return { minPages, maxPages };
}

function readExports(reader: Reader | undefined): {
  readonly names: ReadonlySet<string>;
  readonly memories: readonly string[];
} {
  const names = new Set<string>();
  const memories: string[] = [];
  for (let left = countOf(reader); left > 0; left--) {
    const name = reader!.name();
    const at = reader!.at;
    const kind = reader!.byte();
    if (kind > 4) throw malformed(at, `export of kind ${kind}`);
    reader!.u32();
    names.add(name);
    if (kind === 2) memories.push(name);
  }
  reader?.expectEnd("the export section");
  return { names, memories };
}
