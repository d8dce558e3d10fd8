/**
 * The arguments of a kernel: numbers and pointers, 4 bytes each, in one WGSL uniform struct
 * `Args`. Values are all checked before the first byte is written.
 */
import { SPACE_BYTES } from "../base/index.ts";
import { type HmmError, hmmError, invalid } from "./error.ts";
import { addressOf, show, showAddress } from "./given.ts";
import { alignUp } from "./layout.ts";
import { asAddress, type MemoryRange } from "./place/index.ts";
import {
  hasPointers,
  isSchema,
  type Ptr,
  type PtrSchema,
  type ScalarSchema,
  type Schema,
  schemaName,
  showSchema,
  type TargetOf,
  targetOf,
  wordName,
} from "./schema.ts";
import { checkName } from "./struct.ts";

export type ArgsSchema = Readonly<Record<string, ScalarSchema | PtrSchema>>;

/** A pointer is given as a number, or as any view that has an address. */
export type ArgValue<S> =
  S extends PtrSchema<infer To>
    ? Ptr<TargetOf<To>> | { readonly address: Ptr<TargetOf<To>> }
    : number;

export type ArgValues<Args extends ArgsSchema> = {
  readonly [Name in keyof Args]: ArgValue<Args[Name]>;
};

/** A view, or as much as the pointer's type says. */
interface ArgPlace extends MemoryRange {
  readonly name: string;
  readonly isView: boolean;
  /** Nothing says that what a kernel reaches from there ends with it. */
  readonly leadsOn: boolean;
}

export interface ArgsLayout<Args extends ArgsSchema> {
  /** `struct Args { root: u32, … }`; empty when there are none. */
  readonly wgsl: string;
  /** The size of the uniform buffer: a multiple of 16, or 0. */
  readonly bytes: number;
  /** Writes all values, or throws an `HmmError` that names the argument and writes nothing. */
  write(view: DataView, values: ArgValues<Args>, call?: string): void;
  /** All values as numbers, in the order of the arguments. Throws as `write` does. */
  words(values: ArgValues<Args>, call: string): number[];
  /** What the values point to, and by which argument. Throws as `write` does. */
  places(values: ArgValues<Args>, call?: string): ArgPlace[];
}

export function argsOf<const Args extends ArgsSchema>(args: Args): ArgsLayout<Args> {
  if (typeof args !== "object" || args === null || isSchema(args)) {
    const rule = "{ name: u32, i32, f32 or ptr(…), … }, or {} for none";
    throw invalid("kernel", `args must be ${rule}, got ${showSchema(args)}`);
  }
  const entries = Object.entries(args);
  for (const [name, schema] of entries) {
    checkName("kernel argument", name);
    if (WGSL_WORDS.has(name)) {
      throw invalid("kernel", `argument must not be called ${name}: WGSL reserves that word`);
    }
    if (!isSchema(schema) || !isWord(schema)) {
      const got = showSchema(schema);
      throw invalid("kernel", `args.${name} must be u32, i32, f32 or ptr, got ${got}`);
    }
  }
  const members = entries.map(([name, schema]) => `${name}: ${wordName(schema)}`);
  return {
    wgsl: entries.length === 0 ? "" : `struct Args { ${members.join(", ")} }`,
    bytes: alignUp(entries.length * 4, 16),
    write: (view, values, call = "run") =>
      writeWords(entries, view, wordsOf(call, entries, values)),
    words: (values, call) => wordsOf(call, entries, values),
    places: (values, call = "run") => {
      const words = wordsOf(call, entries, values);
      return entries.flatMap(([name, schema], i) => {
        if (schema.kind !== "ptr") return [];
        const value: unknown = values[name];
        const isView = isPlaced(value);
        const to = targetOf(schema);
        const bytes = isView ? value.bytes : to.size;
        return [{ name, start: words[i]!, bytes, isView, leadsOn: !isView || hasPointers(to) }];
      });
    },
  };
}

const isWord = (schema: Schema): boolean => schema.kind === "scalar" || schema.kind === "ptr";

type Entries = readonly (readonly [string, ScalarSchema | PtrSchema])[];

/** A view, or what says as much: its address is checked by `wordsOf`. */
const isPlaced = (value: unknown): value is { address: number; bytes: number } =>
  addressOf(value) !== undefined && Number((value as { bytes?: unknown }).bytes) >= 0;

