/**
 * The types of values in a kernel, and how two of them become one. Numbers are u32, i32 or f32;
 * a *literal* is an integer of the text, or a name that holds only such, that is still to be
 * settled by its use.
 */
import {
  type ArraySchema,
  type ScalarName,
  type Schema,
  schemaName,
  targetOf,
  type VectorSchema,
} from "../../schema.ts";
import type { Variable } from "./ir.ts";

export type Type =
  /** Nothing is known yet: a name before its first value is seen. */
  | { readonly kind: "none" }
  | { readonly kind: "void" | "bool" | "u32" | "i32" }
  /** `whole`: what floor, ceil, round and trunc give. */
  | { readonly kind: "f32"; readonly isWhole: boolean }
  | LiteralType
  /** `to` is nothing for NULL by itself. */
  | { readonly kind: "ptr"; readonly to: Schema | undefined }
  | { readonly kind: "vector"; readonly schema: VectorSchema }
  /** An array in memory, known by its address. */
  | { readonly kind: "array"; readonly schema: ArraySchema }
  /** An array of the invocation's own. */
  | { readonly kind: "local"; readonly element: ScalarName; readonly length: number };

interface LiteralType {
  readonly kind: "literal";
  /** Some value of it is below 0. */
  readonly isNegative: boolean;
  /** It is the literal 0, which is a pointer as well. */
  readonly isZero: boolean;
  /** Names that take part in it: what settles it settles them. */
  readonly names: readonly Variable[];
}

export const NONE: Type = { kind: "none" };
export const VOID: Type = { kind: "void" };
export const BOOL: Type = { kind: "bool" };
export const U32: Type = { kind: "u32" };
export const I32: Type = { kind: "i32" };
export const F32: Type = { kind: "f32", isWhole: false };
export const WHOLE: Type = { kind: "f32", isWhole: true };

export const scalarType = (name: ScalarName): Type =>
  name === "u32" ? U32 : name === "i32" ? I32 : F32;

/** Of what a piece of memory holds, as a value; nothing for a struct, which is its address. */
export function typeOfMemory(schema: Schema): Type {
  switch (schema.kind) {
    case "scalar":
      return scalarType(schema.name);
    case "vector":
      return { kind: "vector", schema };
    case "array":
      return { kind: "array", schema };
    case "ptr":
      return { kind: "ptr", to: targetOf(schema) };
    case "struct":
      return { kind: "ptr", to: schema };
  }
}

export const isInteger = ({ kind }: Type): boolean => kind === "u32" || kind === "i32";

export const isNumber = (type: Type): boolean =>
  isInteger(type) || type.kind === "f32" || type.kind === "literal";

/** The type that holds the values of both; nothing when there is none. */
export function join(a: Type, b: Type): Type | undefined {
  if (a.kind === "none") return b;
  if (b.kind === "none") return a;
  if (a.kind === "literal") return joinLiteral(a, b);
  if (b.kind === "literal") return joinLiteral(b, a);
  if (a.kind === "f32" && isNumber(b)) return b.kind === "f32" && a.isWhole ? b : a;
  if (b.kind === "f32" && isNumber(a)) return b;
  return isSame(a, b) ? (a.kind === "ptr" && a.to === undefined ? b : a) : undefined;
}

function joinLiteral(a: LiteralType, b: Type): Type | undefined {
  if (b.kind === "literal") {
    return {
      kind: "literal",
      isNegative: a.isNegative || b.isNegative,
      isZero: a.isZero && b.isZero,
      names: union(a.names, b.names),
    };
  }
  if (b.kind === "u32") return a.isNegative ? undefined : b;
  if (b.kind === "ptr") return a.isZero ? b : undefined;
  return isNumber(b) ? b : undefined;
}

function union(a: readonly Variable[], b: readonly Variable[]): readonly Variable[] {
  if (a.length === 0) return b;
  const more = b.filter((each) => !a.includes(each));
  return more.length === 0 ? a : [...a, ...more];
}

/** One type; a pointer to nothing in particular is like any other. */
export function isSame(a: Type, b: Type): boolean {
  if (a.kind === "ptr" && b.kind === "ptr") {
    return a.to === undefined || b.to === undefined || isSameSchema(a.to, b.to);
  }
  if (a.kind === "vector" && b.kind === "vector") return a.schema.name === b.schema.name;
  if (a.kind === "array" && b.kind === "array") return isSameSchema(a.schema, b.schema);
  if (a.kind === "local" && b.kind === "local") {
    return a.element === b.element && a.length === b.length;
  }
  return a.kind === b.kind;
}

/** How messages call it. */
export function typeName(type: Type): string {
  switch (type.kind) {
    case "none":
      return "nothing yet";
    case "literal":
      return type.isNegative ? "a negative integer" : "an integer";
    case "ptr":
      return type.to === undefined ? "NULL" : `a pointer to ${schemaName(type.to)}`;
    case "vector":
    case "array":
      return schemaName(type.schema);
    case "local":
      return `an array of ${type.length} ${type.element}`;
    default:
      return type.kind;
  }
}

/** What tells instances of a function apart; structs of one name by their numbers. */
export function typeKey(type: Type, numberOf: (struct: Schema) => number): string {
  if (type.kind === "ptr" && type.to !== undefined) return `ptr ${schemaKey(type.to, numberOf)}`;
  if (type.kind === "array") return schemaKey(type.schema, numberOf);
  return type.kind === "literal" ? `literal${type.isNegative ? "-" : ""}` : typeName(type);
}

function schemaKey(schema: Schema, numberOf: (struct: Schema) => number): string {
  if (schema.kind === "struct") return `${schema.name} ${numberOf(schema)}`;
  if (schema.kind === "ptr") return `ptr ${schemaKey(targetOf(schema), numberOf)}`;
  if (schema.kind !== "array") return schema.name;
  return `${schema.length} of ${schemaKey(schema.element, numberOf)}`;
}

/** Laid out alike, and for a struct the same one. */
function isSameSchema(a: Schema, b: Schema): boolean {
  if (a === b) return true;
  if (a.kind === "ptr" && b.kind === "ptr") return isSameSchema(targetOf(a), targetOf(b));
  if (a.kind === "array" && b.kind === "array") {
    return a.length === b.length && isSameSchema(a.element, b.element);
  }
  return a.kind !== "struct" && a.kind === b.kind && schemaName(a) === schemaName(b);
}
