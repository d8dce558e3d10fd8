/**
 * The intermediate form: a kernel with every type known and every choice of JavaScript made, from
 * which both texts are written. Expressions have no effects but those of atomics and of helper
 * functions that store, and such a call stands by itself.
 */
import type { ArgsSchema } from "../../args.ts";
import type { Type } from "./type.ts";

/** A name of the text, or one of ours for a value that is needed twice. */
export interface Variable {
  readonly name: string;
  /** Grows while types are inferred. */
  type: Type;
  /** It is assigned after it was declared. */
  isWritten: boolean;
  /** A `const` with a constant is that constant, wherever it is used. */
  constant?: Constant;
  /** Nothing has settled its type for good: it could be another integer. */
  isOpen?: boolean;
}

export interface Constant {
  readonly op: "constant";
  readonly type: Type;
  readonly value: number | boolean;
}

/** `base + offset + stride * index …`, in bytes. */
export interface Address {
  readonly base: Expression;
  readonly offset: number;
  readonly indices: readonly { readonly index: Expression; readonly stride: number }[];
}

export type Arithmetic = "+" | "-" | "*" | "/" | "%";
type Bitwise = "&" | "|" | "^" | "<<" | ">>";
export type Comparison = "===" | "!==" | "<" | "<=" | ">" | ">=";

/** What is done to a word that all share; it gives what was there before. */
export type Atomic =
  | "Load"
  | "Store"
  | "Add"
  | "Sub"
  | "Min"
  | "Max"
  | "And"
  | "Or"
  | "Xor"
  | "Exchange"
  | "CompareExchange";

export type Expression =
  | Constant
  | { readonly op: "variable"; readonly type: Type; readonly variable: Variable }
  | { readonly op: "argument"; readonly type: Type; readonly name: string }
  | { readonly op: "load"; readonly type: Type; readonly address: Address }
  /** The address itself: of a struct or an array within something. */
  | { readonly op: "address"; readonly type: Type; readonly address: Address }
  | {
      readonly op: "unary";
      readonly type: Type;
      readonly operator: "-" | "~" | "!";
      readonly operand: Expression;
    }
  /**
   * Both sides have one type (the right side of a shift is u32). `/` of integers is what is left
   * when the fraction is cut off, and 0 for a division by 0.
   */
  | {
      readonly op: "binary";
      readonly type: Type;
      readonly operator: Arithmetic | Bitwise | Comparison;
      readonly left: Expression;
      readonly right: Expression;
    }
  | {
      readonly op: "logical";
      readonly type: Type;
      readonly operator: "&&" | "||";
      readonly left: Expression;
      readonly right: Expression;
    }
  | {
      readonly op: "choose";
      readonly type: Type;
      readonly test: Expression;
      readonly yes: Expression;
      readonly no: Expression;
    }
  /** From one scalar to another; to an integer the fraction is cut off, and the rest clamped. */
  | { readonly op: "convert"; readonly type: Type; readonly operand: Expression }
  /** A function that both sides have: `sqrt`, `min`, `dot`. */
  | {
      readonly op: "intrinsic";
      readonly type: Type;
      readonly name: string;
      readonly operands: readonly Expression[];
    }
  | {
      readonly op: "call";
      readonly type: Type;
      readonly callee: LoweredFunction;
      readonly operands: readonly Expression[];
    }
  | {
      readonly op: "atomic";
      readonly type: Type;
      readonly name: Atomic;
      /** u32 or i32. */
      readonly word: Type;
      readonly address: Address;
      readonly operands: readonly Expression[];
    }
  /** A vector of scalars, one for each component. */
  | { readonly op: "construct"; readonly type: Type; readonly operands: readonly Expression[] }
  | {
      readonly op: "component";
      readonly type: Type;
      readonly operand: Expression;
      readonly index: number;
    }
  /** Of an array of the invocation's own. */
  | {
      readonly op: "element";
      readonly type: Type;
      readonly array: Variable;
      readonly index: Expression;
    }
  /** `variable` is the value wherever `body` uses it. */
  | {
      readonly op: "with";
      readonly type: Type;
      readonly variable: Variable;
      readonly value: Expression;
      readonly body: Expression;
    };

export type Statement =
  | { readonly op: "declare"; readonly variable: Variable; readonly value?: Expression }
  | { readonly op: "assign"; readonly variable: Variable; readonly value: Expression }
  | { readonly op: "store"; readonly address: Address; readonly value: Expression }
  | {
      readonly op: "storeElement";
      readonly array: Variable;
      readonly index: Expression;
      readonly value: Expression;
    }
  | {
      readonly op: "if";
      readonly test: Expression;
      readonly yes: readonly Statement[];
      readonly no: readonly Statement[];
    }
  /** `while` is a `for` with a test alone. */
  | {
      readonly op: "for";
      readonly init: readonly Statement[];
      readonly test?: Expression;
      readonly update: readonly Statement[];
      readonly body: readonly Statement[];
    }
  | { readonly op: "do"; readonly test: Expression; readonly body: readonly Statement[] }
  | { readonly op: "call"; readonly call: Expression }
  | { readonly op: "return"; readonly value?: Expression }
  | { readonly op: "break" | "continue" };

export interface LoweredFunction {
  readonly name: string;
  readonly parameters: readonly Variable[];
  readonly result: Type;
  readonly body: readonly Statement[];
  /** It stores to memory, or calls what does. */
  readonly stores: boolean;
}

export interface Program {
  readonly args: ArgsSchema;
  /** Helper functions, each before those that call it. */
  readonly functions: readonly LoweredFunction[];
  readonly main: LoweredFunction;
}

/** What an expression is made of. */
export function partsOf(expression: Expression): readonly Expression[] {
  switch (expression.op) {
    case "load":
    case "address":
      return addressParts(expression.address);
    case "unary":
    case "convert":
    case "component":
      return [expression.operand];
    case "element":
      return [expression.index];
    case "binary":
    case "logical":
      return [expression.left, expression.right];
    case "choose":
      return [expression.test, expression.yes, expression.no];
    case "intrinsic":
    case "construct":
    case "call":
      return expression.operands;
    case "atomic":
      return [...addressParts(expression.address), ...expression.operands];
    case "with":
      return [expression.value, expression.body];
    default:
      return [];
  }
}

const addressParts = ({ base, indices }: Address): readonly Expression[] => [
  base,
  ...indices.map(({ index }) => index),
];

/** It changes memory, so it matters when it happens. */
export const hasEffect = (expression: Expression): boolean =>
  expression.op === "call"
    ? expression.callee.stores
    : expression.op === "atomic" && expression.name !== "Load";

/** Whether `test` holds for it or for a part of it. */
export function has(expression: Expression, test: (part: Expression) => boolean): boolean {
  return test(expression) || partsOf(expression).some((part) => has(part, test));
}

/** The same for the parts of an address. */
export const addressHas = (address: Address, test: (part: Expression) => boolean): boolean =>
  addressParts(address).some((part) => has(part, test));
