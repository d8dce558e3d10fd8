/**
 * What a free name means. Bundlers and test runners rewrite what a module imports: `u32` may have
 * become `ns.u32` or `(0, ns.u32)`; so what can be imported counts by its own name there.
 * What is said of names that mean nothing is here, too.
 */
import type {
  Identifier,
  MemberExpression,
  Node,
  SequenceExpression,
  Expression as SyntaxExpression,
} from "acorn";
import { isSchema } from "../schema.ts";
import { atomicNameOf } from "./atomic-functions.ts";
import type { Binding, Context } from "./context.ts";
import { isImported, isTool } from "./tools.ts";

export type Meaning =
  | Exclude<Binding, { readonly kind: "used" }>
  /** Of `uses`. */
  | { readonly kind: "constant"; readonly value: number | boolean }
  | { readonly kind: "helper"; readonly name: string }
  /** Of JavaScript: `Math`, `Infinity`. */
  | { readonly kind: "global"; readonly name: string };

const GLOBALS = new Set(["Math", "Infinity", "NaN", "undefined"]);

/** What an expression names, by itself or through a namespace; nothing if it names nothing. */
export function meaningOf(context: Context, node: Node): Meaning | undefined {
  const names = namesIn(node);
  if (names === undefined) return undefined;
  const { outer, name } = names;
  const first = ownMeaning(context, outer);
  if (outer === name) return first;
  // What JavaScript has by that name is no module.
  if (first === undefined) return outer in globalThis ? undefined : exported(context, name);
  return first.kind === "toolkit" ? ownMeaning(context, name, false) : undefined;
}

/** `a` is itself; of `a.b` and `(0, a.b)`, `outer` is a and `name` is b. */
function namesIn(node: Node): { readonly outer: string; readonly name: string } | undefined {
  if (node.type === "Identifier") {
    const { name } = node as Identifier;
    return { outer: name, name };
  }
  if (node.type === "SequenceExpression") {
    const { expressions } = node as SequenceExpression;
    const isWrapped = expressions.length === 2 && expressions[0]!.type === "Literal";
    return isWrapped ? namesIn(expressions[1]!) : undefined;
  }
  if (node.type !== "MemberExpression") return undefined;
  const { object, property, computed } = node as MemberExpression;
  if (object.type !== "Identifier" || computed || property.type !== "Identifier") return undefined;
  return { outer: object.name, name: property.name };
}

function ownMeaning(context: Context, name: string, isScoped = true): Meaning | undefined {
  const bound = isScoped ? context.lookup(name) : undefined;
  if (bound?.kind === "used") return used(context, bound.name);
  if (bound !== undefined) return bound;
  return (
    used(context, name) ?? tool(name) ?? (GLOBALS.has(name) ? { kind: "global", name } : undefined)
  );
}

/** Of a namespace that nobody knows: what is in `uses`, and the tools that are imported. */
function exported(context: Context, name: string): Meaning | undefined {
  return used(context, name) ?? (isImported(name) ? tool(name) : undefined);
}

/** What the program has handed over by that name. */
function used({ kernel: { uses } }: Context, name: string): Meaning | undefined {
  if (!Object.hasOwn(uses, name)) return undefined;
  const value = uses[name];
  if (typeof value === "number" || typeof value === "boolean") return { kind: "constant", value };
  const atomic = atomicNameOf(value);
  if (atomic !== undefined) return tool(atomic);
  // A schema that is handed over is the one that everybody knows.
  const isKnown = isSchema(value) && (value.kind === "scalar" || value.kind === "vector");
  return isKnown ? tool(value.name) : { kind: "helper", name };
}

const tool = (name: string): Meaning | undefined =>
  isTool(name) ? { kind: "tool", name } : undefined;

/** For a name that means nothing. */
export function unknownName(name: string): string {
  const instead = INSTEAD.get(name);
  if (instead !== undefined) return instead;
  return `a kernel does not see ${name}; hand it over: { uses: { ${name} } }`;
}

/** For `outer.name`, or an element of `outer`, where `outer` means nothing. */
export function unknownMember(outer: string, name: string | undefined): string {
  const instead = INSTEAD.get(outer);
  if (instead !== undefined) return instead;
  if (outer === "Atomics" && name !== undefined) return atomicFor(name);
  if (outer in globalThis) return `a kernel has no ${outer}`;
  const rule = `a kernel does not see ${outer}; hand it over as an argument`;
  if (name === undefined) return rule;
  if (name === "length") return `${rule}, and its length as another, n: u32`;
  return `${rule}, or ${name} by itself: { uses: { ${name} } }`;
}

function atomicFor(name: string): string {
  const own = `atomic${name[0]!.toUpperCase()}${name.slice(1)}`;
  if (isTool(own)) return `write ${own}(…)`;
  return name in Atomics ? "a kernel cannot wait for others" : `Atomics has no ${name}`;
}

/** For a name of the third parameter. */
export const notInToolkit = (name: string): string =>
  `the toolkit has no ${name}; hand it over: { uses: { ${name} } }`;

/** For an assignment to what is outside of the kernel. */
export const notChanged = (name: string): string =>
  `a kernel cannot change ${name}, which is outside of it; store to an array that is an argument`;

/** What programs reach for in JavaScript, and what to write. */
const INSTEAD: ReadonlyMap<string, string> = new Map([
  ["Number", "a kernel has no Number; write f32(x), i32(x) or u32(x)"],
  ["BigInt", "a kernel has numbers of 32 bits; write i32(x) or u32(x)"],
  ["Boolean", "a kernel has no Boolean; write x !== 0"],
  ["String", "a kernel has no text; numbers and pointers only"],
  ["parseInt", "a kernel has no text to parse; write i32(x) or Math.trunc(x)"],
  ["parseFloat", "a kernel has no text to parse; write f32(x)"],
  ["isNaN", "GPUs need not keep NaN apart; use a flag"],
  ["isFinite", "GPUs need not keep infinities apart; compare with a limit"],
  ["console", "a kernel cannot print; store what you want to see in an array"],
]);

/** Throws: `callee` names no function. */
export function unknownCall(context: Context, callee: SyntaxExpression): never {
  if (callee.type === "Identifier") return context.refuse(callee, unknownName(callee.name));
  if (callee.type !== "MemberExpression" || callee.property.type !== "Identifier") {
    const rule = "only functions with a name are called: of Math, uses, the toolkit";
    return context.refuse(callee, rule);
  }
  const { object, property } = callee;
  const { name } = property;
  if (object.type === "Identifier" && meaningOf(context, object) === undefined) {
    return context.refuse(callee, unknownMember(object.name, name));
  }
  const whole = context.textOf(object);
  const instead = ELEMENTS.get(name);
  const rule =
    instead === undefined
      ? `hand functions over: { uses: { ${name} } }`
      : `write ${instead.replace("a[", `${whole}[`)}`;
  return context.refuse(callee, `there is no method ${name} here; ${rule}`);
}

/** Methods of arrays and views, as elements are read and written in a kernel. */
const ELEMENTS: ReadonlyMap<string, string> = new Map([
  ["at", "a[i]"],
  ["get", "a[i]"],
  ["set", "a[i] = x"],
  ["fill", "a loop: for (…) a[j] = x"],
  ["copyFrom", "a loop: for (…) a[j] = b[j]"],
]);
