/**
 * # machine/lang/form: a kernel with every type known
 *
 * **Nouns.** *Expression*, *statement*: what a kernel is made of, with no choice of JavaScript
 * left. *Type*: of a value in a kernel. *Address*: base, offset and indices, in bytes. *Once*: a
 * value that is computed once and used twice.
 *
 * **Invariants.**
 * - Both sides of an operation are of one type; what is converted says so.
 * - What has only constants in it is a constant, computed as `runHere` computes it.
 * - Expressions have no effects but atomics and calls of functions that store, which stand by
 *   themselves.
 *
 * **Locks.** None: values.
 *
 * **Example.** `binary("+", asF32(left), constant(F32, 0.5))`.
 *
 * **What it refuses.** Nothing: whoever builds it has looked at the types.
 */
export {
  arithmetic,
  asF32,
  asI32,
  asU32,
  binary,
  choose,
  coerced,
  component,
  constant,
  construct,
  converted,
  elementAt,
  folded,
  integerDivision,
  intrinsic,
  NOTHING,
  negative,
  numberConstant,
  once,
  placeAt,
  pointerTest,
  resultOf,
} from "./build.ts";
export {
  type Address,
  type Arithmetic,
  type Atomic,
  addressHas,
  type Comparison,
  type Expression,
  has,
  hasEffect,
  type LoweredFunction,
  type Program,
  partsOf,
  type Statement,
  type Variable,
} from "./ir.ts";
export { atomicTools } from "./js-atomics.ts";
export {
  jsAddress,
  jsElement,
  jsExpression,
  type NameOf,
  NUMBER_TOOLS,
  wordOf,
} from "./js-expression.ts";
export { vectorTools } from "./js-vectors.ts";
export {
  BOOL,
  F32,
  I32,
  isInteger,
  isNumber,
  isSame,
  join,
  NONE,
  scalarType,
  type Type,
  typeKey,
  typeName,
  typeOfMemory,
  U32,
  VOID,
  WHOLE,
} from "./type.ts";
