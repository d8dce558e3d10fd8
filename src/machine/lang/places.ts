/** Members and elements: what they are in memory, how they are read, and what may be stored. */

import type { MemberExpression, Node } from "acorn";
import { strideOf } from "../layout.ts";
import { f32, i32, type Schema, type StructSchema, schemaName, u32 } from "../schema.ts";
import type { Context } from "./context.ts";
import {
  type Address,
  asI32,
  asU32,
  coerced,
  component,
  converted,
  type Expression,
  elementAt,
  has,
  isInteger,
  isNumber,
  isSame,
  NOTHING,
  placeAt,
  type Type,
  typeName,
  typeOfMemory,
  type Variable,
} from "./form/index.ts";

/** A piece of memory. */
export interface MemoryPlace {
  readonly schema: Schema;
  readonly address: Address;
}

/** Its value: loaded, or its address where it is more than a value. */
export function valueAt({ schema, address }: MemoryPlace): Expression {
  const type = typeOfMemory(schema);
  const isAddress = schema.kind === "struct" || schema.kind === "array";
  if (!isAddress) return { op: "load", type, address };
  const isPlain = address.offset === 0 && address.indices.length === 0;
  return isPlain && isSame(address.base.type, type)
    ? address.base
    : { op: "address", type, address };
}

/** What `a.b` or `a[b]` is in memory; nothing, if types are not known yet. */
export function placeOf(
  context: Context,
  node: MemberExpression,
  base: Expression,
): MemoryPlace | undefined {
  if (base.type.kind === "none") return undefined;
  const field = fieldName(node);
  if (field !== undefined) return memberOf(context, node, base, field);
  return elementOf(context, node, base);
}

export function fieldName({ property, computed }: MemberExpression): string | undefined {
  if (!computed && property.type === "Identifier") return property.name;
  if (property.type !== "Literal" || typeof property.value !== "string") return undefined;
  return property.value;
}

function memberOf(
  context: Context,
  node: Node,
  base: Expression,
  name: string,
): MemoryPlace | undefined {
  const { type } = base;
  if (type.kind === "vector" && base.op === "load") {
    const index = componentIndex(context, node, type, name);
    if (index === undefined) return undefined;
    const schema = SCALARS[type.schema.component];
    const { address } = base;
    return { schema, address: { ...address, offset: address.offset + 4 * index } };
  }
  const struct = structOf(type);
  if (struct === undefined) {
    context.mismatch(node, `${typeName(type)} ${noMember(type, name)}`);
    return undefined;
  }
  const schema = Object.hasOwn(struct.fields, name) ? struct.fields[name] : undefined;
  if (schema === undefined) {
    const fields = Object.keys(struct.fields).join(", ");
    const rule = name === "length" ? "; hand the length over as an argument, n: u32" : "";
    context.mismatch(node, `${struct.name} has no field ${name} (it has ${fields})${rule}`);
    return undefined;
  }
  return { schema, address: placeAt(base, struct.offsets[name]!) };
}

function noMember(type: Type, name: string): string {
  const isLength = name === "length";
  const rule = "has elements, p[i], and no members";
  if (type.kind === "array") return isLength ? `has ${type.schema.length} elements` : rule;
  if (type.kind !== "ptr") return "has no members";
  return isLength ? `${rule}; hand the length over as an argument, n: u32` : rule;
}

const SCALARS = { u32, i32, f32 } as const;

function componentIndex(
  context: Context,
  node: Node,
  { schema }: Extract<Type, { kind: "vector" }>,
  name: string,
): number | undefined {
  const index = "xyzw".indexOf(name);
  if (name.length === 1 && index >= 0 && index < schema.length) return index;
  const names = [..."xyzw"].slice(0, schema.length).join(", ");
  context.mismatch(node, `${schemaName(schema)} has ${names}, and no ${name}`);
  return undefined;
}

/** A field of a struct, or a component of a vector, by its name. */
export function memberValue(
  context: Context,
  node: Node,
  base: Expression,
  name: string,
): Expression {
  if (base.type.kind === "vector" && base.op !== "load") {
    const index = componentIndex(context, node, base.type, name);
    return index === undefined ? NOTHING : component(base, index);
  }
  const place = memberOf(context, node, base, name);
  return place === undefined ? NOTHING : valueAt(place);
}

/** `v.x` of a vector that is no piece of memory; nothing for all else. */
export function componentOf(
  context: Context,
  node: MemberExpression,
  base: Expression,
): Expression | undefined {
  const name = fieldName(node);
  if (name === undefined || base.type.kind !== "vector" || base.op === "load") return undefined;
  return memberValue(context, node, base, name);
}

