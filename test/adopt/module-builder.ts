/**
 * Builds small WebAssembly binaries for tests, byte by byte. It shares no code with what it
 * tests.
 */
export type Bytes = readonly number[];

export function leb(value: number): number[] {
  const low = value % 128;
  return value < 128 ? [low] : [low + 128, ...leb(Math.floor(value / 128))];
}

export const text = (value: string): number[] => {
  const bytes = [...new TextEncoder().encode(value)];
  return [...leb(bytes.length), ...bytes];
};

/** A section that is a vector of entries. */
export const section = (id: number, ...entries: Bytes[]): number[] =>
  raw(id, [...leb(entries.length), ...entries.flat()]);

/** A section with any body. */
export const raw = (id: number, body: Bytes): number[] => [id, ...leb(body.length), ...body];

export const custom = (name: string, body: Bytes = []): number[] =>
  raw(0, [...text(name), ...body]);

export const module = (...sections: Bytes[]): Uint8Array<ArrayBuffer> =>
  new Uint8Array([0x00, 0x61, 0x73, 0x6d, 1, 0, 0, 0, ...sections.flat()]);

/** A function's body without locals, `end` included. */
export const body = (...code: number[]): number[] => [...leb(code.length + 2), 0, ...code, 0x0b];

export const I32 = 0x7f;
export const type = (parameters: Bytes, results: Bytes): number[] => [
  ...[0x60, ...leb(parameters.length), ...parameters],
  ...[...leb(results.length), ...results],
];

export const exported = (name: string, kind: number, index: number): number[] => [
  ...text(name),
  kind,
  ...leb(index),
];

export const SIZE = [0x3f, 0] as const;
export const GROW = [0x40, 0] as const;
export const get = (local: number): number[] => [0x20, local];

export interface MemoryModule {
  readonly size: () => number;
  readonly grow: (pages: number) => number;
  readonly load: (address: number) => number;
  readonly store: (address: number, value: number) => void;
  readonly fill: (address: number, value: number, bytes: number) => void;
  readonly copy: (to: number, from: number, bytes: number) => void;
}

export interface MemoryModuleOptions {
  /** The memory is imported from there; default: the module's own. */
  readonly from?: readonly [string, string];
  readonly min?: number;
  readonly max?: number;
  readonly isShared?: boolean;
  /** More sections, in the order of their kinds, before the code. */
  readonly extra?: readonly Bytes[];
}

/** A module that does with its memory what `MemoryModule` says, and exports it as `memory`. */
export function memoryModule(options: MemoryModuleOptions = {}): Uint8Array<ArrayBuffer> {
  const { from, min = 1, max = 16, isShared = false } = options;
  const limits = [isShared ? 3 : 1, ...leb(min), ...leb(max)];
  const names = ["size", "grow", "load", "store", "fill", "copy"];
  const hasImport = from !== undefined;
  const imports = hasImport ? [section(2, [...text(from[0]), ...text(from[1]), 2, ...limits])] : [];
  return module(
    section(
      1,
      type([], [I32]),
      type([I32], [I32]),
      type([I32, I32], []),
      type([I32, I32, I32], []),
    ),
    ...imports,
    section(3, [0], [1], [1], [2], [3], [3]),
    ...(hasImport ? [] : [section(5, limits)]),
    section(7, exported("memory", 2, 0), ...names.map((name, i) => exported(name, 0, i))),
    section(
      10,
      body(...SIZE),
      body(...get(0), ...GROW),
      body(...get(0), 0x28, 2, 0),
      body(...get(0), ...get(1), 0x36, 2, 0),
      body(...get(0), ...get(1), ...get(2), 0xfc, 11, 0),
      body(...get(0), ...get(1), ...get(2), 0xfc, 10, 0, 0),
    ),
    // Data at an address that a program of the space would call null.
    section(11, [0, 0x41, 16, 0x0b, 4, 0xde, 0xad, 0xbe, 0x0f]),
    ...(options.extra ?? []),
  );
}
