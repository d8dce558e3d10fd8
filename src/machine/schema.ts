/**
 * What a piece of memory means, as values: numbers, vectors, pointers, arrays and structs.
 * A schema knows its size and alignment (`layout.ts`), and TypeScript knows what reading it
 * gives (`Infer`). Structs are made in `struct.ts`; their shape is declared here, because
 * pointers and arrays hold them.
 */
import { invalid } from "./error.ts";
import { show } from "./given.ts";
import type { KernelVector, MakeVector } from "./lang/index.ts";
import { arrayLayout, type Layout, SCALAR_LAYOUT, strideOf, vectorLayout } from "./layout.ts";
import type { MemoryAccess } from "./memory-access.ts";

export type ScalarName = "u32" | "i32" | "f32";
export type VectorName = `vec${2 | 3 | 4}${"u" | "i" | "f"}`;

export interface ScalarSchema<Name extends ScalarName = ScalarName> extends Layout {
  readonly kind: "scalar";
  readonly name: Name;
  /** In a kernel's function: the value as one of this type. The same outside. */
  (value: number | boolean | { readonly [index: number]: unknown }): number;
}

export interface VectorSchema<Name extends VectorName = VectorName> extends Layout {
  readonly kind: "vector";
  readonly name: Name;
  readonly component: ScalarName;
  readonly length: 2 | 3 | 4;
  /** In a kernel's function: a vector of these components. EINVAL outside. */
  (...operands: Parameters<MakeVector<Name>>): KernelVector<Name>;
}

/** `to` is a schema, or a function that gives it later: so a struct can point to itself. */
export interface PtrSchema<To extends PtrTarget = PtrTarget> extends Layout {
  readonly kind: "ptr";
  readonly to: To;
}

export interface ArraySchema<Element extends Schema = Schema> extends Layout {
  readonly kind: "array";
  readonly element: Element;
  readonly length: number;
  readonly stride: number;
}

export interface StructSchema<
  Name extends string = string,
  Fields extends FieldSchemas = FieldSchemas,
> extends Layout {
  readonly kind: "struct";
  readonly name: Name;
  readonly fields: Fields;
  readonly offsets: { readonly [Field in keyof Fields]: number };
  at(memory: MemoryAccess, address: number): object;
}

export type Schema = ScalarSchema | VectorSchema | PtrSchema | ArraySchema | StructSchema;
export type FieldSchemas = Readonly<Record<string, Schema>>;
/**
 * `void` takes any result: asked for a `Schema`, TypeScript would need the type of `Node` to
 * check `ptr(() => Node)` inside the definition of `Node`, and give up.
 */
export type PtrTarget = Schema | (() => void);
export type TargetOf<To> = To extends () => infer Later ? Later : To;

declare const target: unique symbol;
/**
 * An address of a `Target`. Any plain number is one (0 is null, `malloc` gives numbers), but a
 * pointer to one thing is not a pointer to another.
 */
export type Ptr<Target> = number & { readonly [target]?: Target };

export type VectorValue<Name extends VectorName> = Name extends `vec2${string}`
  ? readonly [x: number, y: number]
  : Name extends `vec3${string}`
    ? readonly [x: number, y: number, z: number]
    : readonly [x: number, y: number, z: number, w: number];

/** The plain value that a piece of memory stands for. */
export type Infer<S> = S extends ScalarSchema
  ? number
  : S extends PtrSchema<infer To>
    ? Ptr<TargetOf<To>>
    : S extends VectorSchema<infer Name>
      ? VectorValue<Name>
      : S extends ArraySchema<infer Element>
        ? readonly Infer<Element>[]
        : S extends StructSchema<string, infer Fields>
          ? { -readonly [Field in keyof Fields]: Infer<Fields[Field]> }
          : never;

/** A function that is a schema, too: `u32` in a struct, `u32(x)` in a kernel. */
function callable<Call extends (value: never) => unknown, Parts extends object>(
  call: Call,
  parts: Parts,
): Call & Parts {
  // A function has a name and a length of its own, which can be written in this way only.
  for (const [key, value] of Object.entries(parts)) {
    Object.defineProperty(call, key, { value, enumerable: true });
  }
  return call as Call & Parts;
}

const scalar = <Name extends ScalarName>(name: Name): ScalarSchema<Name> =>
  callable((value: unknown) => scalarOf(name, Number(value)), {
    kind: "scalar" as const,
    name,
    ...SCALAR_LAYOUT,
  });

