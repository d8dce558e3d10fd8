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
} from "../schema.ts";

/**
 * The null pointer. A pointer to a struct is one or null until a condition tells: `if (at) …`.
 * Its index signature lets `nodes[i].key` pass without such a test, as it does in C.
 */
export type Null = 0 & { readonly [index: number]: never };

/** No pointer, in a kernel and outside. */
export const NULL = 0 as Null;

/** A pointer to what `S` lays out: it has elements, and of a struct the fields of the first. */
export type KernelPtr<S> = S extends StructSchema
  ? KernelStruct<S> & { readonly [index: number]: KernelPtr<S> }
  : S extends ScalarSchema | PtrSchema
    ? { [index: number]: KernelValue<S> }
    : { readonly [index: number]: KernelValue<S> };

type KernelStruct<S extends StructSchema> = {
  -readonly [Field in keyof S["fields"] as S["fields"][Field] extends ScalarSchema | PtrSchema
    ? Field
    : never]: KernelValue<S["fields"][Field]>;
} & {
  readonly [Field in keyof S["fields"] as S["fields"][Field] extends ScalarSchema | PtrSchema
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
      : S extends StructSchema
        ? KernelPtr<S>
        : never;

export type KernelValues<Args extends ArgsSchema> = {
  readonly [Name in keyof Args]: KernelValue<Args[Name]>;
};

/** What a kernel has besides its arguments: name what you use of it, `{ u32, i32 }`. */
export interface Toolkit {
  /** As 32 bits without a sign; a fraction is cut off. Of a pointer: its address. */
  u32(value: number | boolean | KernelPtr<Schema>): number;
  i32(value: number | boolean): number;
  f32(value: number | boolean): number;
  /** The null pointer. */
  readonly NULL: Null;
}

/** Called for every index below the count. Its text is read: it sees only what it is given. */
export type KernelFunction<Args extends ArgsSchema> = (
  i: number,
  args: KernelValues<Args>,
  toolkit: Toolkit,
) => void;
