/**
 * What TypeScript knows of atomics in kernels: a place is said in two parts, as `Atomics` of
 * JavaScript has it, since `list[k]` by itself would be its value. A list has an index, a struct
 * the name of a field.
 */
import type { ScalarSchema, StructSchema } from "../schema.ts";

declare const laidOut: unique symbol;

/** What lies behind a pointer: for types alone, and not there. It tells u32 and f32 apart. */
export interface PointsTo<S> {
  readonly [laidOut]?: S;
}

type Word = ScalarSchema<"u32"> | ScalarSchema<"i32">;

type Words = { readonly [index: number]: number } & PointsTo<Word>;

/** Of a struct that a schema lays out, its integers; of anything else, what is a number. */
type WordField<P> = [P] extends [PointsTo<infer S>]
  ? S extends StructSchema
    ? { [F in keyof S["fields"]]: S["fields"][F] extends Word ? F : never }[keyof S["fields"]]
    : NumberField<P>
  : NumberField<P>;

type NumberField<P> = {
  [F in keyof P]-?: F extends string ? (P[F] extends number ? F : never) : never;
}[keyof P];

interface AtomicLoad {
  (list: Words, index: number): number;
  <P extends object>(struct: P, field: WordField<P>): number;
}

interface AtomicStore {
  (list: Words, index: number, value: number): void;
  <P extends object>(struct: P, field: WordField<P>, value: number): void;
}

/** Gives what was there before. */
interface AtomicChange {
  (list: Words, index: number, value: number): number;
  <P extends object>(struct: P, field: WordField<P>, value: number): number;
}

interface AtomicCompareExchange {
  (list: Words, index: number, compare: number, value: number): number;
  <P extends object>(struct: P, field: WordField<P>, compare: number, value: number): number;
}

/** Each happens at once and exactly once, for all invocations and for `Atomics` of JavaScript. */
export interface AtomicTools {
  readonly atomicLoad: AtomicLoad;
  readonly atomicStore: AtomicStore;
  readonly atomicAdd: AtomicChange;
  readonly atomicSub: AtomicChange;
  readonly atomicMin: AtomicChange;
  readonly atomicMax: AtomicChange;
  readonly atomicAnd: AtomicChange;
  readonly atomicOr: AtomicChange;
  readonly atomicXor: AtomicChange;
  readonly atomicExchange: AtomicChange;
  /** Stores `value` if `compare` was there; gives what was there. */
  readonly atomicCompareExchange: AtomicCompareExchange;
}
