/**
 * What is known while one function is looked at. It is looked at again and again, until the types
 * of its names no longer change; only the last time does a conflict of types count, since types
 * grow on the way there.
 */

import type { CallExpression, Node } from "acorn";
import {
  type Expression,
  I32,
  join,
  type LoweredFunction,
  NONE,
  NOTHING,
  type Type,
  U32,
  type Variable,
} from "./form/index.ts";
import { Refusal } from "./refusal.ts";
import type { SourceFunction } from "./source.ts";

/** What a name stands for. */
export type Binding =
  | { readonly kind: "variable"; readonly variable: Variable; readonly isFixed: boolean }
  | { readonly kind: "argument"; readonly name: string }
  /** All of the kernel's arguments, and the toolkit: their parts are read from them. */
  | { readonly kind: "arguments" | "toolkit" }
  | { readonly kind: "tool"; readonly name: string }
  /** Of `uses`, by the name that it has there. */
  | { readonly kind: "used"; readonly name: string };

/** What the functions of one kernel share. */
export interface KernelContext {
  /** The type of an argument; nothing when there is none of that name. */
  argument(name: string): Type | undefined;
  readonly argumentNames: readonly string[];
  readonly uses: Readonly<Record<string, unknown>>;
  /** The helper function for operands of these types; settles their literals. */
  instance(context: Context, node: Node, name: string, operands: readonly Type[]): LoweredFunction;
}

/** How expressions are lowered: all of them, and calls that may give nothing. */
export interface Lowering {
  readonly expression: (context: Context, node: Node) => Expression;
  readonly call: (context: Context, node: CallExpression) => Expression;
}

export class Context {
  readonly source: SourceFunction;
  readonly kernel: KernelContext;
  /** The kernel itself, not a helper function. */
  readonly isMain: boolean;
  readonly #lowering: Lowering;
  #scopes: Map<string, Binding>[] = [];
  #isFinal = false;
  #hasChanged = false;
  readonly #variables = new Map<Node, Variable>();
  #links: (readonly [Variable, Variable])[] = [];
  #hints = new Map<Variable, Type>();
  // What is stored is converted, so it counts only where nothing else does.
  #weakHints = new Map<Variable, Type>();
  /** Has the type of all that is returned. */
  readonly resultVariable: Variable = { name: "result", type: NONE, isWritten: true };
  stores = false;

  constructor(source: SourceFunction, kernel: KernelContext, lowering: Lowering) {
    this.source = source;
    this.kernel = kernel;
    this.isMain = source.name === "main";
    this.#lowering = lowering;
  }

  get result(): Type {
    return this.resultVariable.type;
  }

  expression(node: Node): Expression {
    return this.#lowering.expression(this, node);
  }

  call(node: CallExpression): Expression {
    return this.#lowering.call(this, node);
  }

  /** Looks until nothing changes, and once more, for good. */
  settle<Result>(look: () => Result): Result {
    do {
      do {
        this.#hasChanged = false;
        this.#links = [];
        this.#hints = new Map();
        this.#weakHints = new Map();
        look();
      } while (this.#hasChanged);
      this.#settleLiterals();
    } while (this.#hasChanged);
    this.#isFinal = true;
    return look();
  }

  get isFinal(): boolean {
    return this.#isFinal;
  }

  textOf({ start, end }: Pick<Node, "start" | "end">): string {
    return this.source.parsed.slice(start, end);
  }

  /** For what is never in the subset. */
  refuse(node: Pick<Node, "start" | "end">, rule: string): never {
    throw new Refusal(this.source, node, rule);
  }

  /** For types that do not fit: they may, once more is known. */
  mismatch(node: Pick<Node, "start" | "end">, rule: string): Expression {
    if (this.#isFinal) throw new Refusal(this.source, node, rule);
    return NOTHING;
  }

  scoped<Result>(body: () => Result): Result {
    this.#scopes.push(new Map());
    try {
      return body();
    } finally {
      this.#scopes.pop();
    }
  }

  bind(name: string, binding: Binding): void {
    this.#scopes[this.#scopes.length - 1]!.set(name, binding);
  }

  lookup(name: string): Binding | undefined {
    return this.#scopes.findLast((scope) => scope.has(name))?.get(name);
  }

  /** The variable that is declared there; the same each time. */
  declare(node: Node, name: string): Variable {
    const known = this.#variables.get(node);
    const variable = known ?? { name, type: NONE, isWritten: false };
    if (known === undefined) this.#variables.set(node, variable);
    return variable;
  }

  /** From now on `variable` may hold values of `type`. Says whether there is such a type. */
  grow(variable: Variable, type: Type): boolean {
    const joined = join(variable.type, type);
    if (joined === undefined) return false;
    if (type.kind === "literal") {
      if (joined.kind === "literal") this.#link(variable, type.names);
      else this.hint(type, joined);
    }
    const next: Type = joined.kind === "literal" ? { ...joined, names: [] } : joined;
    if (!isUnchanged(variable.type, next)) {
      variable.type = next;
      this.#hasChanged = true;
    }
    return true;
  }

  /** Literals that are used together are of one type. */
  unite(a: Type, b: Type, isWeak = false): void {
    if (a.kind === "literal" && b.kind === "literal") {
      const first = a.names[0];
      if (first !== undefined) this.#link(first, b.names);
    } else if (a.kind === "literal") this.hint(a, b, isWeak);
    else if (b.kind === "literal") this.hint(b, a, isWeak);
  }

  /** A literal is used where `to` is wanted. What becomes f32 is converted there. */
  hint(literal: Type, to: Type, isWeak = false): void {
    if (literal.kind !== "literal" || (to.kind !== "u32" && to.kind !== "i32")) return;
    const hints = isWeak ? this.#weakHints : this.#hints;
    for (const name of literal.names) if (!hints.has(name)) hints.set(name, to);
  }

  #link(variable: Variable, names: readonly Variable[]): void {
    for (const name of names) if (name !== variable) this.#links.push([variable, name]);
  }

  /** Those that a use settles, or, when there are none, all: as i32. */
  #settleLiterals(): void {
    for (const hints of [this.#hints, this.#weakHints]) {
      this.#spread(hints);
      for (const [variable, type] of hints) {
        if (hints === this.#weakHints) markOpen(variable);
        this.#settle(variable, type);
      }
      if (this.#hasChanged) return;
    }
    for (const variable of this.#variables.values()) {
      markOpen(variable);
      this.#settle(variable, I32);
    }
  }

  /** To all that is used together. */
  #spread(hints: Map<Variable, Type>): void {
    for (let isMore = true; isMore; ) {
      isMore = false;
      for (const [a, b] of this.#links) {
        const from = hints.has(a) ? a : b;
        const to = from === a ? b : a;
        if (!hints.has(from) || hints.has(to)) continue;
        hints.set(to, hints.get(from)!);
        isMore = true;
      }
    }
  }

  #settle(variable: Variable, hint: Type): void {
    if (variable.type.kind !== "literal") return;
    variable.type = variable.type.isNegative ? I32 : hint.kind === "u32" ? U32 : I32;
    this.#hasChanged = true;
  }
}

function markOpen(variable: Variable): void {
  if (variable.type.kind === "literal") variable.isOpen = true;
}

function isUnchanged(a: Type, b: Type): boolean {
  if (a.kind === "literal" && b.kind === "literal") {
    return a.isNegative === b.isNegative && a.isZero === b.isZero;
  }
  if (a.kind === "f32" && b.kind === "f32") return a.isWhole === b.isWhole;
  if (a.kind === "ptr" && b.kind === "ptr") return a.to === b.to;
  return a.kind === b.kind;
}
