/**
 * `struct("Node", { key: u32, left: ptr(() => Node) })`: named fields laid out as WGSL lays
 * them out. The schema makes cursors by itself: `Node.at(memory, address)`.
 */
import { type HmmError, invalid } from "./error.ts";
import { show } from "./given.ts";
import { describeView, INSPECT } from "./inspect.ts";
import { structLayout } from "./layout.ts";
import { badAddress, checkMemory, type MemoryAccess } from "./memory-access.ts";
import {
  type FieldSchemas,
  isSchema,
  type Ptr,
  type PtrSchema,
  type ScalarName,
  type ScalarSchema,
  type Schema,
  type StructSchema,
  schemaName,
  wordName,
} from "./schema.ts";
import { isStorable, loadValue, notStorable, storeValue } from "./value.ts";
import { type Cursor, viewOf } from "./view.ts";

/** Names of a cursor that a field cannot have. */
const CURSOR_NAMES: readonly string[] = ["address", "assign", "toObject", "constructor"];

type CursorClass = new (memory: MemoryAccess, address: number) => object;

export interface Struct<Name extends string, Fields extends FieldSchemas>
  extends StructSchema<Name, Fields> {
  /** A cursor over the struct at `address`. */
  at(memory: MemoryAccess, address: Ptr<Struct<Name, Fields>>): Cursor<Struct<Name, Fields>>;
}

export function struct<const Name extends string, const Fields extends FieldSchemas>(
  name: Name,
  fields: Fields,
): Struct<Name, Fields> {
  checkName("name", name);
  if (typeof fields !== "object" || fields === null) {
    throw invalid("struct", `fields of ${name} must be { name: schema, … }, got ${show(fields)}`);
  }
  const entries = Object.entries(fields);
  if (entries.length === 0) throw invalid("struct", `${name} must have a field`);
  for (const [field, member] of entries) {
    checkName(`field of ${name}`, field);
    if (CURSOR_NAMES.includes(field)) {
      throw invalid("struct", `field of ${name} must not be called ${field}: cursors use that`);
    }
    if (!isSchema(member)) {
      throw invalid("struct", `${name}.${field} must be a schema, got ${show(member)}`);
    }
  }
  const layout = structLayout(entries.map(([, member]) => member));
  const offsets = Object.fromEntries(entries.map(([field], i) => [field, layout.offsets[i]!]));
  let cursors: CursorClass | undefined;
  const schema = {
    kind: "struct",
    name,
    fields,
    offsets: offsets as Struct<Name, Fields>["offsets"],
    size: layout.size,
    align: layout.align,
    at(memory: MemoryAccess, address: number) {
      checkMemory(memory);
      cursors ??= cursorClass(schema);
      return new cursors(memory, address) as Cursor<Struct<Name, Fields>>;
    },
  } as const;
  return schema;
}

/** Names become parts of WGSL and JavaScript text: `Node_key`, `get key()`. */
export function checkName(what: string, name: string): void {
  const isName = typeof name === "string" && /^[A-Za-z][A-Za-z0-9_]*$/.test(name);
  if (isName && !name.startsWith("os_")) return;
  const rule = "a letter, then letters, digits or _, and not start with os_";
  throw invalid("struct", `${what} must be ${rule}, got ${show(name)}`);
}

/**
 * The class behind `Node.at(memory, address)`, generated from the schema.
 * Written as text, because the same accessor function used by several struct types would see
 * objects of several shapes and be several times slower; a class of its own sees one.
 * Only names that `struct` has checked and numbers get into the text.
 *
 * ```text
 *   get key()  { const at = this.#address + 4; this.#memory.need(at >>> 0, 4, false);
 *                return this.#u32[at >>> 2]; }
 *   get min()  { const view = this.#view1 ??= viewOf(fields.min, …); view.address = …; … }
 * ```
 */
function cursorClass(schema: StructSchema): CursorClass {
  const members = Object.entries(schema.fields).map(([field, member], index) =>
    memberText({ field, member, index, offset: schema.offsets[field]! }),
  );
  const tools = {
    badAddress,
    viewOf,
    loadValue,
    storeValue,
    refuse,
    notStored,
    INSPECT,
    describeView,
  };
  const make = new Function("schema", "tools", classText(schema, members.join("")));
  return make(schema, tools) as CursorClass;
}

function classText(schema: StructSchema, members: string): string {
  const views = Object.values(schema.fields).map((_, index) => `  #view${index};\n`);
  return `"use strict";
const { badAddress, viewOf, loadValue, storeValue, refuse, notStored } = tools;
const { INSPECT, describeView } = tools;
const { fields } = schema;
const LIMIT = ${2 ** 32 - schema.size};
// Named from outside: a name in here could hide one of ours.
return { ["${schema.name}"]: class {
  #memory; #u32; #i32; #f32; #address = 0;
${views.join("")}
  constructor(memory, address) {
    this.#memory = memory;
    this.#u32 = memory.u32;
    this.#i32 = memory.i32;
    this.#f32 = memory.f32;
    this.address = address;
  }
  get address() { return this.#address >>> 0; }
  set address(to) {
    // Negative above 2 GiB, as wasm gives it, or not.
    const isAddress = typeof to === "number" && (to >>> 0 === to || to === (to | 0));
    if (!isAddress || to >>> 0 > LIMIT || (to & ${schema.align - 1}) !== 0) {
      throw badAddress("${schema.name}", schema, to);
    }
    this.#address = to | 0;
  }
  assign(values) {
    const name = "${schema.name}";
    const place = { memory: this.#memory, address: this.address, name, call: "assign" };
    storeValue(schema, place, values);
  }
  toObject() { return loadValue(schema, this.#memory, this.address); }
  [INSPECT]() { return describeView(schema, this.#memory, this.address); }
${members}} }["${schema.name}"];`;
}

interface Member {
  readonly field: string;
  readonly member: Schema;
  readonly index: number;
  readonly offset: number;
}

/** Throws for what cannot be stored in `field`. */
function refuse(schema: StructSchema, field: string, value: unknown): void {
  const member = schema.fields[field] as ScalarSchema | PtrSchema;
  if (isStorable(member, value)) return;
  throw notStorable(member, { name: `${schema.name}.${field}`, call: "store" }, value);
}

/** A value that is what it will be in memory needs no second look. */
const IS_PLAIN: Readonly<Record<ScalarName, string>> = {
  u32: 'typeof value === "number" && value >>> 0 === value',
  i32: 'typeof value === "number" && (value | 0) === value',
  f32: 'typeof value === "number"',
};

function notStored(schema: StructSchema, field: string): HmmError {
  const kind = schemaName(schema.fields[field]!);
  return invalid("store", `${schema.name}.${field} is ${kind}, a view: use its assign or set`);
}

function memberText({ field, member, index, offset }: Member): string {
  if (member.kind === "scalar" || member.kind === "ptr") {
    const words = `this.#${wordName(member)}`;
    return `  get ${field}() {
    const at = this.#address + ${offset};
    this.#memory.need(at >>> 0, 4, false);
    return ${words}[at >>> 2];
  }
  set ${field}(value) {
    if (!(${IS_PLAIN[wordName(member)]})) refuse(schema, "${field}", value);
    const at = this.#address + ${offset};
    this.#memory.need(at >>> 0, 4, true);
    ${words}[at >>> 2] = value;
  }
`;
  }
  return `  get ${field}() {
    const at = (this.#address + ${offset}) >>> 0;
    const view = this.#view${index} ??= viewOf(fields.${field}, this.#memory, at);
    view.address = at;
    return view;
  }
  set ${field}(value) { throw notStored(schema, "${field}"); }
`;
}
