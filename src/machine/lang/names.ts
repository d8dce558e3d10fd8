/**
 * What a free name means. Bundlers and test runners rewrite what a module imports: `u32` may have
 * become `ns.u32` or `(0, ns.u32)`; so a property of a name that nobody knows counts by its own.
 */
import type { Identifier, MemberExpression, Node, SequenceExpression } from "acorn";
import { isSchema } from "../schema.ts";
import { atomicNameOf } from "./atomic-functions.ts";
import type { Binding, Context } from "./context.ts";
import { isTool } from "./tools.ts";

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
  if (first === undefined)
    return outer in globalThis ? undefined : ownMeaning(context, name, false);
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
  return `a kernel does not see ${name}; hand it over: { uses: { ${name} } }`;
}