function wordsOf(
  call: string,
  entries: Entries,
  values: Readonly<Record<string, unknown>>,
): number[] {
  if (typeof values !== "object" || values === null) {
    throw invalid(call, `args must be an object, got ${show(values)}`);
  }
  for (const name of Object.keys(values)) {
    if (entries.some(([known]) => known === name)) continue;
    const known = entries.map(([each]) => each).join(", ");
    throw invalid(call, `args.${name} is not an argument of this kernel (${known || "none"})`);
  }
  return entries.map(([name, schema]) => {
    if (!Object.hasOwn(values, name)) throw invalid(call, `args.${name} is missing`);
    return checkArg({ call, name }, schema, values[name]);
  });
}

function writeWords(entries: Entries, view: DataView, words: readonly number[]): void {
  entries.forEach(([, schema], index) => {
    const word = wordName(schema);
    const value = words[index]!;
    if (word === "f32") view.setFloat32(index * 4, value, true);
    else if (word === "i32") view.setInt32(index * 4, value, true);
    else view.setUint32(index * 4, value, true);
  });
}

/** Which argument of which call. */
interface ArgName {
  readonly call: string;
  readonly name: string;
}

function checkArg(name: ArgName, schema: ScalarSchema | PtrSchema, value: unknown): number {
  if (schema.kind === "ptr") return checkPointer(name, schema, value);
  if (typeof value !== "number") throw badArg(name, "a number", value);
  if (schema.name === "f32") return value;
  const [low, high] = schema.name === "u32" ? [0, 2 ** 32 - 1] : [-(2 ** 31), 2 ** 31 - 1];
  if (!Number.isInteger(value) || value < low || value > high) {
    throw badArg(name, `an integer in ${low}..${high}`, value);
  }
  return value;
}

function checkPointer(name: ArgName, schema: PtrSchema, value: unknown): number {
  const isView = typeof value === "object" && value !== null && "address" in value;
  const given = isView ? value.address : value;
  if (typeof given !== "number" || !Number.isInteger(given)) {
    throw badArg(name, "an address or a view", value);
  }
  const address = asAddress(given);
  if (address < 0 || address >= SPACE_BYTES) {
    throw badArg(name, `an address in 0..${SPACE_BYTES - 1}`, given);
  }
  const to = targetOf(schema);
  if (address % to.align !== 0) {
    const rule = `a multiple of ${to.align}, as pointers to ${schemaName(to)} are`;
    throw badArg(name, rule, value, address);
  }
  return address;
}

function badArg({ call, name }: ArgName, rule: string, value: unknown, address?: number): HmmError {
  const got = address === undefined ? show(value) : showAddress(value);
  const detail = `args.${name} must be ${rule}, got ${got}`;
  return hmmError({
    code: "EINVAL",
    call,
    detail,
    ...(address === undefined ? {} : { address }),
  });
}

/** Keywords and reserved words of WGSL: no member of a struct can be called so. */
export const WGSL_WORDS: ReadonlySet<string> = new Set(
  `alias break case const const_assert continue continuing default diagnostic discard else enable
  false fn for if let loop override requires return struct switch true var while
  NULL Self abstract active alignas alignof as asm asm_fragment async attribute auto await become
  binding_array cast catch class co_await co_return co_yield coherent column_major common compile
  compile_fragment concept const_cast consteval constexpr constinit crate debugger decltype delete
  demote demote_to_helper do dynamic_cast enum explicit export extends extern external fallthrough
  filter final finally friend from fxgroup get goto groupshared highp impl implements import inline
  instanceof interface layout lowp macro macro_rules match mediump meta mod module move mut mutable
  namespace new nil noexcept noinline nointerpolation non_coherent noncoherent noperspective null
  nullptr of operator package packoffset partial pass patch pixelfragment precise precision premerge
  priv protected pub public readonly ref regardless register reinterpret_cast require resource
  restrict self set shared sizeof smooth snorm static static_assert static_cast std subroutine super
  target template this thread_local throw trait try type typedef typeid typename typeof union unless
  unorm unsafe unsized use using varying virtual volatile wgsl where with writeonly yield`.split(
    /\s+/,
  ),
);
