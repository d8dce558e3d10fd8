/**
 * What TypeScript knows of a kernel's function: arguments as values that are indexed and have
 * fields. Nearly nothing of it is there at run time; the function's text is read, and never called.
 */
import type { ArgsSchema } from "../args.ts";
import type {
  ArraySchema,
  PtrSchema,
  ScalarSchema,
  Schema,
  StructSchema,
  TargetOf,
  VectorName,
  VectorSchema,
} from "../schema.ts";
import type { AtomicTools, PointsTo } from "./atomic-types.ts";

/**
 * The null pointer. A pointer to a struct is one or null until a condition tells: `if (at) …`.
 * Its index signature lets `nodes[i].key` pass without such a test, as it does in C.
 */
export type Null = 0 & { readonly [index: number]: never };

/** No pointer, in a kernel and outside. */
export const NULL = 0 as Null;

/** A pointer to what `S` lays out: it has elements, and of a struct the fields of the first. */
export type KernelPtr<S> = S extends StructSchema
  ? KernelStruct<S> & Structs<S> & PointsTo<S>
  : S extends ScalarSchema | PtrSchema | VectorSchema
    ? { [index: number]: KernelValue<S> } & PointsTo<S>
    : { readonly [index: number]: KernelValue<S> };

/**
 * An interface: while TypeScript looks at the members of a type without a name that leads back to
 * itself, that type has none, and drops out of what it is combined with.
 */
interface Structs<S> {
  readonly [index: number]: KernelPtr<S>;
}

/** What is assigned as a whole. */
type Stored = ScalarSchema | PtrSchema | VectorSchema;

type KernelStruct<S extends StructSchema> = {
  -readonly [Field in keyof S["fields"] as S["fields"][Field] extends Stored
    ? Field
    : never]: KernelValue<S["fields"][Field]>;
} & {
  readonly [Field in keyof S["fields"] as S["fields"][Field] extends Stored
    ? never
    : Field]: KernelValue<S["fields"][Field]>;
};

/** Pointers to structs may be null; others are taken for arrays, which are there. */
type PointerTo<Target> = Target extends StructSchema ? KernelPtr<Target> | Null : KernelPtr<Target>;

type KernelValue<S> = S extends ScalarSchema
  ? number
  : S extends PtrSchema<infer To>
    ? PointerTo<TargetOf<To>>
    : S extends ArraySchema<infer Element>
      ? KernelPtr<Element>
      : S extends VectorSchema<infer Name>
        ? KernelVector<Name>
        : S extends StructSchema
          ? KernelPtr<S>
          : never;

/** A vector of the same kind, or a number for all of its components. */
type Same<Name extends VectorName> = KernelVector<Name> | number;

type Components<Name extends VectorName> = Name extends `vec2${string}`
  ? { x: number; y: number }
  : Name extends `vec3${string}`
    ? { x: number; y: number; z: number }
    : { x: number; y: number; z: number; w: number };

/** What vectors do in a kernel; those of integers have the first rows only. */
interface VectorMethods<Name extends VectorName> {
  add(other: Same<Name>): KernelVector<Name>;
  sub(other: Same<Name>): KernelVector<Name>;
  mul(other: Same<Name>): KernelVector<Name>;
  /** Of integers the whole part, and 0 where the divisor is 0. */
  div(other: Same<Name>): KernelVector<Name>;
  mod(other: Same<Name>): KernelVector<Name>;
  neg(): KernelVector<Name>;
  dot(other: KernelVector<Name>): number;
  min(other: Same<Name>): KernelVector<Name>;
  max(other: Same<Name>): KernelVector<Name>;
  abs(): KernelVector<Name>;
  clamp(low: Same<Name>, high: Same<Name>): KernelVector<Name>;
  length(): number;
  distance(other: KernelVector<Name>): number;
  normalize(): KernelVector<Name>;
  cross(other: KernelVector<Name>): KernelVector<Name>;
  reflect(normal: KernelVector<Name>): KernelVector<Name>;
  mix(other: Same<Name>, share: Same<Name>): KernelVector<Name>;
  pow(exponent: Same<Name>): KernelVector<Name>;
  sign(): KernelVector<Name>;
  floor(): KernelVector<Name>;
  ceil(): KernelVector<Name>;
  trunc(): KernelVector<Name>;
  fract(): KernelVector<Name>;
  sqrt(): KernelVector<Name>;
  exp(): KernelVector<Name>;
  log(): KernelVector<Name>;
  sin(): KernelVector<Name>;
  cos(): KernelVector<Name>;
}

/** A vector in a kernel. In memory its components can be assigned; else it stays as it is. */
export type KernelVector<Name extends VectorName> = Components<Name> & VectorMethods<Name>;

type AnyVector = KernelVector<VectorName>;

/** A constructor: all components, one for all, or smaller vectors and numbers in a row. */
export type MakeVector<Name extends VectorName> = (
  first: number | { readonly x: number; readonly y: number },
  ...others: readonly (number | { readonly x: number; readonly y: number })[]
) => KernelVector<Name>;

/** The methods as functions, of numbers as well: `mix(a, b, 0.5)`. */
interface VectorFunctions {
  dot<V extends AnyVector>(a: V, b: V): number;
  cross<V extends AnyVector>(a: V, b: V): V;
  normalize<V extends AnyVector>(v: V): V;
  reflect<V extends AnyVector>(v: V, normal: V): V;
  length(v: AnyVector | number): number;
  distance<V extends AnyVector | number>(a: V, b: V): number;
  clamp<V extends AnyVector | number>(v: V, low: V | number, high: V | number): Wide<V>;
  mix<V extends AnyVector | number>(a: V, b: V | number, share: V | number): Wide<V>;
  step<V extends AnyVector | number>(edge: V | number, v: V): Wide<V>;
  smoothstep<V extends AnyVector | number>(low: V | number, high: V | number, v: V): Wide<V>;
}

/** A literal type is any number once something was done with it. */
type Wide<V> = V extends number ? number : V;

type OfOne<Name extends string> = {
  [Each in Name]: <V extends AnyVector | number>(v: V) => Wide<V>;
};
type OfTwo<Name extends string> = {
  [Each in Name]: <V extends AnyVector | number>(a: V, b: V | number) => Wide<V>;
};

export type KernelValues<Args extends ArgsSchema> = {
  readonly [Name in keyof Args]: KernelValue<Args[Name]>;
};

/** What a kernel has besides its arguments: name what you use of it, `{ u32, vec3f, dot }`. */
export interface Toolkit
  extends VectorFunctions,
    AtomicTools,
    OfOne<"neg" | "abs" | "sign" | "floor" | "ceil" | "trunc" | "fract">,
    OfOne<"sqrt" | "exp" | "log" | "sin" | "cos">,
    OfTwo<"add" | "sub" | "mul" | "div" | "mod" | "min" | "max" | "pow">,
    Readonly<{ [Name in VectorName]: MakeVector<Name> }> {
  /** As 32 bits without a sign; a fraction is cut off. Of a pointer: its address. */
  u32(value: number | boolean | KernelPtr<Schema>): number;
  i32(value: number | boolean): number;
  f32(value: number | boolean): number;
  /** The null pointer. */
  readonly NULL: Null;
}

/** Called for every index below the count. Its text is read: it sees only what it is given. */
export type KernelFunction<Args extends ArgsSchema, Uses = unknown> = (
  i: number,
  args: KernelValues<Args>,
  toolkit: Toolkit & Uses,
) => void;
