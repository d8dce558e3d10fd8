/**
 * Plain values in and out of memory, for any schema: what `toObject`, `assign` and arrays of
 * composite elements do. Slower than a cursor, and complete. A value is checked where it is
 * stored; a struct is stored as far as its value goes, in the order of the value.
 */
import { type HmmError, invalid } from "./error.ts";
import { addressOf, show } from "./given.ts";
import type { MemoryAccess } from "./memory-access.ts";
import {
  type PtrSchema,
  type ScalarName,
  type ScalarSchema,
  type Schema,
  schemaName,
  wordName,
} from "./schema.ts";

export function loadValue(schema: Schema, memory: MemoryAccess, address: number): unknown {
  switch (schema.kind) {
    case "scalar":
    case "ptr":
      memory.need(address, 4, false);
      return memory[wordName(schema)][address >>> 2]!;
    case "vector":
      memory.need(address, schema.size, false);
      return loadWords(memory, schema.component, { address, count: schema.length });
    case "array":
      return Array.from({ length: schema.length }, (_, index) =>
        loadValue(schema.element, memory, address + index * schema.stride),
      );
    case "struct": {
      const value: Record<string, unknown> = {};
      for (const [field, member] of Object.entries(schema.fields)) {
        value[field] = loadValue(member, memory, address + schema.offsets[field]!);
      }
      return value;
    }
  }
}

/** `name` says in messages what is stored: `Node.key`; `call`: by whom. */
export interface Place {
  readonly memory: MemoryAccess;
  readonly address: number;
  readonly name: string;
  readonly call: string;
}

/**
 * Whether a number or a pointer can be stored as `value`: any number that a typed array would keep
 * something of (-1 in a u32 is 2^32 - 1, 1.5 is 1), and for a pointer an address, in either form.
 * What a typed array makes 0 of is a mistake: NaN in an integer, text, a view in a pointer.
 */
export function isStorable(schema: ScalarSchema | PtrSchema, value: unknown): value is number {
  if (typeof value !== "number") return false;
  if (schema.kind === "scalar" && schema.name === "f32") return true;
  // Negative above 2 GiB: as wasm gives addresses.
  if (value >>> 0 === value || (value | 0) === value) return true;
  return schema.kind !== "ptr" && Number.isFinite(value);
}

/** The index of the first of `values` that is not, or -1. */
export function firstNotStorable(
  schema: ScalarSchema | PtrSchema,
  values: ArrayLike<unknown>,
): number {
  const { length } = values;
  const isFloat = schema.kind === "scalar" && schema.name === "f32";
  if (ArrayBuffer.isView(values)) {
    // Its elements are of one kind: integers of up to 32 bits can be stored anywhere.
    if (typeof values[0] !== "number") return 0;
    if (isFloat || !(values instanceof Float32Array || values instanceof Float64Array)) return -1;
  }
  if (isFloat) {
    for (let i = 0; i < length; i++) if (typeof values[i] !== "number") return i;
  } else {
    for (let i = 0; i < length; i++) {
      const value = values[i];
      if (typeof value === "number" && (value | 0) === value) continue;
      if (!isStorable(schema, value)) return i;
    }
  }
  return -1;
}

const isWord = (word: ScalarName, value: number): boolean =>
  word === "f32" || Number.isFinite(value);

/** What is wrong with a value that cannot be stored. */
export const notStorable = (
  schema: Schema,
  { name, call }: Pick<Place, "name" | "call">,
  value: unknown,
): HmmError => {
  const isView = schema.kind === "ptr" && addressOf(value) !== undefined;
  const hint = isView ? ": pass its .address" : "";
  return invalid(call, `${name} must be ${ruleOf(schema)}, got ${show(value)}${hint}`);
};

export function storeValue(schema: Schema, place: Place, value: unknown): void {
  const { memory, address, name, call } = place;
  switch (schema.kind) {
    case "scalar":
    case "ptr":
      if (!isStorable(schema, value)) throw notStorable(schema, place, value);
      memory.need(address, 4, true);
      memory[wordName(schema)][address >>> 2] = value;
      return;
    case "vector": {
      const list = listOf(schema, place, value) as number[];
      memory.need(address, schema.size, true);
      memory[schema.component].set(list, address >>> 2);
      return;
    }
    case "array": {
      const list = listOf(schema, place, value);
      for (let i = 0; i < schema.length; i++) {
        const at = address + i * schema.stride;
        storeValue(schema.element, { ...place, address: at, name: `${name}[${i}]` }, list[i]);
      }
      return;
    }
    case "struct": {
      if (typeof value !== "object" || value === null) {
        throw notStorable(schema, place, value);
      }
      for (const [field, part] of Object.entries(value)) {
        const member = Object.hasOwn(schema.fields, field) ? schema.fields[field] : undefined;
        if (member === undefined) {
          const fields = Object.keys(schema.fields).join(", ");
          throw invalid(call, `${name} has no field ${field} (it has ${fields})`);
        }
        const at = address + schema.offsets[field]!;
        storeValue(member, { ...place, address: at, name: `${name}.${field}` }, part);
      }
    }
  }
}

export function loadWords(
  memory: MemoryAccess,
  word: ScalarName,
  range: { readonly address: number; readonly count: number },
): number[] {
  const first = range.address >>> 2;
  return Array.from(memory[word].subarray(first, first + range.count));
}

/** A list of exactly as many parts as the schema has; of numbers, for a vector. */
function listOf(
  schema: Schema & { readonly length: number },
  place: Place,
  value: unknown,
): readonly unknown[] {
  const isList = Array.isArray(value) || ArrayBuffer.isView(value);
  const list = isList ? (value as unknown as readonly unknown[]) : undefined;
  if (list === undefined || list.length !== schema.length) {
    throw notStorable(schema, place, value);
  }
  if (schema.kind === "vector") {
    const { component } = schema;
    const isFit = (part: unknown): boolean => typeof part === "number" && isWord(component, part);
    // Not `every`: it passes over what an array lacks.
    for (const part of list) {
      if (!isFit(part)) throw notStorable(schema, place, value);
    }
  }
  return list;
}

function ruleOf(schema: Schema): string {
  if (schema.kind === "ptr") return "an address (0 is null)";
  if (schema.kind === "vector") {
    return `${schema.length} ${schema.component === "f32" ? "" : "finite "}numbers`;
  }
  if (schema.kind === "array") return `${schema.length} elements`;
  if (schema.kind === "struct") return `an object with fields of ${schemaName(schema)}`;
  return schema.name === "f32" ? "a number" : "a finite number";
}
