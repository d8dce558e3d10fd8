/**
 * Plain values in and out of memory, for any schema: what `toObject`, `assign` and arrays of
 * composite elements do. Slower than a cursor, and complete. A value is checked where it is
 * stored; a struct is stored as far as its value goes, in the order of the value.
 */
import { invalid } from "./error.ts";
import type { MemoryAccess } from "./memory-access.ts";
import { type ScalarName, type Schema, schemaName, wordName } from "./schema.ts";

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

/** `name` says in messages what is stored: `Node.key`. */
export interface Place {
  readonly memory: MemoryAccess;
  readonly address: number;
  readonly name: string;
}

export function storeValue(schema: Schema, place: Place, value: unknown): void {
  const { memory, address, name } = place;
  switch (schema.kind) {
    case "scalar":
    case "ptr":
      if (typeof value !== "number") throw invalid("assign", mismatch(name, schema, value));
      memory.need(address, 4, true);
      memory[wordName(schema)][address >>> 2] = value;
      return;
    case "vector":
      memory.need(address, schema.size, true);
      memory[schema.component].set(listOf(schema, place, value) as number[], address >>> 2);
      return;
    case "array": {
      const list = listOf(schema, place, value);
      for (let i = 0; i < schema.length; i++) {
        const at = { memory, address: address + i * schema.stride, name: `${name}[${i}]` };
        storeValue(schema.element, at, list[i]);
      }
      return;
    }
    case "struct": {
      if (typeof value !== "object" || value === null) {
        throw invalid("assign", mismatch(name, schema, value));
      }
      for (const [field, part] of Object.entries(value)) {
        const member = Object.hasOwn(schema.fields, field) ? schema.fields[field] : undefined;
        if (member === undefined) throw invalid("assign", `${name} has no field ${field}`);
        const at = address + schema.offsets[field]!;
        storeValue(member, { memory, address: at, name: `${name}.${field}` }, part);
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
    throw invalid("assign", mismatch(place.name, schema, value));
  }
  if (schema.kind === "vector" && list.some((part) => typeof part !== "number")) {
    throw invalid("assign", mismatch(place.name, schema, value));
  }
  return list;
}

function mismatch(name: string, schema: Schema, value: unknown): string {
  const got = Array.isArray(value) ? `[${value.join(", ")}]` : String(value);
  return `${name} must be ${ruleOf(schema)}, got ${got}`;
}

function ruleOf(schema: Schema): string {
  if (schema.kind === "vector") return `${schema.length} numbers`;
  if (schema.kind === "array") return `${schema.length} elements`;
  if (schema.kind === "struct") return `an object with fields of ${schemaName(schema)}`;
  return "a number";
}
