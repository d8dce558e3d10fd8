/**
 * From a function to a program: the kernel and the helper functions that it uses, one for each
 * set of operand types.
 */

import type { Identifier, Node, ObjectPattern, Pattern } from "acorn";
import type { ArgsSchema } from "../args.ts";
import type { Schema } from "../schema.ts";
import { callExpression } from "./calls.ts";
import { type Binding, Context, type KernelContext } from "./context.ts";
import { lowerExpression } from "./expressions.ts";
import {
  type Expression,
  has,
  type LoweredFunction,
  type Program,
  type Statement,
  type Type,
  typeKey,
  typeOfMemory,
  U32,
  type Variable,
  VOID,
} from "./form/index.ts";
import { notInToolkit } from "./names.ts";
import { parseFunction, type SourceFunction } from "./source.ts";
import { block, effect, isEnd, settled } from "./statements.ts";
import { isTool } from "./tools.ts";

const LOWERING = { expression: lowerExpression, call: callExpression };

/** Throws `Refusal` for what is not in the subset. */
export function lowerKernel(
  args: ArgsSchema,
  code: unknown,
  uses: Readonly<Record<string, unknown>>,
): Program {
  const source = parseFunction("main", code);
  const kernel = new KernelLowering(args, uses);
  const context = new Context(source, kernel, LOWERING);
  const [index, given, tools, ...others] = source.node.params;
  if (others.length > 0) {
    context.refuse(others[0]!, "a kernel is given its index, its arguments and the toolkit");
  }
  const main = context.settle(() => {
    context.stores = false;
    return context.scoped(() => {
      const parameter = indexParameter(context, index);
      if (given !== undefined) bindMembers(context, given, "arguments");
      if (tools !== undefined) bindMembers(context, tools, "toolkit");
      return lowered(context, "main", [parameter]);
    });
  });
  return { args, functions: reached(main), main };
}

function indexParameter(context: Context, node: Pattern | undefined): Variable {
  if (node === undefined) return { name: "i", type: U32, isWritten: false };
  if (node.type !== "Identifier") return context.refuse(node, "the first parameter is the index");
  const variable = context.declare(node, node.name);
  context.grow(variable, U32);
  context.bind(node.name, { kind: "variable", variable, isFixed: true });
  return variable;
}

/** `{ keys, out: o }`, or one name for all. */
function bindMembers(context: Context, node: Pattern, kind: "arguments" | "toolkit"): void {
  if (node.type === "Identifier") {
    context.bind(node.name, { kind });
    return;
  }
  if (node.type !== "ObjectPattern") context.refuse(node, "write { name, … } or one name");
  for (const property of (node as ObjectPattern).properties) {
    if (property.type !== "Property") {
      context.refuse(property, "name what is wanted; there are no other members");
      continue;
    }
    const { key, value } = property;
    const isPlain = key.type === "Identifier" || key.type === "Literal";
    if (!isPlain || value.type !== "Identifier") {
      context.refuse(property, "write a name, or name: other");
      continue;
    }
    const name = key.type === "Identifier" ? key.name : String(key.value);
    context.bind(value.name, memberOf(context, property, name, kind));
  }
}

function memberOf(
  context: Context,
  node: Node,
  name: string,
  kind: "arguments" | "toolkit",
): Binding {
  if (kind === "toolkit") {
    if (Object.hasOwn(context.kernel.uses, name)) return { kind: "used", name };
    if (isTool(name)) return { kind: "tool", name };
    return context.refuse(node, notInToolkit(name));
  }
  if (context.kernel.argument(name) !== undefined) return { kind: "argument", name };
  const known = context.kernel.argumentNames.join(", ") || "none";
  return context.refuse(node, `${name} is not an argument of this kernel (${known})`);
}

/** The function as its types are now. */
function lowered(context: Context, name: string, parameters: readonly Variable[]): LoweredFunction {
  const { node } = context.source;
  const body =
    node.body.type === "BlockStatement"
      ? block(context, node.body.body)
      : expressionBody(context, node.body as Parameters<typeof effect>[1]);
  const result = context.result.kind === "none" ? VOID : settled(context.result);
  if (context.isFinal && result.kind !== "void" && !isEnd(body)) {
    context.refuse(node, "not every path returns a value; return one at its end");
  }
  return { name, parameters, result, body, stores: context.stores };
}