/** `a[j]` of an array of the invocation's own; nothing for all else. */
export function localElement(
  context: Context,
  node: MemberExpression,
): { readonly array: Variable; readonly index?: Expression } | undefined {
  const { object, property } = node;
  const meaning = object.type === "Identifier" ? context.lookup(object.name) : undefined;
  if (meaning?.kind !== "variable" || meaning.variable.type.kind !== "local") return undefined;
  const { variable: array } = meaning;
  if (!node.computed) return { array };
  const index = indexOf(context, property);
  const { length, element } = meaning.variable.type;
  if (index?.op === "constant" && (index.value as number) >= length) {
    context.mismatch(node, `it has ${length} elements of ${element}, 0 to ${length - 1}`);
  }
  return index === undefined ? undefined : { array, index };
}

const structOf = (type: Type): StructSchema | undefined =>
  type.kind === "ptr" && type.to?.kind === "struct" ? type.to : undefined;

function elementOf(
  context: Context,
  node: MemberExpression,
  base: Expression,
): MemoryPlace | undefined {
  const { type } = base;
  const schema =
    type.kind === "ptr" ? type.to : type.kind === "array" ? type.schema.element : undefined;
  if (schema === undefined) {
    context.mismatch(node, `${typeName(type)} has no elements`);
    return undefined;
  }
  const index = indexOf(context, node.property);
  return index && { schema, address: elementAt(base, index, strideOf(schema)) };
}

/** As a u32. */
function indexOf(context: Context, node: Node): Expression | undefined {
  const index = context.expression(node);
  const { type } = index;
  if (type.kind === "none") return undefined;
  if (type.kind === "u32") return index;
  if (type.kind === "literal") return index.op === "constant" ? asU32(index) : asU32(asI32(index));
  const beyond = index.op === "constant" ? beyondIn(index) : undefined;
  if (beyond !== undefined) {
    context.mismatch(node, `${beyond} is beyond 32 bits, and an index is not`);
    return undefined;
  }
  if (type.kind === "i32" || (type.kind === "f32" && type.isWhole)) return asU32(index);
  const rule = isNumber(type) ? "; write Math.floor(x) or u32(x)" : "";
  context.mismatch(node, `an index is an integer, and this is ${typeName(type)}${rule}`);
  return undefined;
}

/** `value` as it is stored there: integers wrap, as they do in typed arrays. */
export function storable(
  context: Context,
  node: Node,
  schema: Schema,
  value: Expression,
): Expression {
  if (value.type.kind === "none") return NOTHING;
  if (schema.kind === "struct" || schema.kind === "array") {
    const what = schema.kind === "struct" ? "fields" : "elements";
    return context.mismatch(node, `${schemaName(schema)} is not stored whole; assign its ${what}`);
  }
  const type = typeOfMemory(schema);
  const from = value.type;
  context.hint(from, type, true);
  if (isInteger(type)) {
    const isWhole =
      isInteger(from) || from.kind === "literal" || (from.kind === "f32" && from.isWhole);
    const beyond = from.kind === "f32" ? beyondIn(value) : undefined;
    if (isWhole && (beyond === undefined || value.op !== "constant")) return converted(value, type);
    if (beyond !== undefined) return context.mismatch(node, tooBig(beyond, type));
    const rule =
      from.kind === "f32" ? `; write Math.floor(x) or ${type.kind}(x)` : ruleFor(from, type);
    return context.mismatch(
      node,
      `${schemaName(schema)} is stored here, not ${typeName(from)}${rule}`,
    );
  }
  const fit = coerced(value, type);
  if (fit !== undefined) return fit;
  const rule = `${schemaName(schema)} is stored here, not ${typeName(from)}${ruleFor(from, type)}`;
  return context.mismatch(node, rule);
}

/** The first integer of the text in it that has no 32 bits. */
function beyondIn(value: Expression): number | undefined {
  let found: number | undefined;
  has(value, (part) => {
    if (part.op !== "constant" || part.type.kind !== "f32" || !part.type.isWhole) return false;
    const number = Number(part.value);
    if (number >= -(2 ** 31) && number < 2 ** 32) return false;
    found = number;
    return true;
  });
  return found;
}

const tooBig = (number: number, type: Type): string =>
  `${number} is beyond 32 bits, so this is an f32, and ${type.kind} is stored here`;

function ruleFor(from: Type, to: Type): string {
  if (from.kind === "bool" && isNumber(to)) return "; write test ? 1 : 0";
  return from.kind === "ptr" && isNumber(to) ? "; write u32(pointer)" : "";
}
