/**
 * What is used of the WebAssembly JavaScript API. Declared here because it belongs to no library
 * that a Node program must have; structurally these are the standard's types.
 */
import type { WasmMemory } from "../../cpu/index.ts";

/** A compiled module, and whatever else the API hands out without members of its own. */
export type WasmModule = object;

export type WasmExports = Readonly<Record<string, unknown>>;

export interface WasmInstance {
  readonly exports: WasmExports;
}

/** Module name -> import name -> value. */
export type WasmImports = Readonly<Record<string, Readonly<Record<string, unknown>>>>;

export interface WasmGlobal {
  value: number;
}

export interface WasmTable {
  set(index: number, value: unknown): void;
}

/** A binary, or a buffer with nothing else in it. */
export type WasmSource = ArrayBufferLike | ArrayBufferView;

export interface MemoryDescriptor {
  readonly initial?: number;
  readonly maximum?: number;
  readonly shared?: boolean;
}

interface ImportDescriptor {
  readonly module: string;
  readonly name: string;
  readonly kind: string;
}

/** The object `WebAssembly`. Its members can be replaced, which is what hooks do. */
export interface WasmApi {
  Memory: new (type: MemoryDescriptor) => WasmMemory;
  Module: {
    new (source: WasmSource): WasmModule;
    imports(module: WasmModule): readonly ImportDescriptor[];
    exports(module: WasmModule): readonly Omit<ImportDescriptor, "module">[];
  };
  Instance: new (module: WasmModule, imports?: WasmImports) => WasmInstance;
  compile(source: WasmSource): Promise<WasmModule>;
  compileStreaming(source: unknown): Promise<WasmModule>;
  instantiate(source: unknown, imports?: WasmImports): Promise<unknown>;
  instantiateStreaming(source: unknown, imports?: WasmImports): Promise<unknown>;
}

/** The object that everybody sees, hooks and all. */
export const wasmApi = (): WasmApi =>
  (globalThis as unknown as { readonly WebAssembly: WasmApi }).WebAssembly;

export type WasmEngine = Pick<WasmApi, "Memory" | "Module" | "Instance">;

let engine: WasmEngine | undefined;

/** The classes behind any hooks: taken once, before there can be one. */
export function wasmEngine(): WasmEngine {
  const { Memory, Module, Instance } = wasmApi();
  engine ??= { Memory, Module, Instance };
  return engine;
}

export const bytesOf = (source: WasmSource): Uint8Array =>
  ArrayBuffer.isView(source)
    ? new Uint8Array(source.buffer, source.byteOffset, source.byteLength)
    : new Uint8Array(source);