function expressionBody(
  context: Context,
  node: Parameters<typeof effect>[1],
): readonly Statement[] {
  if (context.isMain || isEffect(node)) return effect(context, node);
  const statement = { type: "ReturnStatement", start: node.start, end: node.end, argument: node };
  return block(context, [statement]);
}

const isEffect = ({ type }: Node): boolean =>
  type === "AssignmentExpression" || type === "UpdateExpression";

class KernelLowering implements KernelContext {
  readonly uses: Readonly<Record<string, unknown>>;
  readonly #args: ReadonlyMap<string, Type>;
  readonly #sources = new Map<string, SourceFunction>();
  readonly #instances = new Map<string, LoweredFunction>();
  readonly #names = new Set<string>();
  readonly #open: string[] = [];
  readonly #structs = new Map<Schema, number>();

  constructor(args: ArgsSchema, uses: Readonly<Record<string, unknown>>) {
    this.uses = uses;
    this.#args = new Map(Object.entries(args).map(([name, each]) => [name, typeOfMemory(each)]));
  }

  argument(name: string): Type | undefined {
    return this.#args.get(name);
  }

  get argumentNames(): readonly string[] {
    return [...this.#args.keys()];
  }

  instance(caller: Context, node: Node, name: string, operands: readonly Type[]): LoweredFunction {
    if (this.#open.includes(name)) {
      caller.refuse(node, `${name} calls itself; a GPU has no stack for that: write a loop`);
    }
    const key = `${name}(${operands.map((each) => typeKey(each, this.#numberOf)).join(", ")})`;
    const known = this.#instances.get(key);
    if (known !== undefined) return known;
    let source = this.#sources.get(name);
    if (source === undefined) {
      if (typeof this.uses[name] !== "function") caller.refuse(node, "this is no function");
      source = parseFunction(name, this.uses[name]);
      this.#sources.set(name, source);
    }
    const { length } = source.node.params;
    if (length !== operands.length) {
      caller.refuse(node, `${name} takes ${length} operands, and these are ${operands.length}`);
    }
    this.#open.push(name);
    const made = helper(new Context(source, this, LOWERING), this.#nameFor(name), operands);
    this.#open.pop();
    this.#instances.set(key, made);
    return made;
  }

  readonly #numberOf = (struct: Schema): number => {
    const known = this.#structs.get(struct) ?? this.#structs.size;
    this.#structs.set(struct, known);
    return known;
  };

  /** `k_` keeps it apart from WGSL's names and the helpers'. */
  #nameFor(name: string): string {
    const base = `k_${name.replace(/[^A-Za-z0-9]/g, "") || "f"}`;
    let free = base;
    for (let k = 2; this.#names.has(free); k++) free = `${base}_${k}`;
    this.#names.add(free);
    return free;
  }
}

function helper(context: Context, name: string, operands: readonly Type[]): LoweredFunction {
  return context.settle(() => {
    context.stores = false;
    return context.scoped(() => {
      const parameters = context.source.node.params.map((node, i) => {
        if (node.type !== "Identifier")
          return context.refuse(node, "write a name for each operand");
        return parameterOf(context, node, operands[i]!);
      });
      return lowered(context, name, parameters);
    });
  });
}

function parameterOf(context: Context, node: Identifier, type: Type): Variable {
  const variable = context.declare(node, node.name);
  context.grow(variable, type.kind === "literal" ? { ...type, names: [] } : type);
  context.bind(node.name, { kind: "variable", variable, isFixed: true });
  return variable;
}

/** All functions that `main` calls, each before its callers. */
function reached(main: LoweredFunction): readonly LoweredFunction[] {
  const found = new Set<LoweredFunction>();
  const visit = (lowered: LoweredFunction): void => {
    for (const each of expressionsOf(lowered.body)) {
      has(each, (part) => {
        if (part.op === "call" && !found.has(part.callee)) {
          visit(part.callee);
          found.add(part.callee);
        }
        return false;
      });
    }
  };
  visit(main);
  return [...found];
}

function* expressionsOf(body: readonly Statement[]): Iterable<Expression> {
  for (const statement of body) {
    for (const part of Object.values(statement) as unknown[]) {
      if (Array.isArray(part)) yield* expressionsOf(part as Statement[]);
    }
    if ("value" in statement && statement.value !== undefined) yield statement.value;
    if ("test" in statement && statement.test !== undefined) yield statement.test;
    if (statement.op === "storeElement") yield statement.index;
    if (statement.op === "call") yield statement.call;
    if (statement.op === "store") {
      const { address } = statement;
      yield { op: "address", type: U32, address };
    }
  }
}
