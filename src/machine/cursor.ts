/**
 * The class behind `Node.at(memory, address)`: generated from the schema, once a struct.
 * Written as text, because the same accessor function used by several struct types would see
 * objects of several shapes and be several times slower; a class of its own sees one.
 * Only names that `struct` has checked and numbers get into the text.
 *
 * ```text
 *   get key()  { const a = this.#address + 4; this.#memory.need(a >>> 0, 4, false);
 *                return this.#u32[a >>> 2]; }
 *   get min()  { const view = this.#view1 ??= viewOf(fields.min, …); view.address = …; … }
 * ```
 */
import { badAddress, type MemoryAccess } from "./memory-access.ts";
import { type Schema, type StructSchema, wordName } from "./schema.ts";
import { loadValue, storeValue } from "./value.ts";
import { viewOf } from "./view.ts";

/** Names of a cursor that a field cannot have. */
export const CURSOR_NAMES: readonly string[] = ["address", "assign", "toObject", "constructor"];

export type CursorClass = new (memory: MemoryAccess, address: number) => object;

export function cursorClass(schema: StructSchema): CursorClass {
  const members = Object.entries(schema.fields).map(([field, member], index) =>
    memberText({ field, member, index, offset: schema.offsets[field]! }),
  );
  const tools = { badAddress, viewOf, loadValue, storeValue };
  const make = new Function("schema", "tools", classText(schema, members.join("")));
  return make(schema, tools) as CursorClass;
}

function classText(schema: StructSchema, members: string): string {
  const views = Object.values(schema.fields).map((_, index) => `  #view${index};\n`);
  return `"use strict";
const { badAddress, viewOf, loadValue, storeValue } = tools;
const { fields } = schema;
const LIMIT = ${2 ** 32 - schema.size};
return class ${schema.name} {
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
    if (to >>> 0 !== to || to > LIMIT || (to & ${schema.align - 1}) !== 0) {
      throw badAddress("${schema.name}", schema, to);
    }
    this.#address = to | 0;
  }
  assign(values) {
    const place = { memory: this.#memory, address: this.address, name: "${schema.name}" };
    storeValue(schema, place, values);
  }
  toObject() { return loadValue(schema, this.#memory, this.address); }
${members}};`;
}

interface Member {
  readonly field: string;
  readonly member: Schema;
  readonly index: number;
  readonly offset: number;
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
`;
}