const RANGES = { u32: [0, 2 ** 32 - 1], i32: [-(2 ** 31), 2 ** 31 - 1] } as const;

/** As in kernels: integers wrap, of others the fraction is cut off and the rest clamped. */
function scalarOf(name: ScalarName, value: number): number {
  if (name === "f32") return Math.fround(value);
  const [low, high] = RANGES[name];
  const isWord = value >>> 0 === value || (value | 0) === value;
  const word = isWord ? value : Math.min(Math.max(Math.trunc(value), low), high);
  return name === "u32" ? word >>> 0 : word | 0;
}

export const u32 = scalar("u32");
export const i32 = scalar("i32");
export const f32 = scalar("f32");

const COMPONENTS: Readonly<Record<string, ScalarName>> = { u: "u32", i: "i32", f: "f32" };

function vector<Name extends VectorName>(name: Name): VectorSchema<Name> {
  const length = Number(name[3]) as 2 | 3 | 4;
  const parts = {
    kind: "vector" as const,
    name,
    component: COMPONENTS[name[4]!]!,
    length,
    ...vectorLayout(length),
  };
  const refuse = (): KernelVector<Name> => {
    const components = [..."xyzw"].slice(0, length).join(", ");
    throw invalid(name, `vectors are made in kernels; here one is [${components}]`);
  };
  return callable(refuse, parts);
}

export const vec2u = vector("vec2u");
export const vec3u = vector("vec3u");
export const vec4u = vector("vec4u");
export const vec2i = vector("vec2i");
export const vec3i = vector("vec3i");
export const vec4i = vector("vec4i");
export const vec2f = vector("vec2f");
export const vec3f = vector("vec3f");
export const vec4f = vector("vec4f");

/** A 32-bit address. `ptr(u32)`, or `ptr(() => Node)` for what is not defined yet. */
export function ptr<const To extends PtrTarget>(to: To): PtrSchema<To> {
  if (typeof to !== "function" && !isSchema(to))
    throw invalid("ptr", `target must be a schema or a function, got ${show(to)}`);
  return { kind: "ptr", to, ...SCALAR_LAYOUT };
}

/** A member of `length` elements, back to back. */
export function array<Element extends Schema>(
  element: Element,
  length: number,
): ArraySchema<Element> {
  if (!isSchema(element)) throw invalid("array", `element must be a schema, got ${show(element)}`);
  if (!Number.isInteger(length) || length < 1 || length * strideOf(element) >= 2 ** 32) {
    throw invalid(
      "array",
      `length must be a positive integer that fits memory, got ${show(length)}`,
    );
  }
  const stride = strideOf(element);
  return { kind: "array", element, length, stride, ...arrayLayout(element, length) };
}

/** What a pointer points to, now that everything is defined. */
export function targetOf(pointer: PtrSchema): Schema {
  const to: unknown = isSchema(pointer.to) ? pointer.to : pointer.to();
  if (!isSchema(to)) throw invalid("ptr", `target must be a schema, got ${show(to)}`);
  return to;
}

export function isSchema(value: unknown): value is Schema {
  const isObject = (typeof value === "object" && value !== null) || typeof value === "function";
  return isObject && "kind" in value && "align" in value;
}

/** Whether values of it hold addresses. */
export function hasPointers(schema: Schema): boolean {
  if (schema.kind === "array") return hasPointers(schema.element);
  if (schema.kind === "struct") return Object.values(schema.fields).some(hasPointers);
  return schema.kind === "ptr";
}

/** What was given where a schema is wanted, in messages. */
export const showSchema = (given: unknown): string =>
  isSchema(given) ? schemaName(given) : show(given);

/** The scalar that a word of this schema is read as; a pointer is a u32. */
export const wordName = (
  schema: Pick<ScalarSchema, "kind" | "name"> | Pick<PtrSchema, "kind">,
): ScalarName => (schema.kind === "ptr" ? "u32" : schema.name);

/** How messages and generated comments call a schema. */
export function schemaName(schema: Schema): string {
  if (schema.kind === "ptr") {
    return `ptr<${isSchema(schema.to) ? schemaName(schema.to) : "…"}>`;
  }
  if (schema.kind === "array") return `array<${schemaName(schema.element)}, ${schema.length}>`;
  return schema.name;
}
