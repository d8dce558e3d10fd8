/**
 * Memory as JavaScript sees it: `VectorView`, `ArrayView`, and (generated, `struct.ts`) cursors
 * over structs. A view holds an address and no bytes; it can be moved by setting `address`, and
 * each access says to the memory what it will touch. Stores convert numbers as typed arrays do
 * (`-1` in a u32 is 2^32 - 1), and refuse what these would make 0 of (`isStorable`).
 */
import { SPACE_BYTES } from "../base/index.ts";
import { type HmmError, invalid } from "./error.ts";
import { show } from "./given.ts";
import { describeView, INSPECT } from "./inspect.ts";
import { arrayLayout, type Layout, strideOf } from "./layout.ts";
import { checkMemory, type MemoryAccess, placeFor } from "./memory-access.ts";
import {
  type ArraySchema,
  f32,
  type Infer,
  i32,
  isSchema,
  type Ptr,
  type PtrSchema,
  type ScalarSchema,
  type Schema,
  type StructSchema,
  schemaName,
  showSchema,
  type TargetOf,
  u32,
  type VectorName,
  type VectorSchema,
  type VectorValue,
  wordName,
} from "./schema.ts";
import {
  firstNotStorable,
  isStorable,
  loadValue,
  loadWords,
  notStorable,
  storeValue,
} from "./value.ts";

/** What reading a member or an element gives: a number, or a view of the larger ones. */
export type View<S> = S extends ScalarSchema
  ? number
  : S extends PtrSchema<infer To>
    ? Ptr<TargetOf<To>>
    : S extends VectorSchema<infer Name>
      ? VectorView<Name>
      : S extends ArraySchema<infer Element>
        ? ArrayView<Element>
        : S extends StructSchema
          ? Cursor<S>
          : never;

type IsNumber<S> = S extends ScalarSchema | PtrSchema ? true : false;

/**
 * A struct in memory. Numbers and pointers are read and written as properties; larger members
 * are views, made once a cursor and moved along: read `node.min` again after moving `node`.
 */
export type Cursor<S extends StructSchema> = {
  -readonly [F in keyof S["fields"] as IsNumber<S["fields"][F]> extends true ? F : never]: View<
    S["fields"][F]
  >;
} & {
  readonly [F in keyof S["fields"] as IsNumber<S["fields"][F]> extends true ? never : F]: View<
    S["fields"][F]
  >;
} & {
  /** Set it to look at another struct; allocates nothing. 0 is allowed, reading there is not. */
  address: Ptr<S>;
  /** Stores the fields that `values` has. */
  assign(values: Partial<Infer<S>>): void;
  toObject(): Infer<S>;
};

/** A view of a vector, an array or a struct at `address`. */
export function viewOf<S extends VectorSchema | ArraySchema | StructSchema>(
  schema: S,
  memory: MemoryAccess,
  address: number,
): View<S>;
export function viewOf(
  schema: VectorSchema | ArraySchema | StructSchema,
  memory: MemoryAccess,
  address: number,
): unknown {
  const kind = isSchema(schema) ? schema.kind : undefined;
  if (kind !== "struct" && kind !== "vector" && kind !== "array") {
    const hint = isSchema(schema) ? `: array(${schemaName(schema)}, 1) is one with a view` : "";
    const got = `${showSchema(schema)}${hint}`;
    throw invalid("at", `schema must be a struct, an array or a vector, got ${got}`);
  }
  if (schema.kind === "struct") return schema.at(memory, address);
  if (schema.kind === "vector") return new VectorView(schema, memory, address);
  return new ArrayView(schema.element, memory, { address, length: schema.length });
}

type Words = Uint32Array | Int32Array | Float32Array;

const SCALARS = { u32, i32, f32 } as const;

export class VectorView<Name extends VectorName> {
  readonly schema: VectorSchema<Name>;
  readonly #memory: MemoryAccess;
  readonly #words: Words;
  readonly #isFloat: boolean;
  #address = 0;

  constructor(schema: VectorSchema<Name>, memory: MemoryAccess, address: number) {
    checkMemory(memory);
    if (!isSchema(schema) || schema.kind !== "vector") {
      throw invalid("at", `schema must be a vector, got ${showSchema(schema)}`);
    }
    this.schema = schema;
    this.#memory = memory;
    this.#words = memory[schema.component];
    this.#isFloat = schema.component === "f32";
    this.address = address;
  }

  get address(): Ptr<VectorSchema<Name>> {
    return this.#address;
  }

  set address(address: Ptr<VectorSchema<Name>>) {
    this.#address = placeFor(this.schema.name, this.schema, address);
  }

  get length(): number {
    return this.schema.length;
  }

  get x(): number {
    return this.at(0);
  }

  set x(value: number) {
    this.set(0, value);
  }

  get y(): number {
    return this.at(1);
  }

  set y(value: number) {
    this.set(1, value);
  }

  get z(): number {
    return this.at(2);
  }

  set z(value: number) {
    this.set(2, value);
  }

  get w(): number {
    return this.at(3);
  }

  set w(value: number) {
    this.set(3, value);
  }

  /** Throws for an index outside, as `ArrayView.at` does; so do `z` of a vec2, `w` of a vec3. */
  at(index: number): number {
    this.#check("at", index);
    const address = this.#address + index * 4;
    this.#memory.need(address, 4, false);
    return this.#words[address >>> 2]!;
  }

  set(index: number, value: number): void {
    this.#check("set", index);
    if (typeof value !== "number" || (value - value !== 0 && !this.#isFloat)) {
      throw this.#notStorable(index, value);
    }
    const address = this.#address + index * 4;
    this.#memory.need(address, 4, true);
    this.#words[address >>> 2] = value;
  }

  assign(values: VectorValue<Name>): void {
    const { name } = this.schema;
    const place = { memory: this.#memory, address: this.#address, name, call: "assign" };
    storeValue(this.schema, place, values);
  }

  toArray(): VectorValue<Name> {
    return loadValue(this.schema, this.#memory, this.#address) as VectorValue<Name>;
  }

  [INSPECT](): string {
    return describeView(this.schema, this.#memory, this.#address);
  }

  #notStorable(index: number, value: unknown): HmmError {
    const { name, component } = this.schema;
    return notStorable(SCALARS[component], { name: `${name}[${index}]`, call: "set" }, value);
  }

  #check(call: string, index: number): void {
    if (typeof index === "number" && index >>> 0 === index && index < this.schema.length) return;
    throw invalid(call, outside(index, this.schema.length, this.schema.name));
  }
}

export class ArrayView<Element extends Schema> {
  readonly element: Element;
  readonly length: number;
  readonly #memory: MemoryAccess;
  // The window as the element's words; nothing when an element is more than one word.
  readonly #words: Words | undefined;
  // The element, where it is one.
  readonly #word: ScalarSchema | PtrSchema;
  readonly #isFloat: boolean;
  readonly #isPtr: boolean;
  readonly #stride: number;
  readonly #layout: Layout;
  readonly #name: string;
  #address = 0;

  constructor(
    element: Element,
    memory: MemoryAccess,
    range: { readonly address: number; readonly length: number },
  ) {
    checkMemory(memory);
    if (!isSchema(element)) {
      throw invalid("array", `element must be a schema, got ${show(element)}`);
    }
    const { address, length } = range;
    this.element = element;
    this.#stride = strideOf(element);
    if (!Number.isInteger(length) || length < 0 || length * this.#stride > SPACE_BYTES) {
      const rule = "must be an integer, 0 or more, that fits memory";
      throw invalid(
        "array",
        `length of array<${schemaName(element)}> ${rule}, got ${show(length)}`,
      );
    }
    this.length = length;
    this.#name = `array<${schemaName(element)}>`;
    this.#layout = arrayLayout(element, length);
    this.#memory = memory;
    const isWord = element.kind === "scalar" || element.kind === "ptr";
    this.#words = isWord ? memory[wordName(element)] : undefined;
    this.#word = isWord ? element : u32;
    this.#isFloat = this.#words instanceof Float32Array;
    this.#isPtr = element.kind === "ptr";
    this.address = address;
  }

  get address(): Ptr<Element> {
    return this.#address;
  }

  set address(address: Ptr<Element>) {
    this.#address = placeFor(this.#name, this.#layout, address);
  }

  get bytes(): number {
    return this.length * this.#stride;
  }

  /**
   * The element: a number, or a new view of a larger one. Throws for an index outside:
   * `undefined` would become NaN in the next line and a pointer to nowhere in the one after,
   * and indices from the end are not worth hiding such a mistake.
   */
  at(index: number): View<Element> {
    this.#check("at", index);
    const address = this.#address + index * this.#stride;
    const words = this.#words;
    if (words === undefined) return this.#viewAt(address);
    this.#memory.need(address, 4, false);
    return words[address >>> 2]! as View<Element>;
  }

  set(index: number, value: Infer<Element>): void {
    this.#check("set", index);
    const words = this.#words;
    // Short, and a subtraction tells NaN and infinities: this is where programs spend their time.
    const isPlain =
      typeof value === "number" && (value - value === 0 ? !this.#isPtr : this.#isFloat);
    if (words === undefined || !isPlain) {
      this.#setOther(index, value);
      return;
    }
    const address = this.#address + index * 4;
    this.#memory.need(address, 4, true);
    words[address >>> 2] = value;
  }

  #setOther(index: number, value: unknown): void {
    const address = this.#address + index * this.#stride;
    const place = { memory: this.#memory, address, ...this.#named(index, "set") };
    storeValue(this.element, place, value);
  }

  /** The address of an element, to point a cursor or a field at it. */
  addressOf(index: number): Ptr<Element> {
    this.#check("addressOf", index);
    return this.#address + index * this.#stride;
  }

  fill(value: Infer<Element>): void {
    const words = this.#words;
    if (words === undefined) {
      for (let i = 0; i < this.length; i++) this.set(i, value);
    } else if (this.length > 0) {
      if (!isStorable(this.#word, value)) throw this.#notStorable(0, "fill", value);
      this.#memory.need(this.#address, this.bytes, true);
      const first = this.#address >>> 2;
      words.fill(value, first, first + this.length);
    }
  }

  /** Stores `values` from element `first` on; for numbers and pointers one bulk copy. */
  copyFrom(values: ArrayLike<Infer<Element>>, first = 0): void {
    if (typeof values !== "object" || !Number.isInteger(values?.length)) {
      throw invalid("copyFrom", `values must be an array or a typed array, got ${show(values)}`);
    }
    if (values.length === 0) return;
    this.#check("copyFrom", first);
    this.#check("copyFrom", first + values.length - 1);
    const words = this.#words;
    if (words === undefined) {
      for (let i = 0; i < values.length; i++) this.set(first + i, values[i]!);
      return;
    }
    // Whole or not at all.
    const bad = firstNotStorable(this.#word, values);
    if (bad >= 0) throw this.#notStorable(first + bad, "copyFrom", values[bad]);
    const address = this.#address + first * 4;
    this.#memory.need(address, values.length * 4, true);
    words.set(values as ArrayLike<number>, address >>> 2);
  }

  toArray(): Infer<Element>[] {
    if (this.length === 0) return [];
    if (this.element.kind === "scalar" || this.element.kind === "ptr") {
      this.#memory.need(this.#address, this.bytes, false);
      const range = { address: this.#address, count: this.length };
      return loadWords(this.#memory, wordName(this.element), range) as Infer<Element>[];
    }
    return Array.from(
      { length: this.length },
      (_, i) => loadValue(this.element, this.#memory, this.addressOf(i)) as Infer<Element>,
    );
  }

  [INSPECT](): string {
    const { element, length } = this;
    const schema = {
      kind: "array",
      element,
      length,
      stride: this.#stride,
      ...this.#layout,
    } as const;
    return describeView(schema, this.#memory, this.#address);
  }

  *[Symbol.iterator](): Generator<View<Element>, void, undefined> {
    for (let i = 0; i < this.length; i++) yield this.at(i);
  }

  #notStorable(index: number, call: string, value: unknown): HmmError {
    return notStorable(this.element, this.#named(index, call), value);
  }

  #named(index: number, call: string): { readonly name: string; readonly call: string } {
    return { name: `${this.#name}[${index}]`, call };
  }

  #viewAt(address: number): View<Element> {
    const element = this.element as VectorSchema | ArraySchema | StructSchema;
    return viewOf(element, this.#memory, address) as View<Element>;
  }

  #check(call: string, index: number): void {
    if (typeof index === "number" && index >>> 0 === index && index < this.length) return;
    throw invalid(call, outside(index, this.length, this.#name));
  }
}

const outside = (index: number, length: number, what: string): string =>
  `index of ${what} must be an integer in 0..${length - 1} (length ${length}), got ${show(index)}`;
